//! The order of a segment's rows: sort key ascending, nulls first, then `$offset`.
//!
//! Each key column is turned into numbers that compare as its values do (its codes, or the bits of its numbers), as narrow as
//! its range; the numbers of a row are packed side by side, with the row behind them, and sorted as one integer. Where they
//! don't fit 128 bits (long keys of unique text) the rows are sorted by Arrow's row format.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow::row::{RowConverter, SortField};

use super::intern::{Coded, Ordered};
use crate::Result;
use crate::order::prefix;
use crate::schema::{ColumnType, TableSchema};

/// Where the rows of `batches`, numbered through, must go: the n-th entry is the number of the row that comes n-th.
/// `None` if they already stand in order. `coded` are the columns' codes, as far as they have any.
///
/// Costs, for a moment, up to 16 bytes per row and key column (without packed keys: the encoded keys plus 20 bytes per row).
pub(super) fn sorted_order(
    schema: &TableSchema,
    batches: &[RecordBatch],
    coded: &[Option<Coded>],
) -> Result<Option<Vec<u32>>> {
    let mut keys = Vec::new();
    let offsets = of_column(schema, batches, schema.offset_column(), None);
    let offsets_ascend = offsets.as_ref().is_some_and(|offsets| offsets.values.is_sorted());
    for column in schema.sort_key() {
        match of_column(schema, batches, *column, coded[*column].as_ref()) {
            Some(key) => keys.push(key),
            None => return by_rows(schema, batches),
        }
    }
    if !offsets_ascend {
        // Else the row's number says the same.
        keys.extend(offsets);
    }
    let rows = batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    let row_bits = usize::BITS - rows.saturating_sub(1).leading_zeros();
    match keys.iter().map(|key| key.bits).sum::<u32>() + row_bits {
        0..=64 => Ok(order_of(pack::<u64>(&keys, rows, row_bits), row_bits)),
        65..=128 => Ok(order_of(pack::<u128>(&keys, rows, row_bits), row_bits)),
        _ => by_rows(schema, batches),
    }
}

/// A key column as numbers below 2^`bits`.
struct Key {
    values: Vec<u64>,
    bits: u32,
}

fn of_column(
    schema: &TableSchema,
    batches: &[RecordBatch],
    column: usize,
    coded: Option<&Coded>,
) -> Option<Key> {
    if let Some(coded) = coded {
        let bits = u64::BITS - (coded.count() as u64 - 1).leading_zeros();
        return Some(Key { values: coded.codes.iter().map(|code| u64::from(*code)).collect(), bits });
    }
    let arrays: Vec<&ArrayRef> = batches.iter().map(|batch| batch.column(column)).collect();
    match &schema.columns()[column].data_type {
        ColumnType::Int => of_numbers::<Int32Type>(&arrays),
        ColumnType::Long => of_numbers::<Int64Type>(&arrays),
        ColumnType::Date => of_numbers::<Date32Type>(&arrays),
        ColumnType::TimestampMillis | ColumnType::TimestampMicros => {
            of_numbers::<TimestampMicrosecondType>(&arrays)
        }
        ColumnType::Float => of_numbers::<Float32Type>(&arrays),
        ColumnType::Double => of_numbers::<Float64Type>(&arrays),
        ColumnType::Decimal(digits, _) if *digits <= 18 => of_numbers::<Decimal128Type>(&arrays),
        _ => None,
    }
}

/// NULL is 0 and below all numbers; the least number is 1. `None` if their range leaves no room for that.
fn of_numbers<T: ArrowPrimitiveType>(arrays: &[&ArrayRef]) -> Option<Key>
where
    T::Native: Ordered,
{
    let arrays = || arrays.iter().map(|array| array.as_primitive::<T>());
    let (mut min, mut max) = (u64::MAX, 0);
    for array in arrays() {
        // What stands under a NULL is no value, but a few bits more do no harm either.
        for value in array.values() {
            let ordered = value.ordered();
            (min, max) = (min.min(ordered), max.max(ordered));
        }
    }
    let range = max.saturating_sub(min).checked_add(1)?;
    let mut values = Vec::with_capacity(arrays().map(|array| array.len()).sum());
    for array in arrays() {
        let shifted = array.values().iter().map(|value| value.ordered() - min + 1);
        match array.nulls() {
            None => values.extend(shifted),
            Some(nulls) => {
                values.extend(shifted.zip(nulls).map(|(value, valid)| if valid { value } else { 0 }));
            }
        }
    }
    Some(Key { values, bits: u64::BITS - range.leading_zeros() })
}

/// An unsigned integer that holds a row's whole key.
trait Packed:
    Copy + Ord + std::ops::BitOr<Output = Self> + std::ops::Shl<u32, Output = Self> + From<u64>
{
    /// The row number in the lowest bits.
    fn row(self, row_bits: u32) -> u32;
    /// Sorts.
    fn sort(packed: &mut Vec<Self>, row_bits: u32);
}

impl Packed for u64 {
    fn row(self, row_bits: u32) -> u32 {
        (self & ((1 << row_bits) - 1)) as u32
    }

