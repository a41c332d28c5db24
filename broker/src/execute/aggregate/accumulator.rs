//! Accumulators: one value per group for each aggregate function.
//!
//! Sums of integers are exact in 128 bits; a sum that does not fit its type is an error when it is handed out.

use std::collections::HashMap;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::error::Result;
use headwater_segment::column::accumulate;

use super::distinct::Distinct;
use super::stock::Stock;
use super::values::Values;

/// The groups of some rows.
#[derive(Clone, Copy)]
pub(super) struct RowGroups<'a> {
    /// The group of each row.
    pub(super) groups: &'a [u32],
    /// Whether there is just one group.
    pub(super) single: bool,
}

/// Which of the groups' rows a function has counted: all, but for those that its FILTER leaves out and for NULLs.
#[derive(Default)]
pub(super) struct Counted {
    /// Rows that the FILTER left, if there is one.
    pub(super) filtered: Option<Vec<i64>>,
    /// NULLs among them; empty before the first.
    pub(super) nulls: Vec<i64>,
}

/// The accumulators of one function.
pub(super) enum Accumulator {
    Count(Counted),
    SumIntegers {
        sums: WideSums,
        counted: Counted,
    },
    SumFloats {
        sums: Vec<f64>,
        counted: Counted,
    },
    /// Means of integers, of which only the quotient is rounded.
    AverageIntegers {
        sums: WideSums,
        counted: Counted,
    },
    Average {
        sums: Vec<f64>,
        counted: Counted,
    },
    ExtremeInteger {
        kept: Vec<i64>,
        most: bool,
        data_type: DataType,
        counted: Counted,
    },
    ExtremeFloat {
        kept: Vec<f64>,
        most: bool,
        data_type: DataType,
        counted: Counted,
    },
    Distinct(Distinct),
    /// DataFusion's.
    Stock(Stock),
}

/// Sums in 128 bits, one per group.
#[derive(Default)]
pub(super) struct WideSums {
    low: Vec<i64>,
    /// Of the few sums that do not fit into 64 bits.
    high: HashMap<usize, i64>,
}

impl WideSums {
    fn size(&self) -> usize {
        self.low.capacity() * 8 + self.high.capacity() * 16
    }

    /// The sum of a group.
    pub(super) fn of(&self, group: usize) -> i128 {
        let high = if self.high.is_empty() { 0 } else { self.high.get(&group).copied().unwrap_or(0) };
        i128::from(self.low[group]) + (i128::from(high) << 64)
    }

    /// Adds to a group's sum.
    pub(super) fn add(&mut self, group: usize, more: i128) {
        let sum = self.of(group) + more;
        self.low[group] = sum as i64;
        let high = ((sum - i128::from(self.low[group])) >> 64) as i64;
        if high != 0 {
            self.high.insert(group, high);
        } else if !self.high.is_empty() {
            self.high.remove(&group);
        }
    }

    /// Adds each row's value to its group.
    fn add_rows(&mut self, rows: RowGroups<'_>, values: &[i64]) {
        if rows.single {
            return self.add(0, accumulate::total_i64(values));
        }
        let high = &mut self.high;
        accumulate::sum_i64(rows.groups, values, &mut self.low, |group, carry| {
            *high.entry(group).or_default() += carry;
        });
    }
}

impl Counted {
    pub(super) fn new(is_filtered: bool) -> Self {
        Self { filtered: is_filtered.then(Vec::new), nulls: Vec::new() }
    }

    fn resize(&mut self, total: usize) {
        if let Some(filtered) = &mut self.filtered {
            filtered.resize(total, 0);
        }
        if !self.nulls.is_empty() {
            self.nulls.resize(total, 0);
        }
    }

    /// Counts the rows that the FILTER left, if there is one, and the NULLs among them.
    fn add(&mut self, rows: RowGroups<'_>, valid: Option<&[u8]>, total: usize) {
        if let Some(filtered) = &mut self.filtered {
            count(rows, filtered);
        }
        if let Some(valid) = valid {
            self.nulls.resize(total, 0);
            for (group, valid) in rows.groups.iter().zip(valid) {
                self.nulls[*group as usize] += i64::from(1 - valid);
            }
        }
    }

    /// How many rows of a group are counted; `rows` has all rows of each.
    pub(super) fn of(&self, group: usize, rows: &[i64]) -> i64 {
        let counted = self.filtered.as_ref().map_or(rows[group], |filtered| filtered[group]);
        counted - self.nulls.get(group).copied().unwrap_or(0)
    }

    fn size(&self) -> usize {
        (self.filtered.as_ref().map_or(0, Vec::capacity) + self.nulls.capacity()) * size_of::<i64>()
    }
}

/// Adds 1 to the group of each row.
pub(super) fn count(rows: RowGroups<'_>, counts: &mut [i64]) {
    if rows.single {
        counts[0] += rows.groups.len() as i64;
    } else {
        accumulate::count(rows.groups, counts);
    }
}

