//! The leaf of every plan over a table: segments in, batches of the rows that pass its filter out.
//!
//! ```text
//! cut of the query ─prune─▶ parts ─Work─▶ morsels ─▶ filter: blocks, then rows ─▶ materialise ─▶ batches
//! ```
//!
//! The plan knows the table and its schema, not the cut: that is taken from the query's catalog when the scan starts, so
//! the plan can be run again. So nothing exact about the rows may get into the plan: statistics are estimates.
//!
//! Invariants: the filter is exact, nothing above filters again; all partitions together produce at most `limit` rows,
//! and as many if there are; once there is a limit no filter is taken any more, as it would have to come after it.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, Statistics, internal_datafusion_err};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, SchedulingType, apply_expression_roots,
};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, ReplaceChildrenOptions,
    SortOrderPushdownResult,
};
use futures::stream;

use super::filter::columns::{column_indexes, with_columns};
use super::filter::{Filter, SegmentFilter};
use super::layout::{Layout, is_dynamic};
use super::options::ExecuteOptions;
use super::probe::{Probes, SegmentCounts};
use super::scan_stream::{Quota, ScanMetrics, ScanStream};
use super::source::{SegmentPart, Source};
use super::work::{Around, Prepare, Shared, Work};
use crate::catalog::{Pruner, QueryCatalog};
use crate::cluster::assignment::Assignment;
use crate::request::QueryStats;

/// What was known of the table when the plan was made: estimates.
#[derive(Clone, Debug)]
pub(crate) struct Estimate {
    /// Segments of the table.
    pub(crate) segments_total: usize,
    /// Segments that pruning left.
    pub(crate) segments: usize,
    /// Their rows.
    pub(crate) rows: usize,
    /// Per visible column; bounds are estimates too.
    pub(crate) columns: Vec<ColumnStatistics>,
}

/// Which segments a top-k wants first.
#[derive(Clone, Debug)]
pub(crate) struct SegmentOrder {
    /// Visible column.
    pub(crate) column: usize,
    /// Whether the greatest values come first.
    pub(crate) descending: bool,
}

/// See the module.
pub(crate) struct SegmentScanExec {
    source: Arc<Source>,
    /// Over the visible columns.
    conjuncts: Vec<Arc<dyn PhysicalExpr>>,
    /// Visible columns.
    projection: Vec<usize>,
    limit: Option<usize>,
    order: Option<SegmentOrder>,
    /// What to read; `None`: all that the query's cut has.
    assignment: Option<Arc<Assignment>>,
    estimate: Arc<Estimate>,
    pruner: Arc<OnceLock<Pruner>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    shared: Shared<ScanRun>,
}

/// What the partitions share during one execution.
pub(super) struct ScanRun {
    pub(super) work: Work<SegmentFilter>,
    pub(super) layout: Layout,
    pub(super) options: ExecuteOptions,
    quota: Quota,
    stats: Arc<QueryStats>,
    example: OnceLock<Arc<SegmentFilter>>,
}

impl ScanRun {
    /// Takes up to `rows` of what the limit leaves.
    pub(super) fn claim(&self, rows: usize) -> usize {
        self.quota.take(rows)
    }

    pub(super) fn is_full(&self) -> bool {
        self.quota.is_empty()
    }

    pub(super) fn count_scanned(&self, rows: usize) {
        self.stats.rows_scanned.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Keeps one segment's filter, for EXPLAIN ANALYZE to describe.
    pub(super) fn remember(&self, filter: &Arc<SegmentFilter>) {
        self.example.get_or_init(|| Arc::clone(filter));
    }
}

impl SegmentScanExec {
    /// Visible columns `projection` of all rows that pass `conjuncts` (over the visible columns), of which `pruner` was made,
    /// at most `limit`, in `partitions` partitions.
    pub(crate) fn new(
        source: Arc<Source>,
        conjuncts: Vec<Arc<dyn PhysicalExpr>>,
        pruner: Pruner,
        projection: Vec<usize>,
        limit: Option<usize>,
        estimate: Estimate,
        partitions: usize,
    ) -> Self {
        let properties = properties(source.schema_of(&projection), partitions);
        Self {
            source,
            conjuncts,
            projection,
            limit,
            order: None,
            assignment: None,
            estimate: Arc::new(estimate),
            pruner: Arc::new(OnceLock::from(pruner)),
            properties,
            metrics: ExecutionPlanMetricsSet::new(),
            shared: Shared::default(),
        }
    }

