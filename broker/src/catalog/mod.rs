//! What a query sees: `headwater.public` with the tables, `headwater.system` with the system tables.
//!
//! Invariant: inside one query every reference to a table sees the same cut. A table's read is taken once, when the
//! planner first asks for the table, and kept with the query's catalog.

mod prune;
mod system;
mod system_across;
mod system_letters;
mod system_nodes;
mod system_rows;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider,
    TableProvider,
};
use datafusion::common::{exec_datafusion_err, internal_datafusion_err};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use headwater_segment::live::Tables;
use headwater_segment::resident::ResidentStore;
use headwater_segment::sealed::FooterCache;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tracing::{Instrument, Span};
use url::Url;

use crate::QueryError;
use crate::cluster::address::named;
use crate::cluster::node_error::refusal;
use crate::cluster::nodes::{Nodes, Wanted};
use crate::cluster::waits::Waits;
use crate::engine::registry::Registry;
use crate::execute::aggregate::{KeptKeyValues, ResultCache};
use crate::execute::options::ExecuteOptions;
use crate::execute::source::Source;
use crate::request::{QueryStats, TableCut};
use crate::sql::KnownNames;
use crate::trace::TARGET;
pub(crate) use prune::Pruner;
pub(crate) use system_across::rows_of_this_node;
pub(crate) use table::CutTable;

/// The only catalog.
pub(crate) const CATALOG: &str = "headwater";
/// The schema of the tables.
pub(crate) const PUBLIC: &str = "public";
/// The schema of the system tables.
pub(crate) const SYSTEM: &str = "system";

/// What the catalogs of all queries share.
pub(crate) struct CatalogSources {
    /// The tables that this process serves.
    pub(crate) tables: Arc<Tables>,
    /// The queries, for `system.queries`.
    pub(crate) registry: Arc<Registry>,
    /// Parsed footers of sealed segments.
    pub(crate) footers: Arc<FooterCache>,
    /// The columns of sealed segments.
    pub(crate) residents: Arc<ResidentStore>,
    /// Values of group keys.
    pub(crate) key_values: Arc<KeptKeyValues>,
    /// Partial aggregates of sealed segments.
    pub(crate) results: Arc<ResultCache>,
    /// How leaves execute.
    pub(crate) options: ExecuteOptions,
    /// The nodes of the cluster; `None`: there is none.
    pub(crate) nodes: Option<Arc<Nodes>>,
    /// When the engine started, in microseconds since the epoch.
    pub(crate) started_at_us: i64,
}

impl fmt::Debug for CatalogSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CatalogSources")
    }
}

/// The tables of one query, each at its cut.
pub(crate) struct QueryCatalog {
    sources: Arc<CatalogSources>,
    stream_columns: BTreeSet<String>,
    sealed_only: bool,
    stats: Arc<QueryStats>,
    io: Handle,
    /// What the query does is a part of this.
    trace: Span,
    /// What the query wants of the cuts of tables whose rows are on the nodes of the cluster; `None`: they are here.
    wanted: Option<Wanted>,
    taken: Mutex<BTreeMap<String, Arc<CutTable>>>,
}

impl fmt::Debug for QueryCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryCatalog").field("sealed_only", &self.sealed_only).finish_non_exhaustive()
    }
}

impl QueryCatalog {
    /// A catalog in which only `stream_columns` of the tables' stream columns are visible; `wanted` if the tables' rows are on
    /// the nodes of the cluster.
    pub(crate) fn new(
        sources: Arc<CatalogSources>,
        stream_columns: BTreeSet<String>,
        sealed_only: bool,
        stats: Arc<QueryStats>,
        (io, trace): (Handle, Span),
        wanted: Option<Wanted>,
    ) -> Arc<Self> {
        Arc::new(Self {
            sources,
            stream_columns,
            sealed_only,
            stats,
            io,
            trace,
            wanted,
            taken: Mutex::default(),
        })
    }

    /// Takes the cuts of these tables, as far as there are such tables.
    ///
    /// # Errors
    /// If a cut cannot be had.
    pub(crate) async fn take_all(&self, names: impl Iterator<Item = &str>) -> Result<(), QueryError> {
        for name in names {
            self.take(name).await?;
        }
        Ok(())
    }

    async fn take(&self, name: &str) -> Result<Option<Arc<CutTable>>, QueryError> {
        let Some((nodes, wanted)) = self.sources.nodes.as_ref().zip(self.wanted.as_ref()) else {
            return Ok(self.table(name));
        };
        if let Some(taken) = self.taken.lock().get(name) {
            return Ok(Some(Arc::clone(taken)));
        }
        let Some(live) = self.sources.tables.get(name) else { return Ok(None) };
        let at = match self.sealed_only {
            true => nodes.sealed_cut(&live, wanted),
            false => {
                let span = tracing::info_span!(target: TARGET, parent: &self.trace, "cut", table = name);
                nodes.cut(&live, wanted).instrument(span).await?
            }
        };
        let stats = Arc::clone(&self.stats);
        let table = CutTable::at(live, &self.sources, &self.stream_columns, at, stats);
        // Whoever came first decides: there is one cut per query.
        let mut taken = self.taken.lock();
        let table = taken.entry(name.to_owned()).or_insert_with(|| Arc::new(table));
        Ok(Some(Arc::clone(table)))
    }

    /// The catalog of the query that `context` belongs to.
    pub(crate) fn of(context: &TaskContext) -> Result<Arc<Self>, DataFusionError> {
        let catalog = context.session_config().get_extension::<Self>();
        catalog.ok_or_else(|| internal_datafusion_err!("a task without the catalog of its query"))
    }

