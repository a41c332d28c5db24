//! Whether neighbouring segments may be replaced by one that holds the rows of all of them.
//!
//! | the new one is in the table | all old ones are | they are neighbours, and hold its range and rows | decision |
//! |---|---|---|---|
//! | yes | - | - | already committed |
//! | no | yes | yes | write it: one entry with all removes and the add |
//! | no | yes | no | refused |
//! | no | no | - | conflict: expired, replaced, or gone |
//!
//! Neighbours are of one partition and one epoch, with nothing between them but offsets that are recorded as empty. The new
//! segment's range has those offsets too, so their gap leaves the stream state in the same entry.
//!
//! **Architecture Invariant:** no committed offset moves here, so a compaction never competes with a seal.

use std::collections::HashMap;

use ulid::Ulid;

use super::actions;
use super::decide::{Commit, Decision, refused, write_rewritten};
use super::segments::SegmentKey;
use super::state::LogState;
use super::stream::GapReason;
use crate::schema::TableSchema;
use crate::sealed::SegmentMeta;
use crate::{Result, SegmentError};

/// Why a segment is not let into the table, although nothing is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Its rows are in another segment by now.
    #[error("segment {segment} was written anew by somebody else, as {by}")]
    Replaced {
        /// The segment.
        segment: Ulid,
        /// One that holds offsets of it now.
        by: Ulid,
    },
    /// Its rows are no longer in the table.
    #[error("retention removed segment {segment}")]
    Expired {
        /// The segment.
        segment: Ulid,
    },
    /// The new segment itself was uploaded so long ago that a collector may have deleted its object.
    #[error("segment {segment} was made so long ago that its object may have been deleted; write it anew")]
    Collected {
        /// The new segment.
        segment: Ulid,
    },
    /// It was never in the table, or it is not known what became of it.
    #[error("segment {segment} is not in the table")]
    Gone {
        /// The segment.
        segment: Ulid,
    },
}

/// Decides about putting `new` in the place of the segments `old`, whatever their order.
pub(super) fn decide_compact(
    state: &LogState,
    commit: &Commit,
    epoch: u32,
    old: &[Ulid],
    new: &SegmentMeta,
    schema: &TableSchema,
) -> Result<Decision> {
    // All that can be in the table of this range begins inside it.
    let range = (new.partition, epoch, new.from)..(new.partition, epoch, new.to);
    if new.from >= new.to {
        return refused(state, format!("{}: its offsets are not a range", new.path));
    }
    let present: HashMap<Ulid, &SegmentMeta> =
        state.segments.range(range).map(|place| (place.id, &*place.meta)).collect();
    if present.contains_key(&new.id) {
        return Ok(Decision::AlreadyCommitted);
    }
    check_not_collected(state, new.id)?;
    if let Some(&missing) = old.iter().find(|id| !present.contains_key(id)) {
        return missing_segment(state, (new.partition, epoch, new.from), new.to, old, missing);
    }
    let mut replaced: Vec<&SegmentMeta> = old.iter().filter_map(|id| present.get(id).copied()).collect();
    replaced.sort_unstable_by_key(|segment| segment.from);
    if let Err(why) = check_neighbours(state, epoch, &replaced, new) {
        return refused(
            state,
            format!("{} cannot take the place of {} segments: {why}", new.path, old.len()),
        );
    }
    let mut write = write_rewritten(state, commit, epoch, &replaced, new, schema)?;
    let mut stream = state.stream.clone();
    if stream.cover(epoch, new.partition, new.from, new.to) {
        write.push(actions::stream(&state.spec.name, &stream)?);
    }
    Ok(Decision::Write(write))
}

/// An object that was made before the collectors' mark may be deleted by now: it must not enter the table.
pub(super) fn check_not_collected(state: &LogState, segment: Ulid) -> Result<()> {
    if segment.timestamp_ms() >= state.stream.collected_before_ms {
        return Ok(());
    }
    let (table, conflict) = (state.spec.name.clone(), Conflict::Collected { segment });
    Err(SegmentError::Conflict { table, conflict })
}

/// Why a segment that was to be replaced is not among those that begin in the new one's range.
fn missing_segment(
    state: &LogState,
    (partition, epoch, from): SegmentKey,
    to: i64,
    old: &[Ulid],
    missing: Ulid,
) -> Result<Decision> {
    if let Some(elsewhere) = state.segments.find(missing) {
        return refused(
            state,
            format!(
                "{} is not in epoch {epoch}, partition {partition}, offsets {from} to {to}, where it was to be replaced",
                elsewhere.meta.path
            ),
        );
    }
    let overlapping = state
        .segments
        .range((partition, epoch, i64::MIN)..(partition, epoch, to))
        .map(|place| &place.meta)
        .rev()
        .take_while(|segment| segment.to > from)
        .find(|segment| !old.contains(&segment.id));
    let is_expired = || match state.stream.partition(epoch, partition) {
        None => true, // an epoch is forgotten with its last rows
        Some(partition) => partition
            .gaps
            .iter()
            .any(|gap| gap.reason == GapReason::Expired && gap.from < to && gap.to > from),
    };
    let conflict = match overlapping {
        Some(other) => Conflict::Replaced { segment: missing, by: other.id },
        None if is_expired() => Conflict::Expired { segment: missing },
        None => Conflict::Gone { segment: missing },
    };
    Err(SegmentError::Conflict { table: state.spec.name.clone(), conflict })
}

/// The old ones, ascending, must have exactly the range and the rows of the new one.
fn check_neighbours(
    state: &LogState,
    epoch: u32,
    old: &[&SegmentMeta],
    new: &SegmentMeta,
) -> Result<(), String> {
    let (Some(first), Some(last)) = (old.first(), old.last()) else {
        return Err("there are none".into());
    };
    if old.len() < 2 {
        return Err("one segment is replaced, not compacted".into());
    }
    if (first.from, last.to) != (new.from, new.to) {
        return Err(format!("they are offsets {} to {}", first.from, last.to));
    }
    let Some(partition) = state.stream.partition(epoch, new.partition) else {
        return Err(format!("partition {} was never begun in epoch {epoch}", new.partition));
    };
    let apart = old.windows(2).find(|pair| !partition.is_empty_between(pair[0].to, pair[1].from));
    if let Some([left, right]) = apart {
        return Err(format!("{} and {} are not neighbours", left.path, right.path));
    }
    let rows: u64 = old.iter().map(|segment| segment.rows).sum();
    let dead_letters: u64 = old.iter().map(|segment| segment.dead_letters).sum();
    if (rows, dead_letters) != (new.rows, new.dead_letters) {
        return Err(format!("they hold {rows} rows and {dead_letters} dead letters"));
    }
    Ok(())
}
