//! Which rows of a segment satisfy a predicate.
//!
//! ```text
//! predicate ──shape──▶ AND / OR over leaves ──compile, per segment──▶ steps ──select, per block──▶ Selection
//!                                              │ leaf over one coded column: a set of codes
//!                                              └ anything else: an expression over the rows that are left
//! ```
//!
//! Invariants:
//! - the selected rows are those for which DataFusion would find the whole predicate TRUE;
//! - an expression that can fail sees only rows that every step on codes has left, and those before it of its own kind;
//!   so a query may be spared an error that another order would meet, but meets none that its own order hides;
//! - a volatile expression is evaluated for each row that reaches it exactly once.

mod code_set;
pub(crate) mod columns;
mod compile;
mod index;
mod search;
mod segment;
mod shape;
#[cfg(test)]
mod test_columns;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::{is_dynamic_physical_expr, snapshot_physical_expr};
use headwater_segment::column::SegmentColumns;

pub(crate) use segment::{FilterScratch, SegmentFilter};
use shape::Shape;

use super::options::ExecuteOptions;

/// A predicate over the columns of a scan.
#[derive(Debug)]
pub(crate) struct Filter {
    predicate: Option<Predicate>,
    schema: SchemaRef,
    options: ExecuteOptions,
}

#[derive(Debug)]
enum Predicate {
    /// Its shape is known.
    Fixed(Shape),
    /// It changes while the query runs (such as the bound of a top-k): its shape is that of the moment of compilation.
    Dynamic(Arc<dyn PhysicalExpr>),
}

impl Filter {
    /// A predicate whose column i is field i of `schema`, and column i of the segments. `None` selects every row.
    pub(crate) fn new(
        predicate: Option<Arc<dyn PhysicalExpr>>,
        schema: SchemaRef,
        options: &ExecuteOptions,
    ) -> Result<Self> {
        let predicate = match predicate {
            Some(predicate) if is_dynamic_physical_expr(&predicate) => Some(Predicate::Dynamic(predicate)),
            Some(predicate) => Some(Predicate::Fixed(Shape::new(&predicate, &schema)?)),
            None => None,
        };
        Ok(Self { predicate, schema, options: *options })
    }

    /// The filter of one segment.
    pub(crate) fn compile(&self, segment: &SegmentColumns) -> Result<SegmentFilter> {
        match &self.predicate {
            None => SegmentFilter::new(None, segment, &self.options),
            Some(Predicate::Fixed(shape)) => SegmentFilter::new(Some(shape), segment, &self.options),
            Some(Predicate::Dynamic(predicate)) => {
                let now = snapshot_physical_expr(Arc::clone(predicate))?;
                SegmentFilter::new(Some(&Shape::new(&now, &self.schema)?), segment, &self.options)
            }
        }
    }
}
