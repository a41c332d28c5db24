//! Arrow columns from what generators hold.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, DictionaryArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;

/// The values of a dictionary.
pub fn text_array<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(values.into_iter().map(Some).collect::<StringArray>())
}

/// A text column: codes into a dictionary.
///
/// # Errors
/// If a code is beyond the dictionary.
pub fn coded(codes: impl IntoIterator<Item = u32>, values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let keys = Int32Array::from_iter_values(codes.into_iter().map(|code| code as i32));
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::clone(values))?))
}

/// A column of 32-bit integers.
pub fn integers(values: impl IntoIterator<Item = i32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(values))
}

/// A column of 64-bit integers.
pub fn longs(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// A column of days since 1970-01-01.
pub fn dates(days: impl IntoIterator<Item = i32>) -> ArrayRef {
    Arc::new(Date32Array::from_iter_values(days))
}

/// A column of instants, in seconds since 1970-01-01.
pub fn timestamps(seconds: impl IntoIterator<Item = i64>) -> ArrayRef {
    let micros = seconds.into_iter().map(|seconds| seconds * 1_000_000);
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
}
