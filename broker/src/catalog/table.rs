//! One table at one cut: what the planner sees of it, and which segments each leaf of the query reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{ColumnStatistics, DFSchema, internal_datafusion_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use headwater_segment::clock::now_ms;
use headwater_segment::live::{Cut, LiveTable, OffsetRange, TableRead};
use headwater_segment::sealed::{SegmentMeta, SegmentReaderFactory};

use super::CatalogSources;
use super::prune::{self, Pruner};
use crate::cluster::assignment::{Assignment, SealedRef};
use crate::cluster::cut::{CutProblem, NegotiatedCut, OpenAt};
use crate::cluster::nodes::CutPlace;
use crate::cluster::{DataNode, NodeId};
use crate::engine::overflow;
use crate::execute::scan::{Estimate, SegmentOrder, SegmentScanExec};
use crate::execute::source::{SegmentPart, Source};
use crate::request::{QueryStats, TableCut};
use crate::{QueryError, QueryErrorKind};

/// A table whose read was taken.
pub(crate) struct CutTable {
    source: Arc<Source>,
    read: TableRead,
    /// Where its rows are, if they are not here.
    elsewhere: Option<Elsewhere>,
    stats: Arc<QueryStats>,
    taken_at_ms: i64,
    scanned: AtomicBool,
}

/// A cut on other nodes.
struct Elsewhere {
    open: BTreeMap<i32, OpenAt>,
    missing: Vec<CutProblem>,
    place: CutPlace,
}

impl fmt::Debug for CutTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CutTable")
            .field("source", &self.source)
            .field("cut", &self.read.cut)
            .finish_non_exhaustive()
    }
}

impl CutTable {
    /// Takes the table's read now. With `sealed_only` the open rows are left out, and out of the cut.
    pub(super) fn take(
        live: Arc<LiveTable>,
        shared: &CatalogSources,
        stream_columns: &BTreeSet<String>,
        sealed_only: bool,
        stats: Arc<QueryStats>,
    ) -> Self {
        let mut read = live.read();
        if sealed_only {
            read.open.clear();
            read.cut.newest_timestamp_ms = None;
            let partitions = &read.log.stream.partitions;
            read.cut.offsets =
                partitions.iter().map(|(partition, state)| (*partition, state.committed)).collect();
        }
        Self::with_read(live, shared, stream_columns, (read, None), stats)
    }

    /// The table at a cut whose rows are on the nodes of a view.
    pub(super) fn at(
        live: Arc<LiveTable>,
        shared: &CatalogSources,
        stream_columns: &BTreeSet<String>,
        (cut, place): (NegotiatedCut, CutPlace),
        stats: Arc<QueryStats>,
    ) -> Self {
        let NegotiatedCut { log, offsets, open, newest_timestamp_ms, missing, .. } = cut;
        let cut = Cut { log_version: log.version, offsets, newest_timestamp_ms };
        let read = TableRead { log, open: Vec::new(), cut };
        Self::with_read(live, shared, stream_columns, (read, Some(Elsewhere { open, missing, place })), stats)
    }

    /// The nodes of the cut; none if the rows are here.
    pub(super) fn nodes(&self) -> &[Arc<DataNode>] {
        self.elsewhere.as_ref().map_or(&[], |elsewhere| elsewhere.place.view.nodes())
    }

    fn with_read(
        live: Arc<LiveTable>,
        shared: &CatalogSources,
        stream_columns: &BTreeSet<String>,
        (read, elsewhere): (TableRead, Option<Elsewhere>),
        stats: Arc<QueryStats>,
    ) -> Self {
        let full = &read.log.schema;
        let is_visible = |index: &usize| {
            *index < full.spec_columns() || stream_columns.contains(&full.columns()[*index].name)
        };
        let visible: Vec<usize> = (0..full.columns().len()).filter(is_visible).collect();
        let fields: Vec<_> = visible.iter().map(|index| Arc::clone(&full.arrow().fields()[*index])).collect();
        let readers = SegmentReaderFactory::new(
            Arc::clone(live.store()),
            live.root().clone(),
            Arc::clone(&shared.footers),
        );
        let source = Source {
            table: live,
            schema: Arc::clone(full),
            visible,
            visible_schema: Arc::new(Schema::new(fields)),
            readers,
            residents: Arc::clone(&shared.residents),
            key_values: Arc::clone(&shared.key_values),
            results: Arc::clone(&shared.results),
            options: shared.options,
        };
        let taken_at_ms = now_ms();
        Self {
            source: Arc::new(source),
            read,
            elsewhere,
            stats,
            taken_at_ms,
            scanned: AtomicBool::new(false),
        }
    }

