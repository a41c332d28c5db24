//! Overflow is an error, never another number.
//!
//! DataFusion 55.2 wraps integers around, and Arrow lets decimals outgrow their type, in five places. Each is mended by
//! its own means:
//!
//! | where | example | mended by |
//! |---|---|---|
//! | `+`, `-`, `*` and the sign of integers | `amount + 1` | [`plan`]: a physical rule that marks every expression before any other rule sees it |
//! | the same of constants, which the simplifier computes | `9223372036854775807 + 1` | [`constants`]: a logical rule in front of the simplifier |
//! | arguments of window functions, which no physical rule can change | `max(amount + 1) OVER ()` | [`windows`]: a logical rule that computes them in a projection beneath |
//! | decimals of 38 digits, of which Arrow keeps a 39th | `amount + 1` of DECIMAL(38,0) | [`digits`]: an expression around them, put there by [`plan`] |
//! | `sum` of integers and decimals | `sum(amount)` | [`sum`]: an aggregate function of the same name, signature and state |
//!
//! Everything else is an error already: division, `abs`, casts, dates with intervals, shorter decimals.
//!
//! Invariant: no answer of a query contains an integer or a decimal that has lost a part of its value.

mod constants;
mod digits;
mod plan;
mod sum;
mod total;
mod windows;

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{AggregateUDF, Expr, Operator};
use datafusion::optimizer::OptimizerRule;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

/// `expression` over rows of `schema`, with arithmetic that fails instead of wrapping around: for the conditions that a
/// scan is made with, which [`plan`] does not look at.
pub(crate) fn checked_expression(
    expression: Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> Result<Arc<dyn PhysicalExpr>> {
    plan::checked(expression, schema).map(|checked| checked.data)
}

/// `plan` with arithmetic that fails instead of wrapping around.
pub(crate) fn checked_plan(
    plan: Arc<dyn ExecutionPlan>,
    options: &ConfigOptions,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan::CheckPlan.optimize(plan, options)
}

/// Whether there is arithmetic in the expression that could overflow unnoticed.
fn has_arithmetic(expression: &Expr) -> Result<bool> {
    expression.exists(|part| {
        Ok(match part {
            Expr::BinaryExpr(binary) => {
                matches!(binary.op, Operator::Plus | Operator::Minus | Operator::Multiply)
            }
            Expr::Negative(_) => true,
            _ => false,
        })
    })
}

/// `state` with rules and functions under which overflow is an error.
pub(super) fn checked(state: SessionState) -> Result<SessionState> {
    let mut physical: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = vec![Arc::new(plan::CheckPlan)];
    physical.extend(state.physical_optimizers().iter().cloned());
    let mut logical: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![Arc::new(constants::CheckConstants)];
    logical.extend(state.optimizers().iter().cloned());
    logical.push(Arc::new(windows::ComputeWindowArguments));
    let mut state = SessionStateBuilder::new_from_existing(state)
        .with_optimizer_rules(logical)
        .with_physical_optimizer_rules(physical)
        .build();
    state.register_udaf(Arc::new(AggregateUDF::from(sum::CheckedSum::default())))?;
    Ok(state)
}
