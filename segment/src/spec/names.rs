//! Which names a spec may use for tables, columns and topics.

use super::faults::quoted;

/// Longest table or column name in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest topic name in bytes: Kafka's own limit.
const TOPIC_BYTES_MAX: usize = 249;

/// Checks a table name: an ASCII letter or `_`, then ASCII letters, digits and `_`, at most 128 bytes (it is a folder's
/// name in the object store). The error says what is allowed.
pub fn check_table_name(name: &str) -> Result<(), String> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let later = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match is_name(name, first, later) {
        true => Ok(()),
        false => Err(format!(
            "{} is no table name; use an ASCII letter or `_`, then ASCII letters, digits and `_`, at most \
             {NAME_BYTES_MAX} bytes",
            quoted(name)
        )),
    }
}

/// Checks a column name: a letter of any script or `_`, then letters, digits and `_`, at most 128 bytes. The error says
/// what is allowed.
pub fn check_column_name(name: &str) -> Result<(), String> {
    if name.starts_with('$') {
        return Err(format!("{}: names that begin with `$` are the stream's own columns", quoted(name)));
    }
    match is_name(name, |c| c.is_alphabetic() || c == '_', |c| c.is_alphanumeric() || c == '_') {
        true => Ok(()),
        false => Err(format!(
            "{} is no column name; use a letter or `_`, then letters, digits and `_`, at most {NAME_BYTES_MAX} bytes, \
             and say with `path` which field is meant",
            quoted(name)
        )),
    }
}

/// Checks a topic name by Kafka's rules.
pub(super) fn check_topic(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match (1..=TOPIC_BYTES_MAX).contains(&name.len())
        && name.chars().all(allowed)
        && name != "."
        && name != ".."
    {
        true => Ok(()),
        false => Err(format!(
            "{} is no topic name; Kafka allows 1 to {TOPIC_BYTES_MAX} ASCII letters, digits, `.`, `_` and `-`",
            quoted(name)
        )),
    }
}

fn is_name(name: &str, first: impl Fn(char) -> bool, later: impl Fn(char) -> bool) -> bool {
    name.len() <= NAME_BYTES_MAX && name.starts_with(first) && name.chars().all(later)
}
