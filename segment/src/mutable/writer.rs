//! Writing: the one writer of a mutable segment.
//!
//! A row is set column by column, then finished or abandoned; finished rows become visible together when the
//! writer publishes. A row that cannot be held as it was set (see `Fault`; a decoder that keeps to
//! [`RowSink`]'s contract causes none but absurd sizes) becomes a dead letter when it is finished: it is never
//! stored as something else, and its offset is never lost.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::column_writer::{ColumnWriter, Fault};
use super::{Chunk, DeadLetter, MutableSegment, NO_TIMESTAMP, chunk_capacity};
use crate::budget::Charge;
use crate::value::{RowSink, Value, bytes_as_text};

/// Appends rows to a [`MutableSegment`].
pub struct SegmentWriter {
    segment: Arc<MutableSegment>,
    columns: Vec<ColumnWriter>,
    offset_column: usize,
    /// Row number of the present chunk's first row.
    chunk_start: usize,
    chunk_capacity: usize,
    chunks: usize,
    /// Finished rows of the present chunk.
    rows_in_chunk: usize,
    /// Which columns of the current row are set, a bit each.
    set_columns: Vec<u64>,
    /// Which columns a row has to have, a bit each: all but `$partition`.
    row_columns: Vec<u64>,
    /// Why the current row cannot be held.
    fault: Option<(usize, Fault)>,
    last_offset: i64,
    newest_timestamp_ms: i64,
    /// Dead letters not published yet.
    dead_letters: Vec<(DeadLetter, Charge)>,
}

impl SegmentWriter {
    pub(super) fn new(segment: Arc<MutableSegment>) -> Self {
        let (schema, account, capacity) = (&segment.schema, &segment.account, chunk_capacity(0));
        let partition_column = schema.partition_column();
        let columns: Vec<ColumnWriter> = (schema.columns().iter().enumerate())
            .map(|(index, column)| match index {
                _ if index == partition_column => ColumnWriter::constant(segment.partition, account),
                _ => ColumnWriter::new(&column.data_type, column.nullable, capacity, account),
            })
            .collect();
        let mut row_columns = vec![0; columns.len().div_ceil(64)];
        for index in (0..columns.len()).filter(|index| *index != partition_column) {
            row_columns[index / 64] |= 1 << (index % 64);
        }
        let mut writer = Self {
            offset_column: schema.offset_column(),
            chunk_start: 0,
            chunk_capacity: capacity,
            chunks: 0,
            rows_in_chunk: 0,
            set_columns: vec![0; row_columns.len()],
            row_columns,
            fault: None,
            last_offset: segment.start_offset.saturating_sub(1),
            newest_timestamp_ms: NO_TIMESTAMP,
            dead_letters: Vec::new(),
            columns,
            segment,
        };
        writer.share_chunk();
        writer
    }

    /// Finishes the current row: columns that were not set are NULL. Offsets must ascend. The row is visible
    /// after the next [`publish`](Self::publish).
    ///
    /// A timestamp beyond what TIMESTAMP can hold (year 294,000) stands at that bound.
    pub fn finish_row(
        &mut self,
        offset: i64,
        timestamp_ms: Option<i64>,
        key: Option<&[u8]>,
        headers_json: Option<&str>,
    ) {
        let offset_column = self.offset_column;
        let timestamp_us = timestamp_ms.map(|ms| ms.saturating_mul(1000));
        self.put(offset_column, Value::I64(offset));
        // `$timestamp`, `$key` and `$headers` follow `$offset`.
        self.put(offset_column + 1, timestamp_us.map_or(Value::Null, Value::I64));
        let key_text = key.map(bytes_as_text);
        self.put(offset_column + 2, key_text.as_deref().map_or(Value::Null, Value::Str));
        self.put(offset_column + 3, headers_json.map_or(Value::Null, Value::Str));
        self.put_missing();
        if offset <= self.last_offset {
            self.fault = Some((offset_column, Fault::Disorder));
        }
        if let Some((column, fault)) = self.fault {
            self.refuse_row(column, fault, offset, timestamp_ms, key);
            return;
        }
        self.set_columns.fill(0);
        self.last_offset = offset;
        self.newest_timestamp_ms = self.newest_timestamp_ms.max(timestamp_ms.unwrap_or(NO_TIMESTAMP));
        self.rows_in_chunk += 1;
        if self.chunk_start + self.rows_in_chunk == 1 {
            // Set once: rows are never taken back.
            let _ = self.segment.first_row_at.set(SystemTime::now());
        }
        if self.rows_in_chunk == self.chunk_capacity {
            self.next_chunk();
        }
    }

