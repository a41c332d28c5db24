//! A slow second decoder, written from the table in the module's description on other people's parsers: serde_json,
//! chrono, uuid, base64 and the standard library.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use chrono::{NaiveDate, Timelike};
use headwater_segment::schema::ColumnType;
use headwater_segment::spec::{ColumnSpec, FieldPath, OnError, PathStep};
use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Cell;

/// A document tree whose numbers are texts.
#[derive(Clone, Debug)]
struct Doc {
    raw: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Null,
    Bool(bool),
    Number,
    Text(String),
    Array(Vec<Doc>),
    Object(Vec<(String, Doc)>),
}

/// The row of a message, or the path that is at fault.
pub(super) fn decode(
    columns: &[ColumnSpec],
    payload: &[u8],
    key: Option<&[u8]>,
) -> Result<Vec<Cell>, String> {
    let paths = || {
        columns.iter().filter_map(|column| match &column.path {
            FieldPath::Payload(steps) => Some(steps),
            _ => None,
        })
    };
    let message = match paths().next() {
        None => None,
        Some(_) => {
            let doc = parse(payload).ok_or("$")?;
            let steps_into = |is: fn(&PathStep) -> bool| paths().any(|steps| steps.first().is_some_and(is));
            let (fields, items) = (
                steps_into(|s| matches!(s, PathStep::Field(_))),
                steps_into(|s| matches!(s, PathStep::Index(_))),
            );
            let fits = (!fields && !items)
                || (fields && matches!(doc.kind, Kind::Object(_)))
                || (items && matches!(doc.kind, Kind::Array(_)));
            Some(doc).filter(|_| fits).ok_or("$")?.into()
        }
    };
    columns.iter().map(|column| cell(column, message.as_ref(), key)).collect()
}

fn cell(column: &ColumnSpec, message: Option<&Doc>, key: Option<&[u8]>) -> Result<Cell, String> {
    let (path, found) = match &column.path {
        FieldPath::Payload(steps) => {
            let found = steps.iter().try_fold(message.unwrap(), |doc, step| match (step, &doc.kind) {
                (PathStep::Field(name), Kind::Object(fields)) => {
                    fields.iter().rev().find(|(known, _)| known == name).map(|(_, doc)| doc)
                }
                (PathStep::Index(index), Kind::Array(items)) => items.get(*index),
                _ => None,
            });
            (None, found.cloned().map(Some))
        }
        _ => (Some("$key"), key.map(|bytes| envelope(&column.data_type, bytes))),
    };
    let path = path.map_or_else(|| column.path.to_string(), str::to_string);
    if let (ColumnType::Bytes, FieldPath::Key) = (&column.data_type, &column.path) {
        return match (key, column.nullable) {
            (None, false) => Err(path),
            (key, _) => Ok(key.map_or(Cell::Null, |key| Cell::Bytes(key.to_vec()))),
        };
    }
    let fitted = match found {
        None => Some(Cell::Null),
        Some(doc) => doc.and_then(|doc| convert(&column.data_type, &doc)),
    };
    match fitted {
        Some(Cell::Null) | None if !column.nullable => Err(path),
        None if column.on_error == OnError::DeadLetter => Err(path),
        fitted => Ok(fitted.unwrap_or(Cell::Null)),
    }
}

fn envelope(data_type: &ColumnType, bytes: &[u8]) -> Option<Doc> {
    let text = std::str::from_utf8(bytes).ok()?;
    match data_type {
        ColumnType::Json | ColumnType::Array(_) => parse(bytes),
        _ => Some(Doc { raw: text.to_string(), kind: Kind::Text(text.to_string()) }),
    }
}

fn parse(bytes: &[u8]) -> Option<Doc> {
    let raw: &RawValue = serde_json::from_str(std::str::from_utf8(bytes).ok()?).ok()?;
    tree(raw.get(), 0)
}

