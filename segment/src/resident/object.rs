//! Columns of a sealed object: which bytes they take, and their decoding, without I/O.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{Encoding, PageType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::{ChunkReader, Length};

use crate::schema::{Column, ColumnType};
use crate::{Result, SegmentError};

/// Rows of an array that is decoded at a time.
const BATCH_ROWS: usize = 64 << 10;

/// The place of a column among those of an object; `None` if the object is older than the column.
pub(super) fn place_of(metadata: &ParquetMetaData, name: &str) -> Option<usize> {
    let fields = metadata.file_metadata().schema_descr().root_schema().get_fields();
    fields.iter().position(|field| field.name() == name)
}

/// Where the bytes of a column lie, one range per row group and leaf.
///
/// # Errors
/// `Corrupt` if the footer describes no range.
pub(super) fn ranges(metadata: &ParquetMetaData, place: usize) -> Result<Vec<Range<u64>>> {
    let range_of = |chunk: &ColumnChunkMetaData| {
        let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
        let start = u64::try_from(start).ok()?;
        Some(start..start.checked_add(u64::try_from(chunk.compressed_size()).ok()?)?)
    };
    let ranges: Option<Vec<Range<u64>>> = chunks_of(metadata, place).map(range_of).collect();
    ranges
        .ok_or_else(|| SegmentError::Corrupt("a footer places a column before its object's beginning".into()))
}

fn chunks_of(metadata: &ParquetMetaData, place: usize) -> impl Iterator<Item = &ColumnChunkMetaData> {
    let schema = metadata.file_metadata().schema_descr();
    metadata.row_groups().iter().flat_map(move |group| {
        let chunks = group.columns().iter().enumerate();
        chunks.filter(move |(leaf, _)| schema.get_column_root_idx(*leaf) == place).map(|(_, chunk)| chunk)
    })
}

/// The footer of an object, and what Arrow makes of its columns by itself.
pub(super) struct ObjectSchema {
    pub(super) metadata: Arc<ParquetMetaData>,
    inferred: SchemaRef,
}

impl ObjectSchema {
    /// Converts the schema, once for all columns.
    ///
    /// # Errors
    /// `Parquet` if a column has no Arrow type.
    pub(super) fn new(metadata: Arc<ParquetMetaData>) -> Result<Self> {
        let inferred = ArrowReaderMetadata::try_new(Arc::clone(&metadata), ArrowReaderOptions::new())?;
        Ok(Self { inferred: Arc::clone(inferred.schema()), metadata })
    }

    /// To read one column as a type that the table or we chose, and the others as they are.
    fn reading(&self, place: usize, data_type: DataType) -> Result<ArrowReaderMetadata> {
        let fields = self.inferred.fields().iter().enumerate().map(|(index, field)| match index == place {
            true => Arc::new(field.as_ref().clone().with_data_type(data_type.clone())),
            false => Arc::clone(field),
        });
        let schema = Schema::new(fields.collect::<Vec<_>>());
        let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
        Ok(ArrowReaderMetadata::try_new(Arc::clone(&self.metadata), options)?)
    }
}

/// Decodes a column whose [`ranges`] have the bytes `fetched`. Text and bytes keep the dictionary of a row group in which
/// every page has it.
///
/// # Errors
/// `Parquet` if the bytes are not what the footer says.
pub(super) fn decode(
    object: &ObjectSchema,
    place: usize,
    column: &Column,
    fetched: Vec<(u64, Bytes)>,
) -> Result<Vec<ArrayRef>> {
    let metadata = &object.metadata;
    let fetched = Fetched(fetched.into());
    let leaf = leaf_of(metadata, place);
    // With and without a dictionary; most objects have columns of one row group, so of one form.
    let mut forms: [Option<ArrowReaderMetadata>; 2] = [None, None];
    let mut arrays = Vec::new();
    for group in 0..metadata.num_row_groups() {
        let keeps_dictionary = column.data_type.is_bytes_like()
            && metadata.row_group(group).columns().get(leaf).is_some_and(is_dictionary);
        let form = match &mut forms[usize::from(keeps_dictionary)] {
            Some(form) => form.clone(),
            none => {
                let data_type = match keeps_dictionary {
                    true => dictionary_type(&column.data_type),
                    false => column.data_type.arrow(),
                };
                none.insert(object.reading(place, data_type)?).clone()
            }
        };
        let schema = metadata.file_metadata().schema_descr();
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(fetched.clone(), form)
            .with_row_groups(vec![group])
            .with_projection(ProjectionMask::roots(schema, [place]))
            .with_batch_size(BATCH_ROWS)
            .build()?;
        for batch in reader {
            arrays.extend(batch?.columns().first().cloned());
        }
    }
    Ok(arrays)
}

/// The first leaf of a column; text and bytes have no other.
fn leaf_of(metadata: &ParquetMetaData, place: usize) -> usize {
    let schema = metadata.file_metadata().schema_descr();
    (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == place).unwrap_or(usize::MAX)
}

