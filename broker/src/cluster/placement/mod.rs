//! Placement: which nodes own a key, as a pure function of the members.
//!
//! Weighted rendezvous hashing: every node draws an exponentially distributed cost for a key, with its weight as the
//! rate, and the cheapest nodes own it. Each draw depends on nothing but the key, the node's id and its weight. So
//! any two nodes that see the same members agree without a word; a node that joins takes its share from all others, and
//! one that leaves gives its keys to all others, while no other key moves.
//!
//! Zones: owners are taken from the zones that have the fewest owners of the key so far, the cheapest node first.
//! Replicas are in distinct zones as far as there are zones, and spread evenly where there are not. Nodes without a
//! zone share one. A join or a leave still changes at most one owner of a key.
//!
//! **Architecture Invariant:** no I/O, no clock, no randomness, no floating point (libraries differ in the last bit, and
//! two nodes that disagree do double work), and no hasher whose result may change with a library. A golden test pins
//! owners for good: a change of the functions here moves all data of every cluster that is upgraded.
//!
//! Cost: some 10 ns per node and key, so 20 ms for 100,000 segments on 20 nodes: a query places only the segments that pruning
//! has left, each on its first owner.

mod key;
mod score;
#[cfg(test)]
mod tests;

pub use key::PlacementKey;

use super::NodeId;

/// Where a member is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberState {
    /// Up, and loading what it owns: it is given work, and asked for what it says it has.
    Joining,
    /// At work.
    Serving,
    /// About to end: it is given nothing new, and serves what it has until others have it.
    Leaving,
}

/// Largest weight that counts; a larger one is taken as this.
pub const WEIGHT_MAX: u32 = 65_536;

/// What placement needs to know of a member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlacementMember {
    /// Identity.
    pub id: NodeId,
    /// Share of the work, relative to the other members' weights. 0: none.
    pub weight: u32,
    /// What fails together with it: a rack, an availability zone.
    pub zone: Option<String>,
    /// Where it is in its life.
    pub state: MemberState,
}

/// A member that may own something, with what is the same for all keys.
struct Candidate {
    id: NodeId,
    seed: u64,
    inverse_weight: u64,
    /// Index of its zone.
    zone: usize,
}

/// The function from keys to owners, for one set of members.
pub struct Placement {
    /// By id, each once.
    candidates: Vec<Candidate>,
    zones: usize,
}

impl Placement {
    /// Placement on `members`, in whatever order. Those that leave, or weigh nothing, own nothing. Of several with one
    /// id, one counts.
    pub fn new(members: impl IntoIterator<Item = PlacementMember>) -> Self {
        let mut members: Vec<_> = members.into_iter().collect();
        members.sort();
        members.dedup_by(|next, first| next.id == first.id);
        members.retain(|member| member.state != MemberState::Leaving && member.weight > 0);
        let mut zones: Vec<_> = members.iter().map(|member| member.zone.clone()).collect();
        zones.sort();
        zones.dedup();
        let candidate = |member: PlacementMember| Candidate {
            seed: key::node_seed(&member.id),
            inverse_weight: score::inverse(member.weight.min(WEIGHT_MAX)),
            // Every zone is in the list that was made from the members, so the search finds it.
            zone: zones.binary_search(&member.zone).unwrap_or_default(),
            id: member.id,
        };
        Self { candidates: members.into_iter().map(candidate).collect(), zones: zones.len() }
    }

    /// The nodes that own `key`, the first one first: it leads a partition, and does a background job. As many as
    /// `replication` says, or all there are.
    pub fn owners(&self, key: PlacementKey, replication: usize) -> Vec<NodeId> {
        let owners = self.select(key, replication);
        owners.into_iter().map(|index| self.candidates[index].id.clone()).collect()
    }

    /// The first owner of `key`, without a list of them; `None` if there is no node.
    pub fn first(&self, key: PlacementKey) -> Option<&NodeId> {
        let cost = |node: &Candidate| score::cost(key.value(), node.seed, node.inverse_weight);
        // The first of equal costs stays, as in `select`: with one owner, zones do not matter.
        self.candidates.iter().min_by_key(|node| cost(node)).map(|node| &node.id)
    }

    /// The place of `node` among the owners of `key`, from 0; `None` if it is none of them.
    pub fn rank(&self, key: PlacementKey, replication: usize, node: &NodeId) -> Option<usize> {
        self.select(key, replication).into_iter().position(|index| &self.candidates[index].id == node)
    }

    /// The indexes of the owners of `key`, the first one first.
    fn select(&self, key: PlacementKey, replication: usize) -> Vec<usize> {
        let cost = |node: &Candidate| score::cost(key.value(), node.seed, node.inverse_weight);
        // Per candidate; `TAKEN`: an owner already.
        let mut costs: Vec<u64> = self.candidates.iter().map(cost).collect();
        // Owners per zone so far.
        let mut taken = vec![0; self.zones];
        let mut owners = Vec::new();
        for _ in 0..replication.min(self.candidates.len()) {
            // Equal costs (one in 2^38 or so) go to the smaller id: candidates are in order, and the first one stays.
            let mut best: Option<(usize, u64, usize)> = None;
            for (index, (node, &cost)) in self.candidates.iter().zip(&costs).enumerate() {
                let better = best.is_none_or(|(zone, least, _)| (taken[node.zone], cost) < (zone, least));
                if cost != score::TAKEN && better {
                    best = Some((taken[node.zone], cost, index));
                }
            }
            let Some((_, _, index)) = best else { break };
            costs[index] = score::TAKEN;
            taken[self.candidates[index].zone] += 1;
            owners.push(index);
        }
        owners
    }
}
