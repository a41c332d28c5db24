//! A DECIMAL beside a number that is written with a point or an exponent.
//!
//! Such a literal, or a parameter, is a DOUBLE or a FLOAT, whose binary value is not the one that was written: 70000.01 beside a DECIMAL is the DECIMAL of its
//! digits. Those are the shortest that mean the same DOUBLE, so up to 15 of them (6 of a FLOAT) are the ones that were written.

use std::fmt::Display;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;

/// Most digits of a DECIMAL.
const DIGITS_MAX: usize = 38;

/// The literal as a DECIMAL; `None`: it is no such literal, or has too many digits.
pub(super) fn written(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Literal(ScalarValue::Float64(Some(value)), metadata) => {
            Some(Expr::Literal(decimal_of(*value)?, metadata.clone()))
        }
        Expr::Literal(ScalarValue::Float32(Some(value)), metadata) => {
            Some(Expr::Literal(decimal_of(*value)?, metadata.clone()))
        }
        _ => None,
    }
}

fn decimal_of(value: impl Display) -> Option<ScalarValue> {
    // Never with an exponent.
    let digits = value.to_string();
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let precision = whole.trim_start_matches(['-', '0']).len() + fraction.len();
    let unscaled = format!("{whole}{fraction}").parse::<i128>().ok()?;
    let (precision, scale) = (u8::try_from(precision.max(1)).ok()?, i8::try_from(fraction.len()).ok()?);
    (usize::from(precision) <= DIGITS_MAX).then_some(ScalarValue::Decimal128(
        Some(unscaled),
        precision,
        scale,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_that_were_written() {
        let decimal =
            |unscaled, precision, scale| Some(ScalarValue::Decimal128(Some(unscaled), precision, scale));
        assert_eq!(decimal_of(70000.01), decimal(7_000_001, 7, 2));
        assert_eq!(decimal_of(70000.01_f32), decimal(7_000_001, 7, 2));
        assert_eq!(decimal_of(-0.1), decimal(-1, 1, 1));
        assert_eq!(decimal_of(0.0), decimal(0, 1, 0));
        assert_eq!(decimal_of(1e24), decimal(10i128.pow(24), 25, 0));
        assert_eq!(decimal_of(1e-7), decimal(1, 7, 7));
        for far in [1e40, 1e300, 1e-60, f64::NAN, f64::INFINITY] {
            assert_eq!(decimal_of(far), None, "{far}");
        }
    }
}
