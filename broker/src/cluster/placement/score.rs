//! The arithmetic of weighted rendezvous hashing, in integers: `cost = -log2(u) / weight`, `u` uniform in (0, 1].
//!
//! The least of exponentially distributed draws is drawn by node i with probability `weight_i / sum of weights`
//! (Schindelhauer and Schomaker, "Weighted distributed hash tables", SPAA 2005; Thaler and Ravishankar 1998 for equal
//! weights). The logarithm is a table of 257 values, made at compile time by repeated squaring, with straight lines in
//! between: off by at most 3e-6, for all nodes alike.

/// No draw costs this much.
pub(super) const TAKEN: u64 = u64::MAX;

/// `log2(1 + i / 256)`, with 32 bits after the point.
const LOG2: [u64; 257] = log2_table();

const fn log2_table() -> [u64; 257] {
    let mut table = [1 << 32; 257];
    let mut i = 0;
    while i < 256 {
        // 1 + i / 256, with 63 bits after the point. Squaring doubles the logarithm; its whole part is the next bit.
        let mut x = (1 << 63) | ((i as u64) << 55);
        let mut logarithm = 0;
        let mut bit = 32;
        while bit > 0 {
            bit -= 1;
            let square = (x as u128 * x as u128) >> 63;
            let above_two = square >> 64 != 0;
            if above_two {
                logarithm |= 1 << bit;
            }
            x = if above_two { (square >> 1) as u64 } else { square as u64 };
        }
        table[i] = logarithm;
        i += 1;
    }
    table
}

/// What a key costs a node; the cheapest nodes own it. Below 2^63.
pub(super) fn cost(key: u64, node_seed: u64, inverse_weight: u64) -> u64 {
    // Below 2^39 times at most 2^40.
    ((u128::from(negative_log2(mix(key ^ node_seed))) * u128::from(inverse_weight)) >> 16) as u64
}

/// `1 / weight`, with 40 bits after the point. `weight` is not 0.
pub(super) fn inverse(weight: u32) -> u64 {
    (1 << 40) / u64::from(weight.max(1))
}

/// `-log2((hash + 1) / 2^64)`, with 32 bits after the point: 0 to 64.
fn negative_log2(hash: u64) -> u64 {
    let Some(x) = hash.checked_add(1) else { return 0 };
    let zeros = x.leading_zeros();
    // x = 2^(63 - zeros) * (1 + fraction); the fraction has 64 bits after the point.
    let fraction = (x << zeros) << 1;
    let index = (fraction >> 56) as usize;
    let within = (fraction >> 24) & 0xffff_ffff;
    let logarithm = LOG2[index] + (((LOG2[index + 1] - LOG2[index]) * within) >> 32);
    ((u64::from(zeros) + 1) << 32) - logarithm
}

/// Every bit of the result depends on every bit of `x` (Evensen's "moremur" constants).
pub(super) fn mix(mut x: u64) -> u64 {
    x ^= x >> 27;
    x = x.wrapping_mul(0x3c79_ac49_2ba7_b653);
    x ^= x >> 33;
    x = x.wrapping_mul(0x1c69_b3f7_4ac4_ae35);
    x ^ (x >> 27)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_one() {
        assert_eq!(negative_log2(u64::MAX), 0);
        assert_eq!(negative_log2(0), 64 << 32);
        assert_eq!(negative_log2((1 << 63) - 1), 1 << 32);
        let mut hash = 1_u64;
        for _ in 0..10_000 {
            hash = mix(hash.wrapping_add(0x9e37_79b9_7f4a_7c15));
            let expected = 64.0 - ((hash as f64) + 1.0).log2();
            let got = negative_log2(hash) as f64 / (1_u64 << 32) as f64;
            assert!((got - expected).abs() < 3e-6, "{hash}: {got} instead of {expected}");
        }
    }

    #[test]
    fn costs_fit() {
        assert_eq!(((64_u128 << 32) * (1_u128 << 40)) >> 16, 1 << 62);
        assert_eq!(inverse(1), 1 << 40);
        assert_eq!(inverse(65_536), 1 << 24);
    }
}
