//! The report of a segment, and that no garbage makes it panic.

use super::damage::{schema, sealed};
use super::*;

#[tokio::test]
async fn a_report_names_everything() {
    let (sealed, whole) = sealed(400).await;
    let report = inspect(&sealed.bytes).unwrap();
    assert!(report.is_sound(), "{:?}", report.parts);
    assert_eq!((report.rows, report.row_groups), (400, 1));
    assert_eq!(report.bytes, sealed.meta.size_bytes);
    let names: Vec<&str> = report.columns.iter().map(|column| column.name.as_str()).collect();
    let expected: Vec<&str> = whole.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, expected);
    let city = report.columns.iter().find(|column| column.name == "city").unwrap();
    assert_eq!(city.data_type, "STRING");
    assert_eq!(city.nulls, Some(whole.column_by_name("city").unwrap().null_count() as u64));
    assert!(city.compressed_bytes > 0 && city.pages == 1);
    let partition = report.columns.iter().find(|column| column.name == "$partition").unwrap();
    assert_eq!((partition.encoding.as_str(), partition.distinct), ("DICTIONARY", Some(1)));
    assert_eq!((partition.min.as_deref(), partition.max.as_deref()), (Some("2"), Some("2")));
    let kinds = |column: &str| -> Vec<&str> {
        report.indexes.iter().filter(|index| index.column == column).map(|index| index.kind).collect()
    };
    assert_eq!(kinds("flag"), ["sorted"]);
    assert_eq!(kinds("small"), ["inverted", "bloom"]);
    assert!(report.keys.contains(&("headwater.partition".into(), "2".into())));
    assert_eq!(report.parts.len(), 3);
    assert!(report.parts[0].detail.contains(&format!("{:08x}", sealed.meta.tail_crc32c)));
    let bytes: u64 = report.parts.iter().map(|part| part.bytes).sum();
    assert_eq!(bytes, report.bytes);
}

#[tokio::test]
async fn garbage_is_named_for_what_it_is() {
    let fault = |bytes: Bytes| inspect(&bytes).unwrap_err().to_string();
    assert!(fault(Bytes::new()).contains("no Parquet file"));
    assert!(fault(Bytes::from_static(b"\x7fELF and so on")).contains("no Parquet file"));
    assert!(fault(Bytes::from_static(b"PAR1PAR1")).contains("cut off"));
    assert!(fault(Bytes::from_static(b"PAR1\xff\xff\xff\xffPAR1")).contains("no mark of Headwater"));
    let letters = encode_dead_letters(&[]).unwrap();
    assert!(fault(letters.clone()).contains("a file of dead letters"));
    // With a byte that is not what was written, it is any Parquet file.
    let mut other = letters.to_vec();
    other[4] ^= 1;
    assert!(fault(other.into()).contains("another writer made it"));
    let (sealed, _) = sealed(10).await;
    assert!(fault(sealed.bytes.slice(..sealed.bytes.len() - 1)).contains("cut off"));
}

#[tokio::test]
async fn damage_is_reported_wherever_it_is() {
    let (sealed, _) = sealed(60).await;
    let tail = (sealed.meta.index_offset + sealed.meta.index_length) as usize;
    let step = 1 + sealed.bytes.len() / 1500;
    for position in (tail..sealed.bytes.len()).step_by(7).chain(sealed.bytes.len() - 40..sealed.bytes.len()) {
        let mut damaged = sealed.bytes.to_vec();
        damaged[position] ^= 1 << (position % 8);
        let fault = inspect(&damaged.into()).expect_err("a damaged tail");
        assert!(matches!(fault, SegmentError::Corrupt(_)), "byte {position}: {fault}");
    }
    for position in (4..tail).step_by(step) {
        let mut damaged = sealed.bytes.to_vec();
        damaged[position] ^= 1 << (position % 8);
        assert!(!inspect(&damaged.into()).unwrap().is_sound(), "byte {position}");
    }
}

