//! The one error type of this crate: coarse kinds, each with a message that says what happened, to which
//! table, partition, offset or segment, and what to do next.

use crate::log::Conflict;

/// `Result` with this crate's error.
pub type Result<T, E = SegmentError> = std::result::Result<T, E>;

/// What can go wrong with columns, segments and the table log.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// A table spec was refused; every fault is listed with its path.
    #[error("the table spec has {} fault(s):\n{}", .0.len(), crate::spec::SpecFault::list(.0))]
    Spec(Vec<crate::spec::SpecFault>),

    /// The object store answered with an error, or could not be reached. Worth retrying.
    #[error("object store: {context}: {source}")]
    Store {
        /// What was being done, naming the table and the object.
        context: String,
        /// The store's own error.
        source: object_store::Error,
    },

    /// Bytes at rest are not what was written: wrong CRC, truncated, unknown version, malformed.
    #[error("corrupt: {0}")]
    Corrupt(String),

    /// The partition's committed offset is not the one this commit starts from: another process owns the partition.
    #[error(
        "table {table}, partition {partition}: offset {expected} was to be committed from, but the log already stands at \
         {committed}; another process has committed this range"
    )]
    Fenced {
        /// Table name.
        table: String,
        /// Kafka partition.
        partition: i32,
        /// The offset this writer believed to be committed.
        expected: i64,
        /// The offset that the log says is committed.
        committed: i64,
    },

    /// The rows were made from their messages under an earlier spec than the table has by now: drop them, and read the messages
    /// again from the committed offset, with the spec that the log holds.
    #[error(
        "table {table}, partition {partition}: what was read from offset {from} on was read with an earlier spec than the table \
         has by now; it is read again with the new one"
    )]
    SpecChanged {
        /// Table name.
        table: String,
        /// Kafka partition.
        partition: i32,
        /// The first of the offsets.
        from: i64,
    },

    /// What a segment was made from has changed while it was made: drop it, its object is left to a collector. Or its object may have
    /// been collected by now: make it again.
    #[error("table {table}: {conflict}")]
    Conflict {
        /// Table name.
        table: String,
        /// What happened meanwhile.
        conflict: Conflict,
    },

    /// The table does not exist in this store.
    #[error("there is no table {0} in this store; create it with `headwater table apply`")]
    NoSuchTable(String),

    /// A change that the table's present state does not allow.
    #[error("{0}")]
    Refused(String),

    /// Arrow could not build or convert an array.
    #[error("columns: {0}")]
    Arrow(#[from] arrow::error::ArrowError),

    /// Parquet could not be encoded or decoded.
    #[error("parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),

    /// The table log could not be read or written.
    #[error("table log: {context}: {message}")]
    Log {
        /// What was being done, naming the table and the version.
        context: String,
        /// The underlying error.
        message: String,
    },
}

impl SegmentError {
    /// Wraps an object store error with what was being done.
    pub fn store(context: impl Into<String>, source: object_store::Error) -> Self {
        Self::Store { context: context.into(), source }
    }

    /// Whether the same call may succeed later (the store was unreachable or slow), so a caller should retry.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store { source, .. } => !matches!(
                source,
                object_store::Error::NotSupported { .. } | object_store::Error::NotImplemented { .. }
            ),
            Self::Log { .. } => true,
            _ => false,
        }
    }
}
