//! Values that a client binds to a statement's parameters, in either format.

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::common::ScalarValue;
use pgwire::api::Type;
use uuid::Uuid;

use super::errors::{Failure, INVALID_TEXT, NOT_SUPPORTED, PROTOCOL_VIOLATION};
use super::numeric;
use super::texts::{decimal, list_of, null_of, of_text};
use super::types::{element_of, of_parameter};
use super::values::Format;
use crate::request::Argument;

/// SQLSTATE: bytes that are no value of their type.
const INVALID_BINARY: &str = "22P03";
/// Days from 1970-01-01 to 2000-01-01, from which the binary format counts.
const DAYS_TO_2000: i32 = 10_957;
const MICROS_TO_2000: i64 = DAYS_TO_2000 as i64 * 86_400_000_000;

/// The format of the `index`th of several values: none is given (text), one for all, or one for each.
pub(super) fn format_of(formats: &[u16], index: usize) -> Result<Format, Failure> {
    let code = match formats {
        [] => 0,
        [all] => *all,
        each => *each
            .get(index)
            .ok_or_else(|| Failure::new(PROTOCOL_VIOLATION, "there are fewer formats than values"))?,
    };
    match code {
        0 => Ok(Format::Text),
        1 => Ok(Format::Binary),
        other => Err(Failure::new(PROTOCOL_VIOLATION, format!("there is no format {other}"))),
    }
}

/// A bound value. `declared` is the type that the client gave the parameter, 0 for none; `inferred` is asked for only where a
/// value cannot be read without.
pub(super) fn read(
    index: usize,
    declared: u32,
    inferred: Option<&Type>,
    format: Format,
    bytes: Option<&[u8]>,
) -> Result<Argument, Failure> {
    let named = |code, reason: String| Failure::new(code, format!("parameter ${}: {reason}", index + 1));
    let data_type = of_parameter(declared)
        .map_err(|oid| named(NOT_SUPPORTED, format!("values of type {oid} are not supported")))?;
    let Some(bytes) = bytes else {
        let value = match &data_type {
            Some(data_type) => ScalarValue::try_from(data_type).unwrap_or(ScalarValue::Null),
            None => ScalarValue::Utf8View(None),
        };
        return Ok(Argument { value, is_untyped: data_type.is_none() });
    };
    let base = match (&data_type, inferred) {
        (Some(_), _) => Type::from_oid(declared),
        (None, Some(inferred)) => Some(inferred.clone()).filter(|_| format == Format::Binary),
        (None, None) => None,
    };
    let value = match (format, &base) {
        (Format::Text, None) => {
            let value = Some(utf8(bytes).map_err(|reason| named(INVALID_TEXT, reason))?.to_owned());
            return Ok(Argument { value: ScalarValue::Utf8View(value), is_untyped: true });
        }
        (Format::Text, Some(base)) => {
            utf8(bytes).and_then(|text| of_text(text, base)).map_err(|reason| named(INVALID_TEXT, reason))?
        }
        (Format::Binary, Some(base)) => {
            of_binary(bytes, base).map_err(|reason| named(INVALID_BINARY, reason))?
        }
        (Format::Binary, None) => {
            return Err(named(PROTOCOL_VIOLATION, "a binary value without a type".into()));
        }
    };
    Ok(Argument { value, is_untyped: false })
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "invalid byte sequence for encoding \"UTF8\"".to_owned())
}

