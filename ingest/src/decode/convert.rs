//! One scanned value to the type of its column. The rules are the table in [the module's description](super).
//!
//! Invariant: a conversion looks only at the value and the type, and borrows from the message or from scratch space.

use headwater_segment::schema::ColumnType;
use headwater_segment::value::Value;

use super::error::Misfit;
use super::number::Number;
use super::scan::{Found, Kind, Scanner, Text};
use super::text::{Space, base64, unescape, uuid};
use super::time::{DAYS, MICROS, date_days, instant_micros};

type Fit<T> = Result<T, &'static str>;

const NOT_A_NUMBER: &str = "not a number";
const NOT_TEXT: &str = "not a string";
const OUT_OF_CALENDAR: &str = "outside the years 0001 to 9999";

/// The value of a scalar column. `found` is not null, and `data_type` is not an array.
#[inline]
pub(super) fn scalar<'v>(data_type: &ColumnType, found: &Found<'v>, space: &mut Space<'v>) -> Fit<Value<'v>> {
    Ok(match data_type {
        ColumnType::Boolean => Value::Bool(boolean(found, space)?),
        ColumnType::Int => {
            let (number, literal) = number(found, space)?;
            Value::I32(i32::try_from(number.integer(literal)?).map_err(|_| "out of range")?)
        }
        ColumnType::Long => {
            let (number, literal) = number(found, space)?;
            Value::I64(number.integer(literal)?)
        }
        ColumnType::Float => Value::F32(match not_finite(found, space) {
            Some(value) => value as f32,
            None => number(found, space).and_then(|(number, literal)| number.float(literal))?,
        }),
        ColumnType::Double => Value::F64(match not_finite(found, space) {
            Some(value) => value,
            None => number(found, space).and_then(|(number, literal)| number.double(literal))?,
        }),
        ColumnType::Decimal(precision, scale) => {
            let (number, literal) = number(found, space)?;
            Value::I128(number.decimal(literal, u32::from(*precision), u32::from(scale.unsigned_abs()))?)
        }
        ColumnType::TimestampMillis => Value::I64(instant(found, space, 3)?),
        ColumnType::TimestampMicros => Value::I64(instant(found, space, 6)?),
        ColumnType::Date => Value::I32(date(found, space)?),
        ColumnType::String => Value::Str(match &found.kind {
            Kind::Text(text) => content(text, space),
            Kind::Array | Kind::Object => return Err("not a string, number or boolean"),
            Kind::Number(_) | Kind::Bool(_) | Kind::Null => found.raw,
        }),
        ColumnType::Json => Value::Str(found.raw),
        ColumnType::Uuid => Value::Str(uuid(text(found, space)?, space).ok_or("not a UUID")?),
        ColumnType::Bytes => Value::Bytes(base64(text(found, space)?, space).ok_or("not base64")?),
        ColumnType::Array(_) => return Err("an array inside an array"),
    })
}

/// Appends the elements of an array column to `elements`. `found` is not null.
pub(super) fn array<'v>(
    element_type: &ColumnType,
    found: &Found<'v>,
    space: &mut Space<'v>,
    elements: &mut Vec<Value<'v>>,
) -> Result<(), Misfit> {
    let Kind::Array = found.kind else { return Err("not an array".into()) };
    let mut scanner = Scanner::new(found.raw);
    // The array was scanned before, inside its depth: it cannot be malformed now.
    let is_valid = |_| Misfit::from("not an array");
    let mut has_member = scanner.open(b']', 0).map_err(is_valid)?;
    while has_member {
        let element = scanner.value(0).map_err(is_valid)?;
        elements.push(match element.kind {
            Kind::Null => Value::Null,
            _ => scalar(element_type, &element, space)
                .map_err(|why| Misfit { why, element: Some(elements.len()) })?,
        });
        has_member = scanner.more(b']').map_err(is_valid)?;
    }
    Ok(())
}

#[inline]
fn content<'v>(text: &Text<'v>, space: &mut Space<'v>) -> &'v str {
    match text.escaped {
        false => text.content,
        true => unescape(text.content, space),
    }
}

#[inline]
fn text<'v>(found: &Found<'v>, space: &mut Space<'v>) -> Fit<&'v str> {
    match &found.kind {
        Kind::Text(text) => Ok(content(text, space)),
        _ => Err(NOT_TEXT),
    }
}

/// A number, or the number literal that a string holds.
#[inline]
fn number<'v>(found: &Found<'v>, space: &mut Space<'v>) -> Fit<(Number, &'v str)> {
    match &found.kind {
        Kind::Number(number) => Ok((*number, found.raw)),
        Kind::Text(text) => {
            let literal = content(text, space);
            Ok((Number::parse(literal).ok_or(NOT_A_NUMBER)?, literal))
        }
        _ => Err(NOT_A_NUMBER),
    }
}

/// The floats that JSON has no literals for.
#[inline]
fn not_finite<'v>(found: &Found<'v>, space: &mut Space<'v>) -> Option<f64> {
    let Kind::Text(text) = &found.kind else { return None };
    match content(text, space) {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn boolean<'v>(found: &Found<'v>, space: &mut Space<'v>) -> Fit<bool> {
    match &found.kind {
        Kind::Bool(value) => Ok(*value),
        Kind::Text(text) => match content(text, space) {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("not true or false"),
        },
        _ => Err("not true or false"),
    }
}

/// Microseconds since the epoch. `digits` says the column's unit: 3 for milliseconds, 6 for microseconds.
fn instant<'v>(found: &Found<'v>, space: &mut Space<'v>, digits: u32) -> Fit<i64> {
    let units = match &found.kind {
        Kind::Number(number) => number.integer(found.raw)?,
        Kind::Text(text) => {
            let text = content(text, space);
            let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
            if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
                return instant_micros(text.as_bytes(), digits)
                    .ok_or("not an ISO 8601 date and time of the years 0001 to 9999, nor an integer");
            }
            text.parse().map_err(|_| OUT_OF_CALENDAR)?
        }
        _ => return Err("not a date and time, nor an integer"),
    };
    units
        .checked_mul(if digits == 3 { 1000 } else { 1 })
        .filter(|micros| MICROS.contains(micros))
        .ok_or(OUT_OF_CALENDAR)
}

fn date<'v>(found: &Found<'v>, space: &mut Space<'v>) -> Fit<i32> {
    match &found.kind {
        Kind::Number(number) => {
            let days = i32::try_from(number.integer(found.raw)?).map_err(|_| OUT_OF_CALENDAR)?;
            DAYS.contains(&days).then_some(days).ok_or(OUT_OF_CALENDAR)
        }
        Kind::Text(text) => date_days(content(text, space).as_bytes())
            .ok_or("not a day of the years 0001 to 9999 as YYYY-MM-DD"),
        _ => Err("not a YYYY-MM-DD string, nor an integer"),
    }
}
