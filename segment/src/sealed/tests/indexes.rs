//! The indexes of a whole segment: which columns get one, and that they speak of the rows that are read.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Date32Type, Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use roaring::RoaringBitmap;

use super::*;
use crate::column::build_column;
use crate::column::tests::check_postings;
use crate::spec::IndexSet;

/// The spec of [`every_type`] with every index that each type allows.
fn every_index(sort_key: &[&str]) -> TableSchema {
    let mut spec = every_type_spec(sort_key);
    for column in &mut spec.columns {
        let float = matches!(column.data_type, ColumnType::Float | ColumnType::Double);
        let list = matches!(column.data_type, ColumnType::Array(_));
        let wide = matches!(column.data_type, ColumnType::Decimal(digits, _) if digits > 18);
        let decimal = matches!(column.data_type, ColumnType::Decimal(..));
        let flag = column.data_type == ColumnType::Boolean;
        column.index = Some(IndexSet {
            inverted: !float && !list && !wide,
            bloom: !float && !list && !decimal && !flag,
        });
    }
    TableSchema::new(&spec)
}

/// What a column holds, row by row, as something that sorts as codes do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    Null,
    Int(i64),
    Bytes(Vec<u8>),
}

fn cells(array: &ArrayRef, data_type: &ColumnType) -> Vec<Cell> {
    let one = |row: usize| match data_type {
        _ if array.is_null(row) => Cell::Null,
        ColumnType::Boolean => Cell::Int(array.as_boolean().value(row).into()),
        ColumnType::Int => Cell::Int(array.as_primitive::<Int32Type>().value(row).into()),
        ColumnType::Long => Cell::Int(array.as_primitive::<Int64Type>().value(row)),
        ColumnType::Date => Cell::Int(array.as_primitive::<Date32Type>().value(row).into()),
        ColumnType::Decimal(..) => Cell::Int(array.as_primitive::<Decimal128Type>().value(row) as i64),
        ColumnType::TimestampMillis | ColumnType::TimestampMicros => {
            Cell::Int(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        ColumnType::Bytes => Cell::Bytes(array.as_binary_view().value(row).to_vec()),
        _ => Cell::Bytes(array.as_string_view().value(row).as_bytes().to_vec()),
    };
    (0..array.len()).map(one).collect()
}

/// The resident form of the same rows has codes of its own; by them the index must say the same.
fn check_resident(postings: &ColumnPostings, array: &ArrayRef, data_type: &ColumnType) {
    let resident = build_column(data_type, std::slice::from_ref(array)).unwrap();
    let Some(coded) = resident.coded() else { return };
    let by_code = postings.for_column(coded).expect("codes in the same order");
    check_postings(coded, by_code.as_ref(), array.len());
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Compares every index of a segment with the rows that it holds.
async fn check(factory: &SegmentReaderFactory, meta: &SegmentMeta, schema: &TableSchema) {
    let rows = read(factory, meta, schema).await.unwrap();
    let mut indexes = factory.indexes(Arc::new(meta.clone())).await.unwrap();
    for (number, column) in schema.columns().iter().enumerate() {
        let Some(wanted) = schema.indexes(number) else { continue };
        let array = rows.column(number);
        let all_null = array.null_count() == array.len();
        if wanted.inverted && !all_null {
            let postings = indexes.postings(&column.name).await.unwrap().expect(&column.name);
            let cells = cells(array, &column.data_type);
            let values: Vec<&Cell> = cells.iter().collect::<BTreeSet<_>>().into_iter().collect();
            assert_eq!(postings.order().count as usize, values.len(), "{}", column.name);
            assert_eq!(postings.order().has_null, array.null_count() > 0);
            for (code, value) in values.iter().enumerate() {
                let expected: RoaringBitmap =
                    (0_u32..).zip(&cells).filter(|(_, cell)| cell == value).map(|(row, _)| row).collect();
                assert_eq!(postings.by_code().count(code as u64), Some(expected.len()));
                if let Cell::Int(value) = value {
                    assert_eq!(postings.rows_of(*value), Some(expected.clone()), "{}", column.name);
                }
                assert_eq!(postings.by_code().rows(code as u64), Some(expected), "{}", column.name);
            }
            check_resident(&postings, array, &column.data_type);
        }
        if wanted.bloom {
            for cell in cells(array, &column.data_type) {
                let found = match &cell {
                    Cell::Null => true,
                    Cell::Int(value) => {
                        indexes.might_contain(&column.name, Probe::Int(*value)).await.unwrap()
                    }
                    Cell::Bytes(bytes) => {
                        indexes.might_contain(&column.name, Probe::Bytes(bytes)).await.unwrap()
                    }
                };
                assert!(found, "{} has {cell:?}", column.name);
            }
        }
    }
}

const SORT_KEYS: [&[&str]; 4] = [&[], &["city"], &["small", "city"], &["flag"]];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_index_agrees_with_the_rows(
        rows in prop::collection::vec(row(), 1..50),
        repeats in 1_usize..8,
        sort_key in prop::sample::select(&SORT_KEYS[..]),
    ) {
        let schema = every_index(sort_key);
        let rows: Vec<Row> = rows.iter().cycle().take(rows.len() * repeats).cloned().collect();
        let offsets: Vec<i64> = (0..rows.len() as i64).map(|nth| 100 + nth).collect();
        let sealed = encode(request(&schema, vec![batch(&schema, &rows, &offsets)])).unwrap();
        block_on(async {
            let factory = stored(&sealed.meta, sealed.bytes.clone()).await;
            check(&factory, &sealed.meta, &schema).await;
        });
    }
}

/// A table of 100,000 rows with a column for each rule.
fn ruled(indexes: &[(&str, IndexSet)]) -> (TableSchema, RecordBatch) {
    let columns = [
        ("tenant", ColumnType::String),
        ("rare", ColumnType::String),
        ("noisy", ColumnType::Int),
        ("id", ColumnType::Uuid),
        ("text", ColumnType::String),
        ("amount", ColumnType::Double),
    ];
    let mut spec = spec(&columns, &["tenant"]);
    for (name, set) in indexes {
        spec.columns.iter_mut().find(|column| column.name == *name).unwrap().index = Some(*set);
    }
    let schema = TableSchema::new(&spec);
    let numbers = || 0..100_000_i64;
    let noise = |number: i64| number.wrapping_mul(0x5851_f42d_4c95_7f2d) as u64 >> 33;
    let text = |of: &dyn Fn(i64) -> String| -> ArrayRef {
        Arc::new(numbers().map(|number| Some(of(number))).collect::<StringViewArray>())
    };
    let columns: Vec<ArrayRef> = vec![
        text(&|number| format!("tenant {}", noise(number) % 100)),
        text(&|number| if number % 500 == 0 { format!("fault {}", number % 3) } else { "fine".into() }),
        Arc::new(numbers().map(|number| Some((noise(number) % 900) as i32)).collect::<Int32Array>()),
        text(&|number| format!("{:08x}-0000-4000-8000-{number:012x}", noise(number))),
        text(&|number| format!("{} {}", noise(number), "many words ".repeat(9))),
        Arc::new(numbers().map(|number| Some(noise(number) as f64)).collect::<Float64Array>()),
        Arc::new(Int32Array::from_value(2, 100_000)),
        Arc::new(Int64Array::from_iter_values(numbers().map(|number| 100 + number))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(numbers()).with_timezone("UTC")),
        Arc::new(StringViewArray::new_null(100_000)),
        Arc::new(StringViewArray::new_null(100_000)),
    ];
    let rows = RecordBatch::try_new(schema.arrow().clone(), columns).unwrap();
    (schema, rows)
}

#[tokio::test]
async fn columns_get_indexes_by_rule() {
    let (schema, rows) = ruled(&[]);
    let sealed = encode(request(&schema, vec![rows])).unwrap();
    let factory = stored(&sealed.meta, sealed.bytes).await;
    let mut indexes = factory.indexes(Arc::new(sealed.meta.clone())).await.unwrap();
    let kinds = |indexes: &SegmentIndexes, column: &str| -> Vec<IndexKind> {
        indexes.kinds(column).into_iter().map(|(kind, _)| kind).collect()
    };
    assert_eq!(kinds(&indexes, "tenant"), [IndexKind::Sorted]);
    assert_eq!(kinds(&indexes, "rare"), [IndexKind::Inverted]);
    for column in ["noisy", "id", "text", "amount", "no such column"] {
        assert_eq!(kinds(&indexes, column), [], "{column}");
        assert_eq!(indexes.bloom_bytes(column).is_some(), column == "id", "{column}");
    }
    let rows = read(&factory, &sealed.meta, &schema).await.unwrap();
    let id = rows.column(3).as_string_view().value(77_777).to_string();
    assert!(indexes.might_contain("id", Probe::Bytes(id.as_bytes())).await.unwrap());
    let bloom = indexes.bloom("id").await.unwrap().unwrap();
    let absent = (0..10_000).filter(|n| bloom.might_contain(Probe::Bytes(format!("absent {n}").as_bytes())));
    assert!(absent.count() < 300, "about 1 % false positives");
    assert!(bloom.might_contain(Probe::Int(7)), "a value of another type is not denied");
}

#[tokio::test]
async fn the_spec_overrules_the_rules() {
    let none = IndexSet::default();
    let inverted = IndexSet { inverted: true, ..none };
    let settings =
        [("tenant", none), ("rare", none), ("noisy", IndexSet { bloom: true, ..inverted }), ("id", inverted)];
    let (schema, rows) = ruled(&settings);
    let sealed = encode(request(&schema, vec![rows])).unwrap();
    let factory = stored(&sealed.meta, sealed.bytes).await;
    let mut indexes = factory.indexes(Arc::new(sealed.meta.clone())).await.unwrap();
    assert_eq!(indexes.kinds("tenant"), []);
    assert_eq!(indexes.kinds("rare"), []);
    assert!(indexes.bloom_bytes("id").is_none() && indexes.bloom_bytes("noisy").is_some());
    let ids = indexes.postings("id").await.unwrap().unwrap();
    assert_eq!(ids.order().count, 100_000);
    let noisy = indexes.postings("noisy").await.unwrap().unwrap();
    let rows = read(&factory, &sealed.meta, &schema).await.unwrap();
    let column = rows.column(2).as_primitive::<Int32Type>();
    let expected = |fits: &dyn Fn(i32) -> bool| -> RoaringBitmap {
        (0_u32..).zip(column.values()).filter(|(_, value)| fits(**value)).map(|(row, _)| row).collect()
    };
    assert_eq!(noisy.rows_of(321), Some(expected(&|value| value == 321)));
    assert_eq!(noisy.rows_of(12_345), Some(RoaringBitmap::new()));
    assert!(!indexes.might_contain("noisy", Probe::Int(1 << 40)).await.unwrap());
}
