//! Offsets that another process asks for, translated into what this process has of them.
//!
//! A broker plans on one log version V and asks the node that consumes a partition for the offsets which V does not cover:
//! `[committed(V), to)`. The node's own log may be older than V, or newer: then part of what is asked for is sealed here by
//! now, possibly in segments that reach beyond the range on either side. [`resolve`] finds the pieces all the same.
//!
//! Invariant: the pieces' offsets do not overlap, and together with recorded gaps they are exactly the range; where that cannot
//! be, the answer is a [`Refusal`] that says from where on, never fewer rows.
//!
//! Cost: one pass over the partition's mutable segments (a few) per piece, and a binary search among the sealed ones.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::OpenSlice;
use crate::log::LogSnapshot;
use crate::mutable::MutableSegment;
use crate::sealed::SegmentMeta;

/// Offsets of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetRange {
    /// The epoch of the stream that they count in.
    pub epoch: u32,
    /// Kafka partition.
    pub partition: i32,
    /// The first one.
    pub from: i64,
    /// Their end, exclusive.
    pub to: i64,
}

/// What a process can answer for a partition that it consumes: all offsets from the one that was asked for up to `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Kafka partition.
    pub partition: i32,
    /// Exclusive end.
    pub to: i64,
    /// Rows at these offsets.
    pub rows: u64,
    /// The newest `$timestamp` among those that are not sealed here, in milliseconds since the epoch.
    pub newest_timestamp_ms: Option<i64>,
    /// Whether the partition is consumed here, and the consumer has caught up: what follows `to` will be here as well.
    pub is_consumed: bool,
}

/// A part of a range.
#[derive(Clone)]
pub enum Piece {
    /// Rows of a mutable segment.
    Open(OpenSlice),
    /// Rows of a sealed segment.
    Sealed {
        /// The segment.
        segment: Arc<SegmentMeta>,
        /// The offsets that belong to the piece; `None`: all of the segment's.
        offsets: Option<Range<i64>>,
    },
}

/// Why a range cannot be read here, now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Offsets count in another epoch here.
    Epoch {
        /// The epoch here.
        here: u32,
    },
    /// The end of the range is not visible here yet.
    NotYet {
        /// What is visible ends here.
        visible: i64,
    },
    /// Offsets are neither in memory nor in a sealed segment of the log as it is known here.
    Missing {
        /// The first of them.
        from: i64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch { here } => write!(f, "the stream is in epoch {here} here"),
            Self::NotYet { visible } => write!(f, "only offsets below {visible} are visible here yet"),
            Self::Missing { from } => {
                write!(f, "offset {from} is neither in memory nor in a segment that is known here")
            }
        }
    }
}

/// What can be answered of a partition in `epoch` from offset `from` on; `None` if not all of it, from there to the newest row, can.
pub(super) fn offer(
    log: &LogSnapshot,
    mutable: &[Arc<MutableSegment>],
    (epoch, partition, from): (u32, i32, i64),
) -> Option<Offered> {
    let visible =
        mutable.iter().map(|segment| segment.next_offset()).chain(log.committed(partition)).max()?;
    let range = OffsetRange { epoch, partition, from, to: visible.max(from) };
    let pieces = resolve(log, mutable, &range).ok()?;
    let (mut rows, mut newest_timestamp_ms) = (0, None);
    for piece in &pieces {
        match piece {
            Piece::Open(slice) => {
                rows += slice.rows.len() as u64;
                newest_timestamp_ms = newest_timestamp_ms.max(slice.segment.newest_timestamp_ms());
            }
            Piece::Sealed { segment, offsets: None } => rows += segment.rows,
            // Such a range would be refused when it is read.
            Piece::Sealed { offsets: Some(_), .. } => return None,
        }
    }
    Some(Offered { partition, to: range.to, rows, newest_timestamp_ms, is_consumed: !mutable.is_empty() })
}

/// The pieces of `range`, ascending. `mutable` are mutable segments of its partition, also such as are sealed by now; rows of the
/// log's segments are taken where no mutable segment has them.
///
/// # Errors
/// As [`Refusal`] says.
pub(super) fn resolve(
    log: &LogSnapshot,
    mutable: &[Arc<MutableSegment>],
    range: &OffsetRange,
) -> Result<Vec<Piece>, Refusal> {
    if log.stream.epoch != range.epoch {
        return Err(Refusal::Epoch { here: log.stream.epoch });
    }
    // One load of the published offset per segment decides what is seen of it.
    let mutable: Vec<_> = mutable.iter().map(|segment| (segment, segment.next_offset())).collect();
    let mut pieces = Vec::new();
    let mut reached = range.from;
    while reached < range.to {
        let open =
            mutable.iter().filter(|(segment, next)| (segment.start_offset()..*next).contains(&reached));
        if let Some((segment, next)) = open.max_by_key(|(_, next)| *next) {
            let end = range.to.min(*next);
            let rows = segment.rows_below(reached)..segment.rows_below(end);
            if !rows.is_empty() {
                let sealing = mutable.iter().any(|(other, _)| other.start_offset() >= *next);
                pieces.push(Piece::Open(OpenSlice { segment: Arc::clone(segment), rows, sealing }));
            }
            reached = end;
        } else if let Some(segment) = log.segment_at(range.epoch, range.partition, reached) {
            let end = range.to.min(segment.to);
            let is_whole = segment.from == reached && segment.to == end;
            let offsets = (!is_whole).then_some(reached..end);
            pieces.push(Piece::Sealed { segment: Arc::clone(segment), offsets });
            reached = end;
        } else if let Some(end) = gap_at(log, range.partition, reached) {
            reached = end;
        } else {
            let visible = mutable.iter().map(|(_, next)| *next).chain(log.committed(range.partition)).max();
            let is_late = visible.is_none_or(|visible| visible <= reached);
            return Err(match is_late {
                true => Refusal::NotYet { visible: visible.unwrap_or(reached) },
                false => Refusal::Missing { from: reached },
            });
        }
    }
    Ok(pieces)
}

/// The end of the recorded gap that an offset lies in.
fn gap_at(log: &LogSnapshot, partition: i32, offset: i64) -> Option<i64> {
    let gaps = &log.stream.partitions.get(&partition)?.gaps;
    let gap = &gaps[..gaps.partition_point(|gap| gap.from <= offset)];
    gap.last().filter(|gap| offset < gap.to).map(|gap| gap.to)
}

#[cfg(test)]
mod tests;
