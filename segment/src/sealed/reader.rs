//! Verified reads of sealed segments: an [`AsyncFileReader`] for any Parquet decoder.
//!
//! The end of the object is read once, in one request, and kept parsed in the [`FooterCache`]. Every other read is widened to
//! whole 64 KiB blocks; a block's checksum is compared before a byte of it is handed out, as a slice without a copy.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::footer::{Footer, FooterCache};
use super::index_block::{BLOCK_BYTES, IndexBlock};
use super::meta::SegmentMeta;
use crate::{Result, SegmentError};

/// Blocks that are verified (4 MiB, about a millisecond) before other tasks of the thread get their turn.
const BLOCKS_PER_TURN: usize = 64;

/// Makes readers for the sealed segments of one table.
#[derive(Clone)]
pub struct SegmentReaderFactory {
    store: Arc<dyn ObjectStore>,
    root: Path,
    footers: Arc<FooterCache>,
}

impl SegmentReaderFactory {
    /// For the table at `root` in `store`; `footers` is shared by all tables of the node.
    pub fn new(store: Arc<dyn ObjectStore>, root: Path, footers: Arc<FooterCache>) -> Self {
        Self { store, root, footers }
    }

    /// A reader of one segment. Nothing is read yet.
    pub fn reader(&self, meta: Arc<SegmentMeta>) -> VerifiedReader {
        let location = meta.location(&self.root);
        VerifiedReader {
            store: self.store.clone(),
            footers: self.footers.clone(),
            location,
            meta,
            footer: None,
        }
    }
}

/// Reads one sealed segment and hands out no byte that was not verified.
///
/// Its errors are a [`SegmentError`] inside [`ParquetError::External`]: `Corrupt`, naming the object, or `Store`.
#[derive(Clone)]
pub struct VerifiedReader {
    store: Arc<dyn ObjectStore>,
    footers: Arc<FooterCache>,
    location: Path,
    meta: Arc<SegmentMeta>,
    footer: Option<Arc<Footer>>,
}

impl VerifiedReader {
    pub(super) async fn footer(&mut self) -> Result<Arc<Footer>> {
        if self.footer.is_none() {
            self.footer = self.footers.get(self.meta.id);
        }
        if let Some(footer) = &self.footer {
            return Ok(footer.clone());
        }
        let range = Footer::range(&self.meta).map_err(|what| self.corrupt(what))?;
        let options = GetOptions::new().with_range(Some(range));
        let result = match self.store.get_opts(&self.location, options).await {
            Ok(result) => result,
            Err(error) => return Err(self.read_error(error).await),
        };
        self.check_size(result.meta.size)?;
        let bytes = match result.bytes().await {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.read_error(error).await),
        };
        let footer = Footer::parse(&self.meta, bytes).map_err(|what| self.corrupt(what))?;
        let footer = Arc::new(footer);
        self.footers.insert(self.meta.id, footer.clone());
        self.footer = Some(footer.clone());
        Ok(footer)
    }

    pub(super) async fn read(&mut self, wanted: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let footer = self.footer().await?;
        let data_bytes = footer.index.data_bytes();
        if let Some(outside) = wanted.iter().find(|range| range.start > range.end || range.end > data_bytes) {
            return Err(self.corrupt(format!(
                "bytes {} to {} were asked for, but its data end at {data_bytes}",
                outside.start, outside.end
            )));
        }
        let aligned = aligned_and_merged(wanted, data_bytes);
        let fetched = match self.store.get_ranges(&self.location, &aligned).await {
            Ok(fetched) => fetched,
            Err(error) => return Err(self.read_error(error).await),
        };
        if fetched.len() != aligned.len() {
            return Err(self.corrupt(format!("{} of {} ranges were answered", fetched.len(), aligned.len())));
        }
        for (range, bytes) in aligned.iter().zip(&fetched) {
            self.verify(&footer.index, range, bytes).await?;
        }
        let slice = |range: &Range<u64>| {
            if range.is_empty() {
                return Some(Bytes::new());
            }
            let holder = aligned.partition_point(|candidate| candidate.end < range.end);
            let start = range.start.checked_sub(aligned.get(holder)?.start)? as usize;
            Some(fetched[holder].slice(start..start + (range.end - range.start) as usize))
        };
        let slices: Option<Vec<Bytes>> = wanted.iter().map(slice).collect();
        slices.ok_or_else(|| self.corrupt("a range was not covered by what was read".into()))
    }

    async fn verify(&self, blocks: &IndexBlock, range: &Range<u64>, bytes: &Bytes) -> Result<()> {
        if bytes.len() as u64 != range.end - range.start {
            return Err(
                self.corrupt(format!("it ends early: bytes {} to {} are not there", range.start, range.end))
            );
        }
        let first_block = range.start / BLOCK_BYTES;
        for (nth, block_bytes) in bytes.chunks(BLOCK_BYTES as usize).enumerate() {
            if nth % BLOCKS_PER_TURN == BLOCKS_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
            let block = first_block + nth as u64;
            if !blocks.matches(block, block_bytes) {
                return Err(
                    self.corrupt(format!("the 64 KiB at {} have a wrong CRC32C", block * BLOCK_BYTES))
                );
            }
        }
        Ok(())
    }

    fn check_size(&self, size_bytes: u64) -> Result<()> {
        if size_bytes == self.meta.size_bytes {
            return Ok(());
        }
        Err(self.corrupt(format!("it has {size_bytes} bytes, the table log says {}", self.meta.size_bytes)))
    }

    /// Stores report a read past the end each in their own way: ask for the length before calling it their fault.
    async fn read_error(&self, error: object_store::Error) -> SegmentError {
        if !matches!(error, object_store::Error::NotFound { .. })
            && let Ok(object) = self.store.head(&self.location).await
            && let Err(corrupt) = self.check_size(object.size)
        {
            return corrupt;
        }
        SegmentError::store(format!("reading segment {}", self.location), error)
    }

    pub(super) fn corrupt(&self, what: String) -> SegmentError {
        SegmentError::Corrupt(format!("segment {}: {what}", self.location))
    }
}

