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

/// Sets in `mask` the rows (at most [`BLOCK_ROWS`]) whose code is a member of `set`, and clears all others. Bit c % 64 of
/// word c / 64 of the set stands for code c; codes beyond its words are no members.
pub fn set_mask(codes: CodeSlice<'_>, set: &[u64], mask: &mut Mask) {
    fn of<T: Copy>(codes: &[T], mask: &mut Mask, test: impl Fn(T) -> bool) {
        let (chunks, rest) = codes[..codes.len().min(BLOCK_ROWS)].as_chunks::<64>();
        let (whole, beyond) = mask.split_at_mut(chunks.len());
        scalar::words(chunks, whole, &test);
        beyond.fill(0);
        if let Some(last) = beyond.first_mut() {
            *last = scalar::word(rest, &test);
        }
    }
    match codes {
        CodeSlice::U8(codes) => {
            let set = padded::<4>(set);
            let (chunks, rest) = codes[..codes.len().min(BLOCK_ROWS)].as_chunks::<64>();
            let (whole, beyond) = mask.split_at_mut(chunks.len());
            set_u8(chunks, &set, whole);
            beyond.fill(0);
            if let Some(last) = beyond.first_mut() {
                *last = scalar::word(rest, |code| contains(&set, code.into()));
            }
        }
        CodeSlice::U16(codes) => {
            // Of full length, the set needs no check of bounds.
            let set = padded::<1024>(set);
            of(codes, mask, |code| set[usize::from(code >> 6)] >> (code & 63) & 1 == 1);
        }
        CodeSlice::U32(codes) => of(codes, mask, |code| contains(set, code.into())),
        CodeSlice::U64(codes) => of(codes, mask, |code| contains(set, code)),
    }
}

fn padded<const WORDS: usize>(set: &[u64]) -> [u64; WORDS] {
    let mut padded = [0; WORDS];
    let words = set.len().min(WORDS);
    padded[..words].copy_from_slice(&set[..words]);
    padded
}

fn set_u8(chunks: &[[u8; 64]], set: &[u64; 4], words: &mut [u64]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
        // SAFETY: the machine has the features that the function needs.
        return unsafe { avx512::set_u8(chunks, &scalar::by_low_nibble(set), words) };
    } else if is_x86_feature_detected!("avx2") {
        // SAFETY: the machine has the feature that the function needs.
        return unsafe { avx2::set_u8(chunks, &scalar::by_low_nibble(set), words) };
    }
    scalar::words(chunks, words, |code| set[usize::from(code >> 6)] >> (code & 63) & 1 == 1);
}

/// Whether `set` has `code`.
#[inline]
pub fn contains(set: &[u64], code: u64) -> bool {
    usize::try_from(code / 64)
        .ok()
        .and_then(|word| set.get(word))
        .is_some_and(|word| word >> (code % 64) & 1 == 1)
}

/// Like [`range_mask`], but looks only at `rows`: for when few are left.
///
/// # Panics
/// If a row is beyond the codes.
pub fn range_mask_at(codes: CodeSlice<'_>, rows: &[u16], lo: u64, hi: u64, mask: &mut Mask) {
    match codes {
        CodeSlice::U8(codes) => scalar::mask_at(rows, mask, |row| in_range(codes[row].into(), lo, hi)),
        CodeSlice::U16(codes) => scalar::mask_at(rows, mask, |row| in_range(codes[row].into(), lo, hi)),
        CodeSlice::U32(codes) => scalar::mask_at(rows, mask, |row| in_range(codes[row].into(), lo, hi)),
        CodeSlice::U64(codes) => scalar::mask_at(rows, mask, |row| in_range(codes[row], lo, hi)),
    }
}

fn in_range(code: u64, lo: u64, hi: u64) -> bool {
    (lo <= code) & (code <= hi)
}

/// Like [`set_mask`], but looks only at `rows`: for when few are left.
///
/// # Panics
/// If a row is beyond the codes.
pub fn set_mask_at(codes: CodeSlice<'_>, rows: &[u16], set: &[u64], mask: &mut Mask) {
    match codes {
        CodeSlice::U8(codes) => scalar::mask_at(rows, mask, |row| contains(set, codes[row].into())),
        CodeSlice::U16(codes) => scalar::mask_at(rows, mask, |row| contains(set, codes[row].into())),
        CodeSlice::U32(codes) => scalar::mask_at(rows, mask, |row| contains(set, codes[row].into())),
        CodeSlice::U64(codes) => scalar::mask_at(rows, mask, |row| contains(set, codes[row])),
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
