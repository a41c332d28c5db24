//! A chunk of one column as readers share it: how its values are held, and how they become an Arrow array.
//!
//! Rows are numbered within the chunk. Whatever stands under a NULL is meaningless.
//!
//! **Invariant:** readers ask a chunk only for rows that they know to be committed, because they learned of them
//! from `visible_rows`, which is stored after the commit.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayData, ArrayRef, BooleanArray, Int32Array, ListArray, make_array};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType};

use crate::kernel::bits::pack_bits;
use crate::kernel::grow_buffer::GrowReader;
use crate::kernel::view_store::{ViewReader, ViewSnapshot};
use crate::{Result, SegmentError};

/// A chunk of one column, as readers share it.
pub(super) struct ColumnChunk {
    nulls: NullFlags,
    values: ChunkValues,
}

/// How the values of a chunk are held.
pub(super) enum ChunkValues {
    /// One value for the whole segment: `$partition`.
    Constant(i32),
    /// BOOLEAN: a byte per row, 0 or 1.
    Bool(GrowReader<u8>),
    /// INT, DATE.
    I32(GrowReader<i32>),
    /// LONG, TIMESTAMP.
    I64(GrowReader<i64>),
    /// FLOAT.
    F32(GrowReader<f32>),
    /// DOUBLE.
    F64(GrowReader<f64>),
    /// DECIMAL.
    I128(GrowReader<i128>),
    /// Text or bytes as codes into the column's dictionary, which all such chunks of the column share.
    Codes {
        /// A code per row; 0 under NULL.
        codes: GrowReader<u32>,
        /// The dictionary's entries, by code.
        dictionary: ViewReader,
    },
    /// Text or bytes as they are: the column has too many distinct values for a dictionary.
    Views(ViewReader),
    /// ARRAY: row r has the elements `bounds[r]..bounds[r + 1]` of the chunk's.
    List {
        /// One more than there are rows.
        bounds: GrowReader<i32>,
        /// All elements of the chunk.
        elements: Box<ColumnChunk>,
    },
}

/// The dictionary of a column as one reader sees it; taken when first needed, kept for all chunks of a scan.
pub(super) type DictionarySnapshot = Option<ViewSnapshot>;

impl ColumnChunk {
    pub(super) fn new(values: ChunkValues, nulls: NullFlags) -> Self {
        Self { nulls, values }
    }

    /// How the values are held.
    #[cfg(test)]
    pub(super) fn values(&self) -> &ChunkValues {
        &self.values
    }

    /// Rows `range`, which must be committed, as an array of the column's type.
    pub(super) fn array(
        &self,
        range: Range<usize>,
        data_type: &DataType,
        dictionary: &mut DictionarySnapshot,
    ) -> Result<ArrayRef> {
        let nulls = self.nulls.read(range.clone());
        Ok(match &self.values {
            ChunkValues::Constant(value) => Arc::new(Int32Array::from_value(*value, range.len())),
            ChunkValues::Bool(values) => {
                let flags = values.prefix(range.end);
                Arc::new(BooleanArray::new(pack_bits(&flags[range], false), nulls))
            }
            ChunkValues::I32(values) => fixed_array(values, range, nulls, data_type)?,
            ChunkValues::I64(values) => fixed_array(values, range, nulls, data_type)?,
            ChunkValues::F32(values) => fixed_array(values, range, nulls, data_type)?,
            ChunkValues::F64(values) => fixed_array(values, range, nulls, data_type)?,
            ChunkValues::I128(values) => fixed_array(values, range, nulls, data_type)?,
            ChunkValues::Codes { codes, dictionary: entries } => {
                let codes = codes.prefix(range.end);
                dictionary.get_or_insert_with(|| entries.snapshot()).gather(&codes[range], nulls)
            }
            ChunkValues::Views(views) => views.snapshot().array(range, nulls),
            ChunkValues::List { bounds, elements } => {
                let bounds = bounds.prefix(range.end + 1);
                list_array(&bounds[range.start..], elements, nulls, data_type)?
            }
        })
    }

    /// Rows `range`, which must be committed, as codes, and the dictionary that they are of; `None` if the chunk has none.
    pub(super) fn codes(&self, range: Range<usize>) -> Option<(ScalarBuffer<u32>, &ViewReader)> {
        match &self.values {
            ChunkValues::Codes { codes, dictionary } => {
                Some((codes.prefix(range.end).slice(range.start, range.len()), dictionary))
            }
            _ => None,
        }
    }

    /// Whether any of the rows `range`, which must be committed, is NULL.
    pub(super) fn has_null(&self, range: Range<usize>) -> bool {
        self.nulls.shared.get().is_some_and(|flags| flags.prefix(range.end)[range].contains(&1))
    }

    /// The values of a LONG column that has no NULL (`$offset`), up to row `count`, which must be committed.
    pub(super) fn longs(&self, count: usize) -> Option<ScalarBuffer<i64>> {
        match &self.values {
            ChunkValues::I64(values) => Some(values.prefix(count)),
            _ => None,
        }
    }
}

fn fixed_array<T: ArrowNativeType>(
    values: &GrowReader<T>,
    range: Range<usize>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let buffer = values.prefix(range.end).slice(range.start, range.len()).into_inner();
    let data =
        ArrayData::builder(data_type.clone()).len(range.len()).add_buffer(buffer).nulls(nulls).build()?;
    Ok(make_array(data))
}

fn list_array(
    bounds: &[i32],
    elements: &ColumnChunk,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let DataType::List(field) = data_type else {
        return Err(SegmentError::Refused(format!("an ARRAY column was declared as {data_type}")));
    };
    let (first, last) = match bounds {
        [first, .., last] => (*first, *last),
        [only] => (*only, *only),
        [] => (0, 0),
    };
    // Elements have no dictionary.
    let values = elements.array(first as usize..last as usize, field.data_type(), &mut None)?;
    let offsets = OffsetBuffer::new(bounds.iter().map(|bound| bound - first).collect());
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, nulls)?))
}

/// Which rows of a chunk are NULL: a byte per row, 1 for NULL, that only exists once there is one.
#[derive(Clone, Default)]
pub(super) struct NullFlags {
    shared: Arc<OnceLock<GrowReader<u8>>>,
}

impl NullFlags {
    /// From here on readers look at the flags, which must be committed as far as the rows are.
    pub(super) fn begin(&self, flags: GrowReader<u8>) {
        // The one writer begins once, when it has no flags yet.
        let _ = self.shared.set(flags);
    }

    fn read(&self, range: Range<usize>) -> Option<NullBuffer> {
        let flags = self.shared.get()?.prefix(range.end);
        Some(NullBuffer::new(pack_bits(&flags[range], true))).filter(|nulls| nulls.null_count() > 0)
    }
}
