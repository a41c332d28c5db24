//! The SQL of a panel: `$name` for what a viewer has chosen, `$time_from` and `$time_to` for the time range.
//!
//! **Invariant:** no value becomes part of the text. Each `$name` becomes a parameter (`$1`, `$2`, …) of the engine, padded to
//! the width that the name had, so that the position of an error is a position in the text that the user wrote. A name that stands
//! twice becomes two parameters: one has one type, and `$city = '' OR city = $city` wants two. So what is grouped by is best named by
//! its place (`GROUP BY 1`) if there is a `$name` in it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat};
use headwater_segment::spec::faults::suggestion;
use serde_json::Value;

use super::{TIME_FROM, TIME_TO};
use crate::sql::{Mentioned, mentioned};
use crate::{QueryError, QueryErrorKind};

/// Words whose value is another one as time goes by.
const TIME_WORDS: [&str; 11] = [
    "ago",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "now",
    "rand",
    "random",
    "today",
    "uuid",
];
/// Words that stand for rows which do not come from a stream.
const SYSTEM_WORDS: [&str; 4] = ["information_schema", "pg_catalog", "show", "system"];

/// What makes a panel's answer another one, besides rows that come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changes {
    /// Nothing.
    WithRows,
    /// Time: what a relative range leaves behind is no longer in the answer.
    WithTime,
    /// Anything, at any time: it reads what the system says of itself.
    AtAnyTime,
}

/// The beginning and the end of a time range, in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
}

/// A statement whose placeholders are all known.
#[derive(Clone, Debug)]
pub(super) struct PanelStatement {
    sql: String,
    /// What `$1`, `$2`, … stand for.
    arguments: Vec<String>,
    changes: Changes,
}

impl PanelStatement {
    /// Reads the text. Fails with `Parse` if it cannot be split into tokens, or names a variable that is not there.
    pub(super) fn new(sql: &str, variables: &BTreeSet<String>) -> Result<Self, QueryError> {
        let found = mentioned(sql)?;
        let mut arguments: Vec<String> = Vec::new();
        let mut text = String::with_capacity(sql.len());
        let mut copied = 0;
        for place in &found.placeholders {
            let name = &place.name;
            if !variables.contains(name) && name != TIME_FROM && name != TIME_TO {
                return Err(unknown(&sql[place.bytes.clone()], place.position, variables));
            }
            arguments.push(name.clone());
            text.push_str(&sql[copied..place.bytes.start]);
            let parameter = format!("${}", arguments.len());
            text.push_str(&parameter);
            text.extend(std::iter::repeat_n(' ', place.bytes.len().saturating_sub(parameter.len())));
            copied = place.bytes.end;
        }
        text.push_str(&sql[copied..]);
        let changes = changes_of(&found, &arguments);
        Ok(Self { sql: text, arguments, changes })
    }

    /// The text with `$1`, `$2`, ….
    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    /// What makes the answer another one.
    pub(super) fn changes(&self) -> Changes {
        self.changes
    }

    /// Whether it reads the time range.
    pub(super) fn reads_range(&self) -> bool {
        names_range(&self.arguments)
    }

    /// Those of `values` that the statement reads.
    pub(super) fn used(&self, values: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let names = self.arguments.iter();
        names.filter_map(|name| Some((name.clone(), values.get(name)?.clone()))).collect()
    }

    /// The values of `$1`, `$2`, …, as text: each takes the type that its place expects.
    pub(super) fn parameters(&self, values: &BTreeMap<String, String>, interval: Interval) -> Vec<Value> {
        let value = |name: &String| match name.as_str() {
            TIME_FROM => instant(interval.from_ms),
            TIME_TO => instant(interval.to_ms),
            _ => Value::String(values.get(name).cloned().unwrap_or_default()),
        };
        self.arguments.iter().map(value).collect()
    }
}

