//! Kafka, for each table and for brokers that are given: reached, let in, topic there, old enough messages kept.
//!
//! Brokers are first reached by plain TCP, which says more of a wrong port than librdkafka does, then asked through it, with the
//! properties that a consumer of the table would have.

use std::collections::BTreeMap;
use std::time::Duration;

use headwater_ingest::kafka::config::consumer_config;
use headwater_segment::log::{PartitionState, StreamState};
use headwater_segment::spec::{PropertyValue, StreamSpec};
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::net::TcpStream;

use super::report::{Area, Findings, Outcome, Place};
use crate::cli::screen::grouped;

mod versions;

/// What librdkafka complains about while it tries: there is the reason for which it does not get in.
#[derive(Default)]
struct Complaints {
    last: Mutex<Option<String>>,
}

impl ClientContext for Complaints {
    fn error(&self, error: KafkaError, reason: &str) {
        let is_summary = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        let mut last = self.last.lock();
        // That all are down is said after why.
        if !is_summary || last.is_none() {
            *last = Some(reason.to_string());
        }
    }

    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
}

impl ConsumerContext for Complaints {}

type Asking = BaseConsumer<Complaints>;

/// Offsets that a partition has: `[low, high)`.
#[derive(Clone, Copy, Debug)]
struct Marks {
    low: i64,
    high: i64,
}

/// What Kafka knows of the topic.
struct Found {
    brokers: usize,
    partitions: Vec<i32>,
    marks: BTreeMap<i32, Marks>,
}

/// Looks at the stream of `table`, or at one that was named in the arguments. `state` is how far the table's log is.
pub(super) async fn check(
    findings: &Findings,
    table: Option<&str>,
    stream: &StreamSpec,
    state: Option<&StreamState>,
) {
    let whose = table.map_or_else(|| "--brokers".to_string(), |table| format!("table {table}"));
    for (name, value) in &stream.properties {
        let is_read_from_elsewhere = !matches!(value, PropertyValue::Literal(_));
        let is_secret = is_read_from_elsewhere || name.contains("password") || name.contains("secret");
        if let (true, Ok(secret)) = (is_secret, value.resolve(name)) {
            findings.hide(&secret);
        }
    }
    let is_reached = futures::future::join_all(stream.brokers.iter().map(|broker| {
        reach(findings, Place::new(Area::Kafka, "reach", format!("{whose}, {broker}")), broker)
    }));
    let is_reached = is_reached.await.into_iter().any(|is_reached| is_reached);
    if !is_reached {
        let why = Outcome::skipped("no broker was reached");
        findings.add(Place::new(Area::Kafka, "topic", whose), why);
        return;
    }
    versions::check(findings, &whose, stream).await;
    topic(findings, &whose, stream, state).await;
}

async fn reach(findings: &Findings, place: Place, broker: &str) -> bool {
    let fix = "is Kafka running there? correct stream.brokers, the name service, or a firewall";
    let Some((reached, took)) = findings.within(&place, fix, TcpStream::connect(broker)).await else {
        return false;
    };
    match reached {
        Ok(_) => {
            findings.add(place, Outcome::ok(format!("reached in {} ms", took.as_millis())));
            true
        }
        Err(error) => {
            findings.add(place, Outcome::failure(error.to_string(), fix));
            false
        }
    }
}

async fn topic(findings: &Findings, whose: &str, stream: &StreamSpec, state: Option<&StreamState>) {
    let place = Place::new(Area::Kafka, "topic", format!("{whose}, {}", stream.topic));
    // Some time is left for librdkafka to say why it did not work.
    let patience = findings.limit().mul_f64(0.8);
    let asked = stream.clone();
    let asking = tokio::task::spawn_blocking(move || ask(&asked, patience));
    let fix = "check security.protocol and the sasl.* and ssl.* properties";
    let Some((answer, _)) = findings.within(&place, fix, asking).await else { return };
    let answer = answer.unwrap_or_else(|error| Err(Outcome::failure(error.to_string(), "please report it")));
    match answer {
        Err(outcome) => findings.add(place, outcome),
        Ok(found) => {
            let security = security_of(stream);
            let seen = match stream.topic.as_str() {
                "" => format!("{} brokers, let in by {security}", found.brokers),
                _ => {
                    let messages: i64 = found.marks.values().map(|marks| marks.high - marks.low).sum();
                    format!(
                        "{} partitions, about {} messages; {} brokers, let in by {security}",
                        found.partitions.len(),
                        grouped(messages),
                        found.brokers
                    )
                }
            };
            findings.add(place, Outcome::ok(seen));
            if let Some(state) = state.filter(|state| !state.partitions.is_empty()) {
                let place = Place::new(Area::Kafka, "retention", format!("{whose}, {}", stream.topic));
                findings.add(place, retention(&state.partitions, &found.marks));
            }
        }
    }
}

