//! The order of a segment's rows: sort key ascending, nulls first, then `$offset`.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::SortOptions;
use arrow::row::{RowConverter, SortField};

use crate::Result;
use crate::schema::TableSchema;

/// Where the rows of `batches`, numbered through, must go: the n-th entry is the number of the row that comes n-th.
/// `None` if they already stand in order.
///
/// Costs, for a moment, the encoded keys plus 20 bytes per row; no column is copied.
pub(super) fn sorted_order(schema: &TableSchema, batches: &[RecordBatch]) -> Result<Option<Vec<u32>>> {
    let key_columns: Vec<usize> = schema.sort_key().iter().copied().chain([schema.offset_column()]).collect();
    let ascending = SortOptions { descending: false, nulls_first: true };
    let fields = key_columns.iter().map(|column| {
        let data_type = schema.columns()[*column].data_type.arrow();
        SortField::new_with_options(data_type, ascending)
    });
    let converter = RowConverter::new(fields.collect())?;
    let row_count = batches.iter().map(RecordBatch::num_rows).sum();
    let mut rows = converter.empty_rows(row_count, row_count * key_columns.len() * 9);
    for batch in batches {
        let keys: Vec<ArrayRef> = key_columns.iter().map(|column| batch.column(*column).clone()).collect();
        converter.append(&mut rows, &keys)?;
    }

    // The first eight bytes of a key lie beside the row number: most comparisons never touch the key itself.
    let mut order: Vec<(u64, u32)> =
        rows.iter().zip(0u32..).map(|(row, number)| (key_prefix(row.as_ref()), number)).collect();
    let key = |number: u32| rows.row(number as usize);
    let in_order = |left: &(u64, u32), right: &(u64, u32)| {
        left.0 < right.0 || (left.0 == right.0 && key(left.1) <= key(right.1))
    };
    if order.is_sorted_by(in_order) {
        return Ok(None);
    }
    order.sort_unstable_by(|left, right| left.0.cmp(&right.0).then_with(|| key(left.1).cmp(&key(right.1))));
    Ok(Some(order.into_iter().map(|(_, number)| number).collect()))
}

fn key_prefix(key: &[u8]) -> u64 {
    let mut prefix = [0; 8];
    let bytes = key.len().min(8);
    prefix[..bytes].copy_from_slice(&key[..bytes]);
    u64::from_be_bytes(prefix)
}
