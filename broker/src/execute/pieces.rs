//! An expression over many values, evaluated piece by piece, so that whoever waits for it can go at any time.
//!
//! A dictionary has up to millions of values, and a regular expression takes a second for them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ByteView, GenericByteViewArray, GenericByteViewBuilder};
use arrow::compute::concat;
use arrow::datatypes::{BinaryViewType, ByteViewType, DataType, Field, StringViewType};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use headwater_segment::column::BLOCK_ROWS;

use super::project::evaluate_on_values;

/// Values of a piece: as many as expressions over rows are given at once.
const PIECE_VALUES: usize = BLOCK_ROWS;
/// Longer values are in a buffer, shorter ones in the view itself.
const INLINE_BYTES_MAX: u32 = 12;
/// The builder of views takes no larger buffers.
const BUFFER_BYTES_MAX: usize = u32::MAX as usize;

/// The value of an expression, whose only column is number 0, for each of `values`. Gives way after each piece of more
/// than one.
pub(super) async fn evaluate_in_pieces(
    expr: &Arc<dyn PhysicalExpr>,
    values: &ArrayRef,
    field: &Field,
) -> Result<ArrayRef> {
    if values.len() <= PIECE_VALUES {
        return evaluate_on_values(expr, Arc::clone(values), field);
    }
    let mut pieces = Vec::with_capacity(values.len().div_ceil(PIECE_VALUES));
    for start in (0..values.len()).step_by(PIECE_VALUES) {
        let piece = values.slice(start, PIECE_VALUES.min(values.len() - start));
        pieces.push(evaluate_on_values(expr, piece, field)?);
        tokio::task::yield_now().await;
    }
    join(&pieces).await
}

/// One array of `pieces` of one type.
async fn join(pieces: &[ArrayRef]) -> Result<ArrayRef> {
    match pieces.first().map(|piece| piece.data_type()) {
        Some(DataType::Utf8View) => join_views::<StringViewType>(pieces).await,
        Some(DataType::BinaryView) => join_views::<BinaryViewType>(pieces).await,
        _ => join_any(pieces),
    }
}

fn join_any(pieces: &[ArrayRef]) -> Result<ArrayRef> {
    Ok(concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>())?)
}

/// Views into the buffers of all pieces, each buffer once: a part of a text is a view into what the text is in, and that
/// is all of a dictionary, which would count once per piece.
async fn join_views<T: ByteViewType>(pieces: &[ArrayRef]) -> Result<ArrayRef> {
    let mut builder = GenericByteViewBuilder::<T>::new();
    let mut known = HashMap::new();
    for piece in pieces {
        let piece: &GenericByteViewArray<T> = piece.as_byte_view();
        if piece.data_buffers().iter().any(|buffer| buffer.len() >= BUFFER_BYTES_MAX) {
            return join_any(pieces);
        }
        let buffers = piece.data_buffers().iter().map(|buffer| {
            let key = (buffer.as_ptr() as usize, buffer.len());
            *known.entry(key).or_insert_with(|| builder.append_block(buffer.clone()))
        });
        let buffers: Vec<u32> = buffers.collect();
        for (row, view) in piece.views().iter().enumerate() {
            let view = ByteView::from(*view);
            if piece.is_null(row) {
                builder.append_null();
            } else if view.length <= INLINE_BYTES_MAX {
                builder.append_value(piece.value(row));
            } else {
                builder.try_append_view(buffers[view.buffer_index as usize], view.offset, view.length)?;
            }
        }
        tokio::task::yield_now().await;
    }
    Ok(Arc::new(builder.finish()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Int64Array, StringViewArray};
    use arrow::datatypes::Schema;
    use datafusion::common::DFSchema;
    use datafusion::prelude::SessionContext;
    use futures::executor::block_on;

    use super::*;

    fn physical(sql: &str, field: &Field) -> Arc<dyn PhysicalExpr> {
        let context = SessionContext::new();
        let schema = DFSchema::try_from(Schema::new(vec![field.clone()])).unwrap();
        let logical = context.parse_sql_expr(sql, &schema).unwrap();
        context.create_physical_expr(logical, &schema).unwrap()
    }

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let count = 3 * PIECE_VALUES + 5;
        let text = |row: usize| match row % 7 {
            0 => None,
            1 => Some(format!("{row}")),
            _ => Some(format!("a text that is longer than a view, number {row}")),
        };
        let values: ArrayRef = Arc::new((0..count).map(text).collect::<StringViewArray>());
        let field = Field::new("s", DataType::Utf8View, true);
        for sql in [
            "s",
            "substr(s, 3, 20)",
            "upper(s)",
            "s LIKE '%7'",
            "length(s)",
            "CASE WHEN s IS NULL THEN 'none' ELSE s END",
            "NULL",
            "7",
        ] {
            let expr = physical(sql, &field);
            for length in [0, 1, PIECE_VALUES, PIECE_VALUES + 1, count] {
                let values = values.slice(0, length);
                let whole = evaluate_on_values(&expr, Arc::clone(&values), &field).unwrap();
                let pieces = block_on(evaluate_in_pieces(&expr, &values, &field)).unwrap();
                assert_eq!(&pieces, &whole, "{sql} of {length}");
            }
        }
    }

    #[test]
    fn a_part_of_a_text_keeps_each_buffer_once() {
        let text = |row: usize| format!("a text that is longer than a view, number {row}");
        let values = StringViewArray::from_iter_values((0..20 * PIECE_VALUES).map(text));
        let buffers = values.data_buffers().len();
        let field = Field::new("s", DataType::Utf8View, true);
        let part = physical("substr(s, 3, 20)", &field);
        let values: ArrayRef = Arc::new(values);
        let parts = block_on(evaluate_in_pieces(&part, &values, &field)).unwrap();
        assert_eq!(parts.as_string_view().data_buffers().len(), buffers);
    }

    #[test]
    fn a_failure_for_any_value_is_one_of_the_whole() {
        let count = 3 * PIECE_VALUES as i64;
        let field = Field::new("n", DataType::Int64, true);
        let expr = physical("10 / n > 3", &field);
        for zero in [0, PIECE_VALUES as i64, count - 1] {
            let values: ArrayRef = Arc::new(Int64Array::from_iter_values((0..count).map(|row| row - zero)));
            let whole = evaluate_on_values(&expr, Arc::clone(&values), &field).unwrap_err();
            let pieces = block_on(evaluate_in_pieces(&expr, &values, &field)).unwrap_err();
            assert_eq!(pieces.to_string(), whole.to_string());
        }
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(1..=count));
        let truth = block_on(evaluate_in_pieces(&expr, &values, &field)).unwrap();
        let expected: BooleanArray = (1..=count).map(|value| Some(10 / value > 3)).collect();
        assert_eq!(truth.as_boolean(), &expected);
    }
}
