//! `COPY … TO STDOUT`: rows as text, as CSV or in PostgreSQL's binary form, one message each.
//!
//! ```text
//! binary: "PGCOPY\n\xff\r\n\0", flags (i32: 0), length of what extends the header (i32: 0), rows, -1 (i16)
//! row:    count of values (i16), each with its length (i32; -1: NULL) and bytes as a portal sends them
//! ```
//! The header travels with the first row and never alone, as PostgreSQL sends it: ADBC's driver reads on behind it.
//! Source: PostgreSQL's documentation of COPY, "File Formats"; `src/backend/commands/copyto.c`.

use bytes::{BufMut, BytesMut};

use super::errors::{Failure, NOT_SUPPORTED};
use super::outgoing::{TooLong, check_row, message};
use super::values::{Format, Values};
use crate::QueryError;

/// The signature, flags and the length of what extends the header: none.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// The message that carries a part of a copy.
const COPY_DATA: u8 = b'd';
/// Bytes that say how long a value is.
const LENGTH_BYTES: usize = 4;
/// Longest text for NULL: it is written once for each of them.
const NULL_BYTES_MAX: usize = 1024;

/// Which of the three it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Csv,
    Binary,
}

/// How rows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CopyForm {
    kind: Kind,
    /// Whether a line with the columns' names comes first.
    has_header: bool,
    delimiter: u8,
    null: String,
    quote: u8,
    /// What stands before a quote within quotes.
    escape: u8,
    quotes_all: bool,
}

impl CopyForm {
    /// The form that the options of a statement ask for, by their names in lower case; one without a value has the empty one.
    pub(super) fn of(options: &[(String, String)]) -> Result<Self, Failure> {
        let last = |wanted| options.iter().rfind(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let kind = match last("format").map(str::to_lowercase).as_deref() {
            None | Some("text") => Kind::Text,
            Some("csv") => Kind::Csv,
            Some("binary") => Kind::Binary,
            Some(other) => return Err(wrong(format!("COPY format \"{other}\" not recognized"))),
        };
        let (delimiter, null) = if kind == Kind::Csv { (b',', "") } else { (b'\t', "\\N") };
        let quote = last("quote").map_or(Ok(b'"'), |value| one_byte("quote", value))?;
        let form = Self {
            kind,
            has_header: last("header").map_or(Ok(false), is_on)?,
            delimiter: last("delimiter").map_or(Ok(delimiter), |value| one_byte("delimiter", value))?,
            null: last("null").unwrap_or(null).to_owned(),
            quote,
            escape: last("escape").map_or(Ok(quote), |value| one_byte("escape", value))?,
            quotes_all: last("force_quote") == Some("*"),
        };
        options.iter().try_for_each(|(name, value)| form.check(name, value))?;
        Ok(form)
    }

    /// Refuses what the form cannot do, or what could not be read back.
    fn check(&self, name: &str, value: &str) -> Result<(), Failure> {
        match (name, self.kind) {
            ("format", _) => Ok(()),
            ("encoding", _) if ["utf8", "utf-8"].contains(&value.to_lowercase().as_str()) => Ok(()),
            ("encoding", _) => Err(Failure::new(NOT_SUPPORTED, "COPY writes UTF8 only")),
            ("header" | "delimiter" | "null", Kind::Binary) => {
                Err(syntax(format!("cannot specify {} in BINARY mode", name.to_uppercase())))
            }
            ("quote" | "escape" | "force_quote", Kind::Text | Kind::Binary) => {
                Err(wrong(format!("COPY {} available only in CSV mode", name.replace('_', " "))))
            }
            ("force_quote", Kind::Csv) if !self.quotes_all => {
                Err(Failure::new(NOT_SUPPORTED, "FORCE_QUOTE is supported for all columns: FORCE_QUOTE *"))
            }
            ("delimiter", Kind::Text)
                if self.delimiter.is_ascii_alphanumeric() || b"\\.".contains(&self.delimiter) =>
            {
                Err(wrong(format!("COPY delimiter cannot be \"{value}\"")))
            }
            ("delimiter" | "quote", Kind::Csv) if self.delimiter == self.quote => {
                Err(wrong("COPY delimiter and quote must be different".into()))
            }
            ("null", _) if value.contains(['\r', '\n']) => {
                Err(wrong("COPY null representation cannot use newline or carriage return".into()))
            }
            ("null", _) if value.len() > NULL_BYTES_MAX => {
                Err(wrong(format!("COPY null representation must have at most {NULL_BYTES_MAX} bytes")))
            }
            ("null" | "delimiter", _) if self.null.as_bytes().contains(&self.delimiter) => {
                Err(wrong("COPY delimiter must not appear in the NULL specification".into()))
            }
            ("null" | "quote", Kind::Csv) if self.null.as_bytes().contains(&self.quote) => {
                Err(wrong("CSV quote character must not appear in the NULL specification".into()))
            }
            ("header" | "delimiter" | "null" | "quote" | "escape" | "force_quote", _) => Ok(()),
            _ => Err(syntax(format!("option \"{name}\" not recognized"))),
        }
    }

    /// Bytes that it holds beside itself.
    pub(super) fn size(&self) -> usize {
        self.null.len()
    }

    /// How its values are written.
    pub(super) fn format(&self) -> Format {
        if self.kind == Kind::Binary { Format::Binary } else { Format::Text }
    }
}

fn wrong(message: String) -> Failure {
    Failure::new("22023", message)
}

fn syntax(message: String) -> Failure {
    Failure::new("42601", message)
}

fn is_on(value: &str) -> Result<bool, Failure> {
    match value.to_lowercase().as_str() {
        "" | "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err(syntax("header requires a Boolean value".into())),
    }
}

fn one_byte(name: &str, value: &str) -> Result<u8, Failure> {
    match value.as_bytes() {
        [byte] if !b"\r\n".contains(byte) => Ok(*byte),
        _ => Err(wrong(format!("COPY {name} must be a single one-byte character"))),
    }
}

/// Writes the rows of one copy.
pub(super) struct CopyWriter {
    form: CopyForm,
    /// What goes before the next row.
    before: &'static [u8],
    /// One value, to be looked at before it is written.
    value: BytesMut,
}

impl CopyWriter {
    pub(super) fn new(form: &CopyForm) -> Self {
        Self { form: form.clone(), before: b"", value: BytesMut::new() }
    }

