//! What a statement wants and answers with, without running it.
//!
//! Describing plans on the engine's threads and takes a place among the running queries, as planning is work too. It asks no
//! other node: columns and their types are known from the tables' logs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tracing::Span;

use super::errors::{error_of, plan_error};
use super::parameters::Places;
use super::planner::{Foreign, parameters_of};
use super::run::{READ_ONLY, panicked};
use super::{Engine, QueryEngine, stream};
use crate::catalog::{QueryCatalog, known_names, table_names};
use crate::request::QueryRequest;
use crate::{QueryError, QueryErrorKind, sql};

/// What DataFusion says of expressions that have the same name.
const TWINS: [&str; 2] =
    ["Projections require unique expression names", "Schema contains duplicate unqualified field name"];

/// What a statement wants and answers with.
#[derive(Clone, Debug)]
pub struct Description {
    /// `$1`, `$2`, … in order.
    pub parameters: Vec<FieldRef>,
    /// Columns of the answer.
    pub schema: SchemaRef,
}

/// Ends planning for a client that went away.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl QueryEngine {
    /// Describes the statement of `request`. `declared` are the types that the client gives its parameters; those that it
    /// leaves open are inferred, and are text where nothing tells. NULL leaves it open, too, and stays NULL where nothing tells.
    pub async fn describe(
        &self,
        request: QueryRequest,
        declared: Vec<Option<DataType>>,
    ) -> Result<Description, QueryError> {
        let engine = &self.inner;
        let deadline: Duration = engine.config.limits_of(&request).deadline;
        let internal = |message: &str| QueryError::new(QueryErrorKind::Internal, message);
        let work = async {
            let admitted = engine.admission.admit(0).await;
            let slot =
                admitted.map_err(|why| QueryError::new(QueryErrorKind::Overloaded, why.to_string()))?;
            let runtime = engine.runtime.as_ref().ok_or_else(|| internal("the engine is shut down"))?;
            let (shared, io) = (Arc::clone(engine), Handle::current());
            let task = runtime.spawn(async move {
                let _slot = slot;
                Box::pin(describe(&shared, &request, &declared, io)).await
            });
            let _abort = AbortOnDrop(task.abort_handle());
            match task.await {
                Ok(described) => described,
                Err(error) if error.is_panic() => Err(panicked(error.into_panic().as_ref())),
                Err(_) => Err(internal("planning was stopped")),
            }
        };
        tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| Err(stream::deadline_passed()))
    }
}

async fn describe(
    engine: &Engine,
    request: &QueryRequest,
    declared: &[Option<DataType>],
    io: Handle,
) -> Result<Description, QueryError> {
    if let Some(planner) = &request.planner {
        let Foreign { state, plan } = planner.plan(&request.sql, &engine.tables).await?;
        let wanted = parameters_of(&plan)?;
        return described(&state, plan, wanted, declared);
    }
    let sessions = &engine.sessions;
    let prepared = sql::prepare(&request.sql, &known_names(&engine.tables))?;
    // The sealed part of a table has its columns, and no other node needs to be asked for it.
    let catalog = QueryCatalog::new(
        Arc::clone(sessions.sources()),
        prepared.stream_columns.clone(),
        true,
        Arc::default(),
        (io, Span::none()),
        None,
    );
    let state = sessions.planner(request.client, &catalog).map_err(|error| error_of(&error))?;
    let plan = plan_of(&state, &prepared.statement).await;
    let plan = plan
        .map_err(|error| plan_error(&error, &prepared, &table_names(&engine.tables), sessions.functions()))?;
    described(&state, plan, prepared.parameters, declared)
}

/// The plan of a statement of ours, whose columns have names of their own.
pub(super) async fn plan_of(
    state: &SessionState,
    statement: &Statement,
) -> Result<LogicalPlan, DataFusionError> {
    match state.statement_to_plan(statement.clone()).await {
        Ok(plan) if has_twins(&plan)? => match sql::told_apart(statement) {
            Some(statement) => state.statement_to_plan(statement).await,
            None => Ok(plan),
        },
        Err(error) if TWINS.iter().any(|twins| error.to_string().contains(twins)) => {
            match sql::told_apart(statement) {
                Some(statement) => state.statement_to_plan(statement).await.map_err(|_| error),
                None => Err(error),
            }
        }
        planned => planned,
    }
}

/// Whether an aggregate groups by, or computes, two expressions of one name: it is planned, and cannot be optimized.
fn has_twins(plan: &LogicalPlan) -> Result<bool, DataFusionError> {
    plan.exists(|node| {
        let LogicalPlan::Aggregate(aggregate) = node else { return Ok(false) };
        let mut names = BTreeSet::new();
        let mut exprs = aggregate.group_expr.iter().chain(&aggregate.aggr_expr);
        Ok(!exprs.all(|expr| names.insert(expr.schema_name().to_string())))
    })
}

fn described(
    state: &SessionState,
    plan: LogicalPlan,
    wanted: usize,
    declared: &[Option<DataType>],
) -> Result<Description, QueryError> {
    READ_ONLY.verify_plan(&plan).map_err(|_| sql::not_read_only())?;
    let places = Places::of(&plan).map_err(|error| error_of(&error))?;
    let parameters: Vec<FieldRef> = (1..=wanted)
        .map(|number| {
            let declared = declared.get(number - 1).cloned().flatten();
            let inferred = places.wanted(number).filter(|_| declared.as_ref().is_none_or(DataType::is_null));
            match inferred {
                Some(field) => Arc::clone(field),
                None => {
                    let data_type = declared.unwrap_or(DataType::Utf8View);
                    Arc::new(Field::new(format!("${number}"), data_type, true))
                }
            }
        })
        .collect();
    // The types of the answer may depend on those of the parameters, not on their values.
    let values = parameters.iter().map(|field| ScalarValue::try_from(field.data_type()));
    let values: Result<Vec<ScalarAndMetadata>, _> =
        values.map(|value| value.map(ScalarAndMetadata::from)).collect();
    let bound = values.and_then(|values| match values.is_empty() {
        true => Ok(plan),
        false => plan.with_param_values(ParamValues::List(values)),
    });
    let plan = bound.map_err(|error| error_of(&error))?;
    let analyzed = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {});
    let plan = analyzed.map_err(|error| error_of(&error))?;
    Ok(Description { parameters, schema: Arc::clone(plan.schema().inner()) })
}
