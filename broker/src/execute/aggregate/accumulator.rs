//! Accumulators: one value per group for each aggregate function, and their partial states.
//!
//! The states are those of DataFusion's own accumulators, which merge them. Sums of integers are exact in 128 bits; a sum
//! that does not fit its type is an error when it is emitted.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float32Array, Float64Array, Int64Array, UInt32Array, UInt64Array};
use arrow::compute::{concat, take};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::GroupsAccumulatorAdapter;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use headwater_segment::column::accumulate;

use super::program::overflow;
use super::values::{Values, integer_array};

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
    filtered: Option<Vec<i64>>,
    /// NULLs among them; empty before the first.
    nulls: Vec<i64>,
}

/// The accumulators of one function.
pub(super) enum Accumulator {
    Count(Counted),
    SumIntegers {
        low: Vec<i64>,
        high: HashMap<usize, i64>,
        counted: Counted,
    },
    SumFloats {
        sums: Vec<f64>,
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
    /// DataFusion's.
    Stock(Stock),
}

/// DataFusion's accumulators of one function. They take it that every group they know of has had a row, so they are given
/// numbers of their own, in the order in which groups come.
pub(super) struct Stock {
    function: Arc<AggregateFunctionExpr>,
    inner: Box<dyn GroupsAccumulator>,
    /// The accumulators' number of each group, plus 1; 0 if they have not seen it.
    own: Vec<u32>,
    /// Groups that they have seen.
    seen: usize,
    scratch: Vec<usize>,
}

impl Stock {
    pub(super) fn new(function: &Arc<AggregateFunctionExpr>) -> Result<Self> {
        let inner = if function.groups_accumulator_supported() {
            function.create_groups_accumulator()?
        } else {
            let function = Arc::clone(function);
            Box::new(GroupsAccumulatorAdapter::new(move || function.create_accumulator()))
        };
        let function = Arc::clone(function);
        Ok(Self { function, inner, own: Vec::new(), seen: 0, scratch: Vec::new() })
    }

    fn add(&mut self, rows: RowGroups<'_>, arguments: &[ArrayRef]) -> Result<()> {
        self.scratch.clear();
        for group in rows.groups {
            let own = &mut self.own[*group as usize];
            if *own == 0 {
                self.seen += 1;
                *own = self.seen as u32;
            }
            self.scratch.push(*own as usize - 1);
        }
        self.inner.update_batch(arguments, &self.scratch, None, self.seen)
    }

