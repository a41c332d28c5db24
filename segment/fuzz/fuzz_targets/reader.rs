//! A good segment, damaged as the fuzzer says and read as the table log describes it: the rows that were written, or an error;
//! never a panic, never other rows.
//!
//! The input is a list of edits, each of eight bytes: position (4), what to do (1), and a byte to do it with (1); the last two
//! are not looked at.
#![no_main]

use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;
use futures::TryStreamExt;
use headwater_segment::schema::TableSchema;
use headwater_segment::sealed::{EncodedSegment, FooterCache, Probe, SegmentReaderFactory};
use libfuzzer_sys::fuzz_target;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::ArrowReaderOptions;

use headwater_segment_fuzz::{GOOD, Good, ROWS, edits};

static ROWS_WRITTEN: LazyLock<RecordBatch> = LazyLock::new(|| {
    let Good { schema, sealed } = &*GOOD;
    read(schema, sealed, sealed.bytes.clone()).expect("what was written can be read")
});

fn read(schema: &TableSchema, sealed: &EncodedSegment, object: Bytes) -> Option<RecordBatch> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let root = Path::from("t");
        store.put(&sealed.meta.location(&root), object.into()).await.expect("memory stores");
        let factory = SegmentReaderFactory::new(store, root, FooterCache::new(1 << 20));
        let meta = Arc::new(sealed.meta.clone());
        if let Ok(mut indexes) = factory.indexes(meta.clone()).await {
            for column in ["city", "amount", "id"] {
                if let Ok(Some(postings)) = indexes.postings(column).await {
                    let count = u64::from(postings.order().count);
                    let rows: u64 = (0..count).filter_map(|code| postings.by_code().count(code)).sum();
                    assert_eq!(rows, ROWS as u64);
                }
            }
            // What was written is never denied.
            for row in [1, 77, ROWS - 1] {
                let id = format!("{row:020}");
                assert_ne!(indexes.might_contain("id", Probe::Bytes(id.as_bytes())).await.ok(), Some(false));
            }
        }
        let options = ArrowReaderOptions::new().with_schema(schema.arrow().clone());
        let stream =
            ParquetRecordBatchStreamBuilder::new_with_options(factory.reader(meta), options).await.ok()?;
        let batches: Vec<RecordBatch> = stream.build().ok()?.try_collect().await.ok()?;
        concat_batches(schema.arrow(), &batches).ok()
    })
}

fuzz_target!(|data: &[u8]| {
    let good = &*GOOD;
    let mut object = good.sealed.bytes.to_vec();
    for (position, what, byte) in edits(data) {
        let position = position % object.len().max(1);
        match what % 5 {
            0 => object.truncate(position),
            1 => object.push(byte),
            2 => object.insert(position.min(object.len()), byte),
            _ if position < object.len() => object[position] ^= byte,
            _ => {}
        }
    }
    if let Some(rows) = read(&good.schema, &good.sealed, object.into()) {
        assert_eq!(rows, *ROWS_WRITTEN);
    }
});
