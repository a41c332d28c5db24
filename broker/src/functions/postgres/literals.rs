//! Texts in quotes that stand for values of another type, where what runs would not read them as PostgreSQL does.
//!
//! | written | means |
//! |---|---|
//! | `uid = 'A0EE…'`, `uid IN ('{a0ee…}')` | the UUID, in any of its spellings |
//! | `at > '2024-01-01 10:00'`, `TIMESTAMP '2024-01-01 10:00+02'` | the instant: PostgreSQL leaves seconds and minutes away |
//! | `day = 'Mon, 01 Jan 2024 00:00:00 GMT'`, `at < 'Jan 2, 2024'` | the day, the instant |
//! | `'{1,2}'::INT[]` | the array |

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, Operator, lit};
use headwater_segment::schema::ColumnType;

use super::super::among;
use super::super::mixed::text_of;
use super::uuid::stored;
use crate::postgres::read_untyped;
use crate::render::types::declared;

/// See the module.
#[derive(Debug)]
pub(in crate::functions) struct ReadLiterals;

impl FunctionRewrite for ReadLiterals {
    fn name(&self) -> &str {
        "read_literals_of_postgres"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        Ok(match expr {
            Expr::Cast(Cast { expr, field }) => match cast(&expr, field.data_type()) {
                Some(value) => Transformed::yes(lit(value)),
                None => Transformed::no(Expr::Cast(Cast { expr, field })),
            },
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(op) => {
                let (new_left, new_right) = (beside(&left, &right, schema), beside(&right, &left, schema));
                let is_new = new_left.is_some() || new_right.is_some();
                let left = new_left.map_or(left, Box::new);
                let right = new_right.map_or(right, Box::new);
                Transformed::new_transformed(Expr::BinaryExpr(BinaryExpr { left, op, right }), is_new)
            }
            other => among::replaced(other, &|item, subject| beside(item, subject, schema)),
        })
    }
}

fn compares(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// The value that a text is cast to.
fn cast(text: &Expr, data_type: &DataType) -> Option<ScalarValue> {
    unread(text, data_type)?.cast_to(data_type).ok()
}

/// The value that a text stands for beside `other`, if it would be read as something else.
fn beside(text: &Expr, other: &Expr, schema: &DFSchema) -> Option<Expr> {
    let written = text_of(text)?;
    let (_, field) = other.to_field(schema).ok()?;
    if declared(&field) == Some(ColumnType::Uuid) {
        // What is no UUID equals none.
        return stored(written).filter(|stored| stored != written).map(lit);
    }
    unread(text, field.data_type()).map(lit)
}

/// The value of type `data_type` that a text has for PostgreSQL's clients and not for what runs.
fn unread(text: &Expr, data_type: &DataType) -> Option<ScalarValue> {
    let written = text_of(text)?;
    let is_read = match data_type {
        DataType::Timestamp(..) | DataType::Date32 => {
            ScalarValue::Utf8(Some(written.to_owned())).cast_to(data_type).is_ok()
        }
        // What is cast to an array otherwise becomes its only element.
        DataType::List(_) => !written.trim_start().starts_with('{'),
        _ => true,
    };
    if is_read {
        return None;
    }
    read_untyped(written, data_type).ok()
}
