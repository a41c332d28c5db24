//! Readers beside the writer: every prefix is whole, and none ever shrinks.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;

use super::schema;
use crate::budget::MemoryBudget;
use crate::mutable::{MutableSegment, SegmentWriter};
use crate::schema::ColumnType;
use crate::value::{RowSink, Value};

const ROWS: usize = 200_000;

/// Row r has offset 2r + 10, so that offsets are not row numbers.
fn offset_of(row: usize) -> i64 {
    2 * row as i64 + 10
}

fn text_of(row: usize) -> String {
    format!("a text of row {row}")
}

fn write(mut writer: SegmentWriter) {
    for row in 0..ROWS {
        if row % 1000 == 999 {
            writer.set(0, Value::I64(-1));
            writer.set(1, Value::Str("of a row that is abandoned"));
            writer.abandon_row();
        }
        writer.set(0, Value::I64(row as i64 * 3));
        writer.set(1, Value::Str(&text_of(row)));
        // The first NULL comes late, in a chunk of which rows are visible already.
        if row < 3000 || row % 5 != 0 {
            writer.set(2, Value::Str(&text_of(row % 100)));
        }
        if row % 4 == 0 {
            writer.set(3, Value::List(&[Value::I64(row as i64), Value::Null]));
        }
        writer.finish_row(offset_of(row), Some(row as i64), None, None);
        if row % 61 == 0 || row + 1 == ROWS {
            writer.publish(offset_of(row) + 1);
        }
    }
}

/// Reads all of column 0 and the last rows of every column, as often as it can.
fn read(segment: &MutableSegment) -> usize {
    let (mut seen, mut reads) = (0, 0);
    while seen < ROWS {
        let next_offset = segment.next_offset();
        let rows = segment.rows_below(next_offset);
        assert!(rows >= seen && rows <= segment.visible_rows());
        if rows > 0 {
            assert_eq!(offset_of(rows - 1) + 1, next_offset, "a publish covers whole rows");
            assert!(segment.newest_timestamp_ms().is_some_and(|newest| newest >= rows as i64 - 1));
        }
        if reads % 16 == 0 {
            let sum: i64 = (segment.batches(0..rows, &[0]))
                .map(|batch| {
                    batch.unwrap().column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>()
                })
                .sum();
            assert_eq!(sum, 3 * (rows as i64 * (rows as i64 - 1) / 2));
        }
        check_rows(segment, rows.saturating_sub(200), rows);
        (seen, reads) = (rows, reads + 1);
    }
    reads
}

fn check_rows(segment: &MutableSegment, first: usize, end: usize) {
    let mut row = first;
    for batch in segment.batches(first..end, &[0, 1, 2, 3]) {
        let batch = batch.unwrap();
        let (texts, cities) = (batch.column(1).as_string_view(), batch.column(2).as_string_view());
        let lists = batch.column(3).as_list::<i32>();
        for index in 0..batch.num_rows() {
            assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(index), row as i64 * 3);
            assert_eq!(texts.value(index), text_of(row));
            let city = cities.iter().nth(index).flatten();
            assert_eq!(
                city.map(str::to_owned),
                (row < 3000 || !row.is_multiple_of(5)).then(|| text_of(row % 100))
            );
            let list = lists.iter().nth(index).flatten();
            let elements = list.map(|list| list.as_primitive::<Int64Type>().iter().collect::<Vec<_>>());
            assert_eq!(elements, row.is_multiple_of(4).then(|| vec![Some(row as i64), None]));
            row += 1;
        }
    }
    assert_eq!(row, end);
}

#[test]
fn readers_see_growing_whole_prefixes() {
    let columns = [
        (ColumnType::Long, false),
        (ColumnType::String, false),
        (ColumnType::String, true),
        (ColumnType::Array(Box::new(ColumnType::Long)), true),
    ];
    let (writer, segment) = MutableSegment::create(schema(&columns), 0, 10, MemoryBudget::new(1 << 30));
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(|| read(&segment))).collect();
        write(writer);
        for reader in readers {
            assert!(reader.join().expect("the reader's assertions hold") > 10);
        }
    });
    assert!(segment.dead_letters().is_empty());
    check_rows(&segment, 0, ROWS);
}
