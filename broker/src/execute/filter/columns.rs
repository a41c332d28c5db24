//! Which columns an expression reads, and the same expression over fewer columns.

use std::sync::Arc;

use datafusion::common::internal_err;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;

/// The indexes of the columns that an expression reads, ascending, each once.
pub(crate) fn column_indexes(expr: &Arc<dyn PhysicalExpr>) -> Vec<usize> {
    let mut indexes: Vec<usize> = collect_columns(expr).iter().map(Column::index).collect();
    indexes.sort_unstable();
    indexes.dedup();
    indexes
}

/// The same expression over a schema that has only the columns at `indexes`, in that order.
pub(crate) fn with_column_indexes(
    expr: &Arc<dyn PhysicalExpr>,
    indexes: &[usize],
) -> Result<Arc<dyn PhysicalExpr>> {
    let rewrite = |expr: Arc<dyn PhysicalExpr>| {
        let Some(column) = expr.downcast_ref::<Column>() else { return Ok(Transformed::no(expr)) };
        let Some(place) = indexes.iter().position(|index| *index == column.index()) else {
            return internal_err!("column {} is missing", column.name());
        };
        Ok(Transformed::yes(Arc::new(Column::new(column.name(), place)) as Arc<dyn PhysicalExpr>))
    };
    Arc::clone(expr).transform_up(rewrite).data()
}
