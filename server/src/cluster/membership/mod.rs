//! Membership: the nodes that are there now, as snapshots.
//!
//! A snapshot ([`Members`]) is immutable, and replaced as a whole. Its `epoch` goes up by one exactly when something
//! changes that placement or connections depend on; facts, such as which version of a table a node has loaded, change
//! without it. Watchers are told of both.
//!
//! [`ChitchatMembership`] gossips.
//!
//! **Architecture Invariant:** a snapshot is a hint. It may be seconds old, it may lack a node that is there and name
//! one that is gone, and two nodes may see different ones.

mod gossip;
mod sealed_udp;
mod seeds;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

pub use self::gossip::{ChitchatMembership, GossipSettings};
pub use self::sealed_udp::Secret;
pub(super) use self::view::{role_text, state_text};
use super::placement::{MemberState, Placement, PlacementMember};
use super::{ClusterError, NodeId};
use crate::config::Role;

/// Longest value of a fact, in bytes. A round carries 64 KiB in all, and a value that does not fit would keep all later
/// ones of its node back for ever.
pub const FACT_VALUE_BYTES_MAX: usize = 8 << 10;
/// Longest key of a fact, in bytes.
pub const FACT_KEY_BYTES_MAX: usize = 256;
/// Most facts of a node.
pub const FACTS_MAX: usize = 16_384;

/// What a node says of itself for as long as it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Identity.
    pub id: NodeId,
    /// What it does.
    pub role: Role,
    /// `host:port` of its node-to-node listener.
    pub rpc: String,
    /// `host:port` of its HTTP listener.
    pub http: String,
    /// Share of the work, relative to the other members' weights.
    pub weight: u32,
    /// What fails together with it.
    pub zone: Option<String>,
    /// Version of its build.
    pub build: String,
    /// What it speaks to other nodes ([`super::WIRE_VERSION`]).
    pub wire: u32,
}

/// A node that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it says of itself for as long as it runs.
    pub info: NodeInfo,
    /// When it started, in microseconds since the epoch: a restarted node is another one with the same id.
    pub generation: u64,
    /// Where it is in its life.
    pub state: MemberState,
    /// Why it is given no work and asked for none, and what to do about it; `None`: it is one of us.
    pub incompatible: Option<String>,
    /// Small values that it announced, such as the version of a table's log that it knows.
    pub facts: BTreeMap<String, String>,
}

impl Member {
    /// What placement knows of it.
    pub fn placed(&self) -> PlacementMember {
        PlacementMember {
            id: self.info.id.clone(),
            weight: self.info.weight,
            zone: self.info.zone.clone(),
            state: self.state,
        }
    }
}

/// The nodes that are there, this one among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Goes up with every change but those of facts.
    pub epoch: u64,
    /// By id, each once.
    pub list: Vec<Member>,
}

impl Members {
    /// The member with this id.
    pub fn get(&self, id: &NodeId) -> Option<&Member> {
        let place = self.list.binary_search_by(|member| member.info.id.cmp(id)).ok()?;
        self.list.get(place)
    }

    /// Those that speak what this node speaks.
    pub fn compatible(&self) -> impl Iterator<Item = &Member> {
        self.list.iter().filter(|member| member.incompatible.is_none())
    }

    /// Those of them that hold data.
    pub fn data_nodes(&self) -> impl Iterator<Item = &Member> {
        self.compatible().filter(|member| member.info.role.holds_data())
    }

    /// Placement on those that hold data. The same for as long as the epoch is.
    pub fn placement(&self) -> Placement {
        Placement::new(self.data_nodes().map(Member::placed))
    }
}

/// A node's window on the cluster.
#[async_trait]
pub trait Membership: Send + Sync {
    /// This node.
    fn this(&self) -> &NodeId;

    /// The current snapshot, and every later one.
    fn watch(&self) -> watch::Receiver<Arc<Members>>;

    /// Says where this node is in its life. [`Membership::leave`] says that it leaves.
    fn set_state(&self, state: MemberState);

    /// Announces a fact, or takes it back. Others see it within some gossip rounds, never mind how often it changes.
    fn announce(&self, key: &str, value: Option<&str>) -> Result<(), ClusterError>;

    /// Tells the others that this node leaves, so that they give it nothing new, and then falls silent. Returns when
    /// they have had the time to hear it.
    async fn leave(&self);

    /// The current snapshot.
    fn members(&self) -> Arc<Members> {
        let members = self.watch();
        let members = members.borrow();
        members.clone()
    }

    /// Waits until another node is visible, but no longer than `at_most`. A node that has just started sees only
    /// itself, and would take all for its own.
    async fn peers_seen(&self, at_most: Duration) -> bool {
        let mut members = self.watch();
        let another = members.wait_for(|members| members.list.len() > 1);
        matches!(tokio::time::timeout(at_most, another).await, Ok(Ok(_)))
    }
}

/// What a node announces: the part of its state that changes.
#[derive(Clone, Debug)]
struct Announced {
    state: MemberState,
    facts: BTreeMap<String, String>,
}

impl Announced {
    fn new() -> Self {
        Self { state: MemberState::Joining, facts: BTreeMap::new() }
    }

    fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), ClusterError> {
        let refused = |reason: String| {
            let key = key.chars().take(FACT_KEY_BYTES_MAX).collect();
            Err(ClusterError::Fact { key, reason })
        };
        let Some(value) = value else {
            self.facts.remove(key);
            return Ok(());
        };
        if key.is_empty() || key.len() > FACT_KEY_BYTES_MAX {
            return refused(format!("a key has 1 to {FACT_KEY_BYTES_MAX} bytes, not {}", key.len()));
        }
        if value.len() > FACT_VALUE_BYTES_MAX {
            return refused(format!("a value has at most {FACT_VALUE_BYTES_MAX} bytes, not {}", value.len()));
        }
        if self.facts.len() >= FACTS_MAX && !self.facts.contains_key(key) {
            return refused(format!("a node announces at most {FACTS_MAX} facts"));
        }
        self.facts.insert(key.to_string(), value.to_string());
        Ok(())
    }
}
