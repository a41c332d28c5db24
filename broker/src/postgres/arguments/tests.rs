//! Values as drivers bind them.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Int64Type};
use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

fn of(base: &Type, format: Format, bytes: &[u8]) -> Result<ScalarValue, Failure> {
    read(0, base.oid(), None, format, Some(bytes)).map(|argument| argument.value)
}

#[test]
fn text_and_binary_mean_the_same() {
    let numeric_of = |text: &str| {
        let mut out = BytesMut::new();
        numeric::write(text, &mut out).unwrap();
        out.to_vec()
    };
    let instant = 1_700_000_000_123_456_i64;
    let binary_instant = (instant - MICROS_TO_2000).to_be_bytes();
    let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let cases: Vec<(Type, &str, Vec<u8>, ScalarValue)> = vec![
        (Type::BOOL, "on", vec![1], ScalarValue::Boolean(Some(true))),
        (Type::INT2, "-2", (-2_i16).to_be_bytes().into(), ScalarValue::Int16(Some(-2))),
        (Type::INT4, "7", 7_i32.to_be_bytes().into(), ScalarValue::Int32(Some(7))),
        (Type::INT8, "7", 7_i64.to_be_bytes().into(), ScalarValue::Int64(Some(7))),
        (
            Type::OID,
            "4000000000",
            4_000_000_000_u32.to_be_bytes().into(),
            ScalarValue::Int64(Some(4_000_000_000)),
        ),
        (Type::FLOAT4, "0.5", 0.5_f32.to_be_bytes().into(), ScalarValue::Float32(Some(0.5))),
        (
            Type::FLOAT8,
            "-Infinity",
            f64::NEG_INFINITY.to_be_bytes().into(),
            ScalarValue::Float64(Some(f64::NEG_INFINITY)),
        ),
        (Type::NUMERIC, "-12.50", numeric_of("-12.50"), ScalarValue::Decimal128(Some(-1250), 4, 2)),
        (Type::NUMERIC, "0.001", numeric_of("0.001"), ScalarValue::Decimal128(Some(1), 3, 3)),
        (Type::TEXT, "é", "é".into(), ScalarValue::Utf8View(Some("é".into()))),
        (
            Type::UUID,
            uuid,
            Uuid::parse_str(uuid).unwrap().as_bytes().to_vec(),
            ScalarValue::Utf8View(Some(uuid.into())),
        ),
        (Type::BYTEA, "\\x00ff", vec![0, 255], ScalarValue::BinaryView(Some(vec![0, 255]))),
        (Type::DATE, "2000-01-02", 1_i32.to_be_bytes().into(), ScalarValue::Date32(Some(10_958))),
        (
            Type::TIMESTAMPTZ,
            "2023-11-14 22:13:20.123456+00:00",
            binary_instant.into(),
            ScalarValue::TimestampMicrosecond(Some(instant), Some("UTC".into())),
        ),
        (
            Type::TIMESTAMP,
            "2023-11-14 22:13:20.123456",
            binary_instant.into(),
            ScalarValue::TimestampMicrosecond(Some(instant), None),
        ),
    ];
    for (base, text, binary, expected) in cases {
        assert_eq!(of(&base, Format::Text, text.as_bytes()).unwrap(), expected, "{base}");
        assert_eq!(of(&base, Format::Binary, &binary).unwrap(), expected, "{base}");
        assert!(
            of(&base, Format::Binary, &[0; 3]).is_err() || matches!(base, Type::TEXT | Type::BYTEA),
            "{base}"
        );
    }
    assert_eq!(
        of(&Type::BYTEA, Format::Text, br"a\\\001").unwrap(),
        ScalarValue::BinaryView(Some(b"a\\\x01".to_vec()))
    );
}

