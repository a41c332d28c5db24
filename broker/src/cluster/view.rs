//! The data nodes as a broker sees them at one moment. Immutable; replaced as a whole when the members change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use headwater_segment::sealed::SegmentMeta;
use url::Url;

use super::NodeId;
use super::load::Scores;
use super::placement::{MemberState, Placement, PlacementKey, PlacementMember};

/// How long a segment stays with the node that sealed it, in milliseconds.
const YOUNG_MS: i64 = 600_000;
/// So long before it moves, its next home begins to load it, in milliseconds.
const LOADED_AHEAD_MS: i64 = 300_000;
/// The owners of a segment that it may be read on: with more, its columns would be on too many nodes.
const CANDIDATES: usize = 2;

/// A node that holds data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataNode {
    /// What placement knows of it.
    pub member: PlacementMember,
    /// Where it is asked.
    pub url: Url,
}

/// See the module.
pub struct ClusterView {
    nodes: Vec<Arc<DataNode>>,
    placement: Placement,
    /// Without those that have just come and still load what is to be theirs.
    settled: Placement,
}

impl fmt::Debug for ClusterView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterView").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

impl ClusterView {
    /// The view of these nodes, in whatever order.
    pub fn new(nodes: impl IntoIterator<Item = DataNode>) -> Self {
        Self::of(nodes.into_iter().map(Arc::new).collect())
    }

    fn of(mut nodes: Vec<Arc<DataNode>>) -> Self {
        nodes.sort_by(|left, right| left.member.id.cmp(&right.member.id));
        let placement = Placement::new(nodes.iter().map(|node| node.member.clone()));
        let settled = nodes.iter().filter(|node| node.member.state != MemberState::Joining);
        let settled = Placement::new(settled.map(|node| node.member.clone()));
        Self { nodes, placement, settled }
    }

    /// All nodes, by id.
    pub fn nodes(&self) -> &[Arc<DataNode>] {
        &self.nodes
    }

    /// The same without some of the nodes.
    pub(crate) fn without(&self, excluded: &BTreeSet<NodeId>) -> Self {
        let left = self.nodes.iter().filter(|node| !excluded.contains(&node.member.id));
        Self::of(left.map(Arc::clone).collect())
    }

    /// Where sealed segments of the table with this id are read: any node could, these have them at hand. A young segment is with
    /// the first owner of its partition, which had its rows when they were open; later the segments of a partition are spread over
    /// all nodes. A node that has just come is no home while it loads, as long as there are others. Where `scores` are clearly
    /// worse than those of the next owner, that one is taken. The answer is `None` if there is no node.
    pub(crate) fn homes<'a>(
        &'a self,
        table_id: &'a str,
        now_ms: i64,
        scores: &'a Scores,
    ) -> impl FnMut(&SegmentMeta) -> Option<&'a Arc<DataNode>> + 'a {
        let (mut of_partitions, are_alike) = (BTreeMap::new(), scores.are_alike());
        let best = move |key| if are_alike { self.first(key) } else { self.better(key, scores) };
        move |segment| match is_young(segment, now_ms) {
            true => *of_partitions
                .entry(segment.partition)
                .or_insert_with(|| best(PlacementKey::partition(table_id, segment.partition))),
            false => best(PlacementKey::segment(segment.id)),
        }
    }

    /// Whether `node` is the home of sealed segments of the table with this id, or will be soon: as if those that have just come
    /// had loaded all, and a while from now.
    pub fn is_to_have<'a>(
        &'a self,
        node: &'a NodeId,
        table_id: &'a str,
        now_ms: i64,
    ) -> impl FnMut(&SegmentMeta) -> bool + 'a {
        let mut of_partitions = BTreeMap::new();
        move |segment| {
            let mut has_partition = || {
                let key = PlacementKey::partition(table_id, segment.partition);
                let first = || self.placement.first(key) == Some(node);
                *of_partitions.entry(segment.partition).or_insert_with(first)
            };
            let leaves_soon = !is_young(segment, now_ms.saturating_add(LOADED_AHEAD_MS));
            (is_young(segment, now_ms) && has_partition())
                || (leaves_soon && self.placement.first(PlacementKey::segment(segment.id)) == Some(node))
        }
    }

    /// The first owner, or the next one if that is the better choice by far.
    fn better(&self, key: PlacementKey, scores: &Scores) -> Option<&Arc<DataNode>> {
        let first = self.first(key)?;
        let mut owners = self.settled.owners(key, CANDIDATES);
        if owners.is_empty() {
            owners = self.placement.owners(key, CANDIDATES);
        }
        let next = owners.get(1).filter(|next| scores.is_worse(&first.member.id, next));
        next.and_then(|next| self.node(next)).or(Some(first))
    }

    fn node(&self, id: &NodeId) -> Option<&Arc<DataNode>> {
        let place = self.nodes.binary_search_by(|node| node.member.id.cmp(id)).ok()?;
        self.nodes.get(place)
    }

    fn first(&self, key: PlacementKey) -> Option<&Arc<DataNode>> {
        match self.settled.first(key).or_else(|| self.placement.first(key)) {
            Some(owner) => self.node(owner),
            // All are leaving, or weigh nothing: they can still read.
            None => self.nodes.first(),
        }
    }

    /// The place of a node among the owners of a partition; those that can own nothing come last.
    pub(crate) fn rank(&self, table_id: &str, partition: i32, node: &NodeId) -> usize {
        let key = PlacementKey::partition(table_id, partition);
        self.placement.rank(key, self.nodes.len(), node).unwrap_or(usize::MAX)
    }
}

