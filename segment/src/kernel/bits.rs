//! Flags kept as one byte per row while they are written (two rows never share a byte, so a reader of the
//! committed rows never races with the writer), packed into Arrow's bits when read.

use arrow::buffer::{BooleanBuffer, Buffer};

/// Eight bytes of 0 or 1 become eight bits, first byte lowest: the product moves byte i's lowest bit to bit 56 + i.
const GATHER: u64 = 0x0102_0408_1020_4080;
const ONES: u64 = 0x0101_0101_0101_0101;

/// Packs flags (each 0 or 1); bit i is `flags[i] == 1`, or the opposite if `inverted`.
pub(crate) fn pack_bits(flags: &[u8], inverted: bool) -> BooleanBuffer {
    let flip = if inverted { ONES } else { 0 };
    let pack = |eight: [u8; 8]| ((u64::from_le_bytes(eight) ^ flip).wrapping_mul(GATHER) >> 56) as u8;
    let (whole, rest) = flags.as_chunks::<8>();
    let mut packed: Vec<u8> = whole.iter().map(|eight| pack(*eight)).collect();
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        packed.push(pack(last));
    }
    BooleanBuffer::new(Buffer::from_vec(packed), 0, flags.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_arrow(flags in prop::collection::vec(0..=1u8, 0..100), inverted: bool) {
            let expected: BooleanBuffer = flags.iter().map(|flag| (*flag == 1) != inverted).collect();
            prop_assert_eq!(pack_bits(&flags, inverted), expected);
        }
    }
}
