//! Columns as execution reads them: codes, block by block, and what the codes stand for.
//!
//! ```text
//! SegmentColumns ── rows, blocks of at most BLOCK_ROWS
//!   └─ Column ──┬─ Coded: codes (u8/u16/u32/u64 per row) + CodeValues (sorted dictionary | base + step * code)
//!               └─ Plain: Arrow arrays, where codes would not pay (unique text, most floats, lists, open integers)
//! ```
//!
//! A resident segment and an open one look alike here. What differs is how much is known: a resident column has the
//! narrowest codes, a sorted dictionary and zone maps; an open column has the codes of its growing dictionary.
//!
//! Invariants:
//! - every code of a block stands for a value: dictionary codes are below the dictionary's length;
//! - if `has_null`, code 0 is NULL and no other code is; otherwise no code is;
//! - a [sorted](CodeValues::is_sorted) dictionary ascends (NULL first, then SQL order), so that codes compare as values do;
//! - all columns of a [`SegmentColumns`] have the same blocks.

mod build;
mod codes;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use roaring::RoaringBitmap;

pub use crate::kernel::select;
#[cfg(test)]
pub(crate) use build::tests;
pub use build::{build_column, null_column};
pub use codes::{CodeSlice, Codes};

/// Most rows of a block: the unit of zone maps, of selection and of vectorised execution. A block's values of one column
/// and its selection stay in the first-level cache.
pub const BLOCK_ROWS: usize = 8192;

/// Some columns of one segment, in the order in which they were asked for.
#[derive(Clone, Debug)]
pub struct SegmentColumns {
    /// Where the blocks end; the first begins at row 0. The last entry is the number of rows.
    block_ends: BlockEnds,
    columns: Vec<Arc<Column>>,
}

/// Where blocks end.
#[derive(Clone, Debug)]
enum BlockEnds {
    /// Every [`BLOCK_ROWS`], and at the number of rows.
    Even { rows: usize },
    /// As listed, ascending.
    Listed(Arc<[usize]>),
}

impl SegmentColumns {
    /// Columns of `rows` rows in blocks of [`BLOCK_ROWS`].
    pub fn even(rows: usize, columns: Vec<Arc<Column>>) -> Self {
        Self { block_ends: BlockEnds::Even { rows }, columns }
    }

    /// Columns whose blocks end at `ends` (ascending, none empty, none longer than [`BLOCK_ROWS`]).
    pub fn listed(ends: Arc<[usize]>, columns: Vec<Arc<Column>>) -> Self {
        Self { block_ends: BlockEnds::Listed(ends), columns }
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        match &self.block_ends {
            BlockEnds::Even { rows } => *rows,
            BlockEnds::Listed(ends) => ends.last().copied().unwrap_or(0),
        }
    }

    /// Blocks.
    pub fn blocks(&self) -> usize {
        match &self.block_ends {
            BlockEnds::Even { rows } => rows.div_ceil(BLOCK_ROWS),
            BlockEnds::Listed(ends) => ends.len(),
        }
    }

    /// The rows of a block; empty beyond the last.
    pub fn block(&self, block: usize) -> Range<usize> {
        match &self.block_ends {
            BlockEnds::Even { rows } => {
                (block * BLOCK_ROWS).min(*rows)..((block + 1) * BLOCK_ROWS).min(*rows)
            }
            BlockEnds::Listed(ends) => {
                let end = |block: usize| ends.get(block).copied().unwrap_or_else(|| self.rows());
                block.checked_sub(1).map_or(0, end)..end(block)
            }
        }
    }

    /// The columns, in the order in which they were asked for.
    pub fn columns(&self) -> &[Arc<Column>] {
        &self.columns
    }
}

/// One column of one segment.
#[derive(Debug)]
pub enum Column {
    /// Codes and what they stand for.
    Coded(CodedColumn),
    /// Arrow arrays.
    Plain(PlainColumn),
}

impl Column {
    /// The Arrow type of the values.
    pub fn data_type(&self) -> &DataType {
        match self {
            Self::Coded(column) => &column.data_type,
            Self::Plain(column) => &column.data_type,
        }
    }

    /// The codes, if the column has them.
    pub fn coded(&self) -> Option<&CodedColumn> {
        match self {
            Self::Coded(column) => Some(column),
            Self::Plain(_) => None,
        }
    }
}

