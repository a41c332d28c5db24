//! The composition: one process that opens the store, consumes its tables, and answers queries.
//!
//! Start: self-test of the store, open every table's log, start its consumer, serve. Stop: finish the queries that
//! run, seal what is open (if so configured), end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use headwater_broker::cluster::Cluster;
use headwater_broker::dashboards::DashboardStore;
use headwater_broker::dashboards::live::{LiveHub, LiveLimits};
use headwater_broker::engine::QueryEngine;
use headwater_broker::http::{HttpLimits, HttpState};
use headwater_broker::postgres::{self, PostgresLimits, PostgresState};
use headwater_ingest::IngestError;
use headwater_ingest::ownership::{Alone, Ownership};
use headwater_ingest::table::IngestContext;
use headwater_segment::SegmentError;
use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::Tables;
use headwater_segment::log;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::access::AccessSetupError;
use crate::cluster::ClusterError;
use crate::cluster::joined::Joined;
use crate::cluster::peers::{self, Peers};
use crate::config::{Config, ConfigError};
use crate::dashboards::ObjectDashboards;
use crate::entrance::Entrance;
use crate::gauges;
use crate::listener;
use crate::listener::tls::TlsError;
use crate::node_tables::NodeTables;
use crate::residents;
use crate::store::{self, StoreError};
use crate::warming::Warmer;

