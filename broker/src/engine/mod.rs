//! The query engine: from a [request](crate::request::QueryRequest) to a stream of batches at one cut of each table.
//!
//! ```text
//! run -> admit -> wait for minimum offsets -> | parse -> plan -> execute | -> bounded channel -> AnswerStream
//!        (caller's runtime)                     (the engine's own threads)    (caller's runtime)
//! ```
//!
//! Query CPU work runs on the engine's own threads, so a heavy query delays neither ingestion nor a health check.
//!
//! Invariants: a query ends exactly once, with one outcome ([`registry`]); it ends when its answer is dropped, at its
//! deadline, and when its task panics, and the process lives on; its memory never exceeds its budget unnoticed.

mod across;
pub(crate) mod admission;
mod config;
mod describe;
mod errors;
mod filter_pushdown;
mod fragment;
pub(crate) mod hedge;
pub(crate) mod interrupt;
mod min_offsets;
mod other_rows;
pub(crate) mod overflow;
mod parameters;
mod plan_cache;
mod planner;
pub(crate) mod registry;
mod run;
mod session;
mod set_comparison;
mod spill;
mod stream;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use datafusion_distributed::Worker;
use headwater_segment::live::{LiveTable, Tables};
use headwater_segment::resident::{ResidentConfig, ResidentStore};
use headwater_segment::sealed::SegmentReaderFactory;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::Instant;
use tracing::Instrument;

use crate::cluster::hosted::HostedQueries;
use crate::cluster::nodes::Nodes;
use crate::cluster::service::Workers;
use crate::cluster::{Cluster, ClusterAccess, SharedSecret, queries, service};
use crate::request::{QueryAnswer, QueryProgress, QueryRequest, QueryState};
use crate::trace::TARGET;
use crate::{QueryError, QueryErrorKind};
use admission::Admission;
use fragment::Fragments;
use registry::Registry;
use session::Sessions;
use stream::QueryGuard;

pub use crate::execute::options::{ExecuteOptions, Toggle};
pub use config::EngineConfig;
pub use describe::Description;
pub use errors::error_of;
pub use planner::{Foreign, StatementPlanner};

/// Stack of a query thread. Address space, not memory: only the pages that a deep statement touches are real.
const THREAD_STACK_BYTES: usize = 64 << 20;
/// Turns after which a thread looks for tasks from elsewhere: the next query, or one whose client has gone and that must learn
/// of it. Tokio begins with 61, and adapts that only when they have passed; here a turn is a morsel, a millisecond and more.
const TURNS_OF_OWN_TASKS: u32 = 1;

/// How often [`QueryEngine::drain`] looks whether the queries have ended.
const DRAIN_POLL: Duration = Duration::from_millis(10);

/// The query engine of a process. Clones share it.
#[derive(Clone)]
pub struct QueryEngine {
    inner: Arc<Engine>,
}

struct Engine {
    config: EngineConfig,
    tables: Arc<Tables>,
    /// Of clients' queries.
    admission: Arc<Admission>,
    /// Of what other nodes send here. Places of their own: a query here may wait for fragments here.
    hosted_admission: Arc<Admission>,
    registry: Arc<Registry>,
    sessions: Arc<Sessions>,
    /// None only while the engine is dropped.
    runtime: Option<Runtime>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.registry.cancel_all();
        if let Some(runtime) = self.runtime.take() {
            // A plain drop would block, which async code must not do.
            runtime.shutdown_background();
        }
    }
}

impl QueryEngine {
    /// Starts the engine's threads, for tables whose rows are in this process. Fails with `Internal` if they or the spill
    /// directory cannot be had.
    pub fn new(config: EngineConfig, tables: Arc<Tables>) -> Result<Self, QueryError> {
        Self::over(config, tables, None)
    }

    /// As [`new`](Self::new), for tables whose rows are on the nodes of a cluster.
    pub fn clustered(
        config: EngineConfig,
        tables: Arc<Tables>,
        cluster: Arc<dyn Cluster>,
        access: ClusterAccess,
    ) -> Result<Self, QueryError> {
        Self::over(config, tables, Some(Arc::new(Nodes::new(cluster, access))))
    }

