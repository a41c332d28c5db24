//! Values as PostgreSQL writes them, in both formats, exactly.
//!
//! A column is prepared once per batch, so that only a dozen shapes are left, and written value by value. What PostgreSQL has
//! no value for is an error that names the column's type, never NULL and never a neighbour: dates and instants before 4714 BC,
//! dates after 5874897.
//! Source: PostgreSQL's `src/backend/utils/adt` (`float8out`, `numeric_send`, `array_out`, `timestamp_out`).

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringViewArray, StringViewBuilder};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
};
use bytes::{BufMut, BytesMut};
use pgwire::api::Type;
use uuid::Uuid;

use super::calendar::{self, MICROS_OF_DAY};
use super::numeric;
use super::outgoing::{ROW_BYTES_MAX, TooLong, with_length};
use super::types::{element_of, of_field};
use crate::render::value::{Dialect, encode_value, encoder_of};
use crate::{QueryError, QueryErrorKind};

/// Every value in text, as PostgreSQL writes it.
pub(crate) fn texts_of(field: &Arc<Field>, array: &ArrayRef) -> Result<ArrayRef, QueryError> {
    let values = Values::new(field, array, &of_field(field).base)?;
    let (mut texts, mut text) = (StringViewBuilder::with_capacity(array.len()), BytesMut::new());
    for row in 0..array.len() {
        text.clear();
        match values.is_null(row) {
            true => texts.append_null(),
            false => {
                values.text(row, &mut text)?;
                texts.append_value(std::str::from_utf8(&text).map_err(failed)?);
            }
        }
    }
    Ok(Arc::new(texts.finish()))
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Binary,
}

/// A column of a batch, ready to be written.
#[derive(Debug)]
pub(super) struct Values {
    array: ArrayRef,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    /// Nothing but NULLs.
    Null,
    Bool,
    Int2,
    Int4,
    Int8,
    /// Object identifiers: 32 bits without a sign.
    Oid,
    Float4,
    Float8,
    /// Decimal digits as text.
    Numeric,
    Text,
    /// Text that is a UUID.
    Uuid,
    Bytes,
    Date,
    /// Microseconds since 1970, with `+00` behind them or without.
    Timestamp {
        zoned: bool,
    },
    /// Microseconds of the day.
    Time,
    Interval,
    List {
        elements: Box<Values>,
        element: Type,
    },
}

impl From<TooLong> for QueryError {
    fn from(_: TooLong) -> Self {
        let mib_max = ROW_BYTES_MAX >> 20;
        let message =
            format!("a row is longer than {mib_max} MiB; select fewer columns, or parts of their values");
        QueryError::new(QueryErrorKind::Execution, message)
    }
}

fn failed(error: impl std::fmt::Display) -> QueryError {
    QueryError::new(QueryErrorKind::Execution, format!("the answer cannot be written: {error}"))
}

