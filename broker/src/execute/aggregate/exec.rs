//! The operator: an aggregate of a table's segments, as partial states.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use datafusion::common::internal_datafusion_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, SchedulingType, apply_expression_roots,
};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, ReplaceChildrenOptions,
};
use futures::stream;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::fragment::Prepared;
use super::merging::Merging;
use super::plan::Shape;
use super::results::Fill;
use super::worker::{Run, Worker};
use crate::execute::scan::SegmentScanExec;
use crate::execute::source::SegmentPart;
use crate::execute::work::{Prepare, Shared};

/// Filter, GROUP BY and aggregate functions over the segments of a table, in one pass over their codes.
///
/// It takes the place of the partial aggregate, of the projections beneath it and of the scan beneath these, and produces
/// the partial aggregate's schema; the same group may come more than once, also from one partition.
pub(crate) struct SegmentAggregateExec {
    shape: Arc<Shape>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    shared: Shared<Run>,
    /// The execution that was to merge the groups itself, and could not.
    merging: Option<Arc<Merging>>,
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
        Self {
            shape,
            properties,
            metrics: ExecutionPlanMetricsSet::new(),
            shared: Shared::default(),
            merging: None,
        }
    }

    /// This operator, as if it had never run.
    pub(super) fn unstarted(&self) -> Self {
        Self::fresh(Arc::clone(&self.shape), Arc::clone(&self.properties))
    }

    /// This operator, handing out the partial states of an execution that has begun.
    pub(super) fn resumed(&self, merging: Arc<Merging>) -> Self {
        Self { merging: Some(merging), ..self.unstarted() }
    }

    /// A worker for a partition of an execution.
    pub(super) fn worker(&self, run: &Arc<Run>, context: &TaskContext, partition: usize) -> Result<Worker> {
        Worker::new(run, context, &self.metrics, partition)
    }

    /// Whether it counts distinct values, rather than DataFusion's accumulators.
    pub(crate) fn counts_distinct(&self) -> bool {
        self.shape.distinct().next().is_some()
    }

    /// What it computes.
    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Starts an execution whose partitions another operator runs.
    pub(super) fn start(&self, context: &TaskContext) -> Result<Arc<Run>> {
        self.shared.get(0, || self.run(context))
    }

    fn run(&self, context: &TaskContext) -> Result<Run> {
        let (fragment, columns) = self.shape.fragment()?;
        let source = Arc::clone(self.shape.scan()?.source());
        let keys = fragment.keys.iter().map(|key| key.shared_values(&fragment.schema, &source));
        let keys = keys.collect::<Result<_>>()?;
        let fragment = Arc::new(fragment);
        let preparing = Arc::clone(&fragment);
        let prepare: Prepare<Prepared> = Box::new(move |segment| {
            let preparing = Arc::clone(&preparing);
            Box::pin(async move { preparing.prepare(&segment).await })
        });
        let (mut kept, mut missing) = (Vec::new(), Vec::new());
        let key = if source.results.keeps() { self.shape.result_key()? } else { None };
        let choose = |parts: &mut Vec<SegmentPart>| {
            if let Some(key) = &key {
                (kept, missing) = source.results.take(key, parts);
            }
        };
        let work = self.shape.scan()?.start(context, columns.clone(), prepare, &self.metrics, choose)?;
        MetricBuilder::new(&self.metrics).global_counter("segments_kept").add(kept.len());
        let stats = SegmentScanExec::stats(context)?;
        stats.segments_kept.fetch_add(kept.len() as u64, Ordering::Relaxed);
        stats.segments_done.fetch_add(kept.len() as u64, Ordering::Relaxed);
        let fill = key.and_then(|key| Fill::new(&source, key, &fragment, &columns, missing));
        Ok(Run {
            fragment,
            keys,
            work,
            kept: Mutex::new(kept),
            fill: Mutex::new(fill),
            runtime: Handle::try_current().ok(),
            stats,
            example: OnceLock::new(),
        })
    }
}

impl DisplayAs for SegmentAggregateExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.shape.keys.iter().map(ToString::to_string).collect();
        let calls: Vec<&str> = self.shape.calls.iter().map(|call| call.function.name()).collect();
        write!(f, "SegmentAggregateExec: keys=[{}], functions=[{}]", keys.join(", "), calls.join(", "))?;
        let distinct: Vec<&str> = self.shape.distinct().collect();
        if !distinct.is_empty() {
            write!(f, ", distinct=[{}]", distinct.join(", "))?;
        }
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
        Ok(Arc::new(self.unstarted()))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition >= self.properties.partitioning.partition_count() {
            return Err(internal_datafusion_err!("SegmentAggregateExec has no partition {partition}"));
        }
        if let Some(merging) = &self.merging {
            return Ok(Merging::states(merging, partition, self.schema()));
        }
        let run = self.shared.get(partition, || self.run(&context))?;
        let worker = self.worker(&run, &context, partition)?;
        let batches = stream::try_unfold(worker, async |mut worker| {
            let batch = worker.next_states().await?;
            Ok(batch.map(|batch| (batch, worker)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), Box::pin(batches))))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
