//! The indexes of a sealed segment, read entry by entry when one is asked for.
//!
//! Nothing is kept here: an entry is fetched by its byte range, verified, parsed and handed out. Whoever asks often keeps what it
//! got, as the resident store keeps postings beside their column, and bloom filters by themselves.

use std::ops::Range;
use std::sync::Arc;

use parquet::basic::Type;
use parquet::bloom_filter::Sbbf;
use parquet::file::metadata::ColumnChunkMetaData;

use super::footer::Footer;
use super::index::{ColumnPostings, PostingsEntry};
use super::index_block::{IndexEntry, IndexKind};
use super::meta::SegmentMeta;
use super::reader::{SegmentReaderFactory, VerifiedReader};
use crate::Result;

/// The indexes of one sealed segment.
pub struct SegmentIndexes {
    reader: VerifiedReader,
    footer: Arc<Footer>,
    rows: u32,
}

/// A value that a bloom filter is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Probe<'a> {
    /// STRING, JSON, UUID, BYTES.
    Bytes(&'a [u8]),
    /// The physical integer of INT, LONG, DATE (days), TIMESTAMP (microseconds).
    Int(i64),
}

impl SegmentReaderFactory {
    /// The indexes of a segment. Reads its footer, unless that is known; no index yet.
    ///
    /// # Errors
    /// `Corrupt`, naming the object, or `Store`.
    pub async fn indexes(&self, meta: Arc<SegmentMeta>) -> Result<SegmentIndexes> {
        let rows = u32::try_from(meta.rows).unwrap_or(u32::MAX);
        let mut reader = self.reader(meta);
        let footer = reader.footer().await?;
        Ok(SegmentIndexes { reader, footer, rows })
    }
}

impl SegmentIndexes {
    /// Which indexes the column of this name has, and how many bytes each takes.
    pub fn kinds(&self, column: &str) -> Vec<(IndexKind, u64)> {
        let Some(number) = self.column(column) else { return Vec::new() };
        let entries = self.footer.index.entries().iter().filter(|entry| entry.column == number);
        entries.map(|entry| (entry.kind, entry.range.end - entry.range.start)).collect()
    }

    /// The rows of each value of a column: its sorted index, or its inverted one; `None` if it has neither.
    ///
    /// # Errors
    /// `Corrupt`, naming the object and the column, or `Store`.
    pub async fn postings(&mut self, column: &str) -> Result<Option<ColumnPostings>> {
        let Some(entry) = self.postings_entries(&[column]).await?.pop().flatten() else { return Ok(None) };
        self.parsed(column, entry.kind, entry.parse(self.rows)).map(Some)
    }

    /// What [`postings`](Self::postings) parses, of several columns in one read.
    pub(crate) async fn postings_entries(&mut self, columns: &[&str]) -> Result<Vec<Option<PostingsEntry>>> {
        let places: Vec<Option<IndexEntry>> = columns
            .iter()
            .map(|name| self.entry(name, IndexKind::Sorted).or_else(|| self.entry(name, IndexKind::Inverted)))
            .collect();
        let ranges: Vec<Range<u64>> = places.iter().flatten().map(|place| place.range.clone()).collect();
        if ranges.is_empty() {
            return Ok(places.iter().map(|_| None).collect());
        }
        let mut read = self.reader.read(&ranges).await?.into_iter();
        let mut found = Vec::with_capacity(places.len());
        for (name, place) in columns.iter().zip(places) {
            found.push(match place {
                None => None,
                Some(place) => {
                    let bytes = read.next().unwrap_or_default();
                    self.check(name, &place, &bytes)?;
                    Some(PostingsEntry { kind: place.kind, bytes })
                }
            });
        }
        Ok(found)
    }

    /// How many bytes of the object the bloom filter of a column takes; `None` if it has none.
    pub fn bloom_bytes(&self, column: &str) -> Option<u64> {
        let range = bloom_range(self.chunk(column)?)?;
        Some(range.end - range.start)
    }

