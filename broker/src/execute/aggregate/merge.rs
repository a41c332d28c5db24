//! The groups of all partitions, put together: a job for each part of the groups, done by whoever asks next.
//!
//! ```text
//! partition 0: groups ─┐                 ┌─ job 0 ─▶ groups that no other job has
//!              rows ───┤ by hash of keys │
//! partition 1: groups ─┤                 ├─ job 1
//!              rows ───┘                 └─ …
//! ```
//!
//! Few groups are one job, but for their distinct values, which are counted in shares. Many are a job for each hash
//! partition, whose table fits into the cache.

use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryReservation;

use super::accumulator::Accumulator;
use super::counting::{Counting, SHARES};
use super::fragment::Fragment;
use super::grouping::key_arrays;
use super::key_values::KeyValues;
use super::keys::Shape;
use super::outcome::{Finished, Moved};
use super::packed::{KeyWords, Packed, PackedKeys};
use super::spread::{PARTITIONS, Spread, SpreadScratch};
use super::table::PackedKey;

/// Up to so many groups are one job.
const ONE_JOB_GROUPS_MAX: usize = 16_384;

/// The groups of one partition that is done.
pub(super) struct PartitionGroups {
    pub(super) shapes: Vec<Shape>,
    /// The groups that have rows, ascending.
    pub(super) present: Vec<u32>,
    /// Of the groups that have rows.
    pub(super) words: Vec<KeyWords>,
    /// Rows of each group.
    pub(super) rows: Vec<i64>,
    pub(super) accumulators: Vec<Finished>,
    pub(super) spread: Option<Spread>,
}

/// What a job hands out.
#[derive(Clone)]
pub(super) enum Output {
    /// Partial states.
    States,
    /// Values, in this schema.
    Values(SchemaRef, Option<Top>),
}

/// Only the first groups in the order of a function are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Top {
    /// Which function.
    pub(super) call: usize,
    pub(super) descending: bool,
    /// How many groups.
    pub(super) fetch: usize,
    /// Whether groups of the same value as the last one are wanted, as more than this decides their order.
    pub(super) ties: bool,
}

/// See the module.
pub(super) struct Merge {
    fragment: Arc<Fragment>,
    keys: Vec<Arc<KeyValues>>,
    shapes: Vec<Shape>,
    parts: Vec<(PartitionGroups, Division)>,
    jobs: usize,
    /// If the jobs are shares of the distinct values.
    counting: Option<Counting>,
    next: AtomicUsize,
    /// What the parts take.
    _memory: Vec<MemoryReservation>,
}

/// Which of a partition's groups each job takes.
struct Division {
    /// Places among the groups that have rows, job by job.
    places: Vec<u32>,
    /// Where each job's end.
    ends: Vec<usize>,
}

/// The groups of one job.
pub(super) struct JobGroups {
    packed: Packed,
    rows: Vec<i64>,
    pub(super) accumulators: Vec<Accumulator>,
}

impl Merge {
    /// Of partitions whose groups have the same shapes.
    pub(super) fn new(
        fragment: Arc<Fragment>,
        keys: Vec<Arc<KeyValues>>,
        parts: Vec<PartitionGroups>,
        memory: Vec<MemoryReservation>,
    ) -> Self {
        let shapes = parts.first().map(|part| part.shapes.clone()).unwrap_or_default();
        let total: usize = parts.iter().map(|part| part.present.len()).sum();
        let is_one = total <= ONE_JOB_GROUPS_MAX && parts.iter().all(|part| part.spread.is_none());
        let counting = if is_one { Counting::new(&parts) } else { None };
        let divisions = if is_one { 1 } else { PARTITIONS };
        let jobs = if counting.is_some() { SHARES } else { divisions };
        let parts = parts.into_iter().map(|part| {
            let division = Division::new(&part, divisions);
            (part, division)
        });
        let parts = parts.collect();
        let next = AtomicUsize::new(0);
        Self { fragment, keys, shapes, parts, jobs, counting, next, _memory: memory }
    }

    /// The next job, if there is one.
    pub(super) fn next_job(&self) -> Option<usize> {
        Some(self.next.fetch_add(1, Ordering::Relaxed)).filter(|job| *job < self.jobs)
    }

    /// Does a job; `None` if it has no groups.
    pub(super) fn run(&self, job: usize, output: &Output) -> Result<Option<RecordBatch>> {
        let groups = match &self.counting {
            Some(counting) => counting.count(job, || self.merge(0))?,
            None => Some(self.merge(job)?),
        };
        let Some(mut groups) = groups else { return Ok(None) };
        let all = 0..groups.rows.len() as u32;
        let mut present: Vec<u32> = match self.is_single() {
            true => all.collect(),
            false => all.filter(|group| groups.rows[*group as usize] > 0).collect(),
        };
        if let Output::Values(_, Some(top)) = output {
            groups.keep_top(*top, &mut present)?;
        }
        if present.is_empty() {
            return Ok(None);
        }
        let words = if self.is_single() { Vec::new() } else { groups.packed.words(&present) };
        let mut arrays = self.fragment.all_keys(key_arrays(&self.keys, &self.shapes, words)?)?;
        let schema = match output {
            Output::States => {
                for accumulator in &mut groups.accumulators {
                    arrays.extend(accumulator.states(&present, &groups.rows)?);
                }
                &self.fragment.output
            }
            Output::Values(schema, _) => {
                for accumulator in &mut groups.accumulators {
                    arrays.push(accumulator.values(&present, &groups.rows)?);
                }
                schema
            }
        };
        batch(schema, arrays, present.len()).map(Some)
    }

