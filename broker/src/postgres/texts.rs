//! Values as PostgreSQL's clients write them in text: `on`, `{1,NULL,"a b"}`, `\x00ff`, `2026-01-02 10:00+02`.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use pgwire::api::Type;
use uuid::Uuid;

use super::calendar::{self, Moment};
use super::numeric;
use super::types::{element_of, of_data_type, of_parameter};
use crate::render::types::list_element;

/// How the reason begins for which a text is no value of its type.
pub(super) const INVALID_SYNTAX: &str = "invalid input syntax for type ";

/// A text that has no type of its own, as a value for a place that wants `data_type`.
///
/// It is of that type, unless that type cannot hold it exactly: what lies between the milliseconds of a column must not be
/// taken for one of them. Then it is of the next type that can, and the plan compares the two.
pub(crate) fn read_untyped(text: &str, data_type: &DataType) -> Result<ScalarValue, String> {
    let base = of_data_type(data_type);
    if list_element(data_type).is_some() && element_of(&base).is_none() {
        return Err(format!("a value of type {data_type} cannot be read from text"));
    }
    let value = of_text(text, &base)?;
    let is_exact = |cast: &ScalarValue| cast.cast_to(&value.data_type()).is_ok_and(|back| back == value);
    let exact = value.cast_to(data_type).ok().filter(is_exact);
    Ok(exact.unwrap_or(value))
}

/// A text as a value of the type, as PostgreSQL reads it.
pub(super) fn of_text(text: &str, base: &Type) -> Result<ScalarValue, String> {
    let wrong = || {
        let start: String = text.chars().take(100).collect();
        format!("{INVALID_SYNTAX}{}: \"{start}\"", base.name())
    };
    if let Some(element) = element_of(base) {
        let items = array_items(text).ok_or_else(wrong)?;
        let items = items.into_iter().map(|item| match item {
            Some(item) => of_text(&item, &element),
            None => null_of(&element),
        });
        return list_of(items.collect::<Result<_, _>>()?, &element);
    }
    let trimmed = text.trim();
    Ok(match *base {
        Type::BOOL => ScalarValue::Boolean(Some(boolean(trimmed).ok_or_else(wrong)?)),
        Type::INT2 => ScalarValue::Int16(Some(trimmed.parse().map_err(|_| wrong())?)),
        Type::INT4 => ScalarValue::Int32(Some(trimmed.parse().map_err(|_| wrong())?)),
        Type::INT8 | Type::OID => ScalarValue::Int64(Some(trimmed.parse().map_err(|_| wrong())?)),
        // Rust reads `inf`, `Infinity` and `NaN` in any case, as PostgreSQL does.
        Type::FLOAT4 => ScalarValue::Float32(Some(trimmed.parse().map_err(|_| wrong())?)),
        Type::FLOAT8 => ScalarValue::Float64(Some(trimmed.parse().map_err(|_| wrong())?)),
        Type::NUMERIC => decimal(numeric::parse(trimmed).map_err(|_| wrong())?),
        Type::UUID => ScalarValue::Utf8View(Some(Uuid::parse_str(trimmed).map_err(|_| wrong())?.to_string())),
        Type::BYTEA => ScalarValue::BinaryView(Some(bytea(text).ok_or_else(wrong)?)),
        Type::DATE | Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::TIME | Type::INTERVAL => {
            moment(trimmed, base).or_else(|| foreign(trimmed, base)).ok_or_else(wrong)?
        }
        _ => ScalarValue::Utf8View(Some(text.to_owned())),
    })
}

/// Dates and times in the forms that PostgreSQL writes, and its clients with it. A date has no use for a time, nor what is without
/// a zone for a zone: PostgreSQL overlooks them, and Java's driver sends `2026-01-02 +00` for a date.
fn moment(text: &str, base: &Type) -> Option<ScalarValue> {
    Some(match *base {
        Type::DATE => ScalarValue::Date32(Some(Moment::read(text)?.date()?)),
        Type::TIMESTAMP => ScalarValue::TimestampMicrosecond(Some(Moment::read(text)?.local()?), None),
        Type::TIMESTAMPTZ => {
            ScalarValue::TimestampMicrosecond(Some(Moment::read(text)?.instant()?), Some("UTC".into()))
        }
        Type::TIME => ScalarValue::Time64Microsecond(Some(calendar::read_time(text)?)),
        _ => return None,
    })
}

