//! Whole messages: what is malformed, which value a path finds, and what errors say.

use headwater_segment::schema::ColumnType;
use headwater_segment::spec::{ColumnSpec, FieldPath, OnError, PathStep};

use super::{Cell, Headers, column, column_type, decode, decode_with, decoder, field_path};
use crate::decode::EXCERPT_BYTES_MAX;

fn long(names: &[&str]) -> ColumnSpec {
    column(field_path(names), ColumnType::Long)
}

fn nested(open: &str, inner: &str, close: &str, levels: usize) -> String {
    format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
}

#[test]
fn a_malformed_message_fails_whatever_the_columns_want() {
    let deep = nested("[", "", "]", 128);
    let deep_objects = nested(r#"{"x":"#, "1", "}", 129);
    let wanted_deep = format!(r#"{{"a":{deep}}}"#);
    let messages = [
        "",
        " ",
        "nul",
        "{",
        "}",
        "[1]",
        "1",
        r#""a""#,
        "null",
        "{} x",
        "{}{}",
        "{},",
        "\u{feff}{}",
        "\u{a0}{}",
        "{\u{b}}",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a" 1}"#,
        r#"{"a":1,}"#,
        r#"{,"a":1}"#,
        r#"{"a":1 "b":2}"#,
        r#"{'a':1}"#,
        "{a:1}",
        r#"{"z":[1,]}"#,
        r#"{"z":[1 2]}"#,
        r#"{"z":[}"#,
        r#"{"z":{]}"#,
        r#"{"z":tru}"#,
        r#"{"z":True}"#,
        r#"{"z":NaN}"#,
        r#"{"z":01}"#,
        r#"{"z":-}"#,
        r#"{"z":+1}"#,
        r#"{"z":1.}"#,
        r#"{"z":.1}"#,
        r#"{"z":1e}"#,
        r#"{"z":1e+}"#,
        r#"{"z":0x1}"#,
        r#"{"a":01}"#,
        r#"{"a":1.}"#,
        r#"{"a":--1}"#,
        r#"{"a":1_000}"#,
        r#"{"a":12345678e}"#,
        r#"{"z":"a}"#,
        r#"{"z":"\x"}"#,
        r#"{"z":"\u12"}"#,
        r#"{"z":"\u12g4"}"#,
        r#"{"z":"\"}"#,
        "{\"z\":\"\n\"}",
        "{\"z\":\"\0\"}",
        r#"{"z":"\ud800"}"#,
        r#"{"z":"\udc00"}"#,
        r#"{"z":"\ud800\ud800"}"#,
        r#"{"z":"\ud800\u0041"}"#,
        r#"{"\ud800":1}"#,
        r#"{"z":"\ud800x"}"#,
        r#"{"z":"\u+123"}"#,
        "{\"z\":\"a\u{1f}\"}",
        "{\"0123456789abcdef\u{1}\":1}",
        "/**/{}",
        &wanted_deep,
        &deep_objects,
    ];
    for message in messages {
        let error = decode(&[long(&["a"])], message).expect_err(message);
        assert_eq!(error.path, "$", "{message}: {error}");
    }
    for bytes in [
        &b"{\"z\":\"\xff\"}"[..],
        b"{\"z\":\"\xc3\"}",
        b"{\"z\":\"\xed\xa0\x80\"}",
        b"\xff\xfe{}",
        b"{}\xf0\x9f",
    ] {
        let error = decode_with(&mut decoder(&[long(&["a"])]), bytes, None, &()).unwrap_err();
        assert!(error.to_string().starts_with("$: not UTF-8 at byte "), "{error}");
    }
}

#[test]
fn every_truncation_of_a_message_is_malformed() {
    let message = r#" {"a":-12.50e+3,"b":"x\"\u00e9\ud83d\ude00y","c":[1,{"d":null}],"long name of a field":true,"é":"ö" }"#;
    let columns = [
        column(field_path(&["a"]), ColumnType::Double),
        column(field_path(&["b"]), ColumnType::String),
        column(field_path(&["c"]), column_type("ARRAY<JSON>")),
        column(field_path(&["long name of a field"]), ColumnType::Boolean),
        column(field_path(&["é"]), ColumnType::String),
    ];
    let mut decoder = decoder(&columns);
    for length in 0..message.len() {
        let truncated = &message.as_bytes()[..length];
        assert!(decode_with(&mut decoder, truncated, None, &()).is_err(), "{length}");
    }
    let row = decode_with(&mut decoder, message.as_bytes(), None, &()).unwrap();
    assert_eq!(row[1], Cell::text("x\"é😀y"));
    assert_eq!(row[2], Cell::List(vec![Cell::text("1"), Cell::text(r#"{"d":null}"#)]));
    assert_eq!(row[4], Cell::text("ö"));
}

#[test]
fn nesting_is_allowed_up_to_128_levels() {
    let payload = format!(r#"{{"a":1,"z":{}}}"#, nested("[", "1", "]", 127));
    assert_eq!(decode(&[long(&["a"])], &payload), Ok(vec![Cell::I64(1)]));
    let names = vec!["x"; 128];
    let payload = nested(r#"{"x":"#, "7", "}", 128);
    assert_eq!(decode(&[long(&names)], &payload), Ok(vec![Cell::I64(7)]));
    let names = vec!["x"; 129];
    assert_eq!(decode(&[long(&names)], &nested(r#"{"x":"#, "7", "}", 129)).unwrap_err().path, "$");
}

#[test]
fn paths_find_what_they_name() {
    let list = |index| vec![PathStep::Field("list".into()), PathStep::Index(index)];
    let inside = [list(1), vec![PathStep::Field("b".into())]].concat();
    let columns = [
        long(&["a", "b"]),
        column(field_path(&["a"]), ColumnType::Json),
        column(field_path(&["a", "b"]), ColumnType::String),
        column(FieldPath::Payload(list(0)), ColumnType::Long),
        column(FieldPath::Payload(inside), ColumnType::Long),
        column(FieldPath::Payload(vec![]), ColumnType::Json),
        long(&["odd \"name\"\n"]),
        long(&[""]),
    ];
    let payload = r#" {"list":[4,{"b":5},6],"\u0061":{"x":{},"b":7},"odd \"name\"\n":8,"":9} "#;
    let expected = [
        Cell::I64(7),
        Cell::text(r#"{"x":{},"b":7}"#),
        Cell::text("7"),
        Cell::I64(4),
        Cell::I64(5),
        Cell::text(payload.trim()),
        Cell::I64(8),
        Cell::I64(9),
    ];
    assert_eq!(decode(&columns, payload).as_deref(), Ok(&expected[..]));
    let nothing = r#"{"list":{"0":4},"a":[{"b":7}]}"#;
    let found = decode(&columns, nothing).unwrap();
    assert_eq!(found[0], Cell::Null);
    assert_eq!(found[1], Cell::text(r#"[{"b":7}]"#));
    assert!(found[2..5].iter().all(|cell| *cell == Cell::Null));
}

#[test]
fn the_top_level_is_what_the_paths_step_into() {
    let whole = || column(FieldPath::Payload(vec![]), ColumnType::Json);
    for payload in ["1", "[1]", "{}", r#""a""#] {
        assert_eq!(decode(&[whole()], payload), Ok(vec![Cell::text(payload)]));
        assert_eq!(decode(&[whole(), long(&["a"])], payload).is_ok(), payload == "{}", "{payload}");
        let element = column(FieldPath::Payload(vec![PathStep::Index(0)]), ColumnType::Long);
        assert_eq!(decode(std::slice::from_ref(&element), payload).is_ok(), payload == "[1]", "{payload}");
        assert_eq!(decode(&[element, long(&["a"])], payload).is_ok(), payload == "[1]" || payload == "{}");
    }
    assert_eq!(decode(&[whole()], " null "), Ok(vec![Cell::Null]));
    assert_eq!(decode(&[column(FieldPath::Key, ColumnType::String)], "not JSON"), Ok(vec![Cell::Null]));
}

#[test]
fn the_last_of_duplicate_keys_counts() {
    let columns = [long(&["a"]), long(&["o", "b"]), long(&["o", "c"])];
    let cases = [
        (r#"{"a":1,"a":2}"#, [Cell::I64(2), Cell::Null, Cell::Null]),
        (r#"{"a":1,"a":null}"#, [Cell::Null, Cell::Null, Cell::Null]),
        (r#"{"a":"bad","a":2}"#, [Cell::I64(2), Cell::Null, Cell::Null]),
        (r#"{"o":{"b":1},"o":{"c":2}}"#, [Cell::Null, Cell::Null, Cell::I64(2)]),
        (r#"{"o":{"b":"bad","c":{}},"o":3}"#, [Cell::Null, Cell::Null, Cell::Null]),
        (r#"{"o":{"b":1,"b":2},"o":{"b":3,"b":4}}"#, [Cell::Null, Cell::I64(4), Cell::Null]),
    ];
    for (payload, expected) in cases {
        assert_eq!(decode(&columns, payload).as_deref(), Ok(&expected[..]), "{payload}");
    }
    assert!(decode(&columns, r#"{"a":2,"a":"bad"}"#).is_err());
}

#[test]
fn fields_may_come_in_any_order_and_change_it() {
    let mut decoder = decoder(&[long(&["a"]), long(&["ab"]), long(&["abc"])]);
    for payload in [
        r#"{"a":1,"ab":2,"abc":3}"#,
        r#"{"abc":3,"ab":2,"a":1}"#,
        r#"{"x":0,"ab" : 2,"xx":[0],"abc"	:3,"a":1,"abcd":0}"#,
        r#"{"ab":2,"a":1,"abc":3}"#,
    ] {
        let row = decode_with(&mut decoder, payload.as_bytes(), None, &());
        assert_eq!(row, Ok(vec![Cell::I64(1), Cell::I64(2), Cell::I64(3)]), "{payload}");
    }
    assert_eq!(decode_with(&mut decoder, b"{}", None, &()), Ok(vec![Cell::Null; 3]));
}

#[test]
fn a_misfit_is_an_error_or_null_as_the_column_says() {
    let lenient = ColumnSpec { on_error: OnError::Null, ..long(&["a"]) };
    let required = ColumnSpec { nullable: false, ..long(&["b"]) };
    let columns = [lenient, required];
    assert_eq!(decode(&columns, r#"{"a":"x","b":1}"#), Ok(vec![Cell::Null, Cell::I64(1)]));
    assert_eq!(decode(&columns, r#"{"a":"x","b":1"#).unwrap_err().path, "$");
    for payload in [r#"{"a":1}"#, r#"{"a":1,"b":null}"#] {
        let error = decode(&columns, payload).unwrap_err();
        assert_eq!(error.to_string(), "b: missing or null, but the column is NOT NULL");
    }
    let contradiction = ColumnSpec { nullable: false, on_error: OnError::Null, ..long(&["b"]) };
    assert_eq!(decode(&[contradiction], r#"{"b":"x"}"#).unwrap_err().path, "b");
}

#[test]
fn errors_name_the_path_and_show_the_value() {
    let error = |payload: &str| decode(&[long(&["a", "b"]), long(&["c"])], payload).unwrap_err().to_string();
    assert_eq!(error(r#"{"c":[],"a":{"b":1.5}}"#), "a.b: `1.5` does not fit LONG: not an integer");
    assert_eq!(error(r#"{"a":tru}"#), "$: not valid JSON at byte 5: expected a value, found `tru}`");
    assert_eq!(
        error("{\"a\":\n"),
        "$: not valid JSON at byte 6: expected a value, found the end of the message"
    );
    assert_eq!(error("[]"), "$: not valid JSON at byte 0: expected a JSON object, found `[]`");
    let clipped = format!("`\"{}…`", "é".repeat((EXCERPT_BYTES_MAX - 1) / 2));
    assert!(error(&format!(r#"{{"c":"{}"}}"#, "é".repeat(1000))).contains(&clipped));
    assert!(error("{\"c\":\"\u{7f}\u{85}\"}").contains(r#"`"\u{7f}\u{85}"`"#));
}

#[test]
fn key_and_headers_are_bytes_or_text() {
    let header = |name: &str| FieldPath::Header(name.into());
    let columns = [
        column(FieldPath::Key, ColumnType::Bytes),
        column(header("id"), ColumnType::Long),
        column(header("none"), ColumnType::String),
        column(header("doc"), ColumnType::Json),
        column(header("doc"), column_type("ARRAY<INT>")),
        column(header("id"), ColumnType::String),
    ];
    let mut decoder = decoder(&columns);
    let headers = [("id", &b"x"[..]), ("id", b"17"), ("doc", b" [1,2] ")];
    let row = decode_with(&mut decoder, b"", Some(b"\xff"), &Headers(&headers));
    let list = Cell::List(vec![Cell::I32(1), Cell::I32(2)]);
    let expected =
        vec![Cell::Bytes(vec![255]), Cell::I64(17), Cell::Null, Cell::text("[1,2]"), list, Cell::text("17")];
    assert_eq!(row, Ok(expected));
    for (name, value) in
        [("id", &b"1\xff"[..]), ("id", b"1.5"), ("doc", b"[1"), ("doc", b"[1] 2"), ("doc", b"")]
    {
        let error = decode_with(&mut decoder, b"", None, &Headers(&[(name, value)])).unwrap_err();
        assert_eq!(error.path, format!("$headers.{name}"), "{error}");
    }
    assert_eq!(decode_with(&mut decoder, b"", None, &()), Ok(vec![Cell::Null; 6]));
}
