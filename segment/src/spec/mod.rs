//! The table spec: what a user writes to bind a topic to a table.
//!
//! The types are here; [`parse_spec`] turns YAML or JSON into them and lists every fault at once, with its path:
//! `document` reads text into a tree, `parse` and `stream` walk the tree, `faults` collects what they find.
//! The spec is stored as JSON in the table log's metadata; secrets are stored as references (environment
//! variable or file), never as values.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::schema::ColumnType;

mod document;
pub mod faults;
mod index;
mod names;
mod parse;
mod path;
mod property;
mod render;
mod stream;
#[cfg(test)]
mod tests;
mod units;

pub use index::IndexSet;
pub use names::{NAME_BYTES_MAX, check_column_name, check_table_name};
pub use parse::{COLUMNS_MAX, parse_spec};
pub use path::{FieldPath, PathStep};
pub use units::{format_duration, parse_duration};

/// One fault of a spec: where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SpecFault {
    /// Path inside the spec, such as `columns[3].type`.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl SpecFault {
    /// The faults as lines, for the error message.
    pub fn list(faults: &[SpecFault]) -> String {
        faults.iter().map(|fault| format!("  {fault}")).collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for SpecFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// A table: a name, its columns, its stream and its settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableSpec {
    /// Table name: a letter or `_`, then letters, digits and `_`, at most 128 bytes.
    pub name: String,
    /// Columns in order.
    pub columns: Vec<ColumnSpec>,
    /// The column that holds the time of the event, for pruning and retention (TIMESTAMP or DATE).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_column: Option<String>,
    /// Columns by which sealed segments are sorted, most significant first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sort_key: Vec<String>,
    /// Where the rows come from.
    pub stream: StreamSpec,
    /// When an open segment is sealed.
    pub seal: SealSpec,
    /// Sealed segments whose newest row is older than this are removed.
    #[serde(skip_serializing_if = "Option::is_none", with = "units::optional_duration_text")]
    pub retention: Option<Duration>,
    /// On how many nodes of a cluster open rows are, and sealed segments are kept at hand. 1 to 7.
    #[serde(skip_serializing_if = "is_one")]
    pub replication: usize,
    /// Where undecodable messages go.
    pub dead_letters: DeadLetterTarget,
}

fn is_one(number: &usize) -> bool {
    *number == 1
}

/// One column of a spec. Written out, it leaves away what is the default.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnSpec {
    /// Column name.
    pub name: String,
    /// Type.
    pub data_type: ColumnType,
    /// Whether NULL (or a missing field) is allowed. Default true.
    pub nullable: bool,
    /// Where the value stands in the message; default: the top-level field of the column's name.
    pub path: FieldPath,
    /// What happens to a value that does not fit.
    pub on_error: OnError,
    /// The indexes that its sealed segments have; `None`: by rule (see `segment/README.md`).
    pub index: Option<IndexSet>,
}

/// What happens to a value that does not fit its column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The whole message goes to the dead letters.
    #[default]
    DeadLetter,
    /// The value becomes NULL (the column must be nullable).
    Null,
}

/// The stream that feeds a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StreamSpec {
    /// Bootstrap servers, `host:port`.
    pub brokers: Vec<String>,
    /// Topic.
    pub topic: String,
    /// Where the first start begins. Later starts resume from the table log.
    pub start: StartPosition,
    /// What happens when offsets that were not read yet are gone.
    pub on_gap: OnGap,
    /// librdkafka properties, passed through.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, PropertyValue>,
}

/// Where consumption begins when the table has never consumed a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StartPosition {
    /// The oldest message that the broker has.
    #[default]
    Earliest,
    /// Only messages produced from now on.
    Latest,
    /// The first message at or after this time, in milliseconds since the epoch.
    Timestamp(#[serde(with = "units::instant_text")] i64),
}

/// What happens when the stream no longer has the offset to read next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnGap {
    /// The partition stops with an error until an operator resumes it with a new decision. The default.
    #[default]
    Fail,
    /// The gap is recorded in the table log and consumption goes on at the next offset that exists.
    Skip,
}

/// The value of a librdkafka property.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum PropertyValue {
    /// As written in the spec.
    Literal(String),
    /// Read from an environment variable when the consumer starts.
    Env {
        /// Variable name.
        env: String,
    },
    /// Read from a file when the consumer starts; a trailing line break is cut.
    File {
        /// Path.
        file: String,
    },
}

impl fmt::Debug for PropertyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A literal may still be a secret; it is never logged.
            Self::Literal(_) => f.write_str("***"),
            Self::Env { env } => write!(f, "env {env}"),
            Self::File { file } => write!(f, "file {file}"),
        }
    }
}

/// When an open segment is sealed: whichever comes first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SealSpec {
    /// Rows. Default 5,000,000.
    pub rows_max: u64,
    /// Bytes in memory. Default 512 MiB.
    #[serde(with = "units::size_text")]
    pub bytes_max: u64,
    /// Age of the oldest row. Default 1 hour.
    #[serde(with = "units::duration_text")]
    pub age_max: Duration,
}

impl Default for SealSpec {
    fn default() -> Self {
        Self { rows_max: 5_000_000, bytes_max: 512 << 20, age_max: Duration::from_secs(3600) }
    }
}

/// Where undecodable messages go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterTarget {
    /// `system.dead_letters`, stored beside the table.
    #[default]
    Table,
    /// A Kafka topic on the same brokers; offset and reason travel as headers.
    Topic(String),
}
