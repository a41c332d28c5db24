//! Column statistics as the JSON text of a Delta `add` action, and back.
//!
//! Numbers travel as their text: decimals keep all their digits and floats their exact value. What another writer stored less
//! precisely is widened; what cannot be understood is unknown. See `segment/README.md` for the forms.

use std::collections::HashMap;

use chrono::{DateTime, Datelike, NaiveDate};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::stats::{ColumnStats, StatValue};
use crate::schema::{Column, ColumnType, TableSchema};

/// Fraction digits of a timestamp bound.
const TIMESTAMP_DIGITS: usize = 6;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatsOut<'a> {
    num_records: u64,
    min_values: Entries<'a, Box<RawValue>>,
    max_values: Entries<'a, Box<RawValue>>,
    null_count: Entries<'a, u64>,
}

/// A JSON object whose fields keep the columns' order.
struct Entries<'a, V>(Vec<(&'a str, V)>);

impl<V: Serialize> Serialize for Entries<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The `stats` text of a segment.
pub(super) fn to_json(schema: &TableSchema, rows: u64, stats: &[ColumnStats]) -> Result<String, String> {
    let columns = || schema.columns().iter().zip(stats);
    let bounds = |bound: fn(&ColumnStats) -> &Option<StatValue>| {
        let known = columns().filter_map(|(column, stats)| {
            let text = bound_to_text(&column.data_type, bound(stats).as_ref()?)?;
            Some((column.name.as_str(), RawValue::from_string(text)))
        });
        let entries: Result<Vec<_>, _> =
            known.map(|(name, value)| value.map(|value| (name, value))).collect();
        entries.map(Entries).map_err(|error| error.to_string())
    };
    let null_counts = columns().filter_map(|(column, stats)| Some((column.name.as_str(), stats.null_count?)));
    let out = StatsOut {
        num_records: rows,
        min_values: bounds(|stats| &stats.min)?,
        max_values: bounds(|stats| &stats.max)?,
        null_count: Entries(null_counts.collect()),
    };
    serde_json::to_string(&out).map_err(|error| error.to_string())
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatsIn<'a> {
    #[serde(borrow)]
    min_values: HashMap<String, &'a RawValue>,
    #[serde(borrow)]
    max_values: HashMap<String, &'a RawValue>,
    #[serde(borrow)]
    null_count: HashMap<String, &'a RawValue>,
}

/// Statistics by schema order from the `stats` text, if there is one. `inexact` names the columns with a rounded bound.
pub(super) fn from_json(
    schema: &TableSchema,
    text: Option<&str>,
    inexact: &[String],
) -> Result<Vec<ColumnStats>, String> {
    let stats: StatsIn<'_> = match text {
        Some(text) => serde_json::from_str(text).map_err(|error| error.to_string())?,
        None => StatsIn::default(),
    };
    Ok(schema.columns().iter().map(|column| column_from_json(&stats, column, inexact)).collect())
}

fn column_from_json(stats: &StatsIn<'_>, column: &Column, inexact: &[String]) -> ColumnStats {
    let min =
        stats.min_values.get(&column.name).and_then(|raw| bound_from_text(&column.data_type, raw.get()));
    let max =
        stats.max_values.get(&column.name).and_then(|raw| bound_from_text(&column.data_type, raw.get()));
    let exact = !inexact.contains(&column.name)
        && min.as_ref().is_none_or(|bound| bound.error == 0)
        && max.as_ref().is_none_or(|bound| bound.error == 0);
    let max = max.and_then(|bound| match bound.value {
        StatValue::Int(value) => value.checked_add(bound.error).map(StatValue::Int),
        other => Some(other),
    });
    ColumnStats {
        null_count: stats.null_count.get(&column.name).and_then(|raw| raw.get().parse().ok()),
        min: min.map(|bound| bound.value),
        max,
        exact,
    }
}

/// A bound read from text; the value that it stands for is in `value ..= value + error`.
struct ReadBound {
    value: StatValue,
    error: i64,
}