    /// Which segments are wanted first.
    pub(crate) fn order(&self) -> Option<&SegmentOrder> {
        self.order.as_ref()
    }

    /// What it reads.
    pub(crate) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The conditions, over the visible columns.
    pub(crate) fn conjuncts(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.conjuncts
    }

    /// The produced columns, as places among the visible ones.
    pub(crate) fn projection(&self) -> &[usize] {
        &self.projection
    }

    /// Most rows.
    pub(crate) fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// Starts handing out the visible columns `columns` of the segments that this leaf reads in the query of `context`,
    /// and counts them in the query's statistics and in `metrics`, those of the operator that runs: this leaf may belong
    /// to a plan that is kept and run many times. `choose` may take out segments whose rows it has otherwise.
    pub(crate) fn start<P>(
        &self,
        context: &TaskContext,
        columns: Vec<usize>,
        prepare: Prepare<P>,
        metrics: &ExecutionPlanMetricsSet,
        choose: impl FnOnce(&mut Vec<SegmentPart>),
    ) -> Result<Work<P>> {
        let catalog = QueryCatalog::of(context)?;
        let table = catalog.bind(&self.source)?;
        let pruner = self.pruner.get_or_init(|| Pruner::new(&self.source, &self.conjuncts));
        let (mut parts, total) = match &self.assignment {
            None => (table.parts(pruner, self.order.as_ref())?, table.segments_total()),
            // What the log's statistics deny was left out by whoever assigned the rest.
            Some(assignment) => {
                let parts = assignment.parts(&self.source.table)?;
                let total = parts.len();
                (parts, total)
            }
        };
        let counts = SegmentCounts::new(metrics, total, parts.len(), catalog.stats());
        choose(&mut parts);
        let probes = Probes::new(pruner.demands(), self.source.options.indexes, metrics, counts);
        let around = Around {
            io: catalog.io().clone(),
            stats: Arc::clone(catalog.stats()),
            trace: catalog.trace().clone(),
        };
        Ok(Work::new(Arc::clone(&self.source), parts, columns, probes, around, prepare))
    }

    /// The statistics of the query of `context`.
    pub(crate) fn stats(context: &TaskContext) -> Result<Arc<QueryStats>> {
        Ok(Arc::clone(QueryCatalog::of(context)?.stats()))
    }

    fn run(&self, context: &TaskContext) -> Result<ScanRun> {
        let layout = Layout::new(&self.source, &self.conjuncts, &self.projection)?;
        let options = self.source.options;
        let filter = Arc::new(Filter::new(layout.filter.as_ref(), &layout.schema, &options)?);
        let unselected = MetricBuilder::new(&self.metrics).global_counter("segments_unselected");
        let prepare: Prepare<SegmentFilter> = Box::new(move |segment| {
            let (filter, unselected) = (Arc::clone(&filter), unselected.clone());
            Box::pin(async move {
                let compiled = filter.compile(&segment).await?;
                if compiled.is_never() {
                    unselected.add(1);
                    return Ok(None);
                }
                Ok(Some(compiled))
            })
        });
        let work = self.start(context, layout.loaded.clone(), prepare, &self.metrics, |_| ())?;
        Ok(ScanRun {
            work,
            layout,
            options,
            quota: Quota::new(self.limit),
            stats: Self::stats(context)?,
            example: OnceLock::new(),
        })
    }