/// A column as codes.
#[derive(Debug)]
pub struct CodedColumn {
    /// The Arrow type of the values.
    pub data_type: DataType,
    /// What the codes stand for.
    pub values: CodeValues,
    /// Whether code 0 is NULL. A column without NULL in this segment has false here, also if it may hold NULL.
    pub has_null: bool,
    /// A code per row.
    pub codes: CodeStore,
    /// Bounds of the codes of each block; `None` for open segments.
    pub zones: Option<Zones>,
    /// The inverted index: which rows hold a code; `None` without one.
    pub postings: Option<Arc<dyn Postings>>,
}

/// The inverted index of a column.
pub trait Postings: std::fmt::Debug + Send + Sync {
    /// Rows that hold `code`; `None` if it is not indexed (then the codes must be scanned).
    fn rows(&self, code: u64) -> Option<RoaringBitmap>;
    /// How many rows hold `code`, if that is known without reading the rows.
    fn count(&self, code: u64) -> Option<u64>;
}

/// What codes stand for.
#[derive(Clone, Debug)]
pub enum CodeValues {
    /// Code c stands for entry c.
    Dictionary {
        /// Distinct values of the column's type (text as views), a NULL at 0 if the column has one. An open segment's
        /// dictionary may hold values of no row, and (whatever `has_null`) a meaningless entry 0.
        values: ArrayRef,
        /// Whether the values ascend.
        sorted: bool,
        /// A 128-bit hash of the values: equal fingerprints, equal dictionaries. `None`: unknown.
        fingerprint: Option<u128>,
    },
    /// Code c stands for the physical integer `base + step * (c - n)`, where n is 1 if code 0 is NULL, else 0.
    /// Physical integers are those of INT, LONG, DATE (days), TIMESTAMP (microseconds), BOOLEAN (0, 1), and DECIMAL (unscaled).
    Linear {
        /// The least value of the segment.
        base: i64,
        /// A common divisor of all differences, at least 1.
        step: i64,
        /// How many codes there are, that of NULL included; every code is below. May exceed the number of distinct values.
        count: u64,
    },
}

impl CodeValues {
    /// How many codes there are; every code is below.
    pub fn count(&self) -> u64 {
        match self {
            Self::Dictionary { values, .. } => values.len() as u64,
            Self::Linear { count, .. } => *count,
        }
    }

    /// Whether codes compare as their values do.
    pub fn is_sorted(&self) -> bool {
        match self {
            Self::Dictionary { sorted, .. } => *sorted,
            Self::Linear { .. } => true,
        }
    }
}

/// Codes of all rows.
#[derive(Clone, Debug)]
pub enum CodeStore {
    /// In one piece; block b begins at row b * [`BLOCK_ROWS`].
    Whole(Codes),
    /// A piece per block.
    Chunked(Arc<[Codes]>),
}

/// Bounds of each block's codes. NULL counts, as code 0.
#[derive(Clone, Debug)]
pub struct Zones {
    /// The least code of each block.
    pub min: Arc<[u64]>,
    /// The greatest code of each block.
    pub max: Arc<[u64]>,
}

impl CodedColumn {
    /// The codes of a block.
    pub fn codes(&self, block: usize) -> CodeSlice<'_> {
        match &self.codes {
            CodeStore::Whole(codes) => codes.slice(block * BLOCK_ROWS, BLOCK_ROWS),
            CodeStore::Chunked(pieces) => {
                pieces.get(block).map_or(CodeSlice::U8(&[]), |codes| codes.slice(0, codes.len()))
            }
        }
    }

    /// The least and the greatest code of a block, if known.
    pub fn zone(&self, block: usize) -> Option<(u64, u64)> {
        let zones = self.zones.as_ref()?;
        Some((*zones.min.get(block)?, *zones.max.get(block)?))
    }
}

/// A column as Arrow arrays.
#[derive(Debug)]
pub struct PlainColumn {
    /// The Arrow type.
    pub data_type: DataType,
    /// The values.
    pub values: PlainStore,
}

/// The arrays of a plain column.
#[derive(Clone, Debug)]
pub enum PlainStore {
    /// In one piece.
    Whole(ArrayRef),
    /// A piece per block.
    Chunked(Arc<[ArrayRef]>),
}

impl PlainColumn {
    /// The values of a block.
    pub fn array(&self, block: usize) -> ArrayRef {
        match &self.values {
            PlainStore::Whole(array) => {
                let start = (block * BLOCK_ROWS).min(array.len());
                array.slice(start, BLOCK_ROWS.min(array.len() - start))
            }
            PlainStore::Chunked(pieces) => match pieces.get(block) {
                Some(piece) => Arc::clone(piece),
                None => arrow::array::new_empty_array(&self.data_type),
            },
        }
    }
}