#[test]
fn what_is_no_value_is_named() {
    for (base, text) in [
        (Type::INT4, "x"),
        (Type::INT2, "40000"),
        (Type::BOOL, "maybe"),
        (Type::NUMERIC, "NaN"),
        (Type::UUID, "1"),
        (Type::BYTEA, "\\xf"),
        (Type::DATE, "yesterday"),
        (Type::INT8_ARRAY, "{1,{2}}"),
        (Type::TIMESTAMPTZ, "infinity"),
    ] {
        let failure = of(&base, Format::Text, text.as_bytes()).unwrap_err();
        assert_eq!(failure.code, INVALID_TEXT, "{base}");
        assert!(failure.message.contains("$1"), "{}", failure.message);
    }
    assert!(read(0, 600, None, Format::Text, Some(b"(1,2)")).unwrap_err().message.contains("600"));
    for (base, bytes) in [
        (Type::DATE, i32::MIN.to_be_bytes().to_vec()),
        (Type::DATE, i32::MAX.to_be_bytes().to_vec()),
        (Type::TIMESTAMP, i64::MIN.to_be_bytes().to_vec()),
        (Type::TIMESTAMPTZ, i64::MAX.to_be_bytes().to_vec()),
    ] {
        assert_eq!(of(&base, Format::Binary, &bytes).unwrap_err().code, INVALID_BINARY, "{base} {bytes:?}");
    }
}

#[test]
fn what_the_client_leaves_open_takes_the_type_of_its_place() {
    let open = read(0, 0, None, Format::Text, Some(b"1")).unwrap();
    assert!(open.is_untyped);
    let told = read(0, 0, Some(&Type::INT8), Format::Binary, Some(&7_i64.to_be_bytes())).unwrap();
    assert_eq!((told.value, told.is_untyped), (ScalarValue::Int64(Some(7)), false));
    assert!(read(0, 0, None, Format::Binary, Some(b"x")).is_err());
    assert_eq!(read(0, 23, None, Format::Text, None).unwrap().value, ScalarValue::Int32(None));
}

#[test]
fn arrays_in_both_formats() {
    let ScalarValue::List(list) = of(&Type::INT8_ARRAY, Format::Text, b"{1, NULL ,3}").unwrap() else {
        panic!()
    };
    let numbers = list.value(0);
    assert_eq!(numbers.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(1), None, Some(3)]);

    let ScalarValue::List(list) =
        of(&Type::TEXT_ARRAY, Format::Text, br#"{"a,\"b",c d,NULL,"NULL"}"#).unwrap()
    else {
        panic!()
    };
    let texts = list.value(0);
    let texts: Vec<_> = texts.as_string_view().iter().collect();
    assert_eq!(texts, [Some("a,\"b"), Some("c d"), None, Some("NULL")]);

    let mut binary = Vec::new();
    for word in [1_i32, 0, 20, 2, 1, 8] {
        binary.extend(word.to_be_bytes());
    }
    binary.extend(5_i64.to_be_bytes());
    binary.extend((-1_i32).to_be_bytes());
    let ScalarValue::List(list) = of(&Type::INT8_ARRAY, Format::Binary, &binary).unwrap() else { panic!() };
    assert_eq!(list.value(0).len(), 2);
    assert!(of(&Type::INT8_ARRAY, Format::Binary, &binary[..binary.len() - 1]).is_err());
    assert_eq!(of(&Type::INT8_ARRAY, Format::Text, b"{}").unwrap().data_type(), list_type());
}

fn list_type() -> DataType {
    DataType::List(Field::new_list_field(DataType::Int64, true).into())
}

proptest! {
    #[test]
    fn no_bytes_panic(
        oid in prop::sample::select(vec![0_u32, 16, 17, 20, 21, 23, 25, 26, 114, 700, 701, 1016, 1009, 1082, 1083, 1114, 1184, 1186, 1231, 1700, 2950, 3802]),
        is_binary in any::<bool>(),
        bytes in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let format = if is_binary { Format::Binary } else { Format::Text };
        let _ = read(0, oid, None, format, Some(&bytes));
    }

    #[test]
    fn no_text_panics(
        oid in prop::sample::select(vec![17_u32, 20, 1016, 1009, 1082, 1083, 1114, 1184, 1186, 1700]),
        text in "[-+{},\"\\\\0-9a-z :.TZ]{0,40}",
    ) {
        let _ = read(0, oid, None, Format::Text, Some(text.as_bytes()));
    }
}
