//! Compaction and collection over a store in memory.

use std::collections::BTreeMap;

use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::LiveTable;
use headwater_segment::log::{Change, Commit, TableLog, table_root};
use headwater_segment::mutable::MutableSegment;
use headwater_segment::sealed::{SealRequest, encode};
use headwater_segment::spec::parse_spec;
use headwater_segment::tasks::{TaskKind, TaskSnapshot, TaskSubject};
use headwater_segment::value::{RowSink, Value};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::Semaphore;
use ulid::Ulid;

use super::*;

/// A table of small sealed segments.
struct Table {
    objects: Arc<dyn ObjectStore>,
    live: Arc<LiveTable>,
}

impl Table {
    async fn new(segments: i64) -> Self {
        let text =
            "name: t\ncolumns: [{name: a, type: INT}]\nsort_key: [a]\nstream: {brokers: [h:1], topic: x}\n";
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let root = table_root(&Path::from("lake"), "t");
        let log = TableLog::create(objects.clone(), root.clone(), &parse_spec(text).unwrap()).await.unwrap();
        let start = Change::FirstStart { epoch: 0, starts: BTreeMap::from([(0, 0)]), topic_id: None };
        log.commit(&Commit { id: Ulid::new(), at_ms: 0, change: start }).await.unwrap();
        let table = Self { live: LiveTable::new(log, objects.clone(), root), objects };
        for segment in 0..segments {
            table.seal(segment * 10).await;
        }
        table
    }

    async fn seal(&self, from: i64) {
        let schema = self.live.schema();
        let budget = MemoryBudget::new(1 << 30);
        let (mut writer, segment) = MutableSegment::create(schema.clone(), 0, from, budget);
        for offset in from..from + 10 {
            writer.set(0, Value::I32(offset as i32 * 7 % 11));
            writer.finish_row(offset, Some(offset), None, None);
        }
        writer.publish(from + 10);
        let all: Vec<usize> = (0..schema.columns().len()).collect();
        let sealed = encode(SealRequest {
            schema: &schema,
            table: "t",
            partition: 0,
            from,
            to: from + 10,
            id: Ulid::new(),
            dead_letters: 1,
            rows: segment.batches(0..10, &all).collect::<Result<Vec<_>, _>>().unwrap(),
            keep: Vec::new(),
        })
        .unwrap();
        self.objects.put(&sealed.meta.location(self.live.root()), sealed.bytes.into()).await.unwrap();
        let change = Change::Segment { epoch: 0, meta: Arc::new(sealed.meta.clone()), schema };
        let commit = Commit { id: sealed.meta.id, at_ms: 0, change };
        self.live.adopt(self.live.log().commit(&commit).await.unwrap(), None);
    }

    fn compactor(&self) -> Compactor {
        Compactor {
            live: self.live.clone(),
            encode_permits: Arc::new(Semaphore::new(1)),
            postponed: Arc::default(),
        }
    }

    /// The tasks of a kind, as `system.tasks` shows them.
    fn tasks(&self, kind: TaskKind) -> Vec<String> {
        let of_kind = self.live.tasks().list().into_iter().filter(|task| task.kind == kind);
        let text = |task: TaskSnapshot| {
            let (TaskSubject { what, total, .. }, state) = (task.subject, task.state.name());
            let next = if task.next_attempt_at_ms.is_some() { ", again" } else { "" };
            format!("{what}: {state}, {} of {}{next}", task.done, total.unwrap_or_default())
        };
        of_kind.map(text).collect()
    }

    fn ranges(&self) -> Vec<(i64, i64, u64)> {
        let snapshot = self.live.snapshot();
        assert_eq!(snapshot.check_tiling(), Vec::<String>::new());
        snapshot.segments.iter().map(|segment| (segment.from, segment.to, segment.rows)).collect()
    }

    async fn data_objects(&self) -> usize {
        let data = self.live.root().clone().join("data").join("0");
        self.objects.list_with_delimiter(Some(&data)).await.unwrap().objects.len()
    }
}

#[tokio::test]
async fn small_segments_become_one_and_the_old_objects_stay_for_a_while() {
    let table = Table::new(6).await;
    let before = table.live.snapshot();
    let compactor = table.compactor();
    let first = compactor.first().unwrap();
    compactor.run(first).await;
    assert_eq!(table.ranges(), [(0, 60, 60)]);
    assert_eq!(table.live.snapshot().segments.iter().next().unwrap().dead_letters, 6);
    assert!(table.compactor().first().is_none());
    assert_eq!(table.tasks(TaskKind::Compaction), ["partition 0, offsets 0 to 60: done, 6 of 6"]);
    assert_eq!(table.data_objects().await, 7);
    collection::collect(table.live.clone(), Arc::default()).await;
    for old in before.segments.iter() {
        table.objects.head(&old.location(table.live.root())).await.unwrap();
    }
    let collected = "objects that no version of the table needs: done, 0 of 0, again";
    assert_eq!(table.tasks(TaskKind::GarbageCollection), [collected]);
    // Three more are too few to be worth it.
    for from in [60, 70, 80] {
        table.seal(from).await;
    }
    assert!(table.compactor().first().is_none());
    table.seal(90).await;
    let (compactor, first) = (table.compactor(), table.compactor().first().unwrap());
    compactor.run(first).await;
    assert_eq!(table.ranges(), [(0, 60, 60), (60, 100, 40)]);
}

#[tokio::test]
async fn a_compaction_that_comes_too_late_changes_nothing_and_leaves_its_object() {
    let table = Table::new(4).await;
    let (compactor, before) = (table.compactor(), table.live.snapshot());
    let first = compactor.first().unwrap();
    table.live.log().expire_segments(vec![before.segments.iter().nth(1).unwrap().id]).await.unwrap();
    // What it believes is the version before.
    compactor.run(first).await;
    assert_eq!(table.ranges(), [(0, 10, 10), (20, 30, 10), (30, 40, 10)]);
    assert_eq!(table.tasks(TaskKind::Compaction), ["partition 0, offsets 0 to 40: failed, 4 of 4"]);
    assert_eq!(table.data_objects().await, 5, "an entry might name it for all that is known");
}

#[tokio::test]
async fn a_damaged_segment_waits_and_does_not_hold_up_the_others() {
    let table = Table::new(9).await;
    let damaged = table.live.snapshot().segments.iter().nth(2).unwrap().clone();
    let location = damaged.location(table.live.root());
    let mut bytes = table.objects.get(&location).await.unwrap().bytes().await.unwrap().to_vec();
    bytes[10] ^= 1;
    table.objects.put(&location, bytes.into()).await.unwrap();
    let compactor = table.compactor();
    let postponed = compactor.postponed.clone();
    let first = compactor.first().unwrap();
    compactor.run(first).await;
    assert_eq!(table.ranges(), [(0, 10, 10), (10, 20, 10), (20, 30, 10), (30, 90, 60)]);
    let tasks = table.tasks(TaskKind::Compaction);
    assert_eq!(tasks[0], "partition 0, offsets 0 to 90: failed, 9 of 9, again");
    assert!(tasks[1..].iter().all(|task| task.contains("done")), "{tasks:?}");
    let again = Compactor { postponed, ..table.compactor() };
    assert!(again.first().is_none());
}
