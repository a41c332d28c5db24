//! Parquet, row group by row group: what is held is one row group under way, and what the footer must know of those before.
//!
//! A file is whole only with its footer, so half an answer cannot be read as one.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::AnswerEncoder;
use crate::QueryError;

/// Rows of a row group at most.
const GROUP_ROWS_MAX: usize = 128 << 10;
/// Bytes of a row group at most, as they are estimated before the group is closed.
const GROUP_BYTES_MAX: usize = 16 << 20;

/// Rows as one Parquet file.
pub(super) struct ParquetEncoder {
    writer: ArrowWriter<Vec<u8>>,
}

impl ParquetEncoder {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_max_row_group_row_count(Some(GROUP_ROWS_MAX))
            .set_max_row_group_bytes(Some(GROUP_BYTES_MAX))
            // Entries for each page would be held until the end, and a page index is of little use to who reads all.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_created_by(concat!("headwater ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        // Plain Parquet types: Arrow's own (views of text) are known to new readers only.
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options)?;
        Ok(Self { writer })
    }

    fn drain(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.writer.sync().map_err(ParquetError::from)?;
        out.append(self.writer.inner_mut());
        Ok(())
    }
}

impl AnswerEncoder for ParquetEncoder {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.drain(out)
    }

    fn rows(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.writer.write(batch)?;
        self.drain(out)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.writer.finish()?;
        self.drain(out)
    }

    fn fail(&mut self, _error: &QueryError) -> Option<Vec<u8>> {
        None
    }

    /// Batches as they come: a chunk is sent when a row group is whole.
    fn rows_per_chunk(&self) -> usize {
        GROUP_ROWS_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    #[test]
    fn what_is_held_is_one_row_group() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..8192));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..8192).map(|n| format!("text {n}"))));
        let batch = RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).unwrap();
        let mut encoder = ParquetEncoder::new(&batch.schema()).unwrap();
        let mut file = Vec::new();
        encoder.begin(&mut file).unwrap();
        assert_eq!(file, b"PAR1");
        let mut chunks = 0;
        for _ in 0..100 {
            let before = file.len();
            encoder.rows(&batch, &mut file).unwrap();
            chunks += usize::from(file.len() > before);
            assert!(encoder.writer.in_progress_rows() < GROUP_ROWS_MAX);
            assert!(encoder.writer.inner().is_empty());
        }
        encoder.finish(&mut file).unwrap();
        assert_eq!(chunks, 100 * 8192 / GROUP_ROWS_MAX);
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap();
        assert_eq!(reader.metadata().file_metadata().num_rows(), 100 * 8192);
        assert_eq!(reader.metadata().num_row_groups(), chunks + 1);
        let first = reader.build().unwrap().next().unwrap().unwrap();
        assert_eq!(first.schema().field(1).data_type(), &arrow::datatypes::DataType::Utf8);
    }
}
