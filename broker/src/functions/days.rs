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
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Operator, lit};

use super::compare::{Said, Side};
use super::mixed::text_of;
use crate::postgres::read_untyped;

const MICROS_OF_DAY: i64 = 86_400_000_000;

/// See the module. It comes before what would read the text as a date.
pub(super) fn midnights(day: &Side<'_>, operator: Operator, text: &Side<'_>) -> Result<Option<Said>> {
    if *day.data_type() != DataType::Date32 {
        return Ok(None);
    }
    let compared = Instant::of(text.expr).and_then(|instant| instant.beside(operator));
    Ok(compared.map(|(operator, other)| Said::Beside(operator, lit(other))))
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
            Operator::Eq | Operator::NotEq | Operator::IsDistinctFrom | Operator::IsNotDistinctFrom => {
                (operator, self.itself())
            }
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
