//! Comparisons of a timestamp that is finer than a millisecond with a whole number: they are of milliseconds, as a cast of the
//! timestamp to a number is.
//!
//! What a client has read as 1767226200124 is found by `at = 1767226200124` though the instant is ….124001: it lies within that
//! millisecond. Each comparison is one with the bounds of the millisecond, so that it prunes segments like any other. A column of
//! TIMESTAMP(3) has nothing between milliseconds, and is compared by [`compare`](super::compare).

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, binary_expr, cast, lit};
use headwater_segment::schema::ColumnType;

use super::compare::{instant, operator};
use crate::render::types::declared;

/// See the module. It comes before what reads numbers as instants.
#[derive(Debug)]
pub(super) struct CompareMillis;

impl ExprPlanner for CompareMillis {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let Some(operator) = operator(&expr.op).filter(|operator| !operator.is_numerical_operators()) else {
            return Ok(PlannerResult::Original(expr));
        };
        let compared = if is_whole(&expr.right, schema) {
            finer_zone(&expr.left, schema).map(|zone| compared(&expr.left, operator, &expr.right, &zone))
        } else if is_whole(&expr.left, schema) {
            let operator = operator.swap().unwrap_or(operator);
            finer_zone(&expr.right, schema).map(|zone| compared(&expr.right, operator, &expr.left, &zone))
        } else {
            None
        };
        Ok(compared.map_or(PlannerResult::Original(expr), PlannerResult::Planned))
    }
}

impl FunctionRewrite for CompareMillis {
    fn name(&self) -> &str {
        "compare_millis"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let (said, negated) = match &expr {
            Expr::Between(Between { expr: at, negated, low, high })
                if is_whole(low, schema) || is_whole(high, schema) =>
            {
                let Some(zone) = finer_zone(at, schema) else { return Ok(Transformed::no(expr)) };
                let side = |operator, bound: &Expr| match is_whole(bound, schema) {
                    true => compared(at, operator, bound, &zone),
                    false => binary_expr(at.as_ref().clone(), operator, bound.clone()),
                };
                (side(Operator::GtEq, low).and(side(Operator::LtEq, high)), *negated)
            }
            Expr::InList(InList { expr: at, list, negated })
                if !list.is_empty() && list.iter().all(|item| is_whole(item, schema)) =>
            {
                let Some(zone) = finer_zone(at, schema) else { return Ok(Transformed::no(expr)) };
                (any_of(at, list, &zone), *negated)
            }
            _ => return Ok(Transformed::no(expr)),
        };
        Ok(Transformed::yes(if negated { !said } else { said }))
    }
}

fn is_whole(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|kind| kind.is_integer())
}

type Zone = Option<Arc<str>>;

/// The zone of a timestamp that may have a fraction of a millisecond; `None` if it is none.
fn finer_zone(expr: &Expr, schema: &DFSchema) -> Option<Zone> {
    let (_, field) = expr.to_field(schema).ok()?;
    match field.data_type() {
        _ if declared(&field) == Some(ColumnType::TimestampMillis) => None,
        DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, zone) => Some(zone.clone()),
        _ => None,
    }
}

/// `at operator number`
fn compared(at: &Expr, operator: Operator, number: &Expr, zone: &Zone) -> Expr {
    let this = || instant(number.clone(), zone.as_ref());
    let Some(next) = after(number).map(|number| instant(number, zone.as_ref())) else {
        return binary_expr(at.clone(), operator, this());
    };
    match operator {
        Operator::Eq => at.clone().gt_eq(this()).and(at.clone().lt(next)),
        Operator::NotEq => at.clone().lt(this()).or(at.clone().gt_eq(next)),
        Operator::Gt => at.clone().gt_eq(next),
        Operator::LtEq => at.clone().lt(next),
        other => binary_expr(at.clone(), other, this()),
    }
}

/// The number after; `None` if there is none.
fn after(number: &Expr) -> Option<Expr> {
    match number {
        Expr::Literal(ScalarValue::Int64(Some(ms)), _) => ms.checked_add(1).map(lit),
        Expr::Literal(ScalarValue::Int64(None), _) => Some(number.clone()),
        other => Some(cast(other.clone(), DataType::Int64) + lit(1_i64)),
    }
}

/// Whether it equals any of them. Halved again and again: one behind the other, a long list would be nested as deeply as it is long.
fn any_of(at: &Expr, list: &[Expr], zone: &Zone) -> Expr {
    match list {
        [one] => compared(at, Operator::Eq, one, zone),
        several => {
            let (first, second) = several.split_at(several.len() / 2);
            any_of(at, first, zone).or(any_of(at, second, zone))
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::col;

    use super::*;

    #[test]
    fn a_number_is_all_of_its_millisecond() {
        let zone = None;
        let said = |operator, number: Expr| compared(&col("at"), operator, &number, &zone).to_string();
        let this = "TimestampMillisecond(5, None)";
        let next = "TimestampMillisecond(6, None)";
        for (operator, expected) in [
            (Operator::Eq, format!("at >= {this} AND at < {next}")),
            (Operator::NotEq, format!("at < {this} OR at >= {next}")),
            (Operator::Lt, format!("at < {this}")),
            (Operator::LtEq, format!("at < {next}")),
            (Operator::Gt, format!("at >= {next}")),
            (Operator::GtEq, format!("at >= {this}")),
        ] {
            assert_eq!(said(operator, lit(5_i64)), expected);
        }
        // Nothing comes after the last one.
        assert_eq!(
            said(Operator::Gt, lit(i64::MAX)),
            format!("at > TimestampMillisecond({}, None)", i64::MAX)
        );
    }

    #[test]
    fn long_lists_are_not_nested_deeply() {
        let numbers: Vec<Expr> = (0..100_000_i64).map(lit).collect();
        let mut any = &any_of(&col("at"), &numbers, &None);
        let mut depth = 0;
        while let Expr::BinaryExpr(binary) = any {
            (any, depth) = (&binary.left, depth + 1);
        }
        assert!(depth < 30, "{depth}");
    }
}
