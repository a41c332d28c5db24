//! The second decoder: messages to rows by the table of rules in `headwater_ingest::decode`, written for clarity.
//!
//! Invariant: nothing is shared with the real decoder but the rules as written there, the column types and the paths.

use chrono::{NaiveDate, NaiveTime};
use headwater_segment::schema::ColumnType;
use headwater_segment::spec::{FieldPath, OnError, PathStep, TableSpec};

use crate::message::Message;
use crate::number::Decimal;
use crate::tree::{Kind, Tree};

/// One value, owned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Datum {
    Null,
    Bool(bool),
    I32(i32),
    I64(i64),
    F32(f32),
    F64(f64),
    I128(i128),
    Str(String),
    Bytes(Vec<u8>),
    List(Vec<Datum>),
}

/// The row of one message: the spec's columns, then the five of the stream. `None`: a dead letter.
pub(crate) fn row_of(spec: &TableSpec, partition: i32, message: &Message) -> Option<Vec<Datum>> {
    let payload = message.payload.as_deref()?;
    let mut row = values_of(spec, payload, message)?;
    row.push(Datum::I32(partition));
    row.push(Datum::I64(message.offset));
    row.push(message.timestamp_ms.map_or(Datum::Null, |ms| Datum::I64(ms.saturating_mul(1000))));
    row.push(message.key.as_deref().map_or(Datum::Null, |key| {
        Datum::Str(
            String::from_utf8(key.to_vec()).unwrap_or_else(|_| {
                key.iter().fold("\\x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
            }),
        )
    }));
    row.push(message.headers_json().map_or(Datum::Null, Datum::Str));
    Some(row)
}

fn values_of(spec: &TableSpec, payload: &[u8], message: &Message) -> Option<Vec<Datum>> {
    let steps: Vec<&[PathStep]> = spec
        .columns
        .iter()
        .filter_map(|column| match &column.path {
            FieldPath::Payload(steps) => Some(steps.as_slice()),
            _ => None,
        })
        .collect();
    let tree = match steps.is_empty() {
        true => None,
        false => Some(Tree::parse(payload)?),
    };
    if let Some(tree) = &tree {
        let field = steps.iter().any(|steps| matches!(steps.first(), Some(PathStep::Field(_))));
        let index = steps.iter().any(|steps| matches!(steps.first(), Some(PathStep::Index(_))));
        let fits = match tree.kind {
            Kind::Object(_) => field || !index,
            Kind::Array(_) => index || !field,
            _ => !field && !index,
        };
        if !fits {
            return None;
        }
    }
    let mut row = Vec::new();
    for column in &spec.columns {
        let outcome = match &column.path {
            FieldPath::Payload(steps) => tree
                .as_ref()
                .and_then(|tree| walk(tree, steps))
                .map_or(Ok(Datum::Null), |tree| value(&column.data_type, tree)),
            FieldPath::Key => envelope(&column.data_type, message.key.as_deref()),
            FieldPath::Header(name) => envelope(&column.data_type, message.header(name)),
        };
        row.push(match outcome {
            Ok(Datum::Null) if !column.nullable => return None,
            Ok(datum) => datum,
            Err(Misfit) if column.on_error == OnError::Null && column.nullable => Datum::Null,
            Err(Misfit) => return None,
        });
    }
    Some(row)
}

fn walk<'t>(tree: &'t Tree, steps: &[PathStep]) -> Option<&'t Tree> {
    steps.iter().try_fold(tree, |tree, step| match (step, &tree.kind) {
        (PathStep::Field(name), Kind::Object(fields)) => {
            fields.iter().find(|(field, _)| field == name).map(|(_, tree)| tree)
        }
        (PathStep::Index(index), Kind::Array(elements)) => elements.get(*index),
        _ => None,
    })
}

/// A value that its column cannot hold.
pub(crate) struct Misfit;

type Fit = Result<Datum, Misfit>;

