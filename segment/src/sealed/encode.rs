//! Rows to one sealed object: sort, write Parquet row group by row group, close with the index block and the footer.
//!
//! CPU work throughout: call it on a blocking thread. Beside the rows and the object it holds one encoded row group and
//! one slice of reordered rows, never a second copy of the segment.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::{self, interleave_record_batch};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use bytes::Bytes;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowWriter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use ulid::Ulid;

use super::index_block::{self, INDEX_BYTES_MAX};
use super::meta::SegmentMeta;
use super::sort::sorted_order;
use super::stats::{self, Collected};
use super::{FORMAT_VERSION, SEGMENT_BYTES_MAX, SEGMENT_ROWS_MAX, footer};
use crate::schema::{ColumnType, TableSchema};
use crate::{Result, SegmentError};

/// Rows per row group: fine enough to prune by and to share among cores, coarse enough for the dictionary to pay.
const ROW_GROUP_ROWS: usize = 262_144;
/// Rows per data page, the unit of pruning inside a row group; a multiple of the 1,024 that the writer counts by.
const PAGE_ROWS: usize = 20_480;
/// Rows that are reordered at a time.
const SLICE_ROWS: usize = 16_384;
const ZSTD_LEVEL: i32 = 3;

/// What is to be sealed.
pub struct SealRequest<'a> {
    /// The table's schema.
    pub schema: &'a TableSchema,
    /// The table's name.
    pub table: &'a str,
    /// Kafka partition.
    pub partition: i32,
    /// First offset covered.
    pub from: i64,
    /// End of the offsets covered, exclusive.
    pub to: i64,
    /// Identity of the new segment; its time is recorded as the time of sealing.
    pub id: Ulid,
    /// Dead letters recorded for the range.
    pub dead_letters: u64,
    /// The rows with all columns of the schema, in any order; at least one.
    pub rows: Vec<RecordBatch>,
}

/// A sealed segment that is not stored yet.
pub struct EncodedSegment {
    /// The object.
    pub bytes: Bytes,
    /// What the table log will say about it.
    pub meta: SegmentMeta,
}

/// Encodes a segment.
///
/// # Errors
/// `Refused` if there are no rows (commit the offsets alone), too many, or rows of another partition or of offsets outside the
/// range; `Arrow` if the rows do not have the table's schema; `Parquet` if they cannot be written.
pub fn encode(request: SealRequest<'_>) -> Result<EncodedSegment> {
    let batches = rows_of_schema(&request)?;
    let row_count = batches.iter().map(|batch| batch.num_rows() as u64).sum();
    check_row_count(&request, row_count)?;
    check_range(&request, &batches)?;
    let collected: Vec<Collected> = (0..request.schema.columns().len())
        .map(|column| {
            let arrays: Vec<&ArrayRef> = batches.iter().map(|batch| batch.column(column)).collect();
            stats::collect(&request.schema.columns()[column].data_type, &arrays)
        })
        .collect();

    let options = ArrowWriterOptions::new()
        .with_properties(writer_properties(request.schema, &collected)?)
        .with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), request.schema.arrow().clone(), options)?;
    match sorted_order(request.schema, &batches)? {
        None => batches.iter().try_for_each(|batch| writer.write(batch))?,
        Some(order) => write_reordered(&mut writer, &batches, &order)?,
    }
    let (bytes, index_offset, index_length) = close(writer, &request)?;

    let tail = &bytes[(index_offset + index_length) as usize..];
    let meta = SegmentMeta {
        path: SegmentMeta::path_of(request.partition, request.from, request.to, request.id),
        id: request.id,
        partition: request.partition,
        from: request.from,
        to: request.to,
        rows: row_count,
        size_bytes: bytes.len() as u64,
        format_version: FORMAT_VERSION,
        sealed_at_ms: i64::try_from(request.id.timestamp_ms()).unwrap_or(i64::MAX),
        index_offset,
        index_length,
        tail_crc32c: crc32c::crc32c(tail),
        dead_letters: request.dead_letters,
        columns: collected.into_iter().map(|column| column.stats).collect(),
    };
    Ok(EncodedSegment { bytes, meta })
}

fn refused(request: &SealRequest<'_>, message: &str) -> SegmentError {
    SegmentError::Refused(format!(
        "table {}, partition {}, offsets {} to {}: {message}",
        request.table, request.partition, request.from, request.to
    ))
}

/// The batches that hold rows, under the table's schema; fails if a column has another type or an unexpected null.
fn rows_of_schema(request: &SealRequest<'_>) -> Result<Vec<RecordBatch>> {
    let with_rows = request.rows.iter().filter(|batch| batch.num_rows() > 0);
    let batches = with_rows
        .map(|batch| RecordBatch::try_new(request.schema.arrow().clone(), batch.columns().to_vec()))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(batches)
}

fn check_row_count(request: &SealRequest<'_>, row_count: u64) -> Result<()> {
    if row_count == 0 {
        return Err(refused(request, "there are no rows to seal; commit the offsets alone"));
    }
    if row_count > SEGMENT_ROWS_MAX {
        return Err(refused(
            request,
            &format!("{row_count} rows are more than a segment holds ({SEGMENT_ROWS_MAX})"),
        ));
    }
    Ok(())
}

