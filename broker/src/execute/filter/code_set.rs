//! Sets of the codes of one column: a few ranges, or a bit per code.
//!
//! Ranges are disjoint, ascending and do not touch. Members are below the column's number of codes.

use arrow::array::BooleanArray;
use headwater_segment::column::select::Members;

use crate::execute::selection::true_bits;

/// Up to so many ranges are tested one by one on the codes of a block.
const RANGES_MAX: usize = 4;
/// Beyond so many codes a set stays a list of ranges: its bits would not fit a cache.
const BITS_CODES_MAX: u64 = 1 << 26;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CodeSet {
    /// Both ends belong to a range.
    Ranges(Vec<(u64, u64)>),
    Bits(Bits),
}

/// A bit per code.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bits {
    members: Members,
    /// Members below each word's first code.
    ranks: Vec<u64>,
}

impl Bits {
    fn new(words: Vec<u64>) -> Self {
        let rank = |members: &mut u64, word: &u64| {
            let before = *members;
            *members += u64::from(word.count_ones());
            Some(before)
        };
        let ranks = words.iter().scan(0, rank).collect();
        Self { members: Members::new(words), ranks }
    }

    pub(crate) fn members(&self) -> &Members {
        &self.members
    }

    fn into_words(self) -> Vec<u64> {
        self.members.into_bits()
    }

    /// Members below `code`.
    fn rank(&self, code: u64) -> u64 {
        let word = (code / 64) as usize;
        match (self.members.bits().get(word), self.ranks.get(word)) {
            (Some(bits), Some(rank)) => rank + u64::from((bits & ((1 << (code % 64)) - 1)).count_ones()),
            _ => self.count(),
        }
    }

    pub(crate) fn count(&self) -> u64 {
        match (self.members.bits().last(), self.ranks.last()) {
            (Some(bits), Some(rank)) => rank + u64::from(bits.count_ones()),
            _ => 0,
        }
    }
}

impl CodeSet {
    /// No code.
    pub(crate) fn empty() -> Self {
        Self::Ranges(Vec::new())
    }

    /// The codes `first..end`.
    pub(crate) fn between(first: u64, end: u64) -> Self {
        Self::Ranges(if first < end { vec![(first, end - 1)] } else { Vec::new() })
    }

    /// The codes that are TRUE; NULL is not.
    pub(crate) fn of_true(truth: &BooleanArray) -> Self {
        Self::from_words(true_bits(truth).bit_chunks().iter_padded().take(truth.len().div_ceil(64)).collect())
    }

    /// The codes whose bits are set, as ranges if they are few.
    fn from_words(words: Vec<u64>) -> Self {
        let mut starts = 0;
        let mut carry = 0;
        for word in &words {
            starts += (word & !(word << 1 | carry)).count_ones() as usize;
            carry = word >> 63;
        }
        if starts <= RANGES_MAX { Self::Ranges(runs(&words)) } else { Self::Bits(Bits::new(words)) }
    }

    /// The codes of ranges (ascending, disjoint, not touching), in the form that is tested fastest.
    pub(crate) fn of_ranges(ranges: Vec<(u64, u64)>) -> Self {
        match ranges.last() {
            Some((_, last)) if ranges.len() > RANGES_MAX && *last < BITS_CODES_MAX => {
                Self::Bits(Bits::new(words_of(&ranges, last / 64 + 1)))
            }
            _ => Self::Ranges(ranges),
        }
    }

    /// How many codes.
    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::Ranges(ranges) => ranges.iter().map(|(lo, hi)| hi - lo + 1).sum(),
            Self::Bits(bits) => bits.count(),
        }
    }

    /// How many codes of `lo..=hi`.
    pub(crate) fn count_in(&self, lo: u64, hi: u64) -> u64 {
        match self {
            Self::Ranges(ranges) => {
                let first = ranges.partition_point(|range| range.1 < lo);
                let inside = ranges[first..].iter().take_while(|range| range.0 <= hi);
                inside.map(|range| range.1.min(hi) - range.0.max(lo) + 1).sum()
            }
            Self::Bits(bits) => bits.rank(hi.saturating_add(1)) - bits.rank(lo),
        }
    }

    /// The members, ascending.
    pub(crate) fn codes(&self) -> impl Iterator<Item = u64> {
        self.clone().into_ranges().into_iter().flat_map(|(lo, hi)| lo..=hi)
    }

    /// Whether a code is a member.
    pub(crate) fn contains(&self, code: u64) -> bool {
        match self {
            Self::Ranges(ranges) => {
                let first = ranges.partition_point(|range| range.1 < code);
                ranges.get(first).is_some_and(|range| range.0 <= code)
            }
            Self::Bits(bits) => bits.members.contains(code),
        }
    }

    /// The codes of both.
    pub(crate) fn intersect(self, other: Self) -> Self {
        match (self, other) {
            (Self::Ranges(left), Self::Ranges(right)) => Self::of_ranges(intersect_ranges(&left, &right)),
            (Self::Bits(left), Self::Bits(right)) => Self::and_words(left.into_words(), &right.into_words()),
            (Self::Bits(bits), Self::Ranges(ranges)) | (Self::Ranges(ranges), Self::Bits(bits)) => {
                let words = bits.into_words();
                // Ranges may reach much further than bits would.
                let below = [(0, (words.len() as u64 * 64).saturating_sub(1))];
                let ranges = words_of(&intersect_ranges(&ranges, &below), words.len() as u64);
                Self::and_words(words, &ranges)
            }
        }
    }

    fn and_words(mut left: Vec<u64>, right: &[u64]) -> Self {
        left.truncate(right.len());
        left.iter_mut().zip(right).for_each(|(left, right)| *left &= right);
        Self::from_words(left)
    }

    /// The codes of either.
    pub(crate) fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Bits(left), Self::Bits(right)) => {
                let (mut long, mut short) = (left.into_words(), right.into_words());
                if long.len() < short.len() {
                    std::mem::swap(&mut long, &mut short);
                }
                long.iter_mut().zip(&short).for_each(|(long, short)| *long |= short);
                Self::from_words(long)
            }
            (left, right) => {
                Self::of_ranges(merge_ranges([left.into_ranges(), right.into_ranges()].concat()))
            }
        }
    }

    /// The other codes of `first..end`.
    pub(crate) fn complement(self, first: u64, end: u64) -> Self {
        let ranges = self.into_ranges();
        let mut gaps = Vec::with_capacity(ranges.len() + 1);
        let mut next = first;
        for (lo, hi) in ranges {
            if next < lo.min(end) {
                gaps.push((next, lo.min(end) - 1));
            }
            next = next.max(hi.saturating_add(1));
        }
        if next < end {
            gaps.push((next, end - 1));
        }
        Self::of_ranges(gaps)
    }

    fn into_ranges(self) -> Vec<(u64, u64)> {
        match self {
            Self::Ranges(ranges) => ranges,
            Self::Bits(bits) => runs(bits.members.bits()),
        }
    }
}

