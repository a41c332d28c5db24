//! `interval_times(interval, n)`: what `interval * n` and `interval / n` mean.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::try_binary;
use arrow::datatypes::{DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};
use arrow::error::ArrowError;
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The type of intervals.
pub(super) const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

const DAYS_PER_MONTH: f64 = 30.0;
const MICROS_PER_DAY: f64 = 86_400e6;

/// The function.
pub(super) fn function() -> ScalarUDF {
    let signature = Signature::exact(vec![INTERVAL, DataType::Float64], Volatility::Immutable);
    ScalarUDF::from(Times { signature })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Times {
    signature: Signature,
}

impl ScalarUDFImpl for Times {
    fn name(&self) -> &str {
        "interval_times"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(INTERVAL)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [interval, number] = arrays.as_slice() else {
            return exec_err!("interval_times wants two arguments");
        };
        let (intervals, numbers) =
            (interval.as_primitive::<IntervalMonthDayNanoType>(), number.as_primitive::<Float64Type>());
        let product: PrimitiveArray<IntervalMonthDayNanoType> =
            try_binary(intervals, numbers, |interval, number| {
                times(interval, number).ok_or_else(|| {
                    ArrowError::ComputeError(format!("an interval times {number} is out of range"))
                })
            })?;
        let product: ArrayRef = Arc::new(product);
        Ok(if is_scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&product, 0)?)
        } else {
            ColumnarValue::Array(product)
        })
    }
}

/// As PostgreSQL has it: what is left of a month counts as days of it, of which it has 30, and what is left of a day as time, to
/// the microsecond. `None`: more than an interval can be.
fn times(interval: IntervalMonthDayNano, number: f64) -> Option<IntervalMonthDayNano> {
    let months = f64::from(interval.months) * number;
    let days = f64::from(interval.days) * number + months.fract() * DAYS_PER_MONTH;
    // A number of microseconds that a f64 has exactly is 285 years long; of nanoseconds it would be 104 days.
    let micros = (interval.nanoseconds as f64 / 1e3) * number + days.fract() * MICROS_PER_DAY;
    let whole = |value: f64, limit: f64| (value.is_finite() && value.abs() < limit).then_some(value);
    let months = whole(months.trunc(), f64::from(i32::MAX))? as i32;
    let days = whole(days.trunc(), f64::from(i32::MAX))? as i32;
    let micros = whole(micros.round(), i64::MAX as f64 / 1e3)? as i64;
    Some(IntervalMonthDayNano::new(months, days, micros.checked_mul(1_000)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_month_is_days_and_of_a_day_time() {
        let of = IntervalMonthDayNano::new;
        let hour = 3_600_000_000_000;
        let cases = [
            (of(0, 0, hour), 2.0, Some(of(0, 0, 2 * hour))),
            (of(0, 0, 1_000_000_000), 1_767_225_600.123, Some(of(0, 0, 1_767_225_600_123_000_000))),
            (of(1, 0, 0), 1.5, Some(of(1, 15, 0))),
            (of(0, 1, 0), 0.5, Some(of(0, 0, 12 * hour))),
            (of(1, 1, hour), -1.0, Some(of(-1, -1, -hour))),
            (of(0, 0, hour), 0.0, Some(of(0, 0, 0))),
            (of(0, 0, hour), 1e300, None),
            (of(i32::MAX, 0, 0), 2.0, None),
            (of(0, 0, hour), f64::NAN, None),
            (of(0, 0, hour), f64::INFINITY, None),
        ];
        for (interval, number, expected) in cases {
            assert_eq!(times(interval, number), expected, "{interval:?} * {number}");
        }
    }
}
