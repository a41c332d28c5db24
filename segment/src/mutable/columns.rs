//! Reading: a range of rows of a mutable segment as columns for execution, codes shared without a copy.
//!
//! A block is a chunk, or the part of it that lies within the range. Text and bytes are the codes of the growing
//! dictionary, in four bytes; a column that has left its dictionary, and everything else, is plain.
//!
//! **Invariant:** a row that is NULL has code 0, and no other row has it: the writer puts 0 under NULL, and the
//! dictionary gives 0 to no value.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;

use super::column::{ColumnChunk, DictionarySnapshot};
use super::{Chunk, MutableSegment};
use crate::column::{
    CodeStore, CodeValues, CodedColumn, Codes, Column, PlainColumn, PlainStore, SegmentColumns,
};
use crate::kernel::view_store::ViewSnapshot;
use crate::{Result, SegmentError};

impl MutableSegment {
    /// Visible rows `rows` (what lies beyond the visible ones is left out) of the columns `columns`. They share the segment's
    /// memory, and keep their content while it grows.
    ///
    /// # Errors
    /// `Refused` if the schema has no such column.
    pub fn columns(&self, rows: Range<usize>, columns: &[usize]) -> Result<SegmentColumns> {
        let visible = self.visible_rows();
        let rows = rows.start.min(visible)..rows.end.min(visible);
        // Loaded after `visible_rows`, so they hold every row of the range.
        let chunks = self.chunks.load();
        let blocks = blocks_of(&chunks, &rows);
        let mut end = 0;
        let ends = blocks.iter().map(|(_, range)| {
            end += range.len();
            end
        });
        let ends = ends.collect();
        let columns = columns.iter().map(|column| self.column(&blocks, *column).map(Arc::new));
        Ok(SegmentColumns::listed(ends, columns.collect::<Result<_>>()?))
    }

    fn column(&self, blocks: &[(&Chunk, Range<usize>)], column: usize) -> Result<Column> {
        let Some(field) = self.schema.arrow().fields().get(column) else {
            let message = format!("column {column} of a table with {}", self.schema.columns().len());
            return Err(SegmentError::Refused(message));
        };
        let data_type = field.data_type().clone();
        // Every chunk has every column of the schema.
        let pieces: Vec<(&ColumnChunk, Range<usize>)> = blocks
            .iter()
            .filter_map(|(chunk, range)| Some((chunk.columns.get(column)?, range.clone())))
            .collect();
        if let Some(coded) = coded(&pieces, &data_type) {
            return Ok(Column::Coded(coded));
        }
        let mut dictionary: DictionarySnapshot = None;
        let arrays = pieces.into_iter().map(|(chunk, range)| chunk.array(range, &data_type, &mut dictionary));
        let arrays: Vec<ArrayRef> = arrays.collect::<Result<_>>()?;
        Ok(Column::Plain(PlainColumn { data_type, values: PlainStore::Chunked(arrays.into()) }))
    }
}

/// The chunks that hold `rows`, which must be visible, and which rows of each, numbered within it; none empty.
fn blocks_of<'a>(chunks: &'a [Arc<Chunk>], rows: &Range<usize>) -> Vec<(&'a Chunk, Range<usize>)> {
    let first = chunks.partition_point(|chunk| chunk.start <= rows.start).saturating_sub(1);
    let mut blocks = Vec::new();
    for (index, chunk) in chunks.iter().enumerate().skip(first) {
        let chunk_end = chunks.get(index + 1).map_or(rows.end, |next| next.start);
        let (start, end) = (rows.start.max(chunk.start), rows.end.min(chunk_end));
        if start < end {
            blocks.push((chunk.as_ref(), start - chunk.start..end - chunk.start));
        }
    }
    blocks
}

/// The pieces as codes of one dictionary; `None` if there is none, or not all have it.
fn coded(pieces: &[(&ColumnChunk, Range<usize>)], data_type: &DataType) -> Option<CodedColumn> {
    let mut dictionary = None;
    let mut codes = Vec::with_capacity(pieces.len());
    for (chunk, range) in pieces {
        let (piece, entries) = chunk.codes(range.clone())?;
        // A column has one dictionary as long as it has any. Its entries are taken after the rows were seen.
        dictionary = Some(entries);
        codes.push(Codes::U32(piece));
    }
    let values = CodeValues::Dictionary {
        values: with_null_entry(&dictionary?.snapshot()),
        sorted: false,
        fingerprint: None,
    };
    Some(CodedColumn {
        data_type: data_type.clone(),
        values,
        has_null: pieces.iter().any(|(chunk, range)| chunk.has_null(range.clone())),
        codes: CodeStore::Chunked(codes.into()),
        zones: None,
        postings: None,
    })
}

/// The entries of a dictionary, entry 0 as NULL.
fn with_null_entry(entries: &ViewSnapshot) -> ArrayRef {
    let valid = BooleanBuffer::collect_bool(entries.len(), |code| code > 0);
    entries.array(0..entries.len(), Some(NullBuffer::new(valid)))
}
