//! Scalar subqueries of a plan that is to be distributed: they run first, each on the nodes that have its rows, and what they
//! found goes to the nodes as a value.
//!
//! An operator reads the result of a subquery from memory that it shares with the operator that runs the subquery. That memory
//! is on this node, so nothing that still reads from it leaves this node.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::scalar_subquery::{ScalarSubqueryExec, ScalarSubqueryLink};
use datafusion::physical_plan::{ExecutionPlan, collect};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::distribute::{Ways, distribute};

/// `plan` as it runs on the nodes that have the rows, after its subqueries have run, until
/// `cancel`. To be run once.
pub(crate) fn distribute_after_subqueries(
    plan: Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
    cancel: &CancellationToken,
    ways: Ways,
) -> BoxFuture<'static, Result<Arc<dyn ExecutionPlan>>> {
    let (context, cancel) = (Arc::clone(context), cancel.clone());
    // Subqueries have subqueries.
    async move {
        let mut levels = Vec::new();
        let plan = plan.transform_down(|node| {
            let Some(level) = node.downcast_ref::<ScalarSubqueryExec>() else {
                return Ok(Transformed::no(node));
            };
            levels.push((level.subqueries().to_vec(), level.results().clone()));
            Ok(Transformed::yes(Arc::clone(level.input())))
        });
        let plan = plan.data()?;
        for (subqueries, results) in levels {
            let mut distributed = Vec::with_capacity(subqueries.len());
            for ScalarSubqueryLink { plan, index } in subqueries {
                let plan = distribute_after_subqueries(plan, &context, &cancel, ways).await?;
                distributed.push(ScalarSubqueryLink { plan, index });
            }
            // It fills in the results, and has no rows of its own.
            let nothing = Arc::new(EmptyExec::new(Arc::new(Schema::empty())));
            let fill = ScalarSubqueryExec::new(nothing, distributed, results);
            collect(Arc::new(fill), Arc::clone(&context)).await?;
        }
        distribute(plan, &context, &cancel, ways)
    }
    .boxed()
}

/// Whether an operator itself reads the result of a subquery.
pub(crate) fn reads_subqueries(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(&mut |root| {
        root.apply(|part| {
            found |= part.downcast_ref::<ScalarSubqueryExpr>().is_some();
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}