    fn over(
        config: EngineConfig,
        tables: Arc<Tables>,
        nodes: Option<Arc<Nodes>>,
    ) -> Result<Self, QueryError> {
        let internal = |what: &str, error: &dyn std::fmt::Display| {
            QueryError::new(QueryErrorKind::Internal, format!("{what}: {error}"))
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(config.threads.max(1))
            .thread_name("headwater-query")
            .thread_stack_size(THREAD_STACK_BYTES)
            .global_queue_interval(TURNS_OF_OWN_TASKS)
            .enable_all()
            .build()
            .map_err(|error| internal("the query threads did not start", &error))?;
        let registry = Arc::new(Registry::new(config.slow));
        let residents = ResidentStore::open(ResidentConfig {
            dir: config.resident_dir.clone(),
            disk_bytes_max: config.resident_disk_bytes_max,
            memory_bytes_max: config.resident_memory_bytes_max,
        });
        let residents = residents.map_err(|error| internal("the resident columns", &error))?;
        let sessions = Sessions::new(&config, Arc::clone(&tables), Arc::clone(&registry), residents, nodes)
            .map(Arc::new)
            .map_err(|error| internal("the query sessions could not be set up", &error))?;
        let admission = Admission::new(config.concurrent_max, config.queue_max);
        let hosted_admission = Admission::new(config.concurrent_max, config.queue_max);
        let runtime = Some(runtime);
        let inner = Engine { config, tables, admission, hosted_admission, registry, sessions, runtime };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Runs one query up to its first answer: the cut and the schema are known, the rows follow in the stream.
    ///
    /// Every kind of [`QueryErrorKind`] may come out of here; what goes wrong later comes out of the stream.
    pub async fn run(&self, request: QueryRequest) -> Result<QueryAnswer, QueryError> {
        let engine = &self.inner;
        let limits = engine.config.limits_of(&request);
        let entry = engine.registry.start(&request)?;
        let mut guard =
            QueryGuard { registry: Arc::clone(&engine.registry), entry: Arc::clone(&entry), task: None };
        if limits.deadline.is_zero() {
            return Err(guard.fail(stream::deadline_passed()));
        }
        let deadline = Instant::now() + limits.deadline;
        let min_offsets = request.min_offsets.clone();
        let cancel = entry.cancel.clone();
        let span = tracing::info_span!(
            target: TARGET,
            "query",
            headwater.query_id = entry.id,
            headwater.client = entry.client.name(),
            db.query.text = entry.sql,
        );
        let starting = run::start(engine, request, (limits, deadline), &mut guard).instrument(span);
        let started = tokio::select! {
            biased;
            started = Box::pin(starting) => started,
            () = cancel.cancelled() => Err(registry::cancelled("the query was cancelled")),
            () = tokio::time::sleep_until(deadline) => Err(min_offsets::late(engine, &min_offsets)),
        };
        match started {
            Ok(started) => Ok(started.into_answer(deadline, guard)),
            Err(error) => Err(guard.fail(error)),
        }
    }

    /// The routes on which other nodes ask this one for rows, and `also`; not for clients. `io` is where segments are loaded.
    ///
    /// # Errors
    /// `Internal` if the engine is shut down.
    pub fn node_router(
        &self,
        io: Handle,
        secret: Option<SharedSecret>,
        also: axum::Router,
    ) -> Result<axum::Router, QueryError> {
        let engine = &self.inner;
        let shut_down = || QueryError::new(QueryErrorKind::Internal, "the engine is shut down");
        let queries = engine.runtime.as_ref().ok_or_else(shut_down)?.handle().clone();
        let config = &engine.config;
        let hosted = HostedQueries::new(Arc::clone(&engine.hosted_admission), config.deadline_max);
        let tls = engine.sessions.nodes().and_then(|nodes| nodes.access().tls());
        let access = ClusterAccess::over(secret.clone(), tls, io.clone()).map_err(|error| {
            QueryError::new(QueryErrorKind::Internal, format!("the way to other nodes: {error}"))
        })?;
        let fragments = Fragments {
            sessions: Arc::clone(&engine.sessions),
            hosted: Arc::clone(&hosted),
            memory_bytes_max: config.memory_bytes_max,
            io,
            access,
        };
        let direct = Arc::new(fragments.clone());
        let worker = Worker::from_session_builder(fragments).with_version(env!("CARGO_PKG_VERSION"));
        let workers = Workers { worker, queries, hosted, direct };
        Ok(service::router(Arc::clone(engine.sessions.sources()), workers, secret, also))
    }

    /// Asks a query to stop, on whichever node of the cluster it runs; with `only_of` a query of that user alone. False if none has
    /// it.
    pub async fn kill(&self, id: &str, only_of: Option<&str>) -> bool {
        if self.inner.registry.cancel(id, only_of) {
            return true;
        }
        match self.inner.sessions.nodes() {
            None => false,
            Some(nodes) => queries::cancel_elsewhere(nodes, id, only_of).await,
        }
    }

    /// How far a query is that runs on any node of the cluster, or has ended there within the last minute; with `only_of` a query of
    /// that user alone.
    pub async fn progress(&self, id: &str, only_of: Option<&str>, with_plan: bool) -> Option<QueryProgress> {
        let nodes = self.inner.sessions.nodes();
        match (self.inner.registry.find(id, only_of), nodes) {
            (None, None) => None,
            (None, Some(nodes)) => queries::find_elsewhere(nodes, id, only_of, with_plan).await,
            (Some(entry), nodes) => {
                if let Some(nodes) = nodes.filter(|_| entry.state() == QueryState::Running) {
                    queries::note_progress(nodes, &entry).await;
                }
                Some(entry.progress(with_plan))
            }
        }
    }

    /// Queries running or waiting.
    pub fn running(&self) -> usize {
        self.inner.registry.running()
    }

    /// Queries that wait for a place among the running.
    pub fn queued(&self) -> usize {
        self.inner.admission.waiting()
    }

    /// Queries of brokers that run here.
    pub fn hosted(&self) -> usize {
        self.inner.hosted_admission.running()
    }

    /// Whether it is at work for anybody, a client or another node.
    pub fn is_busy(&self) -> bool {
        self.running() > 0 || self.hosted() > 0
    }

    /// The resident columns of sealed segments, for whoever seals segments.
    pub fn residents(&self) -> &Arc<ResidentStore> {
        &self.inner.sessions.sources().residents
    }

    /// What reads the sealed segments of a table, with the footers that queries have read.
    pub fn readers(&self, table: &LiveTable) -> SegmentReaderFactory {
        let footers = Arc::clone(&self.inner.sessions.sources().footers);
        SegmentReaderFactory::new(Arc::clone(table.store()), table.root().clone(), footers)
    }

    /// The tables that this engine answers from.
    pub fn tables(&self) -> &Arc<Tables> {
        &self.inner.tables
    }

    /// Admits no new query, waits for the running ones at most `within`, and cancels the rest.
    pub async fn drain(&self, within: Duration) {
        self.inner.admission.close();
        let until = Instant::now() + within;
        while self.running() > 0 && Instant::now() < until {
            tokio::time::sleep(DRAIN_POLL).await;
        }
        self.inner.registry.cancel_all();
    }
}
