//! From what nodes have to what they should have, a bounded number of steps at a time.
//!
//! Every node computes the same steps from the same view and takes those that name it. Per key:
//!
//! | situation | step |
//! |---|---|
//! | fewer copies stay than are wanted, and none serves | load on the next owner, before all else |
//! | fewer copies stay than are wanted | load on the next owner |
//! | enough copies, but an owner has none | load on it once the members have settled |
//! | more copies serve than are wanted | release those of nodes that are not owners, down to the wanted number |
//! | a copy that loads on a node that is no owner | release it, if another copy serves |
//! | the key is wanted nowhere because there is nobody | nothing: who has it keeps it |
//! | the key is gone | release all |
//!
//! A copy "stays" if its node is not leaving. So the loss or the leaving of a node is mended at once, while a mere
//! better place has to wait: a node that comes and goes every few seconds moves nothing.
//!
//! Invariants: a copy that serves is released only if at least as many as wanted, and so at least one, serve without it;
//! no more than `loads_max` loads are under way at once; with settled members the steps end at exactly the wanted
//! assignment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cluster::NodeId;

/// How long the members must be the same before a partition goes to a better owner.
pub const PARTITION_SETTLES_AFTER: Duration = Duration::from_secs(10);
/// How long the members must be the same before a sealed segment goes to a better owner. Any node can read any segment
/// meanwhile, so this may wait longer.
pub const SEGMENT_SETTLES_AFTER: Duration = Duration::from_secs(30);

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldState {
    /// Being loaded, or caught up.
    Loading,
    /// Answers for the key.
    Serving,
}

/// A copy of a key on a live node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Where.
    pub node: NodeId,
    /// How far.
    pub state: HeldState,
    /// The node is about to end.
    pub leaving: bool,
}

/// How much may move.
#[derive(Clone, Copy, Debug)]
pub struct MoveRules {
    /// Loads under way at once, those of before included.
    pub loads_max: usize,
    /// The members have been the same for long enough ([`PARTITION_SETTLES_AFTER`], [`SEGMENT_SETTLES_AFTER`]).
    pub settled: bool,
}

/// A key and the node that is to do something about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move<K> {
    /// What.
    pub key: K,
    /// Who.
    pub node: NodeId,
}

/// Steps that can all be taken now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moves<K> {
    /// To be loaded, the most urgent first.
    pub loads: Vec<Move<K>>,
    /// To be given up.
    pub releases: Vec<Move<K>>,
}

/// How badly a load is needed; smaller is more urgent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    NobodyServes,
    CopyMissing,
    BetterPlace,
}

/// The next steps from `current` (per key, the copies on live nodes) towards `wanted` (per key, its owners, best first).
pub fn next_moves<K: Ord + Clone>(
    current: &BTreeMap<K, Vec<Held>>,
    wanted: &BTreeMap<K, Vec<NodeId>>,
    rules: MoveRules,
) -> Moves<K> {
    let mut releases = Vec::new();
    let mut candidates = Vec::new();
    let mut under_way = 0;
    let keys: BTreeSet<&K> = current.keys().chain(wanted.keys()).collect();
    for key in keys {
        let held = current.get(key).map_or(&[][..], Vec::as_slice);
        let released = releases_of(held, wanted.get(key).map(Vec::as_slice));
        let kept: Vec<&Held> = held.iter().filter(|copy| !released.contains(&&copy.node)).collect();
        under_way += kept.iter().filter(|copy| copy.state == HeldState::Loading).count();
        let owners = wanted.get(key).map_or(&[][..], Vec::as_slice);
        let loads = loads_of(&kept, owners).filter(|(urgency, _)| {
            // A better place can wait for the members to settle; a missing copy cannot.
            rules.settled || *urgency != Urgency::BetterPlace
        });
        candidates.extend(loads.map(|(urgency, node)| (urgency, key, node)));
        releases.extend(released.into_iter().map(|node| Move { key: key.clone(), node: node.clone() }));
    }
    candidates.sort();
    candidates.truncate(rules.loads_max.saturating_sub(under_way));
    let load = |(_, key, node): (Urgency, &K, &NodeId)| Move { key: key.clone(), node: node.clone() };
    Moves { loads: candidates.into_iter().map(load).collect(), releases }
}

/// The nodes that give up their copy; `owners` is `None` for a key that is gone.
fn releases_of<'a>(held: &'a [Held], owners: Option<&[NodeId]>) -> Vec<&'a NodeId> {
    let Some(owners) = owners else { return held.iter().map(|copy| &copy.node).collect() };
    if owners.is_empty() {
        return Vec::new();
    }
    let serving = held.iter().filter(|copy| copy.state == HeldState::Serving).count();
    let mut too_many = serving.saturating_sub(owners.len());
    let mut surplus: Vec<&Held> = held.iter().filter(|copy| !owners.contains(&copy.node)).collect();
    surplus.sort_by_key(|copy| (!copy.leaving, &copy.node));
    surplus.retain(|copy| match copy.state {
        HeldState::Loading => serving > 0,
        HeldState::Serving if too_many > 0 => {
            too_many -= 1;
            true
        }
        HeldState::Serving => false,
    });
    surplus.into_iter().map(|copy| &copy.node).collect()
}

/// The owners that have no copy, with how badly each is needed.
fn loads_of<'a>(kept: &[&Held], owners: &'a [NodeId]) -> impl Iterator<Item = (Urgency, &'a NodeId)> {
    let nobody_serves = !kept.iter().any(|copy| copy.state == HeldState::Serving);
    let staying = kept.iter().filter(|copy| !copy.leaving).count();
    let lacking = owners.len().saturating_sub(staying);
    let missing: Vec<&NodeId> =
        owners.iter().filter(|owner| !kept.iter().any(|copy| &copy.node == *owner)).collect();
    missing.into_iter().enumerate().map(move |(place, owner)| match (place < lacking, nobody_serves) {
        (true, true) => (Urgency::NobodyServes, owner),
        (true, false) => (Urgency::CopyMissing, owner),
        (false, _) => (Urgency::BetterPlace, owner),
    })
}