impl Values {
    /// `array` as values of `wire`, the type that its column was announced with.
    pub(super) fn new(field: &Arc<Field>, array: &ArrayRef, wire: &Type) -> Result<Self, QueryError> {
        let to = |data_type: DataType| match *array.data_type() == data_type {
            true => Ok(Arc::clone(array)),
            false => cast(array, &data_type).map_err(failed),
        };
        let plain = |shape, data_type| Ok(Self { array: to(data_type)?, shape });
        if *array.data_type() == DataType::Null {
            return Ok(Self { array: Arc::clone(array), shape: Shape::Null });
        }
        match *wire {
            Type::BOOL => plain(Shape::Bool, DataType::Boolean),
            Type::INT2 => plain(Shape::Int2, DataType::Int16),
            Type::INT4 => plain(Shape::Int4, DataType::Int32),
            Type::INT8 => Ok(Self { array: whole(array)?, shape: Shape::Int8 }),
            Type::FLOAT4 => plain(Shape::Float4, DataType::Float32),
            Type::FLOAT8 => plain(Shape::Float8, DataType::Float64),
            Type::NUMERIC => plain(Shape::Numeric, DataType::Utf8),
            Type::UUID => plain(Shape::Uuid, DataType::Utf8View),
            Type::BYTEA => plain(Shape::Bytes, DataType::BinaryView),
            Type::DATE => plain(Shape::Date, DataType::Date32),
            Type::TIMESTAMP => Ok(Self { array: micros(array)?, shape: Shape::Timestamp { zoned: false } }),
            Type::TIMESTAMPTZ => Ok(Self { array: micros(array)?, shape: Shape::Timestamp { zoned: true } }),
            Type::TIME => {
                let array = cast(&to(DataType::Time64(TimeUnit::Microsecond))?, &DataType::Int64);
                Ok(Self { array: array.map_err(failed)?, shape: Shape::Time })
            }
            Type::INTERVAL => plain(Shape::Interval, DataType::Interval(IntervalUnit::MonthDayNano)),
            Type::JSON if !is_text(array.data_type()) => {
                Ok(Self { array: json_of(field, array)?, shape: Shape::Text })
            }
            _ => match element_of(wire) {
                Some(element) => Self::list(array, element),
                None if *array.data_type() == DataType::Int32 => {
                    Ok(Self { array: Arc::clone(array), shape: Shape::Oid })
                }
                None => plain(Shape::Text, DataType::Utf8View),
            },
        }
    }

    fn list(array: &ArrayRef, element: Type) -> Result<Self, QueryError> {
        let inner = crate::render::types::list_element(array.data_type());
        let inner = inner.ok_or_else(|| failed(format!("{} is no list", array.data_type())))?;
        let field = Arc::new(Field::new_list_field(inner.clone(), true));
        let array = cast(array, &DataType::List(Arc::clone(&field))).map_err(failed)?;
        let elements = Self::new(&field, array.as_list::<i32>().values(), &element)?;
        Ok(Self { array, shape: Shape::List { elements: Box::new(elements), element } })
    }

    fn is_null(&self, row: usize) -> bool {
        matches!(self.shape, Shape::Null) || self.array.is_null(row)
    }

    /// Appends the value at `row` with its length before it, or the mark of NULL.
    pub(super) fn write(&self, row: usize, format: Format, out: &mut BytesMut) -> Result<(), QueryError> {
        if self.is_null(row) {
            out.put_i32(-1);
            return Ok(());
        }
        with_length(out, |out| match format {
            Format::Text => self.text(row, out),
            Format::Binary => self.binary(row, out),
        })
    }

    fn text(&self, row: usize, out: &mut BytesMut) -> Result<(), QueryError> {
        let array = &self.array;
        match &self.shape {
            Shape::Null => Ok(()),
            Shape::Bool => put(out, if array.as_boolean().value(row) { "t" } else { "f" }),
            Shape::Int2 => print(out, array.as_primitive::<Int16Type>().value(row)),
            Shape::Int4 => print(out, array.as_primitive::<Int32Type>().value(row)),
            Shape::Int8 => print(out, array.as_primitive::<Int64Type>().value(row)),
            Shape::Oid => print(out, array.as_primitive::<Int32Type>().value(row).cast_unsigned()),
            Shape::Float4 => {
                let value = array.as_primitive::<Float32Type>().value(row);
                put(out, &float_text(f64::from(value), &format!("{value:e}"), 6))
            }
            Shape::Float8 => {
                let value = array.as_primitive::<Float64Type>().value(row);
                put(out, &float_text(value, &format!("{value:e}"), 15))
            }
            Shape::Numeric => put(out, array.as_string::<i32>().value(row)),
            Shape::Text | Shape::Uuid => put(out, array.as_string_view().value(row)),
            Shape::Bytes => {
                put(out, "\\x")?;
                array
                    .as_binary_view()
                    .value(row)
                    .iter()
                    .try_for_each(|byte| write!(out, "{byte:02x}").map_err(failed))
            }
            Shape::Date => {
                let days = i64::from(array.as_primitive::<Date32Type>().value(row));
                put(out, &calendar::date_text(days).ok_or_else(|| beyond("date"))?)
            }
            Shape::Timestamp { zoned } => {
                let micros = array.as_primitive::<Int64Type>().value(row);
                let zone = if *zoned { "+00" } else { "" };
                put(out, &calendar::timestamp_text(micros, zone).ok_or_else(|| beyond("timestamp"))?)
            }
            Shape::Time => put(out, &calendar::time_text(array.as_primitive::<Int64Type>().value(row))),
            Shape::Interval => {
                let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
                put(out, &calendar::interval_text(value.months, value.days, value.nanoseconds))
            }
            Shape::List { elements, .. } => list_text(array.as_list(), elements, row, out),
        }
    }

