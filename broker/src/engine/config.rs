//! Limits of the engine, and what one request makes of them.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::execute::options::ExecuteOptions;
use crate::request::QueryRequest;

/// Limits of the engine. A request may ask for less than a maximum; more is cut to the maximum.
#[derive(Clone, Debug, Serialize)]
pub struct EngineConfig {
    /// Threads for planning and execution, and partitions of a plan.
    pub threads: usize,
    /// Deadline of a request that names none.
    pub deadline_default: Duration,
    /// Longest deadline.
    pub deadline_max: Duration,
    /// Memory of one query that names no budget.
    pub memory_bytes_default: u64,
    /// Largest memory budget of one query.
    pub memory_bytes_max: u64,
    /// Most rows in the answer of a request that names no cap.
    pub rows_default: u64,
    /// Largest row cap.
    pub rows_max: u64,
    /// Queries that run at once; and queries of brokers that do.
    pub concurrent_max: usize,
    /// Queries that wait for their turn; one more is refused. So with queries of brokers.
    pub queue_max: usize,
    /// Where sorts, aggregates and joins spill; the system's temporary directory by default.
    pub spill_dir: Option<PathBuf>,
    /// Bytes on disk for the spills of all queries together.
    pub spill_bytes_max: u64,
    /// Where the columns of sealed segments are kept as local files, for this process alone; in memory only by default.
    pub resident_dir: Option<PathBuf>,
    /// Most bytes of those files.
    pub resident_disk_bytes_max: u64,
    /// Most bytes of columns of sealed segments in memory or mapped into it, besides what running queries hold.
    pub resident_memory_bytes_max: u64,
    /// Bytes of partial aggregates of sealed segments that are kept for later queries; 0: none are.
    pub result_bytes_max: usize,
    /// Queries that take as long as this are logged with their plan; `None`: none are.
    pub slow: Option<Duration>,
    /// Which operators and indexes execution may choose from.
    pub execute: ExecuteOptions,
}

impl Default for EngineConfig {
    fn default() -> Self {
        let threads = headwater_segment::machine::cpus();
        Self {
            threads,
            deadline_default: Duration::from_secs(30),
            deadline_max: Duration::from_secs(600),
            memory_bytes_default: 512 << 20,
            memory_bytes_max: 4 << 30,
            rows_default: 1_000_000,
            rows_max: 100_000_000,
            concurrent_max: threads * 4,
            queue_max: 256,
            spill_dir: None,
            spill_bytes_max: 20 << 30,
            resident_dir: None,
            resident_disk_bytes_max: 100 << 30,
            resident_memory_bytes_max: 4 << 30,
            result_bytes_max: 64 << 20,
            slow: Some(Duration::from_secs(10)),
            execute: ExecuteOptions::default(),
        }
    }
}

/// The limits of one query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) deadline: Duration,
    pub(super) memory_bytes: u64,
    pub(super) rows: u64,
}

impl EngineConfig {
    pub(super) fn limits_of(&self, request: &QueryRequest) -> Limits {
        Limits {
            deadline: request.deadline.unwrap_or(self.deadline_default).min(self.deadline_max),
            memory_bytes: request
                .memory_bytes_max
                .unwrap_or(self.memory_bytes_default)
                .min(self.memory_bytes_max),
            rows: request.rows_max.unwrap_or(self.rows_default).min(self.rows_max),
        }
    }
}