    /// The query's cut of the table that `source` was planned for.
    ///
    /// # Errors
    /// If the table was dropped, or has other columns by now.
    pub(crate) fn bind(&self, source: &Source) -> Result<Arc<CutTable>, DataFusionError> {
        let table = self.table(source.table.name());
        let table = table.filter(|table| table.source().is_planned_like(source));
        table.ok_or_else(|| {
            exec_datafusion_err!("table {} was changed; run the query again", source.table.name())
        })
    }

    /// The table of a fragment that another node has sent, with the visible columns `names`.
    ///
    /// # Errors
    /// If there is no such table here.
    pub(crate) fn source_of(
        &self,
        name: &str,
        names: &BTreeSet<String>,
    ) -> Result<Arc<Source>, DataFusionError> {
        let table = self.table_with(name, names);
        let table = table.ok_or_else(|| refusal(format!("there is no table {name} on this node")))?;
        table.set_scanned();
        Ok(Arc::clone(table.source()))
    }

    /// Counters of the query.
    pub(crate) fn stats(&self) -> &Arc<QueryStats> {
        &self.stats
    }

    /// Whom the query waits for; `None` if its rows are here.
    pub(crate) fn waits(&self) -> Option<&Arc<Waits>> {
        self.wanted.as_ref().map(|wanted| &wanted.waits)
    }

    /// What the query does is a part of this span.
    pub(crate) fn trace(&self) -> &Span {
        &self.trace
    }

    /// Where the query's I/O runs.
    pub(crate) fn io(&self) -> &Handle {
        &self.io
    }

    /// This catalog as DataFusion wants it, with the system tables beside.
    pub(crate) fn list(catalog: &Arc<Self>) -> Result<Arc<dyn CatalogProviderList>, DataFusionError> {
        let schemas = MemoryCatalogProvider::new();
        schemas.register_schema(PUBLIC, Arc::new(PublicSchema(Arc::clone(catalog))))?;
        schemas.register_schema(SYSTEM, Arc::new(system::SystemSchema::new(Arc::clone(&catalog.sources))))?;
        let list = MemoryCatalogProviderList::new();
        list.register_catalog(CATALOG.into(), Arc::new(schemas));
        Ok(Arc::new(list))
    }

    /// The cut of each table that the plan reads.
    pub(crate) fn cuts(&self) -> BTreeMap<String, TableCut> {
        let taken = self.taken.lock();
        let scanned = taken.iter().filter(|(_, table)| table.is_scanned());
        scanned.map(|(name, table)| (name.clone(), table.cut())).collect()
    }

    /// The tables that the plan reads.
    pub(crate) fn scanned(&self) -> Vec<Arc<CutTable>> {
        self.taken.lock().values().filter(|table| table.is_scanned()).map(Arc::clone).collect()
    }

    /// The data nodes that have answered for the tables that the plan reads, by name and with it.
    pub(crate) fn data_nodes(&self) -> Vec<Url> {
        let mut nodes = BTreeMap::new();
        for table in self.scanned() {
            nodes.extend(table.nodes().iter().map(|node| (node.member.id.clone(), named(node))));
        }
        nodes.into_values().collect()
    }

    /// How leaves execute, and where.
    pub(crate) fn options(&self) -> &ExecuteOptions {
        &self.sources.options
    }

    fn table(&self, name: &str) -> Option<Arc<CutTable>> {
        self.table_with(name, &self.stream_columns)
    }

    fn table_with(&self, name: &str, stream_columns: &BTreeSet<String>) -> Option<Arc<CutTable>> {
        let mut taken = self.taken.lock();
        if let Some(table) = taken.get(name) {
            return Some(Arc::clone(table));
        }
        if self.wanted.is_some() {
            // It has to be taken from the nodes first.
            return None;
        }
        let live = self.sources.tables.get(name)?;
        let stats = Arc::clone(&self.stats);
        let table = CutTable::take(live, &self.sources, stream_columns, self.sealed_only, stats);
        let table = Arc::new(table);
        taken.insert(name.to_owned(), Arc::clone(&table));
        Some(table)
    }
}

#[derive(Debug)]
struct PublicSchema(Arc<QueryCatalog>);

#[async_trait]
impl SchemaProvider for PublicSchema {
    fn table_names(&self) -> Vec<String> {
        self.0.sources.tables.list().iter().map(|table| table.name().to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let table = self.0.take(name).await.map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(table.map(|table| table as Arc<dyn TableProvider>))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.sources.tables.get(name).is_some()
    }
}

/// Every table with its own columns, for resolving camelCase names.
pub(crate) fn known_names(tables: &Tables) -> KnownNames {
    let columns_of = |schema: &headwater_segment::schema::TableSchema| {
        let own = &schema.columns()[..schema.spec_columns()];
        own.iter().map(|column| column.name.clone()).collect()
    };
    let tables = tables.list();
    KnownNames::new(
        tables.iter().map(|table| (table.name().to_owned(), columns_of(&table.schema()))).collect(),
    )
}

/// Every table's name as SQL finds it, the system tables' too.
pub(crate) fn table_names(tables: &Tables) -> Vec<String> {
    let own = tables.list().into_iter().map(|table| table.name().to_owned());
    own.chain(system_rows::TABLES.iter().map(|table| format!("{SYSTEM}.{}", table.name))).collect()
}

/// The system tables' names and columns.
pub(crate) fn system_schemas() -> impl Iterator<Item = (&'static str, arrow::datatypes::SchemaRef)> {
    system_rows::TABLES.iter().map(|table| (table.name, table.schema()))
}