    /// The states of some groups; of those that were not seen, the state without rows.
    fn states(mut self, present: &[u32]) -> Result<Vec<ArrayRef>> {
        let own = |group: &u32| self.own[*group as usize];
        let places = present.iter().map(|group| own(group).checked_sub(1).unwrap_or(self.seen as u32));
        let places: UInt32Array = places.collect();
        let seen = if self.seen > 0 { Some(self.inner.state(EmitTo::All)?) } else { None };
        let mut unseen = self.function.create_accumulator()?.state()?;
        if self.function.fun().name() == "avg" {
            // DataFusion divides the sum of a group by its rows unless its state is NULL, if the rows are 0 too.
            for state in &mut unseen {
                *state = ScalarValue::try_new_null(&state.data_type())?;
            }
        }
        let states = unseen.iter().enumerate().map(|(index, unseen)| {
            let unseen = unseen.to_array()?;
            let all = match seen.as_ref().and_then(|seen| seen.get(index)) {
                Some(seen) => concat(&[seen.as_ref(), unseen.as_ref()])?,
                None => unseen,
            };
            Ok(take(&all, &places, None)?)
        });
        states.collect()
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

    fn of(&self, group: usize, rows: &[i64]) -> i64 {
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
            Self::SumIntegers { low, counted, .. } => {
                grow(low, total, 0);
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
            Self::Stock(stock) => grow(&mut stock.own, total, 0),
        }
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Count(counted) => counted.size(),
            Self::SumIntegers { low, high, counted } => {
                low.capacity() * 8 + high.capacity() * 16 + counted.size()
            }
            Self::SumFloats { sums, counted } | Self::Average { sums, counted } => {
                sums.capacity() * 8 + counted.size()
            }
            Self::ExtremeInteger { kept, counted, .. } => kept.capacity() * 8 + counted.size(),
            Self::ExtremeFloat { kept, counted, .. } => kept.capacity() * 8 + counted.size(),
            Self::Stock(stock) => stock.inner.size() + stock.own.capacity() * size_of::<u32>(),
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
        if let Self::SumIntegers { low, high, counted } = self {
            add_total(low, high, sum);
            counted.add(rows, None, total);
        }
    }

    /// Rows and their values. Overwrites values that are NULL.
    pub(super) fn add_integers(&mut self, rows: RowGroups<'_>, values: &mut Values<i64>, total: usize) {
        match self {
            Self::SumIntegers { low, high, counted } => {
                if values.has_null {
                    let rows = values.values.iter_mut().zip(&values.valid);
                    rows.for_each(|(value, valid)| *value *= i64::from(*valid));
                }
                if rows.single {
                    add_total(low, high, accumulate::total_i64(&values.values));
                } else {
                    accumulate::sum_i64(rows.groups, &values.values, low, |group, carry| {
                        *high.entry(group).or_default() += carry;
                    });
                }
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

    /// The states of the groups `present`; `rows` has the number of rows of every group.
    pub(super) fn states(self, present: &[u32], rows: &[i64]) -> Result<Vec<ArrayRef>> {
        let counts = |counted: &Counted| -> Vec<i64> {
            present.iter().map(|group| counted.of(*group as usize, rows)).collect()
        };
        Ok(match self {
            Self::Count(counted) => vec![Arc::new(Int64Array::from(counts(&counted)))],
            Self::SumIntegers { low, high, counted } => {
                let mut sums = Vec::with_capacity(present.len());
                for group in present {
                    let group = *group as usize;
                    if high.get(&group).is_some_and(|high| *high != 0) {
                        return Err(overflow("sum overflows BIGINT; cast the argument to DECIMAL(38,0)"));
                    }
                    sums.push(low[group]);
                }
                let valid = valid(&counts(&counted));
                vec![integer_array(sums, valid, &DataType::Int64)?]
            }
            Self::SumFloats { sums, counted } => {
                vec![Arc::new(floats(&sums, present, &counts(&counted)))]
            }
            Self::Average { sums, counted } => {
                let counts = counts(&counted);
                let sums = floats(&sums, present, &counts);
                // The count of a group without values is NULL as well: to the final function, 0 would be a count.
                let valid = sums.nulls().cloned();
                let counts: Vec<u64> = counts.into_iter().map(i64::cast_unsigned).collect();
                vec![Arc::new(UInt64Array::new(counts.into(), valid)), Arc::new(sums)]
            }
            Self::ExtremeInteger { kept, data_type, counted, .. } => {
                let kept = present.iter().map(|group| kept[*group as usize]).collect();
                vec![integer_array(kept, valid(&counts(&counted)), &data_type)?]
            }
            Self::ExtremeFloat { kept, data_type, counted, .. } => {
                let kept = floats(&kept, present, &counts(&counted));
                if data_type == DataType::Float32 {
                    let kept: Float32Array = kept.iter().map(|kept| kept.map(|kept| kept as f32)).collect();
                    vec![Arc::new(kept)]
                } else {
                    vec![Arc::new(kept)]
                }
            }
            Self::Stock(stock) => stock.states(present)?,
        })
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

/// Adds to group 0, in 128 bits.
fn add_total(low: &mut [i64], high: &mut HashMap<usize, i64>, sum: i128) {
    let whole = i128::from(low[0]) + (i128::from(high.get(&0).copied().unwrap_or(0)) << 64) + sum;
    low[0] = whole as i64;
    let carry = ((whole - i128::from(low[0])) >> 64) as i64;
    if carry == 0 {
        high.remove(&0);
    } else {
        high.insert(0, carry);
    }
}

/// Flags of the groups with a counted row, if some has none.
fn valid(counts: &[i64]) -> Option<Vec<bool>> {
    counts.contains(&0).then(|| counts.iter().map(|count| *count > 0).collect())
}

fn floats(values: &[f64], present: &[u32], counts: &[i64]) -> Float64Array {
    let values: Vec<f64> = present.iter().map(|group| values[*group as usize]).collect();
    Float64Array::new(values.into(), valid(counts).map(Into::into))
}