impl AsyncFileReader for VerifiedReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move {
            let mut read = self.read(std::slice::from_ref(&range)).await.map_err(external)?;
            Ok(read.pop().unwrap_or_default())
        }
        .boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        async move { self.read(&ranges).await.map_err(external) }.boxed()
    }

    /// The metadata always have the page index, whatever `options` ask for.
    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move { Ok(self.footer().await.map_err(external)?.metadata.clone()) }.boxed()
    }
}

fn external(error: SegmentError) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// Whole blocks that cover all of `wanted`, each block once: ascending, neither overlapping nor touching.
fn aligned_and_merged(wanted: &[Range<u64>], data_bytes: u64) -> Vec<Range<u64>> {
    let mut aligned: Vec<Range<u64>> = wanted
        .iter()
        .filter(|range| !range.is_empty())
        .map(|range| {
            let end = range.end.next_multiple_of(BLOCK_BYTES).min(data_bytes);
            range.start / BLOCK_BYTES * BLOCK_BYTES..end
        })
        .collect();
    aligned.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(aligned.len());
    for range in aligned {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: u64 = 1024;

    #[test]
    fn ranges_are_widened_to_blocks_and_merged() {
        let check = |wanted: &[(u64, u64)], expected: &[(u64, u64)]| {
            let wanted: Vec<Range<u64>> = wanted.iter().map(|(start, end)| *start..*end).collect();
            let merged = aligned_and_merged(&wanted, 200 * K);
            assert_eq!(merged.iter().map(|range| (range.start, range.end)).collect::<Vec<_>>(), expected);
        };
        check(&[(0, 1)], &[(0, 64 * K)]);
        check(&[(64 * K, 64 * K + 1), (63 * K, 64 * K)], &[(0, 128 * K)]);
        check(&[(10, 20), (70 * K, 80 * K), (1, 2)], &[(0, 128 * K)]);
        check(&[(10, 20), (130 * K, 131 * K)], &[(0, 64 * K), (128 * K, 192 * K)]);
        check(&[(199 * K, 200 * K)], &[(192 * K, 200 * K)]);
        check(&[(5, 5), (0, 200 * K)], &[(0, 200 * K)]);
    }
}
