//! Whatever is built reads back as it was, and keeps the invariants of columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::*;
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Int32Type};
use proptest::prelude::*;
use roaring::RoaringBitmap;

use super::*;
use crate::column::{CodeSlice, Postings};

/// The values of a column, row by row, as one array.
pub(crate) fn decode(column: &Column, rows: usize) -> ArrayRef {
    decode_blocks(column, rows.div_ceil(BLOCK_ROWS))
}

/// The same of so many blocks, however many rows they have.
pub(crate) fn decode_blocks(column: &Column, blocks: usize) -> ArrayRef {
    let pieces: Vec<ArrayRef> = match column {
        Column::Plain(plain) => (0..blocks).map(|block| plain.array(block)).collect(),
        Column::Coded(coded) => (0..blocks).map(|block| decode_codes(coded, coded.codes(block))).collect(),
    };
    let pieces: Vec<&dyn Array> = pieces.iter().map(|piece| piece.as_ref()).collect();
    if pieces.is_empty() { new_empty_array(column.data_type()) } else { concat(&pieces).unwrap() }
}

fn decode_codes(column: &CodedColumn, codes: CodeSlice<'_>) -> ArrayRef {
    let codes: Vec<u64> = (0..codes.len()).map(|row| codes.get(row)).collect();
    match &column.values {
        CodeValues::Dictionary { values, .. } => {
            let indices: UInt64Array = codes.into_iter().map(Some).collect();
            arrow::compute::take(values, &indices, None).unwrap()
        }
        CodeValues::Linear { base, step, .. } => {
            let first = u64::from(column.has_null);
            let value = |code: u64| {
                code.checked_sub(first).map(|place| base.wrapping_add(step.wrapping_mul(place as i64)))
            };
            let values: Vec<Option<i64>> = codes.into_iter().map(value).collect();
            physical(&column.data_type, values)
        }
    }
}

fn physical(data_type: &DataType, values: Vec<Option<i64>>) -> ArrayRef {
    match data_type {
        DataType::Boolean => {
            Arc::new(values.iter().map(|value| value.map(|value| value == 1)).collect::<BooleanArray>())
        }
        DataType::Decimal128(..) => {
            let wide = values.iter().map(|value| value.map(i128::from)).collect::<Decimal128Array>();
            Arc::new(wide.with_data_type(data_type.clone()))
        }
        DataType::Date32 => {
            Arc::new(values.iter().map(|value| value.map(|value| value as i32)).collect::<Date32Array>())
        }
        DataType::Timestamp(..) => {
            Arc::new(TimestampMicrosecondArray::from(values).with_data_type(data_type.clone()))
        }
        other => cast(&Int64Array::from(values), other).unwrap(),
    }
}

/// The invariants of `column`, and of resident columns beyond them.
pub(crate) fn check(column: &Column, rows: usize) {
    let Column::Coded(coded) = column else { return };
    let count = coded.values.count();
    let mut used = std::collections::HashSet::new();
    for block in 0..rows.div_ceil(BLOCK_ROWS) {
        let codes = coded.codes(block);
        assert_eq!(codes.len(), BLOCK_ROWS.min(rows - block * BLOCK_ROWS));
        let codes: Vec<u64> = (0..codes.len()).map(|row| codes.get(row)).collect();
        assert!(codes.iter().all(|code| *code < count));
        let bounds = (*codes.iter().min().unwrap(), *codes.iter().max().unwrap());
        assert_eq!(coded.zone(block), Some(bounds));
        used.extend(codes);
    }
    let width = match coded.codes(0) {
        CodeSlice::U8(_) => 1_u64 << 8,
        CodeSlice::U16(_) => 1 << 16,
        CodeSlice::U32(_) => 1 << 32,
        CodeSlice::U64(_) => u64::MAX,
    };
    assert!(count <= width, "the codes hold every value");
    assert!(
        width == 1 << 8 || count > if width == 1 << 16 { 1 << 8 } else { 1 << 16 },
        "in the narrowest width"
    );
    if let CodeValues::Dictionary { values, sorted, fingerprint } = &coded.values {
        assert!(*sorted && fingerprint.is_some());
        assert_eq!(values.data_type(), &coded.data_type);
        assert!(used.len() == values.len() || rows == 0, "every entry has a row");
        assert_eq!(values.is_nullable() && values.is_null(0), coded.has_null);
        assert_eq!(values.null_count(), usize::from(coded.has_null));
        let compare = make_comparator(values, values, Default::default()).unwrap();
        assert!((1..values.len()).all(|code| compare(code - 1, code).is_lt()), "entries ascend");
        values.to_data().validate_full().unwrap();
    } else if rows > 0 {
        assert!(used.contains(&0) || !coded.has_null);
        assert!(used.contains(&(count - 1)), "the greatest value has the greatest code");
    }
}

