//! JSON messages to rows, directed by the table's schema.
//!
//! The columns' paths are compiled once into a tree of expected fields; every message is then walked once, and each
//! value goes from the message's bytes straight into a [`RowSink`]. There is no document tree and, on the ordinary
//! path, no allocation. The order of an object's fields is learned, so that a name is usually compared with one
//! candidate instead of being scanned and looked up.
//!
//! # The message
//!
//! | | |
//! |---|---|
//! | encoding | UTF-8 without a byte order mark; one JSON value (RFC 8259), white space around it and nothing else |
//! | top level | an object if any path steps into a field, an array if any steps into an element (either, if both occur), any value if all paths are `$` |
//! | no column reads the payload | the payload is not looked at |
//! | validity | anything malformed anywhere fails the message, also in values that no column wants; so do lone surrogates in `\u` escapes and more than 128 levels of nesting |
//! | duplicate keys | the last one counts, with all that is inside it: nothing of the earlier ones remains, nor do their errors |
//! | path meets no object or array to step into, no such field, or no such element | NULL |
//! | null, or nothing found | NULL; an error if the column is NOT NULL |
//! | a value that does not fit | an error, or NULL if the column is nullable and says `on_error: null` |
//! | several columns fail | the error names the first in the table's order; malformed messages are reported as such |
//!
//! # The values
//!
//! "Literal" is a number literal of JSON. "String of a literal" is a string that holds one and nothing else, blanks
//! included. Strings count as what their escapes mean.
//!
//! | type | accepted | stored |
//! |---|---|---|
//! | BOOLEAN | `true`, `false`; `"true"`, `"false"` | |
//! | INT, LONG | literal, or string of a literal, of an integer in range: `5`, `-0`, `5.0`, `1e3`, `"5"` | |
//! | FLOAT, DOUBLE | literal or string of a literal, finite after rounding; `"NaN"`, `"Infinity"`, `"-Infinity"` | the nearest value of the type, ties to even; `-0` keeps its sign |
//! | DECIMAL(p,s) | literal or string of a literal, at most s fractional digits apart from trailing zeros, at most p digits in all | exact |
//! | TIMESTAMP(3), TIMESTAMP(6) | literal of an integer (as for LONG), or string of an optional sign `+` or `-` and digits: milliseconds or microseconds since the epoch; string `YYYY-MM-DD` `T`, `t` or blank `HH:MM[:SS[.f]]` and nothing (UTC), `Z`, `z`, `±HH:MM` or `±HHMM`, f of 1 to 9 digits, seconds 00 to 59, hours 00 to 23 | microseconds; f is cut (not rounded) after 3 or 6 digits. The instant must lie in the years 0001 to 9999 UTC |
//! | DATE | string `YYYY-MM-DD`; literal of an integer: days since the epoch; years 0001 to 9999 | days |
//! | STRING | string; literal, `true`, `false` | the string; the text exactly as in the message |
//! | JSON | any value | its text exactly as in the message |
//! | UUID | string of 32 hexadecimal digits, or 8-4-4-4-12 of them | lower case, hyphenated |
//! | BYTES | string of standard base64, `=` padding optional (also in part), unused bits zero | the bytes |
//! | `ARRAY<T>` | array of nulls and of values that fit T | |
//!
//! # Key and headers
//!
//! `$key` and `$headers.name` hold bytes: a BYTES column takes them as they are. For all other types they must be UTF-8 (else
//! they do not fit) and count as a JSON string of that content, but for JSON and ARRAY, where they must be a JSON
//! text themselves (else they do not fit; its `null` is NULL). No key, or no such header, is NULL.

mod convert;
mod error;
mod number;
mod plan;
mod scan;
mod text;
mod time;
mod walk;

#[cfg(test)]
mod tests;

use headwater_segment::schema::TableSchema;
use headwater_segment::spec::TableSpec;
use headwater_segment::value::RowSink;

pub use error::{DecodeError, EXCERPT_BYTES_MAX};

use plan::{Envelope, Plan};
use walk::{Memory, Walk};

/// The headers of a message.
pub trait HeaderSource {
    /// The value of the last header of this name, if the message has one that is not null.
    fn get(&self, name: &str) -> Option<&[u8]>;
}

/// No headers.
impl HeaderSource for () {
    fn get(&self, _name: &str) -> Option<&[u8]> {
        None
    }
}

/// Decodes the messages of one table. Keeps what it learned from earlier messages, so each partition has its own.
pub struct JsonDecoder {
    plan: Plan,
    memory: Memory,
}

impl JsonDecoder {
    /// A decoder for the columns that `spec` names; `schema` is the schema of that spec.
    pub fn new(schema: &TableSchema, spec: &TableSpec) -> Self {
        let plan = Plan::new(schema, spec);
        let memory = Memory::new(&plan);
        Self { plan, memory }
    }

    /// Decodes one message into the current row of `sink`: every column of the spec is set at least once.
    ///
    /// # Errors
    /// When the message is malformed or a value does not fit its column (see [the rules](self)). Some columns may have
    /// been set by then; the caller drops the row.
    pub fn decode(
        &mut self,
        payload: &[u8],
        key: Option<&[u8]>,
        headers: &dyn HeaderSource,
        sink: &mut impl RowSink,
    ) -> Result<(), DecodeError> {
        let mut walk = Walk::new(&self.plan, &mut self.memory, sink);
        if self.plan.reads_payload {
            let text = std::str::from_utf8(payload).map_err(|fault| DecodeError::not_utf8(payload, fault))?;
            walk.payload(text).map_err(|malformed| malformed.in_message(payload))?;
        }
        for (column, source) in &self.plan.envelope {
            walk.envelope(
                *column,
                match source {
                    Envelope::Key => key,
                    Envelope::Header(name) => headers.get(name),
                },
            );
        }
        walk.finish()
    }
}
