//! Columns from plain arrays, and filters that evaluate them row by row, until columns come from the resident store and
//! filters are compiled against codes.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch, RecordBatchOptions, UInt16Array, new_null_array};
use arrow::compute::{cast, concat, take};
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use datafusion::physical_expr::PhysicalExpr;
use futures::TryStreamExt;
use headwater_segment::column::{Column, PlainColumn, PlainStore, SegmentColumns};
use headwater_segment::live::OpenSlice;
use headwater_segment::schema::TableSchema;
use headwater_segment::sealed::{SegmentMeta, SegmentReaderFactory};

use super::options::ExecuteOptions;
use super::selection::{MASK_WORDS, Mask, Selection};

pub(super) fn open_columns(
    slice: &OpenSlice,
    columns: &[usize],
) -> headwater_segment::Result<SegmentColumns> {
    let mut ends = Vec::new();
    let mut pieces = vec![Vec::new(); columns.len()];
    let mut rows = 0;
    let schema = slice.segment.schema().arrow();
    for batch in slice.segment.batches(slice.rows.clone(), columns) {
        let batch = batch?;
        rows += batch.num_rows();
        ends.push(rows);
        for (column, array) in pieces.iter_mut().zip(batch.columns()) {
            column.push(Arc::clone(array));
        }
    }
    let plain = |(column, pieces): (&usize, Vec<_>)| {
        let data_type = schema.field(*column).data_type().clone();
        Arc::new(Column::Plain(PlainColumn { data_type, values: PlainStore::Chunked(pieces.into()) }))
    };
    let columns = columns.iter().zip(pieces).map(plain).collect();
    Ok(SegmentColumns::listed(ends.into(), columns))
}

pub(super) async fn sealed_columns(
    readers: &SegmentReaderFactory,
    schema: &TableSchema,
    meta: &Arc<SegmentMeta>,
    columns: &[usize],
) -> Result<SegmentColumns> {
    let builder = ParquetRecordBatchStreamBuilder::new(readers.reader(Arc::clone(meta))).await?;
    let file = Arc::clone(builder.schema());
    let names: Vec<&str> = columns.iter().map(|column| schema.columns()[*column].name.as_str()).collect();
    let roots: Vec<usize> = names.iter().filter_map(|name| file.index_of(name).ok()).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let batches: Vec<RecordBatch> = builder.with_projection(mask).build()?.try_collect().await?;
    let rows = meta.rows as usize;
    let mut loaded = Vec::with_capacity(columns.len());
    for (column, name) in columns.iter().zip(names) {
        let data_type = schema.arrow().field(*column).data_type().clone();
        let arrays: Vec<_> = batches.iter().filter_map(|batch| batch.column_by_name(name)).collect();
        let arrays: Vec<&dyn Array> = arrays.into_iter().map(AsRef::as_ref).collect();
        let array = match arrays.is_empty() {
            true => new_null_array(&data_type, rows),
            false => cast(&concat(&arrays)?, &data_type)?,
        };
        loaded.push(Arc::new(Column::Plain(PlainColumn { data_type, values: PlainStore::Whole(array) })));
    }
    Ok(SegmentColumns::even(rows, loaded))
}

pub(crate) struct Filter {
    predicate: Option<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

impl Filter {
    pub(crate) fn new(
        predicate: Option<Arc<dyn PhysicalExpr>>,
        schema: SchemaRef,
        _: &ExecuteOptions,
    ) -> Result<Self> {
        Ok(Self { predicate, schema })
    }

    pub(crate) fn compile(&self, _: &SegmentColumns) -> Result<SegmentFilter> {
        Ok(SegmentFilter { predicate: self.predicate.clone(), schema: Arc::clone(&self.schema) })
    }
}

pub(crate) struct SegmentFilter {
    predicate: Option<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

#[derive(Default)]
pub(crate) struct FilterScratch;

impl SegmentFilter {
    pub(crate) fn is_never(&self) -> bool {
        false
    }

    pub(crate) fn candidates(&self, blocks: std::ops::Range<usize>) -> impl Iterator<Item = usize> {
        blocks
    }

    pub(crate) fn select(
        &self,
        segment: &SegmentColumns,
        block: usize,
        _: &mut FilterScratch,
        out: &mut Selection,
    ) -> Result<()> {
        let rows = segment.block(block).len();
        out.select_all(rows);
        let Some(predicate) = &self.predicate else { return Ok(()) };
        let columns = segment.columns().iter().map(|column| match column.as_ref() {
            Column::Plain(plain) => Ok(plain.array(block)),
            Column::Coded(_) => Err(DataFusionError::Internal("codes".into())),
        });
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        let passed = predicate.evaluate(&batch)?.into_array(rows)?;
        let passed = passed.as_any().downcast_ref::<BooleanArray>();
        let passed = passed.ok_or_else(|| DataFusionError::Internal("a filter must be boolean".into()))?;
        let mut mask: Mask = [0; MASK_WORDS];
        for (row, passed) in passed.iter().enumerate() {
            mask[row / 64] |= u64::from(passed == Some(true)) << (row % 64);
        }
        out.keep(&mask);
        Ok(())
    }

    pub(crate) fn describe(&self) -> String {
        self.predicate.as_ref().map_or_else(|| "all rows".into(), |predicate| format!("scan({predicate})"))
    }
}

pub(crate) fn materialise(
    segment: &SegmentColumns,
    positions: &[usize],
    block: usize,
    selection: &mut Selection,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let indices = UInt16Array::from(selection.indices().to_vec());
    let column = |position: &usize| match segment.columns()[*position].as_ref() {
        Column::Plain(plain) => Ok(take(&plain.array(block), &indices, None)?),
        Column::Coded(_) => Err(DataFusionError::Internal("codes".into())),
    };
    let columns = positions.iter().map(column).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(selection.count()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
