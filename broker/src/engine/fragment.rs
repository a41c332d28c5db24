//! Fragments: the part of a plan that a data node runs for a broker.
//!
//! ```text
//! bytes ─decode─▶ checked for overflow ─▶ fused ─▶ connected ─▶ runs in the query's budget, until the broker hangs up
//! ```
//!
//! What is sent is plain: the receiving node makes arithmetic fail on overflow again, fuses aggregates with the scans beneath
//! them, and connects what narrows leaves while it runs, by the same rules that a plan made there goes through.
//!
//! A fragment may read what other fragments of its query give, on other nodes or on this one. All fragments of a query on one node
//! share one memory budget.
//!
//! Invariant: a fragment gives the rows that its plan would give where it was made.

use std::collections::{BTreeSet, HashMap};
use std::str::FromStr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
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
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::interrupt::interruptible;
use super::overflow;
use super::session::Sessions;
use crate::catalog::QueryCatalog;
use crate::cluster::channel::NodeChannels;
use crate::cluster::edge::EdgeExec;
use crate::cluster::node_error::refusal;
use crate::cluster::{ClusterAccess, spawned};
use crate::execute::rule::FuseAggregates;
use crate::request::QueryStats;

/// Which version of which table's log a fragment was made at: `name=version`, with commas. 16 KiB of headers are 400 tables.
const LOGS: HeaderName = HeaderName::from_static("headwater-logs");
/// The memory budget of a fragment, in bytes.
const MEMORY: HeaderName = HeaderName::from_static("headwater-memory");
/// Which run of which query a fragment belongs to.
const ATTEMPT: HeaderName = HeaderName::from_static("headwater-attempt");
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
    // Hexadecimal digits are a header's value.
    headers.extend(HeaderValue::try_from(Uuid::new_v4().to_string()).ok().map(|attempt| (ATTEMPT, attempt)));
    headers
}

/// Makes the sessions in which fragments run.
pub(super) struct Fragments {
    pub(super) sessions: Arc<Sessions>,
    /// Largest memory budget.
    pub(super) memory_bytes_max: u64,
    /// Where segments are loaded and logs are looked at.
    pub(super) io: Handle,
    /// The way to the nodes whose rows a fragment reads.
    pub(super) access: ClusterAccess,
    pub(super) budgets: Budgets,
}

/// Memory and disk of the queries that have fragments on this node.
#[derive(Default)]
pub(super) struct Budgets {
    running: Mutex<HashMap<String, Weak<RuntimeEnv>>>,
}

impl Budgets {
    /// Those of the attempt, made by `make` for its first fragment.
    fn of(&self, attempt: Option<&str>, make: impl FnOnce() -> Arc<RuntimeEnv>) -> Arc<RuntimeEnv> {
        let Some(attempt) = attempt else { return make() };
        let mut running = self.running.lock();
        if let Some(budget) = running.get(attempt).and_then(Weak::upgrade) {
            return budget;
        }
        running.retain(|_, budget| budget.strong_count() > 0);
        let budget = make();
        running.insert(attempt.to_owned(), Arc::downgrade(&budget));
        budget
    }
}

#[async_trait]
impl WorkerSessionBuilder for Fragments {
    async fn build_session_state(&self, mut context: WorkerQueryContext) -> Result<SessionState> {
        let logs = context.headers.get(LOGS).and_then(|logs| logs.to_str().ok()).unwrap_or_default();
        for (table, version) in logs.split(',').filter_map(|log| log.split_once('=')) {
            self.catch_up(table, version.parse().unwrap_or(0)).await?;
        }
        let memory = context.headers.get(MEMORY).and_then(|bytes| bytes.to_str().ok());
        let memory = memory.and_then(|bytes| u64::from_str(bytes).ok()).unwrap_or(self.memory_bytes_max);
        let catalog = QueryCatalog::new(
            Arc::clone(self.sessions.sources()),
            BTreeSet::new(),
            false,
            Arc::<QueryStats>::default(),
            self.io.clone(),
            None,
        );
        let memory = memory.min(self.memory_bytes_max);
        let attempt = context.headers.get(ATTEMPT).and_then(|attempt| attempt.to_str().ok());
        let budget = self.budgets.of(attempt, || self.sessions.environment(memory));
        let mut config = context.builder.config().take().unwrap_or_default();
        config.set_distributed_channel_resolver(NodeChannels::new(self.access.clone()));
        config.set_distributed_passthrough_headers(self.access.headers())?;
        config.set_distributed_worker_plan_rewrite_handler(Connect {
            sessions: Arc::clone(&self.sessions),
            over: spawned::is_over(),
        });
        Ok(self.sessions.worker(config, &catalog, budget))
    }
}

impl Fragments {
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
    /// The broker no longer waits.
    over: CancellationToken,
}

impl WorkerPlanRewriteHandler for Connect {
    fn rewrite_worker_plan(&self, event: WorkerPlanRewriteEvent) -> Result<WorkerPlanRewriteEventResponse> {
        let plan = self.sessions.fragment(event.plan, event.session_config)?;
        let plan = interruptible(plan, &self.over)?;
        Ok(WorkerPlanRewriteEventResponse::new(EdgeExec::put_on(plan)?))
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
    ) -> SessionState {
        let distributed = DistributedConfig::from_config_options(config.options()).ok().cloned();
        *config.options_mut() = self.base().config().options().as_ref().clone();
        config.set_distributed_option_extension(distributed.unwrap_or_default());
        config.set_extension(Arc::clone(catalog));
        config.set_distributed_user_codec(crate::cluster::codec::LeafCodec);
        SessionStateBuilder::new_from_existing(self.base().clone())
            .with_config(config)
            .with_runtime_env(budget)
            .build()
    }
}
