//! CSV as RFC 4180: a header line, CRLF, NULL as nothing. Compound values are the text of their JSON, bytes are base64.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::csv::WriterBuilder;
use arrow::csv::writer::Terminator;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::AnswerEncoder;
use super::types::is_compound;
use super::value::{Dialect, encoder_of};
use crate::QueryError;

/// Rows as CSV.
pub(super) struct CsvEncoder {
    schema: SchemaRef,
}

impl CsvEncoder {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { schema: schema.clone() }
    }
}

fn write(batch: &RecordBatch, header: bool, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    WriterBuilder::new().with_header(header).with_line_terminator(Terminator::CRLF).build(out).write(batch)
}

impl AnswerEncoder for CsvEncoder {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        // The header alone: a batch of text columns, because the writer refuses compound types even without rows.
        let names = self.schema.fields().iter().map(|field| Field::new(field.name(), DataType::Utf8, true));
        write(&RecordBatch::new_empty(Arc::new(Schema::new(names.collect::<Vec<_>>()))), true, out)
    }

    fn rows(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let columns = batch.schema_ref().fields().iter().zip(batch.columns());
        let columns = columns.map(|(field, array)| flat(field, array)).collect::<Result<Vec<_>, _>>()?;
        let fields = batch.schema_ref().fields().iter().zip(&columns);
        let fields = fields.map(|(field, array)| Field::new(field.name(), array.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        write(&RecordBatch::try_new_with_options(schema, columns, &options)?, false, out)
    }

    fn finish(&mut self, _out: &mut Vec<u8>) -> Result<(), ArrowError> {
        Ok(())
    }

    fn fail(&mut self, _error: &QueryError) -> Option<Vec<u8>> {
        None
    }
}

/// The column as one that the CSV writer takes: what it cannot write becomes text, spelled as in JSON.
fn flat(field: &FieldRef, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if !is_compound(array.data_type()) && !spelled_as_json(array.data_type()) {
        return Ok(array.clone());
    }
    let mut encoder = encoder_of(field, array.as_ref(), Dialect::Headwater)?;
    let mut text = StringBuilder::with_capacity(array.len(), 0);
    let mut value = Vec::new();
    for row in 0..array.len() {
        if encoder.is_null(row) {
            text.append_null();
            continue;
        }
        value.clear();
        encoder.encode(row, &mut value);
        match value.first() {
            Some(b'"') => text.append_value(serde_json::from_slice::<String>(&value).unwrap_or_default()),
            _ => text.append_value(String::from_utf8_lossy(&value)),
        }
    }
    Ok(Arc::new(text.finish()))
}

/// Types that Arrow's CSV writer would spell differently from our JSON (bytes in hexadecimal, `inf`).
fn spelled_as_json(data_type: &DataType) -> bool {
    match data_type {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            true
        }
        DataType::Float16 | DataType::Float32 | DataType::Float64 => true,
        DataType::Dictionary(_, values) => spelled_as_json(values),
        _ => false,
    }
}
