//! Which columns get a dictionary, by how many distinct values they have among how many rows.

use super::*;
use crate::cardinality::tests::drawn;

const ROWS: usize = 200_000;
/// Rows of a batch: a column is judged after each.
const BATCH_ROWS: usize = 8192;

fn text(values: impl Iterator<Item = i64>) -> (ColumnType, ArrayRef) {
    let texts = values.take(ROWS).map(|value| Some(format!("visitor number {value}")));
    (ColumnType::String, Arc::new(texts.collect::<StringViewArray>()))
}

/// Numbers that nothing but a dictionary makes smaller.
fn numbers(values: impl Iterator<Item = i64>) -> (ColumnType, ArrayRef) {
    let values = values.take(ROWS).map(|value| value.wrapping_mul(0x5851_F42D_4C95_7F2D));
    (ColumnType::Long, Arc::new(Int64Array::from_iter_values(values)))
}

/// Seals columns. Returns how each is held, and how many distinct values it is known to have.
fn sealed(columns: Vec<(ColumnType, ArrayRef)>) -> Vec<(String, Option<u64>)> {
    const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let count = columns.len();
    let types: Vec<(&str, ColumnType)> =
        NAMES.into_iter().zip(&columns).map(|(name, (data_type, _))| (name, data_type.clone())).collect();
    let schema = TableSchema::new(&spec(&types, &[]));
    let mut arrays: Vec<ArrayRef> = columns.into_iter().map(|(_, array)| array).collect();
    arrays.extend([
        Arc::new(Int32Array::from_value(2, ROWS)) as ArrayRef,
        Arc::new(Int64Array::from_iter_values((0..ROWS as i64).map(|row| 100 + row))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(0..ROWS as i64).with_timezone("UTC")),
        Arc::new(StringViewArray::new_null(ROWS)),
        Arc::new(StringViewArray::new_null(ROWS)),
    ]);
    let rows = RecordBatch::try_new(schema.arrow().clone(), arrays).unwrap();
    let batches = (0..ROWS).step_by(BATCH_ROWS).map(|start| rows.slice(start, BATCH_ROWS.min(ROWS - start)));
    let sealed = encode(request(&schema, batches.collect())).unwrap();
    let report = inspect(&sealed.bytes).unwrap();
    report.columns.into_iter().take(count).map(|column| (column.encoding, column.distinct)).collect()
}

#[test]
fn a_dictionary_is_given_up_only_if_the_whole_segment_does_not_justify_it() {
    // At most a third of the rows for text, an eighth for numbers. Of 21,000 and more values any 32,768 rows show more than 16,384.
    let found = sealed(vec![
        text(drawn(21_000)),
        text(drawn(40_000)),
        text(drawn(60_000)),
        numbers(drawn(21_000)),
        numbers(drawn(22_000)),
        numbers(drawn(24_000)),
    ]);
    assert!(found.iter().all(|(encoding, _)| encoding == "DICTIONARY"), "{found:?}");
    assert!(found[1].1.is_some_and(|distinct| (39_000..=40_000).contains(&distinct)), "{found:?}");

    let found = sealed(vec![
        text(drawn(90_000)),
        text(drawn(400_000)),
        text(0..ROWS as i64),
        numbers(drawn(30_000)),
        numbers(drawn(100_000)),
        numbers(0..ROWS as i64),
    ]);
    assert!(found.iter().all(|(encoding, _)| encoding != "DICTIONARY"), "{found:?}");
}

#[test]
fn rows_that_are_alike_only_where_the_column_begins_do_not_decide() {
    // As a sort key leaves them: 40,000 distinct ones, then few.
    let values = || (0..ROWS as i64).map(|row| if row < 40_000 { row } else { row % 100 });
    let found = sealed(vec![text(values())]);
    assert_eq!(found, [("DICTIONARY".to_string(), Some(40_000))]);
}

#[test]
fn rows_without_a_value_count_among_the_rows() {
    let half = |values| {
        let texts = drawn(values).zip([true, false].into_iter().cycle()).take(ROWS);
        let texts = texts.map(|(value, is_there)| is_there.then(|| format!("visitor number {value}")));
        (ColumnType::String, Arc::new(texts.collect::<StringViewArray>()) as ArrayRef)
    };
    // 100,000 values show about 49,000 and 96,000; the limit is 66,666.
    let found = sealed(vec![half(60_000), half(1_000_000)]);
    assert_eq!(found[0].0, "DICTIONARY");
    assert!(found[0].1.is_some_and(|distinct| (48_000..50_000).contains(&distinct)), "{found:?}");
    assert_ne!(found[1].0, "DICTIONARY");
}