fn security_of(stream: &StreamSpec) -> String {
    match stream.properties.get("security.protocol") {
        Some(PropertyValue::Literal(protocol)) => protocol.to_uppercase(),
        Some(_) => "what security.protocol names".into(),
        None => "PLAINTEXT".into(),
    }
}

/// Blocks.
fn ask(stream: &StreamSpec, patience: Duration) -> Result<Found, Outcome> {
    let fix = "correct stream.properties; librdkafka's names are in its CONFIGURATION.md";
    let config = consumer_config(stream).map_err(|error| Outcome::failure(error.to_string(), fix))?;
    let consumer: Asking = config
        .create_with_context(Complaints::default())
        .map_err(|error| Outcome::failure(error.to_string(), fix))?;
    let topic = Some(stream.topic.as_str()).filter(|topic| !topic.is_empty());
    let metadata =
        consumer.fetch_metadata(topic, patience).map_err(|error| not_let_in(&consumer, &error, stream))?;
    let brokers = metadata.brokers().len();
    let Some(topic) = topic else {
        return Ok(Found { brokers, partitions: Vec::new(), marks: BTreeMap::new() });
    };
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let error = found.and_then(|found| found.error()).map(RDKafkaErrorCode::from);
    let partitions: Vec<i32> =
        found.into_iter().flat_map(|found| found.partitions()).map(|partition| partition.id()).collect();
    match error {
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
            return Err(Outcome::failure(
                "this user may not read the topic",
                "give it READ and DESCRIBE on the topic in Kafka's ACLs",
            ));
        }
        None if !partitions.is_empty() => {}
        None | Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            let fix = "create the topic, or correct its name";
            return Err(Outcome::failure("there is no such topic", fix));
        }
        Some(other) => return Err(Outcome::failure(other.to_string(), "Kafka is not in order; see its log")),
    }
    let mut marks = BTreeMap::new();
    for partition in &partitions {
        let fix = "its leader is not there, or does not answer; see Kafka's log";
        let (low, high) = consumer
            .fetch_watermarks(topic, *partition, patience)
            .map_err(|error| Outcome::failure(format!("partition {partition}: {error}"), fix))?;
        marks.insert(*partition, Marks { low, high });
    }
    Ok(Found { brokers, partitions, marks })
}

fn not_let_in(consumer: &Asking, error: &KafkaError, stream: &StreamSpec) -> Outcome {
    // Complaints are delivered by polling.
    for _ in 0..10 {
        let _ = consumer.poll(Duration::from_millis(50));
    }
    let complaint = consumer.context().last.lock().clone();
    let is_plain = security_of(stream) == "PLAINTEXT";
    let fix = match is_plain {
        true => "a listener for TLS or SASL needs security.protocol (SSL, SASL_SSL, …) in stream.properties",
        false => "check the sasl.* and ssl.* properties, and that this listener speaks that protocol",
    };
    Outcome::failure(complaint.unwrap_or_else(|| error.to_string()), fix)
}

/// Whether what the table has not read yet is still there, and will be.
fn retention(read: &BTreeMap<i32, PartitionState>, marks: &BTreeMap<i32, Marks>) -> Outcome {
    let (mut lost, mut near, mut lag) = (Vec::new(), Vec::new(), 0);
    for (partition, state) in read {
        let Some(marks) = marks.get(partition) else { continue };
        lag += (marks.high - state.committed).max(0);
        let kept = marks.high - marks.low;
        if state.committed < marks.low {
            lost.push(format!(
                "partition {partition}: offsets {} to {} are gone",
                state.committed, marks.low
            ));
        } else if marks.low > 0 && marks.high > state.committed && (state.committed - marks.low) < kept / 10 {
            near.push(partition.to_string());
        }
    }
    if !lost.is_empty() {
        let fix = "they were deleted before they were read: with on_gap: skip in the spec reading goes on behind them; keep \
                   messages longer (retention.ms, retention.bytes of the topic)";
        return Outcome::failure(lost.join("; "), fix);
    }
    let seen = format!("{} offsets are not committed yet, and all are there", grouped(lag));
    if near.is_empty() {
        return Outcome::ok(seen);
    }
    Outcome::warning(
        format!("{seen}; of partition {} the next to be read are among the oldest tenth", near.join(", ")),
        "let the table catch up, or keep messages longer (retention.ms, retention.bytes of the topic)",
    )
}

#[cfg(test)]
mod tests;
