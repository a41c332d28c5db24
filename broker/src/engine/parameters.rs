//! `$1`, `$2`, … from JSON scalars.
//!
//! A number becomes BIGINT, else DOUBLE, and beside what it is compared with means what it would if it were written there: of a
//! DECIMAL its digits, of an instant its milliseconds. A string takes the type that the statement expects at its [place](Places) (a timestamp,
//! a date, a decimal), so that it fails here, with its number, and not somewhere in the plan. What comes with a type keeps it.
//! A text without a type is one of PostgreSQL's clients, and means what it means there; so does the text of a list.

mod places;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ParamValues, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};
use serde_json::Value;

use super::errors::error_of;
use crate::functions::compared;
use crate::postgres::read_untyped;
use crate::render::types::list_element;
use crate::request::{Argument, Meaning, QueryRequest};
use crate::{QueryError, QueryErrorKind};

pub(super) use self::places::Places;

/// Puts the request's values into the plan. `wanted` is the largest `$n` of the statement.
pub(super) fn bind(
    plan: LogicalPlan,
    wanted: usize,
    request: &QueryRequest,
) -> Result<LogicalPlan, QueryError> {
    let given = request.parameters.len().max(request.arguments.len());
    if wanted != given {
        return Err(bad(format!("the statement has {wanted} parameter(s), the request gives {given}")));
    }
    if given == 0 {
        return Ok(plan);
    }
    let places = Places::of(&plan).map_err(|error| error_of(&error))?;
    let mut values: Vec<ScalarAndMetadata> = Vec::with_capacity(given);
    for index in 0..given {
        let expected = places.wanted(index + 1).map(|field| field.data_type());
        let scalar = match request.arguments.get(index) {
            Some(argument) => typed(argument, expected),
            None => scalar_of(request.parameters.get(index).unwrap_or(&Value::Null), expected),
        };
        let scalar = scalar.map_err(|reason| bad(format!("parameter ${}: {reason}", index + 1)))?;
        values.push(ScalarAndMetadata::from(scalar));
    }
    let values = ParamValues::List(values);
    let plan = match request.planner {
        None => with_values(plan, &values, request.client.meaning()),
        Some(_) => Ok(plan),
    };
    plan.and_then(|plan| plan.with_param_values(values)).map_err(|error| error_of(&error))
}

/// The values in their places, and what is compared with them read as it would be if they were written there. The analyzer reads
/// all comparisons, but comes too late for those of a SELECT list: their types are asked for as soon as a value has one.
fn with_values(plan: LogicalPlan, values: &ParamValues, meaning: Meaning) -> Result<LogicalPlan> {
    let put = |part: Expr, schema: &DFSchema| match part {
        Expr::Placeholder(Placeholder { id, .. }) => {
            let (value, metadata) = values.get_placeholders_with_values(&id)?.into_inner();
            Ok(Transformed::yes(Expr::Literal(value, metadata)))
        }
        other => Ok(match compared(&other, schema, meaning)? {
            Some(said) => Transformed::yes(said),
            None => Transformed::no(other),
        }),
    };
    let plan = plan.transform_up_with_subqueries(|plan| {
        let schema = merge_schema(&plan.inputs());
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let is_parameter = |part: &Expr| Ok(matches!(part, Expr::Placeholder(_)));
            if !expr.exists(is_parameter)? {
                return Ok(Transformed::no(expr));
            }
            let name = names.save(&expr);
            Ok(expr.transform_up(|part| put(part, &schema))?.update_data(|expr| name.restore(expr)))
        })
    })?;
    Ok(plan.data)
}

fn typed(argument: &Argument, expected: Option<&DataType>) -> Result<ScalarValue, String> {
    let value = &argument.value;
    match expected.filter(|_| argument.is_untyped) {
        None => Ok(value.clone()),
        Some(data_type) => match value.try_as_str().flatten() {
            Some(text) => read_untyped(text, data_type),
            None => value.cast_to(data_type).map_err(text_of),
        },
    }
}

fn scalar_of(value: &Value, expected: Option<&DataType>) -> Result<ScalarValue, String> {
    match value {
        Value::Null => expected.map_or(Ok(ScalarValue::Null), ScalarValue::try_from).map_err(text_of),
        Value::Bool(value) => Ok(ScalarValue::Boolean(Some(*value))),
        Value::Number(number) => number_of(number),
        Value::String(text) => {
            let scalar = ScalarValue::Utf8View(Some(text.clone()));
            match expected {
                // Read as one that is written there: a cast would take the letters of its hex.
                Some(DataType::Binary | DataType::BinaryView | DataType::LargeBinary) => Ok(scalar),
                // A cast would make a list of one text of it.
                Some(data_type) if list_element(data_type).is_some() => read_untyped(text, data_type),
                Some(data_type) => scalar.cast_to(data_type).map_err(text_of),
                None => Ok(scalar),
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

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Field;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_read_from_its_text_and_from_nothing_else() {
        let list = DataType::List(Field::new_list_field(DataType::Int64, true).into());
        let text =
            |text: &str| Argument { value: ScalarValue::Utf8View(Some(text.into())), is_untyped: true };
        let items = [1, 2].map(|item| ScalarValue::Int64(Some(item)));
        let expected = ScalarValue::List(ScalarValue::new_list_nullable(&items, &DataType::Int64));
        assert_eq!(typed(&text("{1,2}"), Some(&list)).unwrap(), expected);
        assert_eq!(scalar_of(&json!("{1,2}"), Some(&list)).unwrap(), expected);
        for other in ["1", "{1,x}", "[1,2]"] {
            assert!(
                typed(&text(other), Some(&list)).is_err() && scalar_of(&json!(other), Some(&list)).is_err()
            );
        }
        // What comes with a type keeps it, and so does a text of which nothing is wanted.
        let given = Argument { is_untyped: false, ..text("{1,2}") };
        assert_eq!(typed(&given, Some(&list)).unwrap(), given.value);
        assert_eq!(typed(&text("{1,2}"), None).unwrap(), given.value);
    }
}
