//! What readers see of a table log: one immutable version of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ulid::Ulid;

use super::compatible::check_compatible;
use super::segments::Segments;
use super::stream::{PartitionState, StreamState};
use crate::schema::TableSchema;
use crate::sealed::SegmentMeta;
use crate::spec::TableSpec;
use crate::{Result, SegmentError};

/// A table at one version of its log.
#[derive(Clone, Debug)]
pub struct LogSnapshot {
    /// The Delta log version.
    pub version: u64,
    /// The table spec.
    pub spec: Arc<TableSpec>,
    /// The spec's schema.
    pub schema: Arc<TableSchema>,
    /// Sealed segments, ordered by partition, then epoch, then offset.
    pub segments: Segments,
    /// Offsets and gaps of the stream.
    pub stream: StreamState,
}

impl LogSnapshot {
    /// The offset at which consumption of a partition resumes; `None` if it was never begun.
    pub fn committed(&self, partition: i32) -> Option<i64> {
        self.stream.partitions.get(&partition).map(|state| state.committed)
    }

    /// A sealed segment of a partition, of any epoch, by its first offset and its identity.
    pub fn segment(&self, partition: i32, from: i64, id: Ulid) -> Option<&Arc<SegmentMeta>> {
        let closed = self.stream.closed.iter().map(|closed| closed.epoch);
        let mut epochs = std::iter::once(self.stream.epoch).chain(closed);
        epochs.find_map(|epoch| self.segment_at(epoch, partition, from).filter(|segment| segment.id == id))
    }

    /// The sealed segment that holds an offset of a partition in an epoch.
    pub fn segment_at(&self, epoch: u32, partition: i32, offset: i64) -> Option<&Arc<SegmentMeta>> {
        // The last one that does not begin behind the offset.
        let place = self.segments.last_before((partition, epoch, offset), true)?;
        let is_of = place.meta.partition == partition && place.epoch() == epoch;
        (is_of && offset < place.meta.to).then_some(&place.meta)
    }

    /// Whether the table may get `spec` instead of its present one.
    ///
    /// # Errors
    /// `Refused`, naming the column and the reason.
    pub fn check_spec(&self, spec: &TableSpec) -> Result<()> {
        check_compatible(&self.spec, spec).map_err(SegmentError::Refused)
    }

    /// Violations of the first invariant, as sentences: in every partition (of every epoch), sealed segments and gaps
    /// tile `[first, committed)`, and no segment is listed twice. Empty if all is well.
    pub fn check_tiling(&self) -> Vec<String> {
        let mut violations = Vec::new();
        let mut ids = BTreeSet::new();
        let mut sealed: BTreeMap<(u32, i32), Vec<(i64, i64)>> = BTreeMap::new();
        for place in self.segments.places() {
            let (segment, epoch) = (&place.meta, place.epoch());
            if !ids.insert(segment.id) {
                violations.push(format!("segment {} is listed twice", segment.id));
            }
            if self.stream.partition(epoch, segment.partition).is_none() {
                violations.push(format!(
                    "segment {} is of partition {} in epoch {epoch}, which was never begun",
                    segment.id, segment.partition
                ));
            }
            sealed.entry((epoch, segment.partition)).or_default().push((segment.from, segment.to));
        }
        let current = std::iter::once((self.stream.epoch, &self.stream.partitions));
        let closed = self.stream.closed.iter().map(|closed| (closed.epoch, &closed.partitions));
        for (epoch, partitions) in closed.chain(current) {
            for (&partition, state) in partitions {
                let tiles = sealed.remove(&(epoch, partition)).unwrap_or_default();
                if let Err(violation) = check_partition(state, tiles) {
                    violations.push(format!("partition {partition}, epoch {epoch}: {violation}"));
                }
            }
        }
        violations
    }
}

fn check_partition(state: &PartitionState, mut tiles: Vec<(i64, i64)>) -> Result<(), String> {
    let gaps = state.gaps.iter().map(|gap| (gap.from, gap.to)).filter(|&(_, to)| to > state.first);
    tiles.extend(gaps);
    tiles.sort_unstable();
    let mut reached = state.first;
    for (from, to) in tiles {
        if from > reached {
            return Err(format!("offsets {reached} to {from} are in no segment and in no gap"));
        }
        if from < reached {
            return Err(format!("offsets {from} to {} are accounted for twice", to.min(reached)));
        }
        reached = to;
    }
    if reached != state.committed {
        return Err(format!("accounted for up to {reached}, but committed is {}", state.committed));
    }
    Ok(())
}
