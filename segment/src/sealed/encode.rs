//! Rows to one sealed object: sort, write Parquet column by column, then the index entries, the index block and the footer.
//!
//! CPU work throughout: call it on a blocking thread. Beside the rows and the object it holds the order of the rows, and one
//! column in that order, and the columns that are to be kept; never a second copy of the segment.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use bytes::Bytes;
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::SchemaDescriptor;
use ulid::Ulid;

use super::column::{ColumnInput, RowOrder, code_limit};
use super::index::PostingsEntry;
use super::index_block::{self, ENTRIES_MAX, INDEX_BYTES_MAX, IndexEntry, IndexKind};
use super::intern::{Coded, intern};
use super::meta::SegmentMeta;
use super::sort::sorted_order;
use super::stats::{self, Collected};
use super::{FORMAT_VERSION, SEGMENT_BYTES_MAX, SEGMENT_ROWS_MAX, footer, tail_mark};
use crate::schema::TableSchema;
use crate::{Result, SegmentError};

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
    /// Identity of the new segment; its time is recorded as the time of sealing, which whoever writes a segment anew overrules.
    pub id: Ulid,
    /// Dead letters recorded for the range.
    pub dead_letters: u64,
    /// The rows with all columns of the schema, in any order; at least one.
    pub rows: Vec<RecordBatch>,
    /// Columns of the schema that are wanted back in their sealed order; each costs its memory until it is taken.
    pub keep: Vec<usize>,
}

/// A sealed segment that is not stored yet.
pub struct EncodedSegment {
    /// The object.
    pub bytes: Bytes,
    /// What the table log will say about it.
    pub meta: SegmentMeta,
    /// The columns that were to be kept, in the order of the schema.
    pub kept: Vec<KeptColumn>,
}

/// A column in its sealed order, as the object has it.
#[derive(Debug)]
pub struct KeptColumn {
    /// Its number in the schema.
    pub number: usize,
    /// Its values, one array after the other. Text and bytes may be dictionaries of views with `Int32` keys.
    pub arrays: Vec<ArrayRef>,
    /// Its sorted or inverted index.
    pub(crate) postings: Option<PostingsEntry>,
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
    let parquet_schema = ArrowSchemaConverter::new().convert(request.schema.arrow())?;
    let properties = Arc::new(writer_properties(request.schema)?);
    let mut file = SerializedFileWriter::new(Vec::new(), parquet_schema.root_schema_ptr(), properties)?;
    let written = write_columns(&mut file, &parquet_schema, &request, &batches)?;
    let entries = write_entries(&mut file, written.entries)?;
    let (bytes, index_offset, index_length) = close(file, &request, &entries)?;

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
        index_settings: request.schema.index_settings(),
        columns: written.collected.into_iter().map(|column| column.stats).collect(),
    };
    Ok(EncodedSegment { bytes, meta, kept: written.kept })
}

/// An index entry, and the number of its column.
type ColumnEntry = (u32, IndexKind, Bytes);

/// What the columns left behind when they were written.
struct Written {
    collected: Vec<Collected>,
    entries: Vec<ColumnEntry>,
    kept: Vec<KeptColumn>,
}