    fn sort(packed: &mut Vec<Self>, row_bits: u32) {
        radix_sort(packed, row_bits);
    }
}

impl Packed for u128 {
    fn row(self, row_bits: u32) -> u32 {
        (self & ((1 << row_bits) - 1)) as u32
    }

    fn sort(packed: &mut Vec<Self>, _row_bits: u32) {
        packed.sort_unstable();
    }
}

fn pack<P: Packed>(keys: &[Key], rows: usize, row_bits: u32) -> Vec<P> {
    let mut packed = vec![P::from(0); rows];
    for key in keys {
        for (packed, value) in packed.iter_mut().zip(&key.values) {
            // A shift by all bits is no shift, and only happens before anything was put in.
            *packed =
                if key.bits < u64::BITS { *packed << key.bits } else { shift_all(*packed) } | P::from(*value);
        }
    }
    for (packed, row) in packed.iter_mut().zip(0_u64..) {
        *packed = *packed << row_bits | P::from(row);
    }
    packed
}

fn shift_all<P: Packed>(packed: P) -> P {
    packed << 32 << 32
}

fn order_of<P: Packed>(mut packed: Vec<P>, row_bits: u32) -> Option<Vec<u32>> {
    if packed.is_sorted() {
        return None;
    }
    P::sort(&mut packed, row_bits);
    Some(packed.into_iter().map(|key| key.row(row_bits)).collect())
}

/// Bits per pass: 2,048 counters stay in the first-level cache.
const DIGIT_BITS: u32 = 11;
/// Below this many, comparing is as fast.
const RADIX_ROWS_MIN: usize = 4096;

/// Sorts keys whose lowest `skip` bits already ascend: from the lowest digit to the highest, each pass keeping equal ones in order.
fn radix_sort(keys: &mut Vec<u64>, skip: u32) {
    let highest = u64::BITS - keys.iter().copied().max().unwrap_or(0).leading_zeros();
    if keys.len() < RADIX_ROWS_MIN {
        keys.sort_unstable();
        return;
    }
    let mut sorted = vec![0; keys.len()];
    for shift in (skip..highest).step_by(DIGIT_BITS as usize) {
        let digit = |key: u64| (key >> shift) as usize & ((1 << DIGIT_BITS) - 1);
        let mut starts = [0_u32; 1 << DIGIT_BITS];
        keys.iter().for_each(|key| starts[digit(*key)] += 1);
        let mut next = 0;
        for start in &mut starts {
            next += std::mem::replace(start, next);
        }
        for key in keys.iter() {
            let place = &mut starts[digit(*key)];
            sorted[*place as usize] = *key;
            *place += 1;
        }
        std::mem::swap(keys, &mut sorted);
    }
}

/// The order by Arrow's row format, for keys that cannot be packed.
fn by_rows(schema: &TableSchema, batches: &[RecordBatch]) -> Result<Option<Vec<u32>>> {
    let key_columns: Vec<usize> = schema.sort_key().iter().copied().chain([schema.offset_column()]).collect();
    let ascending = SortOptions { descending: false, nulls_first: true };
    let fields = key_columns.iter().map(|column| {
        let data_type = schema.columns()[*column].data_type.arrow();
        SortField::new_with_options(data_type, ascending)
    });
    let converter = RowConverter::new(fields.collect())?;
    let row_count = batches.iter().map(RecordBatch::num_rows).sum();
    let mut rows = converter.empty_rows(row_count, row_count * key_columns.len() * 9);
    for batch in batches {
        let keys: Vec<ArrayRef> = key_columns.iter().map(|column| batch.column(*column).clone()).collect();
        converter.append(&mut rows, &keys)?;
    }

    // The first eight bytes of a key lie beside the row number: most comparisons never touch the key itself.
    let mut order: Vec<(u64, u32)> =
        rows.iter().zip(0u32..).map(|(row, number)| (prefix(row.as_ref()), number)).collect();
    let key = |number: u32| rows.row(number as usize);
    let in_order = |left: &(u64, u32), right: &(u64, u32)| {
        left.0 < right.0 || (left.0 == right.0 && key(left.1) <= key(right.1))
    };
    if order.is_sorted_by(in_order) {
        return Ok(None);
    }
    order.sort_unstable_by(|left, right| left.0.cmp(&right.0).then_with(|| key(left.1).cmp(&key(right.1))));
    Ok(Some(order.into_iter().map(|(_, number)| number).collect()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn radix_sort_sorts(
            values in prop::collection::vec(any::<u64>(), 1..200),
            shift in 0_u32..50,
        ) {
            // Enough of them for the passes, with many equal ones.
            let rows = RADIX_ROWS_MIN + values.len();
            let mut keys: Vec<u64> = (0..rows)
                .map(|row| (values[row * 7 % values.len()] >> shift) >> 14 << 14 | row as u64)
                .collect();
            let mut expected = keys.clone();
            expected.sort_unstable();
            radix_sort(&mut keys, 14);
            prop_assert_eq!(keys, expected);
        }
    }
}