    /// A scan like this one that was not executed yet.
    fn fresh(&self) -> Self {
        Self {
            source: Arc::clone(&self.source),
            conjuncts: self.conjuncts.clone(),
            projection: self.projection.clone(),
            limit: self.limit,
            order: self.order.clone(),
            assignment: self.assignment.clone(),
            estimate: Arc::clone(&self.estimate),
            pruner: Arc::clone(&self.pruner),
            properties: Arc::clone(&self.properties),
            metrics: ExecutionPlanMetricsSet::new(),
            shared: Shared::default(),
        }
    }

    /// This scan without the conditions that other operators narrow while they run.
    pub(crate) fn without_dynamic_conjuncts(&self) -> Self {
        let conjuncts = self.conjuncts.iter().filter(|conjunct| !is_dynamic(conjunct)).cloned();
        Self { conjuncts: conjuncts.collect(), ..self.fresh() }
    }

    fn with_projection(&self, projection: Vec<usize>) -> Self {
        let partitions = self.properties.partitioning.partition_count();
        let properties = properties(self.source.schema_of(&projection), partitions);
        Self { projection, properties, ..self.fresh() }
    }

    /// A condition over the produced columns as one over the visible columns; `None` if it is of another schema.
    fn over_visible(&self, condition: &Arc<dyn PhysicalExpr>) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        if column_indexes(condition).iter().any(|column| *column >= self.projection.len()) {
            return Ok(None);
        }
        let placed = with_columns(condition, |column| {
            let visible = self.projection[column.index()];
            Ok(Arc::new(Column::new(self.source.visible_schema.field(visible).name(), visible)))
        });
        placed.map(Some)
    }
}

fn properties(schema: SchemaRef, partitions: usize) -> Arc<PlanProperties> {
    let properties = PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Incremental,
        Boundedness::Bounded,
    );
    Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative))
}

impl DisplayAs for SegmentScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.properties.equivalence_properties().schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let Estimate { segments_total, segments, rows, .. } = self.estimate.as_ref();
        write!(
            f,
            "SegmentScanExec: table={}, segments={segments} of {segments_total}, rows={rows}, projection=[{}]",
            self.source.table.name(),
            names.join(", ")
        )?;
        if !self.conjuncts.is_empty() {
            let conditions: Vec<String> = self.conjuncts.iter().map(ToString::to_string).collect();
            write!(f, ", filter={}", conditions.join(" AND "))?;
        }
        if let Some(limit) = self.limit {
            write!(f, ", limit={limit}")?;
        }
        if let Some(order) = &self.order {
            let name = self.source.visible_schema.field(order.column).name();
            write!(f, ", first={}({name})", if order.descending { "max" } else { "min" })?;
        }
        let example = self.shared.latest().and_then(|run| run.example.get().cloned());
        example.map_or(Ok(()), |filter| write!(f, ", by={}", filter.describe()))
    }
}

impl fmt::Debug for SegmentScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

