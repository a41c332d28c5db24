//! DataFusion's pushdown of filters through physical plans, kept away from the parts of a plan where it drops rows.
//!
//! DataFusion 55.2 answers wrongly, without an error, in three cases:
//!
//! | where | why |
//! |---|---|
//! | two columns of one name, as in every join of two tables that both show `$offset` | a filter is handed on by the names of its columns and lands on the first of them (apache/datafusion#25244, #25296, mended by #25259) |
//! | top-k by keys of which one is a part of another: `ORDER BY a + b, a LIMIT 3` | handing the dynamic filter on replaces the part first, then does not find the whole, and `b` stays a column of another schema |
//! | `max(a), max(b)` without groups | while there is no bound of `b` yet (it was NULL), or never will be (`max(b + 1)`), that of `a` filters the rows of both |
//!
//! Invariant: DataFusion's rule sees only whole subtrees without such a node. Filters beneath one are still pushed.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr, replace_children_if_necessary};

type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// `rules` with every filter pushdown among them made careful.
pub(super) fn careful(rules: &[Rule]) -> Vec<Rule> {
    let wrap = |rule: &Rule| match rule.name().starts_with("FilterPushdown") {
        true => Arc::new(CarefulFilterPushdown(Arc::clone(rule))) as Rule,
        false => Arc::clone(rule),
    };
    rules.iter().map(wrap).collect()
}

#[derive(Debug)]
struct CarefulFilterPushdown(Rule);

impl PhysicalOptimizerRule for CarefulFilterPushdown {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.optimize_subtrees(plan, config)
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

impl CarefulFilterPushdown {
    fn optimize_subtrees(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if !plan.exists(|node| Ok(is_hazard(node)))? {
            return self.0.optimize(plan, config);
        }
        let children =
            plan.children().into_iter().map(|child| self.optimize_subtrees(Arc::clone(child), config));
        let children = children.collect::<Result<Vec<_>>>()?;
        replace_children_if_necessary(plan, children)
    }
}

fn is_hazard(node: &Arc<dyn ExecutionPlan>) -> bool {
    has_a_name_twice(node)
        || node.downcast_ref::<SortExec>().is_some_and(has_key_in_key)
        || node.downcast_ref::<AggregateExec>().is_some_and(shares_bounds)
}

fn has_a_name_twice(node: &Arc<dyn ExecutionPlan>) -> bool {
    let schema = node.schema();
    let mut names = HashSet::new();
    schema.fields().iter().any(|field| !names.insert(field.name().as_str()))
}

fn has_key_in_key(sort: &SortExec) -> bool {
    let keys: Vec<&Arc<dyn PhysicalExpr>> = sort.expr().iter().map(|key| &key.expr).collect();
    let is_key = |part: &Arc<dyn PhysicalExpr>| keys.iter().any(|key| key.as_ref() == part.as_ref());
    let has_key_inside = |key: &Arc<dyn PhysicalExpr>| {
        key.children().into_iter().any(|child| child.exists(|part| Ok(is_key(part))).unwrap_or(true))
    };
    sort.fetch().is_some() && keys.iter().any(|key| has_key_inside(key))
}

/// Only a single aggregate's bound speaks for all rows.
fn shares_bounds(aggregate: &AggregateExec) -> bool {
    aggregate.group_expr().is_empty() && aggregate.aggr_expr().len() > 1
}
