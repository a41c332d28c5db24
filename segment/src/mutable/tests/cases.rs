//! One decision each.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};

use super::schema;
use crate::budget::MemoryBudget;
use crate::column::tests::decode_blocks;
use crate::mutable::column::ChunkValues;
use crate::mutable::{CHUNK_ROWS, DeadLetter, MutableSegment, SegmentWriter};
use crate::schema::ColumnType;
use crate::value::{RowSink, Value};

fn segment(columns: &[(ColumnType, bool)]) -> (SegmentWriter, Arc<MutableSegment>) {
    MutableSegment::create(schema(columns), 7, 0, MemoryBudget::new(1 << 30))
}

/// Visible rows of all columns as one batch.
fn read(segment: &MutableSegment, rows: Range<usize>) -> RecordBatch {
    let schema = segment.schema();
    let all: Vec<usize> = (0..schema.columns().len()).collect();
    let batches: Vec<_> = segment.batches(rows, &all).collect::<Result<_, _>>().unwrap();
    concat_batches(schema.arrow(), &batches).unwrap()
}

fn append(writer: &mut SegmentWriter, offset: i64, value: Value<'_>) {
    writer.set(0, value);
    writer.finish_row(offset, None, None, None);
}

#[test]
fn both_ends_can_go_to_other_threads() {
    fn sent<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    sent::<SegmentWriter>();
    shared::<MutableSegment>();
    sent::<crate::mutable::Batches>();
}

#[test]
fn rows_are_visible_once_published_and_only_below_the_offset() {
    let (mut writer, segment) = segment(&[(ColumnType::Long, true)]);
    append(&mut writer, 3, Value::I64(30));
    append(&mut writer, 8, Value::I64(80));
    assert_eq!((segment.visible_rows(), segment.next_offset(), writer.rows()), (0, 0, 2));
    writer.publish(10);
    append(&mut writer, 10, Value::I64(100));
    assert_eq!((segment.visible_rows(), segment.next_offset(), writer.rows()), (2, 10, 3));
    writer.publish(11);
    let below: Vec<usize> =
        [i64::MIN, 0, 3, 4, 8, 9, 10, 11, i64::MAX].map(|offset| segment.rows_below(offset)).into();
    assert_eq!(below, [0, 0, 0, 1, 1, 2, 2, 3, 3]);
}

#[test]
fn rows_below_finds_its_chunk() {
    let (mut writer, segment) = segment(&[]);
    let rows = 3 * CHUNK_ROWS;
    for row in 0..rows {
        writer.finish_row(2 * row as i64 + 1, None, None, None);
    }
    writer.publish(0);
    for row in (0..rows).step_by(37).chain([511, 512, 1535, 1536, 7679, 7680, 15871, 15872, rows - 1]) {
        assert_eq!(segment.rows_below(2 * row as i64 + 1), row);
        assert_eq!(segment.rows_below(2 * row as i64 + 2), row + 1);
    }
}

#[test]
fn the_published_offset_never_goes_back_nor_below_a_row() {
    let (mut writer, segment) = segment(&[(ColumnType::Long, true)]);
    writer.publish(50);
    writer.publish(40);
    assert_eq!(segment.next_offset(), 50);
    append(&mut writer, 60, Value::Null);
    writer.publish(55);
    assert_eq!((segment.next_offset(), segment.rows_below(segment.next_offset())), (61, 1));
}

#[test]
fn stream_columns_say_where_a_row_came_from() {
    let (mut writer, segment) = segment(&[]);
    writer.finish_row(0, Some(1_500), Some("schlüssel".as_bytes()), Some("{\"a\":\"b\"}"));
    writer.finish_row(1, None, None, None);
    writer.finish_row(2, Some(i64::MAX), Some(b"\xff\x00k"), None);
    writer.publish(3);
    let rows = read(&segment, 0..3);
    assert_eq!(rows.column(0).as_primitive::<Int32Type>().values(), &[7, 7, 7]);
    assert_eq!(rows.column(1).as_primitive::<Int64Type>().values(), &[0, 1, 2]);
    let timestamps: Vec<_> = rows.column(2).as_primitive::<TimestampMicrosecondType>().iter().collect();
    assert_eq!(timestamps, [Some(1_500_000), None, Some(i64::MAX)]);
    let keys: Vec<_> = rows.column(3).as_string_view().iter().collect();
    assert_eq!(keys, [Some("schlüssel"), None, Some("\\xff006b")]);
    let headers: Vec<_> = rows.column(4).as_string_view().iter().collect();
    assert_eq!(headers, [Some("{\"a\":\"b\"}"), None, None]);
    assert_eq!(segment.newest_timestamp_ms(), Some(i64::MAX));
    assert!(segment.first_row_at().is_some_and(|first| first >= segment.created_at()));
}

