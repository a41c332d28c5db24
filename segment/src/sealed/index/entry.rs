//! The bytes of the entry that holds a column's postings, for those who keep them elsewhere than in the sealed object.

use bytes::Bytes;

use super::{ColumnPostings, InvertedIndex, SortedIndex};
use crate::sealed::IndexKind;

/// A sorted or an inverted index as it lies in the object: verified, not parsed.
#[derive(Clone, Debug)]
pub(crate) struct PostingsEntry {
    pub(crate) kind: IndexKind,
    pub(crate) bytes: Bytes,
}

impl PostingsEntry {
    /// The postings of a segment of `row_count` rows. Bitmaps stay in [`bytes`](Self::bytes).
    pub(crate) fn parse(&self, row_count: u32) -> Result<ColumnPostings, String> {
        match self.kind {
            IndexKind::Sorted => SortedIndex::parse(&self.bytes, row_count),
            IndexKind::Inverted => InvertedIndex::parse(&self.bytes, row_count),
        }
    }
}
