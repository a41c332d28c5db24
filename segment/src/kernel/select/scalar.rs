//! The kernels in plain Rust: what any machine runs, and what the others are compared with.

use super::Mask;

/// Which of at most 64 codes pass a test.
#[inline(always)]
pub(super) fn word<T: Copy>(codes: &[T], test: impl Fn(T) -> bool) -> u64 {
    codes.iter().enumerate().fold(0, |bits, (bit, code)| bits | u64::from(test(*code)) << bit)
}

/// A word per chunk: which codes pass a test.
#[inline(always)]
pub(super) fn words<T: Copy>(chunks: &[[T; 64]], words: &mut [u64], test: impl Fn(T) -> bool) {
    for (codes, bits) in chunks.iter().zip(words) {
        *bits = word(codes, &test);
    }
}

/// Sets the bits of those of `rows` that pass a test, and clears all others.
#[inline(always)]
pub(super) fn mask_at(rows: &[u16], mask: &mut Mask, test: impl Fn(usize) -> bool) {
    mask.fill(0);
    // Rows that pass are few among few: writing only those spares the wait for the word that was just written.
    for row in rows.iter().map(|row| usize::from(*row)) {
        if test(row) {
            mask[row / 64] |= 1 << (row % 64);
        }
    }
}

pub(super) fn set_rows(mask: &Mask, rows: &mut Vec<u16>) {
    rows.clear();
    for (word, bits) in mask.iter().enumerate() {
        let mut bits = *bits;
        while bits != 0 {
            rows.push((word * 64) as u16 + bits.trailing_zeros() as u16);
            bits &= bits - 1;
        }
    }
}

/// A set of bytes as two tables by low nibble: bit h of entry l of the first says whether byte 16 * h + l is a member, of
/// the second byte 16 * (h + 8) + l. Vectors look both up with one shuffle each.
pub(super) fn by_low_nibble(set: &[u64; 4]) -> [[u8; 16]; 2] {
    let mut tables = [[0; 16]; 2];
    for (half, table) in tables.iter_mut().enumerate() {
        // Eight rows of 16 bits, as two squares of 8 * 8 bits that are transposed.
        let row = |high: usize| (set[half * 2 + high / 4] >> (16 * (high % 4))) as u16;
        let square = |shift: u32| {
            (0..8).fold(0, |square, high| square | u64::from((row(high) >> shift) as u8) << (8 * high))
        };
        table[..8].copy_from_slice(&transpose(square(0)).to_le_bytes());
        table[8..].copy_from_slice(&transpose(square(8)).to_le_bytes());
    }
    tables
}

/// Transposes 8 * 8 bits: bit c of byte r becomes bit r of byte c.
fn transpose(square: u64) -> u64 {
    let swap = |square: u64, distance: u32, lower: u64| {
        let differ = (square ^ square >> distance) & lower;
        square ^ differ ^ differ << distance
    };
    let square = swap(square, 7, 0x00AA_00AA_00AA_00AA);
    let square = swap(square, 14, 0x0000_CCCC_0000_CCCC);
    swap(square, 28, 0x0000_0000_F0F0_F0F0)
}
