//! From codes back to values: Arrow arrays of the selected rows of a block, and of a whole dictionary.
//!
//! Text is gathered as views into the dictionary's buffers; nothing is copied but 16 bytes a row.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray, RecordBatch, RecordBatchOptions, UInt16Array,
    UInt32Array, make_array,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::{cast, take};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::{internal_err, not_impl_err};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use headwater_segment::column::{CodeSlice, CodeValues, CodedColumn, Column, SegmentColumns};

use super::filter::columns::{column_indexes, with_column_indexes};
use super::pieces::evaluate_in_pieces;
use super::selection::Selection;

/// As many values are evaluated without a thought: it takes microseconds.
const VALUES_ALWAYS: u64 = 1024;
/// As many values are evaluated if not far fewer rows would be.
const VALUES_OFTEN: u64 = 65_536;

/// The selected rows of a block: one array for each of `positions` (places in [`SegmentColumns::columns`]), of the type of
/// the field at the same place in `schema`, which has exactly those columns.
pub(crate) fn materialise(
    segment: &SegmentColumns,
    positions: &[usize],
    block: usize,
    selection: &mut Selection,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let rows = selection.count();
    let mut arrays = Vec::with_capacity(positions.len());
    for (place, position) in positions.iter().enumerate() {
        let Some(column) = segment.columns().get(*position) else {
            return internal_err!("no column {position} was loaded");
        };
        let array = column_values(column, block, selection)?;
        let wanted = schema.field(place).data_type();
        arrays.push(if array.data_type() == wanted { array } else { cast(&array, wanted)? });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
}

/// The values of one column in the selected rows of a block.
fn column_values(column: &Column, block: usize, selection: &mut Selection) -> Result<ArrayRef> {
    let indices = if selection.is_all() { None } else { Some(selection.indices()) };
    match column {
        Column::Plain(column) => {
            let array = column.array(block);
            match indices {
                None => Ok(array),
                Some(indices) => {
                    Ok(take(&array, &UInt16Array::from_iter_values(indices.iter().copied()), None)?)
                }
            }
        }
        Column::Coded(column) => {
            let codes = column.codes(block);
            match &column.values {
                CodeValues::Dictionary { values, .. } => {
                    from_dictionary(values, column.has_null, codes, indices)
                }
                CodeValues::Linear { base, step, .. } => {
                    let linear = Linear { base: *base, step: *step, has_null: column.has_null };
                    linear.array(&column.data_type, codes, indices)
                }
            }
        }
    }
}

/// The entries of a dictionary that the codes of some rows (all if `indices` is `None`) stand for.
fn from_dictionary(
    values: &ArrayRef,
    has_null: bool,
    codes: CodeSlice<'_>,
    indices: Option<&[u16]>,
) -> Result<ArrayRef> {
    let codes: Vec<u32> = match codes {
        CodeSlice::U8(codes) => gather(codes, indices, u32::from),
        CodeSlice::U16(codes) => gather(codes, indices, u32::from),
        CodeSlice::U32(codes) => gather(codes, indices, |code| code),
        CodeSlice::U64(codes) => {
            let Ok(_) = u32::try_from(values.len()) else {
                return internal_err!("a dictionary has more than 2^32 entries");
            };
            gather(codes, indices, |code| code as u32)
        }
    };
    // Code 0 is NULL whatever entry 0 of the dictionary is.
    let nulls = (has_null && !values.is_null(0)).then(|| codes.iter().map(|code| *code != 0).collect());
    Ok(take(values, &UInt32Array::new(codes.into(), nulls), None)?)
}

/// Code c stands for `base + step * (c - n)`, where n is 1 if code 0 is NULL.
struct Linear {
    base: i64,
    step: i64,
    has_null: bool,
}

impl Linear {
    fn array(&self, data_type: &DataType, codes: CodeSlice<'_>, indices: Option<&[u16]>) -> Result<ArrayRef> {
        Ok(match data_type {
            DataType::Int32 => Arc::new(self.primitive::<Int32Type>(codes, indices, |value| value as i32)),
            DataType::Date32 => Arc::new(self.primitive::<Date32Type>(codes, indices, |value| value as i32)),
            DataType::Int64 => Arc::new(self.primitive::<Int64Type>(codes, indices, |value| value)),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let array = self.primitive::<TimestampMicrosecondType>(codes, indices, |value| value);
                Arc::new(array.with_timezone_opt(zone.clone()))
            }
            DataType::Decimal128(precision, scale) => {
                let array = self.primitive::<Decimal128Type>(codes, indices, i128::from);
                Arc::new(array.with_precision_and_scale(*precision, *scale)?)
            }
            DataType::Boolean => {
                let integers = self.primitive::<Int64Type>(codes, indices, |value| value);
                let (_, values, nulls) = integers.into_parts();
                Arc::new(BooleanArray::new(values.iter().map(|value| *value != 0).collect(), nulls))
            }
            other => return not_impl_err!("linear codes of {other}"),
        })
    }

    fn primitive<T: ArrowPrimitiveType>(
        &self,
        codes: CodeSlice<'_>,
        indices: Option<&[u16]>,
        native: impl Fn(i64) -> T::Native,
    ) -> PrimitiveArray<T> {
        // With NULL, code 0 would stand for base - step, which need not exist: wrapping, and masked below.
        let base = if self.has_null { self.base.wrapping_sub(self.step) } else { self.base };
        let step = self.step;
        let value = |code: u64| native(base.wrapping_add(step.wrapping_mul(code as i64)));
        let values: ScalarBuffer<T::Native> = match codes {
            CodeSlice::U8(codes) => gather(codes, indices, |code| value(code.into())),
            CodeSlice::U16(codes) => gather(codes, indices, |code| value(code.into())),
            CodeSlice::U32(codes) => gather(codes, indices, |code| value(code.into())),
            CodeSlice::U64(codes) => gather(codes, indices, value),
        }
        .into();
        PrimitiveArray::new(values, self.nulls(codes, indices))
    }

    fn nulls(&self, codes: CodeSlice<'_>, indices: Option<&[u16]>) -> Option<NullBuffer> {
        if !self.has_null {
            return None;
        }
        let valid: Vec<bool> = match codes {
            CodeSlice::U8(codes) => gather(codes, indices, |code| code != 0),
            CodeSlice::U16(codes) => gather(codes, indices, |code| code != 0),
            CodeSlice::U32(codes) => gather(codes, indices, |code| code != 0),
            CodeSlice::U64(codes) => gather(codes, indices, |code| code != 0),
        };
        Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0)
    }
}

