//! A node's part in its cluster, from joining to leaving: gossip, the listener for other nodes, the keeper of tables.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use headwater_broker::access::SessionKey;
use headwater_broker::cluster::{ClusterAccess, SharedSecret};
use headwater_ingest::ownership::Ownership;
use headwater_segment::live::{PartitionStage, Tables};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::keeper::Keeper;
use super::membership::{ChitchatMembership, Membership};
use super::node_tls::NodeTls;
use super::ownership::ClusterOwnership;
use super::placement::MemberState;
use super::{ClusterError, MembersView, NodeId, gossip_settings};
use crate::config::Config;
use crate::listener;
use crate::node_tables::NodeTables;
use crate::warming::Place;

/// A node that starts looks so long for others: who sees nobody would take everything for its own.
const PEERS_WAIT: Duration = Duration::from_secs(3);
/// Requests of other nodes that run when this one stops may go on for so long.
const FRAGMENTS_WAIT: Duration = Duration::from_secs(5);
const HAND_OVER_POLL: Duration = Duration::from_millis(100);

/// See the module.
pub(crate) struct Joined {
    membership: Arc<dyn Membership>,
    view: Arc<MembersView>,
    access: ClusterAccess,
    secret: Option<SharedSecret>,
    session_key: Option<SessionKey>,
    tls: Option<NodeTls>,
    listener: Option<TcpListener>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Joined {
    /// Joins the cluster that `config` names, if it names one. `http` is where this node's clients reach it.
    pub(crate) async fn join(config: &Config, http: SocketAddr) -> Result<Option<Self>, ClusterError> {
        let Some((address, gossip)) = config.cluster.listeners() else { return Ok(None) };
        let failed =
            |source: std::io::Error| ClusterError::ListenNodes { address, reason: source.to_string() };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let settings = gossip_settings(&config.cluster, gossip, bound, http).await?;
        let secret = settings.secret.as_ref().map(|secret| secret.for_requests());
        let session_key = settings.secret.as_ref().map(|secret| secret.for_sessions());
        let (id, seeds) = (settings.info.id.clone(), settings.seeds.len());
        let tls = NodeTls::start(&config.cluster.tls)?;
        let access = match &tls {
            None => ClusterAccess::new(secret.clone(), Handle::current()),
            Some(tls) => ClusterAccess::with_tls(secret.clone(), tls.client.clone(), Handle::current()),
        };
        let access =
            access.map_err(|error| ClusterError::ListenNodes { address, reason: error.to_string() })?;
        let membership: Arc<dyn Membership> = Arc::new(ChitchatMembership::start(settings).await?);
        if seeds > 0 && !membership.peers_seen(PEERS_WAIT).await {
            tracing::warn!(node = %id, "no other node was heard of yet; this one begins alone");
        }
        let view = Arc::new(MembersView::follow(membership.as_ref()));
        tracing::info!(node = %id, role = ?config.cluster.role, address = %bound, "joined the cluster");
        Ok(Some(Self {
            membership,
            view,
            access,
            secret,
            session_key,
            tls,
            listener: Some(listener),
            stop: CancellationToken::new(),
            tasks: Vec::new(),
        }))
    }

    pub(crate) fn this(&self) -> &NodeId {
        self.membership.this()
    }

    pub(crate) fn view(&self) -> &Arc<MembersView> {
        &self.view
    }

    pub(crate) fn access(&self) -> &ClusterAccess {
        &self.access
    }

    pub(crate) fn secret(&self) -> Option<SharedSecret> {
        self.secret.clone()
    }

    /// What console sessions are signed with on all nodes.
    pub(crate) fn session_key(&self) -> Option<SessionKey> {
        self.session_key.clone()
    }

    /// What this node consumes of `tables`.
    pub(crate) fn ownership(&self, tables: Arc<Tables>) -> Arc<dyn Ownership> {
        Arc::new(ClusterOwnership::new(Arc::clone(&self.membership), tables))
    }

    /// Begins to serve other nodes, and to follow what they do to tables.
    pub(crate) fn serve(&mut self, router: Router, node: Arc<NodeTables>) {
        if let Some(listener) = self.listener.take() {
            let tls = self.tls.as_ref().map(|tls| tls.server.clone());
            self.tasks.push(listener::serve_nodes(listener, tls, router, self.stop.clone()));
        }
        let keeper = Keeper::new(node, Arc::clone(&self.membership));
        self.tasks.push(tokio::spawn(keeper.run(self.stop.clone())));
    }

    /// What says that this node has loaded what is its own: from then on it is asked for it.
    pub(crate) fn settle(&self) -> impl FnOnce() + Send + 'static {
        let membership = Arc::clone(&self.membership);
        move || membership.set_state(MemberState::Serving)
    }

    /// This node's place among the others, for what it loads ahead of queries.
    pub(crate) fn place(&self) -> Place {
        Place { membership: Arc::clone(&self.membership), view: Arc::clone(&self.view) }
    }

    /// Says that this node is about to end, and waits until others serve what it serves, but no longer than `at_most`.
    pub(crate) async fn hand_over(&self, node: &NodeTables, at_most: Duration) {
        self.membership.set_state(MemberState::Leaving);
        if !node.consumes {
            return;
        }
        let until = Instant::now() + at_most;
        while Instant::now() < until {
            let members = self.membership.members();
            let others = members.data_nodes().filter(|member| {
                let may_own = member.state != MemberState::Leaving && member.info.weight > 0;
                may_own && member.info.id != *self.membership.this()
            });
            if others.count() == 0 || is_handed_over(node) {
                return;
            }
            tokio::time::sleep(HAND_OVER_POLL).await;
        }
        tracing::warn!("not everything was handed over in time; others read the rest from Kafka");
    }

    /// Leaves: others no longer see this node when it returns.
    pub(crate) async fn leave(self) {
        self.membership.leave().await;
        self.stop.cancel();
        if let Some(tls) = &self.tls {
            tls.following.abort();
        }
        for task in self.tasks {
            if tokio::time::timeout(FRAGMENTS_WAIT, task).await.is_err() {
                tracing::debug!("other nodes still had requests here");
            }
        }
    }
}

fn is_handed_over(node: &NodeTables) -> bool {
    let ownership = &node.context.ownership;
    node.tables.list().iter().all(|live| {
        let served = live.progress().into_iter().filter(|partition| partition.stage == PartitionStage::Live);
        let mut served = served.map(|progress| progress.partition);
        served.all(|partition| ownership.is_served_by_owners(live.name(), live.log().table_id(), partition))
    })
}
