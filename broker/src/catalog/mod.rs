//! What a query sees: `headwater.public` with the tables, `headwater.system` with the system tables.
//!
//! Invariant: inside one query every reference to a table sees the same cut. A table's read is taken once, when the
//! planner first asks for the table, and kept with the query's catalog.

mod open_scan;
mod prune;
mod sealed_scan;
mod system;
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
use datafusion::error::DataFusionError;
use headwater_segment::live::Tables;
use headwater_segment::sealed::FooterCache;
use parking_lot::Mutex;

use crate::engine::registry::Registry;
use crate::request::{QueryStats, TableCut};
use crate::sql::KnownNames;
use table::CutTable;

/// The only catalog.
pub(crate) const CATALOG: &str = "headwater";
/// The schema of the tables.
pub(crate) const PUBLIC: &str = "public";
const SYSTEM: &str = "system";

/// What the catalogs of all queries share.
pub(crate) struct CatalogSources {
    /// The tables that this process serves.
    pub(crate) tables: Arc<Tables>,
    /// The queries, for `system.queries`.
    pub(crate) registry: Arc<Registry>,
    /// Parsed footers of sealed segments.
    pub(crate) footers: Arc<FooterCache>,
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
    taken: Mutex<BTreeMap<String, Arc<CutTable>>>,
}

impl fmt::Debug for QueryCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryCatalog").field("sealed_only", &self.sealed_only).finish_non_exhaustive()
    }
}

impl QueryCatalog {
    /// A catalog in which only `stream_columns` of the tables' stream columns are visible.
    pub(crate) fn new(
        sources: Arc<CatalogSources>,
        stream_columns: BTreeSet<String>,
        sealed_only: bool,
        stats: Arc<QueryStats>,
    ) -> Arc<Self> {
        Arc::new(Self { sources, stream_columns, sealed_only, stats, taken: Mutex::default() })
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

    fn table(&self, name: &str) -> Option<Arc<CutTable>> {
        let mut taken = self.taken.lock();
        if let Some(table) = taken.get(name) {
            return Some(Arc::clone(table));
        }
        let live = self.sources.tables.get(name)?;
        let footers = Arc::clone(&self.sources.footers);
        let stats = Arc::clone(&self.stats);
        let table = Arc::new(CutTable::take(live, footers, &self.stream_columns, self.sealed_only, stats));
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
        Ok(self.0.table(name).map(|table| table as Arc<dyn TableProvider>))
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
