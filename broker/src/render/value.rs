//! One value as JSON text, exactly.
//!
//! Arrow's own JSON encoders do the plain types; the factory here replaces those that would lose something: NaN and the
//! infinities (text, not null), bytes (base64), NULLs inside dictionaries, maps with keys that are not text, unions, and
//! times (whose range errors must not break the JSON). Pinot's clients get their own spelling of whole decimals, instants and
//! dates, bytes (lower-case hexadecimal) and compound values (the text of their JSON).

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayAccessor, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, FieldRef, Float16Type, Float32Type, Float64Type,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow::error::ArrowError;
use arrow::json::writer::{NullableEncoder, make_encoder};
use arrow::json::{Encoder, EncoderFactory, EncoderOptions};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;

use super::types::{is_big_decimal, is_compound, list_element};
use super::{nested, write_json};

/// Whose spelling of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Ours.
    Headwater,
    /// The one that Pinot's clients parse.
    Pinot,
}

static HEADWATER: LazyLock<EncoderOptions> = LazyLock::new(|| encoder_options(Dialect::Headwater));
static PINOT: LazyLock<EncoderOptions> = LazyLock::new(|| encoder_options(Dialect::Pinot));

fn encoder_options(dialect: Dialect) -> EncoderOptions {
    EncoderOptions::default().with_explicit_nulls(true).with_encoder_factory(Arc::new(ExactValues(dialect)))
}

/// An encoder of the values of `array`.
pub(crate) fn encoder_of<'a>(
    field: &'a FieldRef,
    array: &'a dyn Array,
    dialect: Dialect,
) -> Result<NullableEncoder<'a>, ArrowError> {
    let options = match dialect {
        Dialect::Headwater => &*HEADWATER,
        Dialect::Pinot => &*PINOT,
    };
    make_encoder(field, array, options)
}

/// Appends the value at `row`, or `null`.
pub(crate) fn encode_value(encoder: &mut NullableEncoder<'_>, row: usize, out: &mut Vec<u8>) {
    if encoder.is_null(row) {
        out.extend_from_slice(b"null");
    } else {
        encoder.encode(row, out);
    }
}

/// The encoders of a batch's columns.
pub(crate) struct RowEncoder<'a> {
    columns: Vec<NullableEncoder<'a>>,
    /// What stands for NULL in each column of a row as an array; `null` where it says nothing.
    placeholders: &'a [&'static str],
}

impl<'a> RowEncoder<'a> {
    /// Encoders for every column of `batch`.
    pub(crate) fn new(batch: &'a RecordBatch, dialect: Dialect) -> Result<Self, ArrowError> {
        let fields = batch.schema_ref().fields().iter();
        let columns = fields
            .zip(batch.columns())
            .map(|(field, array)| encoder_of(field, array.as_ref(), dialect))
            .collect::<Result<_, _>>()?;
        Ok(Self { columns, placeholders: &[] })
    }

    /// The same, with other values in the place of NULL: one of JSON for each column.
    pub(crate) fn with_placeholders(self, placeholders: &'a [&'static str]) -> Self {
        Self { placeholders, ..self }
    }

    /// Appends a row as a JSON array.
    pub(crate) fn array(&mut self, row: usize, out: &mut Vec<u8>) {
        out.push(b'[');
        for (index, column) in self.columns.iter_mut().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            match self.placeholders.get(index) {
                Some(placeholder) if column.is_null(row) => out.extend_from_slice(placeholder.as_bytes()),
                _ => encode_value(column, row, out),
            }
        }
        out.push(b']');
    }

    /// Appends a row as a JSON object; `keys` are the encoded names, one per column.
    pub(crate) fn object(&mut self, row: usize, keys: &[Vec<u8>], out: &mut Vec<u8>) {
        out.push(b'{');
        for (index, (column, key)) in self.columns.iter_mut().zip(keys).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(key);
            out.push(b':');
            encode_value(column, row, out);
        }
        out.push(b'}');
    }
}

#[derive(Debug)]
struct ExactValues(Dialect);

impl EncoderFactory for ExactValues {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        if self.0 == Dialect::Pinot
            && let Some(encoder) = pinot_encoder(field, array)?
        {
            return Ok(Some(NullableEncoder::new(encoder, array.logical_nulls())));
        }
        let encoder: Box<dyn Encoder + 'a> = match array.data_type() {
            DataType::Float16 => {
                Box::new(Floats(array.as_primitive::<Float16Type>(), |value| value.to_f32()))
            }
            DataType::Float32 => Box::new(Floats(array.as_primitive::<Float32Type>(), |value| value)),
            DataType::Float64 => Box::new(Floats(array.as_primitive::<Float64Type>(), |value| value)),
            DataType::Binary => Box::new(Base64(array.as_binary::<i32>())),
            DataType::LargeBinary => Box::new(Base64(array.as_binary::<i64>())),
            DataType::BinaryView => Box::new(Base64(array.as_binary_view())),
            DataType::FixedSizeBinary(_) => Box::new(Base64(array.as_fixed_size_binary())),
            DataType::Dictionary(_, _) => Box::new(nested::Dictionary::new(field, array, options)?),
            DataType::Map(_, _) => Box::new(nested::Map::new(field, array.as_map(), options)?),
            DataType::Union(_, _) => Box::new(nested::Union::new(field, array.as_union(), options)?),
            temporal if temporal.is_temporal() => Box::new(Text::new(array)?),
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, array.logical_nulls())))
    }
}