/// The type as which a column is decoded if its dictionary is to be kept.
fn dictionary_type(data_type: &ColumnType) -> DataType {
    match data_type.arrow() {
        DataType::Utf8View => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        DataType::BinaryView => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Binary)),
        other => other,
    }
}

/// Whether all data pages of a chunk are codes of its dictionary. A chunk that fell back to plain pages would be packed into
/// dictionaries again, batch by batch.
fn is_dictionary(chunk: &ColumnChunkMetaData) -> bool {
    let is_code = |encoding| matches!(encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY);
    let is_data = |page| matches!(page, PageType::DATA_PAGE | PageType::DATA_PAGE_V2);
    match (chunk.page_encoding_stats(), chunk.page_encoding_stats_mask()) {
        (Some(stats), _) => {
            stats.iter().filter(|stats| is_data(stats.page_type)).all(|stats| is_code(stats.encoding))
        }
        (None, Some(mask)) => mask.encodings().all(is_code),
        (None, None) => false,
    }
}

/// The fetched parts of an object, each with where it begins.
#[derive(Clone)]
struct Fetched(Arc<[(u64, Bytes)]>);

impl Fetched {
    /// The bytes from `start` to the end of the part that holds it.
    fn rest(&self, start: u64) -> Result<Bytes, ParquetError> {
        let part = self.0.iter().find_map(|(part_start, bytes)| {
            let within = usize::try_from(start.checked_sub(*part_start)?).ok()?;
            (within < bytes.len()).then(|| bytes.slice(within..))
        });
        part.ok_or_else(|| ParquetError::EOF(format!("byte {start} belongs to no column that was fetched")))
    }
}

impl Length for Fetched {
    fn len(&self) -> u64 {
        self.0.iter().map(|(start, bytes)| start + bytes.len() as u64).max().unwrap_or(0)
    }
}

impl ChunkReader for Fetched {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(self.rest(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let mut rest = self.rest(start)?;
        if rest.len() < length {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} go beyond their column")));
        }
        Ok(rest.split_to(length))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray, RecordBatch, StringViewArray};
    use arrow::compute::{cast, concat};
    use arrow::datatypes::Field;
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ArrowReaderMetadata;
    use parquet::file::properties::WriterProperties;

    use super::*;

    /// Row groups with a dictionary, one that falls back in its middle, one without, and one of NULL.
    #[test]
    fn row_groups_of_any_encoding_decode() {
        let value = |row: usize| match row / 5000 {
            0 | 2 => Some(format!("one of few values {}", row % 10)),
            1 if row < 7000 => Some(format!("one of few values {}", row % 10)),
            3 => None,
            _ => Some(format!("a long and distinct value, number {row}")),
        };
        let values: StringViewArray = (0..22_000).map(value).collect();
        let other: StringViewArray = (0..22_000).map(|_| Some("other")).collect();
        let fields = ["other", "wanted"].map(|name| Field::new(name, DataType::Utf8View, true));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let batch =
            RecordBatch::try_new(schema.clone(), vec![Arc::new(other), Arc::new(values.clone())]).unwrap();
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(5000))
            .set_dictionary_page_size_limit(10_000)
            .set_data_page_row_count_limit(500)
            .set_write_batch_size(100)
            .build();
        let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        let file = Bytes::from(writer.into_inner().unwrap());

        let metadata =
            ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).unwrap().metadata().clone();
        let place = place_of(&metadata, "wanted").unwrap();
        assert_eq!(place_of(&metadata, "unknown"), None);
        let part = |range: Range<u64>| (range.start, file.slice(range.start as usize..range.end as usize));
        let parts = ranges(&metadata, place).unwrap().into_iter().map(part).collect::<Vec<_>>();
        assert_eq!(parts.len(), 5);
        let column = Column { name: "wanted".into(), data_type: ColumnType::String, nullable: true };
        let object = ObjectSchema::new(metadata).unwrap();
        let arrays = decode(&object, place, &column, parts.clone()).unwrap();
        let kept: Vec<bool> =
            arrays.iter().map(|array| matches!(array.data_type(), DataType::Dictionary(..))).collect();
        assert_eq!(kept, [true, false, true, true, false]);
        let views: Vec<ArrayRef> =
            arrays.iter().map(|array| cast(array, &DataType::Utf8View).unwrap()).collect();
        let views: Vec<&dyn Array> = views.iter().map(|array| array.as_ref()).collect();
        assert_eq!(concat(&views).unwrap().as_string_view(), &values);

        assert!(decode(&object, place, &column, parts[1..].to_vec()).is_err(), "a part is missing");
        let mut short = parts;
        short[4].1.truncate(100);
        assert!(decode(&object, place, &column, short).is_err(), "a part ends early");
    }
}