/// Sorts ranges, and joins those that overlap or touch.
pub(crate) fn merge_ranges(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
    for (lo, hi) in ranges {
        match merged.last_mut() {
            Some(last) if lo <= last.1.saturating_add(1) => last.1 = last.1.max(hi),
            _ => merged.push((lo, hi)),
        }
    }
    merged
}

fn intersect_ranges(left: &[(u64, u64)], right: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    let mut both = Vec::new();
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let (lo, hi) = (a.0.max(b.0), a.1.min(b.1));
        if lo <= hi {
            both.push((lo, hi));
        }
        if a.1 < b.1 {
            left.next()
        } else {
            right.next()
        };
    }
    both
}

/// The runs of set bits.
fn runs(words: &[u64]) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let mut bits = *word;
        while bits != 0 {
            let start = bits.trailing_zeros();
            let length = (!(bits >> start)).trailing_zeros();
            let lo = index as u64 * 64 + u64::from(start);
            let hi = lo + u64::from(length) - 1;
            match runs.last_mut() {
                Some(last) if last.1 + 1 == lo => last.1 = hi,
                _ => runs.push((lo, hi)),
            }
            let end = start + length;
            bits = if end == 64 { 0 } else { bits >> end << end };
        }
    }
    runs
}

fn words_of(ranges: &[(u64, u64)], count: u64) -> Vec<u64> {
    let mut words = vec![0; count as usize];
    for (lo, hi) in ranges {
        let (first, last) = ((lo / 64) as usize, (hi / 64) as usize);
        for (index, word) in words[first..=last].iter_mut().enumerate() {
            let from = if index == 0 { lo % 64 } else { 0 };
            let to = if index == last - first { hi % 64 } else { 63 };
            *word |= u64::MAX << from & u64::MAX >> (63 - to);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set() -> impl Strategy<Value = (BTreeSet<u64>, CodeSet)> {
        let code = prop_oneof![0u64..20, 0u64..400, prop::sample::select(vec![63, 64, 127, 128, 1 << 40])];
        let runs = prop::collection::vec((code, 0u64..70), 0..12);
        (runs, any::<bool>()).prop_map(|(runs, bits)| {
            let codes: BTreeSet<u64> = runs.iter().flat_map(|(lo, length)| *lo..=lo + length).collect();
            let ranges = merge_ranges(runs.iter().map(|(lo, length)| (*lo, lo + length)).collect());
            let small = codes.last().is_none_or(|last| *last < 1000);
            let set = match bits && small {
                true => CodeSet::Bits(Bits::new(words_of(&ranges, 20))),
                false => CodeSet::of_ranges(ranges),
            };
            (codes, set)
        })
    }

    fn codes(set: &CodeSet) -> BTreeSet<u64> {
        set.codes().collect()
    }

    proptest! {
        #[test]
        fn is_a_set((left, left_set) in set(), (right, right_set) in set(), lo in 0u64..500, length in 0u64..300) {
            prop_assert_eq!(&codes(&left_set), &left);
            prop_assert_eq!(left_set.count(), left.len() as u64);
            prop_assert_eq!(left_set.count_in(lo, lo + length), left.range(lo..=lo + length).count() as u64);
            prop_assert!((0..600).all(|code| left_set.contains(code) == left.contains(&code)));
            let truth = BooleanArray::from_iter((0..600).map(|code| match code % 5 {
                4 => None,
                _ => Some(left.contains(&code)),
            }));
            let wanted: BTreeSet<u64> = left.iter().copied().filter(|code| *code < 600 && code % 5 != 4).collect();
            prop_assert_eq!(codes(&CodeSet::of_true(&truth)), wanted);
            let both = left_set.clone().intersect(right_set.clone());
            prop_assert_eq!(codes(&both), left.intersection(&right).copied().collect::<BTreeSet<_>>());
            let either = left_set.clone().union(right_set);
            prop_assert_eq!(codes(&either), left.union(&right).copied().collect::<BTreeSet<_>>());
            let others = left_set.complement(1, 700);
            prop_assert_eq!(codes(&others), (1..700).filter(|code| !left.contains(code)).collect::<BTreeSet<_>>());
        }
    }
}
