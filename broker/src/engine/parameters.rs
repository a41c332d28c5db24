//! `$1`, `$2`, … from JSON scalars.
//!
//! A number becomes BIGINT, else DOUBLE; a string takes the type that the statement expects at its place (a timestamp, a
//! date, a decimal), so that it fails here, with its number, and not somewhere in the plan.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use serde_json::Value;

use super::errors::error_of;
use crate::{QueryError, QueryErrorKind};

/// Puts the request's values into the plan. `wanted` is the largest `$n` of the statement.
pub(super) fn bind(plan: LogicalPlan, wanted: usize, given: &[Value]) -> Result<LogicalPlan, QueryError> {
    if wanted != given.len() {
        return Err(bad(format!(
            "the statement has {wanted} parameter(s), the request gives {}",
            given.len()
        )));
    }
    if given.is_empty() {
        return Ok(plan);
    }
    let expected = plan.get_parameter_types().map_err(|error| error_of(&error))?;
    let mut values = Vec::with_capacity(given.len());
    for (index, value) in given.iter().enumerate() {
        let name = format!("${}", index + 1);
        let expected = expected.get(&name).and_then(Option::as_ref);
        let scalar =
            scalar_of(value, expected).map_err(|reason| bad(format!("parameter {name}: {reason}")))?;
        values.push(ScalarAndMetadata::from(scalar));
    }
    plan.with_param_values(ParamValues::List(values)).map_err(|error| error_of(&error))
}

fn scalar_of(value: &Value, expected: Option<&DataType>) -> Result<ScalarValue, String> {
    match value {
        Value::Null => expected.map_or(Ok(ScalarValue::Null), ScalarValue::try_from).map_err(text_of),
        Value::Bool(value) => Ok(ScalarValue::Boolean(Some(*value))),
        Value::Number(number) => number_of(number),
        Value::String(text) => {
            let scalar = ScalarValue::Utf8View(Some(text.clone()));
            match expected {
                Some(data_type) if *data_type != DataType::Null => scalar.cast_to(data_type).map_err(text_of),
                _ => Ok(scalar),
            }
        }
        Value::Array(_) | Value::Object(_) => {
            Err("must be a JSON scalar; pass a list as several parameters, or as text".into())
        }
    }
}

fn number_of(number: &serde_json::Number) -> Result<ScalarValue, String> {
    let integer = number.as_i64().map(|value| ScalarValue::Int64(Some(value)));
    let integer = integer.or_else(|| number.as_u64().map(|value| ScalarValue::UInt64(Some(value))));
    let scalar = integer.or_else(|| number.as_f64().map(|value| ScalarValue::Float64(Some(value))));
    scalar.ok_or_else(|| format!("{number} is out of range"))
}

fn text_of(error: DataFusionError) -> String {
    error_of(&error).message
}

fn bad(message: String) -> QueryError {
    QueryError::new(QueryErrorKind::BadRequest, message)
}
