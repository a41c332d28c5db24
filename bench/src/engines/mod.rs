//! The engines of a contest, each in a process of its own that speaks lines of JSON over standard input and output.
//!
//! | request | answer |
//! |---|---|
//! | `{"op": "start", setup}` | `{"version"}` |
//! | `{"op": "load"}` | `{"rows", "seconds", "bytes_on_disk"}` |
//! | `{"op": "open"}` | `{}` |
//! | `{"op": "query", "sql"}` | `{"rows": [[...]], "seconds"}`: time from the text to the whole answer, nothing else |
//! | `{"op": "clients", "statements", "clients", "seconds"}` | `{"latencies_ms", "seconds", "errors"}` |
//!
//! A request that fails is answered with `{"error"}`. The process ends with its standard input.
//!
//! The whole answer, in process, is what each engine hands out fastest: Arrow batches for Headwater and DataFusion, Python
//! values for DuckDB (`fetchall`), blocks of its native format for ClickHouse. Rows of JSON are made of it after the clock has stopped.
//! Every engine parses and plans each time, but for Headwater where it is told to keep plans; none answers from the result of
//! an earlier query.

mod datafusion;
mod headwater;
mod process;
pub mod python;
mod rows;
mod serve;

use std::fmt;
use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::TableDefinition;

pub use headwater::store_directory;
pub use process::Engine;
pub use serve::{EngineArguments, run};

/// Threads of each engine.
pub const THREADS: usize = 2;

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineName {
    /// Headwater's query engine over sealed segments in a local store, in process.
    Headwater,
    /// DuckDB, native table.
    Duckdb,
    /// ClickHouse by chdb, MergeTree.
    Clickhouse,
    /// DataFusion on the Parquet files.
    Datafusion,
}

impl EngineName {
    /// Whether the engine is driven by a Python process.
    pub fn is_peer_process(self) -> bool {
        matches!(self, Self::Duckdb | Self::Clickhouse)
    }
}

impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Headwater => "headwater",
            Self::Duckdb => "duckdb",
            Self::Clickhouse => "clickhouse",
            Self::Datafusion => "datafusion",
        })
    }
}

/// What an engine is told first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setup {
    /// The table.
    pub table: TableDefinition,
    /// The Parquet files in order.
    pub files: Vec<PathBuf>,
    /// Where the engine keeps its form of the rows.
    pub directory: PathBuf,
    /// Threads that it may use.
    pub threads: usize,
    /// Whether Headwater keeps the plans of queries, as a node does.
    pub keeps_plans: bool,
}

/// A request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Request {
    Start(Setup),
    Load,
    Open,
    Query { sql: String },
    Clients { statements: Vec<String>, clients: usize, seconds: f64 },
}

/// What `load` did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadDone {
    /// Rows in the table.
    pub rows: u64,
    /// How long it took.
    pub seconds: f64,
    /// What queries will read.
    pub bytes_on_disk: u64,
}

/// The answer of a query and its time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Timed {
    /// Rows of JSON scalars; times as `YYYY-MM-DD` and `YYYY-MM-DD HH:MM:SS`.
    pub rows: Vec<Vec<Value>>,
    /// From the text to the whole answer.
    pub seconds: f64,
}

/// What several clients at once measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Clients {
    /// Of each query.
    pub latencies_ms: Vec<f64>,
    /// From the first query to the last answer.
    pub seconds: f64,
    /// Queries that failed.
    pub errors: u64,
}
