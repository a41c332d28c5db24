//! Sizes, durations and instants as a spec writes them. What is written out here is read back as the same value.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use serde::Serializer;

use super::faults::quoted;

const SIZE_UNITS: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
];

const DURATION_UNITS_MS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The last millisecond of the year 9999: the latest instant a start position may name.
const INSTANT_MS_MAX: i64 = 253_402_300_799_999;

/// Reads a number that may be grouped with `_`.
pub(super) fn parse_count(text: &str) -> Result<u64, String> {
    let digits: String = text.trim().chars().filter(|c| *c != '_').collect();
    digits.parse().map_err(|_| format!("{} is not a whole number", quoted(text)))
}

/// Reads bytes: `256MiB`, `512 MB`, `1048576`.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(text);
    let factor = match unit {
        "" | "B" => Some(1),
        unit => {
            SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor)
        }
    };
    let bytes = parse_count(number).ok().zip(factor).and_then(|(count, factor)| count.checked_mul(factor));
    bytes.ok_or_else(|| format!("{} is not a size; write one like 256MiB, 512 MB or 1048576", quoted(text)))
}

/// Reads a duration: `500ms`, `30s`, `10m`, `1h`, `30d`.
///
/// # Errors
/// If it is none; the text says how to write one.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text);
    let factor = DURATION_UNITS_MS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let millis = parse_count(number).ok().zip(factor).and_then(|(count, factor)| count.checked_mul(factor));
    millis.map(Duration::from_millis).ok_or_else(|| {
        format!("{} is not a duration; write one like 500ms, 30s, 10m, 1h or 30d", quoted(text))
    })
}

/// Reads an instant into milliseconds since the epoch: RFC 3339, or a day, which begins at midnight UTC.
pub(super) fn parse_instant(text: &str) -> Result<i64, String> {
    let instant = match DateTime::parse_from_rfc3339(text) {
        Ok(instant) => Some(instant.timestamp_millis()),
        Err(_) => NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()
            .and_then(|day| day.and_hms_opt(0, 0, 0))
            .map(|midnight| midnight.and_utc().timestamp_millis()),
    };
    let instant = instant.ok_or_else(|| {
        format!(
            "{} is not an instant; write one like 2026-01-01T00:00:00Z, or epoch milliseconds",
            quoted(text)
        )
    })?;
    check_instant(instant)
}

/// Checks milliseconds since the epoch: Kafka gives negative ones another meaning.
pub(super) fn check_instant(millis: i64) -> Result<i64, String> {
    match (0..=INSTANT_MS_MAX).contains(&millis) {
        true => Ok(millis),
        false => Err(format!("{millis} ms since the epoch is not between the years 1970 and 9999")),
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// A duration in its largest whole unit.
pub fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let whole = |(_, factor): &&(&str, u64)| millis > 0 && millis.is_multiple_of(u128::from(*factor));
    match DURATION_UNITS_MS.iter().find(whole) {
        Some((unit, factor)) => format!("{}{unit}", millis / u128::from(*factor)),
        None => format!("{millis}ms"),
    }
}

/// Bytes in their largest whole binary unit.
pub(super) fn format_size(bytes: u64) -> String {
    let whole = |(_, factor): &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(*factor);
    match SIZE_UNITS.iter().take(4).find(whole) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => bytes.to_string(),
    }
}

/// Serializes a duration as its text.
pub(super) mod duration_text {
    use super::*;

    pub(in crate::spec) fn serialize<S: Serializer>(
        value: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(*value))
    }
}

/// Serializes a duration that may be absent as its text.
pub(super) mod optional_duration_text {
    use super::*;

    pub(in crate::spec) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => duration_text::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }
}

/// Serializes bytes as their text.
pub(super) mod size_text {
    use super::*;

    pub(in crate::spec) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_size(*value))
    }
}

/// Serializes epoch milliseconds as RFC 3339 text.
pub(super) mod instant_text {
    use super::*;

    pub(in crate::spec) fn serialize<S: Serializer>(value: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        match DateTime::<Utc>::from_timestamp_millis(*value) {
            Some(instant) => serializer.serialize_str(&instant.to_rfc3339_opts(SecondsFormat::Millis, true)),
            None => serializer.serialize_i64(*value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("5_000", 5_000),
            ("256MiB", 256 << 20),
            ("512 MB", 512_000_000),
            ("1gib", 1 << 30),
            ("7B", 7),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "1.5GiB", "-1", "1 XB", "99999999999TiB", "1 2"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert_eq!(format_size(512 << 20), "512MiB");
    }

    #[test]
    fn durations_are_read_and_written() {
        for (text, millis) in
            [("500ms", 500), ("30s", 30_000), ("10m", 600_000), ("1 h", 3_600_000), ("30d", 2_592_000_000)]
        {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(text), Ok(duration), "{text}");
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration), "{text}");
        }
        for text in ["", "10", "h", "1.5h", "10M", "1 fortnight", "99999999999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(format_duration(Duration::from_secs(86_400)), "1d");
        assert_eq!(format_duration(Duration::ZERO), "0ms");
    }

    #[test]
    fn instants_are_read() {
        assert_eq!(parse_instant("2026-01-01T00:00:00Z"), Ok(1_767_225_600_000));
        assert_eq!(parse_instant("2026-01-01T01:00:00.250+01:00"), Ok(1_767_225_600_250));
        assert_eq!(parse_instant("2026-01-01"), Ok(1_767_225_600_000));
        for text in ["", "yesterday", "2026-01-01T00:00:00", "1969-12-31T23:59:59Z"] {
            assert!(parse_instant(text).is_err(), "{text}");
        }
    }
}
