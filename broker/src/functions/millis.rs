//! A timestamp and a whole number, compared or calculated with: the number counts milliseconds since the epoch.
//!
//! Tools write the bounds of a time range as numbers. What a client has read as 1767226200124 is found by `at = 1767226200124`
//! though the instant is ….124001: what is compared is the millisecond in which it lies, as a cast of the timestamp to a number
//! says it. A TIMESTAMP(3) has nothing between milliseconds, so the number becomes an instant beside it; one that is finer becomes
//! a number, of which the optimizer makes a [range](super::millis_of). Either way, and with a column of numbers between
//! instants, the column stays alone on its side, and prunes segments.
//!
//! What is calculated is a whole number again, so `now() - 3600000` is a bound, and `now() - ms` an age.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, Operator, binary_expr, cast};
use headwater_segment::schema::ColumnType;

use super::compare::{Said, Side, operator, swapped};
use super::millis_of::millis_of;

/// What `at operator number` says.
pub(super) fn instants(at: &Side<'_>, operator: Operator, number: &Side<'_>) -> Result<Option<Said>> {
    let DataType::Timestamp(_, zone) = at.data_type() else { return Ok(None) };
    if !number.data_type().is_integer() {
        return Ok(None);
    }
    let is_bound = at.is_constant() && !number.is_constant();
    Ok(Some(match is_bound {
        true => Said::Whole(binary_expr(number.expr.clone(), swapped(operator), in_millis(at))),
        false if is_finer(at) => Said::Whole(binary_expr(in_millis(at), operator, whole(number))),
        false => Said::Beside(operator, instant(number.expr.clone(), zone.as_ref())),
    }))
}

/// Whether it is a timestamp that may have a fraction of a millisecond.
pub(super) fn is_finer(at: &Side<'_>) -> bool {
    matches!(at.data_type(), DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _))
        && at.declared() != Some(ColumnType::TimestampMillis)
}

/// A timestamp, or a date, in milliseconds since the epoch.
pub(super) fn in_millis(at: &Side<'_>) -> Expr {
    let zone = match at.data_type() {
        _ if is_finer(at) => return millis_of(at.expr.clone()),
        DataType::Timestamp(TimeUnit::Millisecond, _) => return cast(at.expr.clone(), DataType::Int64),
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    cast(cast(at.expr.clone(), DataType::Timestamp(TimeUnit::Millisecond, zone)), DataType::Int64)
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

/// The number as one of 64 bits.
fn whole(number: &Side<'_>) -> Expr {
    match number.data_type() {
        DataType::Int64 => number.expr.clone(),
        _ => cast(number.expr.clone(), DataType::Int64),
    }
}

/// `at + number` and so on; see the module.
#[derive(Debug)]
pub(super) struct CalculateInMillis;

impl ExprPlanner for CalculateInMillis {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let Some(operator) = operator(&expr.op).filter(Operator::is_numerical_operators) else {
            return Ok(PlannerResult::Original(expr));
        };
        let (Some(left), Some(right)) = (Side::of(&expr.left, schema), Side::of(&expr.right, schema)) else {
            return Ok(PlannerResult::Original(expr));
        };
        let (left, right) = match (left.data_type(), right.data_type()) {
            (DataType::Timestamp(..), number) if number.is_integer() => {
                (in_millis(&left), right.expr.clone())
            }
            (number, DataType::Timestamp(..)) if number.is_integer() => {
                (left.expr.clone(), in_millis(&right))
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(PlannerResult::Planned(binary_expr(left, operator, right)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::datatypes::Field;
    use datafusion::logical_expr::{col, lit};

    use super::*;

    #[test]
    fn a_column_stays_alone_on_its_side() {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let of_millis = ColumnType::TimestampMillis.arrow();
        let DataType::Timestamp(_, zone) = &of_millis else { panic!("{of_millis}") };
        let zone = format!("{zone:?}");
        let millis = HashMap::from([("headwater.type".to_owned(), ColumnType::TimestampMillis.to_string())]);
        let fields = [
            Field::new("fine", micros, true),
            Field::new("at", of_millis.clone(), true).with_metadata(millis),
            Field::new("n", DataType::Int64, true),
        ];
        let schema = DFSchema::from_unqualified_fields(fields.to_vec().into(), HashMap::new()).unwrap();
        let now = || lit(ScalarValue::TimestampNanosecond(Some(5_999_999), None));
        for (at, number, expected) in [
            (col("at"), lit(5_i64), &*format!("at < TimestampMillisecond(5, {zone})")),
            (col("fine"), lit(5_i64), "millis_of(fine) < Int64(5)"),
            (col("fine"), lit(5_i32), "millis_of(fine) < CAST(Int32(5) AS Int64)"),
            (col("fine"), col("n"), "millis_of(fine) < n"),
            (now(), col("n"), "n > millis_of(TimestampNanosecond(5999999, None))"),
        ] {
            let sides = (Side::of(&at, &schema).unwrap(), Side::of(&number, &schema).unwrap());
            let said = match instants(&sides.0, Operator::Lt, &sides.1).unwrap() {
                Some(Said::Beside(operator, item)) => binary_expr(at.clone(), operator, item),
                Some(Said::Whole(said)) => said,
                None => panic!("{at} beside {number} says nothing"),
            };
            assert_eq!(said.to_string(), expected);
        }
    }
}
