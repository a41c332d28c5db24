//! Bloom filters of sealed segments: by them a segment that holds none of the wanted values is not loaded.
//!
//! A filter is read whole and kept in memory within the columns' budget, so that segments which are never loaded cost their
//! next query nothing to skip. It is read only if that is much less than what it may save; columns that are in memory or in
//! local files are there sooner than an answer of the object store.
//!
//! **Architecture Invariant:** a filter only ever takes away loads. Without one, or without an answer, the segment is loaded.

use std::sync::Arc;

use super::store::{ResidentStore, column_of};
use crate::schema::{Column, TableSchema};
use crate::sealed::{BloomFilter, Probe, SegmentMeta, SegmentReaderFactory};
use crate::{Result, SegmentError};

/// A filter is read if the columns to load have at least so many times its bytes.
const LOAD_TIMES_MIN: u64 = 2;
/// Less than this is loaded in about the time of one more request.
const LOAD_BYTES_MIN: u64 = 1 << 20;

/// Values of one column, one of which a row must hold to be wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Index into the columns of the table's schema.
    pub column: usize,
    /// The values; none of them is NULL.
    pub values: &'a [Probe<'a>],
}

impl ResidentStore {
    /// Whether a filter that is in memory says that no row of the segment holds a value of `wish`.
    pub fn is_known_absent(&self, schema: &TableSchema, meta: &SegmentMeta, wish: Wish<'_>) -> bool {
        let column = schema.columns().get(wish.column);
        let filter = column.and_then(|column| self.held_filter(meta, column));
        filter.is_some_and(|filter| denies(&filter, wish))
    }

    /// Whether the segment's filter says that no row holds a value of `wish`; read from the object if it is not in memory and
    /// that costs little beside loading the columns `load` of the schema, or at any cost if these are not given. On a runtime
    /// with I/O.
    ///
    /// # Errors
    /// `Refused` if the schema has no such column; `Corrupt` as the verified reader says. An object store that fails is no
    /// answer.
    pub async fn is_absent(
        &self,
        readers: &SegmentReaderFactory,
        schema: &TableSchema,
        meta: &Arc<SegmentMeta>,
        wish: Wish<'_>,
        load: Option<&[usize]>,
    ) -> Result<bool> {
        let column = column_of(schema, wish.column)?;
        let filter = match self.held_filter(meta, column) {
            Some(filter) => Some(filter),
            None => match self.read_filter(readers, schema, meta, column, load).await {
                Err(error @ SegmentError::Store { .. }) => {
                    tracing::warn!(segment = %meta.id, column = column.name, %error, "loaded without its bloom filter");
                    None
                }
                read => read?,
            },
        };
        Ok(filter.is_some_and(|filter| denies(&filter, wish)))
    }

    async fn read_filter(
        &self,
        readers: &SegmentReaderFactory,
        schema: &TableSchema,
        meta: &Arc<SegmentMeta>,
        column: &Column,
        load: Option<&[usize]>,
    ) -> Result<Option<Arc<BloomFilter>>> {
        let load = load.map(|load| load.iter().map(|index| column_of(schema, *index)));
        let load = load.map(|load| load.collect::<Result<Vec<_>>>()).transpose()?;
        let remote = load.map(|load| load.into_iter().filter(|column| !self.is_local(meta, column)));
        let remote: Option<Vec<_>> = remote.map(Iterator::collect);
        if remote.as_ref().is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        let _turn = self.fetch_turn().await;
        // Another query may have read it while this one waited.
        if let Some(filter) = self.held_filter(meta, column) {
            return Ok(Some(filter));
        }
        let mut indexes = readers.indexes(Arc::clone(meta)).await?;
        let Some(filter_bytes) = indexes.bloom_bytes(&column.name) else { return Ok(None) };
        if let Some(remote) = remote {
            let load_bytes: u64 = remote.iter().map(|column| indexes.column_bytes(&column.name)).sum();
            if load_bytes < LOAD_BYTES_MIN || load_bytes / LOAD_TIMES_MIN < filter_bytes {
                return Ok(None);
            }
        }
        let filter = indexes.bloom(&column.name).await?.map(Arc::new);
        if let Some(filter) = &filter {
            self.keep_filter(meta, column, filter);
        }
        Ok(filter)
    }
}

fn denies(filter: &BloomFilter, wish: Wish<'_>) -> bool {
    !wish.values.iter().any(|value| filter.might_contain(*value))
}
