//! Arrow arrays of a whole segment -> a resident column: the narrowest codes, their values ascending, zone maps.
//!
//! | type | codes |
//! |---|---|
//! | BOOLEAN, INT, LONG, DATE, TIMESTAMP, DECIMAL within 64 bits | linear; a dictionary if that is narrower |
//! | FLOAT, DOUBLE, DECIMAL beyond 64 bits | a dictionary of at most [`FEW_VALUES_MAX`] entries, else plain |
//! | STRING, JSON, UUID, BYTES | a dictionary; plain if most rows are distinct |
//! | ARRAY | plain |
//!
//! Pure CPU work: call it on a blocking thread. The invariants are those of [`column`](super).

mod few;
mod integer;
mod plain;
mod rows;
mod text;

#[cfg(test)]
pub(crate) mod tests;

use std::hash::{BuildHasher, Hasher};

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::datatypes::{
    ArrowNativeType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow::error::ArrowError;

use super::{BLOCK_ROWS, CodeStore, CodeValues, CodedColumn, Codes, Column, PlainColumn, PlainStore, Zones};
use crate::schema::ColumnType;
use crate::{Result, SegmentError, order};

use rows::Rows;

/// Most entries, NULL included, of a dictionary of numbers: codes of two bytes, and a table that stays in the cache.
const FEW_VALUES_MAX: usize = 1 << 16;

/// The column that `arrays` hold one after the other: all rows of a segment in their sealed order.
///
/// Text and bytes may come as views, with offsets, or as dictionaries of either with `Int32` keys.
///
/// # Errors
/// `Arrow` if an array is not of the column's type.
pub fn build_column(data_type: &ColumnType, arrays: &[ArrayRef]) -> Result<Column> {
    let arrow = data_type.arrow();
    let rows: usize = arrays.iter().map(|array| array.len()).sum();
    if arrays.iter().all(|array| array.null_count() == array.len()) && !matches!(arrow, DataType::List(_)) {
        return Ok(null_column(data_type, rows));
    }
    match data_type {
        ColumnType::Boolean => integer::build(arrow, Rows::booleans(arrays)?),
        ColumnType::Int => integer::build(arrow, Rows::read::<Int32Type>(arrays, i64::from)?),
        ColumnType::Date => integer::build(arrow, Rows::read::<Date32Type>(arrays, i64::from)?),
        ColumnType::Long => integer::build(arrow, Rows::read::<Int64Type>(arrays, |value| value)?),
        ColumnType::TimestampMillis | ColumnType::TimestampMicros => {
            integer::build(arrow, Rows::read::<TimestampMicrosecondType>(arrays, |value| value)?)
        }
        ColumnType::Decimal(..) => {
            let wide = Rows::read::<Decimal128Type>(arrays, |value| value)?;
            match wide.narrowed() {
                Some(narrow) => integer::build(arrow, narrow),
                None => few::build_decimals(arrow, &wide, arrays),
            }
        }
        ColumnType::Float => {
            let keys = Rows::read::<Float32Type>(arrays, |value| order::of_f32(value).into())?;
            few::build_floats(arrow, &keys, arrays)
        }
        ColumnType::Double => {
            let keys = Rows::read::<Float64Type>(arrays, order::of_f64)?;
            few::build_floats(arrow, &keys, arrays)
        }
        ColumnType::String | ColumnType::Json | ColumnType::Uuid | ColumnType::Bytes => {
            text::build(arrow, arrays)
        }
        ColumnType::Array(_) => plain::lists(arrow, arrays),
    }
}

/// A column of `rows` NULLs: that of a segment sealed before the table had the column.
pub fn null_column(data_type: &ColumnType, rows: usize) -> Column {
    let arrow = data_type.arrow();
    let values = match data_type {
        ColumnType::Array(_) => return plain::null_lists(arrow, rows),
        ColumnType::Boolean
        | ColumnType::Int
        | ColumnType::Long
        | ColumnType::Date
        | ColumnType::TimestampMillis
        | ColumnType::TimestampMicros
        | ColumnType::Decimal(..) => CodeValues::Linear { base: 0, step: 1, count: 1 },
        _ => {
            let fingerprint = Some(fingerprint(&arrow, true, std::iter::empty::<&[u8]>()));
            CodeValues::Dictionary { values: new_null_array(&arrow, 1), sorted: true, fingerprint }
        }
    };
    coded(arrow, values, true, Codes::U8(vec![0; rows].into()))
}

/// A coded column with its zones.
fn coded(data_type: DataType, values: CodeValues, has_null: bool, codes: Codes) -> Column {
    let zones = match &codes {
        Codes::U8(codes) => zones_of(codes),
        Codes::U16(codes) => zones_of(codes),
        Codes::U32(codes) => zones_of(codes),
        Codes::U64(codes) => zones_of(codes),
    };
    let codes = CodeStore::Whole(codes);
    Column::Coded(CodedColumn { data_type, values, has_null, codes, zones: Some(zones), postings: None })
}

fn plain_whole(data_type: DataType, values: ArrayRef) -> Column {
    Column::Plain(PlainColumn { data_type, values: PlainStore::Whole(values) })
}

/// An unsigned integer that codes are held in.
trait Code: ArrowNativeType + Ord + Into<u64> {
    /// The low bits.
    fn cut(code: u64) -> Self;
}

macro_rules! code_widths {
    ($($code:ty),*) => {$(
        impl Code for $code {
            #[inline(always)]
            fn cut(code: u64) -> Self {
                code as $code
            }
        }
    )*};
}
code_widths!(u8, u16, u32, u64);

/// Calls a function, generic over the type of its codes, for the narrowest type that holds codes below `$count`.
macro_rules! narrowest {
    ($count:expr, $function:ident($($argument:expr),*)) => {
        match $count {
            0..=0x100 => $crate::column::Codes::U8($function::<u8>($($argument),*).into()),
            0x101..=0x1_0000 => $crate::column::Codes::U16($function::<u16>($($argument),*).into()),
            0x1_0001..=0x1_0000_0000 => $crate::column::Codes::U32($function::<u32>($($argument),*).into()),
            _ => $crate::column::Codes::U64($function::<u64>($($argument),*).into()),
        }
    };
}
use narrowest;

fn zones_of<C: Code>(codes: &[C]) -> Zones {
    let bound = |of: fn(&[C]) -> C| codes.chunks(BLOCK_ROWS).map(|block| of(block).into()).collect();
    Zones { min: bound(least), max: bound(greatest) }
}

fn least<C: Code>(codes: &[C]) -> C {
    codes.iter().copied().fold(codes[0], Ord::min)
}

fn greatest<C: Code>(codes: &[C]) -> C {
    codes.iter().copied().fold(codes[0], Ord::max)
}

/// Entry `code` of `places`, in the narrowest type.
fn remapped<C: Code>(codes: &[impl Copy + Into<u32>], places: &[u32]) -> Vec<C> {
    codes.iter().map(|code| C::cut(places[(*code).into() as usize].into())).collect()
}

/// 128 bits that depend on the type and on every value, NULL first if there is one. They are stored, so the seeds are fixed;
/// a hash of another library version is another fingerprint, never a wrong one.
fn fingerprint<B: AsRef<[u8]>>(
    data_type: &DataType,
    has_null: bool,
    values: impl Iterator<Item = B>,
) -> u128 {
    let start = |seed| foldhash::quality::FixedState::with_seed(seed).build_hasher();
    let (mut low, mut high) = (start(0x6865_6164), start(0x7761_7465));
    let mut put = |bytes: &[u8]| {
        for hasher in [&mut low, &mut high] {
            hasher.write_u64(bytes.len() as u64);
            hasher.write(bytes);
        }
    };
    put(data_type.to_string().as_bytes());
    put(&[u8::from(has_null)]);
    values.for_each(|value| put(value.as_ref()));
    u128::from(high.finish()) << 64 | u128::from(low.finish())
}

fn unexpected(array: &ArrayRef, wanted: &str) -> SegmentError {
    let message = format!("a column of {wanted} came as {}", array.data_type());
    SegmentError::Arrow(ArrowError::InvalidArgumentError(message))
}
