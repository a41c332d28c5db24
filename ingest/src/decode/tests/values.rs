//! What each type accepts and what it becomes: tables of one value each.

use super::{Cell, decode_value};

#[track_caller]
fn becomes(data_type: &str, cases: &[(&str, Cell)]) {
    for (value, expected) in cases {
        assert_eq!(decode_value(data_type, value).as_ref(), Ok(expected), "{data_type} {value}");
    }
}

#[track_caller]
fn misfits(data_type: &str, values: &[&str]) {
    for value in values {
        let error = decode_value(data_type, value).expect_err(&format!("{data_type} {value}"));
        assert_eq!(error.path, "v", "{data_type} {value}: {error}");
        assert!(error.reason.contains("does not fit"), "{data_type} {value}: {error}");
    }
}

#[test]
fn null_is_null_for_every_type() {
    for data_type in
        ["BOOLEAN", "INT", "DOUBLE", "DECIMAL(9,2)", "TIMESTAMP", "DATE", "STRING", "JSON", "ARRAY<INT>"]
    {
        becomes(data_type, &[("null", Cell::Null)]);
    }
}

#[test]
fn booleans() {
    becomes(
        "BOOLEAN",
        &[
            ("true", Cell::Bool(true)),
            (r#""false""#, Cell::Bool(false)),
            (r#""tr\u0075e""#, Cell::Bool(true)),
        ],
    );
    misfits("BOOLEAN", &["1", "0", r#""""#, r#""True""#, r#"" true""#, "[]", "{}"]);
}

#[test]
fn integers() {
    becomes(
        "INT",
        &[
            ("5", Cell::I32(5)),
            ("-0", Cell::I32(0)),
            ("5.0", Cell::I32(5)),
            ("1e3", Cell::I32(1000)),
            ("1.5E1", Cell::I32(15)),
            ("2500e-2", Cell::I32(25)),
            ("0e999999999999999999999", Cell::I32(0)),
            ("2147483647", Cell::I32(i32::MAX)),
            ("-2147483648.000", Cell::I32(i32::MIN)),
            (r#""-17""#, Cell::I32(-17)),
            (r#""\u0031""#, Cell::I32(1)),
        ],
    );
    becomes(
        "LONG",
        &[
            ("9223372036854775807", Cell::I64(i64::MAX)),
            ("-9223372036854775808", Cell::I64(i64::MIN)),
            ("9223372036854775807.0", Cell::I64(i64::MAX)),
            ("1760000000000", Cell::I64(1_760_000_000_000)),
            ("12345678", Cell::I64(12_345_678)),
            ("123456789", Cell::I64(123_456_789)),
            ("0.00000000000000000000000000000001e32", Cell::I64(1)),
            ("100000000000000000000000000000e-28", Cell::I64(10)),
        ],
    );
    misfits(
        "INT",
        &["2147483648", "-2147483649", "1e10", "0.5", "5e-1", "true", "[5]", r#""""#, r#"" 5""#, r#""5x""#],
    );
    misfits("INT", &[r#""+5""#, r#""05""#, r#""NaN""#, "1e99999999999999999999", "1e-99999999999999999999"]);
    misfits("LONG", &["9223372036854775808", "-9223372036854775809", "18446744073709551616", "1e19"]);
}

#[test]
fn floats() {
    let cases = [0.0, -0.0, 1.5, 0.1, 3.718281828459045, 1e22, 1e23, 9007199254740993.0, 5e-324, f64::MAX];
    for value in cases {
        let literal = format!("{value:?}");
        let value = if value == 0.0 { 0.0 } else { value };
        becomes("DOUBLE", &[(&literal, Cell::f64(value)), (&format!("\"{literal}\""), Cell::f64(value))]);
        if (value as f32).is_finite() {
            let value = if value == 0.0 { 0.0 } else { literal.parse().unwrap() };
            becomes("FLOAT", &[(&literal, Cell::f32(value))]);
        }
    }
    becomes(
        "DOUBLE",
        &[
            ("1e-400", Cell::f64(0.0)),
            ("-1e-400", Cell::f64(0.0)),
            ("123456789012345678901234567890", Cell::f64(1.2345678901234568e29)),
        ],
    );
    // Between two floats, just above the middle: reading it as a double first would round it twice.
    becomes("FLOAT", &[("1.00000017881393432617187499", Cell::f32(1.0000001))]);
    for (text, value) in [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)] {
        becomes("DOUBLE", &[(&format!("\"{text}\""), Cell::f64(value))]);
        becomes("FLOAT", &[(&format!("\"{text}\""), Cell::f32(value as f32))]);
    }
    misfits("FLOAT", &["1e39", "3.4028236e38", r#""1e39""#]);
    misfits(
        "DOUBLE",
        &["1e999", "-1e309", r#""1e999""#, r#""inf""#, r#""nan""#, r#""1.""#, r#"".5""#, r#""""#, "true"],
    );
}

#[test]
fn decimals() {
    becomes(
        "DECIMAL(9,2)",
        &[
            ("1.25", Cell::I128(125)),
            ("-1.2", Cell::I128(-120)),
            ("1.2500", Cell::I128(125)),
            ("125e-2", Cell::I128(125)),
            ("1.25e3", Cell::I128(125_000)),
            ("9999999.99", Cell::I128(999_999_999)),
            ("0e-99999999999999999999", Cell::I128(0)),
            (r#""-0.01""#, Cell::I128(-1)),
            ("1.00000000000000000000000000000000000000000000000000000000", Cell::I128(100)),
        ],
    );
    let widest = "9".repeat(38);
    becomes("DECIMAL(38,0)", &[(&format!("-{widest}"), Cell::I128(-widest.parse::<i128>().unwrap()))]);
    becomes("DECIMAL(38,38)", &[(&format!("0.{widest}"), Cell::I128(widest.parse().unwrap()))]);
    misfits("DECIMAL(9,2)", &["1.255", "10000000", "1e7", "1e-3", "1e99", r#""1,25""#, r#""NaN""#, "true"]);
    misfits("DECIMAL(38,0)", &[&format!("{widest}9"), "1e38", "0.1"]);
}

#[test]
fn timestamps() {
    let noon = 1_709_208_000_000_000; // 2024-02-29T12:00:00Z
    for (text, micros) in [
        ("2024-02-29T12:00", noon),
        ("2024-02-29 12:00:00", noon),
        ("2024-02-29T12:00:00Z", noon),
        ("2024-02-29t14:30:00+02:30", noon),
        ("2024-02-29T00:00:00-1200", noon),
        ("2024-02-29T12:00:00.1z", noon + 100_000),
        ("2024-02-29T12:00:00.001999999", noon + 1_999),
        ("1969-12-31T23:59:59.9999999Z", -1),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
        ("9999-12-31T23:59:59.999999999Z", 253_402_300_799_999_999),
    ] {
        becomes("TIMESTAMP(6)", &[(&format!("\"{text}\""), Cell::I64(micros))]);
        becomes("TIMESTAMP(3)", &[(&format!("\"{text}\""), Cell::I64(micros.div_euclid(1000) * 1000))]);
    }
    for value in
        ["1709208000000", "1709208000000.0", "1.709208e12", r#""1709208000000""#, r#""+1709208000000""#]
    {
        becomes("TIMESTAMP(3)", &[(value, Cell::I64(noon))]);
        becomes("TIMESTAMP(6)", &[(value, Cell::I64(noon / 1000))]);
    }
    becomes(
        "TIMESTAMP(3)",
        &[(r#""-1""#, Cell::I64(-1000)), ("-62135596800000", Cell::I64(-62_135_596_800_000_000))],
    );
    misfits(
        "TIMESTAMP(3)",
        &["1.5", "253402300800000", "-62135596800001", "9223372036854775807", "true", "[]", r#""""#],
    );
    for text in [
        "2024-02-29",
        "2023-02-29T12:00",
        "1900-02-29T12:00",
        "2024-13-01T12:00",
        "2024-00-01T12:00",
        "2024-01-32T12:00",
        "0000-01-01T00:00",
        "2024-02-29T24:00",
        "2024-02-29T12:60",
        "2024-02-29T12:00:60",
        "2024-02-29T12:00:00.",
        "2024-02-29T12:00:00.1234567890",
        "2024-02-29T12:00.5",
        "2024-02-29T12:00:00+2",
        "2024-02-29T12:00:00+02",
        "2024-02-29T12:00:00+02:60",
        "2024-02-29T12:00:00 Z",
        "2024-02-29T12:00:00Zx",
        "0001-01-01T00:00+00:01",
        "9999-12-31T23:59-00:01",
        "+2024-02-29T12:00",
        "2024/02/29T12:00",
        "+",
        "1e3",
        "99999999999999999999",
    ] {
        misfits("TIMESTAMP(6)", &[&format!("\"{text}\"")]);
    }
}

#[test]
fn dates() {
    becomes(
        "DATE",
        &[
            (r#""1970-01-01""#, Cell::I32(0)),
            (r#""2024-02-29""#, Cell::I32(19_782)),
            (r#""0001-01-01""#, Cell::I32(-719_162)),
            (r#""9999-12-31""#, Cell::I32(2_932_896)),
            ("19782", Cell::I32(19_782)),
            ("-1", Cell::I32(-1)),
        ],
    );
    misfits(
        "DATE",
        &[r#""2024-02-29T00:00:00Z""#, r#""2024-2-29""#, r#""19782""#, "2932897", "-719163", "0.5", r#""""#],
    );
}

#[test]
fn text_json_uuid_and_bytes() {
    becomes(
        "STRING",
        &[
            (r#""""#, Cell::text("")),
            (r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é""#, Cell::text("a\"\\/\u{8}\u{c}\n\r\té😀é")),
            (r#""\u0000""#, Cell::text("\0")),
            ("1.50e+1", Cell::text("1.50e+1")),
            ("true", Cell::text("true")),
        ],
    );
    misfits("STRING", &["{}", r#"["a"]"#]);
    becomes(
        "JSON",
        &[
            (r#"{ "a":[1 , 2]}"#, Cell::text(r#"{ "a":[1 , 2]}"#)),
            (r#""\u0041""#, Cell::text(r#""\u0041""#)),
            ("1e999", Cell::text("1e999")),
        ],
    );
    let uuid = Cell::text("00112233-4455-6677-8899-aabbccddeeff");
    becomes(
        "UUID",
        &[
            (r#""00112233-4455-6677-8899-aabbccddeeff""#, uuid.clone()),
            (r#""00112233-4455-6677-8899-AABBCCDDEEFF""#, uuid.clone()),
            (r#""00112233445566778899aabbccddeeff""#, uuid.clone()),
            (r#""\u00300112233445566778899AABBCCDDEEFF""#, uuid),
        ],
    );
    misfits(
        "UUID",
        &[
            "1",
            r#""0011223344-55-6677-8899-aabbccddeeff""#,
            r#""00112233-4455-6677-8899-aabbccddeefg""#,
            r#""{00112233-4455-6677-8899-aabbccddeeff}""#,
            r#""00112233-44556677-8899-aabbccddeeff""#,
            r#""-0112233445566778899aabbccddeeff""#,
        ],
    );
    becomes(
        "BYTES",
        &[
            (r#""""#, Cell::Bytes(vec![])),
            (r#""AP8=""#, Cell::Bytes(vec![0, 255])),
            (r#""AP8""#, Cell::Bytes(vec![0, 255])),
            (r#""\/\/79""#, Cell::Bytes(vec![255, 254, 253])),
        ],
    );
    misfits("BYTES", &["1", r#""A""#, r#""AP9=""#, r#""AP8==""#, r#""_-79""#, r#""A P8""#]);
}

#[test]
fn arrays() {
    becomes(
        "ARRAY<INT>",
        &[
            ("[]", Cell::List(vec![])),
            (r#"[ 1 , null , "3" ]"#, Cell::List(vec![Cell::I32(1), Cell::Null, Cell::I32(3)])),
        ],
    );
    becomes(
        "ARRAY<STRING>",
        &[(
            r#"["a\nb","c\td",true]"#,
            Cell::List(vec![Cell::text("a\nb"), Cell::text("c\td"), Cell::text("true")]),
        )],
    );
    let uuid = "00112233445566778899AABBCCDDEEFF";
    let many = format!("[{}]", vec![format!("\"{uuid}\""); 500].join(","));
    let lower = Cell::text("00112233-4455-6677-8899-aabbccddeeff");
    becomes("ARRAY<UUID>", &[(&many, Cell::List(vec![lower; 500]))]);
    becomes(
        "ARRAY<BYTES>",
        &[(r#"["\/\/79","AA"]"#, Cell::List(vec![Cell::Bytes(vec![255, 254, 253]), Cell::Bytes(vec![0])]))],
    );
    // Elements that are rewritten twice take the most scratch space.
    let escaped = r#""\u003000112233445566778899AABBCCDDEEF""#;
    for (data_type, element) in [("UUID", escaped), ("BYTES", r#""\/\/79""#), ("DOUBLE", r#""\u0031""#)] {
        let many = format!("[{}]", vec![element; 500].join(","));
        assert!(decode_value(&format!("ARRAY<{data_type}>"), &many).is_ok(), "{data_type}");
    }
    becomes("ARRAY<JSON>", &[("[[1],{}]", Cell::List(vec![Cell::text("[1]"), Cell::text("{}")]))]);
    misfits("ARRAY<INT>", &["1", "{}", r#""[]""#, "[[1]]", "[1.5]"]);
    let error = decode_value("ARRAY<INT>", "[1, 2, true]").unwrap_err();
    assert_eq!(error.to_string(), "v: `[1, 2, true]` does not fit ARRAY<INT>: element 2: not a number");
}
