//! Codes of one width, shared or borrowed.

use arrow::buffer::ScalarBuffer;

/// Unsigned codes in one width, in memory that is shared (with an open segment, or with a mapped file).
#[derive(Clone, Debug)]
pub enum Codes {
    /// One byte each.
    U8(ScalarBuffer<u8>),
    /// Two bytes each.
    U16(ScalarBuffer<u16>),
    /// Four bytes each.
    U32(ScalarBuffer<u32>),
    /// Eight bytes each.
    U64(ScalarBuffer<u64>),
}

/// Borrowed codes in one width.
#[derive(Clone, Copy, Debug)]
pub enum CodeSlice<'a> {
    /// One byte each.
    U8(&'a [u8]),
    /// Two bytes each.
    U16(&'a [u16]),
    /// Four bytes each.
    U32(&'a [u32]),
    /// Eight bytes each.
    U64(&'a [u64]),
}

impl Codes {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(codes) => codes.len(),
            Self::U16(codes) => codes.len(),
            Self::U32(codes) => codes.len(),
            Self::U64(codes) => codes.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// At most `count` codes from `start` on; fewer at the end.
    pub fn slice(&self, start: usize, count: usize) -> CodeSlice<'_> {
        fn cut<T>(codes: &[T], start: usize, count: usize) -> &[T] {
            let start = start.min(codes.len());
            &codes[start..(start + count).min(codes.len())]
        }
        match self {
            Self::U8(codes) => CodeSlice::U8(cut(codes, start, count)),
            Self::U16(codes) => CodeSlice::U16(cut(codes, start, count)),
            Self::U32(codes) => CodeSlice::U32(cut(codes, start, count)),
            Self::U64(codes) => CodeSlice::U64(cut(codes, start, count)),
        }
    }
}

impl CodeSlice<'_> {
    /// How many.
    pub fn len(self) -> usize {
        match self {
            Self::U8(codes) => codes.len(),
            Self::U16(codes) => codes.len(),
            Self::U32(codes) => codes.len(),
            Self::U64(codes) => codes.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The code of a row; panics beyond the end, as slices do.
    pub fn get(self, row: usize) -> u64 {
        match self {
            Self::U8(codes) => codes[row].into(),
            Self::U16(codes) => codes[row].into(),
            Self::U32(codes) => codes[row].into(),
            Self::U64(codes) => codes[row],
        }
    }
}
