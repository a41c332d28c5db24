//! Integers: codes on a line, `base + step * code`, or a dictionary where that is narrower.
//!
//! The step is the greatest common divisor of all differences: whole seconds, days or cents make codes as narrow as
//! if they had been counted in that unit.

use arrow::array::{ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int32Array, Int64Array};
use arrow::array::{PrimitiveArray, TimestampMicrosecondArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use std::sync::Arc;

use super::few;
use super::rows::Rows;
use super::{Code, coded, narrowest, plain_whole};
use crate::Result;
use crate::column::{CodeValues, Column};

/// Codes of a line that takes more than this are worth a look at how many distinct values there are.
const LINEAR_COUNT_WELCOME: u64 = 1 << 16;

/// The column of integers, of which at least one is not NULL unless there is none.
pub(super) fn build(data_type: DataType, rows: Rows<i64>) -> Result<Column> {
    let line = Line::through(&rows.values);
    let has_null = rows.nulls.is_some();
    let count = line.as_ref().and_then(|line| line.count.checked_add(u64::from(has_null)));
    if count.is_none_or(|count| count > LINEAR_COUNT_WELCOME)
        && let Some(few) = few::intern(&rows)
    {
        let entries = physical(&data_type, few.entries(has_null).collect())?;
        return Ok(few.column(data_type, entries, has_null, |value| value.to_le_bytes()));
    }
    let (Some(line), Some(count)) = (line, count) else {
        // The whole of 64 bits, and many values: nothing that codes could save.
        let values = rows.values.iter().enumerate().map(|(row, value)| {
            let is_null = rows.nulls.as_ref().is_some_and(|nulls| nulls.value(row));
            (!is_null).then_some(*value)
        });
        return Ok(plain_whole(data_type.clone(), physical(&data_type, values.collect())?));
    };
    let codes = narrowest!(count, linear_codes(&rows.values, &line, rows.nulls.as_ref()));
    let values = CodeValues::Linear { base: line.base, step: line.step, count };
    Ok(coded(data_type, values, has_null, codes))
}

/// Physical integers as an array of their type.
fn physical(data_type: &DataType, values: Vec<Option<i64>>) -> Result<ArrayRef> {
    let narrow = || values.iter().map(|value| value.map(|value| value as i32));
    Ok(match data_type {
        DataType::Boolean => {
            Arc::new(values.iter().map(|value| value.map(|value| value != 0)).collect::<BooleanArray>())
        }
        DataType::Int32 => Arc::new(narrow().collect::<Int32Array>()),
        DataType::Date32 => Arc::new(narrow().collect::<Date32Array>()),
        DataType::Timestamp(..) => {
            let instants: TimestampMicrosecondArray =
                PrimitiveArray::<TimestampMicrosecondType>::from_iter(values);
            Arc::new(instants.with_data_type(data_type.clone()))
        }
        DataType::Decimal128(precision, scale) => {
            let wide = values.iter().map(|value| value.map(i128::from)).collect::<Decimal128Array>();
            Arc::new(wide.with_precision_and_scale(*precision, *scale)?)
        }
        _ => Arc::new(Int64Array::from(values)),
    })
}

/// Evenly spaced integers that pass through all values.
struct Line {
    base: i64,
    step: i64,
    /// Places from the least to the greatest value.
    count: u64,
    divisor: ExactDivisor,
}

impl Line {
    /// `None` if the step or the count does not fit its integer.
    fn through(values: &[i64]) -> Option<Self> {
        let base = values.iter().copied().fold(i64::MAX, i64::min);
        let greatest = values.iter().copied().fold(i64::MIN, i64::max);
        if base >= greatest {
            let base = values.first().copied().unwrap_or(0);
            return Some(Self { base, step: 1, count: 1, divisor: ExactDivisor::new(1) });
        }
        let divisor = ExactDivisor::new(common_divisor(values, base));
        let step = i64::try_from(divisor.divisor).ok()?;
        let count = divisor.quotient(greatest.abs_diff(base)).checked_add(1)?;
        Some(Self { base, step, count, divisor })
    }
}

/// The greatest common divisor of the differences to `base`; at least one value differs from it.
fn common_divisor(values: &[i64], base: i64) -> u64 {
    let differences = |values: &[i64]| -> u64 {
        values.iter().fold(0, |divisor, value| greatest_common_divisor(divisor, value.abs_diff(base)))
    };
    let mut divisor = 0;
    for block in values.chunks(1024) {
        if divisor == 1 {
            break;
        }
        // Most blocks change nothing, and that is seen without a division.
        if divisor == 0 || !ExactDivisor::new(divisor).divides_all(block, base) {
            divisor = greatest_common_divisor(divisor, differences(block));
        }
    }
    divisor.max(1)
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Division of multiples by multiplication (Granlund and Montgomery 1994, section 9): for d = 2^shift * odd, a multiple n
/// of d is `n * inverse(odd)` rotated right by the shift, and for other n that product is above the largest quotient.
struct ExactDivisor {
    divisor: u64,
    inverse: u64,
    shift: u32,
    quotient_max: u64,
}

impl ExactDivisor {
    fn new(divisor: u64) -> Self {
        let divisor = divisor.max(1);
        let shift = divisor.trailing_zeros();
        let odd = divisor >> shift;
        // Newton's iteration doubles the bits that are right; an odd number is its own inverse in three bits.
        let inverse = (0..5)
            .fold(odd, |inverse: u64, _| inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse))));
        Self { divisor, inverse, shift, quotient_max: u64::MAX / divisor }
    }

    /// `multiple / divisor`; meaningless for what is no multiple.
    #[inline(always)]
    fn quotient(&self, multiple: u64) -> u64 {
        multiple.wrapping_mul(self.inverse).rotate_right(self.shift)
    }

    fn divides_all(&self, values: &[i64], base: i64) -> bool {
        values
            .iter()
            .fold(true, |all, value| all & (self.quotient(value.abs_diff(base)) <= self.quotient_max))
    }
}

