//! Column types, and how each is held in Arrow, in Parquet and in the table log's schema.
//!
//! | type | Arrow | Delta |
//! |---|---|---|
//! | BOOLEAN | Boolean | boolean |
//! | INT, LONG | Int32, Int64 | integer, long |
//! | FLOAT, DOUBLE | Float32, Float64 | float, double |
//! | DECIMAL(p, s) | Decimal128(p, s) | decimal(p,s) |
//! | TIMESTAMP(3), TIMESTAMP(6) | Timestamp(µs, UTC) | timestamp |
//! | DATE | Date32 | date |
//! | STRING, JSON, UUID | Utf8View | string |
//! | BYTES | BinaryView | binary |
//! | ARRAY<T> | List(T) | array |
//!
//! After the spec's columns come the stream's own: `$partition`, `$offset`, `$timestamp`, `$key`, `$headers`.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::spec::{FieldPath, IndexSet, OnError, TableSpec};

/// The Kafka partition that a row came from (INT, never null).
pub const PARTITION_COLUMN: &str = "$partition";
/// The Kafka offset of a row (LONG, never null).
pub const OFFSET_COLUMN: &str = "$offset";
/// The Kafka timestamp of a row (TIMESTAMP(3), null if the message had none).
pub const TIMESTAMP_COLUMN: &str = "$timestamp";
/// The message key as text (STRING); a key that is not UTF-8 is `\x` and its bytes in lower-case hexadecimal.
pub const KEY_COLUMN: &str = "$key";
/// The message headers as a JSON object of name to text, null without headers.
pub const HEADERS_COLUMN: &str = "$headers";
/// How many stream columns follow the spec's own.
pub const STREAM_COLUMNS: usize = 5;

/// The type of a column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// true or false.
    Boolean,
    /// 32-bit signed integer.
    Int,
    /// 64-bit signed integer.
    Long,
    /// 32-bit IEEE 754.
    Float,
    /// 64-bit IEEE 754.
    Double,
    /// Exact decimal: precision 1 to 38, scale 0 to precision.
    Decimal(u8, i8),
    /// Instant; numbers in messages are milliseconds since the epoch. Held in microseconds.
    TimestampMillis,
    /// Instant; numbers in messages are microseconds since the epoch.
    TimestampMicros,
    /// Calendar day.
    Date,
    /// UTF-8 text.
    String,
    /// Raw bytes.
    Bytes,
    /// Any JSON value, held as its text.
    Json,
    /// UUID, held as 36 characters of lower-case text.
    Uuid,
    /// Array of a scalar type.
    Array(Box<ColumnType>),
}

impl ColumnType {
    /// The Arrow type in memory, in sealed segments and in SQL.
    pub fn arrow(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Decimal(precision, scale) => DataType::Decimal128(*precision, *scale),
            Self::TimestampMillis | Self::TimestampMicros => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
            Self::Date => DataType::Date32,
            Self::String | Self::Json | Self::Uuid => DataType::Utf8View,
            Self::Bytes => DataType::BinaryView,
            Self::Array(element) => DataType::List(Arc::new(Field::new("element", element.arrow(), true))),
        }
    }

    /// Whether values are variable-length bytes (held in a dictionary, or in plain views).
    pub fn is_bytes_like(&self) -> bool {
        matches!(self, Self::String | Self::Json | Self::Uuid | Self::Bytes)
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("BOOLEAN"),
            Self::Int => f.write_str("INT"),
            Self::Long => f.write_str("LONG"),
            Self::Float => f.write_str("FLOAT"),
            Self::Double => f.write_str("DOUBLE"),
            Self::Decimal(precision, scale) => write!(f, "DECIMAL({precision},{scale})"),
            Self::TimestampMillis => f.write_str("TIMESTAMP(3)"),
            Self::TimestampMicros => f.write_str("TIMESTAMP(6)"),
            Self::Date => f.write_str("DATE"),
            Self::String => f.write_str("STRING"),
            Self::Bytes => f.write_str("BYTES"),
            Self::Json => f.write_str("JSON"),
            Self::Uuid => f.write_str("UUID"),
            Self::Array(element) => write!(f, "ARRAY<{element}>"),
        }
    }
}

