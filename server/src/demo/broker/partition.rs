//! One partition: an ordered run of blocks, its start and end offset, and the fetches that wait for more.
//!
//! Invariants: blocks ascend and the last one is open for appends, so the end offset survives the removal of
//! every record; `start <= end`; the lock is held for one append or one read and never across an await.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::batch::{self, BatchFault, BatchHeader};
use super::block::{self, Block};
use super::producers::{Producers, Verdict};

/// The oldest block is the unit of retention, so a block is an eighth of what is kept, within these bounds.
const BLOCK_BYTES_MIN: u64 = 64 << 10;
const BLOCK_BYTES_MAX: u64 = 64 << 20;
/// Holds the log start when it lies inside a block.
const START_FILE: &str = "start";

/// Offsets of a partition at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The oldest offset that can be read.
    pub(super) start: i64,
    /// One past the newest.
    pub(super) end: i64,
}

/// A partition and its log.
#[derive(Debug)]
pub(super) struct Partition {
    log: Mutex<Log>,
    /// Woken by every append, and when the partition goes away.
    pub(super) changed: Notify,
}

#[derive(Debug)]
struct Log {
    dir: Option<PathBuf>,
    retention_bytes: u64,
    block_bytes: u64,
    start: i64,
    blocks: VecDeque<Block>,
    producers: Producers,
}

