//! The end of a sealed object, verified and parsed: Parquet metadata with page index, and the index block.
//!
//! Parsing is a pure function of the bytes `[index_offset, size)`; the cache keeps what was parsed for the whole node.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use parquet::DecodeResult;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder};
use ulid::Ulid;

use super::index_block::{BLOCK_BYTES, INDEX_BYTES_MAX, IndexBlock};
use super::meta::SegmentMeta;
use super::{FORMAT_VERSION, SEGMENT_BYTES_MAX, SEGMENT_ROWS_MAX};

pub(super) const KEY_FORMAT_VERSION: &str = "headwater.format_version";
pub(super) const KEY_INDEX_OFFSET: &str = "headwater.index_offset";
pub(super) const KEY_INDEX_LENGTH: &str = "headwater.index_length";
pub(super) const KEY_INDEX_CRC32C: &str = "headwater.index_crc32c";
pub(super) const KEY_TABLE: &str = "headwater.table";
pub(super) const KEY_PARTITION: &str = "headwater.partition";
pub(super) const KEY_FROM: &str = "headwater.from";
pub(super) const KEY_TO: &str = "headwater.to";
pub(super) const KEY_ID: &str = "headwater.id";
/// The last one: see [`super::tail_mark`].
pub(super) const KEY_TAIL: &str = "headwater.tail";

/// Longest tail that is read, in bytes.
const TAIL_BYTES_MAX: u64 = 1 << 30;
/// The footer's length and "PAR1".
const TAIL_BYTES_MIN: u64 = 8;

/// What every read of a segment needs.
#[derive(Debug)]
pub(super) struct Footer {
    /// Parquet metadata, with column and offset indexes.
    pub(super) metadata: Arc<ParquetMetaData>,
    /// Checksums of the data, and where the index entries are.
    pub(super) index: IndexBlock,
}

impl Footer {
    /// The bytes that [`parse`](Self::parse) needs. Refuses what the table log says about the object if it is beyond the
    /// format's limits, so that nothing is read or allocated for it.
    pub(super) fn range(meta: &SegmentMeta) -> Result<Range<u64>, String> {
        if meta.format_version != FORMAT_VERSION {
            return Err(format!(
                "it has format version {}, this build reads {FORMAT_VERSION}; run the release that wrote it, or a newer one",
                meta.format_version
            ));
        }
        let index_end = meta.index_offset.checked_add(meta.index_length);
        let tail_bytes = index_end.and_then(|end| meta.size_bytes.checked_sub(end));
        let in_limits = tail_bytes.is_some_and(|bytes| (TAIL_BYTES_MIN..=TAIL_BYTES_MAX).contains(&bytes))
            && meta.size_bytes <= SEGMENT_BYTES_MAX
            && meta.index_length <= INDEX_BYTES_MAX
            && meta.rows <= SEGMENT_ROWS_MAX;
        if !in_limits {
            return Err(format!(
                "the table log describes it wrongly: {} bytes, {} rows, index block of {} bytes at {}",
                meta.size_bytes, meta.rows, meta.index_length, meta.index_offset
            ));
        }
        Ok(meta.index_offset..meta.size_bytes)
    }

    /// Verifies and parses the bytes of [`range`](Self::range).
    pub(super) fn parse(meta: &SegmentMeta, bytes: Bytes) -> Result<Self, String> {
        let range = Self::range(meta)?;
        if bytes.len() as u64 != range.end - range.start {
            return Err(format!(
                "it ends early: {} bytes of its end instead of {}",
                bytes.len(),
                range.end - range.start
            ));
        }
        let index_block = bytes.slice(..meta.index_length as usize);
        let tail = bytes.slice(meta.index_length as usize..);
        if crc32c::crc32c(&tail) != meta.tail_crc32c {
            return Err("its footer has a wrong CRC32C".into());
        }
        let metadata = parse_metadata(meta, tail)?;
        let entries = metadata.file_metadata().key_value_metadata();
        let entry = |key: &str| {
            let found = entries.and_then(|entries| entries.iter().find(|entry| entry.key == key));
            found.and_then(|entry| entry.value.as_deref()).ok_or_else(|| format!("its footer has no {key}"))
        };
        let expected = [
            (KEY_FORMAT_VERSION, meta.format_version.to_string()),
            (KEY_INDEX_OFFSET, meta.index_offset.to_string()),
            (KEY_INDEX_LENGTH, meta.index_length.to_string()),
            (KEY_PARTITION, meta.partition.to_string()),
            (KEY_FROM, meta.from.to_string()),
            (KEY_TO, meta.to.to_string()),
            (KEY_ID, meta.id.to_string()),
        ];
        for (key, expected) in expected {
            let found = entry(key)?;
            if found != expected {
                return Err(format!("its footer says {key} = {found}, the table log {expected}"));
            }
        }
        let head_crc32c =
            u32::from_str_radix(entry(KEY_INDEX_CRC32C)?, 16).map_err(|error| error.to_string())?;
        let index = IndexBlock::parse(&index_block, head_crc32c, meta.index_offset)?;
        Ok(Self { metadata: Arc::new(metadata), index })
    }

