//! Batches as rows of JSON, outside of anything that is timed.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, UInt64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::Value;

use crate::Result;

/// Rows of JSON scalars; times as `YYYY-MM-DD` and `YYYY-MM-DD HH:MM:SS`.
pub(super) fn of(batches: &[RecordBatch]) -> Result<Vec<Vec<Value>>> {
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter().map(column).collect::<Result<Vec<_>>>()?;
        rows.extend(
            (0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()),
        );
    }
    Ok(rows)
}

fn column(array: &ArrayRef) -> Result<Vec<Value>> {
    let rows = 0..array.len();
    let value = |row: usize, value: Value| if array.is_null(row) { Value::Null } else { value };
    Ok(match array.data_type() {
        DataType::Boolean => {
            let array = array.as_boolean();
            rows.map(|row| value(row, array.value(row).into())).collect()
        }
        DataType::UInt64 => {
            let numbers = array.as_primitive::<UInt64Type>();
            rows.map(|row| value(row, numbers.value(row).into())).collect()
        }
        other if other.is_integer() => {
            let numbers = cast(array, &DataType::Int64)?;
            let numbers = numbers.as_primitive::<Int64Type>();
            rows.map(|row| value(row, numbers.value(row).into())).collect()
        }
        other if other.is_floating() || matches!(other, DataType::Decimal128(..)) => {
            let numbers = cast(array, &DataType::Float64)?;
            let numbers = numbers.as_primitive::<Float64Type>();
            rows.map(|row| value(row, numbers.value(row).into())).collect()
        }
        DataType::Timestamp(..) => {
            let plain = cast(array, &DataType::Timestamp(TimeUnit::Second, None))?;
            let options = FormatOptions::default().with_timestamp_format(Some("%Y-%m-%d %H:%M:%S"));
            texts(&plain, &options)?
        }
        _ => texts(array, &FormatOptions::default())?,
    })
}

fn texts(array: &ArrayRef, options: &FormatOptions<'_>) -> Result<Vec<Value>> {
    let formatter = ArrayFormatter::try_new(array, options)?;
    let text = |row| match array.is_null(row) {
        true => Value::Null,
        false => formatter.value(row).to_string().into(),
    };
    Ok((0..array.len()).map(text).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, Float64Array, Int32Array, StringViewArray, TimestampMicrosecondArray};
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_value_is_what_the_peers_say() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("a", Arc::new(Int32Array::from(vec![Some(-1), None]))),
            ("b", Arc::new(StringViewArray::from(vec![Some("x"), Some("")]))),
            ("c", Arc::new(Date32Array::from(vec![8035, 0]))),
            ("d", Arc::new(TimestampMicrosecondArray::from(vec![0, 61_000_000]).with_timezone("UTC"))),
            ("e", Arc::new(Float64Array::from(vec![0.5, 2.0]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let expected = json!([
            [-1, "x", "1992-01-01", "1970-01-01 00:00:00", 0.5],
            [null, "", "1970-01-01", "1970-01-01 00:01:01", 2.0]
        ]);
        assert_eq!(serde_json::to_value(of(&[batch]).unwrap()).unwrap(), expected);
    }
}
