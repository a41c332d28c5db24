//! Columns for which codes do not pay, as Arrow arrays that hold nothing but their rows' values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array, new_empty_array, new_null_array};
use arrow::compute::{concat, take};
use arrow::datatypes::DataType;

use super::text::for_each_value;
use super::{plain_whole, unexpected};
use crate::Result;
use crate::column::{BLOCK_ROWS, Column, PlainColumn, PlainStore};

/// Values of fixed width in one piece.
pub(super) fn whole(data_type: DataType, arrays: &[ArrayRef]) -> Result<Column> {
    let arrays: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
    Ok(plain_whole(data_type, concat(&arrays)?))
}

/// Text or bytes in one piece, copied: what came may be slices of much more.
pub(super) fn text(data_type: DataType, arrays: &[ArrayRef]) -> Result<Column> {
    let mut builder = super::text::view_builder();
    for array in arrays {
        for_each_value(array, &mut |value| match value {
            Some(value) => builder.try_append_value(value),
            None => {
                builder.append_null();
                Ok(())
            }
        })?;
    }
    let values = super::text::view_array(&data_type, builder.finish())?;
    Ok(plain_whole(data_type, values))
}

/// Lists, a piece per block: the elements of a whole segment may be more than one array holds.
pub(super) fn lists(data_type: DataType, arrays: &[ArrayRef]) -> Result<Column> {
    if let Some(other) = arrays.iter().find(|array| *array.data_type() != data_type) {
        return Err(unexpected(other, &data_type.to_string()));
    }
    let mut pieces = Vec::new();
    let mut open: Vec<ArrayRef> = Vec::new();
    let mut open_rows = 0;
    for array in arrays {
        let mut start = 0;
        while start < array.len() {
            let count = (BLOCK_ROWS - open_rows).min(array.len() - start);
            open.push(array.slice(start, count));
            (start, open_rows) = (start + count, open_rows + count);
            if open_rows == BLOCK_ROWS {
                pieces.push(list_piece(&open)?);
                (open, open_rows) = (Vec::new(), 0);
            }
        }
    }
    if open_rows > 0 {
        pieces.push(list_piece(&open)?);
    }
    Ok(Column::Plain(PlainColumn { data_type, values: PlainStore::Chunked(pieces.into()) }))
}

/// One array of slices of lists, which holds none of the elements around them.
fn list_piece(slices: &[ArrayRef]) -> Result<ArrayRef> {
    let mut compact = Vec::with_capacity(slices.len());
    for slice in slices {
        // Taking copies the elements, slicing would not.
        compact.push(take(slice, &UInt32Array::from_iter_values(0..slice.len() as u32), None)?);
    }
    let compact: Vec<&dyn Array> = compact.iter().map(|array| array.as_ref()).collect();
    let piece = concat(&compact)?;
    let (field, offsets, elements, nulls) = piece.as_list::<i32>().clone().into_parts();
    let elements: ArrayRef = match elements.data_type() {
        DataType::Utf8View => Arc::new(elements.as_string_view().gc()),
        DataType::BinaryView => Arc::new(elements.as_binary_view().gc()),
        _ => elements,
    };
    Ok(Arc::new(ListArray::try_new(field, offsets, elements, nulls)?))
}

/// `rows` NULL lists, their blocks one and the same array.
pub(super) fn null_lists(data_type: DataType, rows: usize) -> Column {
    let block = match rows {
        0 => new_empty_array(&data_type),
        _ => new_null_array(&data_type, BLOCK_ROWS.min(rows)),
    };
    let starts = (0..rows).step_by(BLOCK_ROWS);
    let pieces: Vec<ArrayRef> = starts.map(|start| block.slice(0, BLOCK_ROWS.min(rows - start))).collect();
    Column::Plain(PlainColumn { data_type, values: PlainStore::Chunked(pieces.into()) })
}
