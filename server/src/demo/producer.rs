//! Sends the generator's events to a topic at a steady pace.

use std::f64::consts::TAU;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headwater_segment::clock::now_ms;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::generator::{Event, Generator};

/// Events are sent in bursts this far apart: 100 a second, too fine to be seen as bursts.
const TICK: Duration = Duration::from_millis(10);
/// After a stall (a suspended laptop) no more than this much is made up for.
const ARREARS_MAX: Duration = Duration::from_secs(1);
/// A day's tide of demand, in ten minutes so that it can be watched: a quarter above and below the target.
const WAVE_SECONDS: f64 = 600.0;
const WAVE_HEIGHT: f64 = 0.25;
const FLUSH_WAIT: Duration = Duration::from_secs(2);

/// Counts messages that the broker did not take.
#[derive(Debug, Default)]
struct Deliveries {
    failed: Arc<AtomicU64>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Produces about `events_per_second` events to `topic`, keyed by city, until `cancel`. The rate rises and falls
/// by a quarter in a ten-minute wave. Messages that the broker does not take are logged with their number.
///
/// # Errors
/// If the producer cannot be created, or refuses a message for another reason than a full queue.
pub async fn run(
    brokers: &str,
    topic: &str,
    events_per_second: u32,
    seed: u64,
    cancel: CancellationToken,
) -> KafkaResult<()> {
    let context = Deliveries::default();
    let failed = Arc::clone(&context.failed);
    let producer: ThreadedProducer<Deliveries> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "2")
        .set("acks", "1")
        .set("queue.buffering.max.messages", "1000000")
        .create_with_context(context)?;
    let mut generator = Generator::new(seed);
    let mut pace = Pace::new(f64::from(events_per_second));
    let mut waiting: Option<Event> = None;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let started = Instant::now();
    let mut failures_told = 0;
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            _ = ticks.tick() => {}
        }
        for _ in 0..pace.due(started.elapsed()) {
            let event = waiting.take().unwrap_or_else(|| generator.next(now_ms()));
            if !send(&producer, topic, &event)? {
                waiting = Some(event); // the queue is full: the rest of this burst is made up for later
                break;
            }
            pace.sent();
        }
        let failures = failed.load(Ordering::Relaxed);
        if failures > failures_told {
            tracing::warn!(topic, failed = failures, "the broker has not taken all demo events");
            failures_told = failures;
        }
    }
    let flushed = tokio::task::spawn_blocking(move || producer.flush(FLUSH_WAIT)).await;
    flushed.unwrap_or(Ok(()))
}

/// False if the producer's queue is full.
fn send(producer: &ThreadedProducer<Deliveries>, topic: &str, event: &Event) -> KafkaResult<bool> {
    match producer.send(BaseRecord::to(topic).key(event.key).payload(&event.payload)) {
        Ok(()) => Ok(true),
        Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
        Err((error, _)) => Err(error),
    }
}

/// How many events are due: the integral of the rate over time, less what was sent.
#[derive(Debug)]
struct Pace {
    per_second: f64,
    last: Duration,
    owed: f64,
}

impl Pace {
    fn new(per_second: f64) -> Self {
        Self { per_second, last: Duration::ZERO, owed: 0.0 }
    }

    /// Events due at `elapsed` since the start.
    fn due(&mut self, elapsed: Duration) -> usize {
        let step = elapsed.saturating_sub(self.last).min(ARREARS_MAX).as_secs_f64();
        self.last = elapsed;
        let wave = 1.0 + WAVE_HEIGHT * (TAU * elapsed.as_secs_f64() / WAVE_SECONDS).sin();
        self.owed = (self.owed + self.per_second * wave * step)
            .min(self.per_second * ARREARS_MAX.as_secs_f64() + 1.0);
        self.owed as usize
    }

    fn sent(&mut self) {
        self.owed -= 1.0;
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::{BaseConsumer, Consumer};

    use super::super::broker::{EmbeddedBroker, TopicConfig};
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn events_arrive_at_the_asked_pace_until_cancelled() {
        let topic = TopicConfig { name: "rides".into(), partitions: 3, retention_bytes: 64 << 20 };
        let broker = EmbeddedBroker::start(([127, 0, 0, 1], 0).into(), None, vec![topic]).await.unwrap();
        let address = broker.addr().to_string();
        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            stop.cancel();
        });
        run(&address, "rides", 2_000, 1, cancel).await.unwrap();
        let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &address).create().unwrap();
        let counts =
            [0, 1, 2].map(|p| consumer.fetch_watermarks("rides", p, Duration::from_secs(20)).unwrap().1);
        assert!((3_000..5_000).contains(&counts.iter().sum::<i64>()), "{counts:?}");
        assert!(counts.iter().all(|count| *count > 100), "keys spread over the partitions: {counts:?}");
    }

    fn sent_between(pace: &mut Pace, from_ms: u64, to_ms: u64) -> usize {
        let mut sent = 0;
        for ms in (from_ms..to_ms).step_by(10) {
            for _ in 0..pace.due(Duration::from_millis(ms)) {
                pace.sent();
                sent += 1;
            }
        }
        sent
    }

    #[test]
    fn the_pace_keeps_its_mean_and_follows_the_wave() {
        let mut pace = Pace::new(333.0);
        let quarters =
            [0, 150_000, 300_000, 450_000].map(|from| sent_between(&mut pace, from, from + 150_000));
        let total: usize = quarters.iter().sum();
        assert!((total as i64 - 333 * 600).abs() < 400, "{total}");
        assert!(quarters[0] > quarters[3] && quarters[1] > quarters[2], "{quarters:?}");
    }

    #[test]
    fn a_stall_is_not_followed_by_a_flood() {
        let mut pace = Pace::new(1000.0);
        sent_between(&mut pace, 0, 100);
        assert!(pace.due(Duration::from_secs(3600)) <= 1300);
    }
}