/// What postings say against the codes of their column.
pub(crate) fn check_postings(column: &CodedColumn, postings: &dyn Postings, rows: usize) {
    let mut expected: BTreeMap<u64, RoaringBitmap> = BTreeMap::new();
    for row in 0..rows {
        let code = column.codes(row / BLOCK_ROWS).get(row % BLOCK_ROWS);
        expected.entry(code).or_default().insert(row as u32);
    }
    for (code, rows) in expected {
        assert_eq!(postings.count(code), Some(rows.len()), "code {code}");
        assert_eq!(postings.rows(code), Some(rows), "code {code}");
    }
}

fn check_built(data_type: &ColumnType, arrays: &[ArrayRef]) -> Column {
    let column = build_column(data_type, arrays).unwrap();
    let rows = arrays.iter().map(|array| array.len()).sum();
    let arrays: Vec<ArrayRef> = arrays.iter().map(|array| cast(array, &data_type.arrow()).unwrap()).collect();
    let arrays: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
    if !arrays.is_empty() {
        assert_eq!(&bits(&decode(&column, rows)), &bits(&concat(&arrays).unwrap()));
    }
    check(&column, rows);
    column
}

/// Floats as their bits: NaN is equal to itself, and the zeros differ.
fn bits(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float32 => Arc::new(
            array.as_primitive::<Float32Type>().unary::<_, arrow::datatypes::UInt32Type>(f32::to_bits),
        ),
        DataType::Float64 => Arc::new(
            array.as_primitive::<Float64Type>().unary::<_, arrow::datatypes::UInt64Type>(f64::to_bits),
        ),
        _ => Arc::clone(array),
    }
}

/// Arrays of `values` in pieces of any length; the first may be a slice with an offset.
fn pieces<V: Clone>(
    values: &[Option<V>],
    cuts: &[usize],
    build: impl Fn(Vec<Option<V>>) -> ArrayRef,
) -> Vec<ArrayRef> {
    let whole = build(values.to_vec());
    let mut arrays = Vec::new();
    let mut start = 0;
    for cut in cuts {
        let end = (start + cut).min(values.len());
        arrays.push(whole.slice(start, end - start));
        start = end;
    }
    arrays.push(build(values[start..].to_vec()));
    arrays
}

fn nullable<T: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Vec<Option<T>>> {
    let value = value.boxed();
    (prop::sample::select(vec![0_u32, 1, 5]), any::<bool>()).prop_flat_map(move |(nulls, long)| {
        let one = prop_oneof![nulls => Just(None), 3 => value.clone().prop_map(Some)];
        // Long ones span blocks: a few values again and again.
        prop::collection::vec(one, 0..300).prop_map(move |values| {
            let repeat = if long { 20_000 / (values.len() + 1) } else { 1 };
            values.iter().cycle().take(values.len() * repeat.max(1)).cloned().collect()
        })
    })
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![0_usize..20, 0_usize..9000], 0..4)
}

