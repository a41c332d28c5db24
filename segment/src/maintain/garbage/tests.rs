//! Cases of the rule, and sweeps over a store in memory: nothing goes that a reader or a writer still needs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use proptest::prelude::*;

use super::*;
use crate::log::LogSnapshot;
use crate::log::testing::segment_meta;
use crate::schema::TableSchema;
use crate::sealed::dead_letters_path;
use crate::spec::{TableSpec, parse_spec};

const START_MS: i64 = 1_700_000_000_000;

fn path_of(id: Ulid) -> String {
    format!("data/0/{:020}-{:020}-{id}.parquet", 0, 10)
}

#[test]
fn the_rule_case_by_case() {
    let id = |age_ms: i64| Ulid::from_parts((START_MS - age_ms) as u64, 7);
    let old = id(UNNAMED_AGE_MS + 1);
    let mark = (START_MS - UNNAMED_AGE_MS) as u64;
    let check = |object: &str, references: &References, seen: Option<i64>, expected: bool| {
        assert_eq!(may_delete(object, START_MS, references, seen), expected, "{object} {seen:?}");
    };
    let nothing = References::made_of(&[], &[], mark);
    check(&path_of(old), &nothing, None, true);
    check(&path_of(id(UNNAMED_AGE_MS)), &nothing, None, false);
    check(&path_of(id(-UNNAMED_AGE_MS)), &nothing, None, false);
    check(&path_of(old), &References::made_of(&[], &[], mark - 1), None, false);
    check(&path_of(old), &References::made_of(&[old], &[], mark), None, false);
    check(&path_of(old), &References::made_of(&[old], &[old], mark), Some(0), false);
    let removed = References::made_of(&[], &[old], mark);
    check(&path_of(old), &removed, None, false);
    check(&path_of(old), &removed, Some(START_MS - GRACE_MS), false);
    check(&path_of(old), &removed, Some(START_MS - GRACE_MS - 1), true);
    check(&path_of(old), &removed, Some(START_MS + 1), false);
    for foreign in [
        dead_letters_path(0, 0, 10, old),
        format!("_delta_log/{:020}.json", 3),
        format!("data/0/{old}.txt"),
        format!("data/{old}.parquet"),
        format!("other/0/0-10-{old}.parquet"),
        "data/0/0-10-not-a-ulid.parquet".into(),
        String::new(),
    ] {
        check(&foreign, &nothing, None, false);
        check(&foreign, &removed, Some(0), false);
    }
    assert!(!is_upload_too_old(START_MS, START_MS + UPLOAD_AGE_MAX_MS));
    assert!(is_upload_too_old(START_MS, START_MS + UPLOAD_AGE_MAX_MS + 1));
    assert!(!is_upload_too_old(START_MS, START_MS - 1));
}

fn spec() -> TableSpec {
    parse_spec("name: t\ncolumns: [{name: a, type: INT}]\nstream: {brokers: 'k:1', topic: t}\n").unwrap()
}

/// A table with one partition, its store, and a clock that the test moves.
struct World {
    store: Arc<dyn ObjectStore>,
    root: Path,
    log: TableLog,
    schema: Arc<TableSchema>,
    now_ms: i64,
    ids: u128,
    /// When each object ceased to be named by the newest version.
    removed_at_ms: BTreeMap<Ulid, i64>,
    /// Uploaded, and to be committed later.
    waiting: Vec<Arc<SegmentMeta>>,
}

impl World {
    async fn new() -> Self {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let root = Path::from("wh/tables/t");
        let log = TableLog::create(store.clone(), root.clone(), &spec()).await.unwrap();
        let mut world = Self {
            store,
            root,
            log,
            schema: Arc::new(TableSchema::new(&spec())),
            now_ms: START_MS,
            ids: 0,
            removed_at_ms: BTreeMap::new(),
            waiting: Vec::new(),
        };
        let starts = BTreeMap::from([(0, 0)]);
        world.commit(Change::FirstStart { epoch: 0, starts, topic_id: None }).await.unwrap();
        world
    }

    fn id(&mut self) -> Ulid {
        self.ids += 1;
        Ulid::from_parts(self.now_ms as u64, self.ids)
    }

    async fn commit(&mut self, change: Change) -> Result<Arc<LogSnapshot>> {
        let id = match &change {
            Change::Segment { meta, .. } | Change::Compact { meta, .. } => meta.id,
            _ => self.id(),
        };
        let before = self.named();
        let committed = self.log.commit(&Commit { id, at_ms: self.now_ms, change }).await;
        let after = self.named();
        self.removed_at_ms.extend(before.difference(&after).map(|id| (*id, self.now_ms)));
        committed
    }

    fn named(&self) -> BTreeSet<Ulid> {
        self.log.snapshot().segments.iter().map(|segment| segment.id).collect()
    }

    async fn upload(&mut self, from: i64, to: i64) -> Arc<SegmentMeta> {
        let id = self.id();
        let meta = segment_meta(&self.schema, id, 0, (from, to));
        self.store.put(&meta.location(&self.root), "rows".into()).await.unwrap();
        Arc::new(meta)
    }

    async fn seal(&mut self, meta: Arc<SegmentMeta>) -> Result<Arc<LogSnapshot>> {
        self.commit(Change::Segment { epoch: 0, meta, schema: self.schema.clone() }).await
    }

    async fn objects(&self) -> BTreeSet<Ulid> {
        list(&*self.store, &self.root).await.unwrap().into_iter().map(|(_, id)| id).collect()
    }

