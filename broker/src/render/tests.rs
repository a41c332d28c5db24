//! Every type's spelling, and the equivalence of rendered JSON with the values.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use base64::Engine as _;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::value::{Dialect, encode_value, encoder_of};
use super::*;

/// All values of an array, rendered and parsed back.
fn rendered(array: &ArrayRef, dialect: Dialect) -> Value {
    serde_json::from_str(&text(array, dialect)).unwrap()
}

fn text(array: &ArrayRef, dialect: Dialect) -> String {
    text_of(Field::new("c", array.data_type().clone(), true), array, dialect)
}

fn text_of(field: Field, array: &ArrayRef, dialect: Dialect) -> String {
    let field: FieldRef = Arc::new(field);
    let mut encoder = encoder_of(&field, array.as_ref(), dialect).unwrap();
    let mut out = vec![b'['];
    for row in 0..array.len() {
        if row > 0 {
            out.push(b',');
        }
        encode_value(&mut encoder, row, &mut out);
    }
    out.push(b']');
    String::from_utf8(out).unwrap()
}

/// The items of a flat JSON array, as text.
fn items(plain: &str) -> impl Iterator<Item = &str> {
    plain.trim_matches(['[', ']']).split(',').filter(|item| !item.is_empty())
}

fn array(array: impl Array + 'static) -> ArrayRef {
    Arc::new(array)
}

/// 2024-01-02T03:04:05.006Z in microseconds.
const INSTANT: i64 = 1_704_164_645_006_000;

fn dictionary() -> ArrayRef {
    // Code 1 is a NULL among the values; the third row is a NULL among the codes.
    let values = array(StringArray::from(vec![Some("a"), None]));
    array(DictionaryArray::<Int32Type>::new(Int32Array::from(vec![Some(0), Some(1), None]), values))
}

fn int_map() -> ArrayRef {
    let mut map = MapBuilder::new(None, Int32Builder::new(), StringBuilder::new());
    map.keys().append_value(7);
    map.values().append_value("x");
    map.keys().append_value(8);
    map.values().append_null();
    map.append(true).unwrap();
    map.append(false).unwrap();
    array(map.finish())
}

fn union() -> ArrayRef {
    let fields: UnionFields = [
        (0, Arc::new(Field::new("null", DataType::Null, true))),
        (3, Arc::new(Field::new("int", DataType::Int64, false))),
        (5, Arc::new(Field::new("str", DataType::Utf8, false))),
    ]
    .into_iter()
    .collect();
    let children: Vec<ArrayRef> = vec![
        array(NullArray::new(3)),
        array(Int64Array::from(vec![0, 42, 0])),
        array(StringArray::from(vec!["", "", "s\"q"])),
    ];
    array(UnionArray::try_new(fields, vec![0, 3, 5].into(), None, children).unwrap())
}

