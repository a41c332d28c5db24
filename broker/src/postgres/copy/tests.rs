use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, NullArray, StringArray};
use arrow::datatypes::{DataType, Field};
use pgwire::api::Type;

use super::*;
use crate::postgres::outgoing::ROW_BYTES_MAX;

fn options(options: &[(&str, &str)]) -> CopyForm {
    let owned: Vec<_> =
        options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    CopyForm::of(&owned).unwrap()
}

/// The bodies of the messages that a copy of two columns consists of.
fn copied(form: &CopyForm, rows: usize) -> Vec<Vec<u8>> {
    let texts = [Some("a,\"b\""), Some(""), None, Some("x\t\\y\nz"), Some("\\."), Some("é")];
    let texts: ArrayRef = Arc::new(StringArray::from(texts[..rows].to_vec()));
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..rows as i32));
    let column = |array, data_type, wire| {
        Values::new(&Arc::new(Field::new("x", data_type, true)), &array, &wire).unwrap()
    };
    let values = [column(numbers, DataType::Int32, Type::INT4), column(texts, DataType::Utf8, Type::TEXT)];
    let mut out = BytesMut::new();
    let mut writer = CopyWriter::new(form);
    writer.begin(["n", "a,b"].into_iter(), &mut out).unwrap();
    (0..rows).for_each(|row| writer.row(&values, row, &mut out).unwrap());
    writer.end(&mut out).unwrap();
    let mut messages = Vec::new();
    let mut rest: &[u8] = &out;
    while let [b'd', a, b, c, d, behind @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
        messages.push(behind[..length].to_vec());
        rest = &behind[length..];
    }
    assert!(rest.is_empty());
    messages
}

fn lines(form: &CopyForm) -> String {
    String::from_utf8(copied(form, 6).concat()).unwrap()
}

#[test]
fn rows_of_text_read_back() {
    assert_eq!(lines(&options(&[])), "0\ta,\"b\"\n1\t\n2\t\\N\n3\tx\\t\\\\y\\nz\n4\t\\\\.\n5\té\n");
    let other = options(&[("delimiter", "|"), ("null", "-"), ("header", "on")]);
    assert!(lines(&other).starts_with("n|a,b\n0|a,\"b\"\n1|\n2|-\n"));
}

#[test]
fn rows_of_csv_read_back() {
    let csv = options(&[("format", "csv"), ("header", "")]);
    assert_eq!(lines(&csv), "n,\"a,b\"\n0,\"a,\"\"b\"\"\"\n1,\"\"\n2,\n3,\"x\t\\y\nz\"\n4,\\.\n5,é\n");
    let escaped = options(&[("format", "csv"), ("escape", "\\"), ("force_quote", "*"), ("null", "NULL")]);
    assert!(
        lines(&escaped).starts_with("\"0\",\"a,\\\"b\\\"\"\n\"1\",\"\"\n\"2\",NULL\n\"3\",\"x\t\\\\y\nz\"\n")
    );
}

#[test]
fn rows_in_binary_are_those_of_postgres() {
    let form = options(&[("format", "binary")]);
    // With no row the header goes with the end.
    assert_eq!(copied(&form, 0), [[HEADER, &[0xff, 0xff]].concat()]);
    let messages = copied(&form, 3);
    let first = [HEADER, b"\0\x02\0\0\0\x04\0\0\0\0\0\0\0\x05a,\"b\""].concat();
    assert_eq!(messages[0], first);
    assert_eq!(messages[2], b"\0\x02\0\0\0\x04\0\0\0\x02\xff\xff\xff\xff");
    assert_eq!(messages[3], [0xff, 0xff]);
}

#[test]
fn a_line_ends_where_it_grows_too_long() {
    let nothing: ArrayRef = Arc::new(NullArray::new(1));
    let field = Arc::new(Field::new("x", DataType::Null, true));
    let null = "x".repeat(NULL_BYTES_MAX);
    let columns = ROW_BYTES_MAX / NULL_BYTES_MAX;
    let values: Vec<Values> =
        (0..2 * columns).map(|_| Values::new(&field, &nothing, &Type::TEXT).unwrap()).collect();
    for form in [options(&[("null", &null)]), options(&[("format", "csv"), ("null", &null)])] {
        let mut out = BytesMut::new();
        let written = CopyWriter::new(&form).row(&values, 0, &mut out);
        assert!(written.unwrap_err().message.contains("256 MiB"));
        assert!(out.len() < ROW_BYTES_MAX + 10 * NULL_BYTES_MAX, "{}", out.len());
    }
}
