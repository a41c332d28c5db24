//! What accumulators make of their groups: partial states, values, and both from the groups of several partitions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float32Array, Float64Array, Int64Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion::error::Result;

use super::accumulator::{Accumulator, Counted, WideSums};
use super::program::{overflow, unlike};
use super::values::integer_array;

/// The accumulators of one function in one partition that is done.
pub(super) enum Finished {
    /// By group.
    Own(Accumulator),
    /// DataFusion's states, in the order of the groups that have rows.
    States(Vec<ArrayRef>),
}

/// Some groups of a partition that is done, and the groups that they are elsewhere.
#[derive(Clone, Copy)]
pub(super) struct Moved<'a> {
    /// The groups.
    pub(super) from: &'a [u32],
    /// Where they are among those that have rows.
    pub(super) places: &'a [u32],
    /// What they are elsewhere.
    pub(super) to: &'a [u32],
}

impl Accumulator {
    /// As other partitions take it; `present` are the groups that have rows.
    pub(super) fn finish(self, present: &[u32]) -> Result<Finished> {
        Ok(match self {
            Self::Stock(mut stock) => Finished::States(stock.states(present)?),
            Self::Distinct(mut distinct) => {
                distinct.settle();
                Finished::Own(Self::Distinct(distinct))
            }
            own => Finished::Own(own),
        })
    }

    /// Adds groups of another partition; groups are below `total`.
    pub(super) fn merge(&mut self, other: &Finished, moved: Moved<'_>, total: usize) -> Result<()> {
        match (self, other) {
            (Self::Stock(stock), Finished::States(states)) => {
                let places = arrow::array::UInt32Array::from(moved.places.to_vec());
                let states = states.iter().map(|states| take(states, &places, None));
                stock.merge(moved.to, &states.collect::<Result<Vec<_>, _>>()?)?;
            }
            (Self::Count(counted), Finished::Own(Self::Count(other))) => counted.merge(other, moved, total),
            (
                Self::SumIntegers { sums, counted },
                Finished::Own(Self::SumIntegers { sums: from, counted: other }),
            )
            | (
                Self::AverageIntegers { sums, counted },
                Finished::Own(Self::AverageIntegers { sums: from, counted: other }),
            ) => {
                sums.merge(from, moved);
                counted.merge(other, moved, total);
            }
            (
                Self::SumFloats { sums, counted },
                Finished::Own(Self::SumFloats { sums: from, counted: other }),
            )
            | (
                Self::Average { sums, counted },
                Finished::Own(Self::Average { sums: from, counted: other }),
            ) => {
                moved.each(|group, to| sums[to] += from[group]);
                counted.merge(other, moved, total);
            }
            (
                Self::ExtremeInteger { kept, most, counted, .. },
                Finished::Own(Self::ExtremeInteger { kept: from, counted: other, .. }),
            ) => {
                let choose = if *most { i64::max } else { i64::min };
                moved.each(|group, to| kept[to] = choose(kept[to], from[group]));
                counted.merge(other, moved, total);
            }
            (
                Self::ExtremeFloat { kept, most, counted, .. },
                Finished::Own(Self::ExtremeFloat { kept: from, counted: other, .. }),
            ) => {
                let most = *most;
                moved.each(|group, to| {
                    if from[group].total_cmp(&kept[to]).is_gt() == most {
                        kept[to] = from[group];
                    }
                });
                counted.merge(other, moved, total);
            }
            (Self::Distinct(distinct), Finished::Own(Self::Distinct(other))) => {
                distinct.merge(other, moved, total);
            }
            // All partitions run the same functions.
            _ => return Err(unlike()),
        }
        Ok(())
    }

    /// The states of the groups `present`; `rows` has the number of rows of every group. DataFusion's accumulators have
    /// no groups afterwards.
    pub(super) fn states(&mut self, present: &[u32], rows: &[i64]) -> Result<Vec<ArrayRef>> {
        Ok(match self {
            Self::AverageIntegers { sums, counted } => {
                let counts = counted.of_all(present, rows);
                average_states(sums.floats(present, &counts), counts)
            }
            Self::Average { sums, counted } => {
                let counts = counted.of_all(present, rows);
                average_states(floats(sums, present, &counts), counts)
            }
            Self::Distinct(distinct) => vec![distinct.states(present)?],
            Self::Stock(stock) => stock.states(present)?,
            _ => vec![self.values(present, rows)?],
        })
    }

