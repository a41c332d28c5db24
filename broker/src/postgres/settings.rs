//! What a client can set and see: the settings that drivers and tools ask for, with the values that hold here.
//!
//! A setting either has one value, and setting it to another is refused if an answer would look different, or it changes
//! nothing here and is remembered for `SHOW`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::errors::{Failure, NOT_SUPPORTED};

/// The version whose protocol and catalog are spoken. Drivers decide by it which queries they send.
pub(super) const SERVER_VERSION: &str = "16.9";
/// As `version()` says it.
pub(super) const VERSION_TEXT: &str = concat!("PostgreSQL 16.9 (Headwater ", env!("CARGO_PKG_VERSION"), ")");
/// Settings that a client has set.
const SETTINGS_MAX: usize = 100;
/// Bytes of one.
const VALUE_BYTES_MAX: usize = 1024;
/// Bytes of all of them: a transaction remembers as many for each of its savepoints.
const BYTES_MAX: usize = 16 << 10;

/// Settings, and whether their value may be another.
const KNOWN: &[(&str, &str, Change)] = &[
    ("application_name", "", Change::Remembered),
    ("bytea_output", "hex", Change::Refused),
    ("client_encoding", "UTF8", Change::Encoding),
    ("client_min_messages", "notice", Change::Remembered),
    ("datestyle", "ISO, MDY", Change::DateStyle),
    ("default_transaction_isolation", "repeatable read", Change::Remembered),
    ("default_transaction_read_only", "on", Change::Remembered),
    ("extra_float_digits", "1", Change::Remembered),
    ("idle_in_transaction_session_timeout", "0", Change::Remembered),
    ("in_hot_standby", "off", Change::Refused),
    ("integer_datetimes", "on", Change::Refused),
    ("intervalstyle", "postgres", Change::Refused),
    ("is_superuser", "off", Change::Refused),
    ("lc_collate", "C", Change::Remembered),
    ("lc_ctype", "C", Change::Remembered),
    ("lc_messages", "C", Change::Remembered),
    ("lc_monetary", "C", Change::Remembered),
    ("lc_numeric", "C", Change::Remembered),
    ("lc_time", "C", Change::Remembered),
    ("lock_timeout", "0", Change::Remembered),
    ("max_identifier_length", "63", Change::Refused),
    ("max_index_keys", "32", Change::Refused),
    ("password_encryption", "scram-sha-256", Change::Remembered),
    ("search_path", "\"$user\", public", Change::Remembered),
    ("server_encoding", "UTF8", Change::Refused),
    ("server_version", SERVER_VERSION, Change::Refused),
    ("server_version_num", "160009", Change::Refused),
    ("session_authorization", "", Change::Refused),
    ("standard_conforming_strings", "on", Change::Refused),
    ("statement_timeout", "0", Change::Timeout),
    ("timezone", "UTC", Change::Zone),
    ("transaction_isolation", "repeatable read", Change::Remembered),
    ("transaction_read_only", "on", Change::Remembered),
    ("wal_level", "replica", Change::Refused),
];

/// Names as a client is told them, which tells some names in capitals.
const REPORTED: &[(&str, &str)] = &[
    ("application_name", "application_name"),
    ("client_encoding", "client_encoding"),
    ("datestyle", "DateStyle"),
    ("default_transaction_read_only", "default_transaction_read_only"),
    ("in_hot_standby", "in_hot_standby"),
    ("integer_datetimes", "integer_datetimes"),
    ("intervalstyle", "IntervalStyle"),
    ("is_superuser", "is_superuser"),
    ("server_encoding", "server_encoding"),
    ("server_version", "server_version"),
    ("session_authorization", "session_authorization"),
    ("standard_conforming_strings", "standard_conforming_strings"),
    ("timezone", "TimeZone"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Remembered,
    Refused,
    Encoding,
    DateStyle,
    Zone,
    Timeout,
}

/// The settings of one session.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    user: String,
    set: BTreeMap<String, String>,
}

impl Settings {
    pub(super) fn of(user: &str) -> Self {
        Self { user: user.to_owned(), set: BTreeMap::new() }
    }

