//! A segment written anew under another spec: the same rows and offsets, other indexes (and the sort key and columns of today).
//!
//! A pure function of the object; the new one takes the old one's place by
//! [`TableLog::replace`](crate::log::TableLog::replace).

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::{Field, Schema};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use ulid::Ulid;

use super::encode::{EncodedSegment, SealRequest, encode};
use super::footer::Footer;
use super::meta::SegmentMeta;
use crate::schema::TableSchema;
use crate::{Result, SegmentError};

/// What is to be written anew.
pub struct RebuildRequest<'a> {
    /// The table's schema, with the indexes that are wanted now.
    pub schema: &'a TableSchema,
    /// The table's name.
    pub table: &'a str,
    /// The segment as the table log describes it.
    pub meta: &'a SegmentMeta,
    /// Its object, whole.
    pub object: Bytes,
    /// Identity of the new one.
    pub id: Ulid,
}

/// Writes a segment anew. Holds all its rows decoded; call it on a blocking thread.
///
/// # Errors
/// `Corrupt` if a byte of the object is not what was written, `Refused` if a column has another type by now; else as [`encode`].
pub fn rebuild(request: RebuildRequest<'_>) -> Result<EncodedSegment> {
    let RebuildRequest { schema, table, meta, object, id } = request;
    let rows = decode(schema, meta, object)?;
    let mut encoded = encode(SealRequest {
        schema,
        table,
        partition: meta.partition,
        from: meta.from,
        to: meta.to,
        id,
        dead_letters: meta.dead_letters,
        rows,
        keep: Vec::new(),
    })?;
    // Rows are as old as they were: retention may go by this time.
    encoded.meta.sealed_at_ms = meta.sealed_at_ms;
    match encoded.meta.rows == meta.rows {
        true => Ok(encoded),
        false => Err(SegmentError::Corrupt(format!(
            "segment {}: it has {} rows, the table log says {}",
            meta.path, encoded.meta.rows, meta.rows
        ))),
    }
}

/// All rows of a verified object, with the columns of `schema`; those that the object does not have are NULL.
pub(crate) fn decode(schema: &TableSchema, meta: &SegmentMeta, object: Bytes) -> Result<Vec<RecordBatch>> {
    let corrupt = |what: String| SegmentError::Corrupt(format!("segment {}: {what}", meta.path));
    let footer = Footer::verify_all(meta, &object).map_err(corrupt)?;
    let plain = ArrowReaderMetadata::try_new(Arc::clone(&footer.metadata), ArrowReaderOptions::new())?;
    // Text as views, as the engine has it.
    let fields: Vec<Arc<Field>> = plain
        .schema()
        .fields()
        .iter()
        .map(|field| match schema.index_of(field.name()) {
            Some(column) => Arc::clone(&schema.arrow().fields()[column]),
            None => Arc::clone(field),
        })
        .collect();
    let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(&footer.metadata), options).map_err(|error| {
        SegmentError::Refused(format!("segment {}: its columns changed: {error}", meta.path))
    })?;
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(object, metadata)
        .with_batch_size(super::PAGE_ROWS)
        .build()?;
    reader.map(|batch| with_all_columns(schema, &batch?)).collect()
}

fn with_all_columns(schema: &TableSchema, batch: &RecordBatch) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = schema
        .arrow()
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) => Arc::clone(column),
            None => new_null_array(field.data_type(), batch.num_rows()),
        })
        .collect();
    Ok(RecordBatch::try_new(schema.arrow().clone(), columns)?)
}
