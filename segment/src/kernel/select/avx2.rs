//! The kernels with vectors of 256 bits, whose comparisons answer in lanes that are gathered into masks.

use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_castsi256_pd,
    _mm256_castsi256_ps, _mm256_cmpeq_epi8, _mm256_cmpeq_epi16, _mm256_cmpeq_epi32, _mm256_cmpgt_epi64,
    _mm256_loadu_si256, _mm256_min_epu8, _mm256_min_epu16, _mm256_min_epu32, _mm256_movemask_epi8,
    _mm256_movemask_pd, _mm256_movemask_ps, _mm256_or_si256, _mm256_packs_epi16, _mm256_permute4x64_epi64,
    _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_shuffle_epi8,
    _mm256_srli_epi16, _mm256_sub_epi8, _mm256_sub_epi16, _mm256_sub_epi32, _mm256_sub_epi64,
    _mm256_xor_si256,
};

use super::Lane;

/// 32 bytes from `lanes[start..]`.
#[inline]
#[target_feature(enable = "avx2")]
fn load<T: Lane>(lanes: &[T; 64], start: usize) -> __m256i {
    let lanes = &lanes[start..start + 32 / size_of::<T>()];
    // SAFETY: a lane's size divides 32 and all of its bytes are initialised, so `lanes` is exactly 32 readable bytes, of
    // which a vector may hold any; the load needs no alignment.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
pub(super) fn range_u8(chunks: &[[u8; 64]], lo: u8, hi: u8, words: &mut [u64]) {
    let (from, width) = (_mm256_set1_epi8(lo as i8), _mm256_set1_epi8(hi.wrapping_sub(lo) as i8));
    for (codes, bits) in chunks.iter().zip(words) {
        let of = |start| {
            let above = _mm256_sub_epi8(load(codes, start), from);
            _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_min_epu8(above, width), above)) as u32
        };
        *bits = u64::from(of(0)) | u64::from(of(32)) << 32;
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn range_u16(chunks: &[[u16; 64]], lo: u16, hi: u16, words: &mut [u64]) {
    let (from, width) = (_mm256_set1_epi16(lo as i16), _mm256_set1_epi16(hi.wrapping_sub(lo) as i16));
    for (codes, bits) in chunks.iter().zip(words) {
        let of = |start| {
            let above = _mm256_sub_epi16(load(codes, start), from);
            _mm256_cmpeq_epi16(_mm256_min_epu16(above, width), above)
        };
        let both = |start| {
            // Packing works within halves: their quarters end up in the order 0, 2, 1, 3.
            let packed = _mm256_packs_epi16(of(start), of(start + 16));
            _mm256_movemask_epi8(_mm256_permute4x64_epi64::<0b11_01_10_00>(packed)) as u32
        };
        *bits = u64::from(both(0)) | u64::from(both(32)) << 32;
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn range_u32(chunks: &[[u32; 64]], lo: u32, hi: u32, words: &mut [u64]) {
    let (from, width) = (_mm256_set1_epi32(lo as i32), _mm256_set1_epi32(hi.wrapping_sub(lo) as i32));
    for (codes, bits) in chunks.iter().zip(words) {
        let of = |start| {
            let above = _mm256_sub_epi32(load(codes, start), from);
            let inside = _mm256_cmpeq_epi32(_mm256_min_epu32(above, width), above);
            _mm256_movemask_ps(_mm256_castsi256_ps(inside)) as u64
        };
        *bits = (0..8).fold(0, |bits, part| bits | of(part * 8) << (part * 8));
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn range_u64(chunks: &[[u64; 64]], lo: u64, hi: u64, words: &mut [u64]) {
    // There is no unsigned comparison of 64 bits: both sides are moved by half the range.
    let half = _mm256_set1_epi64x(i64::MIN);
    let (from, width) =
        (_mm256_set1_epi64x(lo as i64), _mm256_set1_epi64x(hi.wrapping_sub(lo) as i64 ^ i64::MIN));
    for (codes, bits) in chunks.iter().zip(words) {
        let of = |start| {
            let above = _mm256_xor_si256(_mm256_sub_epi64(load(codes, start), from), half);
            !(_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(above, width))) as u64) & 0b1111
        };
        *bits = (0..16).fold(0, |bits, part| bits | of(part * 4) << (part * 4));
    }
}

/// The set as [`super::scalar::by_low_nibble`] makes it.
#[target_feature(enable = "avx2")]
pub(super) fn set_u8(chunks: &[[u8; 64]], set: &[[u8; 16]; 2], words: &mut [u64]) {
    const BIT: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
    // SAFETY: each is 16 readable bytes; the loads need no alignment.
    let [low, high, bit] = [&set[0], &set[1], &BIT]
        .map(|table| unsafe { _mm_loadu_si128(table.as_ptr().cast()) })
        .map(|table| _mm256_broadcastsi128_si256(table));
    let (nibble, sign) = (_mm256_set1_epi8(0x0f), _mm256_set1_epi8(i8::MIN));
    let low_and_sign = _mm256_or_si256(nibble, sign);
    for (codes, bits) in chunks.iter().zip(words) {
        let of = |start| {
            let codes = load(codes, start);
            // A shuffle answers 0 where the index has its sign set: exactly one table answers.
            let index = _mm256_and_si256(codes, low_and_sign);
            let row = _mm256_or_si256(
                _mm256_shuffle_epi8(low, index),
                _mm256_shuffle_epi8(high, _mm256_xor_si256(index, sign)),
            );
            let member = _mm256_shuffle_epi8(bit, _mm256_and_si256(_mm256_srli_epi16::<4>(codes), nibble));
            _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_and_si256(row, member), member)) as u32
        };
        *bits = u64::from(of(0)) | u64::from(of(32)) << 32;
    }
}
