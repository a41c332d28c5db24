//! Every kernel against its scalar twin and against the definition.

use proptest::prelude::*;

use super::*;

const EDGES: [u64; 14] =
    [0, 1, 62, 63, 64, 127, 128, 254, 255, 256, 65_535, 65_536, u32::MAX as u64, u64::MAX];

fn bit(mask: &Mask, row: usize) -> bool {
    mask[row / 64] >> (row % 64) & 1 == 1
}

/// Codes of one width, as they are and as the definition reads them.
fn with_codes(width: usize, codes: &[u64], mut check: impl FnMut(CodeSlice<'_>, Vec<u64>)) {
    match width {
        1 => {
            let codes: Vec<u8> = codes.iter().map(|code| *code as u8).collect();
            check(CodeSlice::U8(&codes), codes.iter().map(|code| u64::from(*code)).collect());
        }
        2 => {
            let codes: Vec<u16> = codes.iter().map(|code| *code as u16).collect();
            check(CodeSlice::U16(&codes), codes.iter().map(|code| u64::from(*code)).collect());
        }
        4 => {
            let codes: Vec<u32> = codes.iter().map(|code| *code as u32).collect();
            check(CodeSlice::U32(&codes), codes.iter().map(|code| u64::from(*code)).collect());
        }
        _ => check(CodeSlice::U64(codes), codes.to_vec()),
    }
}

fn code() -> impl Strategy<Value = u64> {
    prop_oneof![prop::sample::select(EDGES.to_vec()), 0u64..300, 0u64..70_000, any::<u64>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn masks_hold_exactly_the_codes_that_pass(
        codes in prop::collection::vec(code(), 0..300),
        width in prop::sample::select(vec![1usize, 2, 4, 8]),
        ends in (code(), code()),
        set in prop::collection::vec(any::<u64>(), 0..1200),
    ) {
        let set = Members::new(set);
        with_codes(width, &codes, |slice, codes| {
            let mut mask = [u64::MAX; MASK_WORDS];
            let rows: Vec<u16> = (0..codes.len() as u16).step_by(3).collect();
            range_mask(slice, ends.0, ends.1, &mut mask);
            let inside = |row: usize| codes.get(row).is_some_and(|code| (ends.0..=ends.1).contains(code));
            assert!((0..BLOCK_ROWS).all(|row| bit(&mask, row) == inside(row)));
            let (lo, hi) = (ends.0.min(ends.1), ends.0.max(ends.1));
            let outside = |row: usize| codes.get(row).is_some_and(|code| *code < lo || *code > hi);
            let both = [(0, lo.wrapping_sub(1)), (hi.wrapping_add(1), u64::MAX)];
            if lo > 0 && hi < u64::MAX {
                ranges_mask_at(slice, &rows, &both, &mut mask);
                assert!((0..BLOCK_ROWS).all(|row| bit(&mask, row) == (row % 3 == 0 && outside(row))));
            }
            ranges_mask_at(slice, &rows, &[(lo, hi)], &mut mask);
            assert!((0..codes.len()).all(|row| bit(&mask, row) == (row % 3 == 0 && !outside(row))));
            set_mask(slice, &set, &mut mask);
            let member = |row: usize| codes.get(row).is_some_and(|code| contains(set.bits(), *code));
            assert!((0..BLOCK_ROWS).all(|row| bit(&mask, row) == member(row)));
            set_mask_at(slice, &rows, &set, &mut mask);
            assert!((0..BLOCK_ROWS).all(|row| bit(&mask, row) == (row % 3 == 0 && member(row))));
        });
    }

    #[test]
    fn rows_are_the_set_bits(
        words in prop::collection::vec(prop_oneof![Just(0), Just(1 << 63), Just(u64::MAX), any::<u64>()], MASK_WORDS),
        full: bool,
    ) {
        let mut mask = [u64::MAX; MASK_WORDS];
        if !full {
            mask.copy_from_slice(&words);
        }
        let (mut rows, mut expected) = (vec![7], Vec::new());
        set_rows(&mask, &mut rows);
        scalar::set_rows(&mask, &mut expected);
        prop_assert_eq!(rows, expected);
    }
}

#[cfg(target_arch = "x86_64")]
proptest! {
    #[test]
    fn every_width_of_vector_agrees(
        codes in prop::collection::vec(any::<u64>(), 192),
        ends in (code(), code()),
        set: [u64; 4],
    ) {
        macro_rules! check {
            ($type:ty, $name:ident) => {{
                let near = [ends.0, ends.1, ends.0.wrapping_add(1), ends.1.wrapping_sub(1)];
                let code = |code: u64| if code % 2 == 0 { near[code as usize / 2 % 4] } else { code >> 1 } as $type;
                let chunks: Vec<[$type; 64]> =
                    (0..3).map(|chunk| std::array::from_fn(|lane| code(codes[chunk * 64 + lane]))).collect();
                let (lo, hi) = (ends.0 as $type, ends.1 as $type);
                let (lo, hi) = (lo.min(hi), lo.max(hi));
                let (mut narrow, mut wide, mut expected) = ([0; 3], [0; 3], [0; 3]);
                scalar::words(&chunks, &mut expected, |code| lo <= code && code <= hi);
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: just asked.
                    unsafe { avx2::$name(&chunks, lo, hi, &mut narrow) };
                    prop_assert_eq!(narrow, expected);
                }
                if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
                    // SAFETY: just asked.
                    unsafe { avx512::$name(&chunks, lo, hi, &mut wide) };
                    prop_assert_eq!(wide, expected);
                }
            }};
        }
        check!(u8, range_u8);
        check!(u16, range_u16);
        check!(u32, range_u32);
        check!(u64, range_u64);

        let every: [[u8; 64]; 4] = std::array::from_fn(|high| std::array::from_fn(|low| (high * 64 + low) as u8));
        let tables = scalar::by_low_nibble(&set);
        let mut words = [0; 4];
        if is_x86_feature_detected!("avx2") {
            // SAFETY: just asked.
            unsafe { avx2::set_u8(&every, &tables, &mut words) };
            prop_assert_eq!(words, set);
        }
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
            // SAFETY: just asked.
            unsafe { avx512::set_u8(&every, &tables, &mut words) };
            prop_assert_eq!(words, set);
        }
    }
}
