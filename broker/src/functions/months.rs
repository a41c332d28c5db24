//! `whole_months_between(x, y)`: how many whole months lie between two instants in milliseconds, in UTC.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::try_binary;
use arrow::datatypes::{DataType, Int64Type};
use arrow::error::ArrowError;
use chrono::{DateTime, Datelike, Utc};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The function.
pub(super) fn function() -> ScalarUDF {
    let signature = Signature::exact(vec![DataType::Int64, DataType::Int64], Volatility::Immutable);
    ScalarUDF::from(MonthsBetween { signature })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MonthsBetween {
    signature: Signature,
}

impl ScalarUDFImpl for MonthsBetween {
    fn name(&self) -> &str {
        "whole_months_between"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [from, to] = arrays.as_slice() else {
            return exec_err!("whole_months_between wants two arguments");
        };
        let months: Int64Array =
            try_binary(from.as_primitive::<Int64Type>(), to.as_primitive::<Int64Type>(), |from, to| {
                months_between(from, to).ok_or_else(|| {
                    ArrowError::ComputeError(format!("{from} or {to} ms are beyond the years of a calendar"))
                })
            })?;
        let months: ArrayRef = Arc::new(months);
        Ok(if is_scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&months, 0)?)
        } else {
            ColumnarValue::Array(months)
        })
    }
}

/// Whole months from one instant to another, below 0 if it is earlier; `None` beyond the years that a calendar has.
///
/// Adding them to the earlier instant gives one that is not later than the other: a month after the 31st is the last day of a
/// shorter month.
fn months_between(from_ms: i64, to_ms: i64) -> Option<i64> {
    if to_ms < from_ms {
        return months_between(to_ms, from_ms).map(|months| -months);
    }
    let (from, to) = (DateTime::from_timestamp_millis(from_ms)?, DateTime::from_timestamp_millis(to_ms)?);
    let months_of = |instant: &DateTime<Utc>| i64::from(instant.year()) * 12 + i64::from(instant.month0());
    let is_last_day = to.date_naive().succ_opt()?.day() == 1;
    let from_day = if is_last_day { from.day().min(to.day()) } else { from.day() };
    let is_short = (to.day(), to.time()) < (from_day, from.time());
    Some(months_of(&to) - months_of(&from) - i64::from(is_short))
}

#[cfg(test)]
mod tests {
    use chrono::{Months, NaiveDateTime};
    use proptest::prelude::*;

    use super::*;

    fn ms(text: &str) -> i64 {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap().and_utc().timestamp_millis()
    }

    #[test]
    fn months() {
        let cases = [
            ("2024-01-15 10:00", "2024-02-15 10:00", 1),
            ("2024-01-15 10:00", "2024-02-15 09:59", 0),
            ("2024-01-31 00:00", "2024-02-29 00:00", 1),
            ("2024-01-31 12:00", "2024-02-29 11:59", 0),
            ("2024-01-31 00:00", "2024-02-28 23:59", 0),
            ("2020-02-29 00:00", "2021-02-28 00:00", 12),
            ("2019-03-01 00:00", "2020-02-29 00:00", 11),
            ("1969-11-30 23:00", "1970-01-30 23:00", 2),
            ("2024-03-01 00:00", "2024-03-01 00:00", 0),
        ];
        for (from, to, months) in cases {
            assert_eq!(months_between(ms(from), ms(to)), Some(months), "{from} to {to}");
            assert_eq!(months_between(ms(to), ms(from)), Some(-months), "{to} to {from}");
        }
        assert_eq!(months_between(0, i64::MAX), None);
        assert_eq!(months_between(i64::MIN, i64::MAX), None);
    }

    proptest! {
        #[test]
        fn are_the_most_that_fit(from_ms in -4_000_000_000_000_i64..4_000_000_000_000, more_ms in 0..4_000_000_000_000_i64) {
            let (from, to) = (DateTime::from_timestamp_millis(from_ms).unwrap(), from_ms + more_ms);
            let months = u32::try_from(months_between(from_ms, to).unwrap()).unwrap();
            let after = |months| from.checked_add_months(Months::new(months)).unwrap().timestamp_millis();
            prop_assert!(after(months) <= to && after(months + 1) > to);
        }
    }
}