#[test]
fn what_is_not_set_is_null_and_an_abandoned_row_leaves_no_trace() {
    let list = ColumnType::Array(Box::new(ColumnType::String));
    let (mut writer, segment) =
        segment(&[(ColumnType::Long, true), (ColumnType::String, true), (list, true)]);
    let long = "a text that does not fit into a view";
    writer.set(0, Value::I64(1));
    writer.set(1, Value::Null);
    writer.set(2, Value::List(&[Value::Str(long), Value::Null]));
    writer.abandon_row();
    writer.set(0, Value::Null);
    writer.set(0, Value::I64(2));
    writer.set(1, Value::Str(long));
    writer.finish_row(0, None, None, None);
    writer.set(1, Value::Str("x"));
    writer.abandon_row();
    writer.finish_row(1, None, None, None);
    writer.publish(2);
    let rows = read(&segment, 0..9);
    assert_eq!(rows.num_rows(), 2);
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(2), None]);
    assert_eq!(rows.column(1).as_string_view().iter().collect::<Vec<_>>(), [Some(long), None]);
    assert_eq!(rows.column(2).null_count(), 2);
}

#[test]
fn the_first_null_of_a_chunk_does_not_disturb_rows_that_are_visible() {
    let (mut writer, segment) = segment(&[(ColumnType::Long, true)]);
    (0..10).for_each(|offset| append(&mut writer, offset, Value::I64(offset)));
    writer.publish(10);
    append(&mut writer, 10, Value::Null);
    assert_eq!(read(&segment, 0..20).column(0).null_count(), 0);
    writer.publish(11);
    let nulls = read(&segment, 0..20).column(0).nulls().cloned().unwrap();
    assert_eq!((nulls.len(), nulls.null_count(), nulls.is_null(10)), (11, 1, true));
}

