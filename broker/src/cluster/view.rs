//! The data nodes as a broker sees them at one moment. Immutable; replaced as a whole when the members change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use headwater_segment::sealed::SegmentMeta;
use url::Url;

use super::NodeId;
use super::load::Scores;
use super::placement::{Placement, PlacementKey, PlacementMember};

/// How long a segment stays with the node that sealed it, in milliseconds.
const YOUNG_MS: i64 = 600_000;
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
        Self { nodes, placement }
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
    /// all nodes. Where `scores` are clearly worse than those of the next owner, that one is taken. The answer is `None` if there is
    /// no node.
    pub(crate) fn homes<'a>(
        &'a self,
        table_id: &'a str,
        now_ms: i64,
        scores: &'a Scores,
    ) -> impl FnMut(&SegmentMeta) -> Option<&'a Arc<DataNode>> + 'a {
        let (mut of_partitions, are_alike) = (BTreeMap::new(), scores.are_alike());
        let best = move |key| if are_alike { self.first(key) } else { self.better(key, scores) };
        move |segment| match now_ms.saturating_sub(segment.sealed_at_ms) < YOUNG_MS {
            true => *of_partitions
                .entry(segment.partition)
                .or_insert_with(|| best(PlacementKey::partition(table_id, segment.partition))),
            false => best(PlacementKey::segment(segment.id)),
        }
    }

    /// The first owner, or the next one if that is the better choice by far.
    fn better(&self, key: PlacementKey, scores: &Scores) -> Option<&Arc<DataNode>> {
        let first = self.first(key)?;
        let owners = self.placement.owners(key, CANDIDATES);
        let next = owners.get(1).filter(|next| scores.is_worse(&first.member.id, next));
        next.and_then(|next| self.node(next)).or(Some(first))
    }

    fn node(&self, id: &NodeId) -> Option<&Arc<DataNode>> {
        let place = self.nodes.binary_search_by(|node| node.member.id.cmp(id)).ok()?;
        self.nodes.get(place)
    }

    fn first(&self, key: PlacementKey) -> Option<&Arc<DataNode>> {
        match self.placement.first(key) {
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
    use proptest::prelude::*;
    use ulid::Ulid;

    use super::*;
    use crate::cluster::placement::MemberState;

    fn view(nodes: usize) -> ClusterView {
        let node = |number: usize| DataNode {
            member: PlacementMember {
                id: NodeId::new(&format!("data-{number}")).unwrap(),
                weight: 1,
                zone: None,
                state: MemberState::Serving,
            },
            url: format!("http://127.0.0.1:{}/", 7000 + number).parse().unwrap(),
        };
        ClusterView::new((0..nodes).map(node))
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
