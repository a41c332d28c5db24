//! The members as the path of a query sees them: the data nodes, made anew when the members change, and all of them for
//! `system.nodes`.

use std::sync::Arc;

use arc_swap::ArcSwap;
use headwater_broker::cluster::{Cluster, ClusterView, DataNode, MemberRow, node_url};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::NodeId;
use super::membership::{Member, Members, Membership, role_text, state_text};

/// See the module. Ends with the membership.
pub struct MembersView {
    this: NodeId,
    members: watch::Receiver<Arc<Members>>,
    view: Arc<ArcSwap<ClusterView>>,
    following: JoinHandle<()>,
}

impl MembersView {
    /// Follows the members from now on.
    pub fn follow(membership: &dyn Membership) -> Self {
        let mut members = membership.watch();
        let first = members.borrow_and_update().clone();
        let view = Arc::new(ArcSwap::from_pointee(view_of(&first)));
        let following = tokio::spawn({
            let (view, mut epoch) = (Arc::clone(&view), first.epoch);
            async move {
                while members.changed().await.is_ok() {
                    let now = members.borrow_and_update().clone();
                    // Facts change all the time; the view depends on none.
                    if now.epoch != epoch {
                        epoch = now.epoch;
                        view.store(Arc::new(view_of(&now)));
                    }
                }
            }
        });
        Self { this: membership.this().clone(), members: membership.watch(), view, following }
    }
}

impl Drop for MembersView {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl Cluster for MembersView {
    fn view(&self) -> Arc<ClusterView> {
        self.view.load_full()
    }

    fn members(&self) -> Vec<MemberRow> {
        let members = self.members.borrow().clone();
        members.list.iter().map(|member| row_of(member, &self.this)).collect()
    }
}

fn row_of(member: &Member, this: &NodeId) -> MemberRow {
    let Member { info, generation, state, incompatible, .. } = member;
    MemberRow {
        id: info.id.clone(),
        role: role_text(info.role),
        state: state_text(*state),
        rpc: info.rpc.clone(),
        http: info.http.clone(),
        zone: info.zone.clone(),
        weight: info.weight,
        build: info.build.clone(),
        started_at_us: i64::try_from(*generation).unwrap_or(i64::MAX),
        is_this: info.id == *this,
        refused: incompatible.clone(),
    }
}

fn view_of(members: &Members) -> ClusterView {
    ClusterView::new(members.data_nodes().filter_map(|member| {
        let url = node_url(&member.info.rpc).or_else(|| {
            tracing::warn!(node = %member.info.id, rpc = member.info.rpc, "a member's address is no address");
            None
        })?;
        Some(DataNode { member: member.placed(), url })
    }))
}