/// The types that Pinot's clients read differently.
fn pinot_encoder<'a>(
    field: &'a FieldRef,
    array: &'a dyn Array,
) -> Result<Option<Box<dyn Encoder + 'a>>, ArrowError> {
    Ok(Some(match array.data_type() {
        DataType::Decimal128(_, _) if is_big_decimal(field) => Box::new(Text::new(array)?),
        DataType::Date32 => {
            Box::new(PinotTimes(array.as_primitive::<Date32Type>(), |days| days.checked_mul(86_400_000_000)))
        }
        DataType::Date64 => {
            Box::new(PinotTimes(array.as_primitive::<Date64Type>(), |ms| ms.checked_mul(1000)))
        }
        DataType::Timestamp(TimeUnit::Second, _) => {
            Box::new(PinotTimes(array.as_primitive::<TimestampSecondType>(), |s| s.checked_mul(1_000_000)))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            Box::new(PinotTimes(array.as_primitive::<TimestampMillisecondType>(), |ms| ms.checked_mul(1000)))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Box::new(PinotTimes(array.as_primitive::<TimestampMicrosecondType>(), Some))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            Box::new(PinotTimes(array.as_primitive::<TimestampNanosecondType>(), |ns| {
                Some(ns.div_euclid(1000))
            }))
        }
        DataType::Struct(_) | DataType::Map(_, _) | DataType::Union(_, _) => {
            Box::new(nested::JsonText::new(encoder_of(field, array, Dialect::Headwater)?))
        }
        list if list_element(list).is_some_and(is_compound) => {
            Box::new(nested::JsonText::new(encoder_of(field, array, Dialect::Headwater)?))
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            Box::new(Hex::new(array)?)
        }
        _ => return Ok(None),
    }))
}

/// Floats: the shortest text that reads back to the same value; NaN and the infinities as text.
struct Floats<'a, T: ArrowPrimitiveType, W>(&'a PrimitiveArray<T>, fn(T::Native) -> W);

impl<T: ArrowPrimitiveType, W: Into<f64> + serde::Serialize + Copy> Encoder for Floats<'_, T, W> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let value = (self.1)(self.0.value(row));
        let wide: f64 = value.into();
        let text: &[u8] = match () {
            _ if wide.is_nan() => b"\"NaN\"",
            _ if wide == f64::INFINITY => b"\"Infinity\"",
            _ if wide == f64::NEG_INFINITY => b"\"-Infinity\"",
            _ => return write_json(out, &value),
        };
        out.extend_from_slice(text);
    }
}

/// Bytes as base64 (RFC 4648, padded).
struct Base64<A>(A);

impl<'a, A: ArrayAccessor<Item = &'a [u8]>> Encoder for Base64<A> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(STANDARD.encode(self.0.value(row)).as_bytes());
        out.push(b'"');
    }
}

/// Bytes as lower-case hexadecimal.
struct Hex<'a>(ArrayFormatter<'a>, String);

impl<'a> Hex<'a> {
    fn new(array: &'a dyn Array) -> Result<Self, ArrowError> {
        Ok(Self(ArrayFormatter::try_new(array, &FormatOptions::new())?, String::new()))
    }
}

impl Encoder for Hex<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        self.1.clear();
        let _ = write!(self.1, "{}", self.0.value(row));
        write_json(out, &self.1);
    }
}

/// Anything that Arrow formats as text: dates, times, instants (ISO 8601; `Z` for UTC), durations, intervals.
///
/// A value outside the calendar's range is rendered as Arrow's error text rather than failing the whole answer.
struct Text<'a> {
    formatter: ArrayFormatter<'a>,
    scratch: String,
}

impl<'a> Text<'a> {
    fn new(array: &'a dyn Array) -> Result<Self, ArrowError> {
        let options = FormatOptions::new().with_display_error(true);
        Ok(Self { formatter: ArrayFormatter::try_new(array, &options)?, scratch: String::new() })
    }
}

impl Encoder for Text<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        self.scratch.clear();
        let _ = write!(self.scratch, "{}", self.formatter.value(row));
        write_json(out, &self.scratch);
    }
}

/// Instants, and dates as the instants at which they begin, as `yyyy-MM-dd HH:mm:ss.S` in UTC: one to six digits of fraction, as
/// `java.sql.Timestamp` prints them and as Python's `%f` reads them (nanoseconds are cut to microseconds).
struct PinotTimes<'a, T: ArrowPrimitiveType>(&'a PrimitiveArray<T>, fn(i64) -> Option<i64>);

impl<T: ArrowPrimitiveType<Native: Into<i64>>> Encoder for PinotTimes<'_, T> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let raw: i64 = self.0.value(row).into();
        let instant = (self.1)(raw).and_then(DateTime::from_timestamp_micros);
        let text = match instant {
            Some(instant) => {
                let fraction = format!("{:06}", instant.timestamp_subsec_micros());
                let digits = fraction.trim_end_matches('0');
                let digits = if digits.is_empty() { "0" } else { digits };
                format!("{}.{digits}", instant.format("%Y-%m-%d %H:%M:%S"))
            }
            None => raw.to_string(),
        };
        write_json(out, &text);
    }
}
