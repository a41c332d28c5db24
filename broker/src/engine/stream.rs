//! The answer's stream: what the client polls while the query runs on the engine's own threads.
//!
//! Dropping it ends the query. So does the deadline, whether its task is busy or waits for a client that fetches nothing: an
//! answer that is left open holds no place among the running queries, no memory and no cut beyond it.

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
use tokio::time::Instant;
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

    /// Ends the query at its deadline, if it has not ended before, also while nobody looks at its answer.
    pub(super) fn keep(&self, deadline: Instant) {
        let (registry, entry, task) =
            (Arc::clone(&self.registry), Arc::clone(&self.entry), self.task.clone());
        tokio::spawn(async move {
            tokio::select! {
                // Every end of the query cancels it.
                () = entry.cancel.cancelled() => {}
                () = tokio::time::sleep_until(deadline) => {
                    registry.finish(&entry, Some(deadline_passed()));
                    if let Some(task) = task {
                        task.abort();
                    }
                }
            }
        });
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
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    guard: QueryGuard,
    ended: bool,
}

impl AnswerStream {
    pub(super) fn new(schema: SchemaRef, messages: mpsc::Receiver<Message>, guard: QueryGuard) -> Self {
        let cancelled = Box::pin(guard.entry.cancel.clone().cancelled_owned());
        Self { schema, messages, cancelled, guard, ended: false }
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
        // First, so that a query which is always ready ends in time too. At the deadline the entry says that it was that.
        if self.cancelled.as_mut().poll(context).is_ready() {
            return self.fail(cancelled("the query was cancelled"));
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
