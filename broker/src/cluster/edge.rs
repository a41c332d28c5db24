//! The top of a fragment on a data node: its errors leave in the form that keeps their kind, and it ends when its query does,
//! whether or not anybody takes its rows.

use std::fmt;
use std::sync::Arc;

use datafusion::common::internal_datafusion_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use datafusion_distributed::BroadcastExec;
use futures::{StreamExt, TryStreamExt, future, stream};
use tokio_util::sync::CancellationToken;

use super::node_error::pack;
use crate::{QueryError, QueryErrorKind};

/// See the module. Its rows are its input's.
#[derive(Debug)]
pub(crate) struct EdgeExec {
    input: Arc<dyn ExecutionPlan>,
    ended: CancellationToken,
}

impl EdgeExec {
    /// A fragment with its edge, which ends when `ended` is cancelled. What a fragment ends with for the sake of a shuffle or a
    /// broadcast is replaced by whoever reads it, and so stays at the top.
    pub(crate) fn put_on(
        fragment: Arc<dyn ExecutionPlan>,
        ended: &CancellationToken,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let edge = |input| Arc::new(Self { input, ended: ended.clone() }) as Arc<dyn ExecutionPlan>;
        let hands_out = fragment.downcast_ref::<RepartitionExec>().is_some()
            || fragment.downcast_ref::<BroadcastExec>().is_some();
        if !hands_out {
            return Ok(edge(fragment));
        }
        let inputs = fragment.children().into_iter().map(|input| edge(Arc::clone(input))).collect();
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
        Ok(Arc::new(Self { input, ended: self.ended.clone() }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batches = self.input.execute(partition, context).map_err(pack)?;
        let ended = self.ended.clone();
        // The rest is dropped before the error is seen.
        let batches = batches.map_err(pack).take_until(ended.clone().cancelled_owned());
        let why = async move { ended.is_cancelled().then(|| Err(pack(over()))) };
        let batches = batches.chain(stream::once(why).filter_map(future::ready));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

fn over() -> DataFusionError {
    let message = "the deadline passed while a data node was at work for the query";
    DataFusionError::External(Box::new(QueryError::new(QueryErrorKind::Deadline, message)))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Schema, SchemaRef};
    use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};

    use super::*;
    use crate::engine::error_of;

    /// A fragment whose rows never come.
    #[derive(Debug)]
    struct Never(SchemaRef);

    impl PartitionStream for Never {
        fn schema(&self) -> &SchemaRef {
            &self.0
        }

        fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
            Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.0), stream::pending()))
        }
    }

    #[tokio::test]
    async fn a_fragment_ends_with_its_query() {
        let schema = Arc::new(Schema::empty());
        let parts: Vec<Arc<dyn PartitionStream>> = vec![Arc::new(Never(Arc::clone(&schema)))];
        let never = StreamingTableExec::try_new(schema, parts, None, [], false, None).unwrap();
        let ended = CancellationToken::new();
        let edge = EdgeExec::put_on(Arc::new(never), &ended).unwrap();
        let mut rows = edge.execute(0, Arc::default()).unwrap();
        assert!(futures::poll!(rows.next()).is_pending());
        ended.cancel();
        let error = rows.next().await.unwrap().unwrap_err();
        let node = crate::cluster::NodeId::new("data-1").unwrap();
        let error = error_of(&crate::cluster::node_error::unpack(error, &node));
        assert_eq!(error.kind, QueryErrorKind::Deadline);
        assert!(rows.next().await.is_none());
    }
}