impl std::str::FromStr for ColumnType {
    type Err = String;

    /// Reads a type as a spec writes it; case and blanks do not matter. The error says what is allowed.
    fn from_str(text: &str) -> Result<Self, String> {
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_uppercase();
        if let Some(element) = compact.strip_prefix("ARRAY<").and_then(|rest| rest.strip_suffix('>')) {
            return match element.parse()? {
                Self::Array(_) => Err("an ARRAY holds scalars, not another ARRAY".into()),
                scalar => Ok(Self::Array(Box::new(scalar))),
            };
        }
        if let Some(arguments) = compact.strip_prefix("DECIMAL(").and_then(|rest| rest.strip_suffix(')')) {
            return parse_decimal(arguments);
        }
        Ok(match compact.as_str() {
            "BOOLEAN" => Self::Boolean,
            "INT" => Self::Int,
            "LONG" => Self::Long,
            "FLOAT" => Self::Float,
            "DOUBLE" => Self::Double,
            "TIMESTAMP" | "TIMESTAMP(3)" => Self::TimestampMillis,
            "TIMESTAMP(6)" => Self::TimestampMicros,
            "DATE" => Self::Date,
            "STRING" => Self::String,
            "BYTES" => Self::Bytes,
            "JSON" => Self::Json,
            "UUID" => Self::Uuid,
            _ => {
                return Err(format!(
                    "{text:?} is not a type; use BOOLEAN, INT, LONG, FLOAT, DOUBLE, DECIMAL(p,s), TIMESTAMP(3), TIMESTAMP(6), \
                     DATE, STRING, BYTES, JSON, UUID or ARRAY<scalar>"
                ));
            }
        })
    }
}

fn parse_decimal(arguments: &str) -> Result<ColumnType, String> {
    let parsed = match arguments.split_once(',') {
        Some((precision, scale)) => precision.parse::<u8>().ok().zip(scale.parse::<i8>().ok()),
        None => arguments.parse::<u8>().ok().map(|precision| (precision, 0)),
    };
    match parsed {
        Some((precision, scale))
            if (1..=38).contains(&precision) && (0..=precision as i8).contains(&scale) =>
        {
            Ok(ColumnType::Decimal(precision, scale))
        }
        _ => Err(format!(
            "DECIMAL({arguments}) needs a precision of 1 to 38 and a scale of 0 to the precision"
        )),
    }
}

impl Serialize for ColumnType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ColumnType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One column of a table as the engine holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Name as SQL spells it.
    pub name: String,
    /// Type.
    pub data_type: ColumnType,
    /// Whether NULL is allowed.
    pub nullable: bool,
}

/// The columns of a table: the spec's own, then the five stream columns.
#[derive(Clone, Debug)]
pub struct TableSchema {
    columns: Vec<Column>,
    arrow: SchemaRef,
    sort_key: Vec<usize>,
    time_column: Option<usize>,
    /// By column; `None`: by rule.
    indexes: Vec<Option<IndexSet>>,
    index_settings: u32,
    /// Of the spec's columns: where each value stands in a message, and what becomes of one that does not fit.
    readings: Vec<(FieldPath, OnError)>,
}

