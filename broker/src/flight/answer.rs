//! An answer as a stream of Flight messages.
//!
//! The first message has the schema, and in its `app_metadata` what the answer says of itself, as JSON: `query_id`, the `cut` of
//! each table and `freshness_ms`. A task of its own encodes the rows: it ends, and drops the query, at once when the client goes
//! away, when somebody cancels the run, and when the client leaves a message unread for too long.
//!
//! **Invariant:** a stream ends with the status OK only behind the last row of the answer.

use std::pin::Pin;
use std::time::{Duration, Instant};

use arrow_flight::FlightData;
use arrow_flight::encode::{FlightDataEncoder, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use futures::{Stream, StreamExt, stream};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::metadata::MetadataMap;
use tonic::{Response, Status};

use super::Shared;
use super::running::RunGuard;
use super::schema::{answer_schema, plain_batch};
use super::statement::Statement;
use super::status::{status_of, status_of_flight, status_of_stream};
use crate::access::Principal;
use crate::render::AnswerFacts;
use crate::request::{ClientKind, QueryAnswer, QueryRequest};

/// Messages between the task that encodes and the connection.
const MESSAGES_AHEAD: usize = 2;

/// What a call that answers with rows returns.
pub(super) type Messages = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

/// Runs the statement until its first rows can follow.
pub(super) async fn start(
    shared: &Shared,
    statement: &Statement,
    who: &Principal,
    deadline: Option<Duration>,
) -> Result<Response<Messages>, Status> {
    let started = Instant::now();
    let request = QueryRequest {
        sql: statement.sql.clone(),
        client: ClientKind::Flight,
        user: Some(who.name.clone()),
        parameters: statement.values()?,
        deadline,
        ..QueryRequest::default()
    };
    let run = shared.running.start(&statement.run, who);
    let answer = tokio::select! {
        answer = shared.engine.run(request) => answer.map_err(|error| status_of(&error))?,
        () = run.cancel.cancelled() => return Err(cancelled()),
    };
    let facts = AnswerFacts::of(&answer, started);
    let about = json!({
        "query_id": facts.id,
        "cut": facts.cut_json(true),
        "freshness_ms": facts.freshness_ms(),
    });
    let (sender, receiver) = mpsc::channel(MESSAGES_AHEAD);
    let pumping =
        tokio::spawn(pump(encode(answer, about.to_string()), sender, run, facts.id.clone(), shared.stall));
    let mut response = Response::new(messages_of(receiver, pumping));
    if let Ok(id) = facts.id.parse() {
        response.metadata_mut().insert("headwater-query-id", id);
    }
    Ok(response)
}

/// How [`pump`] has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pumped {
    /// Everything is sent, or the error that ends it, or nobody is there any more.
    Said,
    /// The client has not read, and the rest of the answer is dropped.
    Stalled,
}

/// What was pumped, and if that is not the whole answer, why not.
fn messages_of(
    receiver: mpsc::Receiver<Result<FlightData, Status>>,
    pumping: JoinHandle<Pumped>,
) -> Messages {
    Box::pin(stream::unfold(Some((receiver, pumping)), |state| async move {
        let (mut receiver, pumping) = state?;
        if let Some(message) = receiver.recv().await {
            return Some((message, Some((receiver, pumping))));
        }
        let status = match pumping.await {
            Ok(Pumped::Said) => return None,
            Ok(Pumped::Stalled) => {
                Status::deadline_exceeded("the answer is cut off: it was left unread for too long")
            }
            Err(_) => Status::internal("the answer is cut off: the query met a bug and was stopped"),
        };
        Some((Err(status), None))
    }))
}

fn encode(answer: QueryAnswer, about: String) -> FlightDataEncoder {
    let schema = answer_schema(&answer.schema);
    let encoder = FlightDataEncoderBuilder::new().with_schema(schema.clone()).with_metadata(about.into());
    encoder.build(answer.stream.map(move |batch| {
        let batch = batch.map_err(|error| FlightError::from(status_of_stream(&error)))?;
        plain_batch(&batch, &schema).map_err(FlightError::from)
    }))
}

async fn pump(
    mut messages: FlightDataEncoder,
    sender: mpsc::Sender<Result<FlightData, Status>>,
    run: RunGuard,
    query: String,
    stall: Duration,
) -> Pumped {
    loop {
        let message = tokio::select! {
            biased;
            () = sender.closed() => {
                tracing::debug!(query, "the client went away");
                return Pumped::Said;
            }
            () = run.cancel.cancelled() => Some(Err(cancelled())),
            message = messages.next() => message.map(|message| message.map_err(status_of_flight)),
        };
        let Some(message) = message else { return Pumped::Said };
        let is_last = message.is_err();
        match tokio::time::timeout(stall, sender.send(message)).await {
            Ok(Ok(())) if !is_last => {}
            Ok(_) => return Pumped::Said,
            Err(_) => {
                tracing::info!(query, ms = stall.as_millis() as u64, "the client stopped reading");
                return Pumped::Stalled;
            }
        }
    }
}

fn cancelled() -> Status {
    Status::cancelled("the query was cancelled")
}

/// The time that a gRPC client gives the call, as its `grpc-timeout` says: up to eight digits and a unit.
pub(super) fn deadline_of(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        let of = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            deadline_of(&metadata)
        };
        assert_eq!(of("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(of("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for text in ["", "m", "5", "5x", "999999999S", "-1S"] {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(deadline_of(&MetadataMap::new()), None);
    }
}
