//! The index block between the data and the Parquet footer: its head, which says where every index entry lies, and the checksums
//! of the data before it, index entries included.
//!
//! Pure functions from bytes to values and back. Nothing is allocated by a length that was not compared with the bytes at
//! hand; errors are phrases that the caller completes with the object's name.

use std::ops::Range;

use bytes::{Buf, BufMut};

use super::index::ENTRY_BYTES_MAX;

/// Bytes under one checksum, and the alignment of every verified read.
pub(super) const BLOCK_BYTES: u64 = 64 << 10;
/// Longest index block that is read, in bytes.
pub(super) const INDEX_BYTES_MAX: u64 = 1 << 30;
/// Most entries of a directory.
pub(super) const ENTRIES_MAX: usize = 4096;

const MAGIC: &[u8; 4] = b"HWIX";
const VERSION: u32 = 1;
const HEAD_FIXED_BYTES: usize = 12;
const DIRECTORY_ENTRY_BYTES: usize = 28;
const KIND_BLOCK_CHECKSUMS: u32 = 1;
/// The column of an entry that is of the whole segment.
const NO_COLUMN: u32 = u32::MAX;

/// What an index entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IndexKind {
    /// For each distinct value the rows that hold it.
    Inverted,
    /// For each distinct value the range of its rows.
    Sorted,
}

impl IndexKind {
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Inverted => 2,
            Self::Sorted => 3,
        }
    }

    pub(crate) fn of(number: u32) -> Option<Self> {
        [Self::Inverted, Self::Sorted].into_iter().find(|kind| kind.number() == number)
    }

    /// As a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inverted => "inverted",
            Self::Sorted => "sorted",
        }
    }
}

/// Where an index entry lies in its object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct IndexEntry {
    pub(super) kind: IndexKind,
    /// Number of the column in the file.
    pub(super) column: u32,
    pub(super) range: Range<u64>,
    pub(super) crc32c: u32,
}

/// An index block ready to be written.
pub(super) struct EncodedIndexBlock {
    /// The whole block.
    pub(super) bytes: Vec<u8>,
    /// CRC32C of its head, which goes into the Parquet footer.
    pub(super) head_crc32c: u32,
}

/// Builds the index block of an object whose bytes before the block are `data`, `entries` among them.
pub(super) fn build(data: &[u8], entries: &[IndexEntry]) -> EncodedIndexBlock {
    let checksums: Vec<u8> =
        data.chunks(BLOCK_BYTES as usize).flat_map(|block| crc32c::crc32c(block).to_le_bytes()).collect();
    let head_bytes = HEAD_FIXED_BYTES + (1 + entries.len()) * DIRECTORY_ENTRY_BYTES;
    let mut bytes = Vec::with_capacity(head_bytes + checksums.len());
    bytes.put_slice(MAGIC);
    bytes.put_u32_le(VERSION);
    bytes.put_u32_le(1 + entries.len() as u32);
    let mut put = |kind: u32, column: u32, offset: u64, length: u64, crc32c: u32| {
        bytes.put_u32_le(kind);
        bytes.put_u32_le(column);
        bytes.put_u64_le(offset);
        bytes.put_u64_le(length);
        bytes.put_u32_le(crc32c);
    };
    let checksums_offset = (data.len() + head_bytes) as u64;
    put(
        KIND_BLOCK_CHECKSUMS,
        NO_COLUMN,
        checksums_offset,
        checksums.len() as u64,
        crc32c::crc32c(&checksums),
    );
    for entry in entries {
        let length = entry.range.end - entry.range.start;
        put(entry.kind.number(), entry.column, entry.range.start, length, entry.crc32c);
    }
    let head_crc32c = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksums);
    EncodedIndexBlock { bytes, head_crc32c }
}

/// What an index block says: one checksum per block of the data before it, and where the index entries are.
#[derive(Debug)]
pub(super) struct IndexBlock {
    checksums: Vec<u32>,
    data_bytes: u64,
    entries: Vec<IndexEntry>,
}

