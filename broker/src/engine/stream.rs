//! The answer's stream: what the client polls while the query runs on the engine's own threads.
//!
//! Dropping it ends the query. It also keeps the deadline, so that a query whose task is busy still answers in time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::RecordBatchStream;
use futures::Stream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::registry::{QueryEntry, Registry, cancelled};
use crate::{QueryError, QueryErrorKind};

/// What the query's task sends.
#[derive(Debug)]
pub(super) enum Message {
    Batch(RecordBatch),
    End(Option<QueryError>),
}

/// Ends the query when its client no longer waits for it.
#[derive(Debug)]
pub(super) struct QueryGuard {
    pub(super) registry: Arc<Registry>,
    pub(super) entry: Arc<QueryEntry>,
    pub(super) task: Option<AbortHandle>,
}

impl QueryGuard {
    /// Ends the query, stops its task, and returns the error that counts: an earlier one, if there is one.
    pub(super) fn fail(&mut self, error: QueryError) -> QueryError {
        self.registry.finish(&self.entry, Some(error.clone()));
        self.abort();
        self.entry.error().cloned().unwrap_or(error)
    }

    fn abort(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Drop for QueryGuard {
    fn drop(&mut self) {
        self.registry.finish(&self.entry, Some(cancelled("the client went away")));
        self.abort();
    }
}

pub(super) struct AnswerStream {
    schema: SchemaRef,
    messages: mpsc::Receiver<Message>,
    deadline: Pin<Box<Sleep>>,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    guard: QueryGuard,
    ended: bool,
}

impl AnswerStream {
    pub(super) fn new(
        schema: SchemaRef,
        messages: mpsc::Receiver<Message>,
        deadline: Pin<Box<Sleep>>,
        guard: QueryGuard,
    ) -> Self {
        let cancelled = Box::pin(guard.entry.cancel.clone().cancelled_owned());
        Self { schema, messages, deadline, cancelled, guard, ended: false }
    }

    fn fail(&mut self, error: QueryError) -> Poll<Option<Result<RecordBatch, DataFusionError>>> {
        self.ended = true;
        self.messages.close();
        let error = self.guard.fail(error);
        Poll::Ready(Some(Err(DataFusionError::External(Box::new(error)))))
    }
}

impl Stream for AnswerStream {
    type Item = Result<RecordBatch, DataFusionError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // First, so that a query which is always ready ends in time too.
        if self.cancelled.as_mut().poll(context).is_ready() {
            return self.fail(cancelled("the query was cancelled"));
        }
        if self.deadline.as_mut().poll(context).is_ready() {
            return self.fail(deadline_passed());
        }
        match self.messages.poll_recv(context) {
            Poll::Ready(Some(Message::Batch(batch))) => Poll::Ready(Some(Ok(batch))),
            Poll::Ready(Some(Message::End(None))) => {
                self.ended = true;
                self.guard.registry.finish(&self.guard.entry, None);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Message::End(Some(error)))) => self.fail(error),
            // Aborted, or the runtime is gone; an earlier error of the entry says why.
            Poll::Ready(None) => {
                self.fail(QueryError::new(QueryErrorKind::Internal, "the query's task ended early"))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl RecordBatchStream for AnswerStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

pub(super) fn deadline_passed() -> QueryError {
    QueryError::new(
        QueryErrorKind::Deadline,
        "the deadline passed; give the query a longer deadline or narrow it down",
    )
}