    /// The table as plans read it.
    pub(crate) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Whether the plan reads the table (and did not only ask for its schema).
    pub(super) fn is_scanned(&self) -> bool {
        self.scanned.load(Ordering::Relaxed)
    }

    /// Notes that the plan reads the table.
    pub(crate) fn set_scanned(&self) {
        self.scanned.store(true, Ordering::Relaxed);
    }

    /// The version of the log that it is at.
    pub(crate) fn log_version(&self) -> u64 {
        self.read.log.version
    }

    /// The cut as the answer names it.
    pub(super) fn cut(&self) -> TableCut {
        let missing = self.elsewhere.iter().flat_map(|elsewhere| &elsewhere.missing);
        let newest = self.read.cut.newest_timestamp_ms.or_else(|| prune::newest_timestamp_ms(&self.read.log));
        TableCut {
            log_version: self.read.cut.log_version,
            offsets: self.read.cut.offsets.clone(),
            freshness_ms: newest.map(|newest| (self.taken_at_ms - newest).max(0)),
            missing: missing.map(ToString::to_string).collect(),
        }
    }

    /// Segments of the cut, sealed and open.
    pub(crate) fn segments_total(&self) -> usize {
        self.read.log.segments.len() + self.open_segments()
    }

    /// Open segments here, and partitions that are open elsewhere.
    fn open_segments(&self) -> usize {
        self.elsewhere.as_ref().map_or(self.read.open.len(), |elsewhere| elsewhere.open.len())
    }

    fn open_rows(&self) -> u64 {
        match &self.elsewhere {
            Some(elsewhere) => elsewhere.open.values().map(|open| open.rows).sum(),
            None => self.read.open.iter().map(|slice| slice.rows.len() as u64).sum(),
        }
    }

    /// Rows of the cut, sealed and open.
    pub(crate) fn rows_total(&self) -> u64 {
        self.read.log.segments.rows() + self.open_rows()
    }

    /// What one leaf of the query reads: the open parts, which have the newest rows, and the sealed ones that `pruner`
    /// leaves. They are counted in the query's statistics.
    ///
    /// # Errors
    /// If the rows are on other nodes: what is here would be an answer to another question.
    pub(crate) fn parts(
        &self,
        pruner: &Pruner,
        order: Option<&SegmentOrder>,
    ) -> Result<Vec<SegmentPart>, DataFusionError> {
        if self.elsewhere.is_some() {
            return Err(internal_datafusion_err!(
                "a scan of table {} is bound to no node",
                self.source.table.name()
            ));
        }
        let sealed = self.surviving(pruner, order);
        let open = self.read.open.iter().cloned().map(SegmentPart::Open);
        Ok(open.chain(sealed.into_iter().map(SegmentPart::Sealed)).collect())
    }

    /// What each node reads for one leaf of the query, counted as in [`parts`](Self::parts). Nothing twice, nothing left out.
    ///
    /// # Errors
    /// If there is no node.
    pub(crate) fn spread(
        &self,
        pruner: &Pruner,
        order: Option<&SegmentOrder>,
    ) -> Result<Vec<Assignment>, DataFusionError> {
        let Some(Elsewhere { open, place, .. }) = &self.elsewhere else { return Ok(Vec::new()) };
        let log = &self.read.log;
        let table_id = self.source.table.log().table_id();
        let mut nodes: BTreeMap<&NodeId, Assignment> = BTreeMap::new();
        let mut home_of = place.view.homes(table_id, self.taken_at_ms, &place.scores);
        for segment in self.surviving(pruner, order) {
            let home = home_of(&segment).ok_or_else(|| {
                let message =
                    format!("table {}: there is no data node in the cluster", self.source.table.name());
                DataFusionError::External(Box::new(QueryError::new(
                    QueryErrorKind::SegmentUnavailable,
                    message,
                )))
            })?;
            let assignment =
                nodes.entry(&home.member.id).or_insert_with(|| Assignment::on(home, log.version));
            assignment.sealed.push(SealedRef::of(&segment));
        }
        for (partition, at) in open {
            let range =
                OffsetRange { epoch: log.stream.epoch, partition: *partition, from: at.from, to: at.to };
            let node = &at.node;
            let assignment =
                nodes.entry(&node.member.id).or_insert_with(|| Assignment::on(node, log.version));
            assignment.open.push(range);
        }
        Ok(nodes.into_values().collect())
    }

