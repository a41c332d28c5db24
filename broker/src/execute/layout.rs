//! Which columns of a segment a leaf loads, and its filter and output in terms of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::expressions::{Column, DynamicFilterPhysicalExpr, Literal};
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, conjunction_opt};

use super::source::Source;

/// The columns of a segment that a leaf loads: those of its filter and those that it is to produce.
pub(crate) struct Layout {
    /// Visible columns, ascending; a segment's columns come in this order.
    pub(crate) loaded: Vec<usize>,
    /// The loaded columns.
    pub(crate) schema: SchemaRef,
    /// The conditions that stay as they are, over `schema`.
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
    /// The conditions that other operators narrow while the query runs, over `schema`.
    pub(crate) dynamic: Option<Arc<dyn PhysicalExpr>>,
    /// For each column to produce, its place in `loaded`.
    pub(crate) output: Vec<usize>,
}

impl Layout {
    /// For visible columns `output` of the rows that pass `conjuncts` (over the visible columns).
    pub(crate) fn new(
        source: &Source,
        conjuncts: &[Arc<dyn PhysicalExpr>],
        output: &[usize],
    ) -> Result<Self> {
        let filtered = conjuncts.iter().flat_map(collect_columns).map(|column| column.index());
        let loaded: BTreeSet<usize> = filtered.chain(output.iter().copied()).collect();
        let places: BTreeMap<usize, usize> =
            loaded.iter().enumerate().map(|(place, column)| (*column, place)).collect();
        let (mut fixed, mut dynamic) = (Vec::new(), Vec::new());
        for conjunct in conjuncts {
            let placed = place(Arc::clone(conjunct), &places)?;
            if is_dynamic(&placed) { dynamic.push(placed) } else { fixed.push(placed) }
        }
        let loaded: Vec<usize> = loaded.into_iter().collect();
        Ok(Self {
            schema: source.schema_of(&loaded),
            filter: conjunction_opt(fixed),
            dynamic: conjunction_opt(dynamic),
            output: output.iter().map(|column| places[column]).collect(),
            loaded,
        })
    }
}

/// Puts the columns in their places, and the results of subqueries in theirs: they have run when the operator starts, not
/// when it is planned.
fn place(expr: Arc<dyn PhysicalExpr>, places: &BTreeMap<usize, usize>) -> Result<Arc<dyn PhysicalExpr>> {
    let placed = expr.transform_up(|part| {
        if let Some(column) = part.downcast_ref::<Column>()
            && let Some(place) = places.get(&column.index())
        {
            return Ok(Transformed::yes(Arc::new(Column::new(column.name(), *place)) as _));
        }
        Ok(Transformed::no(part))
    });
    with_results(placed.data()?)
}

/// The condition with the results of subqueries that have run as values.
pub(crate) fn with_results(expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    let no_row = RecordBatch::new_empty(Arc::new(Schema::empty()));
    expr.transform_up(|part| {
        if part.downcast_ref::<ScalarSubqueryExpr>().is_some()
            && let Ok(ColumnarValue::Scalar(value)) = part.evaluate(&no_row)
        {
            return Ok(Transformed::yes(Arc::new(Literal::new(value)) as _));
        }
        Ok(Transformed::no(part))
    })
    .data()
}

/// Whether another operator changes the condition while the query runs.
pub(crate) fn is_dynamic(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let mut found = false;
    let walked = expr.apply(|part| {
        found |= part.downcast_ref::<DynamicFilterPhysicalExpr>().is_some();
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    // The walk cannot fail; if it could, the careful answer would be yes.
    walked.is_err() || found
}
