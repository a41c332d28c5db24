//! Tables for tests: their log, their sealed segments, and answers as text.

// Each test binary takes what it needs.
#![allow(dead_code)]

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use headwater_segment::live::LiveTable;
use headwater_segment::log::{Change, Commit, LogSnapshot, TableLog};
use headwater_segment::mutable::MutableSegment;
use headwater_segment::sealed::{SealRequest, SegmentMeta, encode};
use headwater_segment::spec::parse_spec;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
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

async fn commit(log: &TableLog, change: Change) -> Arc<LogSnapshot> {
    log.commit(&Commit { id: Ulid::new(), at_ms: 1_700_000_000_000, change }).await.unwrap()
}

/// All rows of a segment.
pub(crate) fn rows(segment: &MutableSegment, table: &LiveTable) -> Vec<RecordBatch> {
    let columns: Vec<usize> = (0..table.schema().columns().len()).collect();
    segment.batches(0..segment.visible_rows(), &columns).map(Result::unwrap).collect()
}

/// Seals the rows of offsets `from..to`, commits them, and makes them visible.
pub(crate) async fn seal(
    table: &LiveTable,
    (store, root): (&dyn ObjectStore, &Path),
    (partition, from, to): (i32, i64, i64),
    rows: Vec<RecordBatch>,
) -> Arc<SegmentMeta> {
    let schema = table.schema();
    let request = SealRequest {
        schema: &schema,
        table: table.name(),
        partition,
        from,
        to,
        id: Ulid::new(),
        dead_letters: 0,
        rows,
        keep: Vec::new(),
    };
    let sealed = encode(request).unwrap();
    store.put(&sealed.meta.location(root), sealed.bytes.into()).await.unwrap();
    let meta = Arc::new(sealed.meta);
    let change = Change::Segment { epoch: 0, meta: Arc::clone(&meta), schema: Arc::clone(&schema) };
    table.adopt(commit(table.log(), change).await, None);
    meta
}

/// The rows of a batch as text.
pub(crate) fn lines(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    let line = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(line).collect()
}