fn long() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(i64::MIN),
        Just(i64::MAX),
        Just(0),
        any::<i64>(),
        -100_i64..100,
        (-50_i64..50).prop_map(|seconds| seconds * 1_000_000),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-c]{0,3}",
        "same beginning of all [a-z\\x00]{0,12}",
        "\\PC{0,20}",
        Just("long ".repeat(1000)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn longs(values in nullable(long()), cuts in cuts()) {
        check_built(&ColumnType::Long, &pieces(&values, &cuts, |v| Arc::new(Int64Array::from(v))));
        check_built(&ColumnType::TimestampMillis, &pieces(&values, &cuts, |v| {
            Arc::new(TimestampMicrosecondArray::from(v).with_timezone("UTC"))
        }));
        check_built(&ColumnType::Int, &pieces(&values, &cuts, |v| {
            Arc::new(v.into_iter().map(|v| v.map(|v| v as i32)).collect::<Int32Array>())
        }));
        check_built(&ColumnType::Date, &pieces(&values, &cuts, |v| {
            Arc::new(v.into_iter().map(|v| v.map(|v| v as i32)).collect::<Date32Array>())
        }));
        check_built(&ColumnType::Boolean, &pieces(&values, &cuts, |v| {
            Arc::new(v.into_iter().map(|v| v.map(|v| v % 2 == 0)).collect::<BooleanArray>())
        }));
    }

    #[test]
    fn linear_longs(base in -9_000_000_000_i64..9_000_000_000, step in 1_i64..1_000_000,
            values in nullable(0_i64..100_000), cuts in cuts()) {
        let values: Vec<Option<i64>> = values.iter().map(|v| v.map(|v| base + step * v)).collect();
        check_built(&ColumnType::Long, &pieces(&values, &cuts, |v| Arc::new(Int64Array::from(v))));
    }

    #[test]
    fn decimals(values in nullable(prop_oneof![long().prop_map(i128::from), any::<i64>().prop_map(|v| i128::from(v) << 50)]),
            cuts in cuts()) {
        check_built(&ColumnType::Decimal(38, 4), &pieces(&values, &cuts, |v| {
            Arc::new(Decimal128Array::from(v).with_precision_and_scale(38, 4).unwrap())
        }));
    }

    #[test]
    fn floats(values in nullable(prop_oneof![Just(-0.0), Just(0.0), any::<u64>().prop_map(f64::from_bits), -3.0..3.0_f64]),
            cuts in cuts()) {
        check_built(&ColumnType::Double, &pieces(&values, &cuts, |v| Arc::new(Float64Array::from(v))));
        check_built(&ColumnType::Float, &pieces(&values, &cuts, |v| {
            Arc::new(v.into_iter().map(|v| v.map(|v| v as f32)).collect::<Float32Array>())
        }));
    }

    #[test]
    fn texts(values in nullable(text()), cuts in cuts()) {
        let views = pieces(&values, &cuts, |v| Arc::new(v.into_iter().collect::<StringViewArray>()));
        let column = check_built(&ColumnType::String, &views);
        let expected = format!("{:?}", column.coded().map(|coded| &coded.values));
        for form in [
            DataType::Utf8,
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8View)),
        ] {
            let arrays: Vec<ArrayRef> = views.iter().map(|array| cast(array, &form).unwrap()).collect();
            let column = check_built(&ColumnType::Json, &arrays);
            prop_assert_eq!(format!("{:?}", column.coded().map(|coded| &coded.values)), &expected[..]);
        }
        let bytes = pieces(&values, &cuts, |v| {
            Arc::new(v.iter().map(|v| v.as_ref().map(String::as_bytes)).collect::<BinaryViewArray>())
        });
        check_built(&ColumnType::Bytes, &bytes);
    }

    #[test]
    fn lists(values in nullable(prop::collection::vec(text(), 0..4)), cuts in cuts()) {
        let data_type = ColumnType::Array(Box::new(ColumnType::String));
        let DataType::List(element) = data_type.arrow() else { unreachable!() };
        check_built(&data_type, &pieces(&values, &cuts, |v| {
            let mut builder = ListBuilder::new(StringViewBuilder::new()).with_field(Arc::clone(&element));
            v.into_iter().for_each(|v| builder.append_option(v.map(|v| v.into_iter().map(Some))));
            Arc::new(builder.finish())
        }));
    }
}

#[test]
fn one_dictionary_in_many_arrays() {
    // Entry 0 is used by no row, entry 2 equals entry 1, entry 4 is NULL.
    let entries: ArrayRef =
        Arc::new(StringArray::from(vec![Some("z"), Some("b"), Some("b"), Some("a"), None]));
    let array = |keys: Vec<Option<i32>>| -> ArrayRef {
        Arc::new(DictionaryArray::<Int32Type>::new(Int32Array::from(keys), Arc::clone(&entries)))
    };
    let arrays = [array(vec![Some(1), Some(2), None]), array(vec![Some(3), Some(4), Some(1)])];
    let column = build_column(&ColumnType::String, &arrays).unwrap();
    check(&column, 6);
    let expected = StringViewArray::from(vec![Some("b"), Some("b"), None, Some("a"), None, Some("b")]);
    assert_eq!(decode(&column, 6).as_string_view(), &expected);
}

#[test]
fn sparse_numbers_get_a_dictionary() {
    let values: Vec<i64> =
        (0..20_000).map(|row| (row % 300) * (row % 300) * 100_003 + 7 * (row % 2)).collect();
    let column = check_built(&ColumnType::Long, &[Arc::new(Int64Array::from(values))]);
    let coded = column.coded().unwrap();
    assert!(
        matches!(coded.values, CodeValues::Dictionary { .. }) && matches!(coded.codes(0), CodeSlice::U16(_))
    );
    let values: Vec<i64> = (0..70_000_i64).map(|row| row * row * 100_003 + (row & 1)).collect();
    let column = check_built(&ColumnType::Long, &[Arc::new(Int64Array::from(values))]);
    assert!(matches!(column.coded().unwrap().values, CodeValues::Linear { .. }));
    let values: Vec<i64> = (0..70_000_i64)
        .map(|row| row.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64))
        .chain([i64::MIN, i64::MAX, 0])
        .collect();
    let column = check_built(&ColumnType::Long, &[Arc::new(Int64Array::from(values))]);
    assert!(matches!(column, Column::Plain(_)), "the whole of 64 bits and many values");
}

