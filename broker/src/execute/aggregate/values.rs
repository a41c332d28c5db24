//! Values of the selected rows of one block, as the accumulators take them: physical integers or doubles, and which count.

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::internal_err;
use datafusion::error::Result;

/// One value per row, reused from block to block.
#[derive(Default)]
pub(super) struct Values<V> {
    /// The values; meaningless where NULL.
    pub(super) values: Vec<V>,
    /// 1 for each row that has a value, 0 for NULL; only set if `has_null`.
    pub(super) valid: Vec<u8>,
    /// Whether some row is NULL.
    pub(super) has_null: bool,
}

impl<V> Values<V> {
    /// The flags of the rows that have a value; `None` if all have.
    pub(super) fn valid(&self) -> Option<&[u8]> {
        self.has_null.then_some(&self.valid[..])
    }

    /// Makes NULL what is NULL in `other`.
    pub(super) fn join_nulls<W>(&mut self, other: &Values<W>) {
        match (self.has_null, other.has_null) {
            (_, false) => {}
            (false, true) => {
                self.valid.clone_from(&other.valid);
                self.has_null = true;
            }
            (true, true) => {
                self.valid.iter_mut().zip(&other.valid).for_each(|(valid, other)| *valid &= other)
            }
        }
    }

    /// Reads the rows at `rows` (all without) of an array.
    fn read<T: ArrowPrimitiveType>(
        &mut self,
        array: &PrimitiveArray<T>,
        rows: Option<&[u16]>,
        value: impl Fn(T::Native) -> V,
    ) {
        let natives = array.values();
        self.values.clear();
        match rows {
            None => self.values.extend(natives.iter().map(|native| value(*native))),
            Some(rows) => self.values.extend(rows.iter().map(|row| value(natives[usize::from(*row)]))),
        }
        self.has_null = read_valid(array, rows, &mut self.valid);
    }
}

/// Flags of the rows that are not NULL, if some row is; whether one is.
pub(super) fn read_valid(array: &dyn Array, rows: Option<&[u16]>, valid: &mut Vec<u8>) -> bool {
    let Some(nulls) = array.logical_nulls().filter(|nulls| nulls.null_count() > 0) else { return false };
    valid.clear();
    match rows {
        None => valid.extend(nulls.iter().map(u8::from)),
        Some(rows) => valid.extend(rows.iter().map(|row| u8::from(nulls.is_valid(usize::from(*row))))),
    }
    valid.contains(&0)
}

/// Whether values of the type are read as integers.
pub(super) fn is_integral(data_type: &DataType) -> bool {
    use DataType::{Date32, Int32, Int64, Timestamp};
    matches!(data_type, Int32 | Int64 | Date32 | Timestamp(TimeUnit::Microsecond, _))
}

/// Whether values of the type are read as doubles, without loss.
pub(super) fn is_floating(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

/// Reads an array of an [integral](is_integral) type.
pub(super) fn read_integers(array: &ArrayRef, rows: Option<&[u16]>, out: &mut Values<i64>) -> Result<()> {
    match array.data_type() {
        DataType::Int32 => out.read(array.as_primitive::<Int32Type>(), rows, i64::from),
        DataType::Date32 => out.read(array.as_primitive::<Date32Type>(), rows, i64::from),
        DataType::Int64 => out.read(array.as_primitive::<Int64Type>(), rows, |value| value),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            out.read(array.as_primitive::<TimestampMicrosecondType>(), rows, |value| value);
        }
        other => return internal_err!("{other} is not held as an integer"),
    }
    Ok(())
}

/// Reads an array of a [floating](is_floating) type.
pub(super) fn read_floats(array: &ArrayRef, rows: Option<&[u16]>, out: &mut Values<f64>) -> Result<()> {
    match array.data_type() {
        DataType::Float32 => out.read(array.as_primitive::<Float32Type>(), rows, f64::from),
        DataType::Float64 => out.read(array.as_primitive::<Float64Type>(), rows, |value| value),
        other => return internal_err!("{other} is not held as a double"),
    }
    Ok(())
}

/// An array of an [integral](is_integral) type.
pub(super) fn integer_array(
    values: Vec<i64>,
    valid: Option<Vec<bool>>,
    data_type: &DataType,
) -> Result<ArrayRef> {
    fn of<T: ArrowPrimitiveType>(
        values: Vec<i64>,
        valid: Option<Vec<bool>>,
        native: impl Fn(i64) -> T::Native,
        data_type: &DataType,
    ) -> ArrayRef {
        let values: Vec<T::Native> = values.into_iter().map(native).collect();
        let array = PrimitiveArray::<T>::new(values.into(), valid.map(Into::into));
        std::sync::Arc::new(array.with_data_type(data_type.clone()))
    }
    Ok(match data_type {
        DataType::Int32 => of::<Int32Type>(values, valid, |value| value as i32, data_type),
        DataType::Date32 => of::<Date32Type>(values, valid, |value| value as i32, data_type),
        DataType::Int64 => of::<Int64Type>(values, valid, |value| value, data_type),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            of::<TimestampMicrosecondType>(values, valid, |value| value, data_type)
        }
        other => return internal_err!("{other} is not held as an integer"),
    })
}
