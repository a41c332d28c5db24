//! Fragments: the part of a plan that a data node runs for a broker.
//!
//! ```text
//! bytes ─decode─▶ checked for overflow ─▶ fused ─▶ connected ─▶ runs in the query's budget, until the broker hangs up or the
//!                                                                deadline passes
//! ```
//!
//! What is sent is plain: the receiving node makes arithmetic fail on overflow again, fuses aggregates with the scans beneath
//! them, and connects what narrows leaves while it runs, by the same rules that a plan made there goes through.
//!
//! A fragment may read what other fragments of its query give, on other nodes or on this one. All fragments of one run of a query
//! on one node share one memory budget.
//!
//! Invariant: a fragment gives the rows that its plan would give where it was made.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use datafusion_distributed::{
    DistributedConfig, DistributedExt, WorkerPlanRewriteEvent, WorkerPlanRewriteEventResponse,
    WorkerPlanRewriteHandler, WorkerQueryContext, WorkerSessionBuilder,
};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::interrupt::interruptible;
use super::overflow;
use super::session::Sessions;
use crate::catalog::QueryCatalog;
use crate::cluster::ClusterAccess;
use crate::cluster::channel::NodeChannels;
use crate::cluster::codec;
use crate::cluster::direct::{Prepared, RunsFragments};
use crate::cluster::edge::EdgeExec;
use crate::cluster::hosted::HostedQueries;
use crate::cluster::node_error::refusal;
use crate::cluster::run::Run;
use crate::execute::rule::FuseAggregates;
use crate::trace;

/// Which version of which table's log a fragment was made at: `name=version`, with commas. 16 KiB of headers are 400 tables.
const LOGS: HeaderName = HeaderName::from_static("headwater-logs");
/// The memory budget that all fragments of a run on a node share, in bytes.
const MEMORY: HeaderName = HeaderName::from_static("headwater-memory");
/// A log that cannot be looked at within this time is taken as it is: whoever needs what is new fails.
pub(super) const REFRESH_WAIT: Duration = Duration::from_secs(5);

/// What goes with every fragment of a query, besides the plan.
pub(super) fn headers(catalog: &QueryCatalog, memory_bytes: u64, mut headers: HeaderMap) -> HeaderMap {
    let tables = catalog.scanned().into_iter();
    let logs = tables.map(|table| format!("{}={}", table.source().table.name(), table.log_version()));
    let logs = logs.collect::<Vec<_>>().join(",");
    // Table names are ASCII; without the header a node takes its own version.
    if let Ok(logs) = HeaderValue::from_str(&logs) {
        headers.insert(LOGS, logs);
    }
    headers.insert(MEMORY, HeaderValue::from(memory_bytes));
    trace::put(catalog.trace(), &mut headers);
    headers
}

/// Makes the sessions in which fragments run.
#[derive(Clone)]
pub(super) struct Fragments {
    pub(super) sessions: Arc<Sessions>,
    /// Whose they are.
    pub(super) hosted: Arc<HostedQueries>,
    /// Largest memory budget.
    pub(super) memory_bytes_max: u64,
    /// Where segments are loaded and logs are looked at.
    pub(super) io: Handle,
    /// The way to the nodes whose rows a fragment reads.
    pub(super) access: ClusterAccess,
}

#[async_trait]
impl WorkerSessionBuilder for Fragments {
    async fn build_session_state(&self, mut context: WorkerQueryContext) -> Result<SessionState> {
        let Begun { run, catalog, budget, connect } = self.begin(&context.headers).await?;
        let mut config = context.builder.config().take().unwrap_or_default();
        // What it reads from other nodes it asks for in the name of the same run.
        let mut headers = self.access.headers();
        run.put(&mut headers);
        trace::put(catalog.trace(), &mut headers);
        config.set_distributed_passthrough_headers(headers)?;
        config.set_distributed_channel_resolver(NodeChannels::new(self.access.clone()));
        Ok(self.sessions.worker(config, &catalog, budget, connect))
    }
}

#[async_trait]
impl RunsFragments for Fragments {
    async fn prepare(&self, headers: HeaderMap, plan: Bytes) -> Result<Prepared> {
        let Begun { catalog, budget, connect, .. } = self.begin(&headers).await?;
        let base = self.sessions.base();
        let mut config = base.config().clone();
        config.set_extension(catalog);
        let context = self.sessions.without_functions(config, budget);
        let plan = codec::decode(&plan, &context, Arc::clone(base))?;
        let plan = connect.connected(plan, context.session_config())?;
        Ok(Prepared { plan, context: Arc::new(context) })
    }
}

