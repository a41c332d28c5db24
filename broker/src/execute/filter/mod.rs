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
mod test_decisions;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use headwater_segment::column::SegmentColumns;

pub(crate) use segment::{FilterScratch, SegmentFilter};
use shape::Shape;

use super::options::ExecuteOptions;

/// A predicate over the columns of a scan.
#[derive(Debug)]
pub(crate) struct Filter {
    shape: Option<Shape>,
    options: ExecuteOptions,
}

impl Filter {
    /// A predicate whose column i is field i of `schema`, and column i of the segments. `None` selects every row.
    pub(crate) fn new(
        predicate: Option<&Arc<dyn PhysicalExpr>>,
        schema: &Schema,
        options: &ExecuteOptions,
    ) -> Result<Self> {
        let shape = predicate.map(|predicate| Shape::new(predicate, schema)).transpose()?;
        Ok(Self { shape, options: *options })
    }

    /// The filter of one segment. Gives way while it evaluates a large dictionary.
    pub(crate) async fn compile(&self, segment: &SegmentColumns) -> Result<SegmentFilter> {
        SegmentFilter::new(self.shape.as_ref(), segment, &self.options).await
    }
}
