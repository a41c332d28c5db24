//! `EXTRACT(SECOND FROM x)` and `date_part('second', x)` with the fraction of the second, as SQL and PostgreSQL have it.
//!
//! What DataFusion has answers with whole seconds and milliseconds, of what lies between two instants with all of its seconds, and
//! divides nanoseconds since 1970, of which a DOUBLE has not every one. All other parts are DataFusion's.

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::kernels::cast_utils::IntervalUnit;
use arrow::datatypes::{
    DataType, DurationNanosecondType, Field, FieldRef, Float64Type, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, TimeUnit, TimestampNanosecondType,
};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::functions::datetime::date_part::DatePartFunc;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult};
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};

use super::interval::INTERVAL;

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const NANOS_PER_MINUTE: i64 = 60 * NANOS_PER_SECOND;
const NANOS_PER_DAY: i64 = 86_400 * NANOS_PER_SECOND;

/// The function.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::from(DatePart { whole: DatePartFunc::new() })
}

/// Makes calls of the function of `EXTRACT(part FROM x)`.
#[derive(Debug)]
pub(super) struct Extract {
    pub(super) date_part: Arc<ScalarUDF>,
}

impl ExprPlanner for Extract {
    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let call = ScalarFunction::new_udf(Arc::clone(&self.date_part), args);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}

/// A part that has a fraction.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fraction {
    /// So many nanoseconds of the minute are one.
    OfMinute { nanos: f64 },
    /// Seconds since 1970.
    Epoch,
}

