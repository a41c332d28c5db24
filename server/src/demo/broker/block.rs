//! One stretch of a partition's log: batches one after the other, in a file or in memory, and their index.
//!
//! Invariant: the first `bytes` bytes of the store are exactly the batches of `entries`, whole and in order;
//! offsets ascend. What a crash left behind the last whole batch is cut off when the block is opened.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};

use super::batch::{self, BatchHeader};

/// Where a batch stands.
#[derive(Clone, Copy, Debug)]
struct Entry {
    last_offset: i64,
    max_timestamp: i64,
    position: usize,
}

#[derive(Debug)]
enum Store {
    Memory(Vec<u8>),
    File { file: File, path: PathBuf },
}

/// A run of batches.
#[derive(Debug)]
pub(super) struct Block {
    base_offset: i64,
    entries: Vec<Entry>,
    bytes: usize,
    max_timestamp: i64,
    store: Store,
}

impl Block {
    /// An empty block whose first record will have `base_offset`; a file in `dir` if given.
    pub(super) fn create(dir: Option<&Path>, base_offset: i64) -> io::Result<Self> {
        let store = match dir {
            None => Store::Memory(Vec::new()),
            Some(dir) => {
                // 20 digits: names sort as offsets do.
                let path = dir.join(format!("{base_offset:020}.log"));
                let file =
                    OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
                Store::File { file, path }
            }
        };
        Ok(Self { base_offset, entries: Vec::new(), bytes: 0, max_timestamp: i64::MIN, store })
    }

    /// Opens a block file, calls `seen` for each whole batch, and cuts off whatever follows the last one.
    pub(super) fn open(path: &Path, mut seen: impl FnMut(&BatchHeader)) -> io::Result<Self> {
        let base_offset = base_offset_of(path).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} is not named by an offset", path.display()),
            )
        })?;
        let contents = std::fs::read(path)?;
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let store = Store::File { file, path: path.to_owned() };
        let mut block = Self { base_offset, entries: Vec::new(), bytes: 0, max_timestamp: i64::MIN, store };
        while block.bytes < contents.len() {
            match BatchHeader::check(&contents[block.bytes..]) {
                Ok(header) if header.base_offset == block.end_offset() => {
                    seen(&header);
                    block.note(&header);
                }
                other => {
                    let reason =
                        other.map_or_else(|fault| fault.to_string(), |_| "not the next offset".into());
                    tracing::warn!(
                        file = %path.display(), kept_bytes = block.bytes, cut_bytes = contents.len() - block.bytes,
                        reason, "a torn tail was cut off"
                    );
                    block.cut_tail()?;
                    break;
                }
            }
        }
        Ok(block)
    }

    pub(super) fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// One past the last offset.
    pub(super) fn end_offset(&self) -> i64 {
        self.entries.last().map_or(self.base_offset, |entry| entry.last_offset + 1)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// Adds a checked and patched batch. On an error the block is as it was before.
    pub(super) fn append(&mut self, bytes: &[u8], header: &BatchHeader) -> io::Result<()> {
        match &mut self.store {
            Store::Memory(memory) => memory.extend_from_slice(bytes),
            Store::File { file, .. } => {
                if let Err(error) = file.write_all_at(bytes, self.bytes as u64) {
                    self.cut_tail()?;
                    return Err(error);
                }
            }
        }
        self.note(header);
        Ok(())
    }

    /// Bytes from the batch that holds `offset` to the end of the block.
    pub(super) fn bytes_from(&self, offset: i64) -> usize {
        let first = self.entry_of(offset);
        self.entries.get(first).map_or(0, |entry| self.bytes - entry.position)
    }

    /// Whole batches from the one that holds `offset` on: as many as fit `bytes_max`, and at least one if
    /// `at_least_one`. Empty at the end of the block.
    pub(super) fn read(&self, offset: i64, bytes_max: usize, at_least_one: bool) -> io::Result<Bytes> {
        let first = self.entry_of(offset);
        let Some(start) = self.entries.get(first).map(|entry| entry.position) else {
            return Ok(Bytes::new());
        };
        let fitting = self.entries[first..].partition_point(|entry| {
            // An entry's start is the end of the one before it.
            entry.position - start <= bytes_max
        });
        // The last of those only starts inside the limit, unless the block ends inside it too.
        let whole = if self.bytes - start <= bytes_max { fitting } else { fitting - 1 };
        let last = first + whole.max(usize::from(at_least_one));
        let end = self.entries.get(last).map_or(self.bytes, |entry| entry.position);
        self.slice(start, end)
    }

    /// Offset and timestamp of the first record at or after `offset` whose timestamp is at least `from_ms`.
    pub(super) fn first_at_or_after(&self, offset: i64, from_ms: i64) -> io::Result<Option<(i64, i64)>> {
        for index in self.entry_of(offset)..self.entries.len() {
            let entry = self.entries[index];
            if entry.max_timestamp < from_ms {
                continue;
            }
            let end = self.entries.get(index + 1).map_or(self.bytes, |next| next.position);
            let bytes = self.slice(entry.position, end)?;
            let header = BatchHeader::check(&bytes)
                .map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault.to_string()))?;
            let found = batch::first_at_or_after(&bytes, &header, from_ms);
            if let Some((found, timestamp)) = found {
                return Ok(Some((found.max(offset), timestamp)));
            }
        }
        Ok(None)
    }

    /// Removes the block's file.
    pub(super) fn delete(self) -> io::Result<()> {
        match self.store {
            Store::Memory(_) => Ok(()),
            Store::File { path, .. } => std::fs::remove_file(path),
        }
    }

    fn note(&mut self, header: &BatchHeader) {
        self.entries.push(Entry {
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            position: self.bytes,
        });
        self.bytes += header.bytes;
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
    }

    /// Index of the first batch that ends at or after `offset`.
    fn entry_of(&self, offset: i64) -> usize {
        self.entries.partition_point(|entry| entry.last_offset < offset)
    }

    fn slice(&self, start: usize, end: usize) -> io::Result<Bytes> {
        match &self.store {
            Store::Memory(memory) => Ok(Bytes::copy_from_slice(&memory[start..end])),
            Store::File { file, .. } => {
                let mut bytes = BytesMut::zeroed(end - start);
                file.read_exact_at(&mut bytes, start as u64)?;
                Ok(bytes.freeze())
            }
        }
    }

    fn cut_tail(&self) -> io::Result<()> {
        match &self.store {
            Store::Memory(_) => Ok(()),
            Store::File { file, .. } => file.set_len(self.bytes as u64),
        }
    }
}