    /// Begins a copy of columns with these names.
    pub(super) fn begin<'n>(
        &mut self,
        names: impl ExactSizeIterator<Item = &'n str>,
        out: &mut BytesMut,
    ) -> Result<(), TooLong> {
        if self.form.kind == Kind::Binary {
            self.before = HEADER;
        }
        if !self.form.has_header {
            return Ok(());
        }
        let is_alone = names.len() == 1;
        message(out, COPY_DATA, |out| {
            for (at, name) in names.enumerate() {
                self.put_delimiter(at, out);
                self.put(name.as_bytes(), is_alone, out);
            }
            out.put_u8(b'\n');
            Ok(())
        })
    }

    /// Appends a row.
    pub(super) fn row(
        &mut self,
        values: &[Values],
        row: usize,
        out: &mut BytesMut,
    ) -> Result<(), QueryError> {
        message(out, COPY_DATA, |out| match self.form.kind {
            Kind::Binary => {
                out.put_slice(std::mem::take(&mut self.before));
                out.put_u16(u16::try_from(values.len()).map_err(|_| TooLong)?);
                let start = out.len();
                for column in values {
                    column.write(row, Format::Binary, out)?;
                    check_row(out, start)?;
                }
                Ok(())
            }
            Kind::Text | Kind::Csv => self.line(values, row, out),
        })
    }

    /// Ends the copy.
    pub(super) fn end(&mut self, out: &mut BytesMut) -> Result<(), TooLong> {
        if self.form.kind != Kind::Binary {
            return Ok(());
        }
        message(out, COPY_DATA, |out| {
            out.put_slice(std::mem::take(&mut self.before));
            out.put_i16(-1);
            Ok(())
        })
    }

    fn line(&mut self, values: &[Values], row: usize, out: &mut BytesMut) -> Result<(), QueryError> {
        let start = out.len();
        let mut value = std::mem::take(&mut self.value);
        for (at, column) in values.iter().enumerate() {
            self.put_delimiter(at, out);
            value.clear();
            column.write(row, Format::Text, &mut value)?;
            match value.split_first_chunk::<LENGTH_BYTES>() {
                Some((length, text)) if i32::from_be_bytes(*length) >= 0 => {
                    self.put(text, values.len() == 1, out);
                }
                _ => out.put_slice(self.form.null.as_bytes()),
            }
            check_row(out, start)?;
        }
        out.put_u8(b'\n');
        self.value = value;
        Ok(())
    }

    fn put_delimiter(&self, at: usize, out: &mut BytesMut) {
        if at > 0 {
            out.put_u8(self.form.delimiter);
        }
    }

    /// Appends a value that is not NULL.
    fn put(&self, text: &[u8], is_alone: bool, out: &mut BytesMut) {
        match self.form.kind {
            Kind::Csv if self.needs_quotes(text, is_alone) => {
                out.put_u8(self.form.quote);
                for byte in text {
                    if [self.form.quote, self.form.escape].contains(byte) {
                        out.put_u8(self.form.escape);
                    }
                    out.put_u8(*byte);
                }
                out.put_u8(self.form.quote);
            }
            Kind::Csv => out.put_slice(text),
            Kind::Text | Kind::Binary => text.iter().for_each(|byte| self.put_escaped(*byte, out)),
        }
    }

    /// Whether it would be read as something else: as several values, as NULL, or as the end of the copy.
    fn needs_quotes(&self, text: &[u8], is_alone: bool) -> bool {
        let form = &self.form;
        form.quotes_all
            || text == form.null.as_bytes()
            || (is_alone && text == b"\\.")
            || text.iter().any(|byte| [form.delimiter, form.quote, b'\r', b'\n'].contains(byte))
    }

    fn put_escaped(&self, byte: u8, out: &mut BytesMut) {
        let letter = match byte {
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x0b => b'v',
            b'\\' => b'\\',
            other if other == self.form.delimiter => other,
            other => return out.put_u8(other),
        };
        out.put_slice(&[b'\\', letter]);
    }
}

#[cfg(test)]
mod tests;