fn changes_of(found: &Mentioned, arguments: &[String]) -> Changes {
    let mentions = |words: &[&str]| words.iter().any(|word| found.words.contains(*word));
    if mentions(&SYSTEM_WORDS) {
        Changes::AtAnyTime
    } else if names_range(arguments) || mentions(&TIME_WORDS) {
        Changes::WithTime
    } else {
        Changes::WithRows
    }
}

fn names_range(arguments: &[String]) -> bool {
    arguments.iter().any(|name| name == TIME_FROM || name == TIME_TO)
}

fn instant(ms: i64) -> Value {
    let time = DateTime::from_timestamp_millis(ms).unwrap_or_default();
    Value::String(time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

fn unknown(text: &str, position: (u64, u64), variables: &BTreeSet<String>) -> QueryError {
    let mut names: Vec<&str> = variables.iter().map(String::as_str).collect();
    names.extend([TIME_FROM, TIME_TO]);
    let hint = suggestion(text.trim_start_matches('$'), &names);
    QueryError {
        kind: QueryErrorKind::Parse,
        message: format!("{text} is not a variable of this dashboard; {hint}"),
        position: Some(position),
        suggestion: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> BTreeSet<String> {
        ["city", "n"].map(str::to_string).into()
    }

    #[test]
    fn names_become_parameters_of_the_same_width() {
        let sql = "SELECT '$city' FROM t\nWHERE c=$city AND at>=$time_from AND $n>$city AND $offset > 3";
        let statement = PanelStatement::new(sql, &names()).unwrap();
        let expected = "SELECT '$city' FROM t\nWHERE c=$1    AND at>=$2         AND $3>$4    AND $offset > 3";
        assert_eq!(statement.sql(), expected);
        assert_eq!(statement.sql().len(), sql.len());
        let values: BTreeMap<_, _> =
            [("city", "O'Brien; DROP"), ("unused", "x")].map(|(k, v)| (k.to_string(), v.to_string())).into();
        let parameters = statement.parameters(&values, Interval { from_ms: 1_500, to_ms: 2_000 });
        assert_eq!(parameters, ["O'Brien; DROP", "1970-01-01T00:00:01.500Z", "", "O'Brien; DROP"]);
        assert_eq!(statement.used(&values).into_keys().collect::<Vec<_>>(), ["city"]);
    }

    #[test]
    fn a_name_that_is_longer_as_a_number_still_works() {
        let many: BTreeSet<String> = ('a'..='k').map(|letter| letter.to_string()).collect();
        let sql: Vec<String> = many.iter().map(|name| format!("${name}")).collect();
        let statement = PanelStatement::new(&format!("SELECT {}", sql.join(",")), &many).unwrap();
        assert_eq!(statement.sql(), "SELECT $1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11");
    }

    #[test]
    fn what_changes_an_answer() {
        let cases = [
            ("SELECT count(*) FROM t WHERE city = $city", Changes::WithRows),
            ("SELECT 'now' FROM t", Changes::WithRows),
            ("SELECT count(*) FROM t WHERE at > $time_from", Changes::WithTime),
            ("SELECT count(*) FROM t WHERE at > NOW() - INTERVAL '1 minute'", Changes::WithTime),
            ("SELECT * FROM System.partitions WHERE now() > at", Changes::AtAnyTime),
        ];
        for (sql, changes) in cases {
            let statement = PanelStatement::new(sql, &names()).unwrap();
            assert_eq!(statement.changes(), changes, "{sql}");
            assert_eq!(statement.reads_range(), sql.contains("$time_"), "{sql}");
        }
    }

    #[test]
    fn an_unknown_name_is_said_where_it_stands() {
        let error = PanelStatement::new("SELECT 1\nFROM t WHERE c = $citty", &names()).unwrap_err();
        assert_eq!((error.kind, error.position), (QueryErrorKind::Parse, Some((2, 18))));
        assert!(error.message.contains("did you mean city?"), "{error}");
    }
}
