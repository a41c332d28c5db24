//! What every query shares (functions, options, the spill disk), and the session made of it for one query.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use datafusion_distributed::DistributedExt;
use headwater_segment::live::Tables;
use headwater_segment::resident::ResidentStore;
use headwater_segment::sealed::FooterCache;

use super::config::EngineConfig;
use super::filter_pushdown::{self, Rule};
use super::plan_cache::PlanCache;
use super::registry::Registry;
use super::set_comparison;
use super::spill::{SpillDirectory, spill_disk};
use super::{fragment, overflow};
use crate::catalog::{CATALOG, CatalogSources, PUBLIC, QueryCatalog};
use crate::cluster::attempt::Attempt;
use crate::cluster::channel::NodeChannels;
use crate::cluster::codec::LeafCodec;
use crate::cluster::distribute::route;
use crate::cluster::learned::LearnedGroups;
use crate::cluster::nodes::Nodes;
use crate::execute::aggregate::ResultCache;
use crate::execute::rule::FuseAggregates;
use crate::functions;
use crate::request::{ClientKind, Meaning};

/// Rows per batch. The chunks of open segments have as many.
const BATCH_ROWS: usize = 8192;

/// Consumers that an out-of-memory error names.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(3).expect("3 is not 0");

/// Parsed Parquet footers kept: some 20 KB for a segment of 20 columns, so about 6,000 segments.
const FOOTER_BYTES_MAX: usize = 128 << 20;

/// DataFusion's rule that hands the filters of operators on which change while a query runs.
const LATE_PUSHDOWN: &str = "FilterPushdown(Post)";

/// What the sessions of all queries share.
pub(super) struct Sessions {
    base: Arc<SessionState>,
    /// The same, with what Pinot's clients mean.
    pinot: Arc<SessionState>,
    /// The same, with what PostgreSQL's clients mean.
    postgres: Arc<SessionState>,
    environment: RuntimeEnv,
    disk: Arc<DiskManager>,
    /// Holds the directory of `disk`.
    _spill: SpillDirectory,
    sources: Arc<CatalogSources>,
    /// Names of all functions, for suggestions.
    functions: Vec<String>,
    plans: PlanCache,
    learned: Arc<LearnedGroups>,
}

impl Sessions {
    pub(super) fn new(
        config: &EngineConfig,
        tables: Arc<Tables>,
        registry: Arc<Registry>,
        residents: Arc<ResidentStore>,
        nodes: Option<Arc<Nodes>>,
    ) -> Result<Self, DataFusionError> {
        let mut session = session_config(config);
        if let Some(nodes) = &nodes {
            session = distributed(session, nodes)?;
        }
        let mut base = SessionStateBuilder::new().with_config(session).with_default_features().build();
        datafusion_functions_json::register_all(&mut base)?;
        functions::register_all(&mut base)?;
        let logical = base.optimizers().to_vec();
        // Where rows are elsewhere, aggregates are fused there.
        let fuses = config.execute.aggregate && nodes.is_none();
        let rules = fusing(filter_pushdown::careful(base.physical_optimizers()), fuses);
        let base = SessionStateBuilder::new_from_existing(base).with_physical_optimizer_rules(rules);
        let base = base.with_optimizer_rules(set_comparison::named_first(&logical)).build();
        let base = overflow::checked(base)?;
        let functions = base.scalar_functions().keys();
        let functions =
            functions.chain(base.aggregate_functions().keys()).chain(base.window_functions().keys());
        let functions = functions.chain(base.table_functions().keys()).cloned().collect();
        let (disk, spill) = spill_disk(config)?;
        Ok(Self {
            pinot: Arc::new(functions::with_meanings_of_pinot(&base)?),
            postgres: Arc::new(functions::with_meanings_of_postgres(&base)?),
            base: Arc::new(base),
            environment: RuntimeEnvBuilder::new().build()?,
            disk: Arc::new(disk),
            _spill: spill,
            sources: Arc::new(CatalogSources {
                tables,
                registry,
                footers: FooterCache::new(FOOTER_BYTES_MAX),
                residents,
                key_values: Arc::default(),
                results: Arc::new(ResultCache::new(config.result_bytes_max)),
                options: config.execute,
                nodes,
                started_at_us: chrono::Utc::now().timestamp_micros(),
            }),
            functions,
            plans: PlanCache::new(),
            learned: Arc::default(),
        })
    }

    /// What plans one query of a client: a session with its own catalog, whose tables stay at one cut.
    pub(super) fn planner(
        &self,
        client: ClientKind,
        catalog: &Arc<QueryCatalog>,
    ) -> Result<SessionState, DataFusionError> {
        let base = match client.meaning() {
            Meaning::Plain => &self.base,
            Meaning::Pinot => &self.pinot,
            Meaning::Postgres => &self.postgres,
        };
        // A clone: a builder would register some 400 functions anew, a seventh of the time that planning takes.
        let mut state = base.as_ref().clone();
        state.config_mut().set_extension(Arc::clone(catalog));
        state.register_catalog_list(QueryCatalog::list(catalog)?);
        // Fixes the time that now() answers with.
        state.mark_start_execution();
        Ok(state)
    }

