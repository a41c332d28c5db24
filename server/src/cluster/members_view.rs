//! The members as the path of a query sees them: the data nodes, made anew when the members change.

use std::sync::Arc;

use arc_swap::ArcSwap;
use headwater_broker::cluster::placement::PlacementMember;
use headwater_broker::cluster::{Cluster, ClusterView, DataNode};
use tokio::task::JoinHandle;

use super::membership::{Members, Membership};

/// See the module. Ends with the membership.
pub struct MembersView {
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
        Self { view, following }
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
}

fn view_of(members: &Members) -> ClusterView {
    let data = members.compatible().filter(|member| member.info.role.holds_data());
    ClusterView::new(data.filter_map(|member| {
        let url = format!("http://{}/", member.info.rpc).parse().ok().or_else(|| {
            tracing::warn!(node = %member.info.id, rpc = member.info.rpc, "a member's address is no address");
            None
        })?;
        let placed = PlacementMember {
            id: member.info.id.clone(),
            weight: member.info.weight,
            zone: member.info.zone.clone(),
            state: member.state,
        };
        Some(DataNode { member: placed, url })
    }))
}
