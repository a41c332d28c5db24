//! Membership by gossip: `chitchat` (Scuttlebutt reconciliation, phi accrual failure detection) over sealed UDP.
//!
//! Timing, with a round every 250 ms. The library calls a node dead when nothing was heard of it for
//! `phi × mean interval`, where the mean is `(last intervals + 5 × initial interval) / (their number + 5)`. News of a node
//! comes from all others, so the more nodes there are, the shorter the intervals. With the usual window of many intervals
//! detection would shrink with the cluster (a window of 100 makes 1.1 s with three nodes), and a machine that is busy for
//! a moment would be called dead. With a window of one interval the mean is `(last + 5 × 250 ms) / 6`, and `phi = 8` makes
//! 1.7 to 2.3 s, measured with three nodes and with ten, and never more than 3 s. A round later all know.
//!
//! The gossip task of the library ends for good when its socket breaks. It is then started again, as a new generation of
//! this node; the others see a restart, and this node keeps its last snapshot until it has heard them again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, NodeState, ProtocolVersion,
    spawn_chitchat,
};
use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::sealed_udp::{SealedUdp, Secret};
use super::{Announced, Member, Members, Membership, NodeInfo, seeds, view};
use crate::cluster::placement::MemberState;
use crate::cluster::{ClusterError, NodeId};

const ROUND: Duration = Duration::from_millis(250);
const PHI: f64 = 8.0;
const WINDOW_INTERVALS: usize = 1;
const INTERVAL_MAX: Duration = Duration::from_secs(1);
/// A dead node is spoken of for half of this, so that none comes back to life through a node that has not heard. Longer,
/// and a rolling restart would leave a ghost for every generation.
const DEAD_KEPT: Duration = Duration::from_secs(600);
/// A fact that was taken back is remembered for this long.
const TOMBSTONE_KEPT: Duration = Duration::from_secs(3_600);
/// From the word that a node leaves to its silence.
const LEAVE_WAIT: Duration = Duration::from_millis(750);
/// Before the gossip is started again.
const RESTART_WAIT: Duration = Duration::from_millis(250);
/// After that, until the others must have been heard.
const RESTART_HOLD: Duration = Duration::from_secs(3);

/// What a node needs to know to gossip.
pub struct GossipSettings {
    /// Name of the cluster.
    pub cluster: String,
    /// What the node says of itself.
    pub info: NodeInfo,
    /// Where it listens, in UDP.
    pub listen: SocketAddr,
    /// Where others reach it; `None`: where it listens.
    pub advertise: Option<SocketAddr>,
    /// `host:port` of nodes to ask first, by address or name. This node may be among them.
    pub seeds: Vec<String>,
    /// What keeps strangers out. Without one, all who can send to `listen` can join.
    pub secret: Option<Secret>,
}

/// Membership by gossip. Dropped without [`Membership::leave`], it falls silent, and the others find the node dead.
pub struct ChitchatMembership {
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Between the membership and its task.
struct Shared {
    settings: GossipSettings,
    /// Where it listens, with the real port.
    listen: SocketAddr,
    advertise: SocketAddr,
    transport: SealedUdp,
    announced: Mutex<Announced>,
    /// `announced` was changed.
    changed: Notify,
    members: watch::Sender<Arc<Members>>,
    generation: AtomicU64,
    stop: CancellationToken,
    /// The library's state, of the present generation.
    chitchat: Mutex<Option<Arc<tokio::sync::Mutex<Chitchat>>>>,
}

impl ChitchatMembership {
    /// Starts to gossip, on the current runtime, which should not be one that computes. Returns at once: other nodes
    /// become visible within about a second ([`Membership::peers_seen`]).
    pub async fn start(settings: GossipSettings) -> Result<Self, ClusterError> {
        let failed = |reason: &dyn std::fmt::Display| ClusterError::Listen {
            address: settings.listen,
            reason: reason.to_string(),
        };
        let socket = UdpSocket::bind(settings.listen).await.map_err(|error| failed(&error))?;
        let listen = socket.local_addr().map_err(|error| failed(&error))?;
        let advertise = settings.advertise.unwrap_or(listen);
        if advertise.ip().is_unspecified() {
            let reason = format!("{advertise} is no address that others can reach; set one that they can");
            return Err(ClusterError::Advertise { setting: "cluster.gossip_advertise", reason });
        }
        let shared = Arc::new(Shared {
            listen,
            advertise,
            transport: SealedUdp::new(settings.secret.clone(), settings.cluster.clone(), socket),
            announced: Mutex::new(Announced::new()),
            changed: Notify::new(),
            members: watch::Sender::new(Arc::default()),
            generation: AtomicU64::new(0),
            stop: CancellationToken::new(),
            chitchat: Mutex::new(None),
            settings,
        });
        let handle = shared
            .spawn()
            .await
            .map_err(|error| ClusterError::Listen { address: listen, reason: format!("{error:#}") })?;
        shared.publish(&BTreeMap::new());
        tracing::info!(node = %shared.id(), %listen, %advertise, cluster = shared.settings.cluster, "gossip is up");
        let task = tokio::spawn(run(shared.clone(), handle));
        Ok(Self { shared, task: Mutex::new(Some(task)) })
    }
}

#[cfg(test)]
impl ChitchatMembership {
    /// Where others reach the gossip of this node.
    pub(super) fn gossip_address(&self) -> SocketAddr {
        self.shared.advertise
    }

