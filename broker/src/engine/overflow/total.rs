//! Sums that know whether they are right.
//!
//! A [`Total`] wraps around like the machine does, and counts how often. So its value depends on no order of what was
//! added, and only the end result has to fit: `9223372036854775807 + 1 - 1` does.

use std::collections::HashMap;

use arrow::array::ArrowNativeTypeOp;

/// A sum of any number of values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Total<N> {
    wrapped: N,
    /// How often the sum left its type at the upper end, less how often at the lower.
    carries: i64,
}

impl<N: ArrowNativeTypeOp> Total<N> {
    pub(super) const ZERO: Self = Self { wrapped: N::ZERO, carries: 0 };

    pub(super) fn add(&mut self, value: N) {
        self.carries += add(&mut self.wrapped, value);
    }

    pub(super) fn subtract(&mut self, value: N) {
        let before = self.wrapped;
        self.wrapped = before.sub_wrapping(value);
        self.carries -= carry(self.wrapped, before, value);
    }

    /// None: the sum does not fit its type.
    pub(super) fn get(self) -> Option<N> {
        (self.carries == 0).then_some(self.wrapped)
    }
}

/// Adds and returns the carry.
fn add<N: ArrowNativeTypeOp>(sum: &mut N, value: N) -> i64 {
    let before = *sum;
    *sum = before.add_wrapping(value);
    carry(before, *sum, value)
}

/// The carry of `before + value = after`: adding what is not negative must not make the sum less.
fn carry<N: ArrowNativeTypeOp>(before: N, after: N, value: N) -> i64 {
    let is_negative = value.is_lt(N::ZERO);
    match after.is_lt(before) == is_negative {
        true => 0,
        false if is_negative => -1,
        false => 1,
    }
}

/// The sums of many groups. Groups that need no carry, nearly all, take no more than their sum.
#[derive(Debug, Default)]
pub(super) struct Totals<N> {
    wrapped: Vec<N>,
    carries: HashMap<usize, i64>,
}

impl<N: ArrowNativeTypeOp> Totals<N> {
    pub(super) fn grow(&mut self, groups: usize) {
        self.wrapped.resize(groups, N::ZERO);
    }

    pub(super) fn add(&mut self, group: usize, value: N) {
        let carry = add(&mut self.wrapped[group], value);
        if carry != 0 {
            *self.carries.entry(group).or_default() += carry;
        }
    }

    /// Takes the sums of the first `count` groups. None: one of them does not fit its type.
    pub(super) fn take(&mut self, count: usize) -> Option<Vec<N>> {
        let rest = self.wrapped.split_off(count);
        let taken = std::mem::replace(&mut self.wrapped, rest);
        let (of_taken, of_rest): (Vec<_>, Vec<_>) =
            self.carries.drain().partition(|(group, _)| *group < count);
        self.carries = of_rest.into_iter().map(|(group, carries)| (group - count, carries)).collect();
        of_taken.iter().all(|(_, carries)| *carries == 0).then_some(taken)
    }

    pub(super) fn len(&self) -> usize {
        self.wrapped.len()
    }

    /// Bytes held.
    pub(super) fn size(&self) -> usize {
        self.wrapped.capacity() * size_of::<N>() + self.carries.capacity() * size_of::<(usize, i64)>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Values near the ends of the type and around 0.
    fn values() -> impl Strategy<Value = Vec<i64>> {
        let value = prop_oneof![
            Just(i64::MAX),
            Just(i64::MIN),
            -3i64..3,
            i64::MAX - 3..=i64::MAX,
            i64::MIN..i64::MIN + 3
        ];
        prop::collection::vec(value, 0..40)
    }

    proptest! {
        #[test]
        fn a_total_is_exact(added in values(), subtracted in values()) {
            let mut total = Total::ZERO;
            let mut exact = 0_i128;
            for value in added {
                total.add(value);
                exact += i128::from(value);
            }
            for value in subtracted {
                total.subtract(value);
                exact -= i128::from(value);
            }
            prop_assert_eq!(total.get(), i64::try_from(exact).ok());
        }

        #[test]
        fn a_total_of_unsigned_values_is_exact(values in values()) {
            let values: Vec<u64> = values.into_iter().map(i64::cast_unsigned).collect();
            let mut total = Total::ZERO;
            values.iter().for_each(|value| total.add(*value));
            let exact: u128 = values.iter().map(|value| u128::from(*value)).sum();
            prop_assert_eq!(total.get(), u64::try_from(exact).ok());
            // And back: what leaves a window frame takes its carries along.
            let kept = values.first().copied();
            values.iter().skip(1).for_each(|value| total.subtract(*value));
            prop_assert_eq!(total.get(), Some(kept.unwrap_or(0)));
        }

        #[test]
        fn groups_are_exact_and_taken_in_parts(values in values(), first in 0_usize..4) {
            let mut totals = Totals::default();
            totals.grow(3);
            let mut exact = [0_i128; 3];
            for (index, value) in values.into_iter().enumerate() {
                totals.add(index % 3, value);
                exact[index % 3] += i128::from(value);
            }
            let fitting = |exact: &[i128]| -> Option<Vec<i64>> {
                exact.iter().map(|sum| i64::try_from(*sum).ok()).collect()
            };
            let first = first.min(3);
            prop_assert_eq!(totals.take(first), fitting(&exact[..first]));
            prop_assert_eq!(totals.take(3 - first), fitting(&exact[first..]));
        }
    }
}
