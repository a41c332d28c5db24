//! The mutable segment: the open, in-memory, append-only columns of one partition, queryable row by row.
//!
//! [`SegmentWriter`] is the one writer; a decoder sets a row's values through
//! [`RowSink`](crate::value::RowSink), the consumer finishes the row and now and then publishes.
//! [`MutableSegment`] is what any number of readers share. Rows are held in chunks; every column of a chunk becomes
//! an Arrow array without copying values (null flags, booleans and dictionary codes are turned into Arrow's
//! layout on the way).
//!
//! **Architecture Invariant:** readers take no lock and the writer waits for nobody. A reader loads
//! `next_offset` or `visible_rows` once and sees exactly that prefix, which never changes; the writer stores
//! `visible_rows` once the rows are committed in the columns, and `next_offset` after it. No row is ever changed
//! or removed. There is no row limit: the consumer seals by rows, [bytes](MutableSegment::bytes) and age.
//!
//! ```
//! # use std::sync::Arc;
//! # use headwater_segment::{budget::MemoryBudget, mutable::MutableSegment, schema::TableSchema};
//! # use headwater_segment::value::{RowSink, Value};
//! # fn append(schema: Arc<TableSchema>) -> headwater_segment::Result<()> {
//! let (mut writer, segment) = MutableSegment::create(schema, 0, 100, MemoryBudget::new(1 << 30));
//! writer.set(0, Value::Str("Lisbon"));
//! writer.finish_row(100, Some(1_700_000_000_000), None, None);
//! assert_eq!(segment.visible_rows(), 0);
//! writer.publish(101);
//! for batch in segment.batches(0..segment.rows_below(101), &[0]) {
//!     println!("{:?}", batch?);
//! }
//! # Ok(())
//! # }
//! ```

use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::budget::{Account, Charge, MemoryBudget};
use crate::schema::TableSchema;

mod batches;
mod column;
mod column_writer;
mod columns;
mod dead_letter;
mod dictionary;
mod writer;

#[cfg(test)]
mod tests;

pub use batches::Batches;
pub use dead_letter::{DEAD_LETTER_BYTES_MAX, DeadLetter};
pub use writer::SegmentWriter;

use column::ColumnChunk;

/// Rows of a chunk, and so of a batch. The first four chunks of a segment are smaller.
pub const CHUNK_ROWS: usize = 8192;

/// No `$timestamp` yet.
const NO_TIMESTAMP: i64 = i64::MIN;

/// All columns of consecutive rows.
struct Chunk {
    /// The segment's row number of its first row.
    start: usize,
    /// By the schema's column order.
    columns: Vec<ColumnChunk>,
}

/// Rows that chunk `index` has room for: 512, 1,024, 2,048, 4,096, then [`CHUNK_ROWS`], so that the segment of a
/// partition with little traffic takes some 50 KiB rather than 1 MiB.
fn chunk_capacity(index: usize) -> usize {
    CHUNK_ROWS >> 4_usize.saturating_sub(index)
}

/// The open rows of one partition, as readers share them.
pub struct MutableSegment {
    schema: Arc<TableSchema>,
    partition: i32,
    start_offset: i64,
    created_at: SystemTime,
    first_row_at: OnceLock<SystemTime>,
    account: Arc<Account>,
    /// Replaced when a chunk is added.
    chunks: ArcSwap<Vec<Arc<Chunk>>>,
    visible_rows: AtomicUsize,
    next_offset: AtomicI64,
    newest_timestamp_ms: AtomicI64,
    /// Rare, and never on the path of a row or of a query over rows, so a lock will do.
    dead_letters: Mutex<Vec<(DeadLetter, Charge)>>,
}