    fn binary(&self, row: usize, out: &mut BytesMut) -> Result<(), QueryError> {
        let array = &self.array;
        match &self.shape {
            Shape::Null => {}
            Shape::Bool => out.put_u8(array.as_boolean().value(row).into()),
            Shape::Int2 => out.put_i16(array.as_primitive::<Int16Type>().value(row)),
            Shape::Int4 | Shape::Oid => out.put_i32(array.as_primitive::<Int32Type>().value(row)),
            Shape::Int8 => out.put_i64(array.as_primitive::<Int64Type>().value(row)),
            Shape::Float4 => out.put_f32(array.as_primitive::<Float32Type>().value(row)),
            Shape::Float8 => out.put_f64(array.as_primitive::<Float64Type>().value(row)),
            Shape::Numeric => numeric::write(array.as_string::<i32>().value(row), out).map_err(failed)?,
            Shape::Text => out.put_slice(array.as_string_view().value(row).as_bytes()),
            Shape::Uuid => {
                let text = array.as_string_view().value(row);
                out.put_slice(Uuid::parse_str(text).map_err(failed)?.as_bytes());
            }
            Shape::Bytes => out.put_slice(array.as_binary_view().value(row)),
            Shape::Date => {
                let days = i64::from(array.as_primitive::<Date32Type>().value(row));
                out.put_i32(calendar::date_binary(days).ok_or_else(|| beyond("date"))?);
            }
            Shape::Timestamp { .. } => {
                let micros = array.as_primitive::<Int64Type>().value(row);
                out.put_i64(calendar::timestamp_binary(micros).ok_or_else(|| beyond("timestamp"))?);
            }
            Shape::Time => {
                out.put_i64(array.as_primitive::<Int64Type>().value(row).rem_euclid(MICROS_OF_DAY))
            }
            Shape::Interval => {
                let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
                out.put_i64(value.nanoseconds.div_euclid(1000));
                out.put_i32(value.days);
                out.put_i32(value.months);
            }
            Shape::List { elements, element } => list_binary(array.as_list(), elements, element, row, out)?,
        }
        Ok(())
    }
}

fn put(out: &mut BytesMut, text: &str) -> Result<(), QueryError> {
    out.put_slice(text.as_bytes());
    Ok(())
}

fn print(out: &mut BytesMut, value: impl std::fmt::Display) -> Result<(), QueryError> {
    write!(out, "{value}").map_err(failed)
}

fn beyond(name: &str) -> QueryError {
    QueryError::new(
        QueryErrorKind::Execution,
        format!(
            "{name} out of range: PostgreSQL's protocol has no such {name}; select it as text, with CAST(… AS VARCHAR)"
        ),
    )
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// Whole numbers of 64 bits with a sign; what has none must not become NULL if it is too large.
fn whole(array: &ArrayRef) -> Result<ArrayRef, QueryError> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, &DataType::Int64, &strict).map_err(failed)
}

/// Instants as microseconds; what is finer is cut towards the past, as ours is everywhere.
fn micros(array: &ArrayRef) -> Result<ArrayRef, QueryError> {
    let DataType::Timestamp(unit, _) = array.data_type() else {
        return cast(array, &DataType::Int64).map_err(failed);
    };
    let raw = cast(array, &DataType::Int64).map_err(failed)?;
    let raw = raw.as_primitive::<Int64Type>();
    let scaled = match unit {
        TimeUnit::Microsecond => return Ok(Arc::new(raw.clone())),
        TimeUnit::Nanosecond => return Ok(Arc::new(raw.unary::<_, Int64Type>(|ns| ns.div_euclid(1000)))),
        TimeUnit::Millisecond => {
            raw.try_unary::<_, Int64Type, _>(|ms| ms.checked_mul(1000).ok_or_else(|| beyond("timestamp")))
        }
        TimeUnit::Second => {
            raw.try_unary::<_, Int64Type, _>(|s| s.checked_mul(1_000_000).ok_or_else(|| beyond("timestamp")))
        }
    };
    Ok(Arc::new(scaled?))
}

