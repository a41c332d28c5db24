//! Membership without a network: nodes of one process that share a list.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Announced, Member, Members, Membership, NodeInfo, view};
use crate::cluster::placement::MemberState;
use crate::cluster::{ClusterError, NodeId};

/// A list of members that the nodes of one process share. Clones are the same list.
#[derive(Clone)]
pub struct StaticCluster {
    members: watch::Sender<Arc<Members>>,
}

impl Default for StaticCluster {
    fn default() -> Self {
        Self { members: watch::Sender::new(Arc::default()) }
    }
}

impl StaticCluster {
    /// Adds a node, or starts one again that is there, and gives it its membership.
    pub fn join(&self, info: NodeInfo) -> StaticMembership {
        let id = info.id.clone();
        self.change(|list| {
            let former = list.iter().position(|member| member.info.id == info.id);
            let generation = former.map_or(1, |place| list.remove(place).generation + 1);
            let Announced { state, facts } = Announced::new();
            list.push(Member { info, generation, state, incompatible: None, facts });
        });
        StaticMembership { id, cluster: self.clone() }
    }

    /// Takes a node away without a word, as if it had died.
    pub fn remove(&self, id: &NodeId) {
        self.change(|list| list.retain(|member| &member.info.id != id));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Member>)) {
        self.members.send_if_modified(|members| {
            let mut list = members.list.clone();
            change(&mut list);
            let Some(next) = view::next(members, list) else { return false };
            *members = Arc::new(next);
            true
        });
    }
}

/// A node's window on a [`StaticCluster`].
pub struct StaticMembership {
    id: NodeId,
    cluster: StaticCluster,
}

impl StaticMembership {
    fn change_own(&self, change: impl FnOnce(&mut Member)) {
        self.cluster.change(|list| {
            if let Some(own) = list.iter_mut().find(|member| member.info.id == self.id) {
                change(own);
            }
        });
    }
}

#[async_trait]
impl Membership for StaticMembership {
    fn this(&self) -> &NodeId {
        &self.id
    }

    fn watch(&self) -> watch::Receiver<Arc<Members>> {
        self.cluster.members.subscribe()
    }

    fn set_state(&self, state: MemberState) {
        self.change_own(|own| own.state = state);
    }

    fn announce(&self, key: &str, value: Option<&str>) -> Result<(), ClusterError> {
        let mut result = Ok(());
        self.change_own(|own| {
            let mut announced = Announced { state: own.state, facts: std::mem::take(&mut own.facts) };
            result = announced.set(key, value);
            own.facts = announced.facts;
        });
        result
    }

    async fn leave(&self) {
        self.set_state(MemberState::Leaving);
        self.cluster.remove(&self.id);
    }
}