fn is_young(segment: &SegmentMeta, now_ms: i64) -> bool {
    now_ms.saturating_sub(segment.sealed_at_ms) < YOUNG_MS
}

/// A member as `system.nodes` shows it, whatever its role and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// Identity.
    pub id: NodeId,
    /// `broker`, `data` or `all`.
    pub role: &'static str,
    /// `joining`, `serving` or `leaving`.
    pub state: &'static str,
    /// `host:port` of its node-to-node listener.
    pub rpc: String,
    /// `host:port` of its HTTP listener.
    pub http: String,
    /// What fails together with it.
    pub zone: Option<String>,
    /// Share of the work, relative to the other members' weights.
    pub weight: u32,
    /// Version of its build.
    pub build: String,
    /// When it started, in microseconds since the epoch.
    pub started_at_us: i64,
    /// Whether it is the node that is asked.
    pub is_this: bool,
    /// Why it is given no work and asked for nothing.
    pub refused: Option<String>,
}

/// Where the node-to-node listener at `rpc` (`host:port`) is asked; `None`: that is no address.
pub fn node_url(rpc: &str) -> Option<Url> {
    format!("http://{rpc}/").parse().ok()
}

/// Whoever knows the members.
pub trait Cluster: Send + Sync {
    /// The data nodes at present. Cheap.
    fn view(&self) -> Arc<ClusterView>;

    /// All members at present, by id, this node among them.
    fn members(&self) -> Vec<MemberRow>;
}

#[cfg(test)]
mod tests {
    use headwater_segment::sealed::SegmentMeta;
    use proptest::prelude::*;
    use ulid::Ulid;

    use super::*;

    const SEALED_AT_MS: i64 = 1_700_000_000_000;
    const SOON_MS: i64 = SEALED_AT_MS + YOUNG_MS - LOADED_AHEAD_MS;
    const OLD_MS: i64 = SEALED_AT_MS + YOUNG_MS;

    fn node(name: &str, state: MemberState) -> DataNode {
        let member = PlacementMember { id: NodeId::new(name).unwrap(), weight: 1, zone: None, state };
        DataNode { member, url: format!("http://{name}/").parse().unwrap() }
    }

    /// Segments of eight partitions.
    fn segments() -> Vec<SegmentMeta> {
        let segment = |number: i32| SegmentMeta {
            path: String::new(),
            id: Ulid::from_parts(SEALED_AT_MS as u64, number as u128 * 7919),
            partition: number % 8,
            from: 0,
            to: 1,
            rows: 1,
            size_bytes: 1,
            format_version: 1,
            sealed_at_ms: SEALED_AT_MS,
            index_offset: 0,
            index_length: 0,
            tail_crc32c: 0,
            dead_letters: 0,
            index_settings: 0,
            columns: Vec::new(),
        };
        (0..64).map(segment).collect()
    }

