//! From a stream of batches to a response body, chunk by chunk.

use std::io;
use std::time::Duration;

use arrow::array::RecordBatch;
use axum::body::{Body, Bytes};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::{StreamExt, stream};
use tokio::sync::mpsc;
use tracing::Instrument;

use crate::render::AnswerEncoder;
use crate::trace::TARGET;
use crate::{QueryError, QueryErrorKind};

/// Chunks that may wait for a slow client, beside the one being rendered.
const CHUNKS_AHEAD: usize = 2;

/// The rendered chunks of one answer.
pub(super) struct AnswerChunks {
    stream: SendableRecordBatchStream,
    encoder: Box<dyn AnswerEncoder>,
    /// The rest of a batch that was larger than a chunk.
    rest: Option<RecordBatch>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Rows,
    Done,
}

/// How the task that renders has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pumped {
    /// Everything is sent, or the error that ends it, or nobody is there any more.
    Said,
    /// The client has not read, and the rest of the answer is dropped.
    Stalled,
}

impl AnswerChunks {
    /// Nothing is read or rendered yet.
    pub(super) fn new(stream: SendableRecordBatchStream, encoder: Box<dyn AnswerEncoder>) -> Self {
        Self { stream, encoder, rest: None, phase: Phase::New }
    }

    /// The next chunk; the first one has the head *and* the first rows, or the whole answer if there are none. After an error
    /// or the end: `None`.
    pub(super) async fn next(&mut self) -> Option<Result<Vec<u8>, QueryError>> {
        if self.phase == Phase::Done {
            return None;
        }
        let chunk = self.render_next().await;
        if chunk.is_err() {
            self.phase = Phase::Done;
        }
        Some(chunk)
    }

    async fn render_next(&mut self) -> Result<Vec<u8>, QueryError> {
        let mut out = Vec::new();
        let batch = match self.rest.take() {
            Some(rest) => Some(rest),
            None => self.next_batch().await?,
        };
        if self.phase == Phase::New {
            self.encoder.begin(&mut out).map_err(unrenderable)?;
            self.phase = Phase::Rows;
        }
        match batch {
            Some(batch) => {
                let rows = batch.num_rows().min(self.encoder.rows_per_chunk());
                self.encoder.rows(&batch.slice(0, rows), &mut out).map_err(unrenderable)?;
                self.rest = (rows < batch.num_rows()).then(|| batch.slice(rows, batch.num_rows() - rows));
            }
            None => {
                self.encoder.finish(&mut out).map_err(unrenderable)?;
                self.phase = Phase::Done;
            }
        }
        Ok(out)
    }

    async fn next_batch(&mut self) -> Result<Option<RecordBatch>, QueryError> {
        while let Some(batch) = self.stream.next().await {
            let batch = batch.map_err(|error| stream_error(&error))?;
            if batch.num_rows() > 0 {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// A body that starts with `first` and goes on with the chunks that are left.
    ///
    /// The chunks are rendered in a task of their own: it ends, and drops the query, at once when the client goes away, and when
    /// the client leaves a chunk unread for `stall`. A client that reads on after that finds the answer broken off: an end
    /// would make a part of the whole.
    pub(super) fn into_body(self, first: Vec<u8>, query_id: String, stall: Duration) -> Body {
        if self.phase == Phase::Done {
            return Body::from(first);
        }
        let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
        let span = tracing::info_span!(target: TARGET, "render");
        let pumping = tokio::spawn(self.pump(sender, query_id, stall).instrument(span));
        let rest = stream::unfold(Some((receiver, pumping)), |state| async {
            let (mut receiver, pumping) = state?;
            if let Some(chunk) = receiver.recv().await {
                return Some((chunk, Some((receiver, pumping))));
            }
            let why = match pumping.await {
                Ok(Pumped::Said) => return None,
                Ok(Pumped::Stalled) => "the answer is cut off: it was left unread for too long",
                Err(_) => "the answer is cut off: the query met a bug and was stopped",
            };
            Some((Err(io::Error::other(why)), None))
        });
        // Whoever compresses it may ask again after its end.
        Body::from_stream(stream::once(async { Ok(Bytes::from(first)) }).chain(rest).fuse())
    }

    async fn pump(
        mut self,
        sender: mpsc::Sender<io::Result<Bytes>>,
        query_id: String,
        stall: Duration,
    ) -> Pumped {
        loop {
            let chunk = tokio::select! {
                chunk = self.next() => chunk,
                () = sender.closed() => {
                    tracing::debug!(query = query_id, "the client went away");
                    return Pumped::Said;
                }
            };
            let (chunk, last) = match chunk {
                None => return Pumped::Said,
                Some(Ok(chunk)) => (Ok(Bytes::from(chunk)), false),
                Some(Err(error)) => {
                    tracing::info!(query = query_id, %error, "the query failed after its first rows were sent");
                    // Without a place for the error the transport is aborted, so that no client takes the part for the whole.
                    let tail = self.encoder.fail(&error).map(Bytes::from);
                    (tail.ok_or_else(|| io::Error::other(error.to_string())), true)
                }
            };
            if chunk.as_ref().is_ok_and(Bytes::is_empty) {
                continue;
            }
            match tokio::time::timeout(stall, sender.send(chunk)).await {
                Ok(Ok(())) if !last => {}
                Ok(_) => return Pumped::Said,
                Err(_) => {
                    tracing::info!(
                        query = query_id,
                        ms = stall.as_millis() as u64,
                        "the client stopped reading"
                    );
                    return Pumped::Stalled;
                }
            }
        }
    }
}

/// The query error that a stream error carries; one that carries none is a failure while running.
fn stream_error(error: &DataFusionError) -> QueryError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(query_error) = current.downcast_ref::<QueryError>() {
            return query_error.clone();
        }
        cause = current.source();
    }
    let kind = match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => QueryErrorKind::MemoryExceeded,
        DataFusionError::Internal(_) => QueryErrorKind::Internal,
        _ => QueryErrorKind::Execution,
    };
    QueryError::new(kind, error.strip_backtrace())
}

fn unrenderable(error: arrow::error::ArrowError) -> QueryError {
    QueryError::new(
        QueryErrorKind::Execution,
        format!("the answer cannot be rendered in this format: {error}"),
    )
}
