//! What a query asks for, and what it answers with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;

/// One query, from whatever front door.
#[derive(Clone, Debug, Default)]
pub struct QueryRequest {
    /// The statement. One only; a trailing `;` is allowed.
    pub sql: String,
    /// Values for `$1`, `$2`, … in order, as JSON scalars.
    pub parameters: Vec<serde_json::Value>,
    /// Give up after this long; the engine's default and maximum apply.
    pub deadline: Option<Duration>,
    /// Memory budget in bytes; the engine's default and maximum apply.
    pub memory_bytes_max: Option<u64>,
    /// More rows than this in the answer are an error; the engine's default and maximum apply.
    pub rows_max: Option<u64>,
    /// Per table and partition: wait until this offset (exclusive) is visible.
    pub min_offsets: BTreeMap<String, BTreeMap<i32, i64>>,
    /// Answer for exactly the sealed part of each table (no open rows).
    pub sealed_only: bool,
    /// Rather answer without rows that no node has at the moment than wait for them; the answer's cut says what is missing.
    pub allow_partial: bool,
}

/// Which part of one table's stream an answer contains.
#[derive(Clone, Debug)]
pub struct TableCut {
    /// Table log version.
    pub log_version: u64,
    /// Per partition: every offset below this one is in the answer.
    pub offsets: BTreeMap<i32, i64>,
    /// Age of the newest row at planning time, in milliseconds.
    pub freshness_ms: Option<i64>,
    /// What an earlier answer had, or the request wants, and this one has not; empty unless partial answers are allowed.
    pub missing: Vec<String>,
}

/// Counters of a running query; shared with `system.queries`.
#[derive(Debug, Default)]
pub struct QueryStats {
    /// Rows that the leaves of the plan produced.
    pub rows_scanned: AtomicU64,
    /// Rows in the answer so far.
    pub rows_returned: AtomicU64,
    /// Rows of the tables at the cut, before any pruning.
    pub rows_total: AtomicU64,
    /// Segments of the tables at the cut (sealed and open).
    pub segments_total: AtomicU64,
    /// Segments left after pruning: by zone maps when the query starts, by bloom filters as it comes to each.
    pub segments_scanned: AtomicU64,
    /// Open and sealing segments among those scanned.
    pub segments_open: AtomicU64,
    /// Whether the plan was that of an earlier query with the same text.
    pub plan_kept: AtomicBool,
    /// Sealed segments whose partial aggregates were kept from earlier queries.
    pub segments_kept: AtomicU64,
}

impl QueryStats {
    /// Reads one counter.
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// A query under way: its schema, its cut, and the stream of its answer. Dropping the stream cancels the query.
pub struct QueryAnswer {
    /// Identity in logs, in `system.queries` and for cancelling.
    pub id: String,
    /// Schema of the answer.
    pub schema: SchemaRef,
    /// The answer. Errors of the stream carry a [`QueryError`](crate::QueryError) as `DataFusionError::External`.
    pub stream: SendableRecordBatchStream,
    /// The cut of each table that the query read.
    pub cuts: BTreeMap<String, TableCut>,
    /// Counters.
    pub stats: Arc<QueryStats>,
}
