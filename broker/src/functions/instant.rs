//! Expressions of instants: from whatever type to milliseconds or to a timestamp.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit as ArrowUnit};
use datafusion::common::{DFSchema, ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExprSchemable, cast, lit};

use super::format::TimeUnit;

/// The type of an instant in milliseconds.
pub(super) fn millis_type() -> DataType {
    in_zone("UTC")
}

/// The same in a zone.
pub(super) fn in_zone(zone: &str) -> DataType {
    DataType::Timestamp(ArrowUnit::Millisecond, Some(Arc::from(zone)))
}

/// The type of an instant that was cut: its own, or a whole number.
pub(super) fn own_type(argument: Option<DataType>) -> DataType {
    match argument {
        Some(own @ DataType::Timestamp(..)) => own,
        Some(
            DataType::Date32 | DataType::Date64 | DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8,
        ) => millis_type(),
        _ => DataType::Int64,
    }
}

/// An instant, in the one of two forms that its expression has already.
pub(super) enum Instant {
    /// Whole milliseconds since the epoch.
    Millis(Expr),
    /// A timestamp.
    Timestamp(Expr),
}

impl Instant {
    /// What `expr` says: a timestamp, a date or a text are themselves, a number counts `size` times `unit`.
    pub(super) fn of(expr: &Expr, size: i64, unit: TimeUnit, schema: &DFSchema) -> Result<Self> {
        Ok(match expr.get_type(schema)? {
            DataType::Timestamp(..) => Self::Timestamp(expr.clone()),
            DataType::Date32
            | DataType::Date64
            | DataType::Utf8
            | DataType::Utf8View
            | DataType::LargeUtf8 => Self::Timestamp(cast(expr.clone(), millis_type())),
            kind if kind.is_numeric() || kind == DataType::Null => {
                let (ms, parts) = unit.ratio();
                let Some(factor) = size.checked_mul(ms) else {
                    return plan_err!("{size} units are too many");
                };
                let number =
                    if kind == DataType::Int64 { expr.clone() } else { cast(expr.clone(), DataType::Int64) };
                Self::Millis(quotient(product(number, factor), parts))
            }
            other => {
                return plan_err!(
                    "a value of type {other} is no instant; a TIMESTAMP or a number of milliseconds is"
                );
            }
        })
    }

    /// In milliseconds.
    pub(super) fn millis(self) -> Expr {
        match self {
            Self::Millis(expr) => expr,
            // Not by its number: that may count other parts of a second.
            Self::Timestamp(expr) => cast(cast(expr, millis_type()), DataType::Int64),
        }
    }

    /// As a timestamp; one that is there keeps its type.
    pub(super) fn timestamp(self) -> Expr {
        match self {
            Self::Millis(expr) => cast(expr, millis_type()),
            Self::Timestamp(expr) => expr,
        }
    }

    /// As a timestamp in milliseconds of a zone.
    pub(super) fn zoned(self, zone: &str) -> Expr {
        cast(self.timestamp(), in_zone(zone))
    }
}

/// `expr * factor`
pub(super) fn product(expr: Expr, factor: i64) -> Expr {
    if factor == 1 { expr } else { expr * lit(factor) }
}

/// `expr / divisor`
pub(super) fn quotient(expr: Expr, divisor: i64) -> Expr {
    if divisor == 1 { expr } else { expr / lit(divisor) }
}

/// So many milliseconds as an interval.
pub(super) fn interval_ms(ms: i64) -> Result<Expr> {
    match ms.checked_mul(1_000_000) {
        Some(nanos) => Ok(lit(ScalarValue::new_interval_mdn(0, 0, nanos))),
        None => plan_err!("{ms} milliseconds are more than an interval can have"),
    }
}
