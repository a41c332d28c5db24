//! Which codes of a block satisfy a test: code ranges and code sets to bit masks, and bit masks to row numbers.
//!
//! Bit r % 64 of word r / 64 stands for row r. Bits beyond the codes are zero. Each function picks, at run time, the widest
//! vectors that the machine has; [`scalar`] is the twin that tests compare the others with, and what other machines run.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;
#[cfg(test)]
mod tests;

use crate::column::{BLOCK_ROWS, CodeSlice};

/// A code as vectors are loaded from it.
///
/// # Safety
/// Every byte of it is initialised (there is no padding), and its size divides 32.
#[cfg(target_arch = "x86_64")]
unsafe trait Lane: Copy {}

#[cfg(target_arch = "x86_64")]
macro_rules! lanes {
    ($($code:ty),*) => {$(
        // SAFETY: an integer has no padding, and 1, 2, 4 and 8 divide 32.
        unsafe impl Lane for $code {}
    )*};
}
#[cfg(target_arch = "x86_64")]
lanes!(u8, u16, u32, u64);

/// Words of a block's mask.
pub const MASK_WORDS: usize = BLOCK_ROWS / 64;

/// A bit per row of a block.
pub type Mask = [u64; MASK_WORDS];

/// Sets in `mask` the rows (at most [`BLOCK_ROWS`]) whose code is in `lo..=hi`, and clears all others.
pub fn range_mask(codes: CodeSlice<'_>, lo: u64, hi: u64, mask: &mut Mask) {
    macro_rules! of_width {
        ($codes:expr, $type:ty, $lane:ident) => {{
            let Some((lo, hi)) = bounds::<$type>(lo, hi, <$type>::MAX) else { return mask.fill(0) };
            let (chunks, rest) = $codes[..$codes.len().min(BLOCK_ROWS)].as_chunks::<64>();
            let (whole, beyond) = mask.split_at_mut(chunks.len());
            $lane(chunks, lo, hi, whole);
            beyond.fill(0);
            if let Some(last) = beyond.first_mut() {
                *last = scalar::word(rest, |code| (lo <= code) & (code <= hi));
            }
        }};
    }
    match codes {
        CodeSlice::U8(codes) => of_width!(codes, u8, range_u8),
        CodeSlice::U16(codes) => of_width!(codes, u16, range_u16),
        CodeSlice::U32(codes) => of_width!(codes, u32, range_u32),
        CodeSlice::U64(codes) => of_width!(codes, u64, range_u64),
    }
}

/// `lo..=hi` in a narrower type; `None` if no code is in it.
fn bounds<T: TryFrom<u64>>(lo: u64, hi: u64, max: T) -> Option<(T, T)> {
    if lo > hi {
        return None;
    }
    Some((T::try_from(lo).ok()?, T::try_from(hi).unwrap_or(max)))
}

macro_rules! dispatch_range {
    ($name:ident, $type:ty) => {
        /// A word per chunk: which codes are in `lo..=hi`.
        fn $name(chunks: &[[$type; 64]], lo: $type, hi: $type, words: &mut [u64]) {
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
                // SAFETY: the machine has the features that the function needs.
                return unsafe { avx512::$name(chunks, lo, hi, words) };
            } else if is_x86_feature_detected!("avx2") {
                // SAFETY: the machine has the feature that the function needs.
                return unsafe { avx2::$name(chunks, lo, hi, words) };
            }
            scalar::words(chunks, words, |code| (lo <= code) & (code <= hi));
        }
    };
}
dispatch_range!(range_u8, u8);
dispatch_range!(range_u16, u16);
dispatch_range!(range_u32, u32);
dispatch_range!(range_u64, u64);

/// Sets with more codes than this have no byte per code.
const BYTES_CODES_MAX: usize = 1 << 16;

/// A set of codes, ready to be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// Bit c % 64 of word c / 64 stands for code c; codes beyond are no members.
    bits: Vec<u64>,
    /// The same as a byte of 0 or 1 per code, which is looked up faster; empty if there would be too many.
    bytes: Vec<u8>,
}

impl Members {
    /// The set of the codes whose bits are set: bit c % 64 of word c / 64 for code c.
    pub fn new(bits: Vec<u64>) -> Self {
        let codes = if bits.len() * 64 <= BYTES_CODES_MAX { bits.len() * 64 } else { 0 };
        let bytes = (0..codes).map(|code| (bits[code / 64] >> (code % 64) & 1) as u8).collect();
        Self { bits, bytes }
    }

    /// Bit c % 64 of word c / 64 stands for code c.
    pub fn bits(&self) -> &[u64] {
        &self.bits
    }

    /// The bits, given back.
    pub fn into_bits(self) -> Vec<u64> {
        self.bits
    }

    /// Whether a code is a member.
    pub fn contains(&self, code: u64) -> bool {
        contains(&self.bits, code)
    }
}

