//! The cut of a table across nodes: up to which offset of each partition a query reads, and where from. Pure.
//!
//! The broker takes its own version V of the log, and asks the data nodes how far they can answer from `committed(V)` on. Per
//! partition the node that has most is taken; among equal ones the first owner, so that the same node is asked again. A node that
//! is busy or slow is left for another one that is nearly as far.
//!
//! Invariants: a cut never ends before one that this broker gave out earlier (the *floor*), and never before what the request
//! wants, unnoticed: where that cannot be had a [`CutProblem`] names partition and offsets, and the query waits, unless it
//! asked for a partial answer.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use headwater_segment::log::LogSnapshot;

use super::NodeId;
use super::load::Scores;
use super::messages::OfferedPartition;
use super::view::DataNode;

/// By how much a node that stands in for a busy one may be less fresh, in milliseconds.
const BEHIND_MS_MAX: i64 = 1000;

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

/// What one node has of a partition.
type OfferedAt<'a> = (&'a OfferedPartition, &'a Arc<DataNode>);

/// The cut at `log`; what is missing to the offsets `floors` is named. `rank` says how good a node is for a partition, smaller is
/// better; `scores`, how busy each is.
pub(crate) fn decide(
    log: &Arc<LogSnapshot>,
    offers: &[Offer],
    floors: &BTreeMap<i32, i64>,
    rank: impl Fn(i32, &DataNode) -> usize,
    scores: &Scores,
) -> NegotiatedCut {
    let mut of_partitions: BTreeMap<i32, Vec<OfferedAt<'_>>> = BTreeMap::new();
    for offer in offers {
        for offered in &offer.partitions {
            of_partitions.entry(offered.partition).or_default().push((offered, &offer.node));
        }
    }
    let are_alike = scores.are_alike();
    let best = of_partitions.iter().filter_map(|(partition, offered)| {
        let order = |(offered, node): &&OfferedAt<'_>| (Reverse(offered.to), rank(*partition, node));
        let furthest = offered.iter().min_by_key(order)?;
        let floor = floors.get(partition).copied().unwrap_or(i64::MIN);
        let may_stand_in = |other: &&OfferedAt<'_>| !are_alike && stands_in(other, furthest, floor, scores);
        let other = offered.iter().filter(may_stand_in).min_by_key(order);
        Some((*partition, *other.unwrap_or(furthest)))
    });
    let best: BTreeMap<i32, OfferedAt<'_>> = best.collect();
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

/// Whether a busy node is left for another one that consumes the partition, is as far as an earlier cut, and nearly as fresh.
fn stands_in(other: &OfferedAt<'_>, busy: &OfferedAt<'_>, floor: i64, scores: &Scores) -> bool {
    let behind_ms = busy.0.newest_timestamp_ms.zip(other.0.newest_timestamp_ms);
    let is_fresh = busy.0.to == other.0.to
        || behind_ms.is_some_and(|(busy, other)| busy.saturating_sub(other) <= BEHIND_MS_MAX);
    let is_far = other.0.is_consumed && other.0.to >= floor;
    is_far && is_fresh && scores.is_worse(&busy.1.member.id, &other.1.member.id)
}

/// Whether another node has what `node` has offered, or will have it in a moment.
fn has_other(offers: &[Offer], offered: &OfferedPartition, node: &DataNode) -> bool {
    let others = offers.iter().filter(|offer| offer.node.member.id != node.member.id);
    let mut theirs = others.flat_map(|offer| &offer.partitions);
    theirs.any(|their| their.partition == offered.partition && (their.is_consumed || their.to >= offered.to))
}

#[cfg(test)]
mod tests {
    use headwater_segment::log::{Change, Commit, TableLog};
    use headwater_segment::spec::parse_spec;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use ulid::Ulid;

    use super::*;
    use crate::cluster::placement::{MemberState, PlacementMember};

    const SPEC: &str =
        "{name: t, columns: [{name: id, type: LONG}], stream: {brokers: 'localhost:9092', topic: t}}";

    async fn log() -> Arc<LogSnapshot> {
        let spec = parse_spec(SPEC).unwrap();
        let log = TableLog::create(Arc::new(InMemory::new()), Path::from("tables/t"), &spec).await.unwrap();
        let change = Change::FirstStart { epoch: 0, starts: BTreeMap::from([(0, 0)]), topic_id: None };
        log.commit(&Commit { id: Ulid::new(), at_ms: 0, change }).await.unwrap()
    }

    /// Partition 0 up to `to`, whose newest row is of that time.
    fn offer(name: &str, to: i64, newest_ms: i64, is_consumed: bool) -> Offer {
        let member = PlacementMember {
            id: NodeId::new(name).unwrap(),
            weight: 1,
            zone: None,
            state: MemberState::Serving,
        };
        let node = Arc::new(DataNode { member, url: "http://127.0.0.1:1/".parse().unwrap() });
        let newest_timestamp_ms = Some(newest_ms);
        Offer {
            node,
            partitions: vec![OfferedPartition {
                partition: 0,
                to,
                rows: 1,
                newest_timestamp_ms,
                is_consumed,
            }],
        }
    }

    #[tokio::test]
    async fn a_busy_node_is_left_only_for_one_that_is_nearly_as_far() {
        let log = log().await;
        let read_at = |other: Offer, floor: i64, busy: &[&str]| {
            let offers = [offer("a", 150, 9000, true), other];
            let scores = Scores::slow(busy.iter().map(|name| NodeId::new(name).unwrap()));
            let floors = BTreeMap::from([(0, floor)]);
            let cut = decide(&log, &offers, &floors, |_, node| node.member.id.as_str().len(), &scores);
            assert!(cut.missing.is_empty());
            (cut.open[&0].node.member.id.to_string(), cut.offsets[&0])
        };
        let first = ("a".to_owned(), 150);
        let near = || offer("b", 149, 8500, true);
        assert_eq!(read_at(near(), 0, &[]), first);
        assert_eq!(read_at(near(), 149, &["a"]), ("b".to_owned(), 149));
        assert_eq!(read_at(near(), 150, &["a"]), first, "a cut never goes back");
        assert_eq!(read_at(near(), 0, &["a", "b"]), first);
        assert_eq!(read_at(offer("b", 149, 7000, true), 0, &["a"]), first, "that would be old");
        assert_eq!(read_at(offer("b", 149, 8500, false), 0, &["a"]), first, "it consumes no more");
    }

    #[tokio::test]
    async fn who_alone_has_rows_is_known() {
        let log = log().await;
        let alone = |offers: &[Offer]| {
            let cut = decide(&log, offers, &BTreeMap::new(), |_, _| 0, &Scores::default());
            cut.alone.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(alone(&[offer("a", 5, 0, true)]), ["a"]);
        assert_eq!(alone(&[offer("a", 5, 0, true), offer("b", 0, 0, false)]), ["a"]);
        assert_eq!(alone(&[offer("a", 5, 0, true), offer("b", 4, 0, true)]), Vec::<String>::new());
        assert_eq!(alone(&[offer("a", 0, 0, true)]), Vec::<String>::new(), "there are no rows");
    }
}
