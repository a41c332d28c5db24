//! The types in which answers leave: those that every client knows.
//!
//! Views become plain text and bytes, which also leaves behind what else their buffers hold; dictionaries become their values.
//! Each column names its SQL type, as `POST /sql` does.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::render::types::sql_type;

/// Where clients look for the SQL type of a column.
const TYPE_NAME: &str = "ARROW:FLIGHT:SQL:TYPE_NAME";

/// The schema in which rows of `schema` leave. All may be NULL: what an optimizer finds out about a statement must not make two
/// schemas of it, as clients compare the one that was announced with the one that comes.
pub(super) fn answer_schema(schema: &Schema) -> SchemaRef {
    let fields = plain_schema(schema);
    let fields = fields.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// `schema` with the types in which rows leave.
pub(super) fn plain_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let mut metadata = field.metadata().clone();
        metadata.insert(TYPE_NAME.into(), sql_type(field));
        plain_field(field).with_metadata(metadata)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn plain_field(field: &Field) -> Field {
    field.clone().with_data_type(plain_type(field.data_type()))
}

fn plain_type(data_type: &DataType) -> DataType {
    let plain = |element: &FieldRef| Arc::new(plain_field(element).with_nullable(true));
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type()),
        DataType::List(element) | DataType::ListView(element) => DataType::List(plain(element)),
        DataType::LargeList(element) | DataType::LargeListView(element) => {
            DataType::LargeList(plain(element))
        }
        DataType::FixedSizeList(element, size) => DataType::FixedSizeList(plain(element), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain).collect()),
        other => other.clone(),
    }
}

/// `batch` as rows of `schema`, which is the [`answer_schema`] of its own.
pub(super) fn plain_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| match column.data_type() == field.data_type() {
        true => Ok(Arc::clone(column)),
        false => cast(column, field.data_type()),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_, _>>()?, &options)
}

/// The schema of a statement's parameters; what takes any type is announced as text.
pub(super) fn parameter_schema(parameters: &[FieldRef]) -> Schema {
    let fields =
        parameters.iter().map(|wanted| Field::new(wanted.name(), plain_type(wanted.data_type()), true));
    Schema::new(fields.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, DictionaryArray, Int64Array, ListArray, StringViewArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn what_may_be_null_does_not_depend_on_an_optimizer() {
        let schema = |nullable| {
            let numbers = DataType::List(Arc::new(Field::new("element", DataType::Int64, nullable)));
            Schema::new(vec![
                Field::new("a", DataType::Utf8View, nullable),
                Field::new("b", numbers, nullable),
            ])
        };
        assert_eq!(answer_schema(&schema(true)), answer_schema(&schema(false)));
    }

    #[test]
    fn views_and_dictionaries_become_plain() {
        let text: ArrayRef =
            Arc::new(StringViewArray::from(vec![Some("a text of more than 12 bytes"), None]));
        let codes: DictionaryArray<Int32Type> = vec![Some("x"), None].into_iter().collect();
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let list =
            ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>([Some([Some(1)]), None]);
        let columns: Vec<(&str, ArrayRef)> =
            vec![("text", text), ("codes", Arc::new(codes)), ("numbers", numbers), ("list", Arc::new(list))];
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
        let schema = answer_schema(&batch.schema());
        let types: Vec<&str> =
            schema.fields().iter().map(|field| field.metadata()[TYPE_NAME].as_str()).collect();
        assert_eq!(types, ["STRING", "STRING", "LONG", "ARRAY<LONG>"]);
        let plain = plain_batch(&batch, &schema).unwrap();
        assert_eq!(plain.column(0).data_type(), &DataType::Utf8);
        assert_eq!(plain.column(1).data_type(), &DataType::Utf8);
        assert_eq!(plain.column(1).null_count(), 1);
        let none = RecordBatch::try_new_with_options(
            Arc::new(Schema::empty()),
            vec![],
            &RecordBatchOptions::new().with_row_count(Some(3)),
        );
        let none = plain_batch(&none.unwrap(), &Arc::new(Schema::empty())).unwrap();
        assert_eq!(none.num_rows(), 3);
    }
}
