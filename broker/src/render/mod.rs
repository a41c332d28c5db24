//! Renders the batches of an answer as bytes: JSON, NDJSON, CSV, Arrow IPC, Parquet, and the JSON that Pinot's clients read.
//!
//! An [`AnswerEncoder`] is a small state machine: `begin`, any number of `rows`, then `finish` or `fail`. It appends to a
//! buffer and holds no rows, so an answer of any size is rendered in the memory of one chunk.
//!
//! **Invariant:** every value is rendered exactly (no rounding, no dropped NULL), and an answer that failed half way can
//! never be taken for a whole one: either the format carries the error at its end, or `fail` says that it cannot and the
//! caller aborts the transport.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::QueryError;
use crate::request::{QueryAnswer, QueryStats, TableCut};

mod csv;
pub(crate) mod failure;
mod ipc;
mod json;
mod nested;
mod parquet;
pub(crate) mod types;
pub(crate) mod value;

/// The formats of `POST /sql`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// One JSON document with columns, rows, cut and statistics.
    #[default]
    Json,
    /// One JSON object per row and line.
    Ndjson,
    /// RFC 4180 with a header line; NULL is empty.
    Csv,
    /// The Arrow IPC stream.
    Arrow,
    /// A Parquet file.
    Parquet,
}

impl Format {
    /// The first known format of an `Accept` header; `None` if it names none.
    pub(crate) fn from_accept(accept: &str) -> Option<Self> {
        accept.split(',').find_map(|part| {
            match part.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
                "application/json" => Some(Self::Json),
                "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Self::Ndjson),
                "text/csv" => Some(Self::Csv),
                "application/vnd.apache.arrow.stream" => Some(Self::Arrow),
                "application/vnd.apache.parquet" => Some(Self::Parquet),
                _ => None,
            }
        })
    }

    /// The `Content-Type` of an answer.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// An encoder for one answer.
    pub(crate) fn encoder(
        self,
        schema: &SchemaRef,
        facts: Arc<AnswerFacts>,
    ) -> Result<Box<dyn AnswerEncoder>, ArrowError> {
        Ok(match self {
            Self::Json => Box::new(json::JsonEncoder::new(schema.clone(), facts)),
            Self::Ndjson => Box::new(json::NdjsonEncoder::new(schema)),
            Self::Csv => Box::new(csv::CsvEncoder::new(schema)),
            Self::Arrow => Box::new(ipc::IpcEncoder::new(schema)?),
            Self::Parquet => Box::new(parquet::ParquetEncoder::new(schema)?),
        })
    }
}

/// Turns one answer into bytes, step by step.
pub(crate) trait AnswerEncoder: Send {
    /// Writes what stands before the first row.
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError>;
    /// Writes the rows of one batch.
    fn rows(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError>;
    /// Writes what stands after the last row.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError>;
    /// Ends the answer with an error after rows were sent; `None` if the format has no place for it.
    fn fail(&mut self, error: &QueryError) -> Option<Vec<u8>>;
    /// How many rows `rows` should be given at once, so that a chunk stays small.
    fn rows_per_chunk(&self) -> usize {
        1024
    }
}

/// What an answer says about itself besides its rows.
pub(crate) struct AnswerFacts {
    /// Query id.
    pub(crate) id: String,
    /// The cut of each table read.
    pub(crate) cuts: BTreeMap<String, TableCut>,
    /// Counters, final once the stream has ended.
    pub(crate) stats: Arc<QueryStats>,
    /// When the request arrived.
    pub(crate) started: Instant,
}

impl AnswerFacts {
    /// The facts of `answer`, whose request arrived at `started`.
    pub(crate) fn of(answer: &QueryAnswer, started: Instant) -> Arc<Self> {
        Arc::new(Self {
            id: answer.id.clone(),
            cuts: answer.cuts.clone(),
            stats: answer.stats.clone(),
            started,
        })
    }

    /// Age of the newest row of the stalest table, in milliseconds.
    pub(crate) fn freshness_ms(&self) -> Option<i64> {
        self.cuts.values().filter_map(|cut| cut.freshness_ms).max()
    }

    /// The cut of each table; `offsets` may be left out where space is short.
    pub(crate) fn cut_json(&self, with_offsets: bool) -> Value {
        let cuts = self.cuts.iter().map(|(table, cut)| {
            let mut entry = Map::new();
            entry.insert("log_version".into(), cut.log_version.into());
            if with_offsets {
                let offsets =
                    cut.offsets.iter().map(|(partition, offset)| (partition.to_string(), json!(offset)));
                entry.insert("offsets".into(), Value::Object(offsets.collect()));
            }
            entry.insert("freshness_ms".into(), cut.freshness_ms.into());
            if !cut.missing.is_empty() {
                entry.insert("partial".into(), true.into());
                entry.insert("missing".into(), cut.missing.clone().into());
            }
            (table.clone(), Value::Object(entry))
        });
        Value::Object(cuts.collect())
    }

    fn stats_json(&self) -> Value {
        let stats = &self.stats;
        json!({
            "rows_scanned": QueryStats::get(&stats.rows_scanned),
            "rows_total": QueryStats::get(&stats.rows_total),
            "segments_total": QueryStats::get(&stats.segments_total),
            "segments_scanned": QueryStats::get(&stats.segments_scanned),
            "elapsed_ms": self.elapsed_ms(),
        })
    }

    /// Milliseconds since the request arrived, to the microsecond.
    pub(crate) fn elapsed_ms(&self) -> f64 {
        self.started.elapsed().as_micros() as f64 / 1000.0
    }
}

/// Appends `value` as JSON text.
pub(crate) fn write_json(out: &mut Vec<u8>, value: &impl serde::Serialize) {
    // Writing to a Vec cannot fail, and none of our values has a map key that is not text.
    let _ = serde_json::to_writer(out, value);
}

#[cfg(test)]
mod tests;
