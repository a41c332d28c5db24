//! The composition: one process that opens the store, consumes its tables, and answers queries.
//!
//! Start: self-test of the store, open every table's log, start its consumer, serve. Stop: finish the queries that
//! run, seal what is open (if so configured), end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use headwater_broker::engine::QueryEngine;
use headwater_broker::http::{HttpLimits, HttpState};
use headwater_ingest::IngestError;
use headwater_ingest::table::{IngestContext, TableIngest};
use headwater_segment::SegmentError;
use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::{LiveTable, Tables};
use headwater_segment::log::{self, TableLog};
use metrics_exporter_prometheus::PrometheusHandle;
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::page::PAGE;
use crate::residents;
use crate::store::{self, StoreError};

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The store's URL or options.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store, or a table in it.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// A table's stream.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The query engine.
    #[error("query engine: {0}")]
    Engine(#[from] headwater_broker::QueryError),
    /// The listener.
    #[error("listen on {address}: {source}")]
    Listen {
        /// Address.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
}

/// The tables of a node and everything that consumes them.
pub(crate) struct NodeTables {
    pub(crate) tables: Arc<Tables>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) root: Path,
    pub(crate) context: IngestContext,
    /// The consumers by table. The lock also keeps two changes of tables from running at once.
    pub(crate) ingests: Mutex<BTreeMap<String, TableIngest>>,
}

impl NodeTables {
    /// The directory of a table in the store.
    pub(crate) fn table_root(&self, name: &str) -> Path {
        log::table_root(&self.root, name)
    }

    /// Serves a table and starts its consumer.
    pub(crate) fn run_table(
        &self,
        log: TableLog,
        ingests: &mut BTreeMap<String, TableIngest>,
    ) -> Result<(), IngestError> {
        let name = log.snapshot().spec.name.clone();
        let live = LiveTable::new(log, self.store.clone(), self.table_root(&name));
        self.tables.insert(live.clone());
        let ingest = TableIngest::start(live, &self.context)?;
        ingests.insert(name, ingest);
        Ok(())
    }
}

/// A running node.
pub struct Node {
    address: SocketAddr,
    engine: QueryEngine,
    tables: Arc<NodeTables>,
    seal_on_shutdown: bool,
    shutdown_wait: Duration,
    stop_serving: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    sweeping: JoinHandle<()>,
}

impl Node {
    /// Starts everything that `config` describes. Kafka need not be reachable.
    pub async fn start(config: &Config, metrics: Option<PrometheusHandle>) -> Result<Self, NodeError> {
        let store = store::open(&config.store)?;
        log::self_test(store.objects.as_ref(), &store.root).await?;
        let listen = config.http.listen;
        let listen_failed = |source| NodeError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(listen_failed)?;
        let address = listener.local_addr().map_err(listen_failed)?;

        let tables = Arc::new(Tables::default());
        let engine = QueryEngine::new(config.engine(), tables.clone())?;
        let budget = MemoryBudget::new(config.ingest.memory_bytes_max);
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
                ownership: Arc::new(headwater_ingest::ownership::Alone),
            },
            ingests: Mutex::new(BTreeMap::new()),
        });
        open_tables(&node_tables).await?;
        let sweeping = residents::start_sweeping(engine.residents().clone(), node_tables.tables.clone());

        let state = HttpState {
            runner: Arc::new(engine.clone()),
            admin: node_tables.clone(),
            metrics: metrics_text(metrics, node_tables.tables.clone(), budget),
            limits: HttpLimits { body_bytes_max: config.http.body_bytes_max, ..HttpLimits::default() },
            page: PAGE,
        };
        let (stop_serving, stopped) = oneshot::channel::<()>();
        let router = headwater_broker::http::router(state);
        // An answer is written in several pieces; held back until the client acknowledges, each would cost 40 ms.
        let listener = listener.tap_io(|connection| {
            if let Err(error) = connection.set_nodelay(true) {
                tracing::debug!(%error, "a connection stays with delayed writes");
            }
        });
        let serving = tokio::spawn(async move {
            let graceful = axum::serve(listener, router).with_graceful_shutdown(async {
                // An error means that the node is gone, which is also a reason to stop.
                let _ = stopped.await;
            });
            if let Err(error) = graceful.await {
                tracing::error!(%error, "the HTTP listener ended");
            }
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
            sweeping,
        })
    }

    /// Where HTTP is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The tables, for status displays.
    pub fn tables(&self) -> &Arc<Tables> {
        &self.tables.tables
    }

    /// Table management without HTTP.
    pub fn admin(&self) -> Arc<dyn headwater_broker::admin::TableAdmin> {
        self.tables.clone()
    }

    /// Drains: no new connections, running queries finish, open rows are sealed (if configured), all within the
    /// configured time. What is not sealed by then is read again from Kafka at the next start.
    pub async fn stop(self) {
        let _ = self.stop_serving.send(());
        self.sweeping.abort();
        self.engine.drain(self.shutdown_wait).await;
        let ingests = std::mem::take(&mut *self.tables.ingests.lock().await);
        let stopping = ingests.into_iter().map(|(name, ingest)| async move {
            ingest.stop(self.seal_on_shutdown).await;
            tracing::info!(table = name, "stopped consuming");
        });
        if tokio::time::timeout(self.shutdown_wait, futures::future::join_all(stopping)).await.is_err() {
            tracing::warn!("not everything was sealed in time; the rest will be read again from Kafka");
        }
        // Connections that a client keeps open do not hold the process back.
        if tokio::time::timeout(Duration::from_secs(2), self.serving).await.is_err() {
            tracing::debug!("some HTTP connections were still open");
        }
    }
}

/// Opens every table of the store. One whose log cannot be read is an error: serving the others as if it did not exist
/// would make its queries fail with a lie.
async fn open_tables(node: &NodeTables) -> Result<(), NodeError> {
    let mut ingests = node.ingests.lock().await;
    for name in log::list_tables(&node.store, &node.root).await? {
        let Some(log) = TableLog::open(node.store.clone(), node.table_root(&name)).await? else { continue };
        if let Err(error) = node.run_table(log, &mut ingests) {
            // A secret that is missing here and now, say: what is sealed is served all the same.
            tracing::error!(table = name, %error, "the table is served, but not consumed");
            if let Some(live) = node.tables.get(&name) {
                live.set_trouble(Some(error.to_string()));
            }
        }
    }
    Ok(())
}

/// `/metrics`: what the code counts, and gauges read from the tables when asked.
fn metrics_text(
    handle: Option<PrometheusHandle>,
    tables: Arc<Tables>,
    budget: Arc<MemoryBudget>,
) -> Arc<dyn Fn() -> String + Send + Sync> {
    Arc::new(move || {
        for table in tables.list() {
            crate::gauges::record(&table);
        }
        metrics::gauge!("headwater_ingest_memory_bytes").set(budget.used() as f64);
        metrics::gauge!("headwater_ingest_memory_bytes_limit").set(budget.limit() as f64);
        handle.as_ref().map(PrometheusHandle::render).unwrap_or_default()
    })
}
