//! A DATE beside a text that has a time of day, for Pinot's clients: they know such a column as a TIMESTAMP, the midnights at
//! which its days begin, and write bounds of it with a clock. SQL would cut the clock off.
//!
//! | written | means |
//! |---|---|
//! | `day >= '2024-01-31 23:59:59.5'`, also `>` | `day > DATE '2024-01-31'` |
//! | `day < '2024-01-31 23:59:59.5'`, also `<=` | `day <= DATE '2024-01-31'` |
//! | `day = '2024-01-31 23:59:59.5'`, an item of `IN` | nothing: the midnight is compared with that instant |
//! | `day … '2024-01-31 00:00:00'` | the date itself |
//!
//! Where it can be, what is compared stays a date, so that segments are pruned by it.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, BinaryExpr};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, lit};

use super::among;
use super::mixed::text_of;
use crate::postgres::read_untyped;

const MICROS_OF_DAY: i64 = 86_400_000_000;

/// See the module. It comes before all other rewrites: those would read the text as a date.
#[derive(Debug)]
pub(super) struct DaysAreMidnights;

impl FunctionRewrite for DaysAreMidnights {
    fn name(&self) -> &str {
        "read_days_as_midnights"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let is_day = |expr: &Expr| expr.get_type(schema).is_ok_and(|kind| kind == DataType::Date32);
        Ok(match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_day(&left) || is_day(&right) => {
                let compared = match (Instant::of(&left), Instant::of(&right)) {
                    (_, Some(instant)) => instant.beside(op).map(|(op, other)| (left.as_ref(), op, other)),
                    (Some(instant), None) => {
                        let swapped = op.swap().and_then(|op| instant.beside(op));
                        swapped.map(|(op, other)| (right.as_ref(), op, other))
                    }
                    (None, None) => None,
                };
                match compared {
                    Some((day, op, other)) => {
                        let (left, right) = (Box::new(day.clone()), Box::new(lit(other)));
                        Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
                    }
                    None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
                }
            }
            Expr::Between(Between { expr, negated, mut low, mut high }) if is_day(&expr) => {
                let (first, last) = (Instant::of(&low), Instant::of(&high));
                let is_new = first.is_some() || last.is_some();
                low = first.map_or(low, |instant| Box::new(lit(instant.first_day())));
                high = last.map_or(high, |instant| Box::new(lit(instant.last_day())));
                Transformed::new_transformed(Expr::Between(Between { expr, negated, low, high }), is_new)
            }
            other => among::replaced(other, &|item, subject| {
                let instant = is_day(subject).then(|| Instant::of(item)).flatten()?;
                Some(lit(instant.itself()))
            }),
        })
    }
}

/// The instant that a text says, in microseconds since the epoch.
#[derive(Clone, Copy)]
struct Instant(i64);

impl Instant {
    /// `None` if the expression is no text, or one that says no instant.
    fn of(expr: &Expr) -> Option<Self> {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        match read_untyped(text_of(expr)?, &utc).ok()? {
            ScalarValue::TimestampMicrosecond(Some(micros), _) => Some(Self(micros)),
            _ => None,
        }
    }

    fn is_midnight(self) -> bool {
        self.0.rem_euclid(MICROS_OF_DAY) == 0
    }

    /// The last day that begins no later.
    fn last_day(self) -> ScalarValue {
        // Days of all that 64 bits of microseconds reach fit in 32 bits.
        ScalarValue::Date32(i32::try_from(self.0.div_euclid(MICROS_OF_DAY)).ok())
    }

    /// The first day that begins no earlier.
    fn first_day(self) -> ScalarValue {
        let begun = self.0.div_euclid(MICROS_OF_DAY);
        ScalarValue::Date32(i32::try_from(if self.is_midnight() { begun } else { begun + 1 }).ok())
    }

    /// The day that begins then, or else the instant, which no day begins at.
    fn itself(self) -> ScalarValue {
        match self.is_midnight() {
            true => self.last_day(),
            false => ScalarValue::TimestampMicrosecond(Some(self.0), None),
        }
    }

    /// With which day, and how, a day is compared so that it says the same as `day operator instant`; `None`: nothing is.
    fn beside(self, operator: Operator) -> Option<(Operator, ScalarValue)> {
        Some(match operator {
            Operator::Lt if !self.is_midnight() => (Operator::LtEq, self.last_day()),
            Operator::GtEq if !self.is_midnight() => (Operator::Gt, self.last_day()),
            Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => (operator, self.last_day()),
            Operator::Eq | Operator::NotEq => (operator, self.itself()),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_beside_a_day_is_not_cut_off() {
        let day = |day| ScalarValue::Date32(Some(day));
        let (noon, midnight) = (Instant(10 * MICROS_OF_DAY + 43_200_000_000), Instant(-MICROS_OF_DAY));
        let at_noon = ScalarValue::TimestampMicrosecond(Some(noon.0), None);
        let cases = [
            (noon, Operator::Lt, Operator::LtEq, day(10)),
            (noon, Operator::LtEq, Operator::LtEq, day(10)),
            (noon, Operator::Gt, Operator::Gt, day(10)),
            (noon, Operator::GtEq, Operator::Gt, day(10)),
            (noon, Operator::Eq, Operator::Eq, at_noon.clone()),
            (noon, Operator::NotEq, Operator::NotEq, at_noon),
            (midnight, Operator::Lt, Operator::Lt, day(-1)),
            (midnight, Operator::GtEq, Operator::GtEq, day(-1)),
            (midnight, Operator::Eq, Operator::Eq, day(-1)),
        ];
        for (instant, written, operator, other) in cases {
            assert_eq!(instant.beside(written), Some((operator, other)), "{written} {}", instant.0);
        }
        assert_eq!(noon.beside(Operator::Plus), None);
        assert_eq!((noon.first_day(), noon.last_day()), (day(11), day(10)));
        assert_eq!((midnight.first_day(), midnight.last_day()), (day(-1), day(-1)));
    }

    #[test]
    fn texts_say_instants() {
        for (text, micros) in [
            ("2024-01-02", Some(1_704_153_600_000_000)),
            ("2024-01-02 07:00:00", Some(1_704_178_800_000_000)),
            ("2024-01-02T07:00:00.5Z", Some(1_704_178_800_500_000)),
            ("soon", None),
        ] {
            assert_eq!(Instant::of(&lit(text)).map(|instant| instant.0), micros, "{text}");
        }
    }
}