    /// How many bytes of the object the values of a column take; 0 if the object is older than the column.
    pub fn column_bytes(&self, column: &str) -> u64 {
        self.chunk(column).and_then(|chunk| u64::try_from(chunk.compressed_size()).ok()).unwrap_or(0)
    }

    /// Whether any row may hold `value`. True without a bloom filter, and for a value of another type than the column's.
    ///
    /// # Errors
    /// `Corrupt`, naming the object and the column, or `Store`.
    pub async fn might_contain(&mut self, column: &str, value: Probe<'_>) -> Result<bool> {
        match self.bloom(column).await? {
            Some(filter) => Ok(filter.might_contain(value)),
            None => Ok(true),
        }
    }

    /// The bloom filter of a column, for those who ask it more than once; `None` if it has none.
    ///
    /// # Errors
    /// `Corrupt`, naming the object and the column, or `Store`.
    pub async fn bloom(&mut self, column: &str) -> Result<Option<BloomFilter>> {
        let Some(chunk) = self.chunk(column) else { return Ok(None) };
        let Some(range) = bloom_range(chunk) else { return Ok(None) };
        let physical = chunk.column_type();
        let bytes = self.reader.read(std::slice::from_ref(&range)).await?.pop().unwrap_or_default();
        let filter = Sbbf::from_bytes(&bytes).ok().filter(|filter| filter.num_blocks() > 0);
        let filter = filter.ok_or_else(|| {
            self.reader.corrupt(format!("the bloom filter of column {column} is malformed"))
        })?;
        Ok(Some(BloomFilter { filter, physical }))
    }

    fn column(&self, name: &str) -> Option<u32> {
        // Every column has one Parquet leaf, whose path begins with its name.
        let columns = self.footer.metadata.file_metadata().schema_descr().columns();
        let number = columns
            .iter()
            .position(|column| column.path().parts().first().is_some_and(|part| part == name))?;
        u32::try_from(number).ok()
    }

    fn chunk(&self, name: &str) -> Option<&ColumnChunkMetaData> {
        let number = self.column(name)? as usize;
        self.footer.metadata.row_groups().first()?.columns().get(number)
    }

    fn entry(&self, column: &str, kind: IndexKind) -> Option<IndexEntry> {
        let number = self.column(column)?;
        let mut entries = self.footer.index.entries().iter();
        entries.find(|entry| entry.column == number && entry.kind == kind).cloned()
    }

    fn check(&self, column: &str, entry: &IndexEntry, bytes: &[u8]) -> Result<()> {
        if crc32c::crc32c(bytes) == entry.crc32c {
            return Ok(());
        }
        let what = format!("the {} index of column {column} has a wrong CRC32C", entry.kind.name());
        Err(self.reader.corrupt(what))
    }

    fn parsed<T>(&self, column: &str, kind: IndexKind, parsed: Result<T, String>) -> Result<T> {
        parsed.map_err(|what| {
            self.reader.corrupt(format!("the {} index of column {column}: {what}", kind.name()))
        })
    }
}

/// Where a chunk's bloom filter lies.
pub(super) fn bloom_range(chunk: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let start = u64::try_from(chunk.bloom_filter_offset()?).ok()?;
    let length = u64::try_from(chunk.bloom_filter_length()?).ok()?;
    Some(start..start.checked_add(length)?)
}

/// The bloom filter of a column.
#[derive(Debug)]
pub struct BloomFilter {
    filter: Sbbf,
    physical: Type,
}

impl BloomFilter {
    /// Its memory, in bytes.
    pub fn bytes(&self) -> u64 {
        // A block is eight words of 32 bits.
        self.filter.num_blocks() as u64 * 32
    }

    /// Whether any row may hold `value`. True for a value of another type than the column's.
    pub fn might_contain(&self, value: Probe<'_>) -> bool {
        match (value, self.physical) {
            (Probe::Bytes(bytes), Type::BYTE_ARRAY) => self.filter.check(bytes),
            (Probe::Int(value), Type::INT64) => self.filter.check(&value),
            (Probe::Int(value), Type::INT32) => {
                i32::try_from(value).is_ok_and(|value| self.filter.check(&value))
            }
            _ => true,
        }
    }
}
