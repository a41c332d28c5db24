//! The inverted index: for each code a roaring bitmap of its rows, read one by one.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use roaring::RoaringBitmap;

use super::{CodeCounts, ColumnPostings, Input, ValueOrder, read_bitmap, write_bitmap};
use crate::column::Postings;

/// An inverted index as it was read: the bitmaps stay bytes until they are asked for.
#[derive(Debug)]
pub(in crate::sealed) struct InvertedIndex {
    bytes: Bytes,
    /// By code: rows, and where the bitmap ends in `bytes`.
    postings: Vec<(u32, u32)>,
    row_count: u32,
}

impl InvertedIndex {
    /// The entry for `codes`, one per row, each below `order.count`; `None` if it comes to more than `bytes_max`.
    pub(in crate::sealed) fn build(
        order: &ValueOrder,
        codes: &[u32],
        counts: &CodeCounts,
        bytes_max: usize,
    ) -> Result<Option<Vec<u8>>, String> {
        let (rows, ends) = counts.rows_by_code(codes);
        let mut bitmaps = Vec::new();
        let mut postings = Vec::with_capacity(counts.by_code().len() * 8);
        let mut start = 0;
        for (count, end) in counts.by_code().iter().zip(ends) {
            let rows = rows[start..end].iter().copied();
            let mut bitmap = RoaringBitmap::from_sorted_iter(rows).map_err(|error| error.to_string())?;
            write_bitmap(&mut bitmap, &mut bitmaps)?;
            start = end;
            if bitmaps.len() > bytes_max {
                return Ok(None);
            }
            postings.put_u32_le(*count);
            postings.put_u32_le(bitmaps.len() as u32);
        }
        let mut out = Vec::with_capacity(16 + postings.len() + bitmaps.len());
        order.write(&mut out);
        out.extend_from_slice(&postings);
        out.extend_from_slice(&bitmaps);
        Ok((out.len() <= bytes_max).then_some(out))
    }

    /// Reads an entry back.
    pub(in crate::sealed) fn parse(bytes: &Bytes, row_count: u32) -> Result<ColumnPostings, String> {
        let mut input = Input(bytes);
        let order = ValueOrder::read(&mut input, row_count)?;
        let words = input.words::<8>(order.count as usize)?;
        let postings: Vec<(u32, u32)> = words
            .iter()
            .map(|word| {
                let word = u64::from_le_bytes(*word);
                (word as u32, (word >> 32) as u32)
            })
            .collect();
        let bitmaps = bytes.slice_ref(input.0);
        let rows: u64 = postings.iter().map(|(count, _)| u64::from(*count)).sum();
        let ends_fit = postings.is_sorted_by_key(|(_, end)| *end)
            && postings.last().is_some_and(|(_, end)| *end as usize == bitmaps.len());
        if rows != u64::from(row_count) || !ends_fit {
            return Err("its bitmaps do not fit".into());
        }
        let index = Self { bytes: bitmaps, postings, row_count };
        Ok(ColumnPostings::new(order, Arc::new(index)))
    }

    fn read(&self, code: usize) -> Result<RoaringBitmap, String> {
        let Some((count, end)) = self.postings.get(code) else {
            return Err(format!("it has no code {code}"));
        };
        let start = code.checked_sub(1).map_or(0, |before| self.postings[before].1);
        read_bitmap(&self.bytes[start as usize..*end as usize], *count, self.row_count)
    }
}

impl Postings for InvertedIndex {
    fn rows(&self, code: u64) -> Option<RoaringBitmap> {
        self.read(usize::try_from(code).ok()?).ok()
    }

    fn count(&self, code: u64) -> Option<u64> {
        self.postings.get(usize::try_from(code).ok()?).map(|(count, _)| u64::from(*count))
    }
}
