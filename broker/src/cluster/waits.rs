//! Whom one run of a query waits for: which nodes were asked, and which have not answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::NodeId;
use super::load::Asking;
use super::nodes::Nodes;
use super::pace::Shape;
use super::run::Run;

/// See the module.
pub(crate) struct Waits {
    /// What the nodes are told of it.
    pub(crate) run: Run,
    /// The shape of the query.
    pub(crate) shape: Shape,
    nodes: Arc<Nodes>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Parts that each node was asked for and has not begun to answer.
    open: BTreeMap<NodeId, usize>,
    /// Nodes that were given something to do, whoever reads what they make of it.
    given: BTreeSet<NodeId>,
    /// Nodes with rows that are nowhere else.
    alone: BTreeSet<NodeId>,
}

/// A part of a query that a node was asked for; dropped without an answer, it was given up.
pub(crate) struct PartAsked {
    waits: Arc<Waits>,
    node: NodeId,
    asking: Asking,
    since: Instant,
}

impl Waits {
    pub(crate) fn new(run: Run, shape: Shape, nodes: Arc<Nodes>) -> Arc<Self> {
        Arc::new(Self { run, shape, nodes, state: Mutex::default() })
    }

    /// Notes that `node` is asked for a part.
    pub(super) fn ask(self: &Arc<Self>, node: &NodeId) -> PartAsked {
        *self.state.lock().open.entry(node.clone()).or_default() += 1;
        let asking = self.nodes.ask_part(self.shape, node);
        PartAsked { waits: Arc::clone(self), node: node.clone(), asking, since: Instant::now() }
    }

    /// Notes that `node` is given something to do.
    pub(super) fn give(&self, node: &NodeId) {
        self.state.lock().given.insert(node.clone());
    }

    /// All nodes that have something to do.
    pub(crate) fn given(&self) -> BTreeSet<NodeId> {
        let state = self.state.lock();
        state.given.iter().chain(state.open.keys()).cloned().collect()
    }

    /// Notes nodes with rows that are nowhere else.
    pub(super) fn note_alone(&self, nodes: &BTreeSet<NodeId>) {
        self.state.lock().alone.extend(nodes.iter().cloned());
    }

    /// Whether there is no answer without this node.
    pub(crate) fn needs(&self, node: &NodeId) -> bool {
        self.state.lock().alone.contains(node)
    }

    /// The nodes without which the query is to be run once more, now that it is late; `is_usual` if it is known what is late
    /// for it.
    pub(crate) fn to_avoid(&self, is_usual: bool) -> Option<BTreeSet<NodeId>> {
        let state = self.state.lock();
        to_avoid(&state.open, &state.alone, is_usual)
    }

    /// The same for a query that has exchanged rows: whoever waits for the node that is late is late as well, so `silent` are those
    /// that answer no other question either. Not if all are.
    pub(crate) fn to_avoid_silent(&self, silent: BTreeSet<NodeId>) -> Option<BTreeSet<NodeId>> {
        let is_any = !silent.is_empty() && silent.is_disjoint(&self.state.lock().alone);
        (is_any && !self.given().is_subset(&silent)).then_some(silent)
    }
}

/// Not where all are late: then it is the query. One node that was asked alone is late only if the query usually is not. And
/// not where one of those that are late is the only one to have its rows.
fn to_avoid(
    open: &BTreeMap<NodeId, usize>,
    alone: &BTreeSet<NodeId>,
    is_usual: bool,
) -> Option<BTreeSet<NodeId>> {
    let late: BTreeSet<NodeId> =
        open.iter().filter(|(_, parts)| **parts > 0).map(|(node, _)| node.clone()).collect();
    let answered = open.len() - late.len();
    let stands_out = !late.is_empty() && late.len() <= answered;
    let is_one = late.len() == 1 && open.len() == 1 && is_usual;
    ((stands_out || is_one) && late.is_disjoint(alone)).then_some(late)
}

impl PartAsked {
    /// The node has begun to answer.
    pub(crate) fn answered(mut self) {
        self.asking.answered();
        self.waits.nodes.paces().part_took(self.waits.shape, self.since.elapsed());
    }
}

impl Drop for PartAsked {
    /// Answered or not, nobody waits for it any more.
    fn drop(&mut self) {
        if let Some(open) = self.waits.state.lock().open.get_mut(&self.node) {
            *open = open.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_stands_out_is_avoided_if_others_have_its_rows() {
        let id = |name: &&str| NodeId::new(name).unwrap();
        let avoid = |open: &[(&str, usize)], alone: &[&str], is_usual| {
            let open = open.iter().map(|(name, parts)| (id(name), *parts)).collect();
            let found = to_avoid(&open, &alone.iter().map(id).collect(), is_usual)?;
            Some(found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        for is_usual in [false, true] {
            assert_eq!(avoid(&[], &[], is_usual), None, "nobody was asked yet");
            assert_eq!(avoid(&[("a", 0), ("b", 0)], &[], is_usual), None, "it is the broker that is late");
            assert_eq!(avoid(&[("a", 1), ("b", 1)], &[], is_usual), None, "it is the query that is long");
            assert_eq!(avoid(&[("a", 0), ("b", 2)], &[], is_usual).as_deref(), Some("b"));
            assert_eq!(
                avoid(&[("a", 0), ("b", 1), ("c", 1), ("d", 0)], &[], is_usual).as_deref(),
                Some("b c")
            );
            assert_eq!(avoid(&[("a", 0), ("b", 1), ("c", 1)], &[], is_usual), None);
            assert_eq!(avoid(&[("a", 0), ("b", 1)], &["b"], is_usual), None, "nobody else has its rows");
            assert_eq!(avoid(&[("a", 0), ("b", 1)], &["a"], is_usual).as_deref(), Some("b"));
        }
        assert_eq!(avoid(&[("a", 1)], &[], true).as_deref(), Some("a"));
        assert_eq!(avoid(&[("a", 1)], &[], false), None);
    }
}