impl IndexBlock {
    /// Reads an index block that begins at `data_bytes`, checking its head against the footer's `head_crc32c`.
    pub(super) fn parse(block: &[u8], head_crc32c: u32, data_bytes: u64) -> Result<Self, String> {
        let (directory, head_bytes) = parse_head(block, head_crc32c)?;
        let Some((first, rest)) =
            directory.split_first().filter(|(first, _)| first.kind == KIND_BLOCK_CHECKSUMS)
        else {
            return Err("the index block does not begin with block checksums".into());
        };
        let bytes = &block[head_bytes..];
        let placed = first.offset == data_bytes + head_bytes as u64 && first.length == bytes.len() as u64;
        if !placed {
            return Err("the block checksums are misplaced".into());
        }
        if crc32c::crc32c(bytes) != first.crc32c {
            return Err("the block checksums have a wrong CRC32C".into());
        }
        if bytes.len() as u64 != data_bytes.div_ceil(BLOCK_BYTES) * 4 {
            return Err(format!(
                "{} bytes of block checksums do not fit {data_bytes} bytes of data",
                bytes.len()
            ));
        }
        let checksums = bytes.as_chunks::<4>().0.iter().map(|crc| u32::from_le_bytes(*crc)).collect();
        Ok(Self { checksums, data_bytes, entries: known_entries(rest, data_bytes)? })
    }

    /// Length of the data that the checksums cover.
    pub(super) fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// The index entries, in the order of their places.
    pub(super) fn entries(&self) -> &[IndexEntry] {
        &self.entries
    }

    /// Memory held, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.checksums.len() * 4 + self.entries.len() * size_of::<IndexEntry>()
    }

    /// The first block of a whole object that is not what was written; the object has at least the data's bytes.
    pub(super) fn damaged_block(&self, object: &[u8]) -> Option<u64> {
        let data = object.get(..self.data_bytes as usize).unwrap_or_default();
        let blocks = data.chunks(BLOCK_BYTES as usize).zip(0..);
        blocks.filter(|(bytes, block)| !self.matches(*block, bytes)).map(|(_, block)| block).next()
    }

    /// Whether `bytes`, which begin at block `block`, are what was written there.
    pub(super) fn matches(&self, block: u64, bytes: &[u8]) -> bool {
        self.checksums.get(block as usize).is_some_and(|expected| crc32c::crc32c(bytes) == *expected)
    }
}

/// The entries of known kinds; all of them must lie one behind the other inside the data.
fn known_entries(directory: &[DirectoryEntry], data_bytes: u64) -> Result<Vec<IndexEntry>, String> {
    let mut entries = Vec::with_capacity(directory.len());
    let mut free = 0;
    for entry in directory {
        let end = entry.offset.checked_add(entry.length).filter(|end| *end <= data_bytes);
        let (true, Some(end)) = (entry.offset >= free && entry.length <= ENTRY_BYTES_MAX, end) else {
            return Err(format!("the index entry of kind {} is misplaced", entry.kind));
        };
        free = end;
        if let Some(kind) = IndexKind::of(entry.kind) {
            entries.push(IndexEntry {
                kind,
                column: entry.column,
                range: entry.offset..end,
                crc32c: entry.crc32c,
            });
        }
    }
    Ok(entries)
}

struct DirectoryEntry {
    kind: u32,
    column: u32,
    offset: u64,
    length: u64,
    crc32c: u32,
}

