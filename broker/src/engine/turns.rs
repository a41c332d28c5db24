//! Where a query gives way to others by the time that it took, and not by the number of its batches, each of which may have taken
//! a second.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::internal_datafusion_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{Stream, StreamExt};

/// A query that has worked for so long lets others have the thread.
const TURN: Duration = Duration::from_millis(10);

/// See the module. Its rows are its input's.
#[derive(Debug)]
pub(super) struct TurnsExec {
    input: Arc<dyn ExecutionPlan>,
}

impl TurnsExec {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        Self { input }
    }
}

impl DisplayAs for TurnsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TurnsExec")
    }
}

impl ExecutionPlan for TurnsExec {
    fn name(&self) -> &'static str {
        "TurnsExec"
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
        let input = children.pop().ok_or_else(|| internal_datafusion_err!("TurnsExec has one input"))?;
        Ok(Arc::new(Self::new(input)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Ok(Box::pin(Turns { input: self.input.execute(partition, context)?, began: None }))
    }
}

struct Turns {
    input: SendableRecordBatchStream,
    /// When its turn began; none between two of them.
    began: Option<Instant>,
}

impl Stream for Turns {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.began.is_some_and(|began| began.elapsed() > TURN) {
            self.began = None;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.began.get_or_insert_with(Instant::now);
        let polled = self.input.poll_next_unpin(context);
        if polled.is_pending() {
            self.began = None;
        }
        polled
    }
}

impl RecordBatchStream for Turns {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use futures::{poll, stream};

    use super::*;

    #[tokio::test]
    async fn a_turn_ends_by_the_clock() {
        let schema = Arc::new(Schema::empty());
        let empty = RecordBatch::new_empty(Arc::clone(&schema));
        let batches = stream::iter(vec![Ok(empty.clone()), Ok(empty.clone()), Ok(empty)]);
        let input = Box::pin(RecordBatchStreamAdapter::new(schema, batches));
        let mut turns = Turns { input, began: None };
        assert!(poll!(turns.next()).is_ready());
        turns.began = Instant::now().checked_sub(2 * TURN);
        assert!(poll!(turns.next()).is_pending());
        assert!(matches!(turns.next().await, Some(Ok(_))));
        assert!(matches!(turns.next().await, Some(Ok(_))));
        assert!(turns.next().await.is_none());
    }
}
