//! Every shape of value in both formats.

use arrow::array::*;
use arrow::datatypes::{Decimal128Type, Int32Type, UInt64Type};

use super::*;
use crate::postgres::types::of_field;

/// A value as it goes to the client, or why it does not.
type Written<T> = Result<Option<T>, QueryError>;

fn written(field: Field, array: ArrayRef, row: usize) -> (Written<String>, Written<Vec<u8>>) {
    let wire = of_field(&field);
    let values = Values::new(&Arc::new(field), &array, &wire.base).unwrap();
    let one = |format| {
        let mut out = BytesMut::new();
        values.write(row, format, &mut out)?;
        let length = i32::from_be_bytes(out[..4].try_into().unwrap());
        assert!(length == -1 || length as usize == out.len() - 4);
        Ok((length >= 0).then(|| out[4..].to_vec()))
    };
    (one(Format::Text).map(|text| text.map(|text| String::from_utf8(text).unwrap())), one(Format::Binary))
}

fn text(array: ArrayRef, row: usize) -> Option<String> {
    written(Field::new("c", array.data_type().clone(), true), array, row).0.unwrap()
}

fn both(array: ArrayRef) -> (String, Vec<u8>) {
    let (text, binary) = written(Field::new("c", array.data_type().clone(), true), array, 0);
    (text.unwrap().unwrap(), binary.unwrap().unwrap())
}

fn array(values: impl Array + 'static) -> ArrayRef {
    Arc::new(values)
}

#[test]
fn scalars_in_both_formats() {
    assert_eq!(both(array(BooleanArray::from(vec![true]))), ("t".into(), vec![1]));
    assert_eq!(both(array(Int8Array::from(vec![-1]))), ("-1".into(), vec![0xff, 0xff]));
    assert_eq!(
        both(array(UInt32Array::from(vec![u32::MAX]))),
        ("4294967295".into(), vec![0, 0, 0, 0, 255, 255, 255, 255])
    );
    assert_eq!(both(array(UInt64Array::from_iter_values([7]))), ("7".into(), 7_i64.to_be_bytes().to_vec()));
    let field = Arc::new(Field::new("n", DataType::UInt64, true));
    let too_large: ArrayRef = Arc::new(UInt64Array::from_iter_values([u64::MAX]));
    assert!(Values::new(&field, &too_large, &Type::INT8).is_err());
    assert_eq!(both(array(StringArray::from(vec!["é"]))), ("é".into(), "é".as_bytes().to_vec()));
    assert_eq!(both(array(BinaryArray::from(vec![&b"\x00\xff"[..]]))), ("\\x00ff".into(), vec![0, 255]));
    let decimal = Decimal128Array::from(vec![-1250]).with_precision_and_scale(10, 2).unwrap();
    let (text, binary) = both(array(decimal));
    assert_eq!((text.as_str(), numeric::read(&binary)), ("-12.50", Ok((-1250, 2))));
    let day = both(array(Date32Array::from(vec![0])));
    assert_eq!(day, ("1970-01-01".into(), (-10_957_i32).to_be_bytes().to_vec()));
    let time = both(array(Time32MillisecondArray::from(vec![3_723_004])));
    assert_eq!(time, ("01:02:03.004".into(), 3_723_004_000_i64.to_be_bytes().to_vec()));
}

#[test]
fn nulls_of_every_kind() {
    for array in [
        array(NullArray::new(1)),
        array(Int64Array::from(vec![None])),
        array(StringViewArray::from(vec![None::<&str>])),
        array(TimestampSecondArray::from(vec![None])),
        array(ListArray::from_iter_primitive::<Int32Type, _, _>([None::<Vec<Option<i32>>>])),
        array(DictionaryArray::<Int32Type>::from_iter([None::<&str>])),
    ] {
        let (text, binary) = written(Field::new("c", array.data_type().clone(), true), Arc::clone(&array), 0);
        assert_eq!((text.unwrap(), binary.unwrap()), (None, None), "{:?}", array.data_type());
    }
}

