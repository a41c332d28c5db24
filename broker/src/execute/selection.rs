//! Which rows of one block are selected: all of them, or those of a bit mask.

use arrow::array::{Array, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::prep_null_mask_filter;
use headwater_segment::column::{BLOCK_ROWS, select};

/// Words of a block's mask: bit r % 64 of word r / 64 is row r of the block.
pub(crate) const MASK_WORDS: usize = BLOCK_ROWS / 64;

/// One bit per row of a block.
pub(crate) type Mask = [u64; MASK_WORDS];

/// The selected rows of one block. Reused from block to block.
pub(crate) struct Selection {
    rows: usize,
    all: bool,
    count: usize,
    mask: Box<Mask>,
    indices: Vec<u16>,
    indices_made: bool,
}

impl Selection {
    pub(crate) fn new() -> Self {
        Self {
            rows: 0,
            all: false,
            count: 0,
            mask: Box::new([0; MASK_WORDS]),
            indices: Vec::with_capacity(BLOCK_ROWS),
            indices_made: false,
        }
    }

    /// Selects all of a block's `rows` (at most [`BLOCK_ROWS`]).
    pub(crate) fn select_all(&mut self, rows: usize) {
        debug_assert!(rows <= BLOCK_ROWS);
        (self.rows, self.all, self.count, self.indices_made) = (rows, true, rows, false);
    }

    /// Selects none of a block's `rows`.
    pub(crate) fn select_none(&mut self, rows: usize) {
        (self.rows, self.all, self.count, self.indices_made) = (rows, false, 0, false);
        self.mask.fill(0);
    }

    /// Selects the rows that `other` selects.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        (self.rows, self.all, self.count, self.indices_made) = (other.rows, other.all, other.count, false);
        self.mask.copy_from_slice(other.mask.as_slice());
    }

    /// Selects, of those selected so far, the rows whose bit is set in `mask`. Bits beyond the rows do not matter.
    pub(crate) fn keep(&mut self, mask: &Mask) {
        if self.all {
            self.mask.copy_from_slice(mask);
            clear_beyond(&mut self.mask, self.rows);
        } else {
            self.mask.iter_mut().zip(mask).for_each(|(kept, other)| *kept &= other);
        }
        self.count = self.mask.iter().map(|word| word.count_ones() as usize).sum();
        self.all = self.count == self.rows;
        self.indices_made = false;
    }

    /// Rows of the block.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// How many rows are selected.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Whether every row is selected; then the mask is not set.
    pub(crate) fn is_all(&self) -> bool {
        self.all
    }

    /// The mask; `None` if every row is selected.
    pub(crate) fn mask(&self) -> Option<&Mask> {
        (!self.all).then_some(&self.mask)
    }

    /// The selected rows, ascending, as numbers within the block; of a selection of all rows too.
    pub(crate) fn indices(&mut self) -> &[u16] {
        if !self.indices_made {
            self.indices.clear();
            if self.all {
                self.indices.extend(0..self.rows as u16);
            } else {
                select::set_rows(&self.mask, &mut self.indices);
            }
            self.indices_made = true;
        }
        &self.indices
    }
}

/// The values that are TRUE; NULL is not.
pub(crate) fn true_bits(truth: &BooleanArray) -> BooleanBuffer {
    match truth.null_count() {
        0 => truth.values().clone(),
        _ => prep_null_mask_filter(truth).values().clone(),
    }
}

fn clear_beyond(mask: &mut Mask, rows: usize) {
    for (word, bits) in mask.iter_mut().enumerate() {
        let first = word * 64;
        if first >= rows {
            *bits = 0;
        } else if rows - first < 64 {
            *bits &= (1 << (rows - first)) - 1;
        }
    }
}
