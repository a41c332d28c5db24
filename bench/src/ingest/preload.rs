//! Fills the benchmark's topic, once.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::Result;
use crate::events::{Events, PARTITIONS, preloaded_time};
use crate::report::{grouped, note};
use crate::topic::Topic;

/// The events of the topic, of the parsers and of the peer are those of this seed.
pub(super) const SEED: u64 = 42;
const FLUSH_WAIT: Duration = Duration::from_secs(60);
const CREATE_TRIES: usize = 20;

/// The topic with exactly `events` events. One that has another number of them is filled anew.
pub(super) fn topic(kafka: &str, events: u64) -> Result<Topic> {
    let topic = Topic::lasting(kafka, &format!("headwater-bench-ingest-{events}"));
    let present = topic.messages()?;
    if present == Some(events) {
        return Ok(topic);
    }
    if present.is_some() {
        topic.delete()?;
    }
    create(&topic)?;
    note(format_args!("ingest: filling topic {} with {} events", topic.name(), grouped(events as f64)));
    fill(kafka, topic.name(), events)?;
    match topic.messages()? {
        Some(present) if present == events => Ok(topic),
        present => Err(format!("topic {} holds {present:?} messages, not {events}", topic.name()).into()),
    }
}

/// A topic that was just deleted keeps its name for a moment.
fn create(topic: &Topic) -> Result<()> {
    for _ in 0..CREATE_TRIES {
        if topic.create().is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    topic.create()
}

fn fill(kafka: &str, topic: &str, count: u64) -> Result<()> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "50")
        .set("batch.size", "1000000")
        .create()?;
    let mut events = Events::new(SEED);
    for number in 0..count {
        let event = events.next(&preloaded_time(number));
        let partition = (number % PARTITIONS as u64) as i32;
        while let Err((error, _)) =
            producer.send(BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(event))
        {
            match error {
                KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => {
                    producer.poll(Duration::from_millis(10));
                }
                error => return Err(error.into()),
            }
        }
        if number % 1024 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    Ok(producer.flush(FLUSH_WAIT)?)
}
