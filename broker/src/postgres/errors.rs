//! Failures as PostgreSQL's clients know them: SQLSTATE, position, hint.

use pgwire::error::ErrorInfo;

use super::texts::INVALID_SYNTAX;
use crate::access::AccessError;
use crate::{QueryError, QueryErrorKind};

/// Longest message, in bytes. The protocol's clients refuse an error of more than 30,000.
const MESSAGE_BYTES_MAX: usize = 8 << 10;

/// A failure with its code.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// Which character of the statement, from 1.
    pub(super) position: Option<usize>,
}

/// SQLSTATE: what the client sent breaks the protocol.
pub(super) const PROTOCOL_VIOLATION: &str = "08P01";
/// SQLSTATE: only COMMIT and ROLLBACK are taken.
pub(super) const IN_FAILED_TRANSACTION: &str = "25P02";
/// SQLSTATE: cancelled, or the deadline has passed.
pub(super) const QUERY_CANCELED: &str = "57014";
/// SQLSTATE: text that is no value of its type.
pub(super) const INVALID_TEXT: &str = "22P02";
/// SQLSTATE: not supported.
pub(super) const NOT_SUPPORTED: &str = "0A000";

impl Failure {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, position: None }
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The failure of a statement, `sql`, that stands behind so many characters of what the client sent.
    pub(super) fn of_query(error: QueryError, sql: &str, characters_before: usize) -> Self {
        let position =
            error.position.and_then(|place| character_at(sql, place)).map(|at| characters_before + at + 1);
        let hint = error.suggestion.map(|name| format!("Perhaps you meant \"{name}\"."));
        let code = sqlstate(error.kind, &error.message);
        Self { code, message: in_words_of_postgres(error.message), hint, position }
    }

    pub(super) fn of_access(error: &AccessError) -> Self {
        let code = match error {
            AccessError::Missing | AccessError::Wrong | AccessError::Throttled { .. } => "28P01",
            AccessError::Forbidden { .. } => "42501",
        };
        Self::new(code, error.to_string())
    }

    /// As it goes over the wire; `severity` is `ERROR`, or `FATAL` if the connection ends.
    pub(super) fn info(self, severity: &str) -> ErrorInfo {
        let cut = |text: String| text[..text.floor_char_boundary(MESSAGE_BYTES_MAX)].replace('\0', " ");
        let mut info = ErrorInfo::new(severity.to_owned(), self.code.to_owned(), cut(self.message));
        info.severity_nonlocalized = Some(severity.to_owned());
        info.hint = self.hint.map(cut);
        info.position = self.position.map(|position| position.to_string());
        info
    }
}

/// What is missing, in the words that PostgreSQL's tools look for.
fn in_words_of_postgres(message: String) -> String {
    if let Some(name) = message.strip_prefix("there is no table ") {
        return format!("relation \"{name}\" does not exist");
    }
    match message.strip_prefix("there is no column ") {
        Some(name) if name.contains('.') => format!("column {name} does not exist"),
        Some(name) => format!("column \"{name}\" does not exist"),
        None => message,
    }
}

fn sqlstate(kind: QueryErrorKind, message: &str) -> &'static str {
    match kind {
        // The text of a parameter whose type the client has left to its place.
        QueryErrorKind::BadRequest if message.contains(INVALID_SYNTAX) => INVALID_TEXT,
        QueryErrorKind::BadRequest => "22023",
        QueryErrorKind::Parse => "42601",
        QueryErrorKind::UnknownTable => "42P01",
        QueryErrorKind::Execution | QueryErrorKind::Plan
            if message.contains(INVALID_SYNTAX) || message.contains("Cannot cast string") =>
        {
            INVALID_TEXT
        }
        QueryErrorKind::Plan if message.starts_with("there is no column") => "42703",
        QueryErrorKind::Plan if message.starts_with("there is no function") => "42883",
        QueryErrorKind::Plan if message.starts_with("not supported") => NOT_SUPPORTED,
        QueryErrorKind::Plan => "42000",
        QueryErrorKind::NotReadOnly => "25006",
        QueryErrorKind::Execution if message.starts_with("permission denied") => "42501",
        QueryErrorKind::Execution if message.to_lowercase().contains("divide by zero") => "22012",
        QueryErrorKind::Execution if message.to_lowercase().contains("overflow") => "22003",
        QueryErrorKind::Execution => "22000",
        QueryErrorKind::MemoryExceeded => "53200",
        QueryErrorKind::RowsExceeded => "54000",
        QueryErrorKind::Deadline | QueryErrorKind::Cancelled => QUERY_CANCELED,
        QueryErrorKind::Overloaded => "53300",
        QueryErrorKind::SegmentUnavailable => "58030",
        QueryErrorKind::Conflict => "55006",
        QueryErrorKind::Internal => "XX000",
    }
}

/// How many characters stand before a line and column, both from 1.
pub(super) fn character_at(text: &str, (line, column): (u64, u64)) -> Option<usize> {
    let lines = usize::try_from(line.checked_sub(1)?).ok()?;
    let before: usize = text.split_inclusive('\n').take(lines).map(|line| line.chars().count()).sum();
    Some(before + usize::try_from(column.checked_sub(1)?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_of_what_was_sent() {
        let sql = "SELECT 'é',\n  citi FROM orders";
        let error = QueryError {
            kind: QueryErrorKind::Plan,
            message: "there is no column citi".into(),
            position: Some((2, 3)),
            suggestion: Some("city".into()),
        };
        let failure = Failure::of_query(error, sql, 10);
        let at = failure.position.unwrap() - 11;
        assert!(sql.chars().skip(at).collect::<String>().starts_with("citi"));
        assert_eq!((failure.code, failure.message.as_str()), ("42703", "column \"citi\" does not exist"));
        assert!(failure.hint.unwrap().contains("city"));
    }

    #[test]
    fn what_is_missing_is_told_in_the_words_of_postgres() {
        for (ours, expected) in [
            ("there is no table oders", "relation \"oders\" does not exist"),
            ("there is no column o.citi", "column o.citi does not exist"),
            ("there is no function coutn", "there is no function coutn"),
        ] {
            assert_eq!(in_words_of_postgres(ours.into()), expected);
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let info = Failure::new("XX000", "é".repeat(MESSAGE_BYTES_MAX)).info("ERROR");
        assert!(info.message.len() <= MESSAGE_BYTES_MAX);
    }
}