    /// After how long a silence each of the others would be called dead.
    pub(super) async fn detection_timeouts(&self) -> BTreeMap<NodeId, Duration> {
        self.shared.detection_timeouts().await
    }

    /// Makes the library's task panic when it hears the next fact of another node.
    pub(super) async fn break_gossip(&self) {
        let chitchat = self.shared.chitchat.lock().clone();
        if let Some(chitchat) = chitchat {
            let broken = |_: chitchat::KeyChangeEvent<'_>| panic!("as if the library had a fault");
            chitchat.lock().await.subscribe_event(view::FACT_PREFIX, broken).forever();
        }
    }
}

impl Drop for ChitchatMembership {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().take() {
            task.abort();
        }
    }
}

#[async_trait]
impl Membership for ChitchatMembership {
    fn this(&self) -> &NodeId {
        self.shared.id()
    }

    fn watch(&self) -> watch::Receiver<Arc<Members>> {
        self.shared.members.subscribe()
    }

    fn set_state(&self, state: MemberState) {
        let mut announced = self.shared.announced.lock();
        // Who leaves does not come back: the others may have taken over already.
        if announced.state != MemberState::Leaving {
            announced.state = state;
            self.shared.changed.notify_one();
        }
    }

    fn announce(&self, key: &str, value: Option<&str>) -> Result<(), ClusterError> {
        self.shared.announced.lock().set(key, value)?;
        self.shared.changed.notify_one();
        Ok(())
    }

    async fn leave(&self) {
        self.set_state(MemberState::Leaving);
        let task = self.task.lock().take();
        if let Some(task) = task {
            tokio::time::sleep(LEAVE_WAIT).await;
            self.shared.stop.cancel();
            // An error means that the task is gone, which is what was wanted.
            let _ = task.await;
        }
    }
}

impl Shared {
    fn id(&self) -> &NodeId {
        &self.settings.info.id
    }

    /// Starts the library's task, as a new generation of this node.
    async fn spawn(&self) -> anyhow::Result<ChitchatHandle> {
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
        // A clock that was set back must not make this generation older than the last one of this process.
        let generation = now_us.max(self.generation.load(Ordering::Relaxed) + 1);
        self.generation.store(generation, Ordering::Relaxed);
        let addresses = self.settings.seeds.iter().filter(|seed| seed.parse::<SocketAddr>().is_ok());
        let config = ChitchatConfig {
            chitchat_id: ChitchatId::new(self.id().as_str(), generation, self.advertise),
            cluster_id: self.settings.cluster.clone(),
            gossip_interval: ROUND,
            listen_addr: self.listen,
            // Names are looked up here: the library does so once a minute.
            seed_nodes: addresses.cloned().collect(),
            failure_detector_config: FailureDetectorConfig::new(
                PHI,
                WINDOW_INTERVALS,
                INTERVAL_MAX,
                ROUND,
                DEAD_KEPT,
            ),
            marked_for_deletion_grace_period: TOMBSTONE_KEPT,
            catchup_callback: None,
            extra_liveness_predicate: None,
            protocol_version: ProtocolVersion::V1,
        };
        let key_values = view::key_values(&self.settings.info, &self.announced.lock());
        let handle = spawn_chitchat(config, key_values, &self.transport).await?;
        *self.chitchat.lock() = Some(handle.chitchat());
        Ok(handle)
    }

    /// Makes the next snapshot of what the library sees; this node itself is as it says that it is.
    fn publish(&self, live: &BTreeMap<ChitchatId, NodeState>) {
        let generation = self.generation.load(Ordering::Relaxed);
        let own = view::key_values(&self.settings.info, &self.announced.lock());
        let own = own.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let own = view::member(self.id().as_str(), generation, own);
        let is_own = |id: &ChitchatId| *id.node_id == *self.id().as_str() && id.generation_id == generation;
        let others = live.iter().filter(|(id, _)| !is_own(id));
        let others =
            others.filter_map(|(id, state)| view::member(&id.node_id, id.generation_id, state.key_values()));
        let members: Vec<Member> = others.chain(own).collect();
        self.members.send_if_modified(|previous| {
            let Some(next) = view::next(previous, members) else { return false };
            view::log_changes(previous, &next, self.id());
            self.log_double(previous, &next, generation);
            *previous = Arc::new(next);
            true
        });
    }

    /// A later process under this node's id gets what is this node's, from all nodes that see it.
    fn log_double(&self, previous: &Members, now: &Members, generation: u64) {
        let double = |members: &Members| {
            members.get(self.id()).filter(|own| own.generation > generation).map(|own| own.info.rpc.clone())
        };
        if let Some(rpc) = double(now)
            && double(previous).is_none()
        {
            tracing::error!(
                node = %self.id(), rpc,
                "another process has this node's id, and takes its place; give each node a cluster.node_id of its own"
            );
        }
    }

