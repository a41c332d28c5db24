//! The top of a fragment on a data node: its errors leave in the form that keeps their kind.

use std::fmt;
use std::sync::Arc;

use datafusion::common::internal_datafusion_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use datafusion_distributed::BroadcastExec;
use futures::TryStreamExt;

use super::node_error::pack;

/// See the module. Its rows are its input's.
#[derive(Debug)]
pub(crate) struct EdgeExec {
    input: Arc<dyn ExecutionPlan>,
}

impl EdgeExec {
    /// A fragment with its edge. What a fragment ends with for the sake of a shuffle or a broadcast is replaced by whoever reads
    /// it, and so stays at the top.
    pub(crate) fn put_on(fragment: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let hands_out = fragment.downcast_ref::<RepartitionExec>().is_some()
            || fragment.downcast_ref::<BroadcastExec>().is_some();
        if !hands_out {
            return Ok(Arc::new(Self { input: fragment }));
        }
        let inputs =
            fragment.children().into_iter().map(|input| Arc::new(Self { input: Arc::clone(input) }) as _);
        let inputs = inputs.collect();
        fragment.replace_children(inputs, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }
}

impl DisplayAs for EdgeExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EdgeExec")
    }
}

impl ExecutionPlan for EdgeExec {
    fn name(&self) -> &'static str {
        "EdgeExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| internal_datafusion_err!("EdgeExec has one input"))?;
        Ok(Arc::new(Self { input }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batches = self.input.execute(partition, context).map_err(pack)?;
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches.map_err(pack))))
    }
}
