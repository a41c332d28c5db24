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

/// The same expression with something else in place of each column. What is put in is not looked into again.
pub(crate) fn with_columns(
    expr: &Arc<dyn PhysicalExpr>,
    replace: impl Fn(&Column) -> Result<Arc<dyn PhysicalExpr>>,
) -> Result<Arc<dyn PhysicalExpr>> {
    let replaced = Arc::clone(expr).transform_up(|part| match part.downcast_ref::<Column>() {
        Some(column) => replace(column).map(Transformed::yes),
        None => Ok(Transformed::no(part)),
    });
    replaced.data()
}

/// The same expression over a schema that has only the columns at `indexes`, in that order.
pub(crate) fn with_column_indexes(
    expr: &Arc<dyn PhysicalExpr>,
    indexes: &[usize],
) -> Result<Arc<dyn PhysicalExpr>> {
    with_columns(expr, |column| match indexes.iter().position(|index| *index == column.index()) {
        Some(place) => Ok(Arc::new(Column::new(column.name(), place))),
        None => internal_err!("column {} is missing", column.name()),
    })
}
