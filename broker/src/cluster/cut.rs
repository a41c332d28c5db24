//! The cut of a table across nodes: up to which offset of each partition a query reads, and where from. Pure.
//!
//! The broker takes its own version V of the log, and asks the data nodes how far they can answer from `committed(V)` on. Per
//! partition the node that has most is taken; among equal ones the first owner, so that the same node is asked again.
//!
//! Invariants: a cut never ends before one that this broker gave out earlier (the *floor*), and never before what the request
//! wants, unnoticed: where that cannot be had a [`CutProblem`] names partition and offsets, and the query waits, unless it
//! asked for a partial answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use headwater_segment::log::LogSnapshot;

use super::NodeId;
use super::messages::OfferedPartition;
use super::view::DataNode;

/// What one node can answer.
pub(crate) struct Offer {
    /// The node.
    pub(crate) node: Arc<DataNode>,
    /// What it has.
    pub(crate) partitions: Vec<OfferedPartition>,
}

/// Rows of a partition that are read where they were offered.
#[derive(Clone, Debug)]
pub(crate) struct OpenAt {
    /// The node.
    pub(crate) node: Arc<DataNode>,
    /// First offset.
    pub(crate) from: i64,
    /// Exclusive end.
    pub(crate) to: i64,
    /// Rows.
    pub(crate) rows: u64,
}

/// A cut and where its open part is.
#[derive(Clone, Debug)]
pub(crate) struct NegotiatedCut {
    /// The version of the log that it goes with.
    pub(crate) log: Arc<LogSnapshot>,
    /// Per partition of the log: exclusive end.
    pub(crate) offsets: BTreeMap<i32, i64>,
    /// Per partition: what lies beyond the log's version.
    pub(crate) open: BTreeMap<i32, OpenAt>,
    /// The newest `$timestamp` among the open rows.
    pub(crate) newest_timestamp_ms: Option<i64>,
    /// Nodes with rows that no other node offers.
    pub(crate) alone: BTreeSet<NodeId>,
    /// What is wanted and not there: to be waited for, or to be said.
    pub(crate) missing: Vec<CutProblem>,
}

impl NegotiatedCut {
    /// The cut of what is sealed at `log`.
    pub(crate) fn sealed(log: Arc<LogSnapshot>) -> Self {
        let partitions = log.stream.partitions.iter();
        let offsets = partitions.map(|(partition, state)| (*partition, state.committed)).collect();
        Self {
            log,
            offsets,
            open: BTreeMap::new(),
            newest_timestamp_ms: None,
            alone: BTreeSet::new(),
            missing: Vec::new(),
        }
    }
}

/// Why a cut is not one to answer at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CutProblem {
    /// Kafka partition.
    pub(crate) partition: i32,
    /// The end that is wanted.
    pub(crate) wanted: i64,
    /// The end that there is.
    pub(crate) found: Option<i64>,
}

impl fmt::Display for CutProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, wanted, found } = self;
        match found {
            Some(found) => write!(
                f,
                "partition {partition}: offsets below {wanted} are wanted, below {found} are visible"
            ),
            None => write!(
                f,
                "partition {partition}: offsets below {wanted} are wanted, and the table has no such partition"
            ),
        }
    }
}

/// The cut at `log`; what is missing to the offsets `floors` is named. `rank` says how good a node is for a partition, smaller is
/// better.
pub(crate) fn decide(
    log: &Arc<LogSnapshot>,
    offers: &[Offer],
    floors: &BTreeMap<i32, i64>,
    rank: impl Fn(i32, &DataNode) -> usize,
) -> NegotiatedCut {
    let mut best: BTreeMap<i32, (&OfferedPartition, &Arc<DataNode>)> = BTreeMap::new();
    for offer in offers {
        for offered in &offer.partitions {
            let is_better = best.get(&offered.partition).is_none_or(|(other, node)| {
                let is_before = || rank(offered.partition, &offer.node) < rank(offered.partition, node);
                offered.to > other.to || (offered.to == other.to && is_before())
            });
            if is_better {
                best.insert(offered.partition, (offered, &offer.node));
            }
        }
    }
    let (mut offsets, mut open, mut newest_timestamp_ms) = (BTreeMap::new(), BTreeMap::new(), None);
    let mut alone = BTreeSet::new();
    for (partition, state) in &log.stream.partitions {
        let from = state.committed;
        let mut to = from;
        if let Some((offered, node)) = best.get(partition).filter(|(offered, _)| offered.to > from) {
            to = offered.to;
            newest_timestamp_ms = newest_timestamp_ms.max(offered.newest_timestamp_ms);
            let rows = offered.rows;
            if !has_other(offers, offered, node) {
                alone.insert(node.member.id.clone());
            }
            open.insert(*partition, OpenAt { node: Arc::clone(node), from, to, rows });
        }
        offsets.insert(*partition, to);
    }
    let missing = floors.iter().filter_map(|(partition, wanted)| {
        let found = offsets.get(partition).copied();
        let is_there = found.is_some_and(|found| found >= *wanted);
        (!is_there).then_some(CutProblem { partition: *partition, wanted: *wanted, found })
    });
    let missing = missing.collect();
    NegotiatedCut { log: Arc::clone(log), offsets, open, newest_timestamp_ms, alone, missing }
}

/// Whether another node has what `node` has offered, or will have it in a moment.
fn has_other(offers: &[Offer], offered: &OfferedPartition, node: &DataNode) -> bool {
    let others = offers.iter().filter(|offer| offer.node.member.id != node.member.id);
    let mut theirs = others.flat_map(|offer| &offer.partitions);
    theirs.any(|their| their.partition == offered.partition && (their.is_consumed || their.to >= offered.to))
}