fn envelope(data_type: &ColumnType, bytes: Option<&[u8]>) -> Fit {
    let Some(bytes) = bytes else { return Ok(Datum::Null) };
    if *data_type == ColumnType::Bytes {
        return Ok(Datum::Bytes(bytes.to_vec()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Misfit)?;
    match data_type {
        ColumnType::Json | ColumnType::Array(_) => value(data_type, &Tree::parse(bytes).ok_or(Misfit)?),
        _ => value(data_type, &Tree { raw: String::new(), kind: Kind::Text(text.to_owned()) }),
    }
}

fn value(data_type: &ColumnType, tree: &Tree) -> Fit {
    if let Kind::Null = tree.kind {
        return Ok(Datum::Null);
    }
    // The text of a literal, or of the literal in a string.
    let number = match &tree.kind {
        Kind::Number => Some(tree.raw.as_str()),
        Kind::Text(text) if Decimal::is_literal(text) => Some(text.as_str()),
        _ => None,
    };
    let text = match &tree.kind {
        Kind::Text(text) => Some(text.as_str()),
        _ => None,
    };
    let found = match data_type {
        ColumnType::Boolean => match (&tree.kind, text) {
            (Kind::Bool(value), _) => Some(Datum::Bool(*value)),
            (_, Some("true")) => Some(Datum::Bool(true)),
            (_, Some("false")) => Some(Datum::Bool(false)),
            _ => None,
        },
        ColumnType::Int => {
            number.and_then(integer).and_then(|value| i32::try_from(value).ok()).map(Datum::I32)
        }
        ColumnType::Long => number.and_then(integer).map(Datum::I64),
        // -0 is 0.
        ColumnType::Float => special(text).map(|value| Datum::F32(value as f32)).or_else(|| {
            number
                .and_then(|text| text.parse().ok())
                .filter(|value: &f32| value.is_finite())
                .map(|value| Datum::F32(value + 0.0))
        }),
        ColumnType::Double => special(text).map(|value| Datum::F64(value + 0.0)).or_else(|| {
            number
                .and_then(|text| text.parse().ok())
                .filter(|value: &f64| value.is_finite())
                .map(|value| Datum::F64(value + 0.0))
        }),
        ColumnType::Decimal(precision, scale) => {
            number.and_then(|text| Decimal::parse(text).unscaled(*precision, *scale)).map(Datum::I128)
        }
        ColumnType::TimestampMillis => instant(tree, text, 3).map(Datum::I64),
        ColumnType::TimestampMicros => instant(tree, text, 6).map(Datum::I64),
        ColumnType::Date => day(tree, text).map(Datum::I32),
        ColumnType::String => match &tree.kind {
            Kind::Text(text) => Some(Datum::Str(text.clone())),
            Kind::Number | Kind::Bool(_) => Some(Datum::Str(tree.raw.clone())),
            _ => None,
        },
        ColumnType::Json => Some(Datum::Str(tree.raw.clone())),
        ColumnType::Uuid => text.and_then(uuid).map(Datum::Str),
        ColumnType::Bytes => text.and_then(base64).map(Datum::Bytes),
        ColumnType::Array(element) => match &tree.kind {
            Kind::Array(trees) => {
                let elements: Result<Vec<Datum>, Misfit> =
                    trees.iter().map(|tree| value(element, tree)).collect();
                Some(Datum::List(elements?))
            }
            _ => None,
        },
    };
    found.ok_or(Misfit)
}

fn integer(literal: &str) -> Option<i64> {
    Decimal::parse(literal).unscaled(38, 0).and_then(|value| i64::try_from(value).ok())
}

fn special(text: Option<&str>) -> Option<f64> {
    match text? {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn years_1_to_9999() -> (i64, i64) {
    let days = |year| i64::from(days_of(NaiveDate::from_ymd_opt(year, 1, 1).unwrap()));
    (days(1), days(10_000))
}

fn days_of(date: NaiveDate) -> i32 {
    i32::try_from((date - NaiveDate::from_ymd_opt(1970, 1, 1).unwrap()).num_days()).unwrap()
}

fn instant(tree: &Tree, text: Option<&str>, digits: usize) -> Option<i64> {
    let scale = if digits == 3 { 1000 } else { 1 };
    let micros = match text {
        None if matches!(tree.kind, Kind::Number) => integer(&tree.raw)?.checked_mul(scale)?,
        None => return None,
        Some(text) => {
            let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
            match !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
                true => text.parse::<i64>().ok()?.checked_mul(scale)?,
                false => written_instant(text, digits)?,
            }
        }
    };
    let (first, end) = years_1_to_9999();
    const DAY: i64 = 86_400_000_000;
    (first * DAY..end * DAY).contains(&micros).then_some(micros)
}

fn written_day(text: &str) -> Option<NaiveDate> {
    let parts: Vec<&str> = text.split('-').collect();
    let &[year, month, day] = parts.as_slice() else { return None };
    let digits = |text: &str, length| (text.len() == length).then(|| digits_only(text)).flatten();
    let date = NaiveDate::from_ymd_opt(digits(year, 4)? as i32, digits(month, 2)?, digits(day, 2)?)?;
    (digits(year, 4)? >= 1).then_some(date)
}

fn digits_only(text: &str) -> Option<u32> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn written_instant(text: &str, digits: usize) -> Option<i64> {
    let date = written_day(text.get(..10)?)?;
    let rest = text[10..].strip_prefix(['T', 't', ' '])?;
    let zone_at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone_at);
    let ahead_seconds = match zone {
        "" | "Z" | "z" => 0,
        _ => {
            let (sign, zone) = zone.split_at(1);
            let (hours, minutes) = match zone.len() {
                4 => (zone.get(..2)?, zone.get(2..)?),
                5 if zone.as_bytes()[2] == b':' => (zone.get(..2)?, zone.get(3..)?),
                _ => return None,
            };
            let (hours, minutes) = (digits_only(hours)?, digits_only(minutes)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            i64::from(hours * 3600 + minutes * 60) * if sign == "-" { -1 } else { 1 }
        }
    };
    let (clock, fraction) = match clock.split_once('.') {
        Some((clock, fraction)) if clock.len() == 8 && fraction.len() <= 9 => {
            digits_only(fraction)?;
            (clock, fraction)
        }
        Some(_) => return None,
        None => (clock, ""),
    };
    let parts: Vec<u32> = clock
        .split(':')
        .map(|part| (part.len() == 2).then(|| digits_only(part)).flatten())
        .collect::<Option<_>>()?;
    let (hour, minute, second) = match parts.as_slice() {
        [hour, minute] => (*hour, *minute, 0),
        [hour, minute, second] => (*hour, *minute, *second),
        _ => return None,
    };
    let time = NaiveTime::from_hms_opt(hour, minute, second)?;
    let kept: String =
        fraction.chars().chain("000000".chars()).take(digits).chain("000".chars()).take(6).collect();
    let seconds = date.and_time(time).and_utc().timestamp() - ahead_seconds;
    Some(seconds * 1_000_000 + kept.parse::<i64>().unwrap())
}

fn day(tree: &Tree, text: Option<&str>) -> Option<i32> {
    match (&tree.kind, text) {
        (_, Some(text)) => written_day(text).map(days_of),
        (Kind::Number, _) => {
            let days = integer(&tree.raw)?;
            let (first, end) = years_1_to_9999();
            (first..end).contains(&days).then(|| i32::try_from(days).unwrap())
        }
        _ => None,
    }
}

fn uuid(text: &str) -> Option<String> {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    if lengths != [32] && lengths != [8, 4, 4, 4, 12] {
        return None;
    }
    let digits = groups.concat().to_ascii_lowercase();
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let cuts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    Some(cuts.map(|(from, to)| &digits[from..to]).join("-"))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let content = text.trim_end_matches('=');
    let padding = text.len() - content.len();
    // Padding may be left out, also in part.
    if padding > (4 - content.len() % 4) % 4 {
        return None;
    }
    let mut bits = String::new();
    for byte in content.bytes() {
        let value = ALPHABET.iter().position(|letter| *letter == byte)?;
        bits.push_str(&format!("{value:06b}"));
    }
    let (whole, left) = bits.split_at(bits.len() / 8 * 8);
    if left.len() >= 6 || left.contains('1') {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(&whole[at..at + 8], 2).unwrap();
    Some((0..whole.len()).step_by(8).map(byte).collect())
}
