//! The payloads of index entries: what is written at seal, and how it answers when it is read.
//!
//! Pure functions from codes to bytes and back. What is read has passed its checksum, and is still not believed: a length is
//! compared with the bytes at hand before anything is allocated by it, and whatever does not fit is an error.

mod codes;
mod entry;
mod inverted;
mod sorted;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use roaring::RoaringBitmap;

pub use codes::ValueOrder;
pub(super) use codes::{CodeCounts, listed_values};
pub(crate) use entry::PostingsEntry;
pub(super) use inverted::InvertedIndex;
pub(super) use sorted::SortedIndex;

use crate::column::{CodeValues, CodedColumn, Postings};

/// Longest entry that is written or read, in bytes.
pub(super) const ENTRY_BYTES_MAX: u64 = 1 << 30;

/// The rows of each distinct value of a column: its inverted index, or its sorted ranges.
///
/// As [`Postings`] it speaks in the column's own codes: distinct values in ascending order, NULL first. A dictionary in sorted
/// order has the same. A column whose codes are linear in its values asks through [`by_value`](Self::by_value).
#[derive(Clone, Debug)]
pub struct ColumnPostings {
    order: ValueOrder,
    rows: Arc<dyn Postings>,
}

impl ColumnPostings {
    fn new(order: ValueOrder, rows: Arc<dyn Postings>) -> Self {
        Self { order, rows }
    }

    /// What the codes stand for.
    pub fn order(&self) -> &ValueOrder {
        &self.order
    }

    /// The postings by the column's own codes.
    pub fn by_code(&self) -> Arc<dyn Postings> {
        Arc::clone(&self.rows)
    }

    /// The postings of a column whose codes are [linear](crate::column::CodeValues::Linear): `base` and `step` as there. `None`
    /// if this index does not list its values.
    pub fn by_value(&self, base: i64, step: i64) -> Option<Arc<dyn Postings>> {
        let postings = self.clone();
        self.order
            .values
            .is_some()
            .then(|| Arc::new(LinearPostings { postings, base, step }) as Arc<dyn Postings>)
    }

    /// The postings for `column`, by its codes: those of the same column of the same segment. `None` if its codes are of another
    /// order, or if this index does not list the values that they are linear in.
    pub fn for_column(&self, column: &CodedColumn) -> Option<Arc<dyn Postings>> {
        if column.has_null != self.order.has_null {
            return None;
        }
        match &column.values {
            CodeValues::Dictionary { values, sorted: true, .. }
                if values.len() == self.order.count as usize =>
            {
                Some(self.by_code())
            }
            CodeValues::Dictionary { .. } => None,
            CodeValues::Linear { base, step, .. } => self.by_value(*base, *step),
        }
    }

    /// Memory of the tables that were parsed, in bytes; not that of the entry itself.
    pub(crate) fn table_bytes(&self) -> u64 {
        let listed = self.order.values.as_ref().map_or(0, |values| values.len() as u64 * 8);
        listed + u64::from(self.order.count) * 8
    }

    /// The rows that hold the physical integer `value`; `None` if this index does not list its values.
    pub fn rows_of(&self, value: i64) -> Option<RoaringBitmap> {
        match self.order.code_of(value)? {
            Some(code) => self.rows.rows(code),
            None => Some(RoaringBitmap::new()),
        }
    }
}

#[derive(Debug)]
struct LinearPostings {
    postings: ColumnPostings,
    base: i64,
    step: i64,
}

impl LinearPostings {
    /// The column's own code for a linear one: `Some(None)` if no row holds it.
    fn own_code(&self, code: u64) -> Option<Option<u64>> {
        let order = &self.postings.order;
        match (order.has_null, code) {
            (true, 0) => Some(Some(0)),
            (has_null, code) => {
                let steps = i128::from(code) - i128::from(has_null);
                let value = i128::from(self.base) + i128::from(self.step) * steps;
                i64::try_from(value).map_or(Some(None), |value| order.code_of(value))
            }
        }
    }
}

impl Postings for LinearPostings {
    fn rows(&self, code: u64) -> Option<RoaringBitmap> {
        match self.own_code(code)? {
            Some(code) => self.postings.rows.rows(code),
            None => Some(RoaringBitmap::new()),
        }
    }

    fn count(&self, code: u64) -> Option<u64> {
        match self.own_code(code)? {
            Some(code) => self.postings.rows.count(code),
            None => Some(0),
        }
    }
}

/// The bytes of an entry, taken from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or("it ends early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, String> {
        let (first, rest) = self.0.split_first_chunk().ok_or("it ends early")?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*first))
    }

    /// `count` numbers of `W` bytes each.
    fn words<const W: usize>(&mut self, count: usize) -> Result<&'a [[u8; W]], String> {
        let bytes = count.checked_mul(W).ok_or("it announces too much")?;
        Ok(self.take(bytes)?.as_chunks::<W>().0)
    }
}

/// A bitmap out of exactly these bytes, all of whose rows are below `row_count`.
fn read_bitmap(mut bytes: &[u8], count: u32, row_count: u32) -> Result<RoaringBitmap, String> {
    let bitmap = RoaringBitmap::deserialize_from(&mut bytes).map_err(|error| format!("a bitmap: {error}"))?;
    if !bytes.is_empty() {
        return Err("a bitmap is shorter than announced".into());
    }
    if bitmap.len() != u64::from(count) || bitmap.max().is_some_and(|last| last >= row_count) {
        return Err("a bitmap does not hold what was announced".into());
    }
    Ok(bitmap)
}

/// Appends a bitmap; its runs are stored as runs.
fn write_bitmap(bitmap: &mut RoaringBitmap, out: &mut Vec<u8>) -> Result<(), String> {
    bitmap.optimize();
    bitmap.serialize_into(&mut *out).map_err(|error| error.to_string())
}
