//! The segment that the targets damage, and how.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use headwater_segment::schema::TableSchema;
use headwater_segment::sealed::{EncodedSegment, SealRequest, encode};
use headwater_segment::spec::parse_spec;

/// Its rows.
pub const ROWS: i64 = 2_000;
const SPEC: &str = "
name: events
sort_key: [city]
stream: {brokers: 'localhost:9092', topic: events}
columns:
  - {name: city, type: STRING}
  - {name: amount, type: LONG, index: [inverted, bloom]}
  - {name: id, type: STRING, index: [inverted, bloom]}
";

/// A good segment.
pub struct Good {
    /// Of its table.
    pub schema: TableSchema,
    /// Its object, and what the log would say of it.
    pub sealed: EncodedSegment,
}

/// The good segment.
pub static GOOD: LazyLock<Good> = LazyLock::new(|| {
    let schema = TableSchema::new(&parse_spec(SPEC).expect("the spec is valid"));
    let rows = 0..ROWS;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(
            rows.clone()
                .map(|row| (row % 9 != 0).then(|| format!("city {}", row % 20)))
                .collect::<StringViewArray>(),
        ),
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
    Good { schema, sealed }
});

/// The edits of an input: position, what to do, and a byte to do it with.
pub fn edits(data: &[u8]) -> impl Iterator<Item = (usize, u8, u8)> {
    let edits = data.as_chunks::<8>().0.iter();
    edits.map(|edit| (u32::from_le_bytes([edit[0], edit[1], edit[2], edit[3]]) as usize, edit[4], edit[5]))
}
