//! One query, from admission to its last batch.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::information_schema::INFORMATION_SCHEMA;
use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use headwater_segment::live::Tables;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::admission::Slot;
use super::config::Limits;
use super::describe::plan_of;
use super::errors::{error_of, plan_error};
use super::interrupt::interruptible;
use super::min_offsets;
use super::plan_cache::{KeptPlan, count_plan, is_repeatable};
use super::registry::QueryEntry;
use super::session::Sessions;
use super::stream::{AnswerStream, Message, QueryGuard};
use super::{Engine, across, parameters, planner};
use crate::catalog::{QueryCatalog, known_names, table_names};
use crate::cluster::distribute::{Ways, distribute};
use crate::cluster::explain;
use crate::cluster::nodes::Wanted;
use crate::request::{QueryAnswer, QueryRequest, QueryStats, TableCut};
use crate::sql::{self, Prepared};
use crate::trace::TARGET;
use crate::{QueryError, QueryErrorKind};

/// Batches between the query's task and its client: enough to overlap their work, small enough to hold a fast query back.
const BATCHES_AHEAD: usize = 4;

/// A query that is planned and runs.
pub(super) struct Started {
    schema: SchemaRef,
    cuts: BTreeMap<String, TableCut>,
    messages: mpsc::Receiver<Message>,
}

impl Started {
    pub(super) fn into_answer(self, deadline: Instant, guard: QueryGuard) -> QueryAnswer {
        guard.keep(deadline);
        QueryAnswer {
            id: guard.entry.id.clone(),
            schema: Arc::clone(&self.schema),
            cuts: self.cuts,
            stats: guard.entry.stats.load_full(),
            stream: Box::pin(AnswerStream::new(self.schema, self.messages, guard)),
        }
    }
}

/// A physical plan, ready to run.
pub(super) struct Planned {
    pub(super) plan: Arc<dyn ExecutionPlan>,
    pub(super) context: Arc<TaskContext>,
    pub(super) cuts: BTreeMap<String, TableCut>,
}

/// What one run of a query counts, and what it wants of the nodes that have the rows.
pub(super) struct Trial {
    pub(super) stats: Arc<QueryStats>,
    pub(super) wanted: Option<Wanted>,
}

/// Admits the query, waits for its minimum offsets, and starts its task. Returns when the plan is made.
pub(super) async fn start(
    engine: &Arc<Engine>,
    request: QueryRequest,
    (limits, deadline): (Limits, Instant),
    guard: &mut QueryGuard,
) -> Result<Started, QueryError> {
    let admitting = tracing::info_span!(target: TARGET, "admission");
    let admitted = engine.admission.admit(0).instrument(admitting).await;
    let slot = admitted.map_err(|why| QueryError::new(QueryErrorKind::Overloaded, why.to_string()))?;
    guard.entry.admit();
    min_offsets::wait(engine, &request.min_offsets).await?;

    let (planned, plan) = oneshot::channel();
    let (sender, messages) = mpsc::channel(BATCHES_AHEAD);
    let runtime = engine.runtime.as_ref().ok_or_else(|| internal("the engine is shut down"))?;
    let task = QueryTask {
        sessions: Arc::clone(&engine.sessions),
        tables: Arc::clone(&engine.tables),
        entry: Arc::clone(&guard.entry),
        request,
        limits,
        deadline,
        io: Handle::current(),
        sender,
        trace: Span::current(),
        _slot: slot,
    };
    let trace = task.trace.clone();
    // What another planner plans has no rows on other nodes.
    let nodes = engine.sessions.nodes().filter(|_| task.request.planner.is_none());
    guard.task = Some(match nodes {
        None => runtime.spawn(task.run(planned).instrument(trace)).abort_handle(),
        Some(nodes) => {
            runtime.spawn(across::run(task, Arc::clone(nodes), planned).instrument(trace)).abort_handle()
        }
    });
    let (schema, cuts) = plan.await.map_err(|_| internal("the query's task ended early"))??;
    Ok(Started { schema, cuts, messages })
}

/// What runs on the engine's threads.
pub(super) struct QueryTask {
    pub(super) sessions: Arc<Sessions>,
    pub(super) tables: Arc<Tables>,
    pub(super) entry: Arc<QueryEntry>,
    pub(super) request: QueryRequest,
    pub(super) limits: Limits,
    /// When its client no longer waits.
    pub(super) deadline: Instant,
    /// The caller's runtime, which does the I/O.
    pub(super) io: Handle,
    pub(super) sender: mpsc::Sender<Message>,
    /// The span of the query.
    trace: Span,
    _slot: Slot,
}

