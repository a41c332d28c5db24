//! Undecodable messages on their way to a Kafka topic.
//!
//! Each is sent as soon as it is found. A partition's commit waits until all of its letters up to the committed
//! offset are acknowledged, so none is lost; after a crash in between, some arrive twice (same partition and offset
//! in their headers).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headwater_segment::spec::StreamSpec;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use crate::error::{IngestError, Result};
use crate::kafka::stream::RawMessage;

/// Longest reason that travels as a header.
const REASON_BYTES_MAX: usize = 1024;

#[derive(Clone, Default)]
struct Deliveries {
    sent: Arc<AtomicU64>,
    done: Arc<AtomicU64>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _opaque: ()) {
        if let Err((error, _)) = result {
            // Refused for good (no such topic, too large). The letter is still in `system.dead_letters`.
            tracing::error!(%error, "a dead letter was not delivered");
        }
        self.done.fetch_add(1, Ordering::SeqCst);
    }
}

/// The dead-letter topic of one table.
#[derive(Clone)]
pub(crate) struct DeadLetterTopic {
    topic: Arc<str>,
    source_topic: Arc<str>,
    producer: Arc<ThreadedProducer<Deliveries>>,
    deliveries: Deliveries,
}

impl DeadLetterTopic {
    pub(crate) fn connect(stream: &StreamSpec, topic: &str) -> Result<Self> {
        let deliveries = Deliveries::default();
        let mut config = crate::kafka::config::producer_config(stream)?;
        // Kept for ever rather than given up: a letter that cannot be delivered holds its partition's commit back.
        config.set("message.timeout.ms", "0");
        let producer = config
            .create_with_context(deliveries.clone())
            .map_err(|error| IngestError::Config { topic: topic.to_string(), reason: error.to_string() })?;
        Ok(Self {
            topic: topic.into(),
            source_topic: stream.topic.as_str().into(),
            producer: Arc::new(producer),
            deliveries,
        })
    }

    /// Sends one letter; waits only while the producer's queue is full.
    pub(crate) fn send(&self, message: &RawMessage<'_>, payload: &[u8], reason: &str) {
        let mut end = reason.len().min(REASON_BYTES_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let (partition, offset) = (message.partition.to_string(), message.offset.to_string());
        let headers = [
            ("headwater.topic", &*self.source_topic),
            ("headwater.partition", &partition),
            ("headwater.offset", &offset),
            ("headwater.reason", &reason[..end]),
        ]
        .into_iter()
        .fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        });
        self.deliveries.sent.fetch_add(1, Ordering::SeqCst);
        let mut record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(&self.topic).payload(payload).headers(headers);
        if let Some(key) = message.key {
            record = record.key(key);
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), returned)) => {
                    record = returned;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => {
                    // Larger than the producer's limit, for one. The letter is still in `system.dead_letters`.
                    tracing::error!(%error, topic = &*self.topic, partition, offset, "a dead letter was refused");
                    self.deliveries.done.fetch_add(1, Ordering::SeqCst);
                    return;
                }
            }
        }
    }

    /// Waits until everything sent before this call is acknowledged.
    pub(crate) async fn delivered(&self) {
        let wanted = self.deliveries.sent.load(Ordering::SeqCst);
        while self.deliveries.done.load(Ordering::SeqCst) < wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks the producer to send what it has, without waiting long.
    pub(crate) fn flush(&self) {
        let _ = self.producer.flush(Duration::from_secs(5));
    }
}