fn linear_codes<C: Code>(values: &[i64], line: &Line, nulls: Option<&BooleanBuffer>) -> Vec<C> {
    let first = u64::from(nulls.is_some());
    // The difference fits 64 bits without a sign, because base is the least value.
    let code = |value: &i64| line.divisor.quotient(value.wrapping_sub(line.base) as u64) + first;
    let mut codes: Vec<C> = values.iter().map(|value| C::cut(code(value))).collect();
    if let Some(nulls) = nulls {
        nulls.set_indices().for_each(|row| codes[row] = C::cut(0));
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exact_division_equals_division(divisor in 1_u64.., factor: u64, any: u64) {
            let exact = ExactDivisor::new(divisor);
            let multiple = factor % (u64::MAX / divisor).max(1) * divisor;
            prop_assert_eq!(exact.quotient(multiple), multiple / divisor);
            prop_assert_eq!(exact.quotient(any) <= exact.quotient_max, any % divisor == 0);
        }

        #[test]
        fn a_line_passes_through_all_values(
            base in -1_000_000_i64..1_000_000,
            step in 1_i64..100_000,
            places in prop::collection::vec(0_i64..1000, 1..3000),
        ) {
            let values: Vec<i64> = places.iter().map(|place| base + step * place).collect();
            let line = Line::through(&values).unwrap();
            let codes = linear_codes::<u64>(&values, &line, None);
            prop_assert!(line.step == 1 || line.step % step == 0);
            for (code, value) in codes.iter().zip(&values) {
                prop_assert!(*code < line.count);
                prop_assert_eq!(line.base + line.step * *code as i64, *value);
            }
        }
    }

    #[test]
    fn the_step_is_the_unit() {
        let line = |values: &[i64]| Line::through(values).map(|line| (line.base, line.step, line.count));
        let day_us = 86_400_000_000;
        assert_eq!(
            line(&[3 * day_us, day_us, 6 * day_us]),
            Some((day_us, day_us, 6)).map(|_| (day_us, day_us, 6))
        );
        assert_eq!(line(&[7_000_000, 5_000_000, 8_000_000]), Some((5_000_000, 1_000_000, 4)));
        assert_eq!(line(&[9, 9, 9]), Some((9, 1, 1)));
        assert_eq!(line(&[i64::MIN, i64::MAX]), None, "a step of 2^64 - 1");
        assert_eq!(line(&[i64::MIN, 0, i64::MAX]), None, "2^64 places");
        assert_eq!(line(&[i64::MIN, 0]), None, "a step of 2^63");
        assert_eq!(line(&[i64::MIN, 1 - i64::MAX, i64::MAX - 1]), Some((i64::MIN, 2, i64::MAX as u64 + 1)));
    }
}