impl TableSchema {
    /// The schema that a valid spec describes.
    pub fn new(spec: &TableSpec) -> Self {
        let stream = [
            (PARTITION_COLUMN, ColumnType::Int, false),
            (OFFSET_COLUMN, ColumnType::Long, false),
            (TIMESTAMP_COLUMN, ColumnType::TimestampMillis, true),
            (KEY_COLUMN, ColumnType::String, true),
            (HEADERS_COLUMN, ColumnType::Json, true),
        ];
        let columns: Vec<Column> = spec
            .columns
            .iter()
            .map(|column| Column {
                name: column.name.clone(),
                data_type: column.data_type.clone(),
                nullable: column.nullable,
            })
            .chain(stream.into_iter().map(|(name, data_type, nullable)| Column {
                name: name.into(),
                data_type,
                nullable,
            }))
            .collect();
        let arrow = Arc::new(Schema::new(columns.iter().map(Column::arrow_field).collect::<Vec<_>>()));
        let position = |name: &String| columns.iter().position(|column| column.name == *name);
        let sort_key = spec.sort_key.iter().filter_map(position).collect();
        let time_column = spec.time_column.as_ref().and_then(position);
        let mut indexes: Vec<Option<IndexSet>> = spec.columns.iter().map(|column| column.index).collect();
        indexes.resize(columns.len(), None);
        let index_settings = index_settings(spec);
        let readings = spec.columns.iter().map(|column| (column.path.clone(), column.on_error)).collect();
        Self { columns, arrow, sort_key, time_column, indexes, index_settings, readings }
    }

    /// Whether a message makes the same row under both: the same columns, read from the same places. Sort key and indexes
    /// may differ, and so may all of the spec that is not about rows.
    pub fn reads_like(&self, other: &Self) -> bool {
        self.columns == other.columns && self.readings == other.readings
    }

    /// All columns: the spec's, then `$partition`, `$offset`, `$timestamp`, `$key`, `$headers`.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The Arrow schema of [`columns`](Self::columns).
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// How many columns the spec names; the stream columns follow at this index.
    pub fn spec_columns(&self) -> usize {
        self.columns.len() - STREAM_COLUMNS
    }

    /// Index of `$partition`; `$offset`, `$timestamp`, `$key` and `$headers` follow it in this order.
    pub fn partition_column(&self) -> usize {
        self.spec_columns()
    }

    /// Index of `$offset`.
    pub fn offset_column(&self) -> usize {
        self.spec_columns() + 1
    }

    /// Index of `$timestamp`.
    pub fn timestamp_column(&self) -> usize {
        self.spec_columns() + 2
    }

    /// Index of `$key`.
    pub fn key_column(&self) -> usize {
        self.spec_columns() + 3
    }

    /// Index of `$headers`.
    pub fn headers_column(&self) -> usize {
        self.spec_columns() + 4
    }

    /// Indexes of the sort key's columns, most significant first.
    pub fn sort_key(&self) -> &[usize] {
        &self.sort_key
    }

    /// Index of the time column.
    pub fn time_column(&self) -> Option<usize> {
        self.time_column
    }

    /// The indexes that the spec names for a column; `None`: by rule.
    pub fn indexes(&self, column: usize) -> Option<IndexSet> {
        self.indexes.get(column).copied().flatten()
    }

    /// A checksum of the spec's index settings, by which a segment knows whether it was written under the same ones; 0 if there
    /// are none.
    pub fn index_settings(&self) -> u32 {
        self.index_settings
    }

    /// Index of a column by its exact name.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

fn index_settings(spec: &TableSpec) -> u32 {
    let settings: Vec<(&str, IndexSet)> =
        spec.columns.iter().filter_map(|column| Some((column.name.as_str(), column.index?))).collect();
    match settings.is_empty() {
        true => 0,
        // The text of an index set is the same for ever: specs are stored with it.
        false => crc32c::crc32c(serde_json::json!(settings).to_string().as_bytes()).max(1),
    }
}

impl Column {
    fn arrow_field(&self) -> Field {
        // The declared type travels with the field: JSON and UUID are text to Arrow, but not to a client.
        Field::new(&self.name, self.data_type.arrow(), self.nullable)
            .with_metadata([("headwater.type".to_string(), self.data_type.to_string())].into())
    }
}
