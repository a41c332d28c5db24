//! Statements that another planner than the engine's own plans, over tables of its own.
//!
//! They are admitted, cancelled and bounded as every query is, and run on the engine's threads. They read no rows of the
//! tables: what they scan is theirs.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::execution::TaskContext;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use headwater_segment::live::Tables;

use super::errors::error_of;
use super::interrupt::interruptible;
use super::parameters::{self, Places};
use super::run::{Planned, QueryTask, READ_ONLY};
use crate::{QueryError, sql};

/// A statement as its planner understands it.
#[derive(Debug)]
pub struct Foreign {
    /// What the plan is optimized and executed with.
    pub state: SessionState,
    /// The plan, its parameters unbound.
    pub plan: LogicalPlan,
}

/// Plans statements in a dialect of its own.
#[async_trait]
pub trait StatementPlanner: fmt::Debug + Send + Sync {
    /// The plan of one statement; `tables` are those that the engine answers from.
    async fn plan(&self, sql: &str, tables: &Arc<Tables>) -> Result<Foreign, QueryError>;
}

/// The plan of a task's statement.
pub(super) async fn plan(task: &QueryTask, planner: &dyn StatementPlanner) -> Result<Planned, QueryError> {
    let Foreign { state, plan } = planner.plan(&task.request.sql, &task.tables).await?;
    READ_ONLY.verify_plan(&plan).map_err(|_| sql::not_read_only())?;
    let wanted = parameters_of(&plan)?;
    let plan = parameters::bind(plan, wanted, &task.request)?;
    let plan = state.create_physical_plan(&plan).await.map_err(|error| error_of(&error))?;
    let plan = interruptible(plan, &task.entry.cancel).map_err(|error| error_of(&error))?;
    let context = TaskContext::new(
        None,
        state.session_id().to_owned(),
        state.config().clone(),
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        task.sessions.environment(task.limits.memory_bytes),
    );
    Ok(Planned { plan, context: Arc::new(context), cuts: Default::default() })
}

/// The largest `$n` of a plan.
pub(super) fn parameters_of(plan: &LogicalPlan) -> Result<usize, QueryError> {
    Places::of(plan).map(|places| places.largest()).map_err(|error| error_of(&error))
}