/// The other forms that Arrow knows, such as zones with a name.
fn foreign(text: &str, base: &Type) -> Option<ScalarValue> {
    let data_type = of_parameter(base.oid()).ok().flatten()?;
    ScalarValue::Utf8(Some(text.to_owned())).cast_to(&data_type).ok().filter(|value| !value.is_null())
}

pub(super) fn decimal((digits, scale): (i128, u8)) -> ScalarValue {
    let precision = digits.unsigned_abs().checked_ilog10().unwrap_or(0) as u8 + 1;
    // At most 38 digits, so at most 38 of them behind the point.
    ScalarValue::Decimal128(Some(digits), precision.max(scale).clamp(1, 38), scale.cast_signed())
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// `\x0aff`, or text with `\\` and `\012`.
fn bytea(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8, radix| char::from(byte).to_digit(radix).map(|digit| digit as u8);
    if let Some(digits) = text.strip_prefix("\\x") {
        let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let (pairs, []) = digits.as_chunks::<2>() else { return None };
        return pairs.iter().map(|[high, low]| Some(digit(*high, 16)? << 4 | digit(*low, 16)?)).collect();
    }
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, behind @ ..] = rest {
        match (first, behind) {
            (b'\\', [b'\\', behind @ ..]) => {
                bytes.push(b'\\');
                rest = behind;
            }
            (b'\\', [a @ b'0'..=b'3', b, c, behind @ ..]) => {
                bytes.push(digit(*a, 8)? << 6 | digit(*b, 8)? << 3 | digit(*c, 8)?);
                rest = behind;
            }
            (b'\\', _) => return None,
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    Some(bytes)
}

/// NULL of the type.
pub(super) fn null_of(element: &Type) -> Result<ScalarValue, String> {
    let data_type = of_parameter(element.oid()).ok().flatten().unwrap_or(DataType::Utf8View);
    ScalarValue::try_from(&data_type).map_err(|error| error.to_string())
}

/// A list of values of one type. Decimals take the most digits that any of them has.
pub(super) fn list_of(items: Vec<ScalarValue>, element: &Type) -> Result<ScalarValue, String> {
    let declared = of_parameter(element.oid()).ok().flatten().unwrap_or(DataType::Utf8View);
    let scale = |item: &ScalarValue| match item {
        ScalarValue::Decimal128(Some(_), _, scale) => Some(*scale),
        _ => None,
    };
    let data_type = match items.iter().filter_map(scale).max() {
        Some(scale) => DataType::Decimal128(38, scale),
        None => declared,
    };
    let items: Result<Vec<_>, _> = items.iter().map(|item| item.cast_to(&data_type)).collect();
    let items = items.map_err(|error| error.to_string())?;
    Ok(ScalarValue::List(ScalarValue::new_list_nullable(&items, &data_type)))
}

/// The items of an array of one dimension in text: `{1,NULL,"a b"}`.
pub(crate) fn array_items(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let (mut items, mut rest) = (Vec::new(), inner.trim().chars().peekable());
    if rest.peek().is_none() {
        return Some(items);
    }
    loop {
        let (mut item, mut is_quoted) = (String::new(), false);
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        if rest.next_if_eq(&'"').is_some() {
            is_quoted = true;
            loop {
                match rest.next()? {
                    '"' => break,
                    '\\' => item.push(rest.next()?),
                    other => item.push(other),
                }
            }
            while rest.next_if(|c| c.is_whitespace()).is_some() {}
        } else {
            while let Some(next) = rest.next_if(|c| *c != ',') {
                match next {
                    '{' | '}' | '"' => return None,
                    '\\' => item.push(rest.next()?),
                    other => item.push(other),
                }
            }
            item.truncate(item.trim_end().len());
        }
        let is_null = !is_quoted && item.eq_ignore_ascii_case("null");
        if item.is_empty() && !is_quoted {
            return None;
        }
        items.push(Some(item).filter(|_| !is_null));
        match rest.next() {
            None => return Some(items),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, TimeUnit};

    use super::*;

    #[test]
    fn texts_take_the_type_of_their_place() {
        let utc = |unit| DataType::Timestamp(unit, Some("UTC".into()));
        let millis = |value| ScalarValue::TimestampMillisecond(Some(value), Some("UTC".into()));
        let midnight = 1_767_312_000_000_i64;
        let cases = [
            (" 7 ", DataType::Int32, ScalarValue::Int32(Some(7))),
            ("on", DataType::Boolean, ScalarValue::Boolean(Some(true))),
            ("12.50", DataType::Decimal128(10, 2), ScalarValue::Decimal128(Some(1250), 10, 2)),
            ("18446744073709551615", DataType::UInt64, ScalarValue::UInt64(Some(u64::MAX))),
            ("it's", DataType::Utf8, ScalarValue::Utf8(Some("it's".into()))),
            ("\\x00ff", DataType::Binary, ScalarValue::Binary(Some(vec![0, 255]))),
            ("2026-01-02 +00", DataType::Date32, ScalarValue::Date32(Some(20_455))),
            ("2026-01-02 10:00", DataType::Date32, ScalarValue::Date32(Some(20_455))),
            ("2026-01-02", utc(TimeUnit::Millisecond), millis(midnight)),
            ("2026-01-02 10:00", utc(TimeUnit::Millisecond), millis(midnight + 36_000_000)),
            ("2026-01-02 10:00:00.25+02", utc(TimeUnit::Millisecond), millis(midnight + 28_800_250)),
            // What a column cannot hold equals nothing in it.
            (
                "2026-01-02 00:00:00.000001",
                utc(TimeUnit::Millisecond),
                ScalarValue::TimestampMicrosecond(Some(midnight * 1000 + 1), Some("UTC".into())),
            ),
            ("0.125", DataType::Decimal128(10, 2), ScalarValue::Decimal128(Some(125), 3, 3)),
        ];
        for (text, data_type, expected) in cases {
            assert_eq!(read_untyped(text, &data_type).unwrap(), expected, "{text} as {data_type}");
        }
    }

    #[test]
    fn lists_are_read_from_their_text() {
        let list = |element: DataType| DataType::List(Arc::new(Field::new_list_field(element, true)));
        let texts =
            [Some("Berlin"), None, Some("New York")].map(|text| ScalarValue::Utf8(text.map(Into::into)));
        let expected = ScalarValue::List(ScalarValue::new_list_nullable(&texts, &DataType::Utf8));
        assert_eq!(read_untyped("{Berlin,NULL,\"New York\"}", &list(DataType::Utf8)).unwrap(), expected);
        let numbers = read_untyped("{1,2}", &list(DataType::Int32)).unwrap();
        assert_eq!(numbers.data_type(), list(DataType::Int32));
        for (text, data_type) in [
            ("Berlin", list(DataType::Utf8)),
            ("{1,x}", list(DataType::Int64)),
            ("{{1}}", list(list(DataType::Int64))),
        ] {
            assert!(read_untyped(text, &data_type).is_err(), "{text} as {data_type}");
        }
    }

    #[test]
    fn what_is_no_value_says_so() {
        for (text, data_type) in [
            ("x", DataType::Int64),
            ("soon", DataType::Date32),
            ("2026-02-30", DataType::Date32),
            ("2026-01-02 25:00", DataType::Timestamp(TimeUnit::Second, None)),
            ("", DataType::Float64),
        ] {
            let reason = read_untyped(text, &data_type).unwrap_err();
            assert!(reason.starts_with(INVALID_SYNTAX), "{reason}");
        }
    }
}
