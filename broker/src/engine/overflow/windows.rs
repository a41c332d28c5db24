//! Computes the arguments of window functions in a projection beneath them, where the physical rule can mark them.
//!
//! Only arguments, keys and filters with arithmetic on columns are moved; those of a window over aggregates are columns
//! already.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Window};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::has_arithmetic;

/// The logical rule.
#[derive(Debug)]
pub(super) struct ComputeWindowArguments;

impl OptimizerRule for ComputeWindowArguments {
    fn name(&self) -> &str {
        "compute_window_arguments"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Window(window) = plan else { return Ok(Transformed::no(plan)) };
        let mut moved: Vec<(Expr, String)> = Vec::new();
        let mut column_of = |part: Expr| {
            let known = moved.iter().find(|(known, _)| *known == part).map(|(_, name)| name.clone());
            let name = known.unwrap_or_else(|| {
                let name = config.alias_generator().next("__window_argument");
                moved.push((part, name.clone()));
                name
            });
            Expr::Column(Column::from_name(name))
        };
        let names = NamePreserver::new_for_projection();
        let functions = window.window_expr.iter().map(|function| {
            let name = names.save(function);
            let function = function.clone().transform_up(|part| match part {
                Expr::WindowFunction(_) => part.map_children(|part| move_arithmetic(part, &mut column_of)),
                _ => Ok(Transformed::no(part)),
            });
            Ok(name.restore(function.data()?))
        });
        let functions = functions.collect::<Result<Vec<_>>>()?;
        if moved.is_empty() {
            return Ok(Transformed::no(LogicalPlan::Window(window)));
        }
        let moved = moved.into_iter().map(|(part, name)| part.alias(name));
        let beneath = columns(window.input.schema()).chain(moved).collect();
        let beneath = LogicalPlan::Projection(Projection::try_new(beneath, Arc::clone(&window.input))?);
        let outputs = columns(&window.schema).collect();
        let above = LogicalPlan::Window(Window::try_new(functions, Arc::new(beneath))?);
        Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(outputs, Arc::new(above))?)))
    }
}

fn columns(schema: &DFSchema) -> impl Iterator<Item = Expr> + '_ {
    schema.iter().map(|(qualifier, field)| Expr::Column(Column::from((qualifier, field.as_ref()))))
}

/// `part` of a window function, or the column that it becomes.
fn move_arithmetic(part: Expr, column_of: &mut impl FnMut(Expr) -> Expr) -> Result<Transformed<Expr>> {
    match has_arithmetic(&part)? && !part.column_refs().is_empty() {
        true => Ok(Transformed::yes(column_of(part))),
        false => Ok(Transformed::no(part)),
    }
}
