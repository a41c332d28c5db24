//! Two consumers of one table in one process, as two nodes of a cluster run them: partitions change hands, replicas do not upload
//! what the other one does, one of them dies, and every event is there once.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use headwater_ingest::ownership::{Ownership, Rank};
use headwater_ingest::table::{IngestContext, TableIngest};
use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::{LiveTable, PartitionStage};
use headwater_segment::log::{TableLog, table_root};
use headwater_segment::resident::{ResidentConfig, ResidentStore};
use headwater_segment::spec::parse_spec;
use headwater_server::demo::broker::{EmbeddedBroker, TopicConfig};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use parking_lot::RwLock;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use tokio::sync::Semaphore;

const PARTITIONS: i32 = 3;
const WAIT: Duration = Duration::from_secs(60);

/// Who consumes a partition, the primary first, and what is in the memory of each.
#[derive(Default)]
struct Cluster {
    owners: RwLock<BTreeMap<i32, Vec<&'static str>>>,
    tables: RwLock<BTreeMap<&'static str, Arc<LiveTable>>>,
}

impl Cluster {
    fn assign(&self, partition: i32, owners: &[&'static str]) {
        self.owners.write().insert(partition, owners.to_vec());
    }

    fn visible(&self, node: &str, partition: i32) -> Option<i64> {
        let tables = self.tables.read();
        let live = tables.get(node)?;
        let stage = live.progress().into_iter().find(|progress| progress.partition == partition)?.stage;
        let serves = matches!(stage, PartitionStage::CatchingUp | PartitionStage::Live);
        serves.then(|| live.read().cut.offsets.get(&partition).copied()).flatten()
    }
}

/// The cluster as one of its nodes knows it.
struct Member(Arc<Cluster>, &'static str);

impl Ownership for Member {
    fn rank(&self, _table: &str, _table_id: &str, partition: i32) -> Rank {
        let owners = self.0.owners.read();
        match owners.get(&partition).and_then(|owners| owners.iter().position(|owner| *owner == self.1)) {
            Some(0) => Rank::Primary,
            Some(place) => Rank::Standby(place as u8),
            None => Rank::None,
        }
    }

    fn runs_jobs(&self, _table: &str, _table_id: &str) -> bool {
        // What compaction leaves behind would be taken for an upload in vain.
        false
    }

    fn is_served_by_owners(&self, _table: &str, _table_id: &str, partition: i32) -> bool {
        let ours = self.0.visible(self.1, partition);
        let owners = self.0.owners.read();
        let mut owners = owners.get(&partition).into_iter().flatten();
        owners.all(|owner| self.0.visible(owner, partition).is_some_and(|theirs| Some(theirs) >= ours))
    }

    fn is_served_elsewhere(&self, _table: &str, partition: i32) -> bool {
        let owners = self.0.owners.read();
        let mut others = owners.get(&partition).into_iter().flatten().filter(|owner| **owner != self.1);
        others.any(|owner| self.0.visible(owner, partition).is_some())
    }
}

struct World {
    store: Arc<dyn ObjectStore>,
    root: Path,
    cluster: Arc<Cluster>,
}

impl World {
    /// A cluster with this table, which no node consumes yet.
    async fn new(kafka: &EmbeddedBroker, seal: &str) -> Self {
        let spec = format!(
            "name: events\ncolumns: [{{name: id, type: LONG}}]\nstream: {{brokers: [\"{}\"], topic: events}}\nseal: {seal}\n",
            kafka.addr()
        );
        let world = Self {
            store: Arc::new(InMemory::new()),
            root: table_root(&Path::default(), "events"),
            cluster: Arc::default(),
        };
        TableLog::create(world.store.clone(), world.root.clone(), &parse_spec(&spec).unwrap()).await.unwrap();
        world
    }

    /// The table as it is now.
    async fn open(&self) -> Arc<LiveTable> {
        let log = TableLog::open(self.store.clone(), self.root.clone()).await.unwrap().unwrap();
        LiveTable::new(log, self.store.clone(), self.root.clone())
    }

    async fn start(&self, name: &'static str) -> (Arc<LiveTable>, TableIngest) {
        let live = self.open().await;
        let ingest = self.consume(name, live.clone());
        (live, ingest)
    }

    /// The table gets another spec, by somebody else.
    async fn respecify(&self, change: impl FnOnce(&str) -> String) {
        let log = TableLog::open(self.store.clone(), self.root.clone()).await.unwrap().unwrap();
        let spec = change(&log.snapshot().spec.to_json());
        log.set_spec(&parse_spec(&spec).unwrap()).await.unwrap();
    }

    fn consume(&self, name: &'static str, live: Arc<LiveTable>) -> TableIngest {
        self.cluster.tables.write().insert(name, live.clone());
        let resident = ResidentConfig { dir: None, disk_bytes_max: 0, memory_bytes_max: 1 << 20 };
        let context = IngestContext {
            budget: MemoryBudget::new(256 << 20),
            encode_permits: Arc::new(Semaphore::new(1)),
            residents: ResidentStore::open(resident).unwrap(),
            runtime: tokio::runtime::Handle::current(),
            workers_per_table: 1,
            ownership: Arc::new(Member(self.cluster.clone(), name)),
        };
        TableIngest::start(live, &context).unwrap()
    }

    /// What is in the table, checked: rows, and segments in the log and in the store.
    async fn sealed(&self) -> (u64, usize, usize) {
        let snapshot =
            TableLog::open(self.store.clone(), self.root.clone()).await.unwrap().unwrap().snapshot();
        assert_eq!(snapshot.check_tiling(), Vec::<String>::new());
        let objects = self.store.list(Some(&self.root.clone().join("data"))).count().await;
        let rows = snapshot.segments.rows();
        (rows, snapshot.segments.len(), objects)
    }

    async fn has_sealed(&self, rows: u64) {
        let begun = Instant::now();
        while self.sealed().await.0 != rows {
            assert!(begun.elapsed() < WAIT, "{:?} of {rows}", self.sealed().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn stage(live: &LiveTable, partition: i32) -> PartitionStage {
    live.progress().into_iter().find(|progress| progress.partition == partition).unwrap().stage
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < WAIT, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn kafka() -> EmbeddedBroker {
    let topic = TopicConfig { name: "events".into(), partitions: PARTITIONS, retention_bytes: 1 << 30 };
    EmbeddedBroker::start(SocketAddr::from(([127, 0, 0, 1], 0)), None, vec![topic]).await.unwrap()
}

async fn produce(broker: SocketAddr, per_partition: i64) {
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", broker.to_string()).create().unwrap();
    for id in 0..per_partition {
        let payload = format!("{{\"id\": {id}}}");
        for partition in 0..PARTITIONS {
            let record = || -> BaseRecord<'_, (), String> {
                BaseRecord::to("events").partition(partition).payload(&payload)
            };
            while producer.send(record()).is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    tokio::task::spawn_blocking(move || producer.flush(WAIT).unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_change_hands_and_every_event_is_there_once() {
    let kafka = kafka().await;
    let world = World::new(&kafka, "{rows_max: 500, age_max: 2s}").await;
    // 0 is of one node, 1 of both, 2 of the other.
    world.cluster.assign(0, &["a"]);
    world.cluster.assign(1, &["a", "b"]);
    world.cluster.assign(2, &["b"]);
    let (a, ingest_a) = world.start("a").await;
    let (b, ingest_b) = world.start("b").await;
    produce(kafka.addr(), 5000).await;
    world.has_sealed(15_000).await;
    assert_eq!(stage(&a, 2), PartitionStage::Elsewhere);
    assert_eq!(stage(&b, 0), PartitionStage::Elsewhere);
    assert_eq!((stage(&a, 1), stage(&b, 1)), (PartitionStage::Live, PartitionStage::Live));
    // What the standby waited with leaves its memory.
    until("the standby follows", || b.read().open.is_empty() && b.segments(1).len() == 1).await;
    let (_, named, stored) = world.sealed().await;
    assert_eq!(named, stored, "nothing was uploaded twice");

    // 0 changes hands while rows come in.
    let producing = tokio::spawn(produce(kafka.addr(), 5000));
    world.cluster.assign(0, &["b"]);
    until("released", || stage(&a, 0) == PartitionStage::Elsewhere && a.segments(0).is_empty()).await;
    assert_ne!(stage(&b, 0), PartitionStage::Elsewhere);
    producing.await.unwrap();
    world.has_sealed(30_000).await;

    // The other one dies with rows in memory.
    produce(kafka.addr(), 100).await;
    ingest_b.stop(false).await;
    (0..PARTITIONS).for_each(|partition| world.cluster.assign(partition, &["a"]));
    world.has_sealed(30_300).await;
    assert_eq!(a.read().cut.offsets, (0..PARTITIONS).map(|partition| (partition, 10_100)).collect());
    ingest_a.stop(true).await;
    kafka.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_that_another_node_has_recorded_is_no_trouble() {
    let kafka = kafka().await;
    let world = World::new(&kafka, "{rows_max: 500}").await;
    (0..PARTITIONS).for_each(|partition| world.cluster.assign(partition, &["a", "b"]));
    // Both know the table before anybody has begun it, and one is quicker.
    let late = world.open().await;
    let (quick, ingest_quick) = world.start("a").await;
    until("begun", || (0..PARTITIONS).all(|partition| quick.snapshot().committed(partition).is_some())).await;
    assert_eq!(late.snapshot().committed(0), None);
    let ingest_late = world.consume("b", late.clone());
    until("consumed by both", || {
        assert_eq!(late.trouble(), None);
        let progress = late.progress();
        assert!(progress.iter().all(|partition| partition.last_error.is_none()), "{progress:?}");
        let live = progress.iter().filter(|partition| partition.stage == PartitionStage::Live);
        live.count() == PARTITIONS as usize
    })
    .await;
    ingest_late.stop(false).await;
    ingest_quick.stop(false).await;
    kafka.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_with_an_earlier_spec_is_read_again() {
    let kafka = kafka().await;
    let world = World::new(&kafka, "{rows_max: 500}").await;
    (0..PARTITIONS).for_each(|partition| world.cluster.assign(partition, &["a"]));
    let (before, ingest) = world.start("a").await;
    produce(kafka.addr(), 700).await;
    until("all read", || before.read().cut.offsets.values().sum::<i64>() == 2100).await;
    ingest.begin_seal(None).await.unwrap().wait().await.unwrap();
    assert_eq!(world.sealed().await.0, 2100);
    // The node has not heard of the new spec when it is to seal the next segments.
    world
        .respecify(|spec| {
            let mut spec: serde_json::Value = serde_json::from_str(spec).unwrap();
            let again = serde_json::json!({"name": "again", "type": "LONG", "path": "id"});
            spec["columns"].as_array_mut().unwrap().push(again);
            spec.to_string()
        })
        .await;
    produce(kafka.addr(), 700).await;
    until("told by the log", || before.spec().columns.len() == 2).await;
    assert_eq!(world.sealed().await.0, 2100, "nothing was sealed without the new column");
    // As a node does when it sees another spec.
    ingest.stop(false).await;
    let (after, ingest) = world.start("a").await;
    until("all read again", || after.read().cut.offsets.values().sum::<i64>() == 4200).await;
    ingest.stop(true).await;
    assert_eq!(world.sealed().await.0, 4200);
    let snapshot = world.open().await.snapshot();
    for segment in snapshot.segments.iter().filter(|segment| segment.from >= 700) {
        assert_eq!(segment.columns[1].null_count, Some(0), "{}", segment.path);
    }
    kafka.shutdown().await;
}