/// How often a node without a cluster looks whether a spec is another than the one that its consumer was started with.
const FOLLOW_SPECS_EVERY: Duration = Duration::from_secs(1);
/// So long a node that ends waits for checkpoints that are being written.
const CHECKPOINTS_WAIT: Duration = Duration::from_secs(10);

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The store's URL or options.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store, or a table in it.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The store, and what may be the reason.
    #[error("{hint} ({source})")]
    StoreRefuses {
        /// What to do.
        hint: &'static str,
        /// What the store says.
        source: SegmentError,
    },
    /// A table's stream.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The query engine.
    #[error("query engine: {0}")]
    Engine(#[from] headwater_broker::QueryError),
    /// This node's place among others.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Users and tokens.
    #[error(transparent)]
    Access(#[from] AccessSetupError),
    /// The certificate and its key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The listener.
    #[error("listen on {address}: {source}")]
    Listen {
        /// Address.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
}

/// A running node.
pub struct Node {
    address: SocketAddr,
    engine: QueryEngine,
    tables: Arc<NodeTables>,
    seal_on_shutdown: bool,
    shutdown_wait: Duration,
    stop_serving: CancellationToken,
    serving: JoinHandle<()>,
    postgres: Option<Postgres>,
    flight: Option<(SocketAddr, CancellationToken, JoinHandle<()>)>,
    sweeping: JoinHandle<()>,
    warming: JoinHandle<()>,
    following: Option<JoinHandle<()>>,
    reloading: Vec<JoinHandle<()>>,
    joined: Option<Joined>,
    dashboards: Arc<LiveHub>,
}

/// The listener for clients of the Postgres protocol.
struct Postgres {
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Postgres {
    fn serve(
        listener: TcpListener,
        address: SocketAddr,
        engine: &QueryEngine,
        front: &Entrance,
        config: &Config,
    ) -> Self {
        let stop = CancellationToken::new();
        let limits =
            PostgresLimits { connections_max: config.postgres.connections_max, ..PostgresLimits::default() };
        let tls = front.tls.as_ref().map(|identity| identity.server_config(&[]));
        let state = PostgresState { engine: engine.clone(), access: Arc::clone(&front.access), tls, limits };
        let serving = postgres::serve(listener, state, stop.clone());
        tracing::info!(%address, "clients of the Postgres protocol are served");
        Self { stop, serving }
    }
}

/// Binds the listener for clients of the Postgres protocol, if there is to be one.
async fn bind_postgres(config: &Config) -> Result<Option<(TcpListener, SocketAddr)>, NodeError> {
    match config.postgres_address()? {
        Some(address) => Ok(Some(bind(address).await?)),
        None => Ok(None),
    }
}

impl Node {
    /// Starts everything that `config` describes. Kafka need not be reachable.
    pub async fn start(config: &Config, metrics: Option<PrometheusHandle>) -> Result<Self, NodeError> {
        let front = Entrance::open(config)?;
        let store = store::open(&config.store)?;
        let tested = log::self_test(store.objects.as_ref(), &store.root).await;
        tested.map_err(|error| match store::hint(&config.store) {
            Some(hint) if matches!(error, SegmentError::Store { .. }) => {
                NodeError::StoreRefuses { hint, source: error }
            }
            _ => error.into(),
        })?;
        let (listener, address) = bind(config.http.listen).await?;
        let postgres = bind_postgres(config).await?;
        let flight = match config.flight.listen {
            Some(listen) => Some(bind(listen).await?),
            None => None,
        };

        let mut joined = Joined::join(config, address).await?;
        let tables = Arc::new(Tables::default());
        let engine = match &joined {
            None => QueryEngine::new(config.engine(), tables.clone())?,
            // Whatever its role, a node knows that rows are on other nodes too: its own would be a part of the answer.
            Some(joined) => {
                let view: Arc<dyn Cluster> = joined.view().clone();
                QueryEngine::clustered(config.engine(), tables.clone(), view, joined.access().clone())?
            }
        };
        let ownership: Arc<dyn Ownership> = match &joined {
            None => Arc::new(Alone),
            Some(joined) => joined.ownership(tables.clone()),
        };
        let budget = MemoryBudget::new(config.ingest.memory_bytes_max);
        let dashboards = Arc::new(ObjectDashboards::new(store.objects.clone(), &store.root));
        let dashboards = Arc::new(LiveHub::new(Arc::new(engine.clone()), dashboards, LiveLimits::default()));
        let node_tables = Arc::new(NodeTables {
            tables,
            store: store.objects,
            root: store.root,
            context: IngestContext {
                budget: budget.clone(),
                encode_permits: Arc::new(Semaphore::new(config.ingest.encoders.max(1))),
                residents: engine.residents().clone(),
                runtime: tokio::runtime::Handle::current(),
                workers_per_table: config.ingest.workers_per_table.max(1),
                ownership,
            },
            consumes: config.cluster.role.holds_data(),
            peers: joined.as_ref().map(|joined| Peers {
                this: joined.this().clone(),
                cluster: joined.view().clone(),
                access: joined.access().clone(),
            }),
            ingests: Mutex::new(BTreeMap::new()),
            started: parking_lot::Mutex::default(),
        });
        node_tables.open_all().await?;
        if let Some(joined) = &mut joined {
            let router =
                engine.node_router(Handle::current(), joined.secret(), peers::router(node_tables.clone()))?;
            joined.serve(router, node_tables.clone());
        }
        let warmer = Warmer::new(engine.clone(), joined.as_ref().map(Joined::place));
        let settle = joined.as_ref().map(Joined::settle);
        let warming = tokio::spawn(warmer.run(move || {
            if let Some(settle) = settle {
                settle();
            }
        }));
        // In a cluster the keeper does it, among other things.
        let following = joined.is_none().then(|| tokio::spawn(follow_specs(node_tables.clone())));
        let sweeping = residents::start_sweeping(engine.residents().clone(), node_tables.tables.clone());

        let measured = engine.clone();
        let members: Option<Arc<dyn Cluster>> = joined.as_ref().map(|joined| joined.view().clone() as _);
        let doors = front.doors(config, joined.as_ref().and_then(Joined::session_key));
        let state = HttpState {
            runner: Arc::new(engine.clone()),
            admin: node_tables.clone(),
            dashboards: dashboards.clone(),
            metrics: metrics_text(metrics, node_tables.tables.clone(), move || {
                gauges::record_node(&measured, &budget, members.as_deref());
            }),
            limits: HttpLimits { body_bytes_max: config.http.body_bytes_max, ..HttpLimits::default() },
            doors: Arc::clone(&doors),
            console: crate::console::answer,
        };
        let stop_serving = CancellationToken::new();
        let router = headwater_broker::http::router(state);
        let serving = listener::serve(listener, front.http(config), router, stop_serving.clone());
        let postgres =
            postgres.map(|(listener, address)| Postgres::serve(listener, address, &engine, &front, config));
        let flight = flight.map(|(listener, address)| {
            tracing::info!(%address, "Arrow Flight SQL is up");
            let router = headwater_broker::flight::router(engine.clone(), Arc::clone(&doors));
            let stop = CancellationToken::new();
            (address, stop.clone(), listener::serve(listener, front.flight(), router, stop))
        });
        tracing::info!(%address, store = config.store.url, tables = node_tables.tables.list().len(), "headwater is up");
        Ok(Self {
            address,
            engine,
            tables: node_tables,
            seal_on_shutdown: config.ingest.seal_on_shutdown,
            shutdown_wait: Duration::from_millis(config.ingest.shutdown_wait_ms),
            stop_serving,
            serving,
            postgres,
            flight,
            sweeping,
            warming,
            following,
            reloading: front.reloading,
            joined,
            dashboards,
        })
    }

    /// Where HTTP is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where Arrow Flight SQL is served, if it is.
    pub fn flight_address(&self) -> Option<SocketAddr> {
        self.flight.as_ref().map(|(address, ..)| *address)
    }

    /// The tables, for status displays.
    pub fn tables(&self) -> &Arc<Tables> {
        &self.tables.tables
    }

    /// Table management without HTTP.
    pub fn admin(&self) -> Arc<dyn headwater_broker::admin::TableAdmin> {
        self.tables.clone()
    }

    /// Dashboards without HTTP.
    pub fn dashboards(&self) -> &Arc<dyn DashboardStore> {
        self.dashboards.store()
    }

    /// Drains: no new connections, running queries finish, other nodes take over, open rows are sealed (if configured), each
    /// within the configured time. What is not sealed by then is read again from Kafka at the next start.
    pub async fn stop(self) {
        self.stop_serving.cancel();
        if let Some(postgres) = &self.postgres {
            postgres.stop.cancel();
        }
        if let Some((_, stop, _)) = &self.flight {
            stop.cancel();
        }
        // They would hold their connections for ever.
        self.dashboards.close();
        self.sweeping.abort();
        self.reloading.iter().for_each(JoinHandle::abort);
        self.warming.abort();
        if let Some(following) = &self.following {
            following.abort();
        }
        // It is not to say that this node settles after it has said that it leaves. An error is that it was ended.
        let _ = self.warming.await;
        self.engine.drain(self.shutdown_wait).await;
        if let Some(joined) = &self.joined {
            joined.hand_over(&self.tables, self.shutdown_wait).await;
        }
        let ingests = std::mem::take(&mut *self.tables.ingests.lock().await);
        let stopping = ingests.into_iter().map(|(name, ingest)| async move {
            ingest.stop(self.seal_on_shutdown).await;
            tracing::info!(table = name, "stopped consuming");
        });
        if tokio::time::timeout(self.shutdown_wait, futures::future::join_all(stopping)).await.is_err() {
            tracing::warn!("not everything was sealed in time; the rest will be read again from Kafka");
        }
        // What is being written when the runtime ends would be written by nobody, and the library panics over that.
        let settling =
            self.tables.tables.list().into_iter().map(|live| async move { live.log().settle().await });
        if tokio::time::timeout(CHECKPOINTS_WAIT, futures::future::join_all(settling)).await.is_err() {
            tracing::warn!("a checkpoint of a table log was not written in time; the next one will be");
        }
        if let Some(joined) = self.joined {
            joined.leave().await;
        }
        // Connections that a client keeps open do not hold the process back.
        if tokio::time::timeout(Duration::from_secs(2), self.serving).await.is_err() {
            tracing::debug!("some HTTP connections were still open");
        }
        if let Some(postgres) = self.postgres
            && tokio::time::timeout(Duration::from_secs(2), postgres.serving).await.is_err()
        {
            tracing::debug!("some Postgres connections were still open");
        }
        if let Some((_, _, serving)) = self.flight {
            serving.abort();
        }
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), NodeError> {
    let failed = |source| NodeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Starts consumers anew whose table's spec another process has changed, or this one without an answer to whether it had.
async fn follow_specs(tables: Arc<NodeTables>) {
    loop {
        tokio::time::sleep(FOLLOW_SPECS_EVERY).await;
        tables.restart_changed().await;
    }
}

/// `/metrics`: what the code counts, and gauges read from the tables when asked.
fn metrics_text(
    handle: Option<PrometheusHandle>,
    tables: Arc<Tables>,
    record_node: impl Fn() + Send + Sync + 'static,
) -> Arc<dyn Fn() -> String + Send + Sync> {
    Arc::new(move || {
        for table in tables.list() {
            gauges::record(&table);
        }
        record_node();
        handle.as_ref().map(PrometheusHandle::render).unwrap_or_default()
    })
}
