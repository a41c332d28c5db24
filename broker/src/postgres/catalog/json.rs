//! `json_build_object(name, value, …)`, which SQLAlchemy's reflection calls.

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use serde_json::{Map, Value};

/// See the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct JsonBuildObject {
    signature: Signature,
}

impl JsonBuildObject {
    pub(super) fn new() -> Self {
        let any = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
        Self { signature: Signature::one_of(any, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for JsonBuildObject {
    fn name(&self) -> &'static str {
        "json_build_object"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = args.args.iter().map(|value| value.to_array(args.number_rows));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        if columns.len() % 2 != 0 {
            return exec_err!("argument list must have even number of elements");
        }
        let objects = (0..args.number_rows).map(|row| {
            let mut object = Map::new();
            for pair in columns.chunks_exact(2) {
                let Some(name) = text(&pair[0], row)? else {
                    return exec_err!("null value not allowed for object key");
                };
                object.insert(name, value(&pair[1], row)?);
            }
            Ok(Value::Object(object).to_string())
        });
        let objects: StringArray = objects.map(|object| object.map(Some)).collect::<Result<_>>()?;
        Ok(ColumnarValue::Array(std::sync::Arc::new(objects)))
    }
}

fn text(column: &ArrayRef, row: usize) -> Result<Option<String>> {
    // An array of nothing but NULLs has no bits that say so.
    if column.is_null(row) || *column.data_type() == DataType::Null {
        return Ok(None);
    }
    let options = FormatOptions::default();
    Ok(Some(ArrayFormatter::try_new(column, &options)?.value(row).try_to_string()?))
}

fn value(column: &ArrayRef, row: usize) -> Result<Value> {
    Ok(match column.data_type() {
        _ if column.is_null(row) => Value::Null,
        DataType::Boolean => column.as_boolean().value(row).into(),
        kind if kind.is_integer() => {
            let number = cast(&column.slice(row, 1), &DataType::Int64)?;
            number.as_primitive::<Int64Type>().value(0).into()
        }
        _ => text(column, row)?.map_or(Value::Null, Value::String),
    })
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::ScalarUDF;
    use datafusion::prelude::SessionContext;

    use super::*;

    #[tokio::test]
    async fn objects_of_pairs() {
        let context = SessionContext::new();
        context.register_udf(ScalarUDF::new_from_impl(JsonBuildObject::new()));
        let sql = "SELECT json_build_object('a', x, 'b', x > 1, 'c', NULL, 'd', 'y') FROM (VALUES (1), (2)) AS t(x) ORDER BY x";
        let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
        let found: Vec<String> =
            (0..2).map(|row| text(batches[0].column(0), row).unwrap().unwrap()).collect();
        assert_eq!(found, [r#"{"a":1,"b":false,"c":null,"d":"y"}"#, r#"{"a":2,"b":true,"c":null,"d":"y"}"#]);
        assert!(context.sql("SELECT json_build_object('a')").await.unwrap().collect().await.is_err());
    }
}
