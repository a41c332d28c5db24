//! `millis_of(at)`: the milliseconds since the epoch at which the millisecond begins in which a timestamp lies.
//!
//! They are cut downwards before 1970, too, where arrow's cast to milliseconds cuts towards 1970. Beside a number that is known,
//! the optimizer replaces the call by a range of the timestamp itself, which prunes segments like any other.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    ArrowTimestampType, DataType, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};
use datafusion::common::{ScalarValue, internal_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(MillisOf { signature }))
});

/// The function.
pub(super) fn function() -> Arc<ScalarUDF> {
    Arc::clone(&FUNCTION)
}

/// `millis_of(at)`
pub(super) fn millis_of(at: Expr) -> Expr {
    FUNCTION.call(vec![at])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MillisOf {
    signature: Signature,
}

impl ScalarUDFImpl for MillisOf {
    fn name(&self) -> &str {
        "millis_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            // In seconds there is nothing to cut.
            [DataType::Timestamp(TimeUnit::Second, zone)] => {
                Ok(vec![DataType::Timestamp(TimeUnit::Millisecond, zone.clone())])
            }
            [DataType::Timestamp(..)] => Ok(types.to_vec()),
            _ => plan_err!("millis_of wants one TIMESTAMP"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Array(instants)] => Ok(ColumnarValue::Array(millis(instants)?)),
            [ColumnarValue::Scalar(instant)] => {
                let millis = millis(&instant.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&millis, 0)?))
            }
            _ => internal_err!("millis_of wants one argument"),
        }
    }

    fn preimage(&self, args: &[Expr], number: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        let ([at], Some(ScalarValue::Int64(Some(ms)))) = (args, number.as_literal()) else {
            return Ok(PreimageResult::None);
        };
        // A range says it twice.
        if at.is_volatile() {
            return Ok(PreimageResult::None);
        }
        let DataType::Timestamp(unit, zone) = info.get_data_type(at)? else {
            return Ok(PreimageResult::None);
        };
        let instant = |ms: i64| {
            let count = ms.checked_mul(parts(unit)?)?;
            Some(match unit {
                TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(Some(count), zone.clone()),
                TimeUnit::Nanosecond => ScalarValue::TimestampNanosecond(Some(count), zone.clone()),
                _ => ScalarValue::TimestampMillisecond(Some(count), zone.clone()),
            })
        };
        let bounds = instant(*ms).zip(ms.checked_add(1).and_then(instant));
        // What the timestamp cannot reach is compared by its number.
        let Some((first, next)) = bounds else { return Ok(PreimageResult::None) };
        let interval = Box::new(Interval::try_new(first, next)?);
        Ok(PreimageResult::Range { expr: at.clone(), interval })
    }
}

/// How many of the unit a millisecond has; `None`: the unit is longer.
fn parts(unit: TimeUnit) -> Option<i64> {
    match unit {
        TimeUnit::Second => None,
        TimeUnit::Millisecond => Some(1),
        TimeUnit::Microsecond => Some(1_000),
        TimeUnit::Nanosecond => Some(1_000_000),
    }
}

fn millis(instants: &ArrayRef) -> Result<ArrayRef> {
    match instants.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => Ok(floored::<TimestampMillisecondType>(instants, 1)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Ok(floored::<TimestampMicrosecondType>(instants, 1_000))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            Ok(floored::<TimestampNanosecondType>(instants, 1_000_000))
        }
        other => internal_err!("millis_of was planned for timestamps, not {other}"),
    }
}

fn floored<T: ArrowTimestampType>(instants: &ArrayRef, parts: i64) -> ArrayRef {
    let instants = instants.as_primitive::<T>();
    Arc::new(instants.unary::<_, Int64Type>(|count| count.div_euclid(parts)))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn what_lies_in_a_millisecond_begins_with_it() {
        let micros = vec![Some(1_999), Some(1_000), Some(999), Some(0), Some(-1), Some(-1_000), None];
        let instants: ArrayRef = Arc::new(TimestampMicrosecondArray::from(micros));
        let expected = Int64Array::from(vec![Some(1), Some(1), Some(0), Some(0), Some(-1), Some(-1), None]);
        assert_eq!(millis(&instants).unwrap().as_primitive::<Int64Type>(), &expected);
        let bounds: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN, i64::MAX]));
        let expected = Int64Array::from(vec![i64::MIN / 1_000 - 1, i64::MAX / 1_000]);
        assert_eq!(millis(&bounds).unwrap().as_primitive::<Int64Type>(), &expected);
    }
}