    /// A whole sweep; checks what it deleted.
    async fn sweep(&mut self, collector: &mut Collector) -> BTreeSet<Ulid> {
        let (mark, now_ms, before) = (self.id(), self.now_ms, self.objects().await);
        let found = collector.find(&self.log, &*self.store, &self.root, mark, || now_ms).await.unwrap();
        delete(&*self.store, &self.root, found).await.unwrap();
        let after = self.objects().await;
        let gone: BTreeSet<Ulid> = before.difference(&after).copied().collect();
        for id in &gone {
            let removed_at_ms = self.removed_at_ms.get(id);
            assert!(!self.named().contains(id), "{id} is in the table");
            assert!(removed_at_ms.is_none_or(|at| now_ms - at > GRACE_MS), "a reader may need {id}");
            assert!(
                removed_at_ms.is_some() || now_ms - id.timestamp_ms() as i64 > UNNAMED_AGE_MS,
                "{id} may be on its way into the table"
            );
        }
        assert!(self.named().is_subset(&after));
        gone
    }

    async fn step(&mut self, choice: u64, collectors: &mut [Collector]) {
        let committed = self.log.snapshot().committed(0).unwrap();
        let segments: Vec<_> = self.log.snapshot().segments.iter().cloned().collect();
        match choice % 9 {
            0..=2 => {
                let meta = self.upload(committed, committed + 1 + (choice >> 8) as i64 % 5).await;
                self.waiting.push(meta);
            }
            3 | 4 => {
                let at = (choice >> 8) as usize % self.waiting.len().max(1);
                if let Some(meta) = self.waiting.get(at).cloned() {
                    // Fenced, or shut out, or in the table; in which case its object must be there.
                    let _ = self.seal(meta).await;
                    self.waiting.remove(at);
                }
            }
            5 => {
                let at = (choice >> 8) as usize % segments.len().max(1);
                if let Some([left, right]) = segments.get(at..at + 2)
                    && left.to == right.from
                {
                    let (old, schema) = (vec![left.id, right.id], self.schema.clone());
                    let meta = self.upload(left.from, right.to).await;
                    self.commit(Change::Compact { epoch: 0, old, meta, schema }).await.unwrap();
                }
            }
            6 => {
                let expired = segments.first().map(|segment| segment.id).into_iter().collect();
                let _ = self.commit(Change::Expire { segments: expired }).await;
            }
            7 => self.now_ms += ((choice >> 8) % 180) as i64 * 60_000,
            _ => {
                let collector = (choice >> 8) as usize % collectors.len();
                self.sweep(&mut collectors[collector]).await;
            }
        }
        let objects = self.objects().await;
        assert!(self.named().is_subset(&objects), "the table names an object that is gone");
        assert_eq!(self.log.snapshot().check_tiling(), Vec::<String>::new());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_sweep_deletes_what_a_version_inside_the_grace_names(
        choices in prop::collection::vec(any::<u64>(), 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            let mut collectors = [Collector::default(), Collector::default()];
            for choice in choices {
                world.step(choice, &mut collectors).await;
            }
            // In the end all garbage goes.
            world.waiting.clear();
            for _ in 0..2 {
                world.now_ms += UNNAMED_AGE_MS + GRACE_MS;
                world.sweep(&mut collectors[0]).await;
            }
            assert_eq!(world.objects().await, world.named());
        });
    }
}

#[tokio::test]
async fn a_writer_that_slept_for_a_day_after_its_upload_is_shut_out() {
    let mut world = World::new().await;
    let mut collector = Collector::default();
    let forgotten = world.upload(0, 10).await;
    world.now_ms += UNNAMED_AGE_MS + 1;
    let version = world.log.snapshot().version;
    assert_eq!(world.sweep(&mut collector).await, BTreeSet::from([forgotten.id]));
    assert_eq!(world.log.snapshot().version, version + 1, "one mark");
    let late = world.seal(forgotten).await;
    assert!(matches!(late, Err(SegmentError::Conflict { .. })), "{late:?}");
    let anew = world.upload(0, 10).await;
    world.seal(anew).await.unwrap();
    world.sweep(&mut collector).await;
    assert_eq!(world.log.snapshot().version, version + 2, "no mark without garbage");
}

#[tokio::test]
async fn letters_and_the_log_stay_and_a_dropped_table_is_left_alone() {
    let mut world = World::new().await;
    let old = Ulid::from_parts(1, 1);
    let letters = Path::from(format!("{}/{}", world.root, dead_letters_path(0, 0, 10, old)));
    world.store.put(&letters, "letters".into()).await.unwrap();
    let abandoned = world.upload(0, 10).await;
    let mut collector = Collector::default();
    world.log.drop_table().await.unwrap();
    let anew = TableLog::create(world.store.clone(), world.root.clone(), &spec()).await.unwrap();
    world.now_ms += UNNAMED_AGE_MS + 1;
    // The old handle is of a table that is no more, whatever has its name now.
    let (store, root, now_ms) = (world.store.clone(), world.root.clone(), world.now_ms);
    let found = collector.find(&world.log, &*store, &root, old, || now_ms).await;
    assert!(matches!(found, Err(SegmentError::NoSuchTable(_))), "{found:?}");
    // To the new table it is an object that no entry names.
    let found = collector.find(&anew, &*store, &root, Ulid::from_parts(2, 2), || now_ms).await.unwrap();
    assert_eq!(found, [abandoned.location(&root)]);
    assert_eq!(delete(&*store, &root, found.clone()).await.unwrap(), 1);
    delete(&*store, &root, found).await.unwrap();
    assert!(store.head(&letters).await.is_ok());
}