pub(super) type PlanReport = Result<(SchemaRef, BTreeMap<String, TableCut>), QueryError>;

impl QueryTask {
    async fn run(self, report: oneshot::Sender<PlanReport>) {
        let trial = Trial { stats: self.entry.stats.load_full(), wanted: None };
        let planning = self.plan(&trial).instrument(tracing::info_span!(target: TARGET, "plan"));
        let planned = AssertUnwindSafe(Box::pin(planning)).catch_unwind().await;
        let planned = match planned.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))) {
            Ok(planned) => planned,
            Err(error) => {
                // The receiver is gone if the client is: then nobody needs to know.
                report.send(Err(error)).ok();
                return;
            }
        };
        let Planned { plan, context, cuts } = planned;
        if report.send(Ok((plan.schema(), cuts))).is_err() {
            return;
        }
        self.entry.set_plan(&plan);
        let executing = tracing::info_span!(target: TARGET, "execute");
        let executing = self.execute(&plan, context).instrument(executing);
        let executed = AssertUnwindSafe(executing).catch_unwind().await;
        let executed = executed.unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
        self.sender.send(Message::End(executed.err())).await.ok();
    }

    /// A plan for one run.
    pub(super) async fn plan(&self, trial: &Trial) -> Result<Planned, QueryError> {
        if let Some(planner) = &self.request.planner {
            return planner::plan(self, planner.as_ref()).await;
        }
        let plans = self.sessions.plans();
        let key = plans.and_then(|plans| plans.key(&self.request, &self.tables));
        if let Some((plans, key)) = plans.zip(key.as_ref()) {
            let again = match plans.get(key) {
                Some(kept) => self.plan_again(&kept, trial).await.map_err(|error| error_of(&error))?,
                None => None,
            };
            count_plan(again.is_some());
            if let Some(planned) = again {
                return Ok(planned);
            }
        }
        let prepared = sql::prepare(&self.request.sql, &known_names(&self.tables))?;
        let catalog = self.catalog(&prepared.stream_columns, trial);
        let state = self.sessions.planner(self.request.client, &catalog).map_err(|error| error_of(&error))?;
        let explained = |error: DataFusionError| self.explain(&error, &prepared);

        let logical = plan_of(&state, &prepared.statement).await.map_err(explained)?;
        READ_ONLY.verify_plan(&logical).map_err(|_| sql::not_read_only())?;
        let logical = parameters::bind(logical, prepared.parameters, &self.request)?;
        if self.sessions.nodes().is_some()
            && let LogicalPlan::Explain(explain) = &logical
        {
            let logical = state.optimize(&explain.plan).map_err(explained)?;
            let plan =
                state.query_planner().create_physical_plan(&logical, &state).await.map_err(explained)?;
            let context = Arc::new(self.sessions.context(self.limits.memory_bytes, &catalog));
            let plan = distribute(plan, &context, &self.entry.cancel, Ways::Stages).map_err(explained)?;
            let plan = explain::rows(explain, &logical, &plan, &context).map_err(explained)?;
            return Ok(Planned { plan, context, cuts: catalog.cuts() });
        }
        let repeatable = is_repeatable(&logical).map_err(explained)?;
        let lists_functions = !repeatable && lists_functions(&logical).map_err(explained)?;
        let plan = state.create_physical_plan(&logical).await.map_err(explained)?;
        if let Some((plans, key)) = plans.zip(key).filter(|_| repeatable) {
            let kept = KeptPlan::new(&plan, &catalog, prepared.stream_columns.clone());
            kept.map_err(explained)?.into_iter().for_each(|kept| plans.put(key.clone(), kept));
        }
        // What goes to other nodes is guarded there.
        let plan = match self.sessions.nodes() {
            None => interruptible(plan, &self.entry.cancel).map_err(explained)?,
            Some(_) => plan,
        };
        if lists_functions {
            let context = self.sessions.context_with_functions(self.limits.memory_bytes, &catalog);
            return Ok(Planned { plan, context: Arc::new(context), cuts: catalog.cuts() });
        }
        Ok(self.ready(plan, &catalog))
    }

    /// The plan of an earlier query for this one; `None` if the tables are no longer what it was made for.
    async fn plan_again(&self, kept: &KeptPlan, trial: &Trial) -> Result<Option<Planned>, DataFusionError> {
        let catalog = self.catalog(&kept.stream_columns, trial);
        let taken = catalog.take_all(kept.names()).await;
        taken.map_err(|error| DataFusionError::External(Box::new(error)))?;
        if !kept.fits(&catalog) {
            return Ok(None);
        }
        trial.stats.plan_kept.store(true, Ordering::Relaxed);
        let mut plan = kept.fresh()?;
        // Leaves on other nodes are connected there.
        if kept.connects && self.sessions.nodes().is_none() {
            plan = interruptible(self.sessions.connect(plan)?, &self.entry.cancel)?;
        }
        Ok(Some(self.ready(plan, &catalog)))
    }

    fn ready(&self, plan: Arc<dyn ExecutionPlan>, catalog: &Arc<QueryCatalog>) -> Planned {
        let context = self.sessions.context(self.limits.memory_bytes, catalog);
        Planned { plan, context: Arc::new(context), cuts: catalog.cuts() }
    }

    fn catalog(&self, stream_columns: &BTreeSet<String>, trial: &Trial) -> Arc<QueryCatalog> {
        QueryCatalog::new(
            Arc::clone(self.sessions.sources()),
            stream_columns.clone(),
            self.request.sealed_only,
            Arc::clone(&trial.stats),
            (self.io.clone(), self.trace.clone()),
            trial.wanted.clone(),
        )
    }

    async fn execute(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<(), QueryError> {
        let batches = execute_stream(Arc::clone(plan), context).map_err(|error| self.named(&error))?;
        self.hand_over(batches.map_err(|error| self.named(&error))).await
    }

    /// Sends the answer's batches to the client, as long as it is there.
    pub(super) async fn hand_over(
        &self,
        batches: impl Stream<Item = Result<RecordBatch, QueryError>>,
    ) -> Result<(), QueryError> {
        let mut batches = pin!(batches);
        let (mut rows, stats) = (0, self.entry.stats.load_full());
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            rows += batch.num_rows() as u64;
            if rows > self.limits.rows {
                return Err(self.rows_exceeded());
            }
            stats.rows_returned.store(rows, Ordering::Relaxed);
            if batch.num_rows() > 0 && self.sender.send(Message::Batch(batch)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// An error of execution, as the client is told.
    pub(super) fn named(&self, error: &DataFusionError) -> QueryError {
        self.name_budget(error_of(error))
    }

    fn explain(&self, error: &DataFusionError, prepared: &Prepared) -> QueryError {
        let tables = table_names(&self.tables);
        self.name_budget(plan_error(error, prepared, &tables, self.sessions.functions()))
    }

    fn name_budget(&self, mut error: QueryError) -> QueryError {
        if error.kind == QueryErrorKind::MemoryExceeded {
            error.message = format!(
                "the query needs more than its memory budget of {} bytes (memory_bytes_max) or than the spill space: {}",
                self.limits.memory_bytes, error.message
            );
        }
        error
    }

    fn rows_exceeded(&self) -> QueryError {
        let message = format!(
            "the answer has more rows than the cap of {}; add a LIMIT, or raise rows_max in the request",
            self.limits.rows
        );
        QueryError::new(QueryErrorKind::RowsExceeded, message)
    }
}

/// The plan is checked too: the syntax check decides by statement, this one by what would be done.
pub(super) static READ_ONLY: LazyLock<SQLOptions> = LazyLock::new(|| {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
});

/// Whether the plan reads what is made of the functions of the context that it runs in.
fn lists_functions(plan: &LogicalPlan) -> Result<bool, DataFusionError> {
    let lists = |table: &TableReference| {
        table.schema() == Some(INFORMATION_SCHEMA) && ["routines", "parameters"].contains(&table.table())
    };
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::TableScan(scan) if lists(&scan.table_name));
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

pub(super) fn panicked(panic: &(dyn Any + Send)) -> QueryError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    tracing::error!(panic = text, "a query panicked");
    internal(&format!("the query met a bug and was stopped: {text}"))
}

fn internal(message: &str) -> QueryError {
    QueryError::new(QueryErrorKind::Internal, message)
}