impl MutableSegment {
    /// An empty segment that begins at `start_offset`, and its writer. Memory is charged to `budget` while it is
    /// allocated; what a batch still refers to lives, and is charged, until that batch is dropped.
    pub fn create(
        schema: Arc<TableSchema>,
        partition: i32,
        start_offset: i64,
        budget: Arc<MemoryBudget>,
    ) -> (SegmentWriter, Arc<MutableSegment>) {
        let segment = Arc::new(Self {
            schema,
            partition,
            start_offset,
            created_at: SystemTime::now(),
            first_row_at: OnceLock::new(),
            account: Account::new(budget),
            chunks: ArcSwap::default(),
            visible_rows: AtomicUsize::new(0),
            next_offset: AtomicI64::new(start_offset),
            newest_timestamp_ms: AtomicI64::new(NO_TIMESTAMP),
            dead_letters: Mutex::default(),
        });
        (SegmentWriter::new(Arc::clone(&segment)), segment)
    }

    /// The columns.
    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    /// The Kafka partition.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The first offset that belongs to this segment.
    pub fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// Every offset from the start and below this one is in: as a visible row, as a dead letter, or skipped.
    pub fn next_offset(&self) -> i64 {
        self.next_offset.load(Ordering::Acquire)
    }

    /// How many rows can be read. May already count rows at or above a `next_offset` loaded before; see
    /// [`rows_below`](Self::rows_below).
    pub fn visible_rows(&self) -> usize {
        self.visible_rows.load(Ordering::Acquire)
    }

    /// How many of the visible rows have a `$offset` below `offset`. With a value of
    /// [`next_offset`](Self::next_offset) these are exactly the rows finished before it was published.
    pub fn rows_below(&self, offset: i64) -> usize {
        let visible = self.visible_rows();
        let chunks = self.chunks.load();
        let offsets_of = |chunk: &Chunk, count: usize| {
            chunk.columns.get(self.schema.offset_column()).and_then(|column| column.longs(count))
        };
        let used = &chunks[..chunks.partition_point(|chunk| chunk.start < visible)];
        let begun = used.partition_point(|chunk| {
            offsets_of(chunk, 1).is_some_and(|offsets| offsets.first().is_some_and(|first| *first < offset))
        });
        let Some(last) = begun.checked_sub(1).map(|index| &used[index]) else {
            return 0;
        };
        let end = used.get(begun).map_or(visible, |next| next.start);
        let below = offsets_of(last, end - last.start)
            .map_or(0, |offsets| offsets.partition_point(|candidate| *candidate < offset));
        last.start + below
    }

    /// Memory charged to the budget, in bytes.
    pub fn bytes(&self) -> u64 {
        self.account.bytes()
    }

    /// When the segment was created.
    pub fn created_at(&self) -> SystemTime {
        self.created_at
    }

    /// When its first row was finished, for the age at which a segment is sealed.
    pub fn first_row_at(&self) -> Option<SystemTime> {
        self.first_row_at.get().copied()
    }

    /// The largest Kafka timestamp of the published rows, in milliseconds since the epoch.
    pub fn newest_timestamp_ms(&self) -> Option<i64> {
        Some(self.newest_timestamp_ms.load(Ordering::Acquire)).filter(|newest| *newest != NO_TIMESTAMP)
    }

    /// Visible rows `rows` (what lies beyond the visible ones is left out) of the columns `projection`, one batch
    /// per chunk in order of offsets. The batches share the segment's memory.
    pub fn batches(&self, rows: Range<usize>, projection: &[usize]) -> Batches {
        let visible = self.visible_rows();
        let rows = rows.start.min(visible)..rows.end.min(visible);
        // Loaded after `visible_rows`, so it holds every chunk of these rows.
        Batches::new(&self.schema, self.chunks.load_full(), rows, projection)
    }

    /// The published dead letters: those below [`next_offset`](Self::next_offset).
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        let next_offset = self.next_offset();
        let letters = self.dead_letters.lock();
        letters
            .iter()
            .map(|(letter, _)| letter)
            .filter(|letter| letter.offset < next_offset)
            .cloned()
            .collect()
    }
}

impl std::fmt::Debug for MutableSegment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MutableSegment")
            .field("partition", &self.partition)
            .field("start_offset", &self.start_offset)
            .field("next_offset", &self.next_offset())
            .field("visible_rows", &self.visible_rows())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}
