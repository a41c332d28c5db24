//! The operator: an aggregate of a table's segments, as partial states.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use datafusion::common::internal_datafusion_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, SchedulingType, apply_expression_roots,
};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, Gauge, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, ReplaceChildrenOptions,
};
use futures::stream;

use super::fragment::{Fragment, Prepared};
use super::plan::Shape;
use super::state::PartitionState;
use crate::execute::scan::SegmentScanExec;
use crate::execute::work::{Morsel, Prepare, Shared, Work};
use crate::request::QueryStats;

/// Filter, GROUP BY and aggregate functions over the segments of a table, in one pass over their codes.
///
/// It takes the place of the partial aggregate, of the projections beneath it and of the scan beneath these, and produces
/// the partial aggregate's schema; the same group may come more than once, also from one partition.
pub(crate) struct SegmentAggregateExec {
    shape: Arc<Shape>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    shared: Shared<Run>,
}

/// What the partitions share during one execution.
struct Run {
    fragment: Arc<Fragment>,
    work: Work<Prepared>,
    stats: Arc<QueryStats>,
    /// How rows were grouped, and by which filter, in the first segment that was worked on: for EXPLAIN ANALYZE.
    example: OnceLock<(&'static str, String)>,
}

impl SegmentAggregateExec {
    /// The operator for an aggregate of raw rows over a scan of segments, whose partial states a final aggregate is then
    /// to merge; `None` if its shape is not supported.
    pub(crate) fn try_new(aggregate: &AggregateExec) -> Result<Option<Self>> {
        let Some(shape) = Shape::new(aggregate)? else { return Ok(None) };
        // Whatever cannot be compiled must not fail when it runs.
        shape.fragment()?;
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&shape.output)),
            Partitioning::UnknownPartitioning(shape.scan.properties().partitioning.partition_count()),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Ok(Some(Self::fresh(
            Arc::new(shape),
            Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative)),
        )))
    }

    fn fresh(shape: Arc<Shape>, properties: Arc<PlanProperties>) -> Self {
        Self { shape, properties, metrics: ExecutionPlanMetricsSet::new(), shared: Shared::default() }
    }

    fn run(&self, context: &TaskContext) -> Result<Run> {
        let (fragment, columns) = self.shape.fragment()?;
        let fragment = Arc::new(fragment);
        let preparing = Arc::clone(&fragment);
        let prepare: Prepare<Prepared> = Box::new(move |segment| preparing.prepare(segment));
        Ok(Run {
            fragment,
            work: self.shape.scan()?.start(context, columns, prepare, &self.metrics)?,
            stats: SegmentScanExec::stats(context)?,
            example: OnceLock::new(),
        })
    }
}

/// One partition at work.
struct AggregateStream {
    run: Arc<Run>,
    state: PartitionState,
    memory: MemoryReservation,
    metrics: AggregateMetrics,
    ended: bool,
}

struct AggregateMetrics {
    baseline: BaselineMetrics,
    rows_scanned: Count,
    rows_selected: Count,
    blocks_skipped: Count,
    emissions: Count,
    bytes_max: Gauge,
}

impl AggregateStream {
    /// The next batch of partial states, giving way to other tasks and to the end of the query after each morsel.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.state.next_batch() {
                self.metrics.baseline.record_output(batch.num_rows());
                return Ok(Some(batch));
            }
            if self.ended {
                return Ok(None);
            }
            match self.run.work.next().await? {
                Some(morsel) => {
                    self.consume(&morsel)?;
                    tokio::task::yield_now().await;
                }
                None => {
                    let _timer = self.metrics.baseline.elapsed_compute().timer();
                    self.state.emit()?;
                    self.metrics.emissions.add(1);
                    self.ended = true;
                }
            }
        }
    }

    fn consume(&mut self, morsel: &Morsel<Prepared>) -> Result<()> {
        let elapsed = self.metrics.baseline.elapsed_compute().clone();
        let _timer = elapsed.timer();
        let (segment, prepared) = (&morsel.segment, &morsel.prepared);
        let (blocks, rows) = (self.state.blocks_read, self.state.rows_selected);
        self.state.consume(segment, prepared, morsel.segment_index, morsel.blocks.clone())?;
        let scanned = segment.block(morsel.blocks.end - 1).end - segment.block(morsel.blocks.start).start;
        self.metrics.rows_scanned.add(scanned);
        self.metrics.rows_selected.add(self.state.rows_selected - rows);
        self.metrics.blocks_skipped.add(morsel.blocks.len() - (self.state.blocks_read - blocks));
        self.run.stats.rows_scanned.fetch_add(scanned as u64, Ordering::Relaxed);
        self.run.example.get_or_init(|| (self.state.mode(), prepared.filter.describe()));
        self.reserve()
    }

    /// Accounts for the groups; hands them out early if they are too large for the query's budget.
    fn reserve(&mut self) -> Result<()> {
        let bytes = self.state.size();
        self.metrics.bytes_max.set_max(bytes);
        if bytes <= self.memory.size() || self.memory.try_resize(bytes).is_ok() {
            return Ok(());
        }
        self.state.emit()?;
        self.metrics.emissions.add(1);
        self.memory.try_resize(self.state.size())
    }
}

impl DisplayAs for SegmentAggregateExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.shape.keys.iter().map(ToString::to_string).collect();
        let calls: Vec<&str> = self.shape.calls.iter().map(|call| call.function.name()).collect();
        write!(f, "SegmentAggregateExec: keys=[{}], functions=[{}]", keys.join(", "), calls.join(", "))?;
        if let Some((mode, filter)) = self.shared.latest().and_then(|run| run.example.get().cloned()) {
            write!(f, ", groups={mode}, by={filter}")?;
        }
        write!(f, ", of ")?;
        match self.shape.scan() {
            Ok(scan) => scan.fmt_as(kind, f),
            Err(_) => Err(fmt::Error),
        }
    }
}

impl fmt::Debug for SegmentAggregateExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

impl ExecutionPlan for SegmentAggregateExec {
    fn name(&self) -> &'static str {
        "SegmentAggregateExec"
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
        let calls = self.shape.calls.iter().flat_map(|call| call.arguments.iter().chain(&call.filter));
        let own = self.shape.keys.iter().chain(calls);
        apply_expression_roots(own.chain(self.shape.scan()?.conjuncts()), f)
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
        Ok(Arc::new(Self::fresh(Arc::clone(&self.shape), Arc::clone(&self.properties))))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition >= self.properties.partitioning.partition_count() {
            return Err(internal_datafusion_err!("SegmentAggregateExec has no partition {partition}"));
        }
        let run = self.shared.get(partition, || self.run(&context))?;
        let count = |name| MetricBuilder::new(&self.metrics).counter(name, partition);
        let aggregate = AggregateStream {
            state: PartitionState::new(Arc::clone(&run.fragment))?,
            run,
            memory: MemoryConsumer::new("SegmentAggregateExec").register(context.memory_pool()),
            metrics: AggregateMetrics {
                baseline: BaselineMetrics::new(&self.metrics, partition),
                rows_scanned: count("rows_scanned"),
                rows_selected: count("rows_selected"),
                blocks_skipped: count("blocks_skipped"),
                emissions: count("emissions"),
                bytes_max: MetricBuilder::new(&self.metrics).gauge("groups_bytes_max", partition),
            },
            ended: false,
        };
        let batches = stream::try_unfold(aggregate, async |mut aggregate| {
            let batch = aggregate.next().await?;
            Ok(batch.map(|batch| (batch, aggregate)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), Box::pin(batches))))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
