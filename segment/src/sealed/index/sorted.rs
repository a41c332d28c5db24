//! The sorted index: in the first column of the sort key every value's rows are one range.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use roaring::RoaringBitmap;

use super::{CodeCounts, ColumnPostings, Input, ValueOrder};
use crate::column::Postings;

/// Where the rows of each code end.
#[derive(Debug)]
pub(in crate::sealed) struct SortedIndex {
    ends: Vec<u32>,
}

impl SortedIndex {
    /// The entry for a column whose codes ascend from row to row.
    pub(in crate::sealed) fn build(order: &ValueOrder, counts: &CodeCounts) -> Vec<u8> {
        let mut out = Vec::new();
        order.write(&mut out);
        let mut end = 0;
        for count in counts.by_code() {
            end += *count;
            out.put_u32_le(end);
        }
        out
    }

    /// Reads an entry back.
    pub(in crate::sealed) fn parse(bytes: &Bytes, row_count: u32) -> Result<ColumnPostings, String> {
        let mut input = Input(bytes);
        let order = ValueOrder::read(&mut input, row_count)?;
        let words = input.words::<4>(order.count as usize)?;
        let ends: Vec<u32> = words.iter().map(|end| u32::from_le_bytes(*end)).collect();
        if !input.0.is_empty() || !ends.is_sorted() || ends.last() != Some(&row_count) {
            return Err("its ranges do not fit".into());
        }
        Ok(ColumnPostings::new(order, Arc::new(Self { ends })))
    }

    fn range(&self, code: u64) -> Option<std::ops::Range<u32>> {
        let code = usize::try_from(code).ok()?;
        let end = *self.ends.get(code)?;
        Some(code.checked_sub(1).map_or(0, |before| self.ends[before])..end)
    }
}

impl Postings for SortedIndex {
    fn rows(&self, code: u64) -> Option<RoaringBitmap> {
        let mut rows = RoaringBitmap::new();
        rows.insert_range(self.range(code)?);
        Some(rows)
    }

    fn count(&self, code: u64) -> Option<u64> {
        self.range(code).map(|range| range.len() as u64)
    }
}
