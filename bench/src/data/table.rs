//! A table as each engine declares it, and the statement that does so.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use headwater_segment::spec::{TableSpec, parse_spec};
use serde::{Deserialize, Serialize};

use crate::Result;

/// What a column holds, and so its type in files and in Headwater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    Long,
    /// Calendar day.
    Date,
    /// Instant, in microseconds.
    Timestamp,
    /// UTF-8.
    Text,
}

/// A column. No column of the benchmarks has nulls.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ColumnDefinition {
    /// Name, lower case.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// Type in ClickHouse.
    pub clickhouse: String,
    /// Type in DuckDB.
    pub duckdb: String,
}

/// A column's name, kind, type in ClickHouse and type in DuckDB.
pub type ColumnRow = (&'static str, Kind, &'static str, &'static str);

/// A table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableDefinition {
    /// Name.
    pub name: String,
    /// Columns in order.
    pub columns: Vec<ColumnDefinition>,
    /// What every engine that can sorts by.
    pub sort_key: Vec<String>,
    /// The column of the event's time.
    pub time_column: String,
}

impl TableDefinition {
    /// A table of constants.
    pub fn new(name: &str, rows: &[ColumnRow], sort_key: &[&str], time_column: &str) -> Self {
        let column = |(name, kind, clickhouse, duckdb): &ColumnRow| ColumnDefinition {
            name: (*name).into(),
            kind: *kind,
            clickhouse: (*clickhouse).into(),
            duckdb: (*duckdb).into(),
        };
        Self {
            name: name.into(),
            columns: rows.iter().map(column).collect(),
            sort_key: sort_key.iter().map(|name| (*name).to_string()).collect(),
            time_column: time_column.into(),
        }
    }

    /// The schema of the files, with text as it is best for the reader.
    pub fn arrow(&self, text: &DataType) -> SchemaRef {
        let field = |column: &ColumnDefinition| {
            let data_type = match column.kind {
                Kind::Int => DataType::Int32,
                Kind::Long => DataType::Int64,
                Kind::Date => DataType::Date32,
                Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                Kind::Text => text.clone(),
            };
            Field::new(&column.name, data_type, false)
        };
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    /// The spec of the Headwater table over a topic.
    pub fn spec_text(&self, kafka: &str, topic: &str, seal_rows_max: u64) -> String {
        let columns = self.columns.iter().map(|column| {
            let data_type = match column.kind {
                Kind::Int => "INT",
                Kind::Long => "LONG",
                Kind::Date => "DATE",
                Kind::Timestamp => "TIMESTAMP(6)",
                Kind::Text => "STRING",
            };
            format!("  - {{name: {}, type: \"{data_type}\", nullable: false}}", column.name)
        });
        format!(
            "name: {}\ncolumns:\n{}\ntime_column: {}\nsort_key: [{}]\n\
             stream: {{brokers: [\"{kafka}\"], topic: {topic}, start: earliest}}\nseal: {{rows_max: {seal_rows_max}}}\n",
            self.name,
            columns.collect::<Vec<_>>().join("\n"),
            self.time_column,
            self.sort_key.join(", "),
        )
    }

    /// The parsed spec of a table that nobody consumes.
    ///
    /// # Errors
    /// If the definition is not a valid table.
    pub fn spec(&self, segment_rows: u64) -> Result<TableSpec> {
        Ok(parse_spec(&self.spec_text("127.0.0.1:9092", &self.name, segment_rows))?)
    }
}
