//! Entries answer as a scan of the codes would, and bytes that were never written are an error or harmless, never a panic.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn order(count: u32, has_null: bool, values: Option<Vec<i64>>) -> ValueOrder {
    ValueOrder { count, has_null, values: values.map(Into::into) }
}

/// Codes below `count`, each at least once.
fn codes(count: u32) -> impl Strategy<Value = Vec<u32>> {
    let some = prop_oneof![
        prop::collection::vec(0..count, 0..300),
        prop::collection::vec((0..count, 1_usize..3000), 0..20).prop_map(|runs| runs
            .into_iter()
            .flat_map(|(code, rows)| std::iter::repeat_n(code, rows))
            .collect()),
    ];
    some.prop_map(move |some: Vec<u32>| (0..count).chain(some).collect())
}

fn rows_of(codes: &[u32], code: u32) -> RoaringBitmap {
    (0_u32..).zip(codes).filter(|(_, found)| **found == code).map(|(row, _)| row).collect()
}

fn check(postings: &ColumnPostings, codes: &[u32], count: u32) {
    let by_code = postings.by_code();
    for code in 0..count {
        let expected = rows_of(codes, code);
        assert_eq!(by_code.count(code.into()), Some(expected.len()));
        assert_eq!(by_code.rows(code.into()), Some(expected));
    }
    assert_eq!(by_code.rows(count.into()), None);
    assert_eq!(by_code.rows(u64::MAX), None);
    assert_eq!(by_code.count(u64::MAX), None);
}

/// Flips, cuts and extends `bytes` in many places.
fn mutations(bytes: &[u8]) -> impl Iterator<Item = Bytes> + '_ {
    let flipped = (0..bytes.len() * 8).step_by(1.max(bytes.len() / 300)).map(|bit| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    let filled = (0..bytes.len()).step_by(1.max(bytes.len() / 300)).map(|at| {
        let mut bytes = bytes.to_vec();
        let end = (at + 4).min(bytes.len());
        bytes[at..end].fill(0xff);
        bytes
    });
    let cut = (0..bytes.len()).step_by(1.max(bytes.len() / 300)).map(|end| bytes[..end].to_vec());
    let longer = [[bytes, &[0][..]].concat(), [bytes, bytes].concat()];
    flipped.chain(filled).chain(cut).chain(longer).map(Bytes::from)
}

/// Whatever was parsed answers with rows of the segment, or not at all.
fn check_harmless(postings: &ColumnPostings, row_count: u32) {
    let by_code = postings.by_code();
    for code in (0..u64::from(postings.order().count)).chain([u64::MAX]) {
        let rows = by_code.rows(code);
        assert!(rows.is_none_or(|rows| rows.max().is_none_or(|last| last < row_count)));
        by_code.count(code);
    }
    if let Some(linear) = postings.by_value(i64::MIN, i64::MAX) {
        linear.rows(3);
        linear.count(u64::MAX);
    }
}

proptest! {
    #[test]
    fn an_inverted_index_answers_as_a_scan(codes in (1_u32..40).prop_flat_map(codes)) {
        let count = codes.iter().max().unwrap() + 1;
        let counts = CodeCounts::of(&codes, count as usize);
        let order = order(count, count > 1, None);
        let built = InvertedIndex::build(&order, &codes, &counts, usize::MAX).unwrap().unwrap();
        let read = InvertedIndex::parse(&built.into(), codes.len() as u32).unwrap();
        prop_assert_eq!(read.order(), &order);
        check(&read, &codes, count);
    }

    #[test]
    fn a_sorted_index_answers_as_a_scan(codes in (1_u32..40).prop_flat_map(codes)) {
        let mut codes = codes;
        codes.sort_unstable();
        let count = codes.iter().max().unwrap() + 1;
        let order = order(count, false, Some((0..i64::from(count)).map(|value| value * 7 - 50).collect()));
        let built = SortedIndex::build(&order, &CodeCounts::of(&codes, count as usize));
        let read = SortedIndex::parse(&built.into(), codes.len() as u32).unwrap();
        prop_assert_eq!(read.order(), &order);
        check(&read, &codes, count);
    }

    #[test]
    fn linear_codes_find_their_values(
        values in prop::collection::btree_set(-40_i64..40, 1..20),
        has_null in any::<bool>(),
        rows in prop::collection::vec(any::<prop::sample::Index>(), 1..200),
    ) {
        let values: Vec<i64> = values.into_iter().collect();
        let nulls = u32::from(has_null);
        let count = values.len() as u32 + nulls;
        let codes: Vec<u32> =
            (0..count).chain(rows.iter().map(|row| row.index(count as usize) as u32)).collect();
        let order = order(count, has_null, Some(values.clone()));
        let counts = CodeCounts::of(&codes, count as usize);
        let built = InvertedIndex::build(&order, &codes, &counts, usize::MAX).unwrap().unwrap();
        let read = InvertedIndex::parse(&built.into(), codes.len() as u32).unwrap();
        let linear = read.by_value(-40, 1).unwrap();
        for value in -40..40 {
            let expected = match values.binary_search(&value) {
                Ok(place) => rows_of(&codes, place as u32 + nulls),
                Err(_) => RoaringBitmap::new(),
            };
            let code = (value + 40) as u64 + u64::from(nulls);
            prop_assert_eq!(linear.count(code), Some(expected.len()));
            prop_assert_eq!(linear.rows(code), Some(expected.clone()));
            prop_assert_eq!(read.rows_of(value), Some(expected));
        }
        if has_null {
            prop_assert_eq!(linear.rows(0), Some(rows_of(&codes, 0)));
        }
    }

    #[test]
    fn bytes_of_no_index_are_harmless(bytes in prop::collection::vec(prop_oneof![Just(0), Just(1), any::<u8>()], 0..200)) {
        let bytes = Bytes::from(bytes);
        for rows in [1, 3, u32::MAX] {
            if let Ok(read) = InvertedIndex::parse(&bytes, rows) {
                check_harmless(&read, rows);
            }
            if let Ok(read) = SortedIndex::parse(&bytes, rows) {
                check_harmless(&read, rows);
            }
        }
    }
}

#[test]
fn damaged_entries_are_errors_or_harmless() {
    let codes: Vec<u32> = (0..3000_u32).map(|row| row * row % 7).chain([6; 500]).chain([2; 500]).collect();
    let rows = codes.len() as u32;
    let counts = CodeCounts::of(&codes, 7);
    let inverted = InvertedIndex::build(&order(7, true, Some((0..6).collect())), &codes, &counts, usize::MAX);
    for bytes in mutations(&inverted.unwrap().unwrap()) {
        if let Ok(read) = InvertedIndex::parse(&bytes, rows) {
            check_harmless(&read, rows);
        }
    }
    for bytes in mutations(&SortedIndex::build(&order(7, false, None), &counts)) {
        if let Ok(read) = SortedIndex::parse(&bytes, rows) {
            check_harmless(&read, rows);
        }
    }
}

#[test]
fn an_index_that_would_be_too_large_is_given_up() {
    let codes: Vec<u32> = (0..10_000).map(|row| row % 100).collect();
    let counts = CodeCounts::of(&codes, 100);
    let build =
        |bytes_max| InvertedIndex::build(&order(100, false, None), &codes, &counts, bytes_max).unwrap();
    let bytes = build(usize::MAX).unwrap().len();
    assert!(build(bytes).is_some() && build(bytes - 1).is_none() && build(10).is_none());
}
