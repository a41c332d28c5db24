//! The kernels with vectors of 512 bits, whose comparisons answer in masks.

use std::arch::x86_64::{
    __m512i, _mm_loadu_si128, _mm512_add_epi16, _mm512_and_si512, _mm512_broadcast_i32x4,
    _mm512_cmple_epu8_mask, _mm512_cmple_epu16_mask, _mm512_cmple_epu32_mask, _mm512_cmple_epu64_mask,
    _mm512_cmplt_epu32_mask, _mm512_loadu_si512, _mm512_mask_i32gather_epi32, _mm512_maskz_compress_epi16,
    _mm512_or_si512, _mm512_set1_epi8, _mm512_set1_epi16, _mm512_set1_epi32, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_sllv_epi32, _mm512_srli_epi16, _mm512_srli_epi32,
    _mm512_storeu_si512, _mm512_sub_epi8, _mm512_sub_epi16, _mm512_sub_epi32, _mm512_sub_epi64,
    _mm512_test_epi8_mask, _mm512_test_epi32_mask, _mm512_xor_si512,
};

use super::{Lane, MASK_WORDS, Mask};

/// 64 bytes from `lanes[start..]`.
#[inline]
#[target_feature(enable = "avx512f")]
fn load<T: Lane>(lanes: &[T; 64], start: usize) -> __m512i {
    let lanes = &lanes[start..start + 64 / size_of::<T>()];
    // SAFETY: a lane's size divides 32 and all of its bytes are initialised, so `lanes` is exactly 64 readable bytes, of
    // which a vector may hold any; the load needs no alignment.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn range_u8(chunks: &[[u8; 64]], lo: u8, hi: u8, words: &mut [u64]) {
    let (from, width) = (_mm512_set1_epi8(lo as i8), _mm512_set1_epi8(hi.wrapping_sub(lo) as i8));
    for (codes, bits) in chunks.iter().zip(words) {
        *bits = _mm512_cmple_epu8_mask(_mm512_sub_epi8(load(codes, 0), from), width);
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn range_u16(chunks: &[[u16; 64]], lo: u16, hi: u16, words: &mut [u64]) {
    let (from, width) = (_mm512_set1_epi16(lo as i16), _mm512_set1_epi16(hi.wrapping_sub(lo) as i16));
    for (codes, bits) in chunks.iter().zip(words) {
        let of = |start| _mm512_cmple_epu16_mask(_mm512_sub_epi16(load(codes, start), from), width);
        *bits = u64::from(of(0)) | u64::from(of(32)) << 32;
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn range_u32(chunks: &[[u32; 64]], lo: u32, hi: u32, words: &mut [u64]) {
    let (from, width) = (_mm512_set1_epi32(lo as i32), _mm512_set1_epi32(hi.wrapping_sub(lo) as i32));
    for (codes, bits) in chunks.iter().zip(words) {
        let of = |start| _mm512_cmple_epu32_mask(_mm512_sub_epi32(load(codes, start), from), width);
        *bits = (0..4).fold(0, |bits, part| bits | u64::from(of(part * 16)) << (part * 16));
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn range_u64(chunks: &[[u64; 64]], lo: u64, hi: u64, words: &mut [u64]) {
    let (from, width) = (_mm512_set1_epi64(lo as i64), _mm512_set1_epi64(hi.wrapping_sub(lo) as i64));
    for (codes, bits) in chunks.iter().zip(words) {
        let of = |start| _mm512_cmple_epu64_mask(_mm512_sub_epi64(load(codes, start), from), width);
        *bits = (0..8).fold(0, |bits, part| bits | u64::from(of(part * 8)) << (part * 8));
    }
}

/// The set as [`super::scalar::by_low_nibble`] makes it.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn set_u8(chunks: &[[u8; 64]], set: &[[u8; 16]; 2], words: &mut [u64]) {
    const BIT: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
    // SAFETY: each is 16 readable bytes; the loads need no alignment.
    let [low, high, bit] = [&set[0], &set[1], &BIT]
        .map(|table| unsafe { _mm_loadu_si128(table.as_ptr().cast()) })
        .map(|table| _mm512_broadcast_i32x4(table));
    let (nibble, sign) = (_mm512_set1_epi8(0x0f), _mm512_set1_epi8(i8::MIN));
    let low_and_sign = _mm512_or_si512(nibble, sign);
    for (codes, bits) in chunks.iter().zip(words) {
        let codes = load(codes, 0);
        // A shuffle answers 0 where the index has its sign set: exactly one table answers.
        let index = _mm512_and_si512(codes, low_and_sign);
        let row = _mm512_or_si512(
            _mm512_shuffle_epi8(low, index),
            _mm512_shuffle_epi8(high, _mm512_xor_si512(index, sign)),
        );
        let member = _mm512_shuffle_epi8(bit, _mm512_and_si512(_mm512_srli_epi16::<4>(codes), nibble));
        *bits = _mm512_test_epi8_mask(row, member);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2")]
pub(super) fn set_rows(mask: &Mask, rows: &mut Vec<u16>) {
    const FIRST: [u16; 64] = {
        let mut first = [0; 64];
        let mut row = 0;
        while row < 64 {
            first[row] = row as u16;
            row += 1;
        }
        first
    };
    rows.clear();
    // Every store writes 32 rows, of which some may be beyond the last.
    rows.reserve(MASK_WORDS * 64 + 32);
    let start: *mut u16 = rows.as_mut_ptr();
    let (low, high) = (load(&FIRST, 0), load(&FIRST, 32));
    let mut count = 0;
    for (word, bits) in mask.iter().enumerate() {
        if *bits == 0 {
            continue;
        }
        let base = _mm512_set1_epi16((word * 64) as i16);
        for (bits, rows) in [(*bits as u32, low), ((*bits >> 32) as u32, high)] {
            // In a register: compressing into memory is slow on some machines.
            let packed = _mm512_maskz_compress_epi16(bits, _mm512_add_epi16(rows, base));
            // SAFETY: `count` is at most the rows of the words before, 64 each, so at most MASK_WORDS * 64 - 32 before
            // the last store (whose 32 rows are not counted yet); with 32 more all is within the reserved capacity.
            unsafe { _mm512_storeu_si512(start.add(count).cast(), packed) };
            count += bits.count_ones() as usize;
        }
    }
    // SAFETY: `count` rows were written from the start on, each store over the unused lanes of the one before, and
    // `count` is at most MASK_WORDS * 64, which is within the reserved capacity.
    unsafe { rows.set_len(count) };
}

/// Codes beyond the set's bits are no members.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn set_u32(chunks: &[[u32; 64]], set: &[u64], words: &mut [u64]) {
    for (codes, bits) in chunks.iter().zip(words) {
        *bits = (0..4)
            .fold(0, |bits, part| bits | u64::from(members(load(codes, part * 16), set)) << (part * 16));
    }
}

/// Which of 16 codes are members.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn members(codes: __m512i, set: &[u64]) -> u16 {
    // In words of 32 bits, which is what a gather reads: on this little-endian machine bit c % 32 of word c / 32.
    let halves = set.len().min(1 << 26) * 2;
    let index = _mm512_srli_epi32::<5>(codes);
    let inside = _mm512_cmplt_epu32_mask(index, _mm512_set1_epi32(halves as i32));
    // SAFETY: only lanes whose index is below `halves` read, which are 4 bytes each within `set`; the index is below
    // 2^27, so that neither it nor its four-fold is negative as the instruction reads them.
    let found = unsafe {
        _mm512_mask_i32gather_epi32::<4>(_mm512_setzero_si512(), inside, index, set.as_ptr().cast())
    };
    let bit = _mm512_sllv_epi32(_mm512_set1_epi32(1), _mm512_and_si512(codes, _mm512_set1_epi32(31)));
    _mm512_test_epi32_mask(found, bit)
}
