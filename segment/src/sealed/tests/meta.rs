//! A segment's description survives the table log.

use deltalake_core::kernel::Add;
use serde_json::json;

use super::*;

fn sealed(schema: &TableSchema, rows: &[Row]) -> SegmentMeta {
    let offsets: Vec<i64> = (0..rows.len() as i64).map(|nth| 100 + nth).collect();
    encode(request(schema, vec![batch(schema, rows, &offsets)])).unwrap().meta
}

/// Through the JSON of the log, as a reader gets it.
fn through_json(add: &Add) -> Add {
    serde_json::from_str(&serde_json::to_string(add).unwrap()).unwrap()
}

/// Dates and instants outside the years 1 to 9999 have no text.
fn is_writable(data_type: &ColumnType, bound: &StatValue) -> bool {
    match (data_type, bound) {
        (ColumnType::Date, StatValue::Int(days)) => (-719_162..=2_932_896).contains(days),
        (ColumnType::TimestampMillis | ColumnType::TimestampMicros, StatValue::Int(micros)) => {
            (-62_135_596_800_000_000..253_402_300_800_000_000).contains(micros)
        }
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn meta_round_trips_through_the_add_action(rows in prop::collection::vec(row(), 1..12)) {
        let schema = every_type(&[]);
        let mut meta = sealed(&schema, &rows);
        let add = through_json(&meta.to_add(&schema).unwrap());
        let read = SegmentMeta::from_add(&add, &schema).unwrap();
        for (stats, column) in meta.columns.iter_mut().zip(schema.columns()) {
            stats.min = stats.min.take().filter(|bound| is_writable(&column.data_type, bound));
            stats.max = stats.max.take().filter(|bound| is_writable(&column.data_type, bound));
        }
        prop_assert_eq!(read, meta);
    }
}

#[test]
fn the_add_action_says_what_delta_readers_expect() {
    let columns = [
        ("n", ColumnType::Int),
        ("price", ColumnType::Decimal(9, 2)),
        ("at", ColumnType::TimestampMillis),
        ("text", ColumnType::String),
    ];
    let schema = TableSchema::new(&spec(&columns, &[]));
    let prices = Decimal128Array::from(vec![Some(-5), Some(1250)]).with_precision_and_scale(9, 2).unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![Some(3), None])),
        Arc::new(prices),
        Arc::new(TimestampMicrosecondArray::from(vec![1_000, 1_500_001]).with_timezone("UTC")),
        Arc::new(StringViewArray::from(vec!["b", &"x".repeat(70)])),
        Arc::new(Int32Array::from(vec![2, 2])),
        Arc::new(Int64Array::from(vec![100, 101])),
        Arc::new(TimestampMicrosecondArray::new_null(2).with_timezone("UTC")),
        Arc::new(StringViewArray::new_null(2)),
        Arc::new(StringViewArray::new_null(2)),
    ];
    let rows = RecordBatch::try_new(schema.arrow().clone(), columns).unwrap();
    let meta = encode(request(&schema, vec![rows])).unwrap().meta;
    let add = meta.to_add(&schema).unwrap();
    assert_eq!(
        add.path,
        "data/2/00000000000000000100-00000000000001000000-01HF7YAT000000000000000007.parquet"
    );
    assert_eq!(
        (add.size as u64, add.modification_time, add.data_change),
        (meta.size_bytes, 1_700_000_000_000, true)
    );
    let stats: serde_json::Value = serde_json::from_str(add.stats.as_deref().unwrap()).unwrap();
    let last_text = format!("{}y", "x".repeat(63));
    assert_eq!(
        stats,
        json!({
            "numRecords": 2,
            "minValues": {
                "n": 3, "price": -0.05, "at": "1970-01-01T00:00:00.001000Z", "text": "b", "$partition": 2, "$offset": 100
            },
            "maxValues": {
                "n": 3, "price": 12.50, "at": "1970-01-01T00:00:01.500001Z", "text": last_text, "$partition": 2,
                "$offset": 101
            },
            "nullCount": {
                "n": 1, "price": 0, "at": 0, "text": 0, "$partition": 0, "$offset": 0, "$timestamp": 2, "$key": 2, "$headers": 2
            }
        })
    );
    assert_eq!(add.tags.unwrap()["headwater.inexact"].as_deref(), Some("[\"text\"]"));
}

#[test]
fn missing_statistics_are_unknown() {
    let schema = every_type(&[]);
    let meta = sealed(&schema, &sample_rows(5));
    let mut add = meta.to_add(&schema).unwrap();
    add.stats = None;
    let read = SegmentMeta::from_add(&add, &schema).unwrap();
    assert_eq!(read.rows, 5);
    let unknown = |stats: &ColumnStats| (stats.null_count, &stats.min, &stats.max) == (None, &None, &None);
    assert!(read.columns.iter().all(unknown));
}

#[test]
fn a_column_that_the_table_gained_later_is_unknown() {
    let before = TableSchema::new(&spec(&[("x", ColumnType::Int)], &[]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![7])),
        Arc::new(Int32Array::from(vec![2])),
        Arc::new(Int64Array::from(vec![100])),
        Arc::new(TimestampMicrosecondArray::new_null(1).with_timezone("UTC")),
        Arc::new(StringViewArray::new_null(1)),
        Arc::new(StringViewArray::new_null(1)),
    ];
    let rows = RecordBatch::try_new(before.arrow().clone(), columns).unwrap();
    let add = encode(request(&before, vec![rows])).unwrap().meta.to_add(&before).unwrap();
    let after = TableSchema::new(&spec(&[("new", ColumnType::Long), ("x", ColumnType::Int)], &[]));
    let read = SegmentMeta::from_add(&add, &after).unwrap();
    assert_eq!(read.columns[0].null_count, None);
    assert_eq!(read.columns[1].min, Some(StatValue::Int(7)));
}

#[test]
fn a_missing_or_malformed_tag_is_named() {
    let schema = every_type(&[]);
    let add = sealed(&schema, &sample_rows(1)).to_add(&schema).unwrap();
    let tags: Vec<String> = add.tags.as_ref().unwrap().keys().cloned().collect();
    for tag in tags.iter().filter(|tag| *tag != "headwater.inexact") {
        for value in [None, Some(None), Some(Some("?".to_string()))] {
            let mut damaged = add.clone();
            let tags = damaged.tags.as_mut().unwrap();
            match value {
                None => tags.remove(tag),
                Some(value) => tags.insert(tag.clone(), value),
            };
            let error = SegmentMeta::from_add(&damaged, &schema).unwrap_err();
            assert!(
                matches!(error, SegmentError::Corrupt(_)) && error.to_string().contains(tag.as_str()),
                "{error}"
            );
        }
    }
    let without_tags = Add { tags: None, ..add };
    assert!(SegmentMeta::from_add(&without_tags, &schema).is_err());
}