impl Accumulator {
    /// Makes room for groups below `total`.
    pub(super) fn resize(&mut self, total: usize) {
        match self {
            Self::Count(counted) => counted.resize(total),
            Self::SumIntegers { sums, counted } | Self::AverageIntegers { sums, counted } => {
                grow(&mut sums.low, total, 0);
                counted.resize(total);
            }
            Self::SumFloats { sums, counted } | Self::Average { sums, counted } => {
                grow(sums, total, 0.0);
                counted.resize(total);
            }
            Self::ExtremeInteger { kept, most, counted, .. } => {
                grow(kept, total, if *most { i64::MIN } else { i64::MAX });
                counted.resize(total);
            }
            Self::ExtremeFloat { kept, most, counted, .. } => {
                let first = f64::from_bits(if *most { u64::MAX } else { u64::MAX >> 1 });
                grow(kept, total, first);
                counted.resize(total);
            }
            Self::Distinct(distinct) => distinct.resize(total),
            Self::Stock(stock) => stock.resize(total),
        }
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Count(counted) => counted.size(),
            Self::SumIntegers { sums, counted } | Self::AverageIntegers { sums, counted } => {
                sums.size() + counted.size()
            }
            Self::SumFloats { sums, counted } | Self::Average { sums, counted } => {
                sums.capacity() * 8 + counted.size()
            }
            Self::ExtremeInteger { kept, counted, .. } => kept.capacity() * 8 + counted.size(),
            Self::ExtremeFloat { kept, counted, .. } => kept.capacity() * 8 + counted.size(),
            Self::Distinct(distinct) => distinct.size(),
            Self::Stock(stock) => stock.size(),
        }
    }

    /// Rows of which only is known which are NULL.
    pub(super) fn add_rows(&mut self, rows: RowGroups<'_>, valid: Option<&[u8]>, total: usize) {
        if let Self::Count(counted) = self {
            counted.add(rows, valid, total);
        }
    }

    /// Rows of the one group there is, whose sum is known; none is NULL.
    pub(super) fn add_total(&mut self, rows: RowGroups<'_>, sum: i128, total: usize) {
        if let Self::SumIntegers { sums, counted } | Self::AverageIntegers { sums, counted } = self {
            sums.add(0, sum);
            counted.add(rows, None, total);
        }
    }

    /// Rows of the one group there is, whose extreme is known; none is NULL.
    pub(super) fn add_extreme(&mut self, rows: RowGroups<'_>, value: i64, total: usize) {
        if let Self::ExtremeInteger { kept, most, counted, .. } = self {
            kept[0] = if *most { kept[0].max(value) } else { kept[0].min(value) };
            counted.add(rows, None, total);
        }
    }

    /// Rows and their values. Overwrites values that are NULL.
    pub(super) fn add_integers(&mut self, rows: RowGroups<'_>, values: &mut Values<i64>, total: usize) {
        match self {
            Self::SumIntegers { sums, counted } | Self::AverageIntegers { sums, counted } => {
                if values.has_null {
                    let rows = values.values.iter_mut().zip(&values.valid);
                    rows.for_each(|(value, valid)| *value *= i64::from(*valid));
                }
                sums.add_rows(rows, &values.values);
                counted.add(rows, values.valid(), total);
            }
            Self::ExtremeInteger { kept, most, counted, .. } => {
                if *most {
                    keep(rows, values, kept, i64::max);
                } else {
                    keep(rows, values, kept, i64::min);
                }
                counted.add(rows, values.valid(), total);
            }
            Self::Distinct(distinct) => distinct.add(rows, values),
            _ => {}
        }
    }

    /// Rows and their values.
    pub(super) fn add_floats(&mut self, rows: RowGroups<'_>, values: &Values<f64>, total: usize) {
        match self {
            Self::SumFloats { sums, counted } | Self::Average { sums, counted } => {
                match values.valid() {
                    None => accumulate::sum_f64(rows.groups, &values.values, sums),
                    Some(valid) => accumulate::sum_f64_valid(rows.groups, &values.values, valid, sums),
                }
                counted.add(rows, values.valid(), total);
            }
            Self::ExtremeFloat { kept, most, counted, .. } => {
                if *most {
                    keep(
                        rows,
                        values,
                        kept,
                        |kept, new| if new.total_cmp(&kept).is_gt() { new } else { kept },
                    );
                } else {
                    keep(
                        rows,
                        values,
                        kept,
                        |kept, new| if new.total_cmp(&kept).is_lt() { new } else { kept },
                    );
                }
                counted.add(rows, values.valid(), total);
            }
            _ => {}
        }
    }

    /// Rows and the function's arguments, for DataFusion's accumulators.
    pub(super) fn add_arrays(&mut self, rows: RowGroups<'_>, arguments: &[ArrayRef]) -> Result<()> {
        if let Self::Stock(stock) = self {
            stock.add(rows, arguments)?;
        }
        Ok(())
    }
}

/// Grows to `total`; in fresh memory if there was none, which the system hands out zeroed and page by page.
pub(super) fn grow<V: Copy>(values: &mut Vec<V>, total: usize, first: V) {
    if values.is_empty() {
        *values = vec![first; total];
    } else if values.len() < total {
        values.resize(total, first);
    }
}

fn keep<V: Copy>(rows: RowGroups<'_>, values: &Values<V>, kept: &mut [V], choose: impl Fn(V, V) -> V) {
    match values.valid() {
        None if rows.single => kept[0] = values.values.iter().fold(kept[0], |kept, new| choose(kept, *new)),
        None => accumulate::fold(rows.groups, &values.values, kept, choose),
        Some(valid) => accumulate::fold_valid(rows.groups, &values.values, valid, kept, choose),
    }
}
