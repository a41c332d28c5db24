//! How our own interface spells a failure: the object that stands under `error`.

use headwater_segment::spec::SpecFault;
use serde::Serialize;
use utoipa::ToSchema;

use crate::QueryError;

/// A failure.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Failure {
    /// Stable kind, such as `unknown_table`.
    pub(crate) kind: String,
    /// What happened and what to do, for a person.
    pub(crate) message: String,
    /// Where in the SQL text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<Position>,
    /// The nearest existing name, where a name was not found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) suggestion: Option<String>,
    /// Every fault of a table spec, as `{path, message}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub(crate) faults: Option<Vec<SpecFault>>,
    /// The version that is there, where another one was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u64>,
}

/// A place in the SQL text, both from 1.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Position {
    line: u64,
    column: u64,
}

impl Failure {
    /// A failure that is no query's.
    pub(crate) fn new(kind: &str, message: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            message: message.into(),
            position: None,
            suggestion: None,
            faults: None,
            version: None,
        }
    }

    /// The failure of a query.
    pub(crate) fn of(error: &QueryError) -> Self {
        Self {
            position: error.position.map(|(line, column)| Position { line, column }),
            suggestion: error.suggestion.clone(),
            ..Self::new(error.kind.name(), error.message.clone())
        }
    }
}
