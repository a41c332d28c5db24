//! Why a query failed, in kinds that every front door (JSON, Pinot's, later others) maps to its own codes.

use std::fmt;

/// Kinds of query failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryErrorKind {
    /// The request itself is malformed (bad JSON, unknown option, too large).
    BadRequest,
    /// The SQL text does not parse.
    Parse,
    /// No such table.
    UnknownTable,
    /// No such column or function, wrong types: the statement cannot be planned.
    Plan,
    /// Only reads are allowed.
    NotReadOnly,
    /// The query failed while it ran (overflow, division by zero, a cast).
    Execution,
    /// The query needed more memory than its budget.
    MemoryExceeded,
    /// The answer has more rows than the request's cap.
    RowsExceeded,
    /// The deadline passed.
    Deadline,
    /// Cancelled by a client or an operator.
    Cancelled,
    /// A query of the identity that the client has chosen runs already.
    Conflict,
    /// Too many queries are running and waiting.
    Overloaded,
    /// A segment could not be read.
    SegmentUnavailable,
    /// A bug.
    Internal,
}

impl QueryErrorKind {
    /// HTTP status of `POST /sql`.
    pub fn http_status(self) -> u16 {
        match self {
            Self::BadRequest | Self::Parse | Self::UnknownTable | Self::Plan | Self::NotReadOnly => 400,
            Self::Execution | Self::MemoryExceeded | Self::RowsExceeded => 422,
            Self::Deadline => 504,
            Self::Cancelled => 499,
            Self::Conflict => 409,
            Self::Overloaded => 429,
            Self::SegmentUnavailable => 503,
            Self::Internal => 500,
        }
    }

    /// Error code of `POST /query/sql`, as Pinot's clients know them.
    pub fn pinot_code(self) -> i32 {
        match self {
            Self::Parse => 150,
            Self::UnknownTable => 190,
            Self::Execution | Self::MemoryExceeded | Self::RowsExceeded => 200,
            Self::Deadline => 250,
            Self::SegmentUnavailable => 305,
            Self::Overloaded => 429,
            Self::Internal => 450,
            Self::Cancelled => 503,
            Self::BadRequest | Self::NotReadOnly | Self::Conflict => 700,
            Self::Plan => 710,
        }
    }

    /// All kinds, in their order.
    const ALL: [Self; Self::Internal as usize + 1] = [
        Self::BadRequest,
        Self::Parse,
        Self::UnknownTable,
        Self::Plan,
        Self::NotReadOnly,
        Self::Execution,
        Self::MemoryExceeded,
        Self::RowsExceeded,
        Self::Deadline,
        Self::Cancelled,
        Self::Conflict,
        Self::Overloaded,
        Self::SegmentUnavailable,
        Self::Internal,
    ];

    /// The kind with this [name](Self::name).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Stable name in JSON answers, such as `unknown_table`.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Parse => "parse",
            Self::UnknownTable => "unknown_table",
            Self::Plan => "plan",
            Self::NotReadOnly => "not_read_only",
            Self::Execution => "execution",
            Self::MemoryExceeded => "memory_exceeded",
            Self::RowsExceeded => "rows_exceeded",
            Self::Deadline => "deadline",
            Self::Cancelled => "cancelled",
            Self::Conflict => "conflict",
            Self::Overloaded => "overloaded",
            Self::SegmentUnavailable => "segment_unavailable",
            Self::Internal => "internal",
        }
    }
}

/// A failed query: its kind, a message for a person, and where in the SQL text it went wrong.
#[derive(Clone, Debug)]
pub struct QueryError {
    /// Kind.
    pub kind: QueryErrorKind,
    /// What happened and what to do.
    pub message: String,
    /// Line and column in the SQL text, both from 1.
    pub position: Option<(u64, u64)>,
    /// The nearest existing name, where a name was not found.
    pub suggestion: Option<String>,
}

impl QueryError {
    /// An error with no position.
    pub fn new(kind: QueryErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), position: None, suggestion: None }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some((line, column)) = self.position {
            write!(f, " (line {line}, column {column})")?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; did you mean {suggestion}?")?;
        }
        Ok(())
    }
}

impl std::error::Error for QueryError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for (place, kind) in QueryErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
            assert_eq!(QueryErrorKind::named(kind.name()), Some(kind));
        }
        assert_eq!(QueryErrorKind::named("no such kind"), None);
    }
}
