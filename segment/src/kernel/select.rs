//! Which codes of a block satisfy a test: code ranges and code sets to bit masks, and bit masks to row numbers.
//!
//! Bit r % 64 of word r / 64 stands for row r. Bits beyond the codes are zero.

use crate::column::{BLOCK_ROWS, CodeSlice};

/// Words of a block's mask.
pub const MASK_WORDS: usize = BLOCK_ROWS / 64;

/// Bits of a set of codes: bit c % 64 of word c / 64 says whether code c is a member.
pub type SetWords = [u64];

/// Sets in `mask` the rows (at most [`BLOCK_ROWS`]) whose code is in `lo..=hi`, and clears all others.
pub fn range_mask(codes: CodeSlice<'_>, lo: u64, hi: u64, mask: &mut [u64; MASK_WORDS]) {
    fn of<T: Copy + TryFrom<u64> + PartialOrd>(
        codes: &[T],
        lo: u64,
        hi: u64,
        max: T,
        mask: &mut [u64; MASK_WORDS],
    ) {
        let Ok(lo) = T::try_from(lo) else { return mask.fill(0) };
        let hi = T::try_from(hi).unwrap_or(max);
        fill(codes, mask, |code| (lo <= code) & (code <= hi));
    }
    match codes {
        CodeSlice::U8(codes) => of(codes, lo, hi, u8::MAX, mask),
        CodeSlice::U16(codes) => of(codes, lo, hi, u16::MAX, mask),
        CodeSlice::U32(codes) => of(codes, lo, hi, u32::MAX, mask),
        CodeSlice::U64(codes) => of(codes, lo, hi, u64::MAX, mask),
    }
}

/// Sets in `mask` the rows (at most [`BLOCK_ROWS`]) whose code is a member of `set`, and clears all others. Codes beyond
/// the set's words are no members.
pub fn set_mask(codes: CodeSlice<'_>, set: &SetWords, mask: &mut [u64; MASK_WORDS]) {
    match codes {
        CodeSlice::U8(codes) => fill(codes, mask, |code| contains(set, code.into())),
        CodeSlice::U16(codes) => fill(codes, mask, |code| contains(set, code.into())),
        CodeSlice::U32(codes) => fill(codes, mask, |code| contains(set, code.into())),
        CodeSlice::U64(codes) => fill(codes, mask, |code| contains(set, code)),
    }
}

/// Whether `set` has `code`.
#[inline]
pub fn contains(set: &SetWords, code: u64) -> bool {
    usize::try_from(code / 64)
        .ok()
        .and_then(|word| set.get(word))
        .is_some_and(|word| word >> (code % 64) & 1 == 1)
}

#[inline(always)]
fn fill<T: Copy>(codes: &[T], mask: &mut [u64; MASK_WORDS], test: impl Fn(T) -> bool) {
    mask.fill(0);
    for (word, codes) in mask.iter_mut().zip(codes.chunks(64)) {
        *word = codes.iter().enumerate().fold(0, |bits, (bit, code)| bits | u64::from(test(*code)) << bit);
    }
}
