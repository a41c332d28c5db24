//! What of a table one node is to read for one query.
//!
//! Names only: segments by their identity and place, open rows by their offsets. The node finds them in its own log, of whatever
//! version, and in its own memory.
//!
//! Invariant: a node reads all of its assignment, or fails and says what is missing.

use std::fmt;

use datafusion::error::{DataFusionError, Result};
use headwater_segment::live::{LiveTable, OffsetRange, Piece};
use headwater_segment::sealed::SegmentMeta;
use ulid::Ulid;
use url::Url;

use super::address::named;
use super::node_error::refusal;
use super::view::DataNode;
use crate::execute::source::SegmentPart;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// The node that reads it, with its [name](super::address). Not sent: whoever gets it is that node.
    pub(crate) node: Option<Url>,
    /// The version of the log that it was made at.
    pub(crate) log_version: u64,
    /// Sealed segments.
    pub(crate) sealed: Vec<SealedRef>,
    /// Offsets that the query's log version does not cover.
    pub(crate) open: Vec<OffsetRange>,
}

impl SealedRef {
    /// The name of a segment.
    pub(crate) fn of(segment: &SegmentMeta) -> Self {
        Self { id: segment.id, partition: segment.partition, from: segment.from }
    }
}

/// A sealed segment by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SealedRef {
    /// Identity.
    pub(crate) id: Ulid,
    /// Kafka partition.
    pub(crate) partition: i32,
    /// First offset.
    pub(crate) from: i64,
}

impl Assignment {
    /// Nothing yet, for `node`.
    pub(crate) fn on(node: &DataNode, log_version: u64) -> Self {
        Self { node: Some(named(node)), log_version, ..Self::default() }
    }

    /// What this node has of it.
    ///
    /// # Errors
    /// If something is not here; the message names it.
    pub(crate) fn parts(&self, table: &LiveTable) -> Result<Vec<SegmentPart>> {
        let mut parts = Vec::with_capacity(self.open.len() + self.sealed.len());
        for range in &self.open {
            for piece in table.resolve(range).map_err(|refusal| missing_range(table, range, &refusal))? {
                parts.push(match piece {
                    Piece::Open(slice) => SegmentPart::Open(slice),
                    Piece::Sealed { segment, offsets: None } => SegmentPart::Sealed(segment),
                    Piece::Sealed { segment, offsets: Some(offsets) } => {
                        let why = format!(
                            "offsets {} to {} are sealed in {}",
                            offsets.start, offsets.end, segment.id
                        );
                        return Err(missing_range(table, range, &why));
                    }
                });
            }
        }
        for wanted in &self.sealed {
            let segment = table.sealed(wanted.partition, wanted.from, wanted.id).ok_or_else(|| {
                let version = table.snapshot().version;
                refusal(format!(
                    "table {}: segment {} is not in version {version} of its log, nor shortly before",
                    table.name(),
                    wanted.id
                ))
            })?;
            parts.push(SegmentPart::Sealed(segment));
        }
        Ok(parts)
    }
}

fn missing_range(table: &LiveTable, range: &OffsetRange, why: &dyn fmt::Display) -> DataFusionError {
    refusal(format!(
        "table {}, partition {}, offsets {} to {} of epoch {}: {why}",
        table.name(),
        range.partition,
        range.from,
        range.to,
        range.epoch
    ))
}
