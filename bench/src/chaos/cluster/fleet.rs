//! The nodes of a cluster: who is there, who runs, where each listens, and what stands between it and the others.
//!
//! A node tells the others to reach it through proxies of the harness, and is told to reach an S3 store through one.
//! Kafka and clients are reached directly.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::gate::{Gate, Isolation};
use super::ports::Ports;
use super::store_proxy::StoreProxy;
use super::tcp_proxy::TcpProxy;
use super::udp_proxy::{Gates, UdpProxy};
use super::weather::{Sky, Weather};
use crate::chaos::Arguments;
use crate::chaos::error::Result;
use crate::chaos::process::{Launch, Node, Seat};
use crate::chaos::stage::Address;

/// The variable that every node is told the secret in.
const SECRET_VARIABLE: &str = "HEADWATER_CLUSTER_SECRET";
/// Where a node finds its S3 server; named after the settings of the harness's own store.
const STORE_ENDPOINT_SETTING: &str = "store.options.aws_endpoint";
/// How long a node may drain on SIGTERM.
const TERMINATE_WITHIN: Duration = Duration::from_secs(60);
/// Nodes of the beginning whose gossip a node is told.
const SEEDS_MAX: usize = 4;

/// A broker as its clients see it: an address that stays, and the process that answers there now.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) url: String,
    process: AtomicU32,
}

impl Front {
    /// Number of the process that runs; `None` while it is down.
    pub(crate) fn process(&self) -> Option<u32> {
        Some(self.process.load(Ordering::SeqCst)).filter(|process| *process > 0)
    }
}

/// A node, whether it runs or not.
pub(crate) struct Member {
    pub(crate) name: String,
    seat: Seat,
    /// Where other nodes reach its gossip.
    gossip: SocketAddr,
    /// Where other nodes reach its listener, and where that is.
    rpc: (SocketAddr, SocketAddr),
    gate: Gate,
    store_gate: Gate,
    node: Option<Node>,
    /// While it runs.
    rpc_proxy: Option<TcpProxy>,
    _gossip_proxy: UdpProxy,
    _store_proxy: Option<StoreProxy>,
    /// For brokers.
    front: Option<Arc<Front>>,
}

impl Member {
    /// Its address, for the harness.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.seat.listen)
    }

    /// The process, if it runs.
    pub(crate) fn node(&mut self) -> Option<&mut Node> {
        self.node.as_mut()
    }

    /// Cuts it off from the other nodes, or lets it back; and the same with the store.
    pub(crate) fn isolate(&self, isolation: Isolation, from_store: Isolation) {
        self.gate.set(isolation);
        self.store_gate.set(from_store);
    }

    fn gone(&mut self) -> Option<Node> {
        self.rpc_proxy = None;
        if let Some(front) = &self.front {
            front.process.store(0, Ordering::SeqCst);
        }
        self.node.take()
    }

    /// SIGKILL. Returns what is wrong with how it ran.
    pub(crate) fn kill(&mut self) -> Option<String> {
        let mut node = self.gone()?;
        let ended = node.ended();
        node.kill();
        ended.or_else(|| node.panicked())
    }

    /// SIGTERM, and waits for the end. `Err` says what was wrong with it.
    pub(crate) async fn terminate(&mut self) -> std::result::Result<Drained, String> {
        let Some(mut node) = self.gone() else { return Err(format!("{} does not run", self.name)) };
        if let Some(fault) = node.ended().or_else(|| node.panicked()) {
            return Err(fault);
        }
        let took = node.terminate(TERMINATE_WITHIN).await?;
        Ok(Drained { took, panic: node.panicked() })
    }
}

/// How a node ended on SIGTERM, with success.
pub(crate) struct Drained {
    pub(crate) took: Duration,
    /// A panic on the way out, of something that nobody waited for.
    pub(crate) panic: Option<String>,
}

/// All nodes.
pub(crate) struct Fleet {
    launch: Launch,
    cluster: String,
    secret: String,
    /// Of an S3 store.
    store_endpoint: Option<String>,
    sky: Arc<Sky>,
    gates: Gates,
    ports: Ports,
    seeds: String,
    starts: u32,
    named: usize,
    pub(crate) brokers: Vec<Member>,
    pub(crate) data: Vec<Member>,
}

impl Fleet {
    /// Starts everybody.
    pub(crate) fn begin(launch: Launch, arguments: &Arguments, cluster: &str, sky: Arc<Sky>) -> Result<Self> {
        let mut fleet = Self {
            cluster: cluster.to_string(),
            secret: format!("the secret of {cluster}"),
            launch,
            store_endpoint: arguments.store_endpoint(),
            sky,
            gates: Gates::default(),
            ports: Ports::new(),
            seeds: String::new(),
            starts: 0,
            named: 0,
            brokers: Vec::new(),
            data: Vec::new(),
        };
        for number in 1..=arguments.brokers {
            let broker = fleet.member(format!("broker-{number}"), "broker")?;
            fleet.brokers.push(broker);
        }
        for _ in 0..arguments.data_nodes {
            let data = fleet.data_member()?;
            fleet.data.push(data);
        }
        let gossips = fleet.brokers.iter().chain(&fleet.data).map(|member| member.gossip.to_string());
        fleet.seeds = gossips.take(SEEDS_MAX).collect::<Vec<_>>().join(",");
        fleet.start_all()?;
        Ok(fleet)
    }