    /// Verifies every byte of a whole object, and parses its end.
    pub(super) fn verify_all(meta: &SegmentMeta, object: &Bytes) -> Result<Self, String> {
        let range = Self::range(meta)?;
        if object.len() as u64 != range.end {
            return Err(format!("it has {} bytes, the table log says {}", object.len(), range.end));
        }
        let footer = Self::parse(meta, object.slice(range.start as usize..))?;
        match footer.index.damaged_block(object) {
            None => Ok(footer),
            Some(block) => Err(format!("the 64 KiB at {} have a wrong CRC32C", block * BLOCK_BYTES)),
        }
    }

    fn memory_bytes(&self) -> usize {
        self.metadata.memory_size() + self.index.memory_bytes()
    }
}

fn parse_metadata(meta: &SegmentMeta, tail: Bytes) -> Result<ParquetMetaData, String> {
    let tail_start = meta.size_bytes - tail.len() as u64;
    let decode = || {
        let mut decoder = ParquetMetaDataPushDecoder::try_new(meta.size_bytes)?
            .with_page_index_policy(PageIndexPolicy::Optional);
        decoder.push_range(tail_start..meta.size_bytes, tail)?;
        decoder.try_decode()
    };
    match decode().map_err(|error| error.to_string())? {
        DecodeResult::Data(metadata) => Ok(metadata),
        DecodeResult::NeedsData(_) | DecodeResult::Finished => {
            Err("its footer does not end where its tail begins".into())
        }
    }
}

/// Parsed footers of the node's sealed segments, least recently used out first.
///
/// A footer is kept under the segment's id, which no other segment of any table has, and only after it was verified.
pub struct FooterCache {
    bytes_max: usize,
    state: Mutex<CacheState>,
}

#[derive(Default)]
struct CacheState {
    footers: HashMap<Ulid, CachedFooter>,
    bytes: usize,
    clock: u64,
}

struct CachedFooter {
    footer: Arc<Footer>,
    bytes: usize,
    used: u64,
}

impl FooterCache {
    /// A cache that holds at most `bytes_max` bytes of parsed footers.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, state: Mutex::default() })
    }

    pub(super) fn get(&self, id: Ulid) -> Option<Arc<Footer>> {
        let mut state = self.state.lock();
        state.clock += 1;
        let now = state.clock;
        let cached = state.footers.get_mut(&id)?;
        cached.used = now;
        Some(cached.footer.clone())
    }

    pub(super) fn insert(&self, id: Ulid, footer: Arc<Footer>) {
        let bytes = footer.memory_bytes();
        if bytes > self.bytes_max {
            return;
        }
        let mut state = self.state.lock();
        state.clock += 1;
        let used = state.clock;
        state.bytes += bytes;
        if let Some(replaced) = state.footers.insert(id, CachedFooter { footer, bytes, used }) {
            state.bytes -= replaced.bytes;
        }
        if state.bytes > self.bytes_max {
            state.evict(self.bytes_max);
        }
    }
}

impl CacheState {
    /// Makes room in one pass: drops the least recently used until three quarters of the limit are held, so that a full cache
    /// does not look for a victim at every insert.
    fn evict(&mut self, bytes_max: usize) {
        let mut by_use: Vec<(u64, Ulid)> =
            self.footers.iter().map(|(id, cached)| (cached.used, *id)).collect();
        by_use.sort_unstable();
        for (_, id) in by_use {
            if self.bytes <= bytes_max / 4 * 3 {
                break;
            }
            if let Some(cached) = self.footers.remove(&id) {
                self.bytes -= cached.bytes;
            }
        }
    }
}