fn of_binary(bytes: &[u8], base: &Type) -> Result<ScalarValue, String> {
    let wrong = || format!("incorrect binary data format for type {}", base.name());
    if let Some(element) = element_of(base) {
        let items = binary_items(bytes).ok_or_else(wrong)?;
        let items = items.into_iter().map(|item| match item {
            Some(item) => of_binary(item, &element),
            None => null_of(&element),
        });
        return list_of(items.collect::<Result<_, _>>()?, &element);
    }
    Ok(match *base {
        Type::BOOL => match bytes {
            [value] => ScalarValue::Boolean(Some(*value != 0)),
            _ => return Err(wrong()),
        },
        Type::INT2 => ScalarValue::Int16(Some(i16::from_be_bytes(fixed(bytes).ok_or_else(wrong)?))),
        Type::INT4 => ScalarValue::Int32(Some(i32::from_be_bytes(fixed(bytes).ok_or_else(wrong)?))),
        Type::INT8 => ScalarValue::Int64(Some(i64::from_be_bytes(fixed(bytes).ok_or_else(wrong)?))),
        Type::OID => ScalarValue::Int64(Some(u32::from_be_bytes(fixed(bytes).ok_or_else(wrong)?).into())),
        Type::FLOAT4 => ScalarValue::Float32(Some(f32::from_be_bytes(fixed(bytes).ok_or_else(wrong)?))),
        Type::FLOAT8 => ScalarValue::Float64(Some(f64::from_be_bytes(fixed(bytes).ok_or_else(wrong)?))),
        Type::NUMERIC => decimal(numeric::read(bytes).map_err(|error| error.to_string())?),
        Type::UUID => {
            ScalarValue::Utf8View(Some(Uuid::from_bytes(fixed(bytes).ok_or_else(wrong)?).to_string()))
        }
        Type::BYTEA => ScalarValue::BinaryView(Some(bytes.to_vec())),
        Type::DATE => ScalarValue::Date32(Some(date(bytes).ok_or_else(wrong)?)),
        Type::TIMESTAMP => ScalarValue::TimestampMicrosecond(Some(instant(bytes).ok_or_else(wrong)?), None),
        Type::TIMESTAMPTZ => {
            ScalarValue::TimestampMicrosecond(Some(instant(bytes).ok_or_else(wrong)?), Some("UTC".into()))
        }
        Type::TIME => {
            ScalarValue::Time64Microsecond(Some(i64::from_be_bytes(fixed(bytes).ok_or_else(wrong)?)))
        }
        Type::INTERVAL => {
            let bytes: [u8; 16] = fixed(bytes).ok_or_else(wrong)?;
            let value = i128::from_be_bytes(bytes);
            let nanos = ((value >> 64) as i64).checked_mul(1000).ok_or_else(wrong)?;
            let value = IntervalMonthDayNano::new(value as i32, (value >> 32) as i32, nanos);
            ScalarValue::IntervalMonthDayNano(Some(value))
        }
        // A version stands before the text.
        Type::JSONB => match bytes {
            [1, text @ ..] => ScalarValue::Utf8View(Some(utf8(text)?.to_owned())),
            _ => return Err(wrong()),
        },
        _ => ScalarValue::Utf8View(Some(utf8(bytes)?.to_owned())),
    })
}

fn fixed<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

/// Days since 1970. The two infinities have no place.
fn date(bytes: &[u8]) -> Option<i32> {
    let days = i32::from_be_bytes(fixed(bytes)?);
    days.checked_add(DAYS_TO_2000).filter(|_| days != i32::MIN)
}

/// Microseconds since 1970. The two infinities have no place.
fn instant(bytes: &[u8]) -> Option<i64> {
    let micros = i64::from_be_bytes(fixed(bytes)?);
    micros.checked_add(MICROS_TO_2000).filter(|_| micros != i64::MIN)
}

/// The items of an array of one dimension in binary.
fn binary_items(bytes: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    let (head, rest) = bytes.split_first_chunk::<12>()?;
    let dimensions = i32::from_be_bytes(*head.first_chunk()?);
    if dimensions == 0 {
        return Some(Vec::new());
    }
    let (size, mut rest) = rest.split_first_chunk::<8>()?;
    let count = usize::try_from(i32::from_be_bytes(*size.first_chunk()?)).ok()?;
    let mut items = Vec::new();
    for _ in 0..count {
        let (length, behind) = rest.split_first_chunk()?;
        let length = i32::from_be_bytes(*length);
        let (item, behind) = match usize::try_from(length) {
            Ok(length) => behind.split_at_checked(length).map(|(item, behind)| (Some(item), behind))?,
            Err(_) => (None, behind),
        };
        items.push(item);
        rest = behind;
    }
    (dimensions == 1 && rest.is_empty()).then_some(items)
}

/// The number of the type `unknown`, which leaves it to us as 0 does.
const UNKNOWN: u32 = 705;

/// Whether a client leaves the type of a parameter to us with this number.
pub(super) fn is_open(declared: u32) -> bool {
    matches!(declared, 0 | UNKNOWN)
}

/// The number of the type of a described parameter.
pub(super) fn oid_of(declared: u32, described: &Type) -> u32 {
    match is_open(declared) {
        true => described.oid(),
        false => declared,
    }
}

#[cfg(test)]
mod tests;