fn bound_to_text(data_type: &ColumnType, bound: &StatValue) -> Option<String> {
    match (data_type, bound) {
        (_, StatValue::Bool(value)) => Some(value.to_string()),
        (ColumnType::Date, StatValue::Int(days)) => {
            let date = epoch().checked_add_signed(chrono::TimeDelta::try_days(*days)?)?;
            four_digit_year(&date).then(|| format!("\"{}\"", date.format("%Y-%m-%d")))
        }
        (ColumnType::TimestampMillis | ColumnType::TimestampMicros, StatValue::Int(micros)) => {
            let instant = DateTime::from_timestamp_micros(*micros)?;
            four_digit_year(&instant).then(|| format!("\"{}\"", instant.format("%Y-%m-%dT%H:%M:%S%.6fZ")))
        }
        (_, StatValue::Int(value)) => Some(value.to_string()),
        (_, StatValue::Float(value)) => value.is_finite().then(|| format!("{value:?}")),
        (ColumnType::Decimal(_, scale), StatValue::Decimal(unscaled)) => {
            Some(decimal_to_text(*unscaled, usize::try_from(*scale).ok()?))
        }
        (_, StatValue::Decimal(_)) => None,
        (_, StatValue::Str(value)) => serde_json::to_string(value).ok(),
    }
}

fn bound_from_text(data_type: &ColumnType, text: &str) -> Option<ReadBound> {
    let value = match data_type {
        ColumnType::Boolean => StatValue::Bool(text.parse().ok()?),
        ColumnType::Int | ColumnType::Long => StatValue::Int(text.parse().ok()?),
        ColumnType::Float | ColumnType::Double => {
            StatValue::Float(text.parse().ok().filter(|value: &f64| value.is_finite())?)
        }
        ColumnType::Decimal(_, scale) => {
            StatValue::Decimal(decimal_from_text(text, usize::try_from(*scale).ok()?)?)
        }
        ColumnType::TimestampMillis | ColumnType::TimestampMicros => return timestamp_from_text(text),
        ColumnType::Date => {
            let date = NaiveDate::parse_from_str(&unquoted(text)?, "%Y-%m-%d").ok()?;
            StatValue::Int(date.signed_duration_since(epoch()).num_days())
        }
        ColumnType::String | ColumnType::Json | ColumnType::Uuid => StatValue::Str(unquoted(text)?),
        ColumnType::Bytes | ColumnType::Array(_) => return None,
    };
    Some(ReadBound { value, error: 0 })
}

fn unquoted(text: &str) -> Option<Box<str>> {
    serde_json::from_str(text).ok()
}

fn epoch() -> NaiveDate {
    NaiveDate::default()
}

/// Other Delta readers parse bounds with four-digit years only, and some fail on the whole table otherwise.
fn four_digit_year(date: &impl Datelike) -> bool {
    (1..=9999).contains(&date.year())
}

fn timestamp_from_text(text: &str) -> Option<ReadBound> {
    let text = unquoted(text)?;
    let instant = DateTime::parse_from_rfc3339(&text).ok()?;
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    let missing = TIMESTAMP_DIGITS.checked_sub(digits)?;
    let error = 10_i64.pow(u32::try_from(missing).ok()?) - 1;
    Some(ReadBound { value: StatValue::Int(instant.timestamp_micros()), error })
}