/// A fragment that has a place on this node.
struct Begun {
    run: Run,
    catalog: Arc<QueryCatalog>,
    budget: Arc<RuntimeEnv>,
    connect: Connect,
}

impl Fragments {
    async fn begin(&self, headers: &HeaderMap) -> Result<Begun> {
        let hosted = Run::of(headers).and_then(|run| Some((self.hosted.query(&run)?, run)));
        let (query, run) = hosted.ok_or_else(|| refusal("the query of a fragment has ended"))?;
        let logs = headers.get(LOGS).and_then(|logs| logs.to_str().ok()).unwrap_or_default();
        for (table, version) in logs.split(',').filter_map(|log| log.split_once('=')) {
            self.catch_up(table, version.parse().unwrap_or(0)).await?;
        }
        let catalog = QueryCatalog::new(
            Arc::clone(self.sessions.sources()),
            BTreeSet::new(),
            false,
            query.stats(run.number),
            (self.io.clone(), query.trace(run.number)),
            None,
        );
        let memory = headers.get(MEMORY).and_then(|bytes| bytes.to_str().ok());
        let memory = memory.and_then(|bytes| u64::from_str(bytes).ok()).unwrap_or(self.memory_bytes_max);
        let memory = memory.min(self.memory_bytes_max);
        let budget = query.budget(run.number, || self.sessions.environment(memory));
        let connect = Connect { sessions: Arc::clone(&self.sessions), ended: query.ended().clone() };
        Ok(Begun { run, catalog, budget, connect })
    }

    /// Looks at a table's log if the broker has seen more of it.
    async fn catch_up(&self, name: &str, version: u64) -> Result<()> {
        let table = self.sessions.sources().tables.get(name);
        let table = table.ok_or_else(|| refusal(format!("there is no table {name} on this node yet")))?;
        if table.snapshot().version >= version {
            return Ok(());
        }
        let looking = Arc::clone(&table);
        let look = self.io.spawn(async move { looking.follow_log().await });
        match tokio::time::timeout(REFRESH_WAIT, look).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(refusal(format!("table {name}: {error}"))),
            Ok(Err(_)) | Err(_) => {
                Err(refusal(format!("table {name}: its log could not be looked at in time")))
            }
        }
    }
}

/// What a decoded fragment goes through before it runs.
struct Connect {
    sessions: Arc<Sessions>,
    /// Cancelled when the query has ended.
    ended: CancellationToken,
}

impl WorkerPlanRewriteHandler for Connect {
    fn rewrite_worker_plan(&self, event: WorkerPlanRewriteEvent) -> Result<WorkerPlanRewriteEventResponse> {
        Ok(WorkerPlanRewriteEventResponse::new(self.connected(event.plan, event.session_config)?))
    }
}

impl Connect {
    fn connected(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &SessionConfig,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = self.sessions.fragment(plan, config)?;
        let plan = interruptible(plan, &self.ended)?;
        EdgeExec::put_on(plan, &self.ended)
    }
}

impl Sessions {
    /// A decoded fragment, ready to run.
    pub(super) fn fragment(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &SessionConfig,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let options = config.options();
        let plan = overflow::checked_plan(plan, options)?;
        let plan = match self.sources().options.aggregate {
            true => FuseAggregates.optimize(plan, options)?,
            false => plan,
        };
        self.connect(plan)
    }

    /// The session of a fragment; `config` has what the distributed plan needs to know.
    fn worker(
        &self,
        mut config: SessionConfig,
        catalog: &Arc<QueryCatalog>,
        budget: Arc<RuntimeEnv>,
        connect: Connect,
    ) -> SessionState {
        let distributed = DistributedConfig::from_config_options(config.options()).ok().cloned();
        *config.options_mut() = self.base().config().options().as_ref().clone();
        config.set_distributed_option_extension(distributed.unwrap_or_default());
        config.set_extension(Arc::clone(catalog));
        config.set_distributed_user_codec(codec::LeafCodec::default());
        config.set_distributed_worker_plan_rewrite_handler(connect);
        SessionStateBuilder::new_from_existing(self.base().as_ref().clone())
            .with_config(config)
            .with_runtime_env(budget)
            .build()
    }
}
