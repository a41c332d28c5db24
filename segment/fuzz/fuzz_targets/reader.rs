//! A good segment, damaged as the fuzzer says and read as the table log describes it: the rows that were written, or an error;
//! never a panic, never other rows.
//!
//! The input is a list of edits, each of eight bytes: position (4), what to do (1), and a byte to do it with (1); the last two
//! are not looked at.
#![no_main]

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use bytes::Bytes;
use futures::TryStreamExt;
use headwater_segment::schema::TableSchema;
use headwater_segment::sealed::{
    EncodedSegment, FooterCache, Probe, SealRequest, SegmentReaderFactory, encode,
};
use headwater_segment::spec::parse_spec;
use libfuzzer_sys::fuzz_target;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::ArrowReaderOptions;

const ROWS: i64 = 2_000;
const SPEC: &str = "
name: events
sort_key: [city]
stream: {brokers: 'localhost:9092', topic: events}
columns:
  - {name: city, type: STRING}
  - {name: amount, type: LONG, index: [inverted, bloom]}
  - {name: id, type: STRING, index: [inverted, bloom]}
";

struct Good {
    schema: TableSchema,
    sealed: EncodedSegment,
    rows: RecordBatch,
}

static GOOD: LazyLock<Good> = LazyLock::new(|| {
    let schema = TableSchema::new(&parse_spec(SPEC).expect("the spec is valid"));
    let rows = 0..ROWS;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.clone().map(|row| (row % 9 != 0).then(|| format!("city {}", row % 20))).collect::<StringViewArray>()),
        Arc::new(rows.clone().map(|row| (row % 7 != 0).then_some(row * 37 % 100)).collect::<Int64Array>()),
        Arc::new(rows.clone().map(|row| Some(format!("{row:020}"))).collect::<StringViewArray>()),
        Arc::new(Int32Array::from_value(0, ROWS as usize)),
        Arc::new(Int64Array::from_iter_values(rows.clone())),
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows).with_timezone("UTC")),
        Arc::new(StringViewArray::new_null(ROWS as usize)),
        Arc::new(StringViewArray::new_null(ROWS as usize)),
    ];
    let batch = RecordBatch::try_new(schema.arrow().clone(), columns).expect("the rows fit the schema");
    let sealed = encode(SealRequest {
        schema: &schema,
        table: "events",
        partition: 0,
        from: 0,
        to: ROWS,
        id: ulid::Ulid::from_parts(1, 1),
        dead_letters: 0,
        rows: vec![batch],
        keep: Vec::new(),
    })
    .expect("the rows can be sealed");
    let rows = read(&schema, &sealed, sealed.bytes.clone()).expect("what was written can be read");
    Good { schema, sealed, rows }
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
    for edit in data.as_chunks::<8>().0 {
        let position = u32::from_le_bytes([edit[0], edit[1], edit[2], edit[3]]) as usize;
        let position = position % object.len().max(1);
        match edit[4] % 5 {
            0 => object.truncate(position),
            1 => object.push(edit[5]),
            2 => object.insert(position.min(object.len()), edit[5]),
            _ if position < object.len() => object[position] ^= edit[5],
            _ => {}
        }
    }
    if let Some(rows) = read(&good.schema, &good.sealed, object.into()) {
        assert_eq!(rows, good.rows);
    }
});
