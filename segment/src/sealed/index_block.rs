//! The index block between the row groups and the Parquet footer: its head, and the checksums of the data before it.
//!
//! Pure functions from bytes to values and back. Nothing is allocated by a length that was not compared with the bytes at
//! hand; errors are phrases that the caller completes with the object's name.

use bytes::{Buf, BufMut};

/// Bytes under one checksum, and the alignment of every verified read.
pub(super) const BLOCK_BYTES: u64 = 64 << 10;
/// Longest index block that is read, in bytes.
pub(super) const INDEX_BYTES_MAX: u64 = 1 << 30;

const MAGIC: &[u8; 4] = b"HWIX";
const VERSION: u32 = 1;
const HEAD_FIXED_BYTES: usize = 12;
const DIRECTORY_ENTRY_BYTES: usize = 24;
const ENTRIES_MAX: u32 = 4096;
const KIND_BLOCK_CHECKSUMS: u32 = 1;

/// An index block ready to be written.
pub(super) struct EncodedIndexBlock {
    /// The whole block.
    pub(super) bytes: Vec<u8>,
    /// CRC32C of its head, which goes into the Parquet footer.
    pub(super) head_crc32c: u32,
}

/// Builds the index block of an object whose bytes before the block are `data`.
pub(super) fn build(data: &[u8]) -> EncodedIndexBlock {
    let checksums: Vec<u8> =
        data.chunks(BLOCK_BYTES as usize).flat_map(|block| crc32c::crc32c(block).to_le_bytes()).collect();
    let head_bytes = HEAD_FIXED_BYTES + DIRECTORY_ENTRY_BYTES;
    let mut bytes = Vec::with_capacity(head_bytes + checksums.len());
    bytes.put_slice(MAGIC);
    bytes.put_u32_le(VERSION);
    bytes.put_u32_le(1);
    bytes.put_u32_le(KIND_BLOCK_CHECKSUMS);
    bytes.put_u64_le(head_bytes as u64);
    bytes.put_u64_le(checksums.len() as u64);
    bytes.put_u32_le(crc32c::crc32c(&checksums));
    let head_crc32c = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksums);
    EncodedIndexBlock { bytes, head_crc32c }
}

/// One checksum per block of the data before the index block.
#[derive(Debug)]
pub(super) struct BlockChecksums {
    checksums: Vec<u32>,
    data_bytes: u64,
}

impl BlockChecksums {
    /// Reads them out of an index block, checking its head against the footer's `head_crc32c`.
    pub(super) fn parse(block: &[u8], head_crc32c: u32, data_bytes: u64) -> Result<Self, String> {
        let (directory, head_bytes) = parse_head(block, head_crc32c)?;
        let mut checksums = None;
        let mut next = head_bytes as u64;
        for entry in directory {
            let end = entry.offset.checked_add(entry.length).filter(|end| *end <= block.len() as u64);
            let (true, Some(end)) = (entry.offset == next, end) else {
                return Err(format!("the index block's entry of kind {} is misplaced", entry.kind));
            };
            next = end;
            if entry.kind == KIND_BLOCK_CHECKSUMS {
                let bytes = &block[entry.offset as usize..end as usize];
                if crc32c::crc32c(bytes) != entry.crc32c {
                    return Err("the block checksums have a wrong CRC32C".into());
                }
                checksums = Some(bytes);
            }
        }
        let bytes = checksums.ok_or("the index block has no block checksums")?;
        if bytes.len() as u64 != data_bytes.div_ceil(BLOCK_BYTES) * 4 {
            return Err(format!(
                "{} bytes of block checksums do not fit {data_bytes} bytes of data",
                bytes.len()
            ));
        }
        let checksums = bytes.as_chunks::<4>().0.iter().map(|crc| u32::from_le_bytes(*crc)).collect();
        Ok(Self { checksums, data_bytes })
    }

    /// Length of the data that the checksums cover.
    pub(super) fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Memory held, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.checksums.len() * 4
    }

    /// Whether `bytes`, which begin at block `block`, are what was written there.
    pub(super) fn matches(&self, block: u64, bytes: &[u8]) -> bool {
        self.checksums.get(block as usize).is_some_and(|expected| crc32c::crc32c(bytes) == *expected)
    }
}

struct DirectoryEntry {
    kind: u32,
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
    if entries > ENTRIES_MAX {
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

    #[test]
    fn checksums_cover_every_block_and_the_shorter_last_one() {
        for bytes in [1, BLOCK_BYTES as usize, BLOCK_BYTES as usize + 1, 3 * BLOCK_BYTES as usize - 1] {
            let data = data(bytes);
            let built = build(&data);
            let checksums = BlockChecksums::parse(&built.bytes, built.head_crc32c, bytes as u64).unwrap();
            for (block, chunk) in data.chunks(BLOCK_BYTES as usize).enumerate() {
                assert!(checksums.matches(block as u64, chunk));
                assert!(!checksums.matches(block as u64 + 1, chunk) || data.len() < 2);
                assert!(!checksums.matches(block as u64, &chunk[..chunk.len() - 1]));
            }
        }
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_of_the_block_is_an_error() {
        let data = data(200_000);
        let built = build(&data);
        for position in 0..built.bytes.len() {
            for bit in 0..8 {
                let mut bytes = built.bytes.clone();
                bytes[position] ^= 1 << bit;
                assert!(BlockChecksums::parse(&bytes, built.head_crc32c, data.len() as u64).is_err());
            }
            let cut = &built.bytes[..position];
            assert!(BlockChecksums::parse(cut, built.head_crc32c, data.len() as u64).is_err());
        }
        assert!(BlockChecksums::parse(&built.bytes, built.head_crc32c, 300_000).is_err());
    }

    #[test]
    fn entries_of_unknown_kinds_are_skipped() {
        let checksums = crc32c::crc32c(b"data").to_le_bytes();
        let mut block = Vec::new();
        block.put_slice(MAGIC);
        block.put_u32_le(VERSION);
        block.put_u32_le(2);
        let head_bytes = (HEAD_FIXED_BYTES + 2 * DIRECTORY_ENTRY_BYTES) as u64;
        for (kind, offset, entry) in [(77, head_bytes, &b"bloom"[..]), (1, head_bytes + 5, &checksums[..])] {
            block.put_u32_le(kind);
            block.put_u64_le(offset);
            block.put_u64_le(entry.len() as u64);
            block.put_u32_le(crc32c::crc32c(entry));
        }
        let head_crc32c = crc32c::crc32c(&block);
        block.extend_from_slice(b"bloom");
        block.extend_from_slice(&checksums);
        assert!(BlockChecksums::parse(&block, head_crc32c, 4).unwrap().matches(0, b"data"));
    }

    #[test]
    fn an_unknown_version_is_named() {
        let mut block = build(b"data").bytes;
        block[4] = 9;
        let head_crc32c = crc32c::crc32c(&block[..HEAD_FIXED_BYTES + DIRECTORY_ENTRY_BYTES]);
        let error = BlockChecksums::parse(&block, head_crc32c, 4).unwrap_err();
        assert!(error.contains("version 9, this build reads 1"), "{error}");
    }

    #[test]
    fn absurd_directories_are_refused_before_anything_is_allocated() {
        let mut block = Vec::new();
        block.put_slice(MAGIC);
        block.put_u32_le(VERSION);
        block.put_u32_le(u32::MAX);
        let error = BlockChecksums::parse(&block, crc32c::crc32c(&block), 4).unwrap_err();
        assert!(error.contains("4294967295"), "{error}");
    }
}