#[test]
fn mostly_distinct_text_is_plain() {
    let build = |distinct: usize| {
        let texts = (0..100_000).map(|row| format!("a rather long text {}", row % distinct));
        check_built(&ColumnType::String, &[Arc::new(texts.map(Some).collect::<StringViewArray>())])
    };
    assert!(matches!(build(80_000), Column::Plain(_)));
    assert!(matches!(build(60_000), Column::Coded(_)));
    let doubles: Float64Array = (0..70_000).map(|row| Some(f64::from(row) * 0.1)).collect();
    assert!(matches!(check_built(&ColumnType::Double, &[Arc::new(doubles)]), Column::Plain(_)));
}

#[test]
fn text_in_many_pieces_is_judged_by_all_of_its_rows() {
    const ROWS: i64 = 160_000;
    let build = |value: &dyn Fn(i64) -> i64| {
        let texts = (0..ROWS).map(|row| Some(format!("a rather long text {}", value(row))));
        let array: ArrayRef = Arc::new(texts.collect::<StringViewArray>());
        let pieces: Vec<ArrayRef> = (0..20).map(|piece| array.slice(piece * 8000, 8000)).collect();
        check_built(&ColumnType::String, &pieces)
    };
    let noise = |row: i64| row.wrapping_mul(0x5851_f42d_4c95_7f2d) as u64 >> 20;
    assert!(matches!(build(&|row| row), Column::Plain(_)));
    assert!(matches!(build(&|row| (noise(row) % 1_000_000) as i64), Column::Plain(_)));
    assert!(matches!(build(&|row| (noise(row) % 100_000) as i64), Column::Coded(_)));
    // All distinct where the column begins, few where it ends.
    assert!(matches!(build(&|row| row.min(80_000)), Column::Coded(_)));
}

#[test]
fn columns_of_one_value_take_a_byte() {
    for (data_type, array) in [
        (ColumnType::Long, Arc::new(Int64Array::from(vec![i64::MIN; 3])) as ArrayRef),
        (ColumnType::Double, Arc::new(Float64Array::from(vec![f64::NAN; 3]))),
        (ColumnType::String, Arc::new(StringViewArray::from(vec!["x"; 3]))),
    ] {
        let column = check_built(&data_type, &[array]);
        let coded = column.coded().unwrap();
        assert!(matches!(coded.codes(0), CodeSlice::U8([0, 0, 0])) && !coded.has_null);
    }
    for data_type in
        ["BOOLEAN", "INT", "FLOAT", "DECIMAL(38,2)", "TIMESTAMP", "DATE", "STRING", "BYTES", "ARRAY<INT>"]
    {
        let data_type: ColumnType = data_type.parse().unwrap();
        let nulls = new_null_array(&data_type.arrow(), 9000);
        check_built(&data_type, &[Arc::clone(&nulls)]);
        let column = null_column(&data_type, 9000);
        check(&column, 9000);
        assert_eq!(&decode(&column, 9000), &nulls);
    }
}

#[test]
fn a_wrong_type_is_refused() {
    let array: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    for data_type in [
        "BOOLEAN",
        "LONG",
        "FLOAT",
        "DOUBLE",
        "DECIMAL(5,2)",
        "TIMESTAMP",
        "DATE",
        "STRING",
        "BYTES",
        "ARRAY<INT>",
    ] {
        assert!(build_column(&data_type.parse().unwrap(), &[Arc::clone(&array)]).is_err());
    }
}

#[test]
fn equal_dictionaries_have_equal_fingerprints() {
    let fingerprint_of = |texts: Vec<Option<&str>>| {
        let column = build_column(&ColumnType::String, &[Arc::new(StringViewArray::from(texts))]).unwrap();
        match &column.coded().unwrap().values {
            CodeValues::Dictionary { fingerprint, .. } => fingerprint.unwrap(),
            CodeValues::Linear { .. } => unreachable!(),
        }
    };
    let one = fingerprint_of(vec![Some("a"), Some("bc")]);
    assert_eq!(one, fingerprint_of(vec![Some("bc"), Some("a"), Some("a")]));
    assert_ne!(one, fingerprint_of(vec![Some("ab"), Some("c")]));
    assert_ne!(one, fingerprint_of(vec![Some("a"), Some("bc"), None]));
    assert_ne!(one, fingerprint_of(vec![Some("a")]));
}