    /// The value of a setting; `None` if there is none of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        match name {
            "session_authorization" => Some(&self.user),
            _ => self.set.get(name).map(String::as_str).or_else(|| Some(known(name)?.1)),
        }
    }

    /// Sets a setting, or sets it back; returns what the client has to be told about it.
    pub(super) fn set(
        &mut self,
        name: &str,
        value: Option<&str>,
    ) -> Result<Option<(&'static str, String)>, Failure> {
        let change = known(name).map(|(_, _, change)| *change);
        // Extensions have settings of their own, with a dot. Of the rest, one that nobody knows would change nothing.
        if change.is_none() && !name.contains('.') && !is_tuning(name) {
            let message = format!("unrecognized configuration parameter \"{name}\"");
            return Err(Failure::new("42704", message));
        }
        match value {
            None => {
                self.set.remove(name);
            }
            Some(value) => {
                let value = allowed(name, value, change.unwrap_or(Change::Remembered))?;
                let bytes: usize = self.set.iter().map(|(name, value)| name.len() + value.len()).sum();
                if self.set.len() >= SETTINGS_MAX
                    || value.len() > VALUE_BYTES_MAX
                    || name.len() > VALUE_BYTES_MAX
                    || bytes + name.len() + value.len() > BYTES_MAX
                {
                    return Err(Failure::new("54000", "too many settings, or one that is too long"));
                }
                self.set.insert(name.to_owned(), value);
            }
        }
        let reported = REPORTED.iter().find(|(known, _)| *known == name);
        Ok(reported.map(|(_, reported)| (*reported, self.get(name).unwrap_or_default().to_owned())))
    }

    /// Sets all back.
    pub(super) fn reset(&mut self) {
        self.set.clear();
    }

    /// What a client is told when it has been let in.
    pub(super) fn reported(&self) -> impl Iterator<Item = (&'static str, &str)> {
        REPORTED.iter().map(|(name, reported)| (*reported, self.get(name).unwrap_or_default()))
    }

    /// What a client is told when these come in the place of `before`.
    pub(super) fn reported_since<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = (&'static str, &'a str)> {
        self.reported().zip(before.reported()).filter(|(now, before)| now != before).map(|(now, _)| now)
    }

    /// All settings, by name.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &str)> {
        KNOWN.iter().map(|(name, _, _)| (*name, self.get(name).unwrap_or_default()))
    }

    /// How long a statement may take; `None`: as long as the engine says.
    pub(super) fn statement_timeout(&self) -> Option<Duration> {
        let ms = milliseconds(self.set.get("statement_timeout")?)?;
        (ms > 0).then(|| Duration::from_millis(ms))
    }
}

fn known(name: &str) -> Option<&'static (&'static str, &'static str, Change)> {
    KNOWN.iter().find(|(known, _, _)| *known == name)
}

/// Settings with which a planner is tuned, as tools send them; there is nothing to tune.
fn is_tuning(name: &str) -> bool {
    name == "jit"
        || name == "geqo"
        || name.starts_with("enable_")
        || name == "work_mem"
        || name == "row_security"
        || name == "synchronize_seqscans"
        || name == "quote_all_identifiers"
        || name == "plan_cache_mode"
}

fn allowed(name: &str, value: &str, change: Change) -> Result<String, Failure> {
    let only = |fits: bool, only: &str| match fits {
        true => Ok(only.to_owned()),
        false => Err(Failure::new(NOT_SUPPORTED, format!("parameter \"{name}\" is always {only} here"))),
    };
    let lower = value.trim().to_lowercase();
    match change {
        Change::Remembered => Ok(value.to_owned()),
        Change::Refused => {
            let fixed = known(name).map_or("", |(_, value, _)| value);
            only(
                lower == fixed.to_lowercase() || (fixed == "on" && matches!(lower.as_str(), "true" | "1")),
                fixed,
            )
        }
        Change::Encoding => {
            // PostgreSQL looks at letters and digits only, and clients rely on it: asyncpg sends 'utf-8' with the quotes.
            let letters: String = lower.chars().filter(char::is_ascii_alphanumeric).collect();
            only(matches!(letters.as_str(), "utf8" | "unicode"), "UTF8")
        }
        Change::DateStyle => only(lower.split(',').any(|part| part.trim() == "iso"), "ISO, MDY"),
        // Java's driver sets the zone of its machine whenever it connects. Instants go out with their zone, which is UTC.
        Change::Zone => Ok("UTC".into()),
        Change::Timeout => match milliseconds(&lower) {
            Some(ms) => Ok(ms.to_string()),
            None => {
                Err(Failure::new("22023", format!("invalid value for parameter \"{name}\": \"{lower}\"")))
            }
        },
    }
}

/// `5000`, `5s`, `2min` as milliseconds.
fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().ok()?;
    let unit = match text[end..].trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_change_answers_is_refused() {
        let mut settings = Settings::of("alice");
        assert_eq!(settings.set("datestyle", Some("ISO")).unwrap().unwrap().1, "ISO, MDY");
        assert!(settings.set("datestyle", Some("German")).is_err());
        assert!(settings.set("client_encoding", Some("LATIN1")).is_err());
        for name in ["'utf-8'", "UTF_8", "unicode"] {
            assert_eq!(settings.set("client_encoding", Some(name)).unwrap().unwrap().1, "UTF8", "{name}");
        }
        assert!(settings.set("standard_conforming_strings", Some("off")).is_err());
        assert!(settings.set("no_such_setting", Some("1")).is_err());
        assert!(settings.set("my.own", Some("1")).unwrap().is_none());
        assert_eq!(settings.get("my.own"), Some("1"));
        assert_eq!(settings.get("session_authorization"), Some("alice"));
        assert_eq!(settings.get("nope"), None);
    }

    #[test]
    fn statement_timeouts_in_all_units() {
        let mut settings = Settings::default();
        for (text, expected) in
            [("0", None), ("1500", Some(1500)), ("2min", Some(120_000)), ("3 s", Some(3000))]
        {
            settings.set("statement_timeout", Some(text)).unwrap();
            assert_eq!(settings.statement_timeout(), expected.map(Duration::from_millis), "{text}");
        }
        assert!(settings.set("statement_timeout", Some("soon")).is_err());
        settings.set("statement_timeout", None).unwrap();
        assert_eq!(settings.statement_timeout(), None);
    }
}
