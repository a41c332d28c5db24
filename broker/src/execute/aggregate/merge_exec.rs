//! The operator that takes the place of the final aggregate over [`SegmentAggregateExec`], where this runs in the same
//! process: the partitions merge their groups themselves, each group once, without passing on its partial states.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{internal_datafusion_err, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, SchedulingType,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, EmptyRecordBatchStream, ExecutionPlan, ExecutionPlanProperties,
    Partitioning, PlanProperties, ReplaceChildrenOptions,
};
use futures::{StreamExt, stream};
use parking_lot::Mutex;

use super::exec::SegmentAggregateExec;
use super::merge::{Merge, Output, Top};
use super::merging::{Merging, Outcome};
use crate::execute::work::Shared;

/// See the module. Groups come in no order, and where is not told by their keys.
pub(crate) struct SegmentMergeExec {
    /// The plan whose place this takes: DataFusion's final aggregate, down to the partial one. It runs where the
    /// partitions cannot merge.
    replaced: Arc<dyn ExecutionPlan>,
    partial: Arc<dyn ExecutionPlan>,
    top: Option<Top>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    shared: Shared<Execution>,
}

/// A final aggregate over another partial one.
fn with_leaf(
    last: &Arc<dyn ExecutionPlan>,
    leaf: impl Fn(&SegmentAggregateExec) -> SegmentAggregateExec,
) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = Arc::clone(last).transform_up(|node| {
        Ok(match node.downcast_ref::<SegmentAggregateExec>() {
            Some(partial) => Transformed::yes(Arc::new(leaf(partial)) as _),
            None => Transformed::no(node),
        })
    });
    plan.data()
}

/// What the partitions share during one execution.
struct Execution {
    merging: Arc<Merging>,
    replaced: Arc<dyn ExecutionPlan>,
    /// The plan for partitions that do not merge.
    apart: Mutex<Option<Arc<dyn ExecutionPlan>>>,
}

impl SegmentMergeExec {
    /// In place of a final aggregate over `partial`.
    pub(crate) fn new(last: &Arc<dyn ExecutionPlan>, partial: &Arc<dyn ExecutionPlan>) -> Result<Self> {
        let partitions = partial.output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(last.schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        // With a leaf of its own, which never runs: one that does would keep its last run for as long as the plan is kept.
        let replaced = with_leaf(last, SegmentAggregateExec::unstarted)?;
        Ok(Self {
            replaced,
            partial: Arc::clone(partial),
            top: None,
            properties: Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative)),
            metrics: ExecutionPlanMetricsSet::new(),
            shared: Shared::default(),
        })
    }

    /// This operator, where only the first `fetch` groups in the order of the produced column `column` are wanted, and
    /// with `ties` those of the same value; `None` if it cannot tell them.
    pub(crate) fn with_top(&self, column: usize, descending: bool, fetch: usize, ties: bool) -> Option<Self> {
        let shape = self.aggregate().ok()?.shape();
        let call = column.checked_sub(shape.keys.len())?;
        shape.calls.get(call)?;
        Some(Self { top: Some(Top { call, descending, fetch, ties }), ..self.fresh() })
    }

    fn fresh(&self) -> Self {
        Self {
            replaced: Arc::clone(&self.replaced),
            partial: Arc::clone(&self.partial),
            top: self.top,
            properties: Arc::clone(&self.properties),
            metrics: ExecutionPlanMetricsSet::new(),
            shared: Shared::default(),
        }
    }

    fn aggregate(&self) -> Result<&SegmentAggregateExec> {
        match self.partial.downcast_ref::<SegmentAggregateExec>() {
            Some(aggregate) => Ok(aggregate),
            None => internal_err!("SegmentMergeExec has no SegmentAggregateExec"),
        }
    }
}

impl Execution {
    /// What goes on in place of the merge: the replaced plan, over the partial states of this execution.
    fn apart(&self) -> Result<Arc<dyn ExecutionPlan>> {
        let mut apart = self.apart.lock();
        if let Some(plan) = apart.as_ref() {
            return Ok(Arc::clone(plan));
        }
        let plan = with_leaf(&self.replaced, |partial| partial.resumed(Arc::clone(&self.merging)))?;
        Ok(Arc::clone(apart.insert(plan)))
    }

    /// Groups the rows of `partition`, and tells how to go on.
    async fn begin(&self, partition: usize, context: &Arc<TaskContext>) -> Result<Stage> {
        Ok(match self.merging.outcome(partition).await? {
            Outcome::Merged(merge) => Stage::Jobs(merge),
            Outcome::Apart => {
                let plan = self.apart()?;
                // Without keys the plan has one partition.
                Stage::Apart(match partition < plan.output_partitioning().partition_count() {
                    true => plan.execute(partition, Arc::clone(context))?,
                    false => Box::pin(EmptyRecordBatchStream::new(plan.schema())),
                })
            }
            Outcome::Failed(error) => return Err(DataFusionError::Shared(error)),
        })
    }
}

/// One partition of an execution.
struct MergeStream {
    execution: Arc<Execution>,
    partition: usize,
    context: Arc<TaskContext>,
    output: Output,
    stage: Stage,
    baseline: BaselineMetrics,
}

enum Stage {
    Rows,
    Jobs(Arc<Merge>),
    Apart(SendableRecordBatchStream),
}

impl MergeStream {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if matches!(self.stage, Stage::Rows) {
            self.stage = self.execution.begin(self.partition, &self.context).await?;
        }
        let batch = match &mut self.stage {
            Stage::Rows => None,
            Stage::Apart(stream) => stream.next().await.transpose()?,
            Stage::Jobs(merge) => loop {
                let Some(job) = merge.next_job() else { break None };
                let batch = {
                    let _timer = self.baseline.elapsed_compute().timer();
                    merge.run(job, &self.output)?
                };
                tokio::task::yield_now().await;
                if batch.is_some() {
                    break batch;
                }
            },
        };
        self.baseline.record_output(batch.as_ref().map_or(0, RecordBatch::num_rows));
        Ok(batch)
    }
}

impl DisplayAs for SegmentMergeExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SegmentMergeExec")?;
        match &self.top {
            Some(Top { fetch, call, descending, .. }) => {
                let order = if *descending { "greatest" } else { "least" };
                write!(f, ": {order} {fetch} of function {call}")
            }
            None => Ok(()),
        }
    }
}

impl fmt::Debug for SegmentMergeExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

impl ExecutionPlan for SegmentMergeExec {
    fn name(&self) -> &'static str {
        "SegmentMergeExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.partial]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(partial) if children.is_empty() => Ok(Arc::new(Self { partial, ..self.fresh() })),
            _ => internal_err!("SegmentMergeExec has one child"),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let partitions = self.properties.partitioning.partition_count();
        if partition >= partitions {
            return Err(internal_datafusion_err!("SegmentMergeExec has no partition {partition}"));
        }
        let execution = self.shared.get(partition, || {
            let merging = Merging::start(self.aggregate()?, &context, partitions)?;
            Ok(Execution { merging, replaced: Arc::clone(&self.replaced), apart: Mutex::default() })
        })?;
        let merged = MergeStream {
            execution,
            partition,
            context,
            output: Output::Values(self.schema(), self.top),
            stage: Stage::Rows,
            baseline: BaselineMetrics::new(&self.metrics, partition),
        };
        let batches = stream::try_unfold(merged, async |mut merged| {
            let batch = merged.next().await?;
            Ok(batch.map(|batch| (batch, merged)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), Box::pin(batches))))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