impl ExecutionPlan for SegmentScanExec {
    fn name(&self) -> &'static str {
        "SegmentScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        apply_expression_roots(&self.conjuncts, f)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(self.fresh()))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition >= self.properties.partitioning.partition_count() {
            return Err(internal_datafusion_err!("SegmentScanExec has no partition {partition}"));
        }
        let run = self.shared.get(partition, || self.run(&context))?;
        let metrics = ScanMetrics {
            baseline: BaselineMetrics::new(&self.metrics, partition),
            rows_scanned: MetricBuilder::new(&self.metrics).counter("rows_scanned", partition),
            blocks_skipped: MetricBuilder::new(&self.metrics).counter("blocks_skipped", partition),
        };
        let schema = self.schema();
        let scan = ScanStream::new(run, Arc::clone(&schema), metrics);
        let batches = stream::try_unfold(scan, async |mut scan| {
            let batch = scan.next().await?;
            Ok(batch.map(|batch| (batch, scan)))
        });
        Ok(Box::pin(cooperative(RecordBatchStreamAdapter::new(schema, Box::pin(batches)))))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let mut rows = self.estimate.rows;
        if !self.conjuncts.is_empty() {
            rows = rows.div_ceil(FILTERED_ROWS_SHARE);
        }
        if args.partition().is_some() {
            rows = rows.div_ceil(self.properties.partitioning.partition_count().max(1));
        }
        rows = self.limit.map_or(rows, |limit| rows.min(limit));
        let column = |column: &usize| self.estimate.columns.get(*column).cloned().unwrap_or_default();
        Ok(Arc::new(Statistics {
            num_rows: Precision::Inexact(rows),
            total_byte_size: Precision::Absent,
            column_statistics: self.projection.iter().map(column).collect(),
        }))
    }

    fn supports_limit_pushdown(&self) -> bool {
        false
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let limit = limit.map(|limit| self.limit.map_or(limit, |own| own.min(limit)));
        Some(Arc::new(Self { limit, ..self.fresh() }))
    }

    fn fetch(&self) -> Option<usize> {
        self.limit
    }

    /// Takes over a projection that only picks and orders columns.
    fn try_swapping_with_projection(
        &self,
        projection: &ProjectionExec,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let mut picked = Vec::with_capacity(projection.expr().len());
        for projected in projection.expr() {
            let column =
                projected.expr.downcast_ref::<Column>().filter(|column| column.name() == projected.alias);
            match column.and_then(|column| self.projection.get(column.index())) {
                Some(visible) => picked.push(*visible),
                None => return Ok(None),
            }
        }
        Ok(Some(Arc::new(self.with_projection(picked))))
    }

    fn handle_child_pushdown_result(
        &self,
        _: FilterPushdownPhase,
        result: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        if self.limit.is_some() {
            return Ok(FilterPushdownPropagation::all_unsupported(result));
        }
        let mut taken = Vec::with_capacity(result.parent_filters.len());
        let mut conjuncts = self.conjuncts.clone();
        for offered in &result.parent_filters {
            match self.over_visible(&offered.filter)? {
                Some(condition)
                    if !datafusion::physical_expr_common::physical_expr::is_volatile(&condition) =>
                {
                    conjuncts.push(condition);
                    taken.push(PushedDown::Yes);
                }
                _ => taken.push(PushedDown::No),
            }
        }
        let changed = conjuncts.len() > self.conjuncts.len();
        let propagation = FilterPushdownPropagation::with_parent_pushdown_result(taken);
        if !changed {
            return Ok(propagation);
        }
        // What changes while the query runs prunes no segments.
        let same_pruning = conjuncts[self.conjuncts.len()..].iter().all(is_dynamic);
        let pruner = if same_pruning { Arc::clone(&self.pruner) } else { Arc::default() };
        let scan = Self { conjuncts, pruner, ..self.fresh() };
        Ok(propagation.with_updated_node(Arc::new(scan)))
    }

    /// Segments can be read in a good order for a top-k; rows do not come sorted.
    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
    ) -> Result<SortOrderPushdownResult<Arc<dyn ExecutionPlan>>> {
        let key = order.first().and_then(|key| Some((key.expr.downcast_ref::<Column>()?, key.options)));
        let visible =
            key.and_then(|(column, options)| Some((*self.projection.get(column.index())?, options)));
        let Some((column, options)) = visible.filter(|_| self.order.is_none() && self.limit.is_none()) else {
            return Ok(SortOrderPushdownResult::Unsupported);
        };
        let order = Some(SegmentOrder { column, descending: options.descending });
        Ok(SortOrderPushdownResult::Inexact { inner: Arc::new(Self { order, ..self.fresh() }) })
    }
}

/// One in how many rows is thought to pass a filter.
const FILTERED_ROWS_SHARE: usize = 5;

mod placed;
#[cfg(test)]
mod tests;