    fn surviving(&self, pruner: &Pruner, order: Option<&SegmentOrder>) -> Vec<Arc<SegmentMeta>> {
        let log = &self.read.log;
        let mut sealed = pruner.surviving(&log.schema, &log.segments).segments();
        if let Some(order) = order {
            prune::order(&mut sealed, self.source.visible[order.column], order.descending);
        }
        let open = self.open_segments() as u64;
        let stats = &self.stats;
        stats.rows_total.fetch_add(self.rows_total(), Ordering::Relaxed);
        stats.segments_total.fetch_add(self.segments_total() as u64, Ordering::Relaxed);
        let pruned = (self.segments_total() as u64).saturating_sub(sealed.len() as u64 + open);
        stats.segments_done.fetch_add(pruned, Ordering::Relaxed);
        stats.segments_scanned.fetch_add(sealed.len() as u64 + open, Ordering::Relaxed);
        stats.segments_open.fetch_add(open, Ordering::Relaxed);
        sealed
    }

    /// What the planner may assume. Bounds only of the columns that the plan uses.
    fn estimate(&self, pruner: &Pruner, projection: &[usize]) -> Estimate {
        let log = &self.read.log;
        let sealed = pruner.surviving(&log.schema, &log.segments);
        let open_rows = self.open_rows();
        let mut columns = vec![ColumnStatistics::new_unknown(); self.source.visible.len()];
        if self.open_segments() == 0 {
            for column in projection {
                columns[*column] = sealed.estimate(self.source.visible[*column]);
            }
        }
        Estimate {
            segments_total: self.segments_total(),
            segments: sealed.count() + self.open_segments(),
            rows: usize::try_from(open_rows + sealed.rows()).unwrap_or(usize::MAX),
            columns,
        }
    }
}

#[async_trait]
impl TableProvider for CutTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.source.visible_schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        Ok(filters.iter().map(|filter| pushdown(filter)).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        self.set_scanned();
        let schema = DFSchema::try_from(Arc::clone(&self.source.visible_schema))?;
        let conjuncts = filters.iter().flat_map(split_conjunction);
        let conjuncts = conjuncts.map(|filter| {
            let filter = state.create_physical_expr(filter.clone(), &schema)?;
            overflow::checked_expression(filter, schema.as_arrow())
        });
        let conjuncts = conjuncts.collect::<Result<Vec<_>, _>>()?;
        let projection: Vec<usize> = projection
            .map_or_else(|| (0..self.source.visible.len()).collect(), |projection| projection.clone());
        let pruner = Pruner::new(&self.source, &conjuncts);
        let estimate = self.estimate(&pruner, &projection);
        let partitions = state.config().target_partitions();
        let source = Arc::clone(&self.source);
        Ok(Arc::new(SegmentScanExec::new(source, conjuncts, pruner, projection, limit, estimate, partitions)))
    }
}

/// The scan filters exactly. What has another value each time, or another query in it, stays above.
fn pushdown(filter: &Expr) -> TableProviderFilterPushDown {
    if filter.is_volatile() || has_subquery(filter) {
        TableProviderFilterPushDown::Unsupported
    } else {
        TableProviderFilterPushDown::Exact
    }
}

fn has_subquery(filter: &Expr) -> bool {
    let is_subquery = |part: &Expr| {
        matches!(
            part,
            Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_)
                | Expr::ScalarSubquery(_)
                | Expr::OuterReferenceColumn(..)
        )
    };
    // The walk cannot fail; if it could, the careful answer would be yes.
    filter.exists(|part| Ok(is_subquery(part))).unwrap_or(true)
}
