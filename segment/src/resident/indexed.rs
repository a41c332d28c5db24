//! A column together with the index entry that its postings were parsed from, before either is shared.

use bytes::Bytes;

use crate::column::Column;
use crate::sealed::PostingsEntry;

/// A column that nobody shares yet.
#[derive(Debug)]
pub(super) struct Indexed {
    pub(super) column: Column,
    /// What its postings read; `None` without postings.
    pub(super) entry: Option<PostingsEntry>,
    /// Memory of the postings' tables, in bytes; not that of the entry.
    pub(super) table_bytes: u64,
}

impl Indexed {
    /// A column without postings.
    pub(super) fn plain(column: Column) -> Self {
        Self { column, entry: None, table_bytes: 0 }
    }

    /// Attaches the postings of `entry`, which is of the same column of the same segment. An index whose codes are not the
    /// column's is left out; so is that of a column without codes.
    ///
    /// # Errors
    /// What is wrong with the entry.
    pub(super) fn new(mut column: Column, entry: Option<PostingsEntry>, rows: usize) -> Result<Self, String> {
        let (Column::Coded(coded), Some(entry)) = (&mut column, entry) else {
            return Ok(Self::plain(column));
        };
        let rows = u32::try_from(rows).map_err(|_| "an index of so many rows".to_string())?;
        let parsed = entry.parse(rows)?;
        coded.postings = parsed.for_column(coded);
        if coded.postings.is_none() {
            return Ok(Self::plain(column));
        }
        Ok(Self { column, entry: Some(entry), table_bytes: parsed.table_bytes() })
    }

    /// The same with an entry of its own: what was read may be part of something larger, which it would keep alive.
    pub(super) fn detached(entry: PostingsEntry) -> PostingsEntry {
        PostingsEntry { bytes: Bytes::copy_from_slice(&entry.bytes), ..entry }
    }
}