/// The offset that names a block file; None for any other file.
pub(super) fn base_offset_of(path: &Path) -> Option<i64> {
    path.file_name()?.to_str()?.strip_suffix(".log")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::batch::testing::batch;
    use super::*;

    fn filled(dir: Option<&Path>) -> Block {
        let mut block = Block::create(dir, 10).unwrap();
        for timestamps in [&[1, 2][..], &[5], &[3, 9, 4]] {
            let mut bytes = batch(timestamps, (-1, -1, -1));
            batch::patch(&mut bytes, block.end_offset());
            block.append(&bytes, &BatchHeader::check(&bytes).unwrap()).unwrap();
        }
        block
    }

    #[test]
    fn reads_are_whole_batches_within_the_limit() {
        let block = filled(None);
        let one = batch(&[1, 2], (-1, -1, -1)).len();
        assert_eq!(block.end_offset(), 16);
        assert_eq!(block.read(11, 1, true).unwrap().len(), one);
        assert_eq!(block.read(11, 1, false).unwrap().len(), 0);
        assert_eq!(block.read(11, one, false).unwrap().len(), one);
        assert_eq!(block.read(11, one + 1, false).unwrap().len(), one);
        assert_eq!(block.read(10, usize::MAX / 2, true).unwrap().len(), block.bytes());
        assert_eq!(block.read(14, usize::MAX / 2, true).unwrap().len(), block.bytes_from(13));
        assert!(block.read(16, 1000, true).unwrap().is_empty());
    }

    #[test]
    fn timestamps_are_found_across_batches() {
        let block = filled(None);
        let found = |from_ms| block.first_at_or_after(10, from_ms).unwrap();
        assert_eq!(found(2), Some((11, 2)));
        assert_eq!(found(3), Some((12, 5)));
        assert_eq!(found(6), Some((14, 9)));
        assert_eq!(found(10), None);
    }

    #[test]
    fn a_torn_tail_is_cut_and_the_rest_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("{:020}.log", 10));
        let (whole, last) = {
            let block = filled(Some(dir.path()));
            (block.bytes(), block.bytes_from(13))
        };
        let contents = std::fs::read(&path).unwrap();
        assert_eq!(contents.len(), whole);
        for cut in 1..=last {
            std::fs::write(&path, &contents[..whole - cut]).unwrap();
            let mut batches = 0;
            let mut block = Block::open(&path, |_| batches += 1).unwrap();
            assert_eq!((batches, block.end_offset(), block.bytes()), (2, 13, whole - last));
            let mut bytes = batch(&[7], (-1, -1, -1));
            batch::patch(&mut bytes, 13);
            block.append(&bytes, &BatchHeader::check(&bytes).unwrap()).unwrap();
            assert_eq!(Block::open(&path, |_| ()).unwrap().end_offset(), 14);
        }
    }
}