/// What parses stands behind checksums; so it gets some that are right.
#[tokio::test]
async fn a_footer_that_another_writer_made_is_a_report_or_an_error() {
    let (sealed, _) = sealed(60).await;
    let tail = (sealed.meta.index_offset + sealed.meta.index_length) as usize;
    let arrow_schema = b"ARROW:schema";
    let found = sealed.bytes.windows(arrow_schema.len()).rposition(|window| window == arrow_schema).unwrap();
    let text = found + arrow_schema.len() + 4;
    let mut refused = 0;
    for position in (tail..sealed.bytes.len() - 8).step_by(11).chain(text..text + 1500) {
        let mut other = sealed.bytes.to_vec();
        // Still a letter or digit, where there was one.
        other[position] = if other[position] == b'D' { b'M' } else { b'D' };
        if tail_mark::fill(&mut other, tail) {
            refused += usize::from(inspect(&other.into()).is_err());
        }
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn a_segment_is_rebuilt_with_other_indexes() {
    let old_schema = every_type(&["city"]);
    let offsets: Vec<i64> = (100..300).collect();
    let rows = batch(&old_schema, &sample_rows(200), &offsets);
    let old = encode(request(&old_schema, vec![rows])).unwrap();
    let schema = schema();
    let id = Ulid::from_parts(1_800_000_000_000, 9);
    let request =
        RebuildRequest { schema: &schema, table: "events", meta: &old.meta, object: old.bytes.clone(), id };
    let new = rebuild(request).unwrap();
    let identity = |meta: &SegmentMeta| {
        (meta.partition, meta.from, meta.to, meta.rows, meta.dead_letters, meta.sealed_at_ms)
    };
    assert_eq!(identity(&new.meta), identity(&old.meta));
    assert_eq!(new.meta.id, id);
    assert_ne!(new.meta.index_settings, old.meta.index_settings);
    assert_eq!(new.meta.index_settings, schema.index_settings());
    let factory = stored(&new.meta, new.bytes.clone()).await;
    let direct = encode(super::request(&schema, vec![batch(&schema, &sample_rows(200), &offsets)])).unwrap();
    let expected = read(&stored(&direct.meta, direct.bytes).await, &direct.meta, &schema).await.unwrap();
    assert_eq!(read(&factory, &new.meta, &schema).await.unwrap(), expected);
    let mut damaged = old.bytes.to_vec();
    damaged[500] ^= 1;
    let request =
        RebuildRequest { schema: &schema, table: "events", meta: &old.meta, object: damaged.into(), id };
    assert!(matches!(rebuild(request), Err(SegmentError::Corrupt(_))));
}

#[tokio::test]
async fn a_column_added_since_is_null_in_a_rebuilt_segment() {
    let old_schema = TableSchema::new(&spec(&[("x", ColumnType::Int)], &[]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![5, 6])),
        Arc::new(Int32Array::from(vec![2, 2])),
        Arc::new(Int64Array::from(vec![100, 101])),
        Arc::new(TimestampMicrosecondArray::new_null(2).with_timezone("UTC")),
        Arc::new(StringViewArray::new_null(2)),
        Arc::new(StringViewArray::new_null(2)),
    ];
    let rows = RecordBatch::try_new(old_schema.arrow().clone(), columns).unwrap();
    let old = encode(request(&old_schema, vec![rows])).unwrap();
    let schema = TableSchema::new(&spec(&[("x", ColumnType::Int), ("y", ColumnType::String)], &["y"]));
    let request = RebuildRequest {
        schema: &schema,
        table: "events",
        meta: &old.meta,
        object: old.bytes,
        id: Ulid::new(),
    };
    let new = rebuild(request).unwrap();
    let read = read(&stored(&new.meta, new.bytes).await, &new.meta, &schema).await.unwrap();
    assert_eq!(read.column(1).null_count(), 2);
    assert_eq!(read.num_columns(), 7);
}