    fn data_member(&mut self) -> Result<Member> {
        self.named += 1;
        self.member(format!("data-{}", self.named), "data")
    }

    fn member(&mut self, name: String, role: &str) -> Result<Member> {
        let mut address = || Ok(SocketAddr::from(([127, 0, 0, 1], self.ports.take()?)));
        let (listen, rpc, gossip) = (address()?, address()?, address()?);
        let (rpc_before, gossip_before, store_before) = (address()?, address()?, address()?);
        let (gate, store_gate) = (Gate::default(), Gate::default());
        self.gates.insert(gossip, gate.clone());
        let gossip_proxy = UdpProxy::start(gossip_before, gossip, self.gates.clone())?;
        let mut settings = vec![
            ("cluster.role", role.to_string()),
            ("cluster.name", self.cluster.clone()),
            ("cluster.node_id", name.clone()),
            ("cluster.listen", rpc.to_string()),
            ("cluster.advertise", rpc_before.to_string()),
            ("cluster.gossip_listen", gossip.to_string()),
            ("cluster.gossip_advertise", gossip_before.to_string()),
            ("cluster.secret.env", SECRET_VARIABLE.to_string()),
        ];
        let mut store_proxy = None;
        if let Some(endpoint) = &self.store_endpoint {
            store_proxy =
                Some(StoreProxy::start(store_before, endpoint, self.sky.clone(), store_gate.clone())?);
            settings.push((STORE_ENDPOINT_SETTING, format!("http://{store_before}")));
        }
        let variables = vec![(SECRET_VARIABLE, self.secret.clone())];
        let front = (role == "broker")
            .then(|| Arc::new(Front { url: format!("http://{listen}"), process: AtomicU32::new(0) }));
        Ok(Member {
            name,
            seat: Seat { listen, settings, variables },
            gossip: gossip_before,
            rpc: (rpc_before, rpc),
            gate,
            store_gate,
            node: None,
            rpc_proxy: None,
            _gossip_proxy: gossip_proxy,
            _store_proxy: store_proxy,
            front,
        })
    }

    /// Starts a node.
    fn start(&mut self, is_broker: bool, index: usize) -> Result<()> {
        self.starts += 1;
        let member = if is_broker { &mut self.brokers[index] } else { &mut self.data[index] };
        let mut seat = member.seat.clone();
        seat.settings.push(("cluster.seeds", self.seeds.clone()));
        member.node = Some(Node::start(&self.launch, self.starts, &seat)?);
        member.rpc_proxy = Some(TcpProxy::start(member.rpc.0, member.rpc.1, member.gate.clone()));
        if let Some(front) = &member.front {
            front.process.store(self.starts, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Starts a broker that does not run.
    pub(crate) fn start_broker(&mut self, index: usize) -> Result<()> {
        self.start(true, index)
    }

    /// Starts a data node that does not run.
    pub(crate) fn start_data(&mut self, index: usize) -> Result<()> {
        self.start(false, index)
    }

    /// Starts everybody who does not run.
    pub(crate) fn start_all(&mut self) -> Result<()> {
        for index in 0..self.brokers.len() {
            if self.brokers[index].node.is_none() {
                self.start_broker(index)?;
            }
        }
        for index in 0..self.data.len() {
            if self.data[index].node.is_none() {
                self.start_data(index)?;
            }
        }
        Ok(())
    }

    /// A new data node, which runs. Returns its name.
    pub(crate) fn join(&mut self) -> Result<String> {
        let member = self.data_member()?;
        let name = member.name.clone();
        self.data.push(member);
        self.start(false, self.data.len() - 1)?;
        Ok(name)
    }

    /// Lets everybody back, and clears the sky.
    pub(crate) fn heal(&mut self) {
        self.sky.set(Weather::Clear);
        for member in self.members() {
            member.isolate(Isolation::None, Isolation::None);
        }
    }

    /// The way to the store is so from now on.
    pub(crate) fn set_weather(&self, weather: Weather) {
        self.sky.set(weather);
    }

    /// Everybody.
    pub(crate) fn members(&mut self) -> impl Iterator<Item = &mut Member> {
        self.brokers.iter_mut().chain(&mut self.data)
    }

    /// Processes started so far.
    pub(crate) fn starts(&self) -> u32 {
        self.starts
    }

    /// The brokers as clients see them.
    pub(crate) fn fronts(&self) -> Vec<Arc<Front>> {
        self.brokers.iter().filter_map(|broker| broker.front.clone()).collect()
    }

    /// The first broker, to manage tables.
    pub(crate) fn address(&self) -> Address {
        let broker = &self.brokers[0];
        let process = broker.front.as_ref().and_then(|front| front.process()).unwrap_or(0);
        Address { url: broker.url(), process }
    }

    /// Nodes that have ended by themselves, or panicked.
    pub(crate) fn faults(&mut self) -> Vec<String> {
        let fault = |node: &mut Node| node.ended().or_else(|| node.panicked());
        self.members().filter_map(|member| member.node().and_then(fault)).collect()
    }
}
