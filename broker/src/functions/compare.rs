//! Comparisons of, and arithmetic with, a timestamp and a whole number: the number counts milliseconds since the epoch.
//!
//! Tools write the bounds of a time range as numbers. As a timestamp of the column's kind, such a bound prunes segments like any
//! other. What is calculated is a whole number again, so `now() - 3600000` is a bound, and `now() - ms` an age.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, binary_expr, cast};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::instant::Instant;

/// See the module.
#[derive(Debug)]
pub(super) struct CompareInstants;

impl ExprPlanner for CompareInstants {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let Some(operator) = operator(&expr.op) else { return Ok(PlannerResult::Original(expr)) };
        // What has no type here will be told so elsewhere.
        let (Ok(left), Ok(right)) = (expr.left.get_type(schema), expr.right.get_type(schema)) else {
            return Ok(PlannerResult::Original(expr));
        };
        let (left, right) = match (&left, &right) {
            (DataType::Timestamp(_, zone), number) if number.is_integer() => {
                match operator.is_numerical_operators() {
                    true => (Instant::Timestamp(expr.left).millis(), expr.right),
                    false => (expr.left, instant(expr.right, zone.as_ref())),
                }
            }
            (number, DataType::Timestamp(_, zone)) if number.is_integer() => {
                match operator.is_numerical_operators() {
                    true => (expr.left, Instant::Timestamp(expr.right).millis()),
                    false => (instant(expr.left, zone.as_ref()), expr.right),
                }
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(PlannerResult::Planned(binary_expr(left, operator, right)))
    }
}

/// The instant that a whole number is beside a timestamp, in a list or as a bound; `None`: it is no such number.
pub(super) fn beside(item: &Expr, own: &DataType, other: &DataType) -> Option<Expr> {
    match other {
        DataType::Timestamp(_, zone) if own.is_integer() => Some(instant(item.clone(), zone.as_ref())),
        _ => None,
    }
}

/// The operator, if it compares or calculates.
pub(super) fn operator(operator: &BinaryOperator) -> Option<Operator> {
    Some(match operator {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        BinaryOperator::Plus => Operator::Plus,
        BinaryOperator::Minus => Operator::Minus,
        BinaryOperator::Multiply => Operator::Multiply,
        BinaryOperator::Divide => Operator::Divide,
        BinaryOperator::Modulo => Operator::Modulo,
        _ => return None,
    })
}

/// The instant that a whole number of milliseconds stands for.
pub(super) fn instant(number: Expr, zone: Option<&Arc<str>>) -> Expr {
    match number {
        Expr::Literal(ScalarValue::Int64(ms), metadata) => {
            Expr::Literal(ScalarValue::TimestampMillisecond(ms, zone.cloned()), metadata)
        }
        other => {
            let whole = cast(other, DataType::Int64);
            cast(whole, DataType::Timestamp(TimeUnit::Millisecond, zone.cloned()))
        }
    }
}
