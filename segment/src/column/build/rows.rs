//! Numbers of all rows in one piece, NULL filled in.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, BooleanArray, BooleanBufferBuilder, PrimitiveArray};
use arrow::buffer::BooleanBuffer;

use super::unexpected;
use crate::Result;

/// A number per row.
pub(super) struct Rows<K> {
    /// Under NULL the value of some other row, so that bounds, divisors and distinct values are not disturbed.
    pub(super) values: Vec<K>,
    /// Which rows are NULL; `None` if none is.
    pub(super) nulls: Option<BooleanBuffer>,
}

impl<K: Copy> Rows<K> {
    /// The values of primitive arrays, of which at least one is not NULL unless there is none.
    pub(super) fn read<T: ArrowPrimitiveType>(
        arrays: &[ArrayRef],
        key_of: impl Fn(T::Native) -> K,
    ) -> Result<Self> {
        let mut values = Vec::with_capacity(arrays.iter().map(|array| array.len()).sum());
        for array in arrays {
            let typed = array.as_any().downcast_ref::<PrimitiveArray<T>>();
            let typed = typed.ok_or_else(|| unexpected(array, &T::DATA_TYPE.to_string()))?;
            values.extend(typed.values().iter().map(|value| key_of(*value)));
        }
        Ok(Self::filled(values, nulls_of(arrays)))
    }

    fn filled(mut values: Vec<K>, nulls: Option<BooleanBuffer>) -> Self {
        if let Some(nulls) = &nulls {
            let filler = (!nulls).set_indices().next().and_then(|row| values.get(row).copied());
            if let Some(filler) = filler {
                nulls.set_indices().for_each(|row| values[row] = filler);
            }
        }
        Self { values, nulls }
    }
}

impl Rows<i64> {
    /// Booleans as 0 and 1.
    pub(super) fn booleans(arrays: &[ArrayRef]) -> Result<Self> {
        let mut values = Vec::with_capacity(arrays.iter().map(|array| array.len()).sum());
        for array in arrays {
            let typed = array.as_any().downcast_ref::<BooleanArray>();
            let typed = typed.ok_or_else(|| unexpected(array, "Boolean"))?;
            values.extend(typed.values().iter().map(i64::from));
        }
        Ok(Self::filled(values, nulls_of(arrays)))
    }
}

impl Rows<i128> {
    /// The same in 64 bits, if all fit.
    pub(super) fn narrowed(&self) -> Option<Rows<i64>> {
        let values = self.values.iter().map(|value| i64::try_from(*value).ok()).collect::<Option<_>>()?;
        Some(Rows { values, nulls: self.nulls.clone() })
    }
}

/// Which rows of all arrays are NULL.
pub(super) fn nulls_of(arrays: &[ArrayRef]) -> Option<BooleanBuffer> {
    if arrays.iter().all(|array| array.null_count() == 0) {
        return None;
    }
    let mut nulls = BooleanBufferBuilder::new(arrays.iter().map(|array| array.len()).sum());
    for array in arrays {
        match array.nulls() {
            Some(valid) => nulls.append_buffer(&!valid.inner()),
            None => nulls.append_n(array.len(), false),
        }
    }
    Some(nulls.finish())
}
