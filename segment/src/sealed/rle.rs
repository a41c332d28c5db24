//! Parquet's hybrid of run lengths and bit packing: how dictionary indexes and definition levels lie in a page.
//!
//! Values of the same kind may be written by any mixture of runs; this writer starts a run of equal values where it saves
//! bytes, and packs everything between in whole groups of eight, as the format demands.

use bytes::BufMut;

/// Equal values in a row from which on a run pays: it costs two or three bytes, and cuts the packed values around it.
const RUN_VALUES_MIN: usize = 24;

/// Bits that hold every value up to `max`; at least 1.
pub(super) fn bits_for(max: u32) -> u32 {
    (u32::BITS - max.leading_zeros()).max(1)
}

/// Appends `values`, each below 2^`bits`, to `out`. `bits` is 1 to 32.
pub(super) fn encode(values: &[u32], bits: u32, out: &mut Vec<u8>) {
    let mut packed_from = 0;
    let mut at = 0;
    while at < values.len() {
        let run = run_length(&values[at..]);
        // Packed values come in groups of eight: the run gives the last group what it lacks.
        let lacking = (at - packed_from).next_multiple_of(8) - (at - packed_from);
        if run >= RUN_VALUES_MIN + lacking {
            pack(&values[packed_from..at + lacking], bits, out);
            put_varint(((run - lacking) as u64) << 1, out);
            out.extend_from_slice(&values[at].to_le_bytes()[..bits.div_ceil(8) as usize]);
            packed_from = at + run;
        }
        at += run;
    }
    pack(&values[packed_from..], bits, out);
}

fn run_length(values: &[u32]) -> usize {
    let first = values[0];
    values.iter().position(|value| *value != first).unwrap_or(values.len())
}

/// One bit-packed run; the last group is filled up with zeros.
fn pack(values: &[u32], bits: u32, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(8);
    put_varint((groups as u64) << 1 | 1, out);
    let end = out.len() + groups * bits as usize;
    out.reserve(groups * bits as usize + 8);
    let (mut pending, mut pending_bits) = (0_u64, 0);
    for value in values {
        pending |= u64::from(*value) << pending_bits;
        pending_bits += bits;
        if pending_bits >= 32 {
            out.put_u32_le(pending as u32);
            pending >>= 32;
            pending_bits -= 32;
        }
    }
    out.put_u64_le(pending);
    out.resize(end, 0);
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The format's definition, value by value.
    fn decode(mut bytes: &[u8], bits: u32, count: usize) -> Vec<u32> {
        let mut values = Vec::new();
        while values.len() < count {
            let (mut header, mut shift) = (0_u64, 0);
            loop {
                let byte = bytes[0];
                bytes = &bytes[1..];
                header |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            if header & 1 == 0 {
                let width = bits.div_ceil(8) as usize;
                let mut value = [0; 4];
                value[..width].copy_from_slice(&bytes[..width]);
                bytes = &bytes[width..];
                values.extend(std::iter::repeat_n(u32::from_le_bytes(value), (header >> 1) as usize));
            } else {
                let packed = (header >> 1) as usize * bits as usize;
                let bit = |at: usize| u32::from(bytes[at / 8] >> (at % 8) & 1);
                values.extend((0..(header >> 1) as usize * 8).map(|nth| {
                    (0..bits as usize).map(|low| bit(nth * bits as usize + low) << low).sum::<u32>()
                }));
                bytes = &bytes[packed..];
            }
        }
        assert!(bytes.is_empty());
        values
    }

    proptest! {
        #[test]
        fn values_come_back(
            bits in 1_u32..=32,
            runs in prop::collection::vec((any::<u32>(), prop_oneof![3 => 1_usize..4, 1 => 1_usize..200]), 0..40),
        ) {
            let mask = (1_u64 << bits) as u32;
            let mask = mask.wrapping_sub(1);
            let values: Vec<u32> =
                runs.iter().flat_map(|(value, length)| std::iter::repeat_n(value & mask, *length)).collect();
            let mut encoded = Vec::new();
            encode(&values, bits, &mut encoded);
            let decoded = decode(&encoded, bits, values.len());
            prop_assert_eq!(&decoded[..values.len()], &values[..]);
            prop_assert!(decoded[values.len()..].iter().all(|value| *value == 0) && decoded.len() - values.len() < 8);
        }
    }

    #[test]
    fn widths() {
        for (max, bits) in [(0, 1), (1, 1), (2, 2), (255, 8), (256, 9), (u32::MAX, 32)] {
            assert_eq!(bits_for(max), bits);
        }
    }
}