    /// What one query runs in: a configuration and a memory budget, without the planner's functions.
    pub(super) fn context(&self, memory_bytes: u64, catalog: &Arc<QueryCatalog>) -> TaskContext {
        self.without_functions(self.config(memory_bytes, catalog), self.environment(memory_bytes))
    }

    /// What one query runs in that lists functions: those that there are.
    pub(super) fn context_with_functions(
        &self,
        memory_bytes: u64,
        catalog: &Arc<QueryCatalog>,
    ) -> TaskContext {
        let context = TaskContext::from(self.base.as_ref());
        let config = self.config(memory_bytes, catalog);
        context.with_session_config(config).with_runtime(self.environment(memory_bytes))
    }

    /// What a plan runs in that has its functions already.
    pub(super) fn without_functions(&self, config: SessionConfig, budget: Arc<RuntimeEnv>) -> TaskContext {
        let session = self.base.session_id().to_owned();
        TaskContext::new(
            None,
            session,
            config,
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            budget,
        )
    }

    fn config(&self, memory_bytes: u64, catalog: &Arc<QueryCatalog>) -> SessionConfig {
        let mut config = self.base.config().clone();
        config.set_extension(Arc::clone(catalog));
        if let Some(nodes) = self.nodes() {
            let headers = fragment::headers(catalog, memory_bytes, nodes.access().headers());
            let (learned, access) = (Arc::clone(&self.learned), nodes.access().clone());
            config.set_extension(Arc::new(Attempt::new(learned, access, headers.clone())));
            if let Err(error) = config.set_distributed_passthrough_headers(headers) {
                tracing::error!(%error, "fragments go without the budget of their query");
            }
        }
        config
    }

    /// The session that all others are made of.
    pub(super) fn base(&self) -> &Arc<SessionState> {
        &self.base
    }

    /// The nodes that have the rows; `None`: they are here.
    pub(super) fn nodes(&self) -> Option<&Arc<Nodes>> {
        self.sources.nodes.as_ref()
    }

    /// Memory and disk of one query, or of one run of it on this node.
    pub(super) fn environment(&self, memory_bytes: u64) -> Arc<RuntimeEnv> {
        let bytes = usize::try_from(memory_bytes).unwrap_or(usize::MAX);
        let pool = TrackConsumersPool::new(FairSpillPool::new(bytes), CONSUMERS_NAMED);
        Arc::new(RuntimeEnv {
            memory_pool: Arc::new(pool),
            disk_manager: Arc::clone(&self.disk),
            cache_manager: Arc::clone(&self.environment.cache_manager),
            object_store_registry: Arc::clone(&self.environment.object_store_registry),
        })
    }

    /// Connects the operators of a plan that was made before to the leaves that they narrow while they run.
    pub(super) fn connect(
        &self,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let rules = self.base.physical_optimizers().iter();
        let mut late = rules.filter(|rule| rule.name() == LATE_PUSHDOWN);
        late.try_fold(plan, |plan, rule| rule.optimize(plan, self.base.config_options()))
    }

    /// The plans of earlier queries; `None` if none are to be kept.
    pub(super) fn plans(&self) -> Option<&PlanCache> {
        self.sources.options.plans.then_some(&self.plans)
    }

    pub(super) fn sources(&self) -> &Arc<CatalogSources> {
        &self.sources
    }

    pub(super) fn functions(&self) -> &[String] {
        &self.functions
    }
}

/// `rules` with the one that fuses aggregates and scans, once both are where they stay and before bounds of `min` and
/// `max` are handed to the scan.
fn fusing(mut rules: Vec<Rule>, fuses: bool) -> Vec<Rule> {
    let place = rules.iter().position(|rule| rule.name() == LATE_PUSHDOWN).unwrap_or(rules.len());
    if fuses {
        rules.insert(place, Arc::new(FuseAggregates));
    }
    rules
}

/// What running plans on several nodes needs.
fn distributed(session: SessionConfig, nodes: &Arc<Nodes>) -> Result<SessionConfig, DataFusionError> {
    // Two partitions at least: with one there are no partial aggregates, and all rows would come here.
    let partitions = session.target_partitions().max(2);
    session
        .with_target_partitions(partitions)
        .with_distributed_channel_resolver(NodeChannels::new(nodes.access().clone()))
        .with_distributed_user_codec(LeafCodec::default())
        .with_distributed_route_tasks_handler(route)
        .with_distributed_metrics_collection(true)?
        .with_distributed_compression(None)
}

fn session_config(config: &EngineConfig) -> SessionConfig {
    let mut session = SessionConfig::new()
        .with_target_partitions(config.threads.max(1))
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(true)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, PUBLIC);
    let options = session.options_mut();
    options.execution.time_zone = Some("UTC".into());
    options.execution.collect_statistics = true;
    // What a sort holds is sorted in one piece before it spills. Merging its batches instead takes a cursor of up to
    // three times its rows for each of them, which fails exactly when memory is short.
    options.execution.sort_in_place_threshold_bytes = usize::MAX;
    options.sql_parser.collect_spans = true;
    // Our statistics have rows and no bytes; a projection's have both, at least eight of them for a row.
    options.optimizer.hash_join_single_partition_threshold_rows = config.execute.broadcast_rows_max;
    options.optimizer.hash_join_single_partition_threshold =
        config.execute.broadcast_rows_max.saturating_mul(8);
    session
}