/// `map` of the codes at `indices`; of all without.
fn gather<C: Copy, V>(codes: &[C], indices: Option<&[u16]>, map: impl Fn(C) -> V) -> Vec<V> {
    match indices {
        None => codes.iter().map(|code| map(*code)).collect(),
        Some(indices) => indices.iter().map(|row| map(codes[usize::from(*row)])).collect(),
    }
}

/// The value of every code, a NULL for code 0 if that is what it stands for. Linear values are written out: the caller
/// limits how many, see [`dictionary_pays`].
pub(crate) fn dictionary_values(column: &CodedColumn) -> Result<ArrayRef> {
    match &column.values {
        CodeValues::Dictionary { values, .. } => {
            if !column.has_null || values.is_empty() || values.is_null(0) {
                return Ok(Arc::clone(values));
            }
            let valid: NullBuffer =
                (0..values.len()).map(|code| code != 0 && values.is_valid(code)).collect();
            let data = values.to_data().into_builder().nulls(Some(valid)).build()?;
            Ok(make_array(data))
        }
        CodeValues::Linear { count, .. } => values_of_codes(column, &(0..*count).collect::<Vec<u64>>()),
    }
}

/// The values that some codes stand for.
pub(crate) fn values_of_codes(column: &CodedColumn, codes: &[u64]) -> Result<ArrayRef> {
    match &column.values {
        CodeValues::Dictionary { values, .. } => {
            from_dictionary(values, column.has_null, CodeSlice::U64(codes), None)
        }
        CodeValues::Linear { base, step, .. } => {
            let linear = Linear { base: *base, step: *step, has_null: column.has_null };
            linear.array(&column.data_type, CodeSlice::U64(codes), None)
        }
    }
}

/// Whether evaluating an expression once per code beats evaluating it once per row, given how many rows would be asked.
pub(crate) fn dictionary_pays(column: &CodedColumn, rows: usize) -> bool {
    let count = column.values.count();
    count <= VALUES_ALWAYS
        || (count <= VALUES_OFTEN && count / 8 <= rows as u64)
        || (matches!(column.values, CodeValues::Dictionary { .. }) && count <= rows as u64 / 2)
}

/// The value of an immutable expression over exactly one coded column, for every code. `field` is that column's.
///
/// `None` if the expression fails for some code: no row may have it, so that it must be evaluated row by row. Gives way
/// between pieces of the dictionary.
pub(crate) async fn evaluate_on_dictionary(
    expr: &Arc<dyn PhysicalExpr>,
    column: &CodedColumn,
    field: &Field,
) -> Result<Option<ArrayRef>> {
    let expr = match column_indexes(expr).as_slice() {
        [] | [0] => Arc::clone(expr),
        [index] => with_column_indexes(expr, &[*index])?,
        more => return internal_err!("an expression over one column reads columns {more:?}"),
    };
    let values = dictionary_values(column)?;
    Ok(evaluate_in_pieces(&expr, &values, field).await.ok())
}

/// The value of an expression, whose only column is number 0, for each of `values`.
pub(crate) fn evaluate_on_values(
    expr: &Arc<dyn PhysicalExpr>,
    values: ArrayRef,
    field: &Field,
) -> Result<ArrayRef> {
    let count = values.len();
    let field = Field::new(field.name(), values.data_type().clone(), true);
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    let schema = Arc::new(Schema::new(vec![field]));
    let batch = RecordBatch::try_new_with_options(schema, vec![values], &options)?;
    expr.evaluate(&batch)?.into_array(count)
}
