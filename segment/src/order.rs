//! Values as integers that compare as the values do.

/// The first eight bytes, which decide most comparisons of text and bytes; where they are equal, the whole values decide.
pub(crate) fn prefix(bytes: &[u8]) -> u64 {
    let mut prefix = [0; 8];
    let length = bytes.len().min(8);
    prefix[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(prefix)
}

/// The place of a float in IEEE 754's total order (section 5.10; as `f32::total_cmp` does it). NaN of different bits differ,
/// and so do the zeros.
pub(crate) fn of_f32(value: f32) -> i32 {
    let bits = value.to_bits() as i32;
    bits ^ ((bits >> 31) as u32 >> 1) as i32
}

/// The float at a place: the transformation is its own inverse.
pub(crate) fn f32_at(place: i32) -> f32 {
    f32::from_bits((place ^ ((place >> 31) as u32 >> 1) as i32) as u32)
}

/// See [`of_f32`].
pub(crate) fn of_f64(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// See [`f32_at`].
pub(crate) fn f64_at(place: i64) -> f64 {
    f64::from_bits((place ^ ((place >> 63) as u64 >> 1) as i64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn floats_compare_by_their_places(left: u64, right: u64) {
            let (a, b) = (f64::from_bits(left), f64::from_bits(right));
            prop_assert_eq!(of_f64(a).cmp(&of_f64(b)), a.total_cmp(&b));
            prop_assert_eq!(f64_at(of_f64(a)).to_bits(), left);
            let (a, b) = (f32::from_bits(left as u32), f32::from_bits(right as u32));
            prop_assert_eq!(of_f32(a).cmp(&of_f32(b)), a.total_cmp(&b));
            prop_assert_eq!(f32_at(of_f32(a)).to_bits(), left as u32);
        }

        #[test]
        fn a_prefix_never_contradicts_its_bytes(left: Vec<u8>, right: Vec<u8>) {
            if left <= right {
                prop_assert!(prefix(&left) <= prefix(&right));
            }
        }
    }
}
