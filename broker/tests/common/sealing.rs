//! Sealed segments of the tables of tests.

use std::sync::Arc;

use arrow::array::RecordBatch;
use headwater_segment::live::LiveTable;
use headwater_segment::log::Change;
use headwater_segment::mutable::MutableSegment;
use headwater_segment::sealed::{SealRequest, SegmentMeta, encode};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use ulid::Ulid;

use crate::common::commit;

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