/// Compound values as the text of their JSON.
fn json_of(field: &Arc<Field>, array: &ArrayRef) -> Result<ArrayRef, QueryError> {
    let mut encoder = encoder_of(field, array.as_ref(), Dialect::Headwater).map_err(failed)?;
    let mut texts = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        let mut text = Vec::new();
        encode_value(&mut encoder, row, &mut text);
        let text = String::from_utf8(text).map_err(failed)?;
        texts.push(Some(text).filter(|text| text != "null"));
    }
    Ok(Arc::new(StringViewArray::from_iter(texts)))
}

/// `float8out`: the shortest digits that read back the same; an exponent below 1e-4 and from so many digits on.
fn float_text(value: f64, shortest: &str, digits_max: i32) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    let Some((digits, exponent)) = shortest.split_once('e') else { return shortest.to_owned() };
    let Ok(exponent) = exponent.parse::<i32>() else { return shortest.to_owned() };
    if exponent < -4 || exponent >= digits_max {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let plain: String = digits.chars().filter(|digit| *digit != '.').collect();
    match usize::try_from(exponent) {
        Err(_) => format!("{sign}0.{}{plain}", "0".repeat(exponent.unsigned_abs() as usize - 1)),
        Ok(whole) if whole + 1 >= plain.len() => {
            format!("{sign}{plain}{}", "0".repeat(whole + 1 - plain.len()))
        }
        Ok(whole) => format!("{sign}{}.{}", &plain[..=whole], &plain[whole + 1..]),
    }
}

fn elements_at(list: &ListArray, row: usize) -> std::ops::Range<usize> {
    let offsets = list.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

/// `array_out`: `{1,NULL,"a b"}`.
fn list_text(list: &ListArray, elements: &Values, row: usize, out: &mut BytesMut) -> Result<(), QueryError> {
    out.put_u8(b'{');
    let range = elements_at(list, row);
    let mut text = BytesMut::new();
    for element in range.clone() {
        if element > range.start {
            out.put_u8(b',');
        }
        if elements.is_null(element) {
            put(out, "NULL")?;
            continue;
        }
        text.clear();
        elements.text(element, &mut text)?;
        if needs_quotes(&text) {
            out.put_u8(b'"');
            for byte in &text {
                if matches!(byte, b'"' | b'\\') {
                    out.put_u8(b'\\');
                }
                out.put_u8(*byte);
            }
            out.put_u8(b'"');
        } else {
            out.put_slice(&text);
        }
    }
    out.put_u8(b'}');
    Ok(())
}

fn needs_quotes(text: &[u8]) -> bool {
    let is_special = |byte: &u8| {
        matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',') || byte.is_ascii_whitespace() || *byte == 0x0b
    };
    text.is_empty() || text.eq_ignore_ascii_case(b"null") || text.iter().any(is_special)
}

/// `array_send`: one dimension, counted from 1.
fn list_binary(
    list: &ListArray,
    elements: &Values,
    element: &Type,
    row: usize,
    out: &mut BytesMut,
) -> Result<(), QueryError> {
    let range = elements_at(list, row);
    let has_nulls = range.clone().any(|element| elements.is_null(element));
    out.put_i32(i32::from(!range.is_empty()));
    out.put_i32(has_nulls.into());
    out.put_u32(element.oid());
    if !range.is_empty() {
        out.put_i32(i32::try_from(range.len()).map_err(failed)?);
        out.put_i32(1);
    }
    range.into_iter().try_for_each(|at| elements.write(at, Format::Binary, out))
}

#[cfg(test)]
mod tests;
