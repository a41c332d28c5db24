//! Writes numbered events and tells the model, offset by offset, what was acknowledged.
//!
//! It works in rounds of 20 ms: send, wait for every acknowledgement, tell the model. So between rounds nothing is on
//! its way, which is what the model needs to settle. Transactions stay open over several rounds while plain messages
//! go on behind them, so the end of what is committed stands still and jumps.
//!
//! All messages of a round bear the time at which it began, so that times grow with offsets.
//!
//! Kafka may be away for a while: messages and the ends of transactions wait for it. A message whose fate stays unknown
//! makes the run void (an error), not wrong: the broker is not under test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};
use tokio::runtime::Handle;

use super::error::{ChaosError, Result};
use super::model::{Content, Model};
use super::timeline::Timeline;
use super::topic::client;

const ROUND: Duration = Duration::from_millis(20);
const ROUNDS_PER_S: u32 = 50;
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Transactions outlive a Kafka that is away for so long.
const KAFKA_AWAY_MAX_MS: &str = "300000";
/// How long the end of a transaction is tried for.
const TRANSACTION_INSIST: Duration = Duration::from_secs(180);
/// Longer than the tables' `seal.age_max`.
const SEALED_BY_AGE: Duration = Duration::from_millis(3500);
const METADATA_TIMEOUT: Duration = Duration::from_secs(20);
/// Transactional producers; each has at most one transaction open.
const TRANSACTIONAL: usize = 2;

/// Messages that no decoder may turn into a row of the table.
const UNDECODABLE: [&[u8]; 8] = [
    b"",
    b"not json",
    b"{\"id\": 1, \"producer\": 1, \"v\": \"cut",
    b"{\"producer\": 1, \"v\": \"no id\"}",
    b"{\"id\": null, \"producer\": 1}",
    b"{\"id\": \"many\", \"producer\": 1}",
    b"{\"id\": 9223372036854775808, \"producer\": 1}",
    b"[1, 2, 3]",
];

/// What the producer shares with the rest of the run.
pub(crate) struct Shared {
    pub(crate) model: Arc<Mutex<Model>>,
    /// Partitions to write to; grows when the topic is widened.
    pub(crate) partitions: AtomicI32,
    /// Events acknowledged and committed or not; the last id.
    pub(crate) last_id: AtomicU32,
    /// What was acknowledged when.
    pub(crate) timeline: Mutex<Timeline>,
    stop: AtomicBool,
}

/// The producing thread.
pub(crate) struct EventProducer {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<Written>>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    /// Messages acknowledged.
    pub(crate) messages: u64,
    /// Transactions committed.
    pub(crate) committed: u64,
    /// Transactions aborted.
    pub(crate) aborted: u64,
}