    /// Drops the row that is being set.
    pub fn abandon_row(&mut self) {
        self.set_columns.fill(0);
        self.fault = None;
    }

    /// Keeps a message that is not a row; it is visible after the next [`publish`](Self::publish).
    pub fn dead_letter(&mut self, letter: DeadLetter) {
        let charge = Charge::new(&self.segment.account, letter.memory_bytes());
        self.dead_letters.push((letter, charge));
    }

    /// Makes every finished row and dead letter visible, and says that every offset below `next_offset` has been
    /// dealt with. It never goes back, nor below a finished row.
    pub fn publish(&mut self, next_offset: i64) {
        self.commit_chunk();
        if !self.dead_letters.is_empty() {
            self.segment.dead_letters.lock().append(&mut self.dead_letters);
        }
        self.segment.newest_timestamp_ms.store(self.newest_timestamp_ms, Ordering::Release);
        // Whoever sees this many rows sees their chunks and columns; whoever sees this offset sees the rows below it.
        self.segment.visible_rows.store(self.rows(), Ordering::Release);
        let published = self.segment.next_offset.load(Ordering::Relaxed);
        let next_offset = next_offset.max(published).max(self.last_offset.saturating_add(1));
        self.segment.next_offset.store(next_offset, Ordering::Release);
    }

    /// Finished rows, visible or not.
    pub fn rows(&self) -> usize {
        self.chunk_start + self.rows_in_chunk
    }

    /// Memory charged to the budget, in bytes.
    pub fn bytes(&self) -> u64 {
        self.segment.bytes()
    }

    /// What readers share.
    pub fn segment(&self) -> &Arc<MutableSegment> {
        &self.segment
    }

    #[cold]
    fn refuse_row(
        &mut self,
        column: usize,
        fault: Fault,
        offset: i64,
        timestamp_ms: Option<i64>,
        key: Option<&[u8]>,
    ) {
        let name = self.segment.schema.columns().get(column).map_or("(none)", |column| &column.name);
        let reason = format!("column {name}: {fault}");
        // The message itself is not known here; its partition and offset say which it was.
        let letter = DeadLetter::new(self.segment.partition, offset, timestamp_ms, reason, &[], key);
        self.dead_letter(letter);
        self.abandon_row();
    }

    #[inline]
    fn put(&mut self, column: usize, value: Value<'_>) {
        let Some(writer) = self.columns.get_mut(column) else {
            self.fault = Some((column, Fault::Unfit));
            return;
        };
        match writer.set(self.rows_in_chunk, value) {
            Ok(()) => self.set_columns[column / 64] |= 1 << (column % 64),
            Err(fault) => self.fault = Some((column, fault)),
        }
    }

    /// Sets the columns that the decoder did not.
    fn put_missing(&mut self) {
        if self.fault.is_some() {
            return;
        }
        for word in 0..self.row_columns.len() {
            let mut missing = self.row_columns[word] & !self.set_columns[word];
            while missing != 0 {
                self.put(word * 64 + missing.trailing_zeros() as usize, Value::Null);
                missing &= missing - 1;
            }
        }
    }

    /// Makes the finished rows of the present chunk readable and immutable; nobody looks for them yet.
    fn commit_chunk(&mut self) {
        for column in &mut self.columns {
            column.commit(self.rows_in_chunk);
        }
    }

    fn next_chunk(&mut self) {
        self.commit_chunk();
        self.chunk_start += self.rows_in_chunk;
        self.rows_in_chunk = 0;
        self.chunk_capacity = chunk_capacity(self.chunks);
        for column in &mut self.columns {
            column.next_chunk(self.chunk_capacity);
        }
        self.share_chunk();
    }

    fn share_chunk(&mut self) {
        let columns = self.columns.iter().map(ColumnWriter::chunk).collect();
        let mut chunks = Vec::clone(&self.segment.chunks.load());
        chunks.push(Arc::new(Chunk { start: self.chunk_start, columns }));
        self.chunks = chunks.len();
        self.segment.chunks.store(Arc::new(chunks));
    }
}

impl RowSink for SegmentWriter {
    #[inline]
    fn set(&mut self, column: usize, value: Value<'_>) {
        self.put(column, value);
    }
}
