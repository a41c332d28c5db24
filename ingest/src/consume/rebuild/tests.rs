//! Rebuilds over a store in memory: what they leave there when something fails.

use std::collections::BTreeMap;

use headwater_segment::budget::MemoryBudget;
use headwater_segment::log::{Change, Commit, TableLog, table_root};
use headwater_segment::mutable::MutableSegment;
use headwater_segment::schema::TableSchema;
use headwater_segment::sealed::{SealRequest, encode};
use headwater_segment::spec::parse_spec;
use headwater_segment::value::{RowSink, Value};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::throttle::{ThrottleConfig, ThrottledStore};

use super::*;

const ROWS: i64 = 100;

/// A table of one sealed segment whose spec has got another index since.
struct Table {
    objects: Arc<dyn ObjectStore>,
    live: Arc<LiveTable>,
}

impl Table {
    async fn new(objects: Arc<dyn ObjectStore>) -> Self {
        let spec = |index: &str| {
            let text = format!(
                "name: t\ncolumns:\n  - {{name: a, type: INT, index: {index}}}\nstream: {{brokers: [h:1], topic: x}}\nseal: {{}}\n"
            );
            parse_spec(&text).unwrap()
        };
        let root = table_root(&Path::from("lake"), "t");
        let log = TableLog::create(objects.clone(), root.clone(), &spec("none")).await.unwrap();
        let commit = |id, change| Commit { id, at_ms: 0, change };
        let starts = BTreeMap::from([(0, 0)]);
        let start = Change::FirstStart { epoch: 0, starts, topic_id: None };
        log.commit(&commit(Ulid::new(), start)).await.unwrap();
        let schema = log.snapshot().schema.clone();
        let sealed = sealed(&schema);
        objects.put(&sealed.meta.location(&root), sealed.bytes.into()).await.unwrap();
        let change = Change::Segment { epoch: 0, meta: Arc::new(sealed.meta.clone()), schema };
        log.commit(&commit(sealed.meta.id, change)).await.unwrap();
        log.set_spec(&spec("[inverted]")).await.unwrap();
        Self { live: LiveTable::new(log, objects.clone(), root), objects }
    }

    fn rebuilder(&self) -> Rebuilder {
        Rebuilder {
            live: self.live.clone(),
            encode_permits: Arc::new(Semaphore::new(1)),
            failures: Arc::default(),
        }
    }

    fn segment(&self) -> Arc<SegmentMeta> {
        self.live.snapshot().segments.iter().next().unwrap().clone()
    }

    async fn data_objects(&self) -> Vec<Path> {
        let data = self.live.root().clone().join("data").join("0");
        let listed = self.objects.list_with_delimiter(Some(&data)).await.unwrap();
        listed.objects.into_iter().map(|object| object.location).collect()
    }
}

fn sealed(schema: &Arc<TableSchema>) -> EncodedSegment {
    let (mut writer, segment) = MutableSegment::create(schema.clone(), 0, 0, MemoryBudget::new(1 << 30));
    for offset in 0..ROWS {
        writer.set(0, Value::I32(offset as i32 % 7));
        writer.finish_row(offset, Some(offset), None, None);
    }
    writer.publish(ROWS);
    let all: Vec<usize> = (0..schema.columns().len()).collect();
    let rows = segment.batches(0..ROWS as usize, &all).collect::<Result<Vec<_>, _>>().unwrap();
    encode(SealRequest {
        schema,
        table: "t",
        partition: 0,
        from: 0,
        to: ROWS,
        id: Ulid::new(),
        dead_letters: 0,
        rows,
        keep: Vec::new(),
    })
    .unwrap()
}

#[tokio::test]
async fn a_rebuilt_segment_takes_the_place_of_the_old_one() {
    let table = Table::new(Arc::new(InMemory::new())).await;
    let old = table.segment();
    let rebuilder = table.rebuilder();
    let failures = rebuilder.failures.clone();
    rebuilder.run().await;
    let new = table.segment();
    assert!(new.id != old.id && new.rows == old.rows && new.sealed_at_ms == old.sealed_at_ms);
    assert!(due_segments(&table.live.snapshot(), &failures.lock(), Instant::now()).is_empty());
    assert_eq!(table.data_objects().await.len(), 2, "the old one is left for a collector");
}

#[tokio::test]
async fn a_segment_that_cannot_be_rebuilt_waits_and_leaves_nothing() {
    let table = Table::new(Arc::new(InMemory::new())).await;
    let location = table.segment().location(table.live.root());
    let mut bytes = table.objects.get(&location).await.unwrap().bytes().await.unwrap().to_vec();
    bytes[10] ^= 1;
    table.objects.put(&location, bytes.into()).await.unwrap();
    let rebuilder = table.rebuilder();
    let failures = rebuilder.failures.clone();
    rebuilder.run().await;
    let (snapshot, now) = (table.live.snapshot(), Instant::now());
    assert!(due_segments(&snapshot, &failures.lock(), now + Duration::from_secs(58)).is_empty());
    assert_eq!(due_segments(&snapshot, &failures.lock(), now + Duration::from_secs(61)).len(), 1);
    assert_eq!(table.data_objects().await, [location]);
}

#[tokio::test]
async fn what_the_log_refuses_does_not_stay_in_the_store() {
    let table = Table::new(Arc::new(InMemory::new())).await;
    let (before, old) = (table.live.snapshot(), table.segment());
    table.live.log().expire_segments(vec![old.id]).await.unwrap();
    let refused = table.rebuilder().replace(&before, &old).await;
    assert!(matches!(refused, Err(SegmentError::Conflict { .. })), "{refused:?}");
    assert_eq!(table.data_objects().await, [old.location(table.live.root())]);
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_is_tried_again_with_the_same_object() {
    let table = Table::new(Arc::new(InMemory::new())).await;
    let (snapshot, old) = (table.live.snapshot(), table.segment());
    // Something else lies where the next entry goes, and cannot be read.
    let next =
        table.live.root().clone().join("_delta_log").join(format!("{:020}.json", snapshot.version + 1));
    table.objects.put(&next, "no entry".into()).await.unwrap();
    let rebuilder = table.rebuilder();
    for _ in 0..3 {
        rebuilder.replace(&snapshot, &old).await.unwrap_err();
    }
    assert_eq!(
        table.data_objects().await.len(),
        2,
        "the old one and one replacement, whose commit may yet land"
    );
    table.objects.delete(&next).await.unwrap();
    rebuilder.replace(&snapshot, &old).await.unwrap();
    let objects = table.data_objects().await;
    assert!(objects.len() == 2 && objects.contains(&table.segment().location(table.live.root())));
}

#[tokio::test]
async fn no_encoder_is_held_while_the_object_comes() {
    let slow = ThrottledStore::new(InMemory::new(), ThrottleConfig::default());
    let slow = Arc::new(slow);
    let table = Table::new(slow.clone()).await;
    slow.config_mut(|config| config.wait_get_per_call = Duration::from_millis(500));
    let rebuilder = table.rebuilder();
    let permits = rebuilder.encode_permits.clone();
    let old = table.segment();
    let task = tokio::spawn(rebuilder.run());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((permits.available_permits(), table.segment().id), (1, old.id), "the object is on its way");
    task.await.unwrap();
    assert_ne!(table.segment().id, old.id);
}
