//! Gives the rows of `= ANY (SELECT …)` and `> ALL (SELECT …)` a name of their own.
//!
//! DataFusion 55.2 rewrites such a comparison to one of two columns by their names. If both are of one table, as in
//! `SELECT id FROM orders WHERE items > ALL (SELECT items FROM orders WHERE city = 'Oslo')`, the column is compared with
//! itself: every row passes, or none.
//!
//! Invariant: it runs before DataFusion's rule, `rewrite_set_comparison`.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

type Rule = Arc<dyn OptimizerRule + Send + Sync>;

/// `rules` behind the one that names.
pub(super) fn named_first(rules: &[Rule]) -> Vec<Rule> {
    std::iter::once(Arc::new(NameSetComparisons) as Rule).chain(rules.iter().cloned()).collect()
}

/// The logical rule.
#[derive(Debug)]
struct NameSetComparisons;

impl OptimizerRule for NameSetComparisons {
    fn name(&self) -> &str {
        "name_set_comparisons"
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        plan.transform_up_with_subqueries(|plan| {
            plan.map_expressions(|expression| expression.transform_up(|part| named(part, config)))
        })
    }
}

fn named(part: Expr, config: &dyn OptimizerConfig) -> Result<Transformed<Expr>> {
    let Expr::SetComparison(mut comparison) = part else { return Ok(Transformed::no(part)) };
    let rows = LogicalPlanBuilder::from(Arc::clone(&comparison.subquery.subquery));
    let name = config.alias_generator().next("__compared");
    comparison.subquery.subquery = Arc::new(rows.alias(name)?.build()?);
    Ok(Transformed::yes(Expr::SetComparison(comparison)))
}