/// A row outside the range would be counted twice after the next seal.
fn check_range(request: &SealRequest<'_>, batches: &[RecordBatch]) -> Result<()> {
    for batch in batches {
        let partitions = batch.column(request.schema.partition_column()).as_primitive::<Int32Type>();
        let offsets = batch.column(request.schema.offset_column()).as_primitive::<Int64Type>();
        let other_partition = [compute::min(partitions), compute::max(partitions)]
            .into_iter()
            .flatten()
            .find(|partition| *partition != request.partition);
        if let Some(partition) = other_partition {
            return Err(refused(request, &format!("a row is of partition {partition}")));
        }
        let outside = [compute::min(offsets), compute::max(offsets)]
            .into_iter()
            .flatten()
            .find(|offset| !(request.from..request.to).contains(offset));
        if let Some(offset) = outside {
            return Err(refused(request, &format!("a row has offset {offset}")));
        }
    }
    Ok(())
}

fn write_reordered<W: Write + Send>(
    writer: &mut ArrowWriter<W>,
    batches: &[RecordBatch],
    order: &[u32],
) -> Result<()> {
    let batch_starts: Vec<u32> = batches
        .iter()
        .scan(0_u32, |next, batch| {
            let start = *next;
            *next += batch.num_rows() as u32;
            Some(start)
        })
        .collect();
    let place_of = |number: u32| {
        let batch = batch_starts.partition_point(|start| *start <= number) - 1;
        (batch, (number - batch_starts[batch]) as usize)
    };
    let batches: Vec<&RecordBatch> = batches.iter().collect();
    for slice in order.chunks(SLICE_ROWS) {
        let places: Vec<(usize, usize)> = slice.iter().map(|number| place_of(*number)).collect();
        writer.write(&interleave_record_batch(&batches, &places)?)?;
    }
    Ok(())
}

fn writer_properties(schema: &TableSchema, collected: &[Collected]) -> Result<WriterProperties> {
    // Every column, an array too, is exactly one Parquet leaf, so that column numbers are leaf numbers.
    let sorting_columns = schema
        .sort_key()
        .iter()
        .copied()
        .chain([schema.offset_column()])
        .map(|column| SortingColumn { column_idx: column as i32, descending: false, nulls_first: true });
    let mut builder = WriterProperties::builder()
        .set_created_by("headwater".into())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns(Some(sorting_columns.collect()));
    for (column, collected) in schema.columns().iter().zip(collected) {
        let mut path = vec![column.name.clone()];
        if matches!(column.data_type, ColumnType::Array(_)) {
            path.extend(["list".into(), "element".into()]);
            builder = builder.set_column_statistics_enabled(ColumnPath::new(path), EnabledStatistics::None);
        } else if collected.has_nan {
            // SQL puts NaN above every number, Parquet's bounds leave it out: pruning by them would lose the row.
            builder = builder.set_column_statistics_enabled(ColumnPath::new(path), EnabledStatistics::None);
        }
    }
    for column in [schema.offset_column(), schema.timestamp_column()] {
        let path = ColumnPath::new(vec![schema.columns()[column].name.clone()]);
        builder = builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    let mut properties = builder.build();
    add_encoded_arrow_schema_to_metadata(&portable(schema.arrow()), &mut properties);
    Ok(properties)
}

/// The Arrow schema that goes into the file: without views, on which pyarrow has no comparisons yet.
fn portable(schema: &Schema) -> Schema {
    fn data_type(of: &DataType) -> DataType {
        match of {
            DataType::Utf8View => DataType::Utf8,
            DataType::BinaryView => DataType::Binary,
            DataType::List(element) => DataType::List(Arc::new(field(element))),
            other => other.clone(),
        }
    }
    fn field(of: &Field) -> Field {
        of.clone().with_data_type(data_type(of.data_type()))
    }
    Schema::new(schema.fields().iter().map(|of| field(of)).collect::<Vec<_>>())
}

/// Writes what follows the rows. Returns the object, and where its index block lies.
fn close(mut writer: ArrowWriter<Vec<u8>>, request: &SealRequest<'_>) -> Result<(Bytes, u64, u64)> {
    writer.flush()?;
    writer.sync().map_err(ParquetError::from)?;
    let index_offset = writer.inner().len() as u64;
    let index = index_block::build(writer.inner());
    let index_length = index.bytes.len() as u64;
    writer.write_all(&index.bytes).map_err(ParquetError::from)?;
    let entries = [
        (footer::KEY_FORMAT_VERSION, FORMAT_VERSION.to_string()),
        (footer::KEY_INDEX_OFFSET, index_offset.to_string()),
        (footer::KEY_INDEX_LENGTH, index_length.to_string()),
        (footer::KEY_INDEX_CRC32C, format!("{:08x}", index.head_crc32c)),
        (footer::KEY_TABLE, request.table.to_string()),
        (footer::KEY_PARTITION, request.partition.to_string()),
        (footer::KEY_FROM, request.from.to_string()),
        (footer::KEY_TO, request.to.to_string()),
        (footer::KEY_ID, request.id.to_string()),
    ];
    for (key, value) in entries {
        writer.append_key_value_metadata(KeyValue::new(key.to_string(), value));
    }
    let bytes = Bytes::from(writer.into_inner()?);
    if bytes.len() as u64 > SEGMENT_BYTES_MAX || index_length > INDEX_BYTES_MAX {
        return Err(refused(request, &format!("{} bytes are more than a segment holds", bytes.len())));
    }
    Ok((bytes, index_offset, index_length))
}
