//! The Arrow IPC stream, views kept as views.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, GenericByteViewArray, ListArray, RecordBatch, RecordBatchOptions,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ByteViewType, DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;

use super::AnswerEncoder;
use crate::QueryError;

/// Rows as an Arrow IPC stream.
pub(super) struct IpcEncoder {
    writer: StreamWriter<Vec<u8>>,
}

impl IpcEncoder {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        Ok(Self { writer: StreamWriter::try_new(Vec::new(), schema)? })
    }

    fn drain(&mut self, out: &mut Vec<u8>) {
        out.append(self.writer.get_mut());
    }
}

impl AnswerEncoder for IpcEncoder {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.drain(out);
        Ok(())
    }

    fn rows(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let columns = batch.columns().iter().map(compact).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        self.writer.write(&RecordBatch::try_new_with_options(batch.schema(), columns, &options)?)?;
        self.drain(out);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.writer.finish()?;
        self.drain(out);
        Ok(())
    }

    fn fail(&mut self, _error: &QueryError) -> Option<Vec<u8>> {
        None
    }

    /// Whole batches: a message per thousand rows would cost readers more than it saves here.
    fn rows_per_chunk(&self) -> usize {
        usize::MAX
    }
}

/// The writer sends every buffer that a view array holds, however few rows are left of it: ten rows of a segment would
/// carry the segment's whole text. Arrays that use less than half of their buffers are copied first.
fn compact(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    Ok(match array.data_type() {
        DataType::Utf8View => compact_views(array, array.as_string_view()),
        DataType::BinaryView => compact_views(array, array.as_binary_view()),
        DataType::List(element)
            if matches!(element.data_type(), DataType::Utf8View | DataType::BinaryView) =>
        {
            compact_list(array.as_list())?
        }
        _ => array.clone(),
    })
}

/// Keeps of a list's elements those that its rows have, compacted.
fn compact_list(list: &ListArray) -> Result<ArrayRef, ArrowError> {
    let DataType::List(element) = list.data_type() else { return Ok(Arc::new(list.clone())) };
    let offsets = list.value_offsets();
    let first = offsets.first().copied().unwrap_or_default();
    let last = offsets.last().copied().unwrap_or_default();
    let elements = compact(&list.values().slice(first as usize, (last - first) as usize))?;
    let offsets: ScalarBuffer<i32> = offsets.iter().map(|offset| offset - first).collect();
    let list =
        ListArray::try_new(element.clone(), OffsetBuffer::new(offsets), elements, list.nulls().cloned())?;
    Ok(Arc::new(list))
}

fn compact_views<T: ByteViewType>(array: &ArrayRef, views: &GenericByteViewArray<T>) -> ArrayRef {
    let held: usize = views.data_buffers().iter().map(|buffer| buffer.len()).sum();
    match held / 2 > views.total_buffer_bytes_used() {
        true => Arc::new(views.gc()),
        false => array.clone(),
    }
}