/// Sets in `mask` the rows (at most [`BLOCK_ROWS`]) whose code is a member of `set`, and clears all others.
pub fn set_mask(codes: CodeSlice<'_>, set: &Members, mask: &mut Mask) {
    macro_rules! of_width {
        ($codes:expr, $lane:expr) => {{
            let (chunks, rest) = $codes[..$codes.len().min(BLOCK_ROWS)].as_chunks::<64>();
            let (whole, beyond) = mask.split_at_mut(chunks.len());
            $lane(chunks, whole);
            beyond.fill(0);
            if let Some(last) = beyond.first_mut() {
                *last = scalar::word(rest, |code| set.contains(code.into()));
            }
        }};
    }
    let bytes = (!set.bytes.is_empty()).then_some(&*set.bytes);
    match codes {
        CodeSlice::U8(codes) => of_width!(codes, |chunks, words| set_u8(chunks, &set.bits, words)),
        CodeSlice::U16(codes) => of_width!(codes, |chunks, words| match bytes {
            Some(bytes) => by_bytes(chunks, bytes, words, usize::from),
            None => scalar::words(chunks, words, |code: u16| set.contains(code.into())),
        }),
        CodeSlice::U32(codes) => of_width!(codes, |chunks, words| match bytes {
            Some(bytes) => by_bytes(chunks, bytes, words, |code: u32| code as usize),
            None => set_u32(chunks, &set.bits, words),
        }),
        CodeSlice::U64(codes) => {
            of_width!(codes, |chunks, words| scalar::words(chunks, words, |code: u64| set.contains(code)))
        }
    }
}

/// Looks up a byte per code, then packs the bytes: first many, since a vector that is loaded from bytes just stored waits.
fn by_bytes<T: Copy>(chunks: &[[T; 64]], bytes: &[u8], words: &mut [u64], index: impl Fn(T) -> usize) {
    const AT_ONCE: usize = 16;
    let mut found = [[0u8; 64]; AT_ONCE];
    for (chunks, words) in chunks.chunks(AT_ONCE).zip(words.chunks_mut(AT_ONCE)) {
        let found = &mut found[..chunks.len()];
        for (found, code) in found.as_flattened_mut().iter_mut().zip(chunks.as_flattened()) {
            *found = bytes.get(index(*code)).copied().unwrap_or(0);
        }
        range_u8(found, 1, 1, words);
    }
}

/// A word per chunk: which codes are members of `set`.
fn set_u8(chunks: &[[u8; 64]], set: &[u64], words: &mut [u64]) {
    let mut bits = [0; 4];
    let given = set.len().min(4);
    bits[..given].copy_from_slice(&set[..given]);
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
        // SAFETY: the machine has the features that the function needs.
        return unsafe { avx512::set_u8(chunks, &scalar::by_low_nibble(&bits), words) };
    } else if is_x86_feature_detected!("avx2") {
        // SAFETY: the machine has the feature that the function needs.
        return unsafe { avx2::set_u8(chunks, &scalar::by_low_nibble(&bits), words) };
    }
    scalar::words(chunks, words, |code| contains(&bits, code.into()));
}

/// A word per chunk: which codes are members of `set`.
fn set_u32(chunks: &[[u32; 64]], set: &[u64], words: &mut [u64]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
        // SAFETY: the machine has the features that the function needs.
        return unsafe { avx512::set_u32(chunks, set, words) };
    }
    scalar::words(chunks, words, |code| contains(set, code.into()));
}

/// Whether `set` has `code`.
#[inline]
fn contains(set: &[u64], code: u64) -> bool {
    usize::try_from(code / 64)
        .ok()
        .and_then(|word| set.get(word))
        .is_some_and(|word| word >> (code % 64) & 1 == 1)
}

/// Sets in `mask` those of `rows` whose code is in one of `ranges` (both ends inside, ascending, disjoint), and clears all
/// others: for when few rows are left.
///
/// # Panics
/// If a row is beyond the codes.
pub fn ranges_mask_at(codes: CodeSlice<'_>, rows: &[u16], ranges: &[(u64, u64)], mask: &mut Mask) {
    let inside = |code: u64| match ranges {
        [(lo, hi)] => (*lo <= code) & (code <= *hi),
        _ => ranges.get(ranges.partition_point(|range| range.1 < code)).is_some_and(|range| range.0 <= code),
    };
    match codes {
        CodeSlice::U8(codes) => scalar::mask_at(rows, mask, |row| inside(codes[row].into())),
        CodeSlice::U16(codes) => scalar::mask_at(rows, mask, |row| inside(codes[row].into())),
        CodeSlice::U32(codes) => scalar::mask_at(rows, mask, |row| inside(codes[row].into())),
        CodeSlice::U64(codes) => scalar::mask_at(rows, mask, |row| inside(codes[row])),
    }
}

/// Like [`set_mask`], but looks only at `rows`: for when few are left.
///
/// # Panics
/// If a row is beyond the codes.
pub fn set_mask_at(codes: CodeSlice<'_>, rows: &[u16], set: &Members, mask: &mut Mask) {
    match codes {
        CodeSlice::U8(codes) => scalar::mask_at(rows, mask, |row| set.contains(codes[row].into())),
        CodeSlice::U16(codes) => scalar::mask_at(rows, mask, |row| set.contains(codes[row].into())),
        CodeSlice::U32(codes) => scalar::mask_at(rows, mask, |row| set.contains(codes[row].into())),
        CodeSlice::U64(codes) => scalar::mask_at(rows, mask, |row| set.contains(codes[row])),
    }
}

/// Replaces `rows` by the rows whose bits are set, ascending.
pub fn set_rows(mask: &Mask, rows: &mut Vec<u16>) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vbmi2")
    {
        // SAFETY: the machine has the features that the function needs.
        return unsafe { avx512::set_rows(mask, rows) };
    }
    scalar::set_rows(mask, rows);
}
