//! What a query asks for, and what it answers with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::execution::SendableRecordBatchStream;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::engine::StatementPlanner;

/// Longest identity that a client may choose for its query.
const QUERY_ID_BYTES_MAX: usize = 64;

/// Through which door a query came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientKind {
    /// `/sql`.
    #[default]
    Http,
    /// The console, which is the page of this server.
    Console,
    /// A panel of a dashboard, for all who watch it.
    Dashboard,
    /// Pinot's endpoints.
    Pinot,
    /// The Postgres protocol.
    Postgres,
    /// Arrow Flight SQL.
    Flight,
}

impl ClientKind {
    /// Stable name in `system.query_log` and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Console => "console",
            Self::Dashboard => "dashboard",
            Self::Pinot => "pinot",
            Self::Postgres => "postgres",
            Self::Flight => "flight",
        }
    }

    /// How a statement that comes in here is read.
    pub(crate) fn meaning(self) -> Meaning {
        match self {
            Self::Pinot => Meaning::Pinot,
            Self::Postgres => Meaning::Postgres,
            Self::Http | Self::Console | Self::Dashboard | Self::Flight => Meaning::Plain,
        }
    }
}

/// Whose clients a statement is read for, where they do not mean the same by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Meaning {
    /// Everybody's but those of the others.
    Plain,
    /// Pinot's.
    Pinot,
    /// PostgreSQL's.
    Postgres,
}

/// One query, from whatever front door.
#[derive(Clone, Debug, Default)]
pub struct QueryRequest {
    /// The statement. One only; a trailing `;` is allowed.
    pub sql: String,
    /// Identity that the client has chosen, as [`is_query_id`] takes it; otherwise the engine chooses one.
    pub query_id: Option<String>,
    /// Where it came in.
    pub client: ClientKind,
    /// Who asks; `None`: nobody was asked for a name.
    pub user: Option<String>,
    /// Values for `$1`, `$2`, … in order, as JSON scalars.
    pub parameters: Vec<serde_json::Value>,
    /// Values for `$1`, `$2`, … with their types, in place of `parameters`.
    pub arguments: Vec<Argument>,
    /// Plans the statement in place of the engine's own planner.
    pub planner: Option<Arc<dyn StatementPlanner>>,
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

/// A value for a parameter of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Argument {
    /// The value.
    pub value: ScalarValue,
    /// Whether it is text that takes the type which the statement expects at its place.
    pub is_untyped: bool,
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
    /// Segments that nothing is to be read of any more here: pruned, kept from earlier queries, or handed out to the last row.
    pub segments_done: AtomicU64,
    /// Segments of the fragments that have ended on other nodes.
    pub segments_done_elsewhere: AtomicU64,
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

/// Where a query stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum QueryState {
    /// It waits for a place among the running.
    Queued,
    /// It runs.
    Running,
    /// It has ended, and its client has the whole answer.
    Done,
    /// It has ended with an error.
    Failed,
    /// It was ended, or its client went away.
    Cancelled,
}

impl QueryState {
    /// Stable name in system tables, JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing follows.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// How far a query is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueryProgress {
    /// Its identity.
    pub id: String,
    /// Where it stands.
    pub state: QueryState,
    /// Who asked, if anybody was asked for a name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user: Option<String>,
    /// Milliseconds since it came in, or that it took.
    pub elapsed_ms: f64,
    /// Segments of its tables, known once it is planned.
    pub segments_total: u64,
    /// Those of them that are behind it, be it because they were pruned.
    pub segments_done: u64,
    /// Rows read so far.
    pub rows_scanned: u64,
    /// Rows of its tables.
    pub rows_total: u64,
    /// Rows of its answer so far.
    pub rows_returned: u64,
    /// Its plan with what its operators have counted, if it was asked for: while the query runs, and after it if it was slow.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plan: Option<String>,
}

/// Whether a client may call its query so: 1 to 64 letters, digits, `_` and `-`.
pub fn is_query_id(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=QUERY_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(is_allowed)
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
