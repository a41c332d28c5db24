//! What the encoders write, as the OpenAPI document shows it: documents that are rendered piece by piece have no type of their own.
//! The end-to-end suite holds real answers against them.

#![expect(dead_code, reason = "shapes of the document; the encoders write them")]

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The JSON answer of `/sql`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SqlAnswer {
    /// Identity of the query.
    query_id: String,
    columns: Vec<AnswerColumn>,
    /// Each a list of values, in the order of the columns. Numbers that JSON has no place for (decimals, NaN) are text.
    rows: Vec<Vec<Value>>,
    row_count: u64,
    /// Per table: which part of its stream is in the answer.
    cut: BTreeMap<String, AnswerCut>,
    stats: AnswerStats,
    /// Only if the query failed after its first rows were sent: what stands before it is not the whole answer.
    #[schema(value_type = Option<crate::render::failure::Failure>)]
    error: Option<Value>,
}

/// A column of an answer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AnswerColumn {
    name: String,
    #[serde(rename = "type")]
    data_type: String,
}

/// Which part of a table's stream is in an answer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AnswerCut {
    /// Version of the table's log.
    log_version: u64,
    /// Per partition: every offset below this one is in the answer.
    #[schema(value_type = Option<BTreeMap<String, i64>>)]
    offsets: Option<BTreeMap<i32, i64>>,
    /// Age of the newest row, in milliseconds.
    freshness_ms: Option<i64>,
    /// Whether something is missing, which the request has allowed.
    partial: Option<bool>,
    /// What is missing.
    missing: Option<Vec<String>>,
}

/// What the query did.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AnswerStats {
    rows_scanned: u64,
    rows_total: u64,
    segments_total: u64,
    segments_scanned: u64,
    elapsed_ms: f64,
}

/// A failure where Pinot's clients ask: beside our own what they read, and what else stands in an answer to them.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct PinotFailureBody {
    /// Not of a query that has begun.
    #[schema(value_type = Option<crate::render::failure::Failure>)]
    error: Option<Value>,
    exceptions: Option<Vec<PinotException>>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// What went wrong, by Pinot's own code.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PinotException {
    error_code: i32,
    message: String,
}

/// One of the server-sent events of a dashboard.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LiveEvent {
    /// `panel`, `beat` or `dashboard`.
    event: Option<String>,
    /// A JSON document, by the kind of the event.
    data: String,
    /// When a client that has lost the stream comes back, in milliseconds; with the first event.
    retry: Option<u64>,
}