    fn homes(view: &ClusterView, now_ms: i64) -> Vec<String> {
        let scores = Scores::default();
        let mut home_of = view.homes("t", now_ms, &scores);
        segments().iter().map(|segment| home_of(segment).unwrap().member.id.to_string()).collect()
    }

    /// How many segments each of the nodes is to have.
    fn to_have(view: &ClusterView, now_ms: i64) -> Vec<Vec<bool>> {
        let of_node = |node: &Arc<DataNode>| {
            let mut is_to_have = view.is_to_have(&node.member.id, "t", now_ms);
            segments().iter().map(&mut is_to_have).collect()
        };
        view.nodes().iter().map(of_node).collect()
    }

    #[test]
    fn a_node_that_has_just_come_loads_before_it_is_asked() {
        let before = ClusterView::new([node("a", MemberState::Serving), node("b", MemberState::Serving)]);
        let with = |state| {
            ClusterView::new([
                node("a", MemberState::Serving),
                node("b", MemberState::Serving),
                node("c", state),
            ])
        };
        let (joining, serving) = (with(MemberState::Joining), with(MemberState::Serving));
        for now_ms in [SEALED_AT_MS, OLD_MS] {
            assert_eq!(homes(&joining, now_ms), homes(&before, now_ms));
            let after = homes(&serving, now_ms);
            assert!(after.iter().any(|home| home == "c"));
            // What it loads is what it will be asked for, and it is told so from the beginning.
            let is_c: Vec<bool> = after.iter().map(|home| home == "c").collect();
            assert_eq!(to_have(&joining, now_ms)[2], is_c);
            assert_eq!(to_have(&joining, now_ms), to_have(&serving, now_ms));
        }
        // Where all have just come, they are asked all the same.
        let all = ClusterView::new([node("a", MemberState::Joining), node("b", MemberState::Joining)]);
        assert_eq!(homes(&all, OLD_MS), homes(&before, OLD_MS));
    }

    #[test]
    fn a_segment_is_loaded_by_its_next_home_before_it_moves() {
        let view = ClusterView::new([node("a", MemberState::Serving), node("b", MemberState::Serving)]);
        let (young, old) = (to_have(&view, SEALED_AT_MS), to_have(&view, OLD_MS));
        assert!(young[0] != old[0], "some move");
        let either = |young: &[bool], old: &[bool]| -> Vec<bool> {
            young.iter().zip(old).map(|(young, old)| *young || *old).collect()
        };
        let both: Vec<Vec<bool>> = young.iter().zip(&old).map(|(young, old)| either(young, old)).collect();
        assert_eq!(to_have(&view, SOON_MS), both);
        assert_eq!(to_have(&view, SOON_MS - 1), young);
        let gone = NodeId::new("z").unwrap();
        assert!(!segments().iter().any(view.is_to_have(&gone, "t", OLD_MS)));
    }

    fn view(nodes: usize) -> ClusterView {
        ClusterView::new((0..nodes).map(|number| node(&format!("data-{number}"), MemberState::Serving)))
    }

    proptest! {
        /// Only what slow nodes would read is read elsewhere: on one other node, always the same, and not on a slow one if the
        /// next owner is none.
        #[test]
        fn only_slow_nodes_are_left_and_only_while_they_are(
            nodes in 1usize..8,
            slow in proptest::collection::btree_set(0usize..8, 0..8),
            segments in proptest::collection::vec(any::<u128>(), 1..60),
        ) {
            let view = view(nodes);
            let slow: BTreeSet<NodeId> =
                slow.iter().map(|number| NodeId::new(&format!("data-{number}")).unwrap()).collect();
            let scores = Scores::slow(slow.iter().cloned());
            for segment in segments {
                let key = PlacementKey::segment(Ulid::from(segment));
                let home = &view.first(key).unwrap().member.id;
                let found = &view.better(key, &scores).unwrap().member.id;
                let owners = view.placement.owners(key, CANDIDATES);
                let next = owners.get(1).filter(|next| slow.contains(home) && !slow.contains(*next));
                prop_assert_eq!(found, next.unwrap_or(home));
                // Again, and when all are alike.
                prop_assert_eq!(&view.better(key, &scores).unwrap().member.id, found);
                prop_assert_eq!(&view.better(key, &Scores::default()).unwrap().member.id, home);
            }
        }
    }
}