#[test]
fn each_type_in_both_dialects() {
    let structs = array(StructArray::from(vec![
        (Arc::new(Field::new("a", DataType::Int32, true)), array(Int32Array::from(vec![Some(1), None]))),
        (Arc::new(Field::new("b", DataType::Float64, true)), array(Float64Array::from(vec![1.5, f64::NAN]))),
    ]));
    let lists =
        ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let decimals =
        Decimal128Array::from(vec![Some(1230), Some(-5), None]).with_precision_and_scale(38, 2).unwrap();
    let cases: Vec<(ArrayRef, &str, &str)> = vec![
        (array(BooleanArray::from(vec![Some(true), None])), "[true,null]", "[true,null]"),
        (
            array(Int64Array::from(vec![i64::MIN, i64::MAX])),
            "[-9223372036854775808,9223372036854775807]",
            "[-9223372036854775808,9223372036854775807]",
        ),
        (array(UInt64Array::from(vec![u64::MAX])), "[18446744073709551615]", "[18446744073709551615]"),
        (
            array(Float64Array::from(vec![0.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0])),
            r#"[0.1,"NaN","Infinity","-Infinity",-0.0]"#,
            r#"[0.1,"NaN","Infinity","-Infinity",-0.0]"#,
        ),
        (array(Float32Array::from(vec![0.1f32])), "[0.1]", "[0.1]"),
        (array(decimals), "[12.30,-0.05,null]", "[12.30,-0.05,null]"),
        (
            array(TimestampMicrosecondArray::from(vec![Some(INSTANT), None]).with_timezone("UTC")),
            r#"["2024-01-02T03:04:05.006Z",null]"#,
            r#"["2024-01-02 03:04:05.006",null]"#,
        ),
        (
            array(TimestampSecondArray::from(vec![0, -1])),
            r#"["1970-01-01T00:00:00","1969-12-31T23:59:59"]"#,
            r#"["1970-01-01 00:00:00.0","1969-12-31 23:59:59.0"]"#,
        ),
        (
            array(TimestampNanosecondArray::from(vec![-1])),
            r#"["1969-12-31T23:59:59.999999999"]"#,
            r#"["1969-12-31 23:59:59.999999"]"#,
        ),
        (
            array(Date32Array::from(vec![19_724, -1])),
            r#"["2024-01-02","1969-12-31"]"#,
            r#"["2024-01-02 00:00:00.0","1969-12-31 00:00:00.0"]"#,
        ),
        (
            array(Date64Array::from(vec![1_704_153_600_000])),
            r#"["2024-01-02T00:00:00"]"#,
            r#"["2024-01-02 00:00:00.0"]"#,
        ),
        (array(Time32SecondArray::from(vec![3661])), r#"["01:01:01"]"#, r#"["01:01:01"]"#),
        (array(DurationSecondArray::from(vec![61])), r#"["PT61S"]"#, r#"["PT61S"]"#),
        (
            array(StringViewArray::from(vec!["a\"\n\u{1}é"])),
            "[\"a\\\"\\n\\u0001é\"]",
            "[\"a\\\"\\n\\u0001é\"]",
        ),
        (array(BinaryViewArray::from(vec![&[0u8, 255][..]])), r#"["AP8="]"#, r#"["00ff"]"#),
        (array(BinaryArray::from(vec![&[0u8, 255][..]])), r#"["AP8="]"#, r#"["00ff"]"#),
        (dictionary(), r#"["a",null,null]"#, r#"["a",null,null]"#),
        (array(lists), "[[1,null],null,[]]", "[[1,null],null,[]]"),
        (
            structs,
            r#"[{"a":1,"b":1.5},{"a":null,"b":"NaN"}]"#,
            r#"["{\"a\":1,\"b\":1.5}","{\"a\":null,\"b\":\"NaN\"}"]"#,
        ),
        (int_map(), r#"[{"7":"x","8":null},null]"#, r#"["{\"7\":\"x\",\"8\":null}",null]"#),
        (union(), r#"[null,42,"s\"q"]"#, r#"[null,"42","s\"q"]"#),
        (array(NullArray::new(2)), "[null,null]", "[null,null]"),
    ];
    for (array, headwater, pinot) in cases {
        assert_eq!(text(&array, Dialect::Headwater), headwater, "{}", array.data_type());
        assert_eq!(text(&array, Dialect::Pinot), pinot, "{}", array.data_type());
    }
}

#[test]
fn times_outside_the_calendar_and_empty_dictionaries_are_still_json() {
    for extreme in [i64::MIN, i64::MAX] {
        let times = array(TimestampMicrosecondArray::from(vec![extreme]).with_timezone("UTC"));
        let dates = array(Date64Array::from(vec![extreme]));
        let seconds = array(Time64MicrosecondArray::from(vec![extreme]));
        let days = array(Date32Array::from(vec![extreme.signum() as i32 * i32::MAX]));
        for array in [times, dates, seconds, days] {
            assert!(rendered(&array, Dialect::Headwater)[0].is_string());
            assert!(rendered(&array, Dialect::Pinot)[0].is_string());
        }
    }
    let none = array(StringArray::from(Vec::<&str>::new()));
    let codes = Int32Array::from(vec![None, None]);
    let empty = array(DictionaryArray::<Int32Type>::new(codes, none));
    assert_eq!(rendered(&empty, Dialect::Headwater), json!([null, null]));
}

/// A field of a table's column.
fn declared(declared: &str, data_type: DataType) -> Field {
    Field::new("c", data_type, true).with_metadata([("headwater.type".into(), declared.to_string())].into())
}

#[test]
fn pinots_clients_get_decimals_as_numbers_but_whole_ones_of_a_table_as_text() {
    use super::types::{pinot_column_type, pinot_type};
    let digits = "12345678901234567890";
    let whole = Decimal128Array::from(vec![digits.parse::<i128>().unwrap()]);
    let whole = array(whole.with_precision_and_scale(38, 0).unwrap());
    let column = declared("DECIMAL(38,0)", whole.data_type().clone());
    assert_eq!(
        (pinot_type(&column), text_of(column, &whole, Dialect::Pinot)),
        ("BIG_DECIMAL".into(), format!("[\"{digits}\"]"))
    );
    let computed = Field::new("sum(c)", whole.data_type().clone(), true);
    assert_eq!(
        (pinot_type(&computed), text_of(computed, &whole, Dialect::Pinot)),
        ("DOUBLE".into(), format!("[{digits}]"))
    );
    let price = array(Decimal128Array::from(vec![449_925_000]).with_precision_and_scale(12, 2).unwrap());
    let column = declared("DECIMAL(12,2)", price.data_type().clone());
    assert_eq!(
        (pinot_type(&column), text_of(column, &price, Dialect::Pinot)),
        ("DOUBLE".into(), "[4499250.00]".into())
    );
    // A schema names the types that the answers have.
    for (of, expected) in [
        ("DECIMAL(38,0)", ("BIG_DECIMAL", false)),
        ("DECIMAL(12,2)", ("DOUBLE", false)),
        ("ARRAY<DECIMAL(9,0)>", ("DOUBLE", true)),
        ("DATE", ("TIMESTAMP", false)),
    ] {
        assert_eq!(pinot_column_type(&of.parse().unwrap()), expected, "{of}");
    }
}

#[test]
fn type_names() {
    use super::types::{pinot_type, sql_type};
    let list = |element: DataType| DataType::List(Arc::new(Field::new("element", element, true)));
    let cases = [
        (declared("JSON", DataType::Utf8View), "JSON", "JSON"),
        (declared("UUID", DataType::Utf8View), "UUID", "STRING"),
        // The declaration outlived a cast.
        (declared("JSON", DataType::Int64), "LONG", "LONG"),
        (Field::new("c", list(DataType::Decimal128(9, 2)), true), "ARRAY<DECIMAL(9,2)>", "DOUBLE_ARRAY"),
        (Field::new("c", list(list(DataType::Int32)), true), "ARRAY<ARRAY<INT>>", "JSON"),
        (Field::new("c", DataType::Date32, true), "DATE", "TIMESTAMP"),
        (
            Field::new("c", DataType::Timestamp(TimeUnit::Millisecond, None), true),
            "TIMESTAMP(3)",
            "TIMESTAMP",
        ),
        (
            Field::new("c", DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), true),
            "STRING",
            "STRING",
        ),
    ];
    for (field, sql, pinot) in cases {
        assert_eq!((sql_type(&field).as_str(), pinot_type(&field).as_str()), (sql, pinot), "{field:?}");
    }
}

fn encoded(format: Format, batches: &[RecordBatch]) -> Vec<u8> {
    let facts = Arc::new(AnswerFacts {
        id: "q".into(),
        cuts: BTreeMap::new(),
        stats: Arc::default(),
        started: Instant::now(),
    });
    let mut encoder = format.encoder(&batches[0].schema(), facts).unwrap();
    let mut out = Vec::new();
    encoder.begin(&mut out).unwrap();
    for batch in batches {
        encoder.rows(batch, &mut out).unwrap();
    }
    encoder.finish(&mut out).unwrap();
    out
}

#[test]
fn csv_takes_every_type() {
    let batch = RecordBatch::try_from_iter([
        ("a,b", array(StringViewArray::from(vec![Some("x\"y,\n"), None, Some("")]))),
        ("bytes", array(BinaryViewArray::from(vec![Some(&[0u8, 255][..]), None, None]))),
        ("u", union()),
        ("d", dictionary()),
        ("f", array(Float64Array::from(vec![f64::INFINITY, 0.5, f64::NAN]))),
    ])
    .unwrap();
    let text = String::from_utf8(encoded(Format::Csv, &[batch.clone(), batch.slice(2, 1)])).unwrap();
    let expected = "\"a,b\",bytes,u,d,f\r\n\"x\"\"y,\n\",AP8=,,a,Infinity\r\n,,42,,0.5\r\n,,\"s\"\"q\",,NaN\r\n\
                    ,,\"s\"\"q\",,NaN\r\n";
    assert_eq!(text, expected);
}

#[test]
fn arrow_stream_does_not_carry_the_text_of_rows_that_are_gone() {
    let long: Vec<String> =
        (0..1000).map(|row| format!("a text that is too long to be inlined, {row}")).collect();
    let mut lists = ListBuilder::new(StringViewBuilder::new());
    for text in &long {
        lists.append_value([Some(text), None]);
    }
    let texts = array(StringViewArray::from_iter_values(&long));
    let all = RecordBatch::try_from_iter([("s", texts), ("l", array(lists.finish()))]).unwrap();
    let few = all.slice(10, 2);
    let bytes = encoded(Format::Arrow, std::slice::from_ref(&few));
    assert!(bytes.len() < 2000, "{} bytes for two rows", bytes.len());
    let reader = arrow::ipc::reader::StreamReader::try_new(bytes.as_slice(), None).unwrap();
    let read: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    assert_eq!(read, [few]);
}

#[test]
fn rows_without_columns_keep_their_number() {
    let options = RecordBatchOptions::new().with_row_count(Some(2));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    for format in [Format::Json, Format::Ndjson, Format::Csv, Format::Arrow] {
        encoded(format, std::slice::from_ref(&batch));
    }
    let document: Value = serde_json::from_slice(&encoded(Format::Json, &[batch])).unwrap();
    assert_eq!((&document["rows"], &document["row_count"]), (&json!([[], []]), &json!(2)));
}

proptest! {
    /// What a client parses is what the array held, bit by bit.
    #[test]
    fn json_reads_back(
        longs in proptest::collection::vec(any::<Option<i64>>(), 0..20),
        doubles in proptest::collection::vec(any::<Option<f64>>(), 0..20),
        texts in proptest::collection::vec(any::<Option<String>>(), 0..20),
        blobs in proptest::collection::vec(any::<Option<Vec<u8>>>(), 0..20),
        lists in proptest::collection::vec(any::<Option<Vec<Option<i32>>>>(), 0..20),
        decimals in proptest::collection::vec(proptest::option::of(-10i128.pow(37)..10i128.pow(37)), 0..20),
    ) {
        prop_assert_eq!(rendered(&array(Int64Array::from(longs.clone())), Dialect::Headwater), json!(longs));
        let views = array(StringViewArray::from_iter(texts.clone()));
        prop_assert_eq!(rendered(&views, Dialect::Headwater), json!(texts));
        let codes: DictionaryArray<Int32Type> = texts.iter().map(Option::as_deref).collect();
        prop_assert_eq!(rendered(&array(codes), Dialect::Headwater), json!(texts));
        let nested = ListArray::from_iter_primitive::<Int32Type, _, _>(lists.clone());
        prop_assert_eq!(rendered(&array(nested), Dialect::Headwater), json!(lists));

        // Not by serde_json, whose own reading of numbers may be off by the last bit.
        let plain = text(&array(Float64Array::from(doubles.clone())), Dialect::Headwater);
        for (item, value) in items(&plain).zip(&doubles) {
            let read = (item != "null").then(|| item.trim_matches('"').parse::<f64>().unwrap());
            prop_assert!(
                read.map(f64::to_bits) == value.map(f64::to_bits) || value.is_some_and(f64::is_nan),
                "{} for {:?}", item, value
            );
        }

        let read = rendered(&array(BinaryViewArray::from_iter(blobs.clone())), Dialect::Headwater);
        for (read, value) in read.as_array().unwrap().iter().zip(&blobs) {
            let read = read.as_str().map(|text| base64::engine::general_purpose::STANDARD.decode(text).unwrap());
            prop_assert_eq!(&read, value);
        }

        let column = Decimal128Array::from(decimals.clone()).with_precision_and_scale(38, 5).unwrap();
        let plain = text(&array(column), Dialect::Headwater);
        for (item, value) in items(&plain).zip(&decimals) {
            let read = (item != "null").then(|| item.replace('.', "").parse::<i128>().unwrap());
            prop_assert_eq!(&read, value, "{}", item);
        }
    }
}