impl EventProducer {
    /// Starts writing `rate` messages a second to `topic`.
    pub(crate) fn start(kafka: &str, topic: &str, partitions: i32, rate: u32, seed: u64) -> Result<Self> {
        let shared = Arc::new(Shared {
            model: Arc::default(),
            partitions: AtomicI32::new(partitions),
            last_id: AtomicU32::new(0),
            timeline: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let work = Work::connect(kafka, topic, seed, shared.clone())?;
        let thread = std::thread::Builder::new().name("producer".into());
        let thread = thread.spawn(move || work.run(rate)).map_err(ChaosError::at("start the producer"))?;
        Ok(Self { shared, thread })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whether it gave up; [`stop`](Self::stop) says why.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends every transaction and the thread. Blocks.
    pub(crate) fn stop(self) -> Result<Written> {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.join().map_err(|_| ChaosError::new("producer", "it panicked"))?
    }
}

/// An open transaction.
#[derive(Clone, Copy, Debug)]
struct Transaction {
    number: u64,
    rounds_left: u32,
    commits: bool,
}

struct Sent {
    content: Content,
    transaction: Option<u64>,
    delivery: DeliveryFuture,
}

struct Work {
    topic: String,
    plain: FutureProducer,
    transactional: Vec<(FutureProducer, Option<Transaction>)>,
    random: StdRng,
    runtime: Handle,
    shared: Arc<Shared>,
    known_partitions: i32,
    next_partition: i32,
    /// When the round began, in milliseconds since the epoch.
    round_ms: i64,
    transactions: u64,
    written: Written,
}

impl Work {
    fn connect(kafka: &str, topic: &str, seed: u64, shared: Arc<Shared>) -> Result<Self> {
        let mut config = client(kafka);
        config.set("enable.idempotence", "true").set("acks", "all").set("linger.ms", "1");
        config.set("sticky.partitioning.linger.ms", "0");
        let failed = || ChaosError::at("connect a producer");
        let plain = config.create().map_err(failed())?;
        let mut transactional = Vec::new();
        for number in 0..TRANSACTIONAL {
            let mut config = config.clone();
            config.set("transactional.id", format!("{topic}-{number}"));
            config.set("transaction.timeout.ms", KAFKA_AWAY_MAX_MS);
            let producer: FutureProducer = config.create().map_err(failed())?;
            producer.init_transactions(TRANSACTION_TIMEOUT).map_err(ChaosError::at("init transactions"))?;
            transactional.push((producer, None));
        }
        Ok(Self {
            topic: topic.to_string(),
            plain,
            transactional,
            random: StdRng::seed_from_u64(seed ^ 0x5eed),
            runtime: Handle::current(),
            known_partitions: shared.partitions.load(Ordering::SeqCst),
            shared,
            next_partition: 0,
            round_ms: 0,
            transactions: 0,
            written: Written::default(),
        })
    }

    fn run(mut self, rate: u32) -> Result<Written> {
        let per_round = rate.div_ceil(ROUNDS_PER_S);
        while !self.shared.stop.load(Ordering::SeqCst) {
            let started = Instant::now();
            self.round(per_round)?;
            std::thread::sleep(ROUND.saturating_sub(started.elapsed()));
        }
        for index in 0..self.transactional.len() {
            self.end_transaction(index)?;
        }
        self.lonely_dead_letters()?;
        self.shared.model.lock().settle();
        Ok(self.written)
    }

    /// One undecodable message per partition, once everything before it was sealed by age: a range without a row.
    fn lonely_dead_letters(&mut self) -> Result<()> {
        std::thread::sleep(SEALED_BY_AGE);
        let mut sent = Vec::new();
        for partition in 0..self.known_partitions {
            let record: FutureRecord<'_, str, [u8]> = FutureRecord::to(&self.topic).partition(partition);
            let delivery = self.plain.send_result(record.payload(UNDECODABLE[1]));
            let delivery = delivery.map_err(|(error, _)| ChaosError::new("send a message", error))?;
            sent.push(Sent { content: Content::DeadLetter, transaction: None, delivery });
        }
        self.acknowledge(sent)
    }

    fn round(&mut self, messages: u32) -> Result<()> {
        self.learn_partitions()?;
        self.round_ms = now_ms().max(self.round_ms);
        self.shared.timeline.lock().mark(self.round_ms);
        let mut sent = Vec::new();
        for index in 0..self.transactional.len() {
            if self.transactional[index].1.is_none() && self.random.random_bool(0.08) {
                self.begin_transaction(index)?;
            }
        }
        for _ in 0..messages {
            // A third of the messages travels in transactions, when any is open.
            let through = self.random.random_range(0..3 * self.transactional.len());
            let through = Some(through)
                .filter(|index| self.transactional.get(*index).is_some_and(|open| open.1.is_some()));
            sent.extend(self.send(through)?);
        }
        self.acknowledge(sent)?;
        for index in 0..self.transactional.len() {
            if let Some(transaction) = &mut self.transactional[index].1 {
                transaction.rounds_left = transaction.rounds_left.saturating_sub(1);
                if transaction.rounds_left == 0 {
                    self.end_transaction(index)?;
                }
            }
        }
        self.shared.model.lock().settle();
        Ok(())
    }

    /// A producer refuses to send to a partition that its metadata do not have yet.
    fn learn_partitions(&mut self) -> Result<()> {
        let partitions = self.shared.partitions.load(Ordering::SeqCst);
        if partitions == self.known_partitions {
            return Ok(());
        }
        let producers = self.transactional.iter().map(|(producer, _)| producer).chain([&self.plain]);
        for producer in producers {
            let metadata = producer.client().fetch_metadata(Some(&self.topic), METADATA_TIMEOUT);
            let metadata = metadata.map_err(ChaosError::at("metadata of the topic"))?;
            let known = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
            if known < partitions.unsigned_abs() as usize {
                return Ok(());
            }
        }
        // The answer is also what the producers learn from, a moment later.
        std::thread::sleep(Duration::from_millis(200));
        self.known_partitions = partitions;
        Ok(())
    }

    /// Sends the next message, through a transactional producer or the plain one. `None`: its transaction takes no more.
    fn send(&mut self, through: Option<usize>) -> Result<Option<Sent>> {
        self.next_partition = (self.next_partition + 1) % self.known_partitions;
        let (content, payload) = match self.random.random_range(0..1000) {
            0..3 => (Content::Tombstone, None),
            3..8 => (
                Content::DeadLetter,
                Some(UNDECODABLE[self.random.random_range(0..UNDECODABLE.len())].to_vec()),
            ),
            _ => {
                let id = self.shared.last_id.fetch_add(1, Ordering::SeqCst) + 1;
                let producer = through.map_or(0, |index| index + 1);
                let text = format!("{{\"id\":{id},\"producer\":{producer},\"v\":\"value {}\"}}", id % 997);
                (Content::Row(id), Some(text.into_bytes()))
            }
        };
        let key = self.random.random_range(0..1000u32).to_string();
        let record = FutureRecord::to(&self.topic).partition(self.next_partition).key(&key);
        let record = record.timestamp(self.round_ms);
        let record = match &payload {
            Some(payload) => record.payload(payload),
            None => record,
        };
        let (producer, transaction) = match through {
            Some(index) => {
                (&self.transactional[index].0, self.transactional[index].1.map(|open| open.number))
            }
            None => (&self.plain, None),
        };
        let sent = producer.send_result(record).map_err(|(error, _)| error);
        match (sent, transaction) {
            (Ok(delivery), _) => Ok(Some(Sent { content, transaction, delivery })),
            (Err(_), Some(number)) => {
                self.give_up(number);
                Ok(None)
            }
            (Err(error), None) => Err(ChaosError::new("send an event", error)),
        }
    }

    /// Kafka has ended a transaction that took too long, as it does after a long stop. What of it was not acknowledged may
    /// be written or not: it is aborted in any case, so that nobody ever reads it.
    fn give_up(&mut self, number: u64) {
        let open = self.transactional.iter_mut().filter_map(|(_, open)| open.as_mut());
        for transaction in open.filter(|transaction| transaction.number == number) {
            (transaction.commits, transaction.rounds_left) = (false, 0);
        }
    }

    fn acknowledge(&mut self, sent: Vec<Sent>) -> Result<()> {
        let mut acknowledged = Vec::with_capacity(sent.len());
        for sent in sent {
            let delivery =
                self.runtime.block_on(sent.delivery).map_err(ChaosError::at("deliver an event"))?;
            match (delivery, sent.transaction) {
                (Ok(delivery), _) => acknowledged.push((delivery, sent.content, sent.transaction)),
                (Err(_), Some(number)) => self.give_up(number),
                (Err((error, _)), None) => return Err(ChaosError::new("deliver an event", error)),
            }
        }
        self.written.messages += acknowledged.len() as u64;
        let (mut model, mut timeline) = (self.shared.model.lock(), self.shared.timeline.lock());
        for (delivery, content, transaction) in acknowledged {
            model.acknowledge(delivery.partition, delivery.offset, content, transaction);
            timeline.acknowledge(delivery.partition, delivery.offset);
        }
        Ok(())
    }

    fn begin_transaction(&mut self, index: usize) -> Result<()> {
        let (producer, open) = &mut self.transactional[index];
        producer.begin_transaction().map_err(ChaosError::at("begin a transaction"))?;
        self.transactions += 1;
        let (rounds_left, commits) = (self.random.random_range(1..15), self.random.random_bool(0.6));
        *open = Some(Transaction { number: self.transactions, rounds_left, commits });
        Ok(())
    }

    fn end_transaction(&mut self, index: usize) -> Result<()> {
        let (producer, open) = &mut self.transactional[index];
        let Some(transaction) = open.take() else { return Ok(()) };
        let committed = transaction.commits
            && insist(|| producer.commit_transaction(TRANSACTION_TIMEOUT), "commit a transaction")?;
        if committed {
            self.written.committed += 1;
        } else {
            insist(|| producer.abort_transaction(TRANSACTION_TIMEOUT), "abort a transaction")?;
            self.written.aborted += 1;
        }
        self.shared.model.lock().decide(transaction.number, committed);
        Ok(())
    }
}

/// Repeats what Kafka could not do yet. Returns whether it is done; otherwise the transaction must be aborted.
fn insist(attempt: impl Fn() -> KafkaResult<()>, what: &str) -> Result<bool> {
    let give_up = Instant::now() + TRANSACTION_INSIST;
    loop {
        match attempt() {
            Ok(()) => return Ok(true),
            Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => return Ok(false),
            Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < give_up => {}
            Err(error) => return Err(ChaosError::new(what, error)),
        }
    }
}

fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