    /// Whether there is just one group, with or without rows.
    fn is_single(&self) -> bool {
        self.fragment.keys.is_empty()
    }

    fn merge(&self, job: usize) -> Result<JobGroups> {
        let mut groups = JobGroups::new(&self.fragment, &self.shapes)?;
        let mut scratch = SpreadScratch::default();
        let mut to = Vec::new();
        for (part, division) in &self.parts {
            let places = division.of(job);
            if !places.is_empty() {
                let from: Vec<u32> = places.iter().map(|place| part.present[*place as usize]).collect();
                let words: Vec<KeyWords> = part.words.iter().map(|words| words.gather(places)).collect();
                if self.is_single() {
                    to = vec![0];
                    groups.resize(1);
                } else {
                    groups.packed.find(&words, &mut to);
                    groups.resize(groups.packed.len());
                }
                groups.add(part, places, &from, &to)?;
            }
            if let Some(spread) = &part.spread {
                let JobGroups { packed, rows, accumulators } = &mut groups;
                spread.group(job, packed, rows, accumulators, &mut scratch)?;
            }
        }
        if !self.is_single() {
            groups.resize(groups.packed.len());
        }
        Ok(groups)
    }
}

impl JobGroups {
    fn new(fragment: &Fragment, shapes: &[Shape]) -> Result<Self> {
        Ok(Self { packed: Packed::new(shapes), rows: Vec::new(), accumulators: fragment.accumulators()? })
    }

    fn resize(&mut self, total: usize) {
        self.rows.resize(total, 0);
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.resize(total));
    }

    fn add(&mut self, part: &PartitionGroups, places: &[u32], from: &[u32], to: &[u32]) -> Result<()> {
        let total = self.rows.len();
        for (from, to) in from.iter().zip(to) {
            self.rows[*to as usize] += part.rows[*from as usize];
        }
        let moved = Moved { from, places, to };
        for (accumulator, other) in self.accumulators.iter_mut().zip(&part.accumulators) {
            accumulator.merge(other, moved, total)?;
        }
        Ok(())
    }

    /// Keeps those of the groups `present` that may be among the first.
    fn keep_top(&mut self, top: Top, present: &mut Vec<u32>) -> Result<()> {
        if present.len() <= top.fetch || matches!(self.accumulators[top.call], Accumulator::Stock(_)) {
            return Ok(());
        }
        let values = self.accumulators[top.call].values(present, &self.rows)?;
        let Some(values) = values.as_primitive_opt::<Int64Type>().filter(|values| values.null_count() == 0)
        else {
            return Ok(());
        };
        // The order in which the least come first.
        let rank = |value: i64| if top.descending { !value } else { value };
        let mut kept = BinaryHeap::with_capacity(top.fetch);
        for value in values.values() {
            let rank = rank(*value);
            if kept.len() < top.fetch {
                kept.push(rank);
            } else if kept.peek().is_some_and(|worst| rank < *worst) {
                kept.pop();
                kept.push(rank);
            }
        }
        let Some(worst) = kept.peek().copied() else {
            present.clear();
            return Ok(());
        };
        let mut ties = if top.ties { usize::MAX } else { kept.iter().filter(|rank| **rank == worst).count() };
        let mut values = values.values().iter();
        present.retain(|_| {
            let Some(rank) = values.next().map(|value| rank(*value)) else { return false };
            let is_tie = rank == worst && ties > 0;
            ties -= usize::from(is_tie);
            rank < worst || is_tie
        });
        Ok(())
    }
}

impl Division {
    fn new(part: &PartitionGroups, jobs: usize) -> Self {
        let total = part.present.len();
        if jobs == 1 {
            return Self { places: (0..total as u32).collect(), ends: vec![total] };
        }
        match Packed::new(&part.shapes).pack(&part.words) {
            PackedKeys::Narrow(keys) => Self::hashed(keys, jobs),
            PackedKeys::Wide(keys) => Self::hashed(keys, jobs),
        }
    }

    fn hashed<K: PackedKey>(keys: &[K], jobs: usize) -> Self {
        let mut counts = vec![0usize; jobs];
        keys.iter().for_each(|key| counts[key.partition()] += 1);
        let mut next: Vec<usize> = Vec::with_capacity(jobs);
        let mut end = 0;
        for count in counts {
            next.push(end);
            end += count;
        }
        let mut places = vec![0; keys.len()];
        for (place, key) in keys.iter().enumerate() {
            let next = &mut next[key.partition()];
            places[*next] = place as u32;
            *next += 1;
        }
        Self { places, ends: next }
    }

    /// The places that a job takes.
    fn of(&self, job: usize) -> &[u32] {
        let start = job.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.places[Range { start, end: self.ends[job] }]
    }
}

/// A batch of these columns, cast to the types of `schema`.
pub(super) fn batch(schema: &SchemaRef, mut arrays: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    for (array, field) in arrays.iter_mut().zip(schema.fields()) {
        if array.data_type() != field.data_type() {
            *array = cast(array, field.data_type())?;
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
}