fn decimal_to_text(unscaled: i128, scale: usize) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// Only the form that [`decimal_to_text`] writes: another one may have been rounded on its way.
fn decimal_from_text(text: &str, scale: usize) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let plain =
        whole.strip_prefix('-').unwrap_or(whole).bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit());
    if fraction.len() != scale || !plain {
        return None;
    }
    format!("{whole}{fraction}").parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(data_type: ColumnType, value: StatValue) -> Option<StatValue> {
        let text = bound_to_text(&data_type, &value)?;
        let read = bound_from_text(&data_type, &text)?;
        assert_eq!(read.error, 0, "{text}");
        Some(read.value)
    }

    #[test]
    fn bounds_have_the_forms_of_the_delta_protocol() {
        let cases = [
            (ColumnType::Boolean, StatValue::Bool(true), "true"),
            (ColumnType::Int, StatValue::Int(-7), "-7"),
            (ColumnType::Long, StatValue::Int(i64::MIN), "-9223372036854775808"),
            (ColumnType::Double, StatValue::Float(1e300), "1e300"),
            (ColumnType::Double, StatValue::Float(-0.5), "-0.5"),
            (ColumnType::Decimal(9, 2), StatValue::Decimal(-5), "-0.05"),
            (ColumnType::Decimal(9, 0), StatValue::Decimal(12), "12"),
            (ColumnType::TimestampMillis, StatValue::Int(1_000), "\"1970-01-01T00:00:00.001000Z\""),
            (ColumnType::TimestampMicros, StatValue::Int(-1), "\"1969-12-31T23:59:59.999999Z\""),
            (ColumnType::Date, StatValue::Int(-1), "\"1969-12-31\""),
            (ColumnType::String, StatValue::Str("a\"\u{1}é".into()), "\"a\\\"\\u0001é\""),
        ];
        for (data_type, value, text) in cases {
            assert_eq!(bound_to_text(&data_type, &value).as_deref(), Some(text));
            assert_eq!(round_trip(data_type, value.clone()), Some(value));
        }
    }

    #[test]
    fn dates_beyond_four_digit_years_are_unknown() {
        for days in [i64::from(i32::MIN), i64::from(i32::MAX), 3_000_000, -720_000] {
            assert_eq!(bound_to_text(&ColumnType::Date, &StatValue::Int(days)), None);
        }
        for micros in [i64::MIN, i64::MAX, 253_402_300_800_000_000] {
            assert_eq!(bound_to_text(&ColumnType::TimestampMicros, &StatValue::Int(micros)), None);
        }
    }

    #[test]
    fn a_maximum_in_milliseconds_is_widened() {
        let read = timestamp_from_text("\"1970-01-01T01:00:00.123+01:00\"").unwrap();
        assert_eq!((read.value, read.error), (StatValue::Int(123_000), 999));
        assert!(timestamp_from_text("\"1970-01-01T00:00:00.123456789Z\"").is_none());
        assert_eq!(timestamp_from_text("\"1970-01-01T00:00:01Z\"").unwrap().error, 999_999);
    }

    #[test]
    fn malformed_bounds_are_unknown() {
        let cases = [
            (ColumnType::Int, "1.5"),
            (ColumnType::Int, "\"1\""),
            (ColumnType::Double, "\"NaN\""),
            (ColumnType::Decimal(9, 2), "1.5"),
            (ColumnType::Decimal(9, 2), "1.5e3"),
            (ColumnType::Decimal(38, 0), "999999999999999999999999999999999999999999"),
            (ColumnType::Date, "\"yesterday\""),
            (ColumnType::TimestampMillis, "17"),
            (ColumnType::String, "{}"),
            (ColumnType::Boolean, "null"),
            (ColumnType::Bytes, "\"aa\""),
        ];
        for (data_type, text) in cases {
            assert!(bound_from_text(&data_type, text).is_none(), "{data_type} {text}");
        }
    }

    proptest! {
        #[test]
        fn decimals_keep_every_digit(unscaled in any::<i128>(), scale in 0_i8..=38) {
            let data_type = ColumnType::Decimal(38, scale);
            prop_assert_eq!(round_trip(data_type, StatValue::Decimal(unscaled)), Some(StatValue::Decimal(unscaled)));
        }

        #[test]
        fn floats_keep_their_value(value in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO) {
            let Some(StatValue::Float(read)) = round_trip(ColumnType::Double, StatValue::Float(value)) else {
                return Err(TestCaseError::fail("unknown"));
            };
            prop_assert_eq!(read.to_bits(), value.to_bits());
        }

        #[test]
        fn instants_keep_their_microseconds(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
            let read = round_trip(ColumnType::TimestampMicros, StatValue::Int(micros));
            prop_assert_eq!(read, Some(StatValue::Int(micros)));
        }
    }
}
