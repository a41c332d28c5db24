//! Joins that can be interrupted.
//!
//! DataFusion's operators give way between the batches that they fetch, but a join may work for minutes on one pair of
//! batches: when its filter drops nearly every pair, or when its pairs are only counted. So every join gives way behind a
//! batch that it makes, if it has had its turn, and a join's filter first looks whether its query is over.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};
use datafusion_distributed::NetworkBoundaryExt;
use tokio_util::sync::CancellationToken;

use super::registry::cancelled;
use super::turns::TurnsExec;

/// The plan with joins that stop soon after `cancel`, as far as it runs on this node: guards do not go over the wire.
pub(crate) fn interruptible(
    plan: Arc<dyn ExecutionPlan>,
    cancel: &CancellationToken,
) -> Result<Arc<dyn ExecutionPlan>> {
    let here = |node: Arc<dyn ExecutionPlan>| {
        let below = node.is_network_boundary();
        Ok(Transformed::new(
            node,
            false,
            if below { TreeNodeRecursion::Jump } else { TreeNodeRecursion::Continue },
        ))
    };
    let changed = plan.transform_down_up(here, |node| {
        if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
            let filter = join.filter().map(|filter| guarded(filter, cancel));
            let (left, right) = (Arc::clone(join.left()), Arc::clone(join.right()));
            let join = NestedLoopJoinExecBuilder::new(left, right, *join.join_type())
                .with_projection_ref(join.projection().clone())
                .with_filter(filter)
                .build()?;
            return Ok(Transformed::yes(yielding(Arc::new(join))));
        }
        if let Some(join) = node.downcast_ref::<HashJoinExec>() {
            let filter = join.filter().map(|filter| guarded(filter, cancel));
            return Ok(Transformed::yes(yielding(join.builder().with_filter(filter).build_exec()?)));
        }
        if node.downcast_ref::<CrossJoinExec>().is_some() {
            return Ok(Transformed::yes(yielding(node)));
        }
        Ok(Transformed::no(node))
    })?;
    Ok(changed.data)
}

fn yielding(join: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    Arc::new(TurnsExec::new(join))
}

fn guarded(filter: &JoinFilter, cancel: &CancellationToken) -> JoinFilter {
    let guard = Guard { inner: Arc::clone(filter.expression()), cancel: cancel.clone() };
    JoinFilter::new(Arc::new(guard), filter.column_indices().to_vec(), Arc::clone(filter.schema()))
}

/// An expression that fails once its query is over.
#[derive(Clone, Debug)]
struct Guard {
    inner: Arc<dyn PhysicalExpr>,
    cancel: CancellationToken,
}

impl PartialEq for Guard {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Guard {}

impl Hash for Guard {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Guard {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.inner.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.inner.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if self.cancel.is_cancelled() {
            return Err(DataFusionError::External(Box::new(cancelled("the query is over"))));
        }
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.pop().unwrap_or_else(|| Arc::clone(&self.inner));
        Ok(Arc::new(Self { inner, cancel: self.cancel.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