impl Fraction {
    fn of(part: &ScalarValue) -> Option<Self> {
        let part = part.try_as_str().flatten()?.trim_matches(['\'', '"']);
        match IntervalUnit::from_str(part) {
            Ok(IntervalUnit::Second) => Some(Self::OfMinute { nanos: 1e9 }),
            Ok(IntervalUnit::Millisecond) => Some(Self::OfMinute { nanos: 1e6 }),
            Ok(_) => None,
            Err(_) => part.eq_ignore_ascii_case("epoch").then_some(Self::Epoch),
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DatePart {
    whole: DatePartFunc,
}

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &str {
        self.whole.name()
    }

    fn aliases(&self) -> &[String] {
        self.whole.aliases()
    }

    fn signature(&self) -> &Signature {
        self.whole.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.whole.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let part = args.scalar_arguments.first().copied().flatten();
        match (part.and_then(Fraction::of), args.arg_fields) {
            (Some(_), [_, instant]) => {
                Ok(Arc::new(Field::new(self.name(), DataType::Float64, instant.is_nullable())))
            }
            _ => self.whole.return_field_from_args(args),
        }
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(value) = args.args.get_mut(1)
            && matches!(value.data_type(), DataType::Duration(_))
        {
            *value = with_days(value)?;
        }
        let part = match args.args.first() {
            Some(ColumnarValue::Scalar(part)) => Fraction::of(part),
            _ => None,
        };
        match (part, args.args.get(1).map(ColumnarValue::data_type)) {
            // Pinot's `second(x)` is planned as DataFusion has it, also where another node runs it.
            _ if *args.return_field.data_type() != DataType::Float64 => self.whole.invoke_with_args(args),
            (Some(Fraction::OfMinute { nanos }), Some(data_type)) if data_type == INTERVAL => {
                let [_, interval] = args.args.as_slice() else {
                    return exec_err!("date_part wants two arguments");
                };
                seconds_of_interval(interval, nanos)
            }
            (Some(Fraction::OfMinute { nanos }), _) => {
                args.args[0] = ColumnarValue::Scalar(ScalarValue::from("nanosecond"));
                args.return_field = Arc::new(Field::new(self.name(), DataType::Int64, true));
                in_fractions(&self.whole.invoke_with_args(args)?, |value| value as f64 / nanos)
            }
            (Some(Fraction::Epoch), Some(DataType::Timestamp(TimeUnit::Nanosecond, _))) => {
                let [_, instant] = args.args.as_slice() else {
                    return exec_err!("date_part wants two arguments");
                };
                seconds_of(instant)
            }
            _ => self.whole.invoke_with_args(args),
        }
    }

    fn preimage(&self, args: &[Expr], literal: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        self.whole.preimage(args, literal, info)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.whole.documentation()
    }
}

/// What lies between two instants as an interval of days and a time, as PostgreSQL has it: its second is below 60.
fn with_days(duration: &ColumnarValue) -> Result<ColumnarValue> {
    let duration = duration.cast_to(&DataType::Duration(TimeUnit::Nanosecond), None)?;
    mapped(&duration, |array| {
        let interval = |nanos: i64| {
            // No 64 bits of nanoseconds have more than 106,752 days.
            IntervalMonthDayNano::new(0, (nanos / NANOS_PER_DAY) as i32, nanos % NANOS_PER_DAY)
        };
        Arc::new(
            array.as_primitive::<DurationNanosecondType>().unary::<_, IntervalMonthDayNanoType>(interval),
        )
    })
}

fn in_fractions(value: &ColumnarValue, fraction: impl Fn(i64) -> f64) -> Result<ColumnarValue> {
    mapped(value, |array| {
        Arc::new(array.as_primitive::<Int64Type>().unary::<_, Float64Type>(&fraction)) as ArrayRef
    })
}

/// Nanoseconds beyond the whole minutes of an interval, `nanos` of which are one. DataFusion's own are whole seconds.
fn seconds_of_interval(interval: &ColumnarValue, nanos: f64) -> Result<ColumnarValue> {
    mapped(interval, |array| {
        let fraction =
            |interval: IntervalMonthDayNano| (interval.nanoseconds % NANOS_PER_MINUTE) as f64 / nanos;
        Arc::new(array.as_primitive::<IntervalMonthDayNanoType>().unary::<_, Float64Type>(fraction))
    })
}

/// Seconds since 1970 of nanoseconds: the whole ones and the fraction are exact, their number together is not.
fn seconds_of(instant: &ColumnarValue) -> Result<ColumnarValue> {
    mapped(instant, |array| {
        let seconds = |nanos: i64| {
            let fraction = nanos.rem_euclid(NANOS_PER_SECOND) as f64 / NANOS_PER_SECOND as f64;
            nanos.div_euclid(NANOS_PER_SECOND) as f64 + fraction
        };
        Arc::new(array.as_primitive::<TimestampNanosecondType>().unary::<_, Float64Type>(seconds))
    })
}

fn mapped(value: &ColumnarValue, map: impl Fn(&ArrayRef) -> ArrayRef) -> Result<ColumnarValue> {
    Ok(match value {
        ColumnarValue::Array(array) => ColumnarValue::Array(map(array)),
        ColumnarValue::Scalar(scalar) => {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&map(&scalar.to_array()?), 0)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_with_a_fraction_are_known_in_every_spelling() {
        for (part, expected) in [
            ("second", Some(Fraction::OfMinute { nanos: 1e9 })),
            ("SECONDS", Some(Fraction::OfMinute { nanos: 1e9 })),
            ("'second'", Some(Fraction::OfMinute { nanos: 1e9 })),
            ("msec", Some(Fraction::OfMinute { nanos: 1e6 })),
            ("Epoch", Some(Fraction::Epoch)),
            ("microsecond", None),
            ("minute", None),
            ("dow", None),
            ("", None),
        ] {
            assert_eq!(Fraction::of(&ScalarValue::from(part)), expected, "{part}");
        }
    }

    #[test]
    fn an_epoch_keeps_its_fraction() {
        let seconds = |nanos| match seconds_of(&ColumnarValue::Scalar(ScalarValue::TimestampNanosecond(
            Some(nanos),
            None,
        ))) {
            Ok(ColumnarValue::Scalar(ScalarValue::Float64(Some(seconds)))) => seconds,
            other => panic!("{other:?}"),
        };
        assert_eq!(seconds(1_704_103_213_250_000_000), 1_704_103_213.25);
        assert_eq!(seconds(-500_000_000), -0.5);
    }
}
