//! Tables for tests.

use std::sync::Arc;

use headwater_segment::live::LiveTable;
use headwater_segment::log::{Change, Commit, LogSnapshot, TableLog};
use headwater_segment::spec::parse_spec;
use object_store::ObjectStore;
use object_store::path::Path;
use ulid::Ulid;

/// A table of so many partitions without rows, at `root` in `store`.
pub(crate) async fn table(
    store: &Arc<dyn ObjectStore>,
    spec: &str,
    root: &Path,
    partitions: i32,
) -> Arc<LiveTable> {
    let spec = parse_spec(spec).unwrap();
    let log = TableLog::create(Arc::clone(store), root.clone(), &spec).await.unwrap();
    let starts = (0..partitions).map(|partition| (partition, 0)).collect();
    commit(&log, Change::FirstStart { epoch: 0, starts, topic_id: None }).await;
    LiveTable::new(log, Arc::clone(store), root.clone())
}

/// Commits a change.
pub(crate) async fn commit(log: &TableLog, change: Change) -> Arc<LogSnapshot> {
    log.commit(&Commit { id: Ulid::new(), at_ms: 1_700_000_000_000, change }).await.unwrap()
}