    /// Hands what is announced to the library; true if the state is another one.
    async fn apply(&self, handle: &ChitchatHandle) -> bool {
        let announced = self.announced.lock().clone();
        handle.with_chitchat(|chitchat| apply_to(chitchat.self_node_state(), &announced)).await
    }

    async fn detection_timeouts(&self) -> BTreeMap<NodeId, Duration> {
        let Some(chitchat) = self.chitchat.lock().clone() else { return BTreeMap::new() };
        let chitchat = chitchat.lock().await;
        let timeout =
            |id: &ChitchatId| Some((NodeId::new(&id.node_id).ok()?, chitchat.failure_detection_timeout(id)?));
        chitchat.live_nodes().filter_map(timeout).collect()
    }
}

fn apply_to(own: &mut NodeState, announced: &Announced) -> bool {
    let fact_of = |key: &str| key.strip_prefix(view::FACT_PREFIX).map(str::to_string);
    let former: Vec<String> = own.key_values().filter_map(|(key, _)| fact_of(key)).collect();
    for fact in former.iter().filter(|fact| !announced.facts.contains_key(*fact)) {
        own.delete(&format!("{}{fact}", view::FACT_PREFIX));
    }
    // Setting what is set already changes nothing.
    for (fact, value) in &announced.facts {
        own.set(format!("{}{fact}", view::FACT_PREFIX), value);
    }
    let state = view::state_text(announced.state);
    let another = own.get(view::STATE) != Some(state);
    own.set(view::STATE, state);
    another
}

/// Keeps the library's task running until the membership leaves.
async fn run(shared: Arc<Shared>, mut handle: ChitchatHandle) {
    let mut hold_until = None;
    while let Some(reason) = gossip(&shared, &handle, hold_until).await {
        tracing::error!(reason, "the gossip ended, and is started again");
        metrics::counter!("headwater_gossip_restarts_total").increment(1);
        handle.abort();
        drop(handle);
        handle = loop {
            tokio::select! {
                () = shared.stop.cancelled() => return,
                () = tokio::time::sleep(RESTART_WAIT) => {}
            }
            match shared.spawn().await {
                Ok(handle) => break handle,
                Err(error) => tracing::warn!(error = format!("{error:#}"), "the gossip does not start"),
            }
        };
        hold_until = Some(Instant::now() + RESTART_HOLD);
    }
    if let Err(error) = handle.shutdown().await {
        tracing::debug!(error = format!("{error:#}"), "the gossip had ended");
    }
}

/// Carries news between the membership and the library. Ends with `None` when the membership leaves, with a reason
/// when the library's task has ended.
async fn gossip(shared: &Shared, handle: &ChitchatHandle, hold_until: Option<Instant>) -> Option<String> {
    let mut live = handle.with_chitchat(|chitchat| chitchat.live_nodes_watcher()).await;
    let mut ended = std::pin::pin!(handle.termination_watcher());
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    let (found, mut seeds_found) = mpsc::channel::<BTreeSet<SocketAddr>>(1);
    let mut looking = JoinSet::new();
    looking.spawn(seeds::look(
        shared.settings.seeds.clone(),
        shared.advertise,
        shared.members.subscribe(),
        found,
    ));
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return None,
            end = &mut ended => {
                return Some(end.err().map_or("it was shut down".to_string(), |error| format!("{error:#}")));
            }
            () = shared.changed.notified() => {
                if shared.apply(handle).await {
                    greet(handle, peers(handle).await);
                }
            }
            Some(addresses) = seeds_found.recv() => greet(handle, addresses),
            changed = live.changed() => {
                if changed.is_err() {
                    return Some("its state is gone".to_string());
                }
            }
            _ = seconds.tick() => {
                let slowest = shared.detection_timeouts().await.into_values().max().unwrap_or_default();
                metrics::gauge!("headwater_gossip_detection_seconds").set(slowest.as_secs_f64());
            }
        }
        if hold_until.is_none_or(|until| Instant::now() >= until) {
            let live = live.borrow_and_update();
            shared.publish(&live);
        }
    }
}

async fn peers(handle: &ChitchatHandle) -> BTreeSet<SocketAddr> {
    let addresses = |chitchat: &mut Chitchat| {
        let own = chitchat.self_chitchat_id();
        let peers = chitchat.live_nodes().filter(|id| *id != own);
        peers.map(|id| id.gossip_advertise_addr).collect()
    };
    handle.with_chitchat(addresses).await
}

/// Exchanges news with these nodes now, and not when chance picks them.
fn greet(handle: &ChitchatHandle, addresses: BTreeSet<SocketAddr>) {
    for address in addresses {
        if let Err(error) = handle.gossip(address) {
            tracing::debug!(%address, error = format!("{error:#}"), "the gossip has ended");
        }
    }
}
