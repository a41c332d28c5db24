//! Instants that are so many units apart, as `timestampAdd` and `timestampDiff` count.
//!
//! Milliseconds are calculated with as numbers; timestamps with intervals, so that they keep what is smaller than a millisecond.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::{DFSchema, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, ScalarUDF, binary_expr, cast, lit};

use super::instant::{Instant, product, quotient};

/// A unit of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// So many milliseconds, or so many of what an interval calls so.
    Fixed { ms: i64, count: i64, name: &'static str },
    /// So many months.
    Months(i64),
}

impl Length {
    /// In the singular, as Pinot writes it, or in the plural, in any case.
    pub(super) fn read(name: &str) -> Option<Self> {
        let fixed = |ms, count, name| Self::Fixed { ms, count, name };
        let name = name.trim().to_ascii_lowercase();
        Some(match name.strip_suffix('s').unwrap_or(&name) {
            "millisecond" => fixed(1, 1, "milliseconds"),
            "second" => fixed(1_000, 1, "seconds"),
            "minute" => fixed(60_000, 1, "minutes"),
            "hour" => fixed(3_600_000, 1, "hours"),
            "day" => fixed(86_400_000, 1, "days"),
            "week" => fixed(7 * 86_400_000, 7, "days"),
            "month" => Self::Months(1),
            "quarter" => Self::Months(3),
            "year" => Self::Months(12),
            _ => return None,
        })
    }
}

/// The instant `amount` units later, in the form that it has.
pub(super) fn add(amount: &Expr, unit: Length, instant: Instant, schema: &DFSchema) -> Result<Expr> {
    let amount = match amount.get_type(schema)? {
        DataType::Int64 => amount.clone(),
        kind if kind.is_numeric() || kind == DataType::Null => cast(amount.clone(), DataType::Int64),
        other => return plan_err!("the number of units must be a number, not {other}"),
    };
    Ok(match (unit, instant) {
        (Length::Fixed { ms, .. }, Instant::Millis(expr)) => expr + product(amount, ms),
        (Length::Fixed { count, name, .. }, instant) => instant.timestamp() + interval(amount, count, name),
        (Length::Months(count), Instant::Millis(expr)) => {
            // Without a zone: what estimates the bounds of a sum beyond the calendar forgets it.
            let clock = cast(expr, DataType::Timestamp(TimeUnit::Millisecond, None));
            cast(clock + interval(amount, count, "months"), DataType::Int64)
        }
        (Length::Months(count), instant) => instant.timestamp() + interval(amount, count, "months"),
    })
}

/// `amount` times `count` of the unit; the text of an interval is its only form that takes a column.
fn interval(amount: Expr, count: i64, unit: &str) -> Expr {
    let number = cast(product(amount, count), DataType::Utf8);
    let text = binary_expr(number, Operator::StringConcat, lit(format!(" {unit}")));
    cast(text, DataType::Interval(IntervalUnit::MonthDayNano))
}

/// Whole units between two instants in milliseconds.
pub(super) fn difference(from: Expr, to: Expr, unit: Length, months_between: &Arc<ScalarUDF>) -> Expr {
    match unit {
        Length::Fixed { ms, .. } => quotient(to - from, ms),
        Length::Months(count) => quotient(months_between.call(vec![from, to]), count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for (name, months) in [("MONTH", 1), ("quarter", 3), (" years ", 12)] {
            assert_eq!(Length::read(name), Some(Length::Months(months)), "{name}");
        }
        assert_eq!(Length::read("Weeks"), Some(Length::Fixed { ms: 604_800_000, count: 7, name: "days" }));
        for name in ["", "s", "fortnight", "dayss", "microsecond"] {
            assert_eq!(Length::read(name), None, "{name}");
        }
    }
}