fn parse_head(block: &[u8], head_crc32c: u32) -> Result<(Vec<DirectoryEntry>, usize), String> {
    let Some((mut fixed, _)) = block.split_at_checked(HEAD_FIXED_BYTES) else {
        return Err("the index block is too short".into());
    };
    let magic = fixed.split_off(..MAGIC.len()).unwrap_or_default();
    let (version, entries) = (fixed.get_u32_le(), fixed.get_u32_le());
    if magic != MAGIC {
        return Err("the index block does not begin with HWIX".into());
    }
    if entries as usize > ENTRIES_MAX {
        return Err(format!("the index block announces {entries} entries, more than {ENTRIES_MAX}"));
    }
    let head_bytes = HEAD_FIXED_BYTES + entries as usize * DIRECTORY_ENTRY_BYTES;
    let Some(head) = block.get(..head_bytes) else {
        return Err("the index block is too short for its directory".into());
    };
    if crc32c::crc32c(head) != head_crc32c {
        return Err("the index block's head has a wrong CRC32C".into());
    }
    if version != VERSION {
        return Err(format!("the index block has version {version}, this build reads {VERSION}"));
    }
    let mut directory = &head[HEAD_FIXED_BYTES..];
    let entries = (0..entries).map(|_| DirectoryEntry {
        kind: directory.get_u32_le(),
        column: directory.get_u32_le(),
        offset: directory.get_u64_le(),
        length: directory.get_u64_le(),
        crc32c: directory.get_u32_le(),
    });
    Ok((entries.collect(), head_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|i| (i * 31 % 251) as u8).collect()
    }

    fn entry(kind: IndexKind, range: Range<u64>) -> IndexEntry {
        IndexEntry { kind, column: 3, range, crc32c: 77 }
    }

    #[test]
    fn checksums_cover_every_block_and_the_shorter_last_one() {
        for bytes in [1, BLOCK_BYTES as usize, BLOCK_BYTES as usize + 1, 3 * BLOCK_BYTES as usize - 1] {
            let data = data(bytes);
            let built = build(&data, &[]);
            let block = IndexBlock::parse(&built.bytes, built.head_crc32c, bytes as u64).unwrap();
            for (nth, chunk) in data.chunks(BLOCK_BYTES as usize).enumerate() {
                assert!(block.matches(nth as u64, chunk));
                assert!(!block.matches(nth as u64 + 1, chunk) || data.len() < 2);
                assert!(!block.matches(nth as u64, &chunk[..chunk.len() - 1]));
            }
        }
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_of_the_block_is_an_error() {
        let data = data(200_000);
        let built = build(&data, &[entry(IndexKind::Inverted, 5..9), entry(IndexKind::Sorted, 9..200_000)]);
        for position in 0..built.bytes.len() {
            for bit in 0..8 {
                let mut bytes = built.bytes.clone();
                bytes[position] ^= 1 << bit;
                assert!(IndexBlock::parse(&bytes, built.head_crc32c, data.len() as u64).is_err());
            }
            let cut = &built.bytes[..position];
            assert!(IndexBlock::parse(cut, built.head_crc32c, data.len() as u64).is_err());
        }
        assert!(IndexBlock::parse(&built.bytes, built.head_crc32c, 300_000).is_err());
    }

    #[test]
    fn entries_come_back_and_unknown_kinds_are_skipped() {
        let entries = [entry(IndexKind::Sorted, 0..4), entry(IndexKind::Inverted, 4..4)];
        let built = build(b"data", &entries);
        let parsed = IndexBlock::parse(&built.bytes, built.head_crc32c, 4).unwrap();
        assert_eq!(parsed.entries(), entries);

        let mut block = built.bytes;
        let second = HEAD_FIXED_BYTES + DIRECTORY_ENTRY_BYTES;
        block[second] = 99;
        let head_crc32c = crc32c::crc32c(&block[..second + 2 * DIRECTORY_ENTRY_BYTES]);
        assert_eq!(IndexBlock::parse(&block, head_crc32c, 4).unwrap().entries(), &entries[1..]);
    }

    #[test]
    fn entries_outside_the_data_or_over_each_other_are_refused() {
        for (first, second) in [(0..5, 5..5), (0..3, 2..4), (3..4, 0..1), (u64::MAX - 1..u64::MAX, 0..0)] {
            let built =
                build(b"data", &[entry(IndexKind::Sorted, first), entry(IndexKind::Inverted, second)]);
            assert!(IndexBlock::parse(&built.bytes, built.head_crc32c, 4).is_err());
        }
    }

    #[test]
    fn an_unknown_version_is_named() {
        let mut block = build(b"data", &[]).bytes;
        block[4] = 9;
        let head_crc32c = crc32c::crc32c(&block[..HEAD_FIXED_BYTES + DIRECTORY_ENTRY_BYTES]);
        let error = IndexBlock::parse(&block, head_crc32c, 4).unwrap_err();
        assert!(error.contains("version 9, this build reads 1"), "{error}");
    }

    #[test]
    fn absurd_directories_are_refused_before_anything_is_allocated() {
        let mut block = Vec::new();
        block.put_slice(MAGIC);
        block.put_u32_le(VERSION);
        block.put_u32_le(u32::MAX);
        let error = IndexBlock::parse(&block, crc32c::crc32c(&block), 4).unwrap_err();
        assert!(error.contains("4294967295"), "{error}");
    }
}
