//! Reading: a range of rows of a mutable segment as record batches, one per chunk.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use super::Chunk;
use super::column::DictionarySnapshot;
use crate::schema::TableSchema;
use crate::{Result, SegmentError};

/// The batches of one scan. Holds on to the segment's memory but not to the segment.
pub struct Batches {
    /// `None` once the scan has ended with an error.
    schema: Option<SchemaRef>,
    /// A projection that the schema does not have.
    refused: Option<SegmentError>,
    projection: Vec<usize>,
    chunks: Arc<Vec<Arc<Chunk>>>,
    next_chunk: usize,
    /// Rows still to be read; all of them were visible when the scan began.
    rows: Range<usize>,
    /// By projected column.
    dictionaries: Vec<DictionarySnapshot>,
}

impl Batches {
    /// A scan of `rows`, which must be visible, and of which `chunks` must hold every one.
    pub(super) fn new(
        schema: &TableSchema,
        chunks: Arc<Vec<Arc<Chunk>>>,
        rows: Range<usize>,
        projection: &[usize],
    ) -> Self {
        let (schema, refused) = match schema.arrow().project(projection) {
            Ok(projected) => (Some(Arc::new(projected)), None),
            Err(error) => (None, Some(error.into())),
        };
        Self {
            schema,
            refused,
            projection: projection.to_vec(),
            next_chunk: chunks.partition_point(|chunk| chunk.start <= rows.start).saturating_sub(1),
            chunks,
            rows,
            dictionaries: vec![None; projection.len()],
        }
    }

    /// Rows of one chunk, numbered within it.
    fn batch(&mut self, schema: &SchemaRef, chunk: &Chunk, rows: Range<usize>) -> Result<RecordBatch> {
        let mut arrays = Vec::with_capacity(self.projection.len());
        for ((column, field), dictionary) in
            self.projection.iter().zip(schema.fields()).zip(&mut self.dictionaries)
        {
            // The schema was projected by the same indexes, so the column is there.
            if let Some(column) = chunk.columns.get(*column) {
                arrays.push(column.array(rows.clone(), field.data_type(), dictionary)?);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(refused) = self.refused.take() {
            return Some(Err(refused));
        }
        let schema = self.schema.clone()?;
        if self.rows.is_empty() {
            return None;
        }
        let chunks = Arc::clone(&self.chunks);
        let chunk = chunks.get(self.next_chunk)?;
        let end = chunks.get(self.next_chunk + 1).map_or(self.rows.end, |next| next.start.min(self.rows.end));
        let batch = self.batch(&schema, chunk, self.rows.start - chunk.start..end - chunk.start);
        self.next_chunk += 1;
        self.rows.start = end;
        if batch.is_err() {
            self.schema = None;
        }
        Some(batch)
    }
}
