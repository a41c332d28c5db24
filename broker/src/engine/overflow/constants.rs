//! Computes the constants of a logical plan before the simplifier does, which wraps around.
//!
//! Nothing is replaced: the rule only refuses the plan if a constant overflows. What is constant is asked of the largest
//! expressions, so that `CASE WHEN true THEN 1 ELSE 9223372036854775807 + 1 END` stays 1.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion::physical_expr::create_physical_expr;

use super::has_arithmetic;
use super::plan::checked;

/// The logical rule.
#[derive(Debug)]
pub(super) struct CheckConstants;

impl OptimizerRule for CheckConstants {
    fn name(&self) -> &str {
        "check_constants"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        plan.apply_expressions(|expression| {
            expression.apply(|part| {
                if !is_constant(part)? {
                    return Ok(TreeNodeRecursion::Continue);
                }
                if has_arithmetic(part)? {
                    compute(part)?;
                }
                Ok(TreeNodeRecursion::Jump)
            })
        })?;
        Ok(Transformed::no(plan))
    }
}

/// Whether the simplifier would compute the expression.
fn is_constant(expression: &Expr) -> Result<bool> {
    let varies = |part: &Expr| match part {
        Expr::Alias(_)
        | Expr::Literal(..)
        | Expr::BinaryExpr(_)
        | Expr::Like(_)
        | Expr::SimilarTo(_)
        | Expr::Not(_)
        | Expr::IsNotNull(_)
        | Expr::IsNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_)
        | Expr::Negative(_)
        | Expr::Between(_)
        | Expr::Case(_)
        | Expr::Cast(_)
        | Expr::TryCast(_)
        | Expr::InList(_) => false,
        Expr::ScalarFunction(function) => function.func.signature().volatility != Volatility::Immutable,
        _ => true,
    };
    expression.exists(|part| Ok(varies(part))).map(|varies| !varies)
}

/// Fails if the expression overflows. Of other errors the query says more when it runs.
fn compute(expression: &Expr) -> Result<()> {
    let expression = expression.clone().unalias();
    let (no_columns, context) = (DFSchema::empty(), PhysicalPlanningContext::default());
    let Ok(physical) = create_physical_expr(&expression, &no_columns, &ExecutionProps::new(), &context)
    else {
        return Ok(());
    };
    let schema = Arc::new(Schema::empty());
    let one_row = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::clone(&schema), vec![], &one_row)?;
    match checked(physical, &schema)?.data.evaluate(&row) {
        Err(error) if is_overflow(&error) => Err(error),
        _ => Ok(()),
    }
}

fn is_overflow(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::ArrowError(error, _) => matches!(**error, ArrowError::ArithmeticOverflow(_)),
        _ => false,
    }
}