#[test]
fn a_row_that_cannot_be_held_becomes_a_dead_letter() {
    let list = ColumnType::Array(Box::new(ColumnType::Int));
    let (mut writer, segment) = segment(&[(ColumnType::Int, false), (list, true)]);
    let faulty: [&[(usize, Value<'_>)]; 7] = [
        &[],
        &[(0, Value::Null)],
        &[(0, Value::I64(1))],
        &[(0, Value::Str("1"))],
        &[(0, Value::I32(1)), (1, Value::List(&[Value::I32(1), Value::I64(2)]))],
        &[(0, Value::I32(1)), (2, Value::I32(1))],
        &[(0, Value::I32(1)), (70, Value::I32(1))],
    ];
    for (offset, values) in (0..).zip(faulty) {
        values.iter().for_each(|(column, value)| writer.set(*column, *value));
        writer.finish_row(offset, Some(5), Some(b"k"), None);
    }
    writer.set(0, Value::I32(9));
    writer.finish_row(7, None, None, None);
    writer.set(0, Value::I32(10));
    writer.finish_row(7, None, None, None);
    assert!(segment.dead_letters().is_empty());
    writer.publish(8);
    assert_eq!(read(&segment, 0..9).column(0).as_primitive::<Int32Type>().values(), &[9]);
    let letters = segment.dead_letters();
    assert_eq!(letters.iter().map(|letter| letter.offset).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert!(letters[0].reason.contains("column c0: there is no value"), "{}", letters[0].reason);
    assert!(letters[4].reason.contains("column c1"), "{}", letters[4].reason);
    assert!(letters[7].reason.contains("$offset"), "{}", letters[7].reason);
}

#[test]
fn dead_letters_are_counted_and_published() {
    let (mut writer, segment) = segment(&[]);
    let before = segment.bytes();
    writer.dead_letter(DeadLetter::new(7, 4, None, "why".into(), &[1; 1000], None));
    assert!(writer.bytes() > before + 1000);
    assert!(segment.dead_letters().is_empty());
    writer.publish(5);
    assert_eq!(segment.dead_letters()[0].payload.len(), 1000);
    assert_eq!((segment.next_offset(), segment.visible_rows()), (5, 0));
}

#[test]
fn projections_may_be_empty_repeated_and_reordered_but_not_beyond_the_schema() {
    let (mut writer, segment) = segment(&[(ColumnType::Long, true)]);
    append(&mut writer, 0, Value::I64(5));
    writer.publish(1);
    let counted: Vec<_> = segment.batches(0..1, &[]).map(Result::unwrap).collect();
    assert_eq!((counted.len(), counted[0].num_rows(), counted[0].num_columns()), (1, 1, 0));
    let twice = segment.batches(0..1, &[2, 0, 0]).next().unwrap().unwrap();
    assert_eq!(twice.schema().field(0).name(), "$offset");
    assert_eq!(twice.column(1), twice.column(2));
    let mut beyond = segment.batches(0..1, &[99]);
    assert!(beyond.next().unwrap().is_err() && beyond.next().is_none());
    let backwards = Range { start: 5, end: 0 };
    assert!(
        segment.batches(backwards, &[0]).next().is_none() && segment.batches(1..9, &[0]).next().is_none()
    );
}

#[test]
fn memory_is_given_back_when_segment_and_batches_are_gone() {
    let budget = MemoryBudget::new(1 << 30);
    let columns = [(ColumnType::String, true), (ColumnType::Array(Box::new(ColumnType::Long)), true)];
    let (mut writer, segment) = MutableSegment::create(schema(&columns), 0, 0, Arc::clone(&budget));
    let empty = segment.bytes();
    assert!(empty < 100 << 10, "an idle segment of few columns takes {empty} bytes");
    for offset in 0..20_000 {
        writer.set(0, Value::Str(&format!("some text of a row, number {offset}")));
        writer.set(1, Value::List(&[Value::I64(1), Value::Null]));
        writer.finish_row(offset, None, None, None);
    }
    writer.publish(20_000);
    assert_eq!((segment.bytes(), writer.bytes()), (budget.used(), budget.used()));
    assert!(budget.used() > 20_000 * (30 + 16 + 16 + 8));
    let batch = segment.batches(0..1, &[0]).next().unwrap().unwrap();
    drop((writer, segment));
    assert_eq!(batch.column(0).as_string_view().value(0), "some text of a row, number 0");
    assert!(budget.used() > 0);
    drop(batch);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_column_of_distinct_values_leaves_its_dictionary() {
    let columns = [(ColumnType::Uuid, false), (ColumnType::String, false), (ColumnType::Bytes, true)];
    let (mut writer, segment) = segment(&columns);
    let rows = 7 * CHUNK_ROWS;
    let id = |row: usize| format!("{row:036}");
    for row in 0..rows {
        writer.set(0, Value::Str(&id(row)));
        writer.set(1, Value::Str(&id(row % 1000)));
        if row % 3 != 0 {
            writer.set(2, Value::Bytes(&row.to_le_bytes()[..row % 8]));
        }
        writer.finish_row(row as i64, None, None, None);
    }
    writer.publish(rows as i64);
    let forms: Vec<(bool, bool)> = (segment.chunks.load().iter())
        .map(|chunk| {
            (0..2).map(|c| matches!(chunk.columns[c].values(), ChunkValues::Views(_))).collect::<Vec<_>>()
        })
        .map(|plain| (plain[0], plain[1]))
        .collect();
    assert_eq!(forms.first(), Some(&(false, false)));
    assert_eq!(forms.last(), Some(&(true, false)), "only the distinct column went plain");
    let all = read(&segment, 0..rows);
    let texts = |column: usize| all.column(column).as_string_view().iter();
    assert!(texts(0).enumerate().all(|(row, text)| text == Some(id(row).as_str())));
    assert!(texts(1).enumerate().all(|(row, text)| text == Some(id(row % 1000).as_str())));
    let bytes = all.column(2).as_binary_view();
    let expected = |row: usize| (!row.is_multiple_of(3)).then(|| row.to_le_bytes()[..row % 8].to_vec());
    assert!(bytes.iter().enumerate().all(|(row, value)| value == expected(row).as_deref()));

    for rows in [0..rows, 700..CHUNK_ROWS, 0..0, rows - 1..rows + 5] {
        let columns = segment.columns(rows.clone(), &[0, 1, 2]).unwrap();
        let is_coded = |column: usize| columns.columns()[column].coded().is_some();
        assert_eq!(is_coded(0), rows == (700..CHUNK_ROWS), "as long as every chunk has codes");
        assert_eq!(is_coded(1), !rows.is_empty());
        let all = read(&segment, rows);
        assert_eq!(columns.rows(), all.num_rows());
        for (column, expected) in columns.columns().iter().zip(all.columns()) {
            assert_eq!(&decode_blocks(column, columns.blocks()), expected);
        }
    }
    assert!(segment.columns(0..1, &[99]).is_err());
}

#[test]
fn a_null_has_code_0_whatever_was_there_before() {
    let (mut writer, segment) = segment(&[(ColumnType::String, true)]);
    append(&mut writer, 0, Value::Str("first"));
    writer.set(0, Value::Str("second"));
    append(&mut writer, 1, Value::Null);
    writer.set(0, Value::Str("third"));
    writer.abandon_row();
    append(&mut writer, 2, Value::Null);
    writer.set(0, Value::Str("fourth"));
    writer.abandon_row();
    writer.finish_row(3, None, None, None);
    append(&mut writer, 4, Value::Str(""));
    writer.publish(5);
    let columns = segment.columns(0..5, &[0]).unwrap();
    let column = columns.columns()[0].coded().unwrap();
    let codes: Vec<u64> = (0..5).map(|row| column.codes(0).get(row)).collect();
    assert!(column.has_null);
    assert_eq!(codes, [1, 0, 0, 0, 5], "the empty text is a value");
    assert!(!segment.columns(4..5, &[0]).unwrap().columns()[0].coded().unwrap().has_null);
}