    /// The values of the groups `present`; `rows` has the number of rows of every group. DataFusion's accumulators have
    /// no groups afterwards.
    pub(super) fn values(&mut self, present: &[u32], rows: &[i64]) -> Result<ArrayRef> {
        Ok(match self {
            Self::Count(counted) => Arc::new(Int64Array::from(counted.of_all(present, rows))),
            Self::SumIntegers { sums, counted } => {
                let valid = valid(&counted.of_all(present, rows));
                integer_array(sums.whole(present)?, valid, &DataType::Int64)?
            }
            Self::SumFloats { sums, counted } => {
                Arc::new(floats(sums, present, &counted.of_all(present, rows)))
            }
            Self::AverageIntegers { sums, counted } => {
                let counts = counted.of_all(present, rows);
                quotients(sums.floats(present, &counts), &counts)
            }
            Self::Average { sums, counted } => {
                let counts = counted.of_all(present, rows);
                quotients(floats(sums, present, &counts), &counts)
            }
            Self::ExtremeInteger { kept, data_type, counted, .. } => {
                let kept = present.iter().map(|group| kept[*group as usize]).collect();
                integer_array(kept, valid(&counted.of_all(present, rows)), data_type)?
            }
            Self::ExtremeFloat { kept, data_type, counted, .. } => {
                let kept = floats(kept, present, &counted.of_all(present, rows));
                if *data_type == DataType::Float32 {
                    let kept: Float32Array = kept.iter().map(|kept| kept.map(|kept| kept as f32)).collect();
                    Arc::new(kept)
                } else {
                    Arc::new(kept)
                }
            }
            Self::Distinct(distinct) => distinct.values(present),
            Self::Stock(stock) => stock.values(present)?,
        })
    }
}

impl Moved<'_> {
    /// Each group and what it is elsewhere.
    pub(super) fn each(self, mut take: impl FnMut(usize, usize)) {
        self.from.iter().zip(self.to).for_each(|(from, to)| take(*from as usize, *to as usize));
    }
}

impl Counted {
    fn of_all(&self, present: &[u32], rows: &[i64]) -> Vec<i64> {
        present.iter().map(|group| self.of(*group as usize, rows)).collect()
    }

    fn merge(&mut self, other: &Self, moved: Moved<'_>, total: usize) {
        if let (Some(filtered), Some(other)) = (&mut self.filtered, &other.filtered) {
            moved.each(|group, to| filtered[to] += other[group]);
        }
        if !other.nulls.is_empty() {
            self.nulls.resize(total, 0);
            moved.each(|group, to| self.nulls[to] += other.nulls.get(group).copied().unwrap_or(0));
        }
    }
}

impl WideSums {
    fn merge(&mut self, other: &Self, moved: Moved<'_>) {
        moved.each(|group, to| self.add(to, other.of(group)));
    }

    /// The sums, which must fit.
    fn whole(&self, present: &[u32]) -> Result<Vec<i64>> {
        let whole = |group: &u32| i64::try_from(self.of(*group as usize));
        let sums = present.iter().map(whole).collect::<Result<Vec<_>, _>>();
        sums.map_err(|_| overflow("sum overflows BIGINT; cast the argument to DECIMAL(38,0)"))
    }

    fn floats(&self, present: &[u32], counts: &[i64]) -> Float64Array {
        let values: Vec<f64> = present.iter().map(|group| self.of(*group as usize) as f64).collect();
        Float64Array::new(values.into(), valid(counts).map(Into::into))
    }
}

/// The count of a group without values is NULL as well: to the final function, 0 would be a count.
fn average_states(sums: Float64Array, counts: Vec<i64>) -> Vec<ArrayRef> {
    let counts: Vec<u64> = counts.into_iter().map(i64::cast_unsigned).collect();
    vec![Arc::new(UInt64Array::new(counts.into(), sums.nulls().cloned())), Arc::new(sums)]
}

fn quotients(sums: Float64Array, counts: &[i64]) -> ArrayRef {
    let (_, values, nulls) = sums.into_parts();
    let values: Vec<f64> = values.iter().zip(counts).map(|(sum, count)| sum / *count as f64).collect();
    Arc::new(Float64Array::new(values.into(), nulls))
}

/// Flags of the groups with a counted row, if some has none.
fn valid(counts: &[i64]) -> Option<Vec<bool>> {
    counts.contains(&0).then(|| counts.iter().map(|count| *count > 0).collect())
}

fn floats(values: &[f64], present: &[u32], counts: &[i64]) -> Float64Array {
    let values: Vec<f64> = present.iter().map(|group| values[*group as usize]).collect();
    Float64Array::new(values.into(), valid(counts).map(Into::into))
}
