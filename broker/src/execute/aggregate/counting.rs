//! Distinct values of few groups, counted by all partitions: each share of the values by whoever asks next. Who counts the
//! last share has the groups, with their counts.
//!
//! Merging a million values takes as long as many a query, and few groups would be one job otherwise.

use std::ops::Range;

use datafusion::error::Result;
use parking_lot::{Mutex, RwLock};

use super::accumulator::Accumulator;
use super::distinct::Distinct;
use super::merge::{JobGroups, PartitionGroups};
use super::outcome::Finished;
use super::program::unlike;
use super::spread::PARTITIONS;

/// Shares of the values.
pub(super) const SHARES: usize = 16;
/// Fewer values than this are counted in one go.
const SHARED_VALUES_MIN: usize = 1 << 17;

/// See the module.
pub(super) struct Counting {
    /// Until the last share is counted.
    groups: RwLock<Option<JobGroups>>,
    counted: Mutex<Counted>,
}

/// What is counted so far.
#[derive(Default)]
struct Counted {
    shares: usize,
    /// By function that counts distinct values, then by group.
    values: Vec<Vec<i64>>,
}

impl Counting {
    /// `None` if it does not pay for the groups of these parts, all of which are one job.
    pub(super) fn new(parts: &[PartitionGroups]) -> Option<Self> {
        let finished = parts.iter().flat_map(|part| &part.accumulators);
        let values = finished.map(|finished| match finished {
            Finished::Own(Accumulator::Distinct(distinct)) => distinct.listed_len(),
            _ => 0,
        });
        (values.sum::<usize>() >= SHARED_VALUES_MIN)
            .then(|| Self { groups: RwLock::default(), counted: Mutex::default() })
    }

    /// Counts a share; the groups, if it was the last one. `merge` puts them together.
    pub(super) fn count(
        &self,
        share: usize,
        merge: impl FnOnce() -> Result<JobGroups>,
    ) -> Result<Option<JobGroups>> {
        self.begin(merge)?;
        let values: Vec<Vec<i64>> = {
            let groups = self.groups.read();
            let accumulators = groups.iter().flat_map(|groups| &groups.accumulators);
            distinct(accumulators).map(|distinct| distinct.count(&partitions(share))).collect()
        };
        let mut counted = self.counted.lock();
        if counted.values.is_empty() {
            counted.values = values;
        } else {
            let both = counted.values.iter_mut().flatten().zip(values.into_iter().flatten());
            both.for_each(|(count, more)| *count += more);
        }
        counted.shares += 1;
        if counted.shares < SHARES {
            return Ok(None);
        }
        let mut groups = self.groups.write().take().ok_or_else(unlike)?;
        let mut counts = counted.values.drain(..);
        for accumulator in &mut groups.accumulators {
            if let Accumulator::Distinct(distinct) = accumulator {
                distinct.set_counts(counts.next().ok_or_else(unlike)?);
            }
        }
        Ok(Some(groups))
    }

    fn begin(&self, merge: impl FnOnce() -> Result<JobGroups>) -> Result<()> {
        let mut groups = self.groups.upgradable_read();
        if groups.is_none() {
            let merged = merge()?;
            groups.with_upgraded(|groups| *groups = Some(merged));
        }
        Ok(())
    }
}

fn distinct<'a>(accumulators: impl Iterator<Item = &'a Accumulator>) -> impl Iterator<Item = &'a Distinct> {
    accumulators.filter_map(|accumulator| match accumulator {
        Accumulator::Distinct(distinct) => Some(distinct),
        _ => None,
    })
}

fn partitions(share: usize) -> Range<usize> {
    const WIDTH: usize = PARTITIONS / SHARES;
    share * WIDTH..(share + 1) * WIDTH
}
