//! The producer: a steady rate, and for every event when it was handed over and when its acknowledgement arrived.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use crate::Result;
use crate::events::{Events, PARTITIONS, time_text};

const TICK: Duration = Duration::from_millis(1);
const FLUSH_WAIT: Duration = Duration::from_secs(30);

/// An acknowledged event. Times are nanoseconds since the run's origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) sent_ns: u64,
    pub(crate) acked_ns: u64,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// What was produced.
pub(crate) struct Load {
    pub(crate) rate: u64,
    /// In order of acknowledgement.
    pub(crate) acks: Vec<Ack>,
    pub(crate) bytes: u64,
    /// When sending began and ended.
    pub(crate) began_ns: u64,
    pub(crate) ended_ns: u64,
}

impl Load {
    /// By partition, the offset that a cut must have reached to contain every event.
    pub(crate) fn ends(&self) -> Vec<i64> {
        let mut ends = vec![0; PARTITIONS as usize];
        for ack in &self.acks {
            let end = &mut ends[ack.partition as usize];
            *end = (*end).max(ack.offset + 1);
        }
        ends
    }
}

struct Recorder {
    origin: Instant,
    /// Written by the producer's one polling thread only.
    acks: Mutex<Vec<Ack>>,
    failed: AtomicU64,
}

#[derive(Clone)]
struct Deliveries(Arc<Recorder>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    /// When the event was handed over, in nanoseconds since the origin.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, sent_ns: usize) {
        let acked_ns = self.0.origin.elapsed().as_nanos() as u64;
        match (result, self.0.acks.lock()) {
            (Ok(message), Ok(mut acks)) => acks.push(Ack {
                sent_ns: sent_ns as u64,
                acked_ns,
                partition: message.partition(),
                offset: message.offset(),
            }),
            _ => {
                self.0.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Sends `rate` events a second for `time`, evenly to all partitions.
pub(crate) fn produce(kafka: &str, topic: &str, rate: u64, time: Duration, origin: Instant) -> Result<Load> {
    let capacity = (rate as f64 * time.as_secs_f64()) as usize + 1024;
    let recorder = Arc::new(Recorder {
        origin,
        acks: Mutex::new(Vec::with_capacity(capacity)),
        failed: AtomicU64::new(0),
    });
    let producer: ThreadedProducer<Deliveries> = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("acks", "all")
        .set("linger.ms", "1")
        .set("batch.size", "262144")
        .set("queue.buffering.max.messages", "500000")
        .create_with_context(Deliveries(Arc::clone(&recorder)))?;
    let mut events = Events::new(rate);
    let (mut sent, mut bytes) = (0, 0);
    let began = Instant::now();
    while began.elapsed() < time {
        let due = (rate as f64 * began.elapsed().as_secs_f64()) as u64;
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
        let now = time_text(now_ms);
        // A full queue means that Kafka is behind: the rate is not reached then, and the result says so.
        while sent < due && began.elapsed() < time {
            let event = events.next(&now);
            send(&producer, topic, (sent % PARTITIONS as u64) as i32, event, origin)?;
            bytes += event.len() as u64;
            sent += 1;
        }
        std::thread::sleep(TICK);
    }
    let ended_ns = origin.elapsed().as_nanos() as u64;
    producer.flush(FLUSH_WAIT)?;
    let failed = recorder.failed.load(Ordering::Relaxed);
    if failed > 0 {
        return Err(format!("Kafka did not take {failed} events").into());
    }
    let acks = std::mem::take(&mut *recorder.acks.lock().map_err(|_| "the delivery callback panicked")?);
    let began_ns = began.saturating_duration_since(origin).as_nanos() as u64;
    Ok(Load { rate, acks, bytes, began_ns, ended_ns })
}

fn send(
    producer: &ThreadedProducer<Deliveries>,
    topic: &str,
    partition: i32,
    event: &[u8],
    origin: Instant,
) -> Result<()> {
    loop {
        let sent_ns = origin.elapsed().as_nanos() as usize;
        let record =
            BaseRecord::<(), [u8], usize>::with_opaque_to(topic, sent_ns).partition(partition).payload(event);
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => std::thread::sleep(TICK),
            Err((error, _)) => return Err(error.into()),
        }
    }
}