#[test]
fn floats_as_postgres_prints_them() {
    for (value, expected) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (0.1, "0.1"),
        (-1234.5, "-1234.5"),
        (1e14, "100000000000000"),
        (1e15, "1e+15"),
        (123456789012345.0, "123456789012345"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (1.5e300, "1.5e+300"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
    ] {
        assert_eq!(text(array(Float64Array::from(vec![value])), 0).as_deref(), Some(expected));
    }
    assert_eq!(text(array(Float32Array::from(vec![0.1])), 0).as_deref(), Some("0.1"));
    assert_eq!(text(array(Float32Array::from(vec![1_000_000.0])), 0).as_deref(), Some("1e+06"));
}

#[test]
fn instants_of_all_units_and_beyond_the_range() {
    for (array, expected) in [
        (array(TimestampSecondArray::from(vec![-1])), "1969-12-31 23:59:59"),
        (array(TimestampMillisecondArray::from(vec![1]).with_timezone("UTC")), "1970-01-01 00:00:00.001+00"),
        (array(TimestampNanosecondArray::from(vec![-1])), "1969-12-31 23:59:59.999999"),
    ] {
        assert_eq!(text(array, 0).as_deref(), Some(expected));
    }
    for array in
        [array(TimestampMicrosecondArray::from(vec![i64::MIN])), array(Date32Array::from(vec![i32::MAX]))]
    {
        let (text, binary) = written(Field::new("c", array.data_type().clone(), true), array, 0);
        assert!(text.unwrap_err().message.contains("out of range") && binary.is_err());
    }
}

#[test]
fn declared_types_count() {
    let field = |name: &str| {
        Field::new("c", DataType::Utf8View, true)
            .with_metadata([("headwater.type".into(), name.to_owned())].into())
    };
    let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let (text, binary) = written(field("UUID"), array(StringViewArray::from(vec![uuid])), 0);
    assert_eq!(text.unwrap().as_deref(), Some(uuid));
    assert_eq!(binary.unwrap().unwrap(), Uuid::parse_str(uuid).unwrap().as_bytes());
    assert_eq!(of_field(&field("JSON")).base, Type::JSON);
    let decimal = of_field(&Field::new("c", DataType::Decimal128(10, 2), true));
    assert_eq!((decimal.base, decimal.modifier), (Type::NUMERIC, (10 << 16 | 2) + 4));
}

#[test]
fn arrays_and_compound_values() {
    let texts = [Some(vec![Some("a b"), None, Some(""), Some("null"), Some("q\"\\"), Some("x")])];
    let mut builder = ListBuilder::new(StringBuilder::new());
    texts.into_iter().for_each(|list| builder.append_option(list));
    let (text, binary) = both(array(builder.finish()));
    assert_eq!(text, r#"{"a b",NULL,"","null","q\"\\",x}"#);
    assert_eq!(binary[..20], [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 6, 0, 0, 0, 1]);

    let numbers = ListArray::from_iter_primitive::<UInt64Type, _, _>([Some(vec![Some(1), Some(2)])]);
    assert_eq!(both(array(numbers)).0, "{1,2}");
    let empty = ListArray::from_iter_primitive::<Decimal128Type, _, _>([Some(Vec::<Option<i128>>::new())]);
    assert_eq!(both(array(empty)).0, "{}");

    let inner: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let both_rows = StructArray::from(vec![(Arc::new(Field::new("a", DataType::Int64, true)), inner)]);
    assert_eq!(text_of_all(array(both_rows)), [r#"{"a":1}"#, r#"{"a":null}"#]);
    let dictionary: DictionaryArray<Int32Type> = ["b", "a", "b"].into_iter().collect();
    assert_eq!(text_of_all(array(dictionary)), ["b", "a", "b"]);
}

fn text_of_all(array: ArrayRef) -> Vec<String> {
    (0..array.len()).map(|row| text(Arc::clone(&array), row).unwrap()).collect()
}