fn tree(raw: &str, depth: usize) -> Option<Doc> {
    let kind = match raw.as_bytes().first()? {
        b'n' => Kind::Null,
        b't' | b'f' => Kind::Bool(raw == "true"),
        b'"' => Kind::Text(serde_json::from_str(raw).ok()?),
        b'[' | b'{' if depth == 128 => return None,
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
            Kind::Array(items.iter().map(|item| tree(item.get(), depth + 1)).collect::<Option<_>>()?)
        }
        b'{' => {
            let fields = serde_json::Deserializer::from_str(raw).deserialize_map(Fields).ok()?;
            let inner = |(name, raw): (String, Box<RawValue>)| Some((name, tree(raw.get(), depth + 1)?));
            Kind::Object(fields.into_iter().map(inner).collect::<Option<_>>()?)
        }
        _ => Kind::Number,
    };
    Some(Doc { raw: raw.to_string(), kind })
}

/// Reads an object as the list of its fields, duplicates and all.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(String, Box<RawValue>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(fields)
    }
}

/// `None`: does not fit.
fn convert(data_type: &ColumnType, doc: &Doc) -> Option<Cell> {
    if let Kind::Null = doc.kind {
        return Some(Cell::Null);
    }
    let text = match &doc.kind {
        Kind::Text(text) => Some(text.as_str()),
        _ => None,
    };
    Some(match data_type {
        ColumnType::Boolean => Cell::Bool(match (&doc.kind, text) {
            (Kind::Bool(value), _) => *value,
            (_, Some("true")) => true,
            (_, Some("false")) => false,
            _ => return None,
        }),
        ColumnType::Int => Cell::I32(integer(doc)?.try_into().ok()?),
        ColumnType::Long => Cell::I64(integer(doc)?.try_into().ok()?),
        ColumnType::Float => Cell::f32(match special(text) {
            Some(value) => value as f32,
            None => 0.0 + literal(doc)?.parse().ok().filter(|value: &f32| value.is_finite())?,
        }),
        ColumnType::Double => Cell::f64(match special(text) {
            Some(value) => value,
            None => 0.0 + literal(doc)?.parse().ok().filter(|value: &f64| value.is_finite())?,
        }),
        ColumnType::Decimal(precision, scale) => {
            Cell::I128(decimal(&literal(doc)?, usize::from(*precision), *scale as usize)?)
        }
        ColumnType::TimestampMillis => Cell::I64(instant(doc, 1000)?),
        ColumnType::TimestampMicros => Cell::I64(instant(doc, 1)?),
        ColumnType::Date => Cell::I32(match text {
            Some(text) => days(text)?,
            None => i32::try_from(integer(doc)?).ok().filter(|days| (-719_162..=2_932_896).contains(days))?,
        }),
        ColumnType::String => match doc.kind {
            Kind::Array(_) | Kind::Object(_) => return None,
            _ => Cell::text(text.unwrap_or(&doc.raw)),
        },
        ColumnType::Json => Cell::text(&doc.raw),
        ColumnType::Uuid => {
            let uuid = uuid::Uuid::try_parse(text.filter(|text| matches!(text.len(), 32 | 36))?).ok()?;
            Cell::Str(uuid.hyphenated().to_string())
        }
        ColumnType::Bytes => {
            let text = text?;
            let digits = text.trim_end_matches('=');
            let padding_max = (4 - digits.len() % 4) % 4;
            (text.len() - digits.len() <= padding_max).then_some(())?;
            Cell::Bytes(BASE64_STANDARD_NO_PAD.decode(digits).ok()?)
        }
        ColumnType::Array(element) => match &doc.kind {
            Kind::Array(items) => {
                Cell::List(items.iter().map(|item| convert(element, item)).collect::<Option<_>>()?)
            }
            _ => return None,
        },
    })
}

