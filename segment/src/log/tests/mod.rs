//! The log against an in-memory store: what it records, what it refuses, and that no fault makes it lie.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use ulid::Ulid;

use super::testing::segment_meta;
use super::{Change, Commit, Conflict, GapReason, LogSnapshot, Place, TableLog};
use crate::SegmentError;
use crate::schema::TableSchema;
use crate::sealed::SegmentMeta;
use crate::spec::{TableSpec, parse_spec};

mod compact;
mod faults;
mod group;
mod history;
mod places;
mod race;
mod removed;
mod respecified;

const AT_MS: i64 = 1_700_000_000_000;

fn root() -> Path {
    Path::from("wh/tables/orders")
}

fn spec_with(columns: &str) -> TableSpec {
    parse_spec(&format!(
        "name: orders\ncolumns: [{columns}]\nstream: {{brokers: 'localhost:9092', topic: orders}}\n"
    ))
    .unwrap()
}

pub(crate) fn spec() -> TableSpec {
    spec_with("{name: id, type: LONG, nullable: false}, {name: city, type: STRING}")
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

pub(crate) fn meta(spec: &TableSpec, partition: i32, from: i64, to: i64) -> Arc<SegmentMeta> {
    let mut meta = segment_meta(&TableSchema::new(spec), Ulid::new(), partition, (from, to));
    meta.sealed_at_ms = AT_MS;
    Arc::new(meta)
}

fn commit(change: Change) -> Commit {
    Commit { id: Ulid::new(), at_ms: AT_MS, change }
}

/// A segment whose rows were read with `spec`.
fn segment_of(spec: &TableSpec, epoch: u32, partition: i32, from: i64, to: i64) -> Commit {
    let schema = Arc::new(TableSchema::new(spec));
    commit(Change::Segment { epoch, meta: meta(spec, partition, from, to), schema })
}

fn segment_in(epoch: u32, partition: i32, from: i64, to: i64) -> Commit {
    segment_of(&spec(), epoch, partition, from, to)
}

fn segment(partition: i32, from: i64, to: i64) -> Commit {
    segment_in(0, partition, from, to)
}

fn offsets(partition: i32, from: i64, to: i64) -> Commit {
    let schema = Arc::new(TableSchema::new(&spec()));
    commit(Change::Offsets { epoch: 0, schema, partition, from, to })
}

fn gap(partition: i32, from: i64, to: i64, reason: GapReason) -> Commit {
    commit(Change::Gap { epoch: 0, partition, from, to, reason })
}

fn start(starts: &[(i32, i64)]) -> Commit {
    let starts = starts.iter().copied().collect();
    commit(Change::FirstStart { epoch: 0, starts, topic_id: Some("topic-1".into()) })
}

fn recreated(epoch: u32, starts: &[(i32, i64)]) -> Commit {
    let starts: BTreeMap<i32, i64> = starts.iter().copied().collect();
    commit(Change::TopicRecreated { epoch, starts, topic_id: Some(format!("topic-{}", epoch + 2)) })
}

/// A table whose partitions begin at offset 0.
async fn started(store: &Arc<dyn ObjectStore>, partitions: i32) -> TableLog {
    let log = TableLog::create(store.clone(), root(), &spec()).await.unwrap();
    let starts: Vec<(i32, i64)> = (0..partitions).map(|partition| (partition, 0)).collect();
    log.commit(&start(&starts)).await.unwrap();
    log
}

async fn open(store: &Arc<dyn ObjectStore>) -> TableLog {
    TableLog::open(store.clone(), root()).await.unwrap().unwrap()
}

fn assert_same(left: &LogSnapshot, right: &LogSnapshot) {
    assert_eq!(left.version, right.version);
    assert_eq!(left.spec, right.spec);
    assert_eq!(left.segments, right.segments);
    assert_eq!(left.stream, right.stream);
}

/// The log holds exactly this, for its writer and for whoever opens it now; and it tiles.
async fn assert_reopens(store: &Arc<dyn ObjectStore>, log: &TableLog) {
    let snapshot = log.snapshot();
    assert_same(&snapshot, &open(store).await.snapshot());
    assert_eq!(snapshot.check_tiling(), Vec::<String>::new());
}

fn assert_fenced<T>(result: Result<T, SegmentError>, at: (i64, i64)) {
    match result {
        Err(SegmentError::Fenced { expected, committed, .. }) => assert_eq!((expected, committed), at),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was committed"),
    }
}

fn assert_refused<T>(result: Result<T, SegmentError>, word: &str) {
    match result {
        Err(SegmentError::Refused(message)) => assert!(message.contains(word), "{message}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was accepted"),
    }
}

fn assert_conflict<T>(result: Result<T, SegmentError>, expected: Conflict) {
    match result {
        Err(SegmentError::Conflict { conflict, .. }) => assert_eq!(conflict, expected),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was committed"),
    }
}

/// The commit ids in the log, by version.
async fn commit_ids(store: &Arc<dyn ObjectStore>) -> Vec<Ulid> {
    let mut paths: Vec<Path> = store
        .list(Some(&root().join("_delta_log")))
        .map_ok(|object| object.location)
        .try_collect()
        .await
        .unwrap();
    paths.retain(|path| path.as_ref().ends_with(".json"));
    paths.sort();
    let mut ids = Vec::new();
    for path in paths {
        let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
        let actions = super::actions::decode("test", &bytes).unwrap();
        for action in &actions {
            if let deltalake_core::kernel::Action::CommitInfo(info) = action {
                ids.extend(super::actions::commit_ids(info));
            }
        }
    }
    ids
}