/// Writes the row group, column by column.
fn write_columns(
    file: &mut SerializedFileWriter<Vec<u8>>,
    parquet_schema: &SchemaDescriptor,
    request: &SealRequest<'_>,
    batches: &[RecordBatch],
) -> Result<Written> {
    let schema = request.schema;
    let columns = schema.columns();
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    let arrays: Vec<Vec<&ArrayRef>> =
        (0..columns.len()).map(|column| batches.iter().map(|batch| batch.column(column)).collect()).collect();
    let code = |column: usize| {
        let limit = code_limit(schema, column, rows);
        intern(&columns[column].data_type, &arrays[column], limit)
    };
    let mut coded: Vec<Option<Coded>> = columns.iter().map(|_| None).collect();
    for column in schema.sort_key() {
        coded[*column] = code(*column);
    }
    let numbers = sorted_order(schema, batches, &coded)?;
    let order = RowOrder::new(batches.iter().map(RecordBatch::num_rows), numbers);

    let mut row_group = file.next_row_group()?;
    let mut collected = Vec::with_capacity(columns.len());
    let mut entries = Vec::new();
    let mut kept = Vec::new();
    for (number, column) in columns.iter().enumerate() {
        let coded = if schema.sort_key().contains(&number) { coded[number].take() } else { code(number) };
        let statistics = match &coded {
            None => stats::collect(&column.data_type, &arrays[number]),
            Some(coded) => {
                let nulls = arrays[number].iter().map(|array| array.null_count() as u64).sum();
                stats::collect(&column.data_type, &[&coded.values]).with_null_count(nulls)
            }
        };
        let input = ColumnInput {
            schema,
            number,
            descriptor: parquet_schema.column(number),
            arrays: &arrays[number],
            coded,
            has_nan: statistics.has_nan,
            order: &order,
        };
        let (entry, arrays) = input.write(&mut row_group, request.keep.contains(&number))?;
        let entry = entry.map(|(kind, bytes)| (kind, Bytes::from(bytes)));
        if let Some(arrays) = arrays {
            let postings = entry.clone().map(|(kind, bytes)| PostingsEntry { kind, bytes });
            kept.push(KeptColumn { number, arrays, postings });
        }
        entries.extend(entry.map(|(kind, bytes)| (number as u32, kind, bytes)));
        collected.push(statistics);
    }
    row_group.close()?;
    Ok(Written { collected, entries, kept })
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

/// Of the whole file; the columns' own are chosen where they are written.
fn writer_properties(schema: &TableSchema) -> Result<WriterProperties> {
    // Every column, an array too, is exactly one Parquet leaf, so that column numbers are leaf numbers.
    let sorting_columns = schema
        .sort_key()
        .iter()
        .copied()
        .chain([schema.offset_column()])
        .map(|column| SortingColumn { column_idx: column as i32, descending: false, nulls_first: true });
    let mut properties = WriterProperties::builder()
        .set_created_by("headwater".into())
        .set_sorting_columns(Some(sorting_columns.collect()))
        .build();
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

/// Writes the index entries behind the row group, as many as a directory holds.
fn write_entries<W: Write + Send>(
    file: &mut SerializedFileWriter<W>,
    entries: Vec<ColumnEntry>,
) -> Result<Vec<IndexEntry>> {
    let mut written = Vec::with_capacity(entries.len());
    for (column, kind, bytes) in entries.into_iter().take(ENTRIES_MAX - 1) {
        let start = file.bytes_written() as u64;
        file.write_all(&bytes).map_err(ParquetError::from)?;
        let range = start..start + bytes.len() as u64;
        written.push(IndexEntry { kind, column, range, crc32c: crc32c::crc32c(&bytes) });
    }
    Ok(written)
}

/// Writes what follows the data. Returns the object, and where its index block lies.
fn close(
    mut file: SerializedFileWriter<Vec<u8>>,
    request: &SealRequest<'_>,
    entries: &[IndexEntry],
) -> Result<(Bytes, u64, u64)> {
    file.flush().map_err(ParquetError::from)?;
    let index_offset = file.inner().len() as u64;
    let index = index_block::build(file.inner(), entries);
    let index_length = index.bytes.len() as u64;
    file.write_all(&index.bytes).map_err(ParquetError::from)?;
    let key_values = [
        (footer::KEY_FORMAT_VERSION, FORMAT_VERSION.to_string()),
        (footer::KEY_INDEX_OFFSET, index_offset.to_string()),
        (footer::KEY_INDEX_LENGTH, index_length.to_string()),
        (footer::KEY_INDEX_CRC32C, format!("{:08x}", index.head_crc32c)),
        (footer::KEY_TABLE, request.table.to_string()),
        (footer::KEY_PARTITION, request.partition.to_string()),
        (footer::KEY_FROM, request.from.to_string()),
        (footer::KEY_TO, request.to.to_string()),
        (footer::KEY_ID, request.id.to_string()),
        (footer::KEY_TAIL, tail_mark::placeholder()),
    ];
    for (key, value) in key_values {
        file.append_key_value_metadata(KeyValue::new(key.to_string(), value));
    }
    let mut bytes = file.into_inner()?;
    if !tail_mark::fill(&mut bytes, (index_offset + index_length) as usize) {
        return Err(refused(request, "its footer is too long"));
    }
    let bytes = Bytes::from(bytes);
    if bytes.len() as u64 > SEGMENT_BYTES_MAX || index_length > INDEX_BYTES_MAX {
        return Err(refused(request, &format!("{} bytes are more than a segment holds", bytes.len())));
    }
    Ok((bytes, index_offset, index_length))
}