fn special(text: Option<&str>) -> Option<f64> {
    match text? {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// The text of a number, or of a string that is one.
fn literal(doc: &Doc) -> Option<String> {
    match &doc.kind {
        Kind::Number => Some(doc.raw.clone()),
        Kind::Text(text) => {
            let inner = parse(text.as_bytes())?;
            matches!(inner.kind, Kind::Number).then_some(inner.raw).filter(|raw| raw == text)
        }
        _ => None,
    }
}

fn integer(doc: &Doc) -> Option<i128> {
    decimal(&literal(doc)?, 38, 0)
}

/// Writes the number without an exponent, then reads its digits.
fn decimal(literal: &str, precision: usize, scale: usize) -> Option<i128> {
    let (sign, unsigned) = literal.strip_prefix('-').map_or((1, literal), |rest| (-1, rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if mantissa.bytes().all(|byte| matches!(byte, b'0' | b'.')) {
        return Some(0);
    }
    let exponent: i32 = exponent.parse().ok().filter(|exponent: &i32| exponent.abs() < 5000)?;
    let zeros = "0".repeat(5000);
    let digits = format!("{zeros}{whole}{fraction}{zeros}");
    let (whole, fraction) = digits.split_at((5000 + whole.len() as i32 + exponent) as usize);
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if fraction.len() > scale || whole.len() + scale > precision && !whole.is_empty() {
        return None;
    }
    format!("{whole}{fraction:0<scale$}0")
        .parse::<i128>()
        .ok()
        .map(|value| sign * (value / 10))
        .or_else(|| format!("{whole}{fraction:0<scale$}").parse::<i128>().ok().map(|value| sign * value))
}

fn template(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_digit() { 'd' } else { c }).collect()
}

fn date(text: &str) -> Option<NaiveDate> {
    (template(text) == "dddd-dd-dd" && &text[..4] != "0000").then_some(())?;
    NaiveDate::from_ymd_opt(text[..4].parse().ok()?, text[5..7].parse().ok()?, text[8..].parse().ok()?)
}

fn days(text: &str) -> Option<i32> {
    Some(date(text)?.signed_duration_since(NaiveDate::default()).num_days() as i32)
}

fn instant(doc: &Doc, unit_micros: i64) -> Option<i64> {
    let micros = match &doc.kind {
        Kind::Text(text) => {
            let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
            match !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
                true => text.parse::<i64>().ok()?.checked_mul(unit_micros)?,
                false => iso_micros(text)?.div_euclid(unit_micros) * unit_micros,
            }
        }
        _ => i64::try_from(integer(doc)?).ok()?.checked_mul(unit_micros)?,
    };
    let year_seconds = |year| {
        NaiveDate::from_ymd_opt(year, 1, 1).unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp()
    };
    let (first, end) = (year_seconds(1) * 1_000_000, year_seconds(10_000) * 1_000_000);
    (first..end).contains(&micros).then_some(micros)
}

fn iso_micros(text: &str) -> Option<i64> {
    let shape = template(text);
    let zone_at = shape
        .char_indices()
        .skip(11)
        .find(|(_, c)| matches!(c, 'Z' | 'z' | '+' | '-'))
        .map_or(text.len(), |(at, _)| at);
    let (local, zone) = text.split_at(zone_at);
    let shapes = ["dd:dd", "dd:dd:dd"].map(str::to_string).into_iter();
    let mut shapes = shapes.chain((1..=9).map(|digits| format!("dd:dd:dd.{}", "d".repeat(digits))));
    let time = local.get(11..).filter(|time| shapes.any(|shape| shape == template(time)))?;
    matches!(local.as_bytes()[10], b'T' | b't' | b' ').then_some(())?;
    let part =
        |range: std::ops::Range<usize>| time.get(range).map_or(Some(0), |text| text.parse::<u32>().ok());
    (part(6..8)? < 60).then_some(())?;
    let nanos: u32 = format!("{:0<9}", time.get(9..).unwrap_or("")).parse().ok()?;
    let local = date(&local[..10])?.and_hms_nano_opt(part(0..2)?, part(3..5)?, part(6..8)?, nanos)?;
    let ahead = match template(zone).as_str() {
        "" | "Z" | "z" => 0,
        "+dd:dd" | "-dd:dd" | "+dddd" | "-dddd" => {
            let (hours, minutes): (i64, i64) =
                (zone[1..3].parse().ok()?, zone[zone.len() - 2..].parse().ok()?);
            (hours < 24 && minutes < 60).then_some(())?;
            (hours * 60 + minutes) * if zone.starts_with('-') { -60 } else { 60 }
        }
        _ => return None,
    };
    Some((local.and_utc().timestamp() - ahead) * 1_000_000 + i64::from(local.nanosecond() / 1000))
}
