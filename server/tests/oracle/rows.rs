//! Reference rows as Arrow batches, and answers as text that can be compared.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Float32Type, Float64Type, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::reference::Datum;

/// The rows as one batch.
pub(crate) fn batch(schema: &SchemaRef, rows: &[Vec<Datum>]) -> RecordBatch {
    let columns = schema.fields().iter().enumerate().map(|(index, field)| {
        let values: Vec<&Datum> = rows.iter().map(|row| &row[index]).collect();
        array(field.data_type(), &values)
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect()).unwrap()
}

macro_rules! values {
    ($values:expr, $variant:ident) => {
        $values.iter().map(|value| match value {
            Datum::Null => None,
            Datum::$variant(value) => Some(value.clone()),
            other => panic!("{other:?} is not a {}", stringify!($variant)),
        })
    };
}

fn array(data_type: &DataType, values: &[&Datum]) -> ArrayRef {
    match data_type {
        DataType::Boolean => Arc::new(values!(values, Bool).collect::<BooleanArray>()),
        DataType::Int32 => Arc::new(values!(values, I32).collect::<Int32Array>()),
        DataType::Date32 => Arc::new(values!(values, I32).collect::<Date32Array>()),
        DataType::Int64 => Arc::new(values!(values, I64).collect::<Int64Array>()),
        DataType::Float32 => Arc::new(values!(values, F32).collect::<Float32Array>()),
        DataType::Float64 => Arc::new(values!(values, F64).collect::<Float64Array>()),
        DataType::Decimal128(precision, scale) => Arc::new(
            values!(values, I128)
                .collect::<Decimal128Array>()
                .with_precision_and_scale(*precision, *scale)
                .unwrap(),
        ),
        DataType::Timestamp(_, _) => {
            Arc::new(values!(values, I64).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        }
        DataType::Utf8View => Arc::new(values!(values, Str).collect::<StringViewArray>()),
        DataType::BinaryView => Arc::new(values!(values, Bytes).collect::<BinaryViewArray>()),
        DataType::List(field) => {
            let lists: Vec<Option<Vec<Datum>>> = values!(values, List).collect();
            let elements: Vec<&Datum> = lists.iter().flatten().flatten().collect();
            Arc::new(ListArray::new(
                Arc::clone(field),
                OffsetBuffer::from_lengths(lists.iter().map(|list| list.as_ref().map_or(0, Vec::len))),
                array(field.data_type(), &elements),
                Some(NullBuffer::from_iter(lists.iter().map(Option::is_some))),
            ))
        }
        other => panic!("no column has the type {other}"),
    }
}

/// The rows of an answer as text: floats by their bits (every NaN alike), everything else as it is displayed.
pub(crate) fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = batch.columns().iter().map(|column| cell(column, row)).collect();
            lines.push(cells.join(" | "));
        }
    }
    lines
}

fn cell(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "NULL".into();
    }
    match column.data_type() {
        DataType::Float32 => match column.as_primitive::<Float32Type>().value(row) {
            value if value.is_nan() => "NaN".into(),
            value => format!("{value:?} ({:08x})", value.to_bits()),
        },
        DataType::Float64 => match column.as_primitive::<Float64Type>().value(row) {
            value if value.is_nan() => "NaN".into(),
            value => format!("{value:?} ({:016x})", value.to_bits()),
        },
        DataType::List(_) => {
            let elements = column.as_list::<i32>().value(row);
            let cells: Vec<String> = (0..elements.len()).map(|element| cell(&elements, element)).collect();
            format!("[{}]", cells.join(", "))
        }
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => {
            let text =
                ArrayFormatter::try_new(column, &FormatOptions::default()).unwrap().value(row).to_string();
            format!("{text:?}")
        }
        _ => ArrayFormatter::try_new(column, &FormatOptions::default()).unwrap().value(row).to_string(),
    }
}
