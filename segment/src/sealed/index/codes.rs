//! What the codes of an index stand for: the distinct values in ascending order, NULL first, listed if they are integers.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::datatypes::{Date32Type, Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use bytes::BufMut;

use super::Input;
use crate::schema::ColumnType;

const FLAG_NULL: u32 = 1;
const FLAG_LISTED: u32 = 2;

/// What codes stand for.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueOrder {
    /// How many codes there are.
    pub count: u32,
    /// Whether code 0 is NULL.
    pub has_null: bool,
    /// The physical integers of all other codes, ascending; `None` if they are not integers.
    pub values: Option<Arc<[i64]>>,
}

impl ValueOrder {
    /// The code of a value: `None` if the values are not listed, `Some(None)` if no row holds it.
    pub(super) fn code_of(&self, value: i64) -> Option<Option<u64>> {
        let place = self.values.as_ref()?.binary_search(&value).ok();
        Some(place.map(|place| place as u64 + u64::from(self.has_null)))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let null = if self.has_null { FLAG_NULL } else { 0 };
        let listed = if self.values.is_some() { FLAG_LISTED } else { 0 };
        out.put_u32_le(self.count);
        out.put_u32_le(null | listed);
        self.values.iter().flat_map(|values| values.iter()).for_each(|value| out.put_i64_le(*value));
    }

    pub(super) fn read(input: &mut Input<'_>, row_count: u32) -> Result<Self, String> {
        let (count, flags) = (input.u32()?, input.u32()?);
        if count == 0 || count > row_count || flags & !(FLAG_NULL | FLAG_LISTED) != 0 {
            return Err(format!("{count} codes with flags {flags} in {row_count} rows"));
        }
        let has_null = flags & FLAG_NULL != 0;
        let values = match flags & FLAG_LISTED {
            0 => None,
            _ => {
                let values = input.words::<8>((count - u32::from(has_null)) as usize)?;
                let values: Arc<[i64]> = values.iter().map(|value| i64::from_le_bytes(*value)).collect();
                if !values.is_sorted_by(|left, right| left < right) {
                    return Err("its values do not ascend".into());
                }
                Some(values)
            }
        };
        Ok(Self { count, has_null, values })
    }
}

/// How often each code occurs.
pub(in crate::sealed) struct CodeCounts {
    counts: Vec<u32>,
}

impl CodeCounts {
    /// `codes` are all below `count`.
    pub(in crate::sealed) fn of(codes: &[u32], count: usize) -> Self {
        let mut counts = vec![0; count];
        codes.iter().for_each(|code| counts[*code as usize] += 1);
        Self { counts }
    }

    /// By code.
    pub(in crate::sealed) fn by_code(&self) -> &[u32] {
        &self.counts
    }

    /// The rows of each code, one code after the other: those of code c end at the c-th of the returned ends.
    pub(super) fn rows_by_code(&self, codes: &[u32]) -> (Vec<u32>, Vec<usize>) {
        let mut next = 0;
        let mut places: Vec<usize> = Vec::with_capacity(self.counts.len());
        for count in &self.counts {
            places.push(next);
            next += *count as usize;
        }
        let mut rows = vec![0; codes.len()];
        for (code, row) in codes.iter().zip(0_u32..) {
            let place = &mut places[*code as usize];
            rows[*place] = row;
            *place += 1;
        }
        (rows, places)
    }
}

/// The distinct values, of which none is NULL, as physical integers, if that is what they are.
pub(in crate::sealed) fn listed_values(data_type: &ColumnType, values: &ArrayRef) -> Option<Arc<[i64]>> {
    fn of<T: ArrowPrimitiveType>(values: &ArrayRef, integer: impl Fn(T::Native) -> i64) -> Arc<[i64]> {
        values.as_primitive::<T>().values().iter().copied().map(integer).collect()
    }
    debug_assert_eq!(values.null_count(), 0);
    Some(match data_type {
        ColumnType::Boolean => values.as_boolean().values().iter().map(i64::from).collect(),
        ColumnType::Int => of::<Int32Type>(values, i64::from),
        ColumnType::Date => of::<Date32Type>(values, i64::from),
        ColumnType::Long => of::<Int64Type>(values, |value| value),
        ColumnType::TimestampMillis | ColumnType::TimestampMicros => {
            of::<TimestampMicrosecondType>(values, |value| value)
        }
        ColumnType::Decimal(digits, _) if *digits <= 18 => of::<Decimal128Type>(values, |value| value as i64),
        _ => return None,
    })
}
