//! The sealed segment: rows at rest, immutable, in one Parquet object that checks itself.
//!
//! The format's grammar is in `segment/README.md`. [`encode`] sorts rows and writes the object; what the table log must
//! know about it is its [`SegmentMeta`]; a [`VerifiedReader`] reads it back for any Parquet decoder.
//!
//! Invariants:
//! - No byte of an object reaches a decoder before its checksum was compared, on a chain that starts in the table log.
//! - Bounds in [`ColumnStats`] may be wider than the data, never narrower; a missing bound is unknown.
//! - Encoding is a pure function of its request: no clock, no randomness, no I/O.

mod codec;
mod column;
mod dead_letters;
mod dictionary_chunk;
mod encode;
mod footer;
mod index;
mod index_block;
mod indexes;
mod inspect;
mod intern;
mod meta;
mod plain_chunk;
mod reader;
mod rebuild;
mod rle;
mod sort;
mod stats;
mod stats_json;
mod tail_mark;
#[cfg(test)]
pub(crate) mod tests;

pub use dead_letters::{LetterObject, dead_letters_path, decode_dead_letters, encode_dead_letters};
pub use encode::{EncodedSegment, KeptColumn, SealRequest, encode};
pub use footer::FooterCache;
pub(crate) use index::PostingsEntry;
pub use index::{ColumnPostings, ValueOrder};
pub use index_block::IndexKind;
pub use indexes::{BloomFilter, Probe, SegmentIndexes};
pub use inspect::{ColumnReport, IndexReport, SegmentReport, Verdict, inspect};
pub use meta::SegmentMeta;
pub use reader::{SegmentReaderFactory, VerifiedReader};
pub(crate) use rebuild::decode;
pub use rebuild::{RebuildRequest, rebuild};
pub use stats::{ColumnStats, StatValue};

/// The format version that this build writes, and the only one that it reads.
pub const FORMAT_VERSION: u32 = 1;
/// Most rows of a segment.
pub const SEGMENT_ROWS_MAX: u64 = i32::MAX as u64;
/// Rows per data page, the unit of pruning inside a segment: two blocks of execution.
pub(crate) const PAGE_ROWS: usize = 2 * crate::column::BLOCK_ROWS;
/// Largest object that is read or written, in bytes.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 40;
