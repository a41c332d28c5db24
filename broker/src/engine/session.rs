//! What every query shares (functions, options, the spill disk), and the session made of it for one query.

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManager, DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;
use headwater_segment::live::Tables;
use headwater_segment::resident::ResidentStore;
use headwater_segment::sealed::FooterCache;

use super::config::EngineConfig;
use super::filter_pushdown;
use super::overflow;
use super::registry::Registry;
use crate::catalog::{CATALOG, CatalogSources, PUBLIC, QueryCatalog};

/// Rows per batch. The chunks of open segments have as many.
const BATCH_ROWS: usize = 8192;

/// Consumers that an out-of-memory error names.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(3).expect("3 is not 0");

/// Parsed Parquet footers kept: some 20 KB for a segment of 20 columns, so about 6,000 segments.
const FOOTER_BYTES_MAX: usize = 128 << 20;

/// What the sessions of all queries share.
pub(super) struct Sessions {
    base: SessionState,
    environment: RuntimeEnv,
    disk: Arc<DiskManager>,
    sources: Arc<CatalogSources>,
    /// Names of all functions, for suggestions.
    functions: Vec<String>,
}

impl Sessions {
    pub(super) fn new(
        config: &EngineConfig,
        tables: Arc<Tables>,
        registry: Arc<Registry>,
        residents: Arc<ResidentStore>,
    ) -> Result<Self, DataFusionError> {
        let mut base =
            SessionStateBuilder::new().with_config(session_config(config)).with_default_features().build();
        datafusion_functions_json::register_all(&mut base)?;
        let rules = filter_pushdown::careful(base.physical_optimizers());
        let base = SessionStateBuilder::new_from_existing(base).with_physical_optimizer_rules(rules).build();
        let base = overflow::checked(base)?;
        let functions = base.scalar_functions().keys();
        let functions =
            functions.chain(base.aggregate_functions().keys()).chain(base.window_functions().keys());
        let functions = functions.chain(base.table_functions().keys()).cloned().collect();
        Ok(Self {
            base,
            environment: RuntimeEnvBuilder::new().build()?,
            disk: Arc::new(spill_disk(config)?),
            sources: Arc::new(CatalogSources {
                tables,
                registry,
                footers: FooterCache::new(FOOTER_BYTES_MAX),
                residents,
                options: config.execute,
            }),
            functions,
        })
    }

    /// A session with its own memory budget and its own catalog, whose tables stay at one cut.
    pub(super) fn session(
        &self,
        memory_bytes: u64,
        catalog: &Arc<QueryCatalog>,
    ) -> Result<SessionState, DataFusionError> {
        let bytes = usize::try_from(memory_bytes).unwrap_or(usize::MAX);
        let pool = TrackConsumersPool::new(FairSpillPool::new(bytes), CONSUMERS_NAMED);
        let environment = RuntimeEnv {
            memory_pool: Arc::new(pool),
            disk_manager: Arc::clone(&self.disk),
            cache_manager: Arc::clone(&self.environment.cache_manager),
            object_store_registry: Arc::clone(&self.environment.object_store_registry),
        };
        let mut state = SessionStateBuilder::new_from_existing(self.base.clone())
            .with_runtime_env(Arc::new(environment))
            .with_catalog_list(QueryCatalog::list(catalog)?)
            .build();
        state.config_mut().set_extension(Arc::clone(catalog));
        // Fixes the time that now() answers with.
        state.mark_start_execution();
        Ok(state)
    }

    pub(super) fn sources(&self) -> &Arc<CatalogSources> {
        &self.sources
    }

    pub(super) fn functions(&self) -> &[String] {
        &self.functions
    }
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
    session
}

fn spill_disk(config: &EngineConfig) -> Result<DiskManager, DataFusionError> {
    let mode = match &config.spill_dir {
        Some(directory) => DiskManagerMode::Directories(vec![directory.clone()]),
        None => DiskManagerMode::OsTmpDirectory,
    };
    DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(config.spill_bytes_max).build()
}
