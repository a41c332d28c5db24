//! One decoded value, and the sink that decoders write rows into.
//!
//! Decoders hand each value to a [`RowSink`] the moment it is parsed, so no row object is ever built.

use std::borrow::Cow;
use std::fmt::Write;

/// One value of a column, borrowed from the message that it was decoded from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// SQL NULL.
    Null,
    /// BOOLEAN.
    Bool(bool),
    /// INT, and DATE as days since 1970-01-01.
    I32(i32),
    /// LONG, and TIMESTAMP as microseconds since 1970-01-01T00:00:00Z.
    I64(i64),
    /// FLOAT.
    F32(f32),
    /// DOUBLE.
    F64(f64),
    /// DECIMAL(p, s) as the unscaled integer: 1.25 in DECIMAL(9, 2) is 125.
    I128(i128),
    /// STRING, JSON (its text) and UUID (36 characters, lower case, hyphenated).
    Str(&'a str),
    /// BYTES.
    Bytes(&'a [u8]),
    /// ARRAY of scalars of the column's element type.
    List(&'a [Value<'a>]),
}

/// Where a decoder puts the values of the row that it is reading.
///
/// `column` is the index into [`TableSchema::columns`](crate::schema::TableSchema::columns). Setting a column twice in one
/// row keeps the last value. A row counts only once its owner finishes it; a row that failed half way is simply
/// overwritten by the next one.
pub trait RowSink {
    /// Sets one column of the current row. The variant must be the one that the column's type names (or `Null`).
    fn set(&mut self, column: usize, value: Value<'_>);
}

/// Bytes of a message as text, for keys and headers: UTF-8 as it is, anything else as `\x` and lower-case hexadecimal.
pub fn bytes_as_text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let mut text = String::with_capacity(2 + 2 * bytes.len());
            text.push_str("\\x");
            for byte in bytes {
                // Writing to a String cannot fail.
                let _ = write!(text, "{byte:02x}");
            }
            Cow::Owned(text)
        }
    }
}
