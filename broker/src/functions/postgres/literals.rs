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
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Cast, Expr, Operator, lit};
use headwater_segment::schema::ColumnType;

use super::super::compare::{Said, Side};
use super::super::mixed::text_of;
use super::uuid::stored;
use crate::postgres::read_untyped;

/// The casts of the table above.
#[derive(Debug)]
pub(in crate::functions) struct ReadLiterals;

impl FunctionRewrite for ReadLiterals {
    fn name(&self) -> &str {
        "read_literals_of_postgres"
    }

    fn rewrite(&self, expr: Expr, _: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        Ok(match expr {
            Expr::Cast(Cast { expr, field }) => match cast(&expr, field.data_type()) {
                Some(value) => Transformed::yes(lit(value)),
                None => Transformed::no(Expr::Cast(Cast { expr, field })),
            },
            other => Transformed::no(other),
        })
    }
}

/// The comparisons of the table above.
pub(in crate::functions) fn literals(
    subject: &Side<'_>,
    operator: Operator,
    text: &Side<'_>,
) -> Result<Option<Said>> {
    let Some(written) = text_of(text.expr) else { return Ok(None) };
    let value = match subject.declared() {
        // What is no UUID equals none.
        Some(ColumnType::Uuid) => stored(written).filter(|stored| stored != written).map(lit),
        _ => unread(text.expr, subject.data_type()).map(lit),
    };
    Ok(value.map(|value| Said::Beside(operator, value)))
}

/// The value that a text is cast to.
fn cast(text: &Expr, data_type: &DataType) -> Option<ScalarValue> {
    unread(text, data_type)?.cast_to(data_type).ok()
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