impl Partition {
    /// Opens the partition in `dir`, or an empty one in memory. At least `retention_bytes` of the newest
    /// batches are kept.
    pub(super) fn open(dir: Option<PathBuf>, retention_bytes: u64) -> io::Result<Self> {
        let mut producers = Producers::default();
        let mut blocks = VecDeque::new();
        let mut start = 0;
        if let Some(dir) = &dir {
            std::fs::create_dir_all(dir)?;
            for path in block_files(dir)? {
                blocks.push_back(Block::open(&path, |header| producers.stored(header))?);
            }
            start = read_start(dir)?;
        }
        if blocks.is_empty() {
            blocks.push_back(Block::create(dir.as_deref(), 0)?);
        }
        start = start.max(blocks.front().map_or(0, Block::base_offset));
        let block_bytes = (retention_bytes / 8).clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX);
        let log = Log { dir, retention_bytes, block_bytes, start, blocks, producers };
        Ok(Self { log: Mutex::new(log), changed: Notify::new() })
    }

    /// First and next offset.
    pub(super) fn bounds(&self) -> Bounds {
        self.log.lock().bounds()
    }

    /// Stores one batch as a producer sent it: its base offset in the log, or why it was refused.
    pub(super) fn append(&self, records: &[u8]) -> Result<i64, ResponseError> {
        let mut header = BatchHeader::check(records).map_err(|fault| match fault {
            BatchFault::Format(_) => ResponseError::UnsupportedForMessageFormat,
            BatchFault::Truncated | BatchFault::Crc => ResponseError::CorruptMessage,
            BatchFault::Malformed(_) => ResponseError::InvalidRecord,
        })?;
        if header.bytes != records.len() {
            return Err(ResponseError::InvalidRecord); // Kafka takes one batch per partition and request
        }
        let mut bytes = BytesMut::from(records);
        let base_offset = {
            let mut log = self.log.lock();
            match log.producers.judge(&header) {
                Verdict::Append => {}
                Verdict::Duplicate(base_offset) => return Ok(base_offset),
                Verdict::OutOfOrder => return Err(ResponseError::OutOfOrderSequenceNumber),
                Verdict::Fenced => return Err(ResponseError::InvalidProducerEpoch),
            }
            header.base_offset = log.bounds().end;
            batch::patch(&mut bytes, header.base_offset);
            log.append(&bytes, &header).map_err(storage_error)?;
            header.base_offset
        };
        self.changed.notify_waiters();
        Ok(base_offset)
    }

    /// Bytes that a fetch from `offset` would find, and the bounds.
    ///
    /// # Errors
    /// `OffsetOutOfRange` if `offset` lies outside the bounds.
    pub(super) fn available(&self, offset: i64) -> (Bounds, Result<usize, ResponseError>) {
        let log = self.log.lock();
        let bounds = log.bounds();
        if offset < bounds.start || offset > bounds.end {
            return (bounds, Err(ResponseError::OffsetOutOfRange));
        }
        (bounds, Ok(log.blocks.iter().skip(log.block_of(offset)).map(|block| block.bytes_from(offset)).sum()))
    }

    /// Whole batches from the one that holds `offset` on, of one block: at most `bytes_max`, but one whole
    /// batch whatever its size if `at_least_one`.
    pub(super) fn read(
        &self,
        offset: i64,
        bytes_max: usize,
        at_least_one: bool,
    ) -> (Bounds, Result<Bytes, ResponseError>) {
        let log = self.log.lock();
        let bounds = log.bounds();
        if offset < bounds.start || offset > bounds.end {
            return (bounds, Err(ResponseError::OffsetOutOfRange));
        }
        let read = match log.blocks.get(log.block_of(offset)) {
            Some(block) => block.read(offset, bytes_max, at_least_one).map_err(storage_error),
            None => Ok(Bytes::new()),
        };
        (bounds, read)
    }

    /// Offset and timestamp of the oldest record whose timestamp is at least `from_ms`; None if there is none.
    pub(super) fn first_at_or_after(&self, from_ms: i64) -> Result<Option<(i64, i64)>, ResponseError> {
        let log = self.log.lock();
        for block in log.blocks.iter().filter(|block| block.max_timestamp() >= from_ms) {
            if let Some(found) = block.first_at_or_after(log.start, from_ms).map_err(storage_error)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Offset and timestamp of the newest timestamp; None if the partition is empty.
    pub(super) fn newest(&self) -> Result<Option<(i64, i64)>, ResponseError> {
        let newest = self.log.lock().blocks.iter().map(Block::max_timestamp).max();
        newest.map_or(Ok(None), |timestamp| self.first_at_or_after(timestamp))
    }

    /// Moves the log start up to `offset` (at most to the end): records before it are gone.
    pub(super) fn truncate_before(&self, offset: i64) -> io::Result<()> {
        {
            let mut log = self.log.lock();
            let offset = offset.clamp(log.start, log.bounds().end);
            log.start = offset;
            if let Some(dir) = &log.dir {
                std::fs::write(dir.join(START_FILE), offset.to_string())?;
            }
            while log.blocks.len() > 1 && log.blocks[0].end_offset() <= offset {
                log.drop_oldest()?;
            }
        }
        self.changed.notify_waiters();
        Ok(())
    }
}

impl Log {
    fn bounds(&self) -> Bounds {
        Bounds { start: self.start, end: self.blocks.back().map_or(self.start, Block::end_offset) }
    }

    /// Index of the first block that ends after `offset`.
    fn block_of(&self, offset: i64) -> usize {
        self.blocks.partition_point(|block| block.end_offset() <= offset)
    }

    fn append(&mut self, bytes: &[u8], header: &BatchHeader) -> io::Result<()> {
        let full =
            |block: &Block| block.bytes() > 0 && (block.bytes() + bytes.len()) as u64 > self.block_bytes;
        if self.blocks.back().is_none_or(full) {
            self.blocks.push_back(Block::create(self.dir.as_deref(), header.base_offset)?);
        }
        if let Some(block) = self.blocks.back_mut() {
            block.append(bytes, header)?;
        }
        self.producers.stored(header);
        let mut kept: u64 = self.blocks.iter().map(|block| block.bytes() as u64).sum();
        while self.blocks.len() > 1 && kept - self.blocks[0].bytes() as u64 >= self.retention_bytes {
            kept -= self.blocks[0].bytes() as u64;
            self.drop_oldest()?;
        }
        Ok(())
    }

    fn drop_oldest(&mut self) -> io::Result<()> {
        if let Some(block) = self.blocks.pop_front() {
            self.start = self.start.max(block.end_offset());
            block.delete()?;
        }
        Ok(())
    }
}

fn storage_error(error: io::Error) -> ResponseError {
    tracing::error!(%error, "the embedded broker cannot use its storage");
    ResponseError::KafkaStorageError
}

/// The block files of a partition, oldest first.
fn block_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        files.extend(block::base_offset_of(&path).map(|offset| (offset, path)));
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

fn read_start(dir: &Path) -> io::Result<i64> {
    match std::fs::read_to_string(dir.join(START_FILE)) {
        Ok(text) => Ok(text.trim().parse().unwrap_or(0)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::testing::batch;
    use super::*;

    const NOBODY: (i64, i16, i32) = (-1, -1, -1);

    #[test]
    fn retention_drops_the_oldest_blocks_and_moves_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let partition = Partition::open(Some(dir.path().into()), 256 << 10).unwrap();
        let one = batch(&[1; 100], NOBODY);
        let batches = (2 << 20) / one.len() as i64;
        for _ in 0..batches {
            partition.append(&one).unwrap();
        }
        let bounds = partition.bounds();
        assert_eq!(bounds.end, batches * 100);
        let kept = (bounds.end - bounds.start) / 100 * one.len() as i64;
        assert!((256 << 10..=384 << 10).contains(&kept), "kept {kept} bytes");
        assert_eq!(partition.read(bounds.start - 1, 1, true).1, Err(ResponseError::OffsetOutOfRange));
        assert!(!partition.read(bounds.start, 1, true).1.unwrap().is_empty());
        drop(partition);
        let reopened = Partition::open(Some(dir.path().into()), 256 << 10).unwrap();
        assert_eq!(reopened.bounds(), bounds);
    }

    #[test]
    fn truncation_is_remembered_even_when_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Partition::open(Some(dir.path().into()), 1 << 20).unwrap();
        let partition = open();
        for _ in 0..10 {
            partition.append(&batch(&[1, 2, 3], NOBODY)).unwrap();
        }
        partition.truncate_before(7).unwrap();
        assert_eq!(open().bounds(), Bounds { start: 7, end: 30 });
        partition.truncate_before(99).unwrap();
        assert_eq!(open().bounds(), Bounds { start: 30, end: 30 });
        assert_eq!(partition.first_at_or_after(0), Ok(None));
    }

    #[test]
    fn a_batch_sent_again_after_a_restart_is_not_stored_twice() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Partition::open(Some(dir.path().into()), 1 << 20).unwrap();
        assert_eq!(open().append(&batch(&[1, 2], (9, 0, 0))), Ok(0));
        let again = open();
        assert_eq!(again.append(&batch(&[1, 2], (9, 0, 0))), Ok(0));
        assert_eq!(again.append(&batch(&[1], (9, 0, 2))), Ok(2));
        assert_eq!(again.append(&batch(&[1], (9, 0, 9))), Err(ResponseError::OutOfOrderSequenceNumber));
        assert_eq!(again.bounds(), Bounds { start: 0, end: 3 });
    }

    #[test]
    fn what_is_not_one_whole_batch_is_refused() {
        let partition = Partition::open(None, 1 << 20).unwrap();
        let good = batch(&[1], NOBODY);
        let mut corrupt = good.clone();
        corrupt[40] ^= 1;
        assert_eq!(partition.append(&corrupt), Err(ResponseError::CorruptMessage));
        let mut old = good.clone();
        old[16] = 1;
        assert_eq!(partition.append(&old), Err(ResponseError::UnsupportedForMessageFormat));
        assert_eq!(partition.append(&[good.clone(), good].concat()), Err(ResponseError::InvalidRecord));
        assert_eq!(partition.append(&[]), Err(ResponseError::CorruptMessage));
        assert_eq!(partition.bounds(), Bounds { start: 0, end: 0 });
    }
}
