//! `to_json`, `json_build_object` and what `json_agg` is made of. Numbers stay numbers, and what is JSON already stays as it is.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{ScalarValue, exec_err, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use headwater_segment::schema::ColumnType;

use super::{Columns, declared_as};
use crate::render::types::declared;
use crate::render::value::{Dialect, encode_value, encoder_of};

/// `to_json(x)`
pub(super) fn to_json() -> ScalarUDF {
    ScalarUDF::from(Json {
        name: "to_json",
        signature: Signature::any(1, Volatility::Immutable),
        write: value_of,
    })
}

/// `json_build_object(name, value, …)`
pub(super) fn json_build_object() -> ScalarUDF {
    let any = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
    let signature = Signature::one_of(any, Volatility::Immutable);
    ScalarUDF::from(Json { name: "json_build_object", signature, write: object_of })
}

/// `json_array_of(texts)`: an array of texts each of which is JSON.
pub(super) fn json_array_of() -> Columns {
    let texts = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true)));
    let answer = declared_as("json_array_of", &ColumnType::Json);
    Columns::new("json_array_of", vec![texts], answer, |arguments| {
        let [lists] = arguments else { return exec_err!("json_array_of wants an array") };
        let array = |texts: Option<ArrayRef>| {
            let texts = texts?;
            let texts = texts.as_string_view().iter().map(|text| text.unwrap_or("null"));
            Some(format!("[{}]", texts.collect::<Vec<_>>().join(",")))
        };
        Ok(Arc::new(lists.as_list::<i32>().iter().map(array).collect::<StringViewArray>()))
    })
}

/// One argument, with its type, row by row.
type Column = (FieldRef, ArrayRef);

#[derive(Debug)]
struct Json {
    name: &'static str,
    signature: Signature,
    write: fn(&[Column], usize) -> Result<StringViewArray>,
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Json {}

impl Hash for Json {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Json {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        internal_err!("the type of {} is a field", self.name)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(declared_as(self.name, &ColumnType::Json))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let columns = args.arg_fields.iter().zip(args.args);
        let columns = columns.map(|(field, value)| Ok((Arc::clone(field), value.into_array(rows)?)));
        let written = (self.write)(&columns.collect::<Result<Vec<Column>>>()?, rows)?;
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&written, 0)?),
            false => ColumnarValue::Array(Arc::new(written)),
        })
    }
}

/// The texts of a column's values; NULL stays NULL.
fn texts_of((field, array): &Column) -> Result<Vec<Option<String>>> {
    if *array.data_type() == DataType::Null {
        return Ok(vec![None; array.len()]);
    }
    if declared(field) == Some(ColumnType::Json) {
        return Ok(array.as_string_view().iter().map(|text| text.map(str::to_owned)).collect());
    }
    let mut encoder = encoder_of(field, array.as_ref(), Dialect::Headwater)?;
    let mut written = Vec::new();
    let mut text = |row: usize| {
        written.clear();
        encode_value(&mut encoder, row, &mut written);
        String::from_utf8_lossy(&written).into_owned()
    };
    Ok((0..array.len()).map(|row| array.is_valid(row).then(|| text(row))).collect())
}

fn value_of(columns: &[Column], _: usize) -> Result<StringViewArray> {
    let [column] = columns else { return exec_err!("to_json wants one argument") };
    Ok(texts_of(column)?.into_iter().collect())
}

fn object_of(columns: &[Column], rows: usize) -> Result<StringViewArray> {
    if !columns.len().is_multiple_of(2) {
        return exec_err!("argument list must have even number of elements");
    }
    let texts = columns.iter().map(texts_of).collect::<Result<Vec<_>>>()?;
    let objects = (0..rows).map(|row| {
        let mut members = Vec::new();
        for pair in texts.chunks_exact(2) {
            let Some(name) = &pair[0][row] else { return exec_err!("null value not allowed for object key") };
            // A text stands in quotes already.
            if name.trim_start().starts_with(['{', '[']) {
                return exec_err!("key value must be scalar, not array, composite, or json");
            }
            // Whatever is a name is a text: `1` is `"1"`.
            let name = name.trim();
            let quote = if name.starts_with('"') { "" } else { "\"" };
            let value = pair[1][row].as_deref().unwrap_or("null");
            members.push(format!("{quote}{name}{quote}:{value}"));
        }
        Ok(Some(format!("{{{}}}", members.join(","))))
    });
    objects.collect()
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn answer(sql: &str) -> Result<Vec<String>> {
        let context = SessionContext::new();
        for function in [to_json(), json_build_object(), ScalarUDF::from(json_array_of())] {
            context.register_udf(function);
        }
        let batches = context.sql(sql).await?.collect().await?;
        let texts = batches.iter().flat_map(|batch| batch.column(0).as_string_view().iter());
        Ok(texts.map(|text| text.unwrap_or("NULL").to_owned()).collect())
    }

    #[tokio::test]
    async fn values_become_json() {
        let pairs = "SELECT json_build_object('a', x, 'b', x > 1, 'c', NULL, 'd', 'y\"', 5, 2.5) \
                     FROM (VALUES (1), (2)) AS t(x) ORDER BY x";
        let expected = |n: i32, b: bool| format!(r#"{{"a":{n},"b":{b},"c":null,"d":"y\"","5":2.5}}"#);
        assert_eq!(answer(pairs).await.unwrap(), [expected(1, false), expected(2, true)]);
        assert_eq!(answer("SELECT json_build_object()").await.unwrap(), ["{}"]);
        assert!(answer("SELECT json_build_object('a')").await.is_err());
        assert!(answer("SELECT json_build_object(NULL, 1)").await.is_err());
        assert!(answer("SELECT json_build_object(make_array(1), 1)").await.is_err());
        assert_eq!(answer("SELECT to_json(make_array(1, NULL))").await.unwrap(), ["[1,null]"]);
        assert_eq!(answer("SELECT to_json(json_build_object('a', 1))").await.unwrap(), [r#"{"a":1}"#]);
        assert_eq!(answer("SELECT to_json(NULL)").await.unwrap(), ["NULL"]);
        let all =
            "SELECT json_array_of(array_agg(to_json(x) ORDER BY x)) FROM (VALUES ('a'), (NULL)) AS t(x)";
        assert_eq!(answer(all).await.unwrap(), [r#"["a",null]"#]);
    }
}
