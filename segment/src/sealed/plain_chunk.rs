//! A column chunk without a dictionary: encoding and codec by what a sample of the column comes to.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{FieldRef, Schema};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::Encoding;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;

use super::PAGE_ROWS;
use super::codec::Codec;
use crate::schema::ColumnType;
use crate::{Result, SegmentError};

/// What an encoding other than PLAIN costs to decode, as a factor of its size.
const ENCODING_PENALTY: f64 = 1.05;

/// How a column without a dictionary is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PlainForm {
    encoding: Encoding,
    codec: Codec,
    /// Bytes per row, on the sample.
    pub(super) row_bytes: f64,
}

/// Chooses how to write a column of which `sample` is typical.
pub(super) fn choose(field: &FieldRef, data_type: &ColumnType, sample: &[ArrayRef]) -> Result<PlainForm> {
    let rows = sample.iter().map(|array| array.len()).sum::<usize>().max(1);
    let mut best: Option<(f64, PlainForm)> = None;
    for encoding in encodings(data_type) {
        let size = |codec: Codec| -> Result<f64> {
            let chunk = encode(
                field,
                data_type,
                PlainForm { encoding: *encoding, codec, row_bytes: 0.0 },
                false,
                sample.iter().cloned().map(Ok),
            )?;
            Ok(chunk.close().metadata.compressed_size() as f64)
        };
        let (plain, fast, slow) = (size(Codec::Plain)?, size(Codec::Zstd(1))?, size(Codec::Zstd(3))?);
        let codec = Codec::decide(plain, fast, slow);
        let bytes = match codec {
            Codec::Plain => plain,
            Codec::Zstd(1) => fast,
            Codec::Zstd(_) => slow,
        };
        let cost = if *encoding == Encoding::PLAIN { bytes } else { bytes * ENCODING_PENALTY };
        if best.is_none_or(|(least, _)| cost < least) {
            best = Some((cost, PlainForm { encoding: *encoding, codec, row_bytes: bytes / rows as f64 }));
        }
    }
    best.map(|(_, form)| form).ok_or_else(|| SegmentError::Refused(format!("{data_type} has no encoding")))
}

/// What a column of a type may be encoded as.
fn encodings(data_type: &ColumnType) -> &'static [Encoding] {
    match data_type {
        ColumnType::Int
        | ColumnType::Long
        | ColumnType::Date
        | ColumnType::TimestampMillis
        | ColumnType::TimestampMicros => &[Encoding::PLAIN, Encoding::DELTA_BINARY_PACKED],
        ColumnType::Decimal(digits, _) if *digits <= 18 => &[Encoding::PLAIN, Encoding::DELTA_BINARY_PACKED],
        ColumnType::Float | ColumnType::Double => &[Encoding::PLAIN, Encoding::BYTE_STREAM_SPLIT],
        _ => &[Encoding::PLAIN],
    }
}

/// Encodes a chunk of the arrays in order. Without `bounds` it has no statistics.
pub(super) fn encode(
    field: &FieldRef,
    data_type: &ColumnType,
    form: PlainForm,
    bounds: bool,
    arrays: impl Iterator<Item = Result<ArrayRef>>,
) -> Result<ArrowColumnChunk> {
    let bounds = bounds && !matches!(data_type, ColumnType::Array(_));
    let statistics = if bounds { EnabledStatistics::Page } else { EnabledStatistics::None };
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_encoding(form.encoding)
        .set_compression(form.codec.parquet()?)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_statistics_enabled(statistics)
        .build();
    // A file of this column alone, which never gets any bytes: column writers are made for a file.
    let schema = Arc::new(Schema::new(vec![field.clone()]));
    let parquet_schema = ArrowSchemaConverter::new().convert(&schema)?;
    let file =
        SerializedFileWriter::new(std::io::sink(), parquet_schema.root_schema_ptr(), Arc::new(properties))?;
    let mut writers = ArrowRowGroupWriterFactory::new(&file, schema).create_column_writers(0)?;
    let Some(mut writer) = writers.pop() else {
        return Err(SegmentError::Refused(format!("column {} has no Parquet column", field.name())));
    };
    for array in arrays {
        for leaf in compute_leaves(field, &array?)? {
            writer.write(&leaf)?;
        }
    }
    Ok(writer.close()?)
}
