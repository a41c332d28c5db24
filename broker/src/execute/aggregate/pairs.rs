//! Sets of pairs of a group and a value, of which many do not fit into the cache.
//!
//! Few pairs are one hash set. Once there are more than [`FEW_PAIRS_MAX`], they are put aside by the hash of their value,
//! and each partition has a set of its own, which takes them when about half as many as it holds have gathered: it is
//! then in the cache once for all of them.
//!
//! Invariants:
//! - the partition of a pair depends on its value alone, so that equal values of groups that two workers number
//!   differently are in the same one;
//! - in a [`Listed`] the values of a group are distinct, and in the order of their partitions.

use std::ops::Range;

use super::spread::PARTITIONS;
use super::table::PackedKey;

/// More pairs than this no longer fit into the second-level cache.
const FEW_PAIRS_MAX: usize = 16_384;
/// Pairs that a partition gathers at least.
const PENDING_MIN: usize = 1024;
/// Up to so many values are put together in one set, without a look at their partitions.
const UNION_AT_ONCE_MAX: usize = 8192;
/// Most slots of a set that are taken, in eighths.
const LOAD_EIGHTHS_MAX: usize = 5;
const SLOTS_MIN: usize = 32;

/// A group and a value in one machine word or two.
pub(super) trait Pair: Copy + Eq {
    /// Marks a slot that is free; it may be a pair, too.
    const EMPTY: Self;
    fn new(group: u32, value: i64) -> Self;
    fn group(self) -> u32;
    fn value(self) -> i64;
    /// A hash whose upper bits are the best.
    fn hash(self) -> u64;
}

/// A value of group 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Alone(u64);

/// A group and a value of 32 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Narrow(u64);

/// A group and a value of 64 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Wide(u128);

impl Pair for Alone {
    const EMPTY: Self = Self(u64::MAX);
    fn new(_: u32, value: i64) -> Self {
        Self(value.cast_unsigned())
    }
    fn group(self) -> u32 {
        0
    }
    fn value(self) -> i64 {
        self.0.cast_signed()
    }
    fn hash(self) -> u64 {
        self.0.hash()
    }
}

impl Pair for Narrow {
    const EMPTY: Self = Self(u64::MAX);
    fn new(group: u32, value: i64) -> Self {
        Self(u64::from(group) << 32 | u64::from(value as u32))
    }
    fn group(self) -> u32 {
        (self.0 >> 32) as u32
    }
    fn value(self) -> i64 {
        i64::from(self.0 as u32 as i32)
    }
    fn hash(self) -> u64 {
        self.0.hash()
    }
}

impl Pair for Wide {
    const EMPTY: Self = Self(u128::MAX);
    fn new(group: u32, value: i64) -> Self {
        Self(u128::from(group) << 64 | u128::from(value.cast_unsigned()))
    }
    fn group(self) -> u32 {
        (self.0 >> 64) as u32
    }
    fn value(self) -> i64 {
        (self.0 as u64).cast_signed()
    }
    fn hash(self) -> u64 {
        self.0.hash()
    }
}

/// An open-addressing hash set.
pub(super) struct Set<P> {
    /// None, or a power of two.
    slots: Vec<P>,
    /// Pairs in slots.
    taken: usize,
    holds_empty: bool,
}

impl<P: Pair> Set<P> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), taken: 0, holds_empty: false }
    }

    fn len(&self) -> usize {
        self.taken + usize::from(self.holds_empty)
    }

    fn size(&self) -> usize {
        self.slots.capacity() * size_of::<P>()
    }

    /// Forgets the pairs, and makes room for `more`.
    fn restart(&mut self, more: usize) {
        let count = (more * 8 / LOAD_EIGHTHS_MAX + 1).next_power_of_two().max(SLOTS_MIN);
        self.slots.clear();
        self.slots.resize(count, P::EMPTY);
        (self.taken, self.holds_empty) = (0, false);
    }

    /// Adds a pair; whether it is new.
    fn insert(&mut self, pair: P) -> bool {
        if pair == P::EMPTY {
            return !std::mem::replace(&mut self.holds_empty, true);
        }
        if self.taken >= self.slots.len() / 8 * LOAD_EIGHTHS_MAX {
            self.grow();
        }
        let is_new = place(&mut self.slots, pair);
        self.taken += usize::from(is_new);
        is_new
    }

    #[cold]
    fn grow(&mut self) {
        let count = (self.slots.len() * 2).max(SLOTS_MIN);
        let old = std::mem::replace(&mut self.slots, vec![P::EMPTY; count]);
        for pair in old.into_iter().filter(|pair| *pair != P::EMPTY) {
            place(&mut self.slots, pair);
        }
    }

    fn iter(&self) -> impl Iterator<Item = P> {
        let held = self.slots.iter().copied().filter(|pair| *pair != P::EMPTY);
        held.chain(self.holds_empty.then_some(P::EMPTY))
    }
}

/// Puts a pair into its slot, of which there are a power of two and one is free; whether it was not there.
fn place<P: Pair>(slots: &mut [P], pair: P) -> bool {
    let (shift, mask) = (u64::BITS - slots.len().trailing_zeros(), slots.len() - 1);
    let mut slot = (pair.hash() >> shift) as usize;
    loop {
        let held = &mut slots[slot & mask];
        if *held == pair {
            return false;
        }
        if *held == P::EMPTY {
            *held = pair;
            return true;
        }
        slot += 1;
    }
}

/// See the module.
pub(super) struct PairSets<P> {
    few: Set<P>,
    /// None, or [`PARTITIONS`].
    parts: Vec<Part<P>>,
}

struct Part<P> {
    set: Set<P>,
    /// Pairs that the set is yet to take.
    pending: Vec<P>,
}

/// The values of each group.
#[derive(Default)]
pub(super) struct Listed {
    /// Where each group's values end.
    ends: Vec<usize>,
    values: Vec<i64>,
}

fn partition(value: i64) -> usize {
    value.cast_unsigned().partition()
}

impl<P: Pair> Part<P> {
    fn take_pending(&mut self) {
        for pair in self.pending.drain(..) {
            self.set.insert(pair);
        }
    }
}

impl<P: Pair> PairSets<P> {
    pub(super) fn new() -> Self {
        Self { few: Set::new(), parts: Vec::new() }
    }

    /// Adds pairs.
    pub(super) fn add(&mut self, pairs: impl Iterator<Item = (u32, i64)>) {
        if self.parts.is_empty() {
            for (group, value) in pairs {
                self.few.insert(P::new(group, value));
            }
            if self.few.len() > FEW_PAIRS_MAX {
                self.spread();
            }
            return;
        }
        for (group, value) in pairs {
            self.parts[partition(value)].pending.push(P::new(group, value));
        }
        for part in &mut self.parts {
            if part.pending.len() >= PENDING_MIN.max(part.set.len() / 2) {
                part.take_pending();
            }
        }
    }

    fn spread(&mut self) {
        self.parts.extend((0..PARTITIONS).map(|_| Part { set: Set::new(), pending: Vec::new() }));
        for pair in std::mem::replace(&mut self.few, Set::new()).iter() {
            self.parts[partition(pair.value())].set.insert(pair);
        }
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        let pending = |part: &Part<P>| part.pending.capacity() * size_of::<P>();
        let parts: usize = self.parts.iter().map(|part| part.set.size() + pending(part)).sum();
        self.few.size() + parts
    }

    /// Most pairs that there may be.
    pub(super) fn len_max(&self) -> usize {
        self.few.len() + self.parts.iter().map(|part| part.set.len() + part.pending.len()).sum::<usize>()
    }

    /// Takes out the pairs; groups are below `total`.
    pub(super) fn take_listed(&mut self, total: usize) -> Listed {
        let mut few: Vec<P> = std::mem::replace(&mut self.few, Set::new()).iter().collect();
        few.sort_unstable_by_key(|pair| partition(pair.value()));
        let mut parts = std::mem::take(&mut self.parts);
        let mut next = vec![0usize; total];
        few.iter().for_each(|pair| next[pair.group() as usize] += 1);
        for part in &mut parts {
            part.take_pending();
            part.pending = Vec::new();
            part.set.iter().for_each(|pair| next[pair.group() as usize] += 1);
        }
        let mut end = 0;
        for next in &mut next {
            end += std::mem::replace(next, end);
        }
        let mut values = vec![0; end];
        let mut put = |pair: P| {
            let next = &mut next[pair.group() as usize];
            values[*next] = pair.value();
            *next += 1;
        };
        few.into_iter().for_each(&mut put);
        // Each is freed before the next one is read.
        parts.into_iter().for_each(|part| part.set.iter().for_each(&mut put));
        Listed { ends: next, values }
    }
}

impl Listed {
    /// The values of a group; none of one that it does not know.
    pub(super) fn of(&self, group: usize) -> &[i64] {
        let Some(end) = self.ends.get(group) else { return &[] };
        let start = group.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.values[Range { start, end: *end }]
    }

    /// Values of all groups.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        self.ends.capacity() * size_of::<usize>() + self.values.capacity() * size_of::<i64>()
    }
}

/// The values of a list whose partition is one of `wanted`; the list is as a [`Listed`] has it.
fn within<'a>(list: &'a [i64], wanted: &Range<usize>) -> &'a [i64] {
    if *wanted == (0..PARTITIONS) {
        return list;
    }
    let start = list.partition_point(|value| partition(*value) < wanted.start);
    let (_, list) = list.split_at(start);
    let (list, _) = list.split_at(list.partition_point(|value| partition(*value) < wanted.end));
    list
}

/// Calls `each` with those values of all lists whose partition is one of `wanted`, each once; the lists are as a [`Listed`]
/// has them.
pub(super) fn union(
    lists: &mut [&[i64]],
    wanted: &Range<usize>,
    scratch: &mut Set<Alone>,
    mut each: impl FnMut(&[i64]),
) {
    lists.iter_mut().for_each(|list| *list = within(list, wanted));
    let total: usize = lists.iter().map(|list| list.len()).sum();
    if let Some(only) = lists.iter().find(|list| list.len() == total) {
        return each(only);
    }
    let mut put = |lists: &[&[i64]]| {
        scratch.restart(lists.iter().map(|list| list.len()).sum());
        // The values of one list are distinct.
        for list in lists {
            for value in *list {
                if scratch.insert(Alone::new(0, *value)) {
                    each(std::slice::from_ref(value));
                }
            }
        }
    };
    if total <= UNION_AT_ONCE_MAX {
        return put(lists);
    }
    let mut same = Vec::with_capacity(lists.len());
    for wanted in wanted.clone() {
        same.clear();
        for list in lists.iter_mut() {
            let (head, rest) = list.split_at(list.partition_point(|value| partition(*value) <= wanted));
            *list = rest;
            same.push(head);
        }
        put(&same);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const GROUPS: u32 = 7;

    type Pairs = Vec<(u32, i64)>;

    fn listed<P: Pair>(blocks: &[Pairs]) -> (Listed, usize) {
        let mut sets = PairSets::<P>::new();
        blocks.iter().for_each(|block| sets.add(block.iter().copied()));
        let len_max = sets.len_max();
        (sets.take_listed(GROUPS as usize), len_max)
    }

    /// The values of each group, which are distinct and in the order of their partitions.
    fn check<P: Pair>(blocks: &[Pairs]) -> Listed {
        let (listed, len_max) = listed::<P>(blocks);
        let mut total = 0;
        for group in 0..GROUPS {
            let values = listed.of(group as usize);
            let of_group = blocks.iter().flatten().filter(|(of, _)| *of == group);
            let expected: BTreeSet<i64> = of_group.map(|(_, value)| *value).collect();
            assert_eq!(values.len(), expected.len());
            assert_eq!(values.iter().copied().collect::<BTreeSet<_>>(), expected);
            assert!(values.is_sorted_by_key(|value| partition(*value)));
            total += values.len();
        }
        assert!(len_max >= total);
        listed
    }

    /// So many rows, of few values or of many.
    fn rows(count: u64, modulus: u64) -> Pairs {
        let value = |row: u64| (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % modulus;
        (0..count).map(|row| ((row % u64::from(GROUPS)) as u32, value(row) as i64 - 5)).collect()
    }

    #[test]
    fn many_pairs_are_those_of_a_set() {
        for modulus in [1, 3, 900, 40_000, 10_000_000] {
            let blocks: Vec<Pairs> = rows(150_000, modulus).chunks(8192).map(<[_]>::to_vec).collect();
            check::<Narrow>(&blocks);
            check::<Wide>(&blocks);
        }
    }

    #[test]
    fn a_union_has_each_value_once() {
        for (count, modulus) in [(0, 1), (50, 20), (60_000, 10_000_000), (150_000, 40_000)] {
            let half = count as usize / 2;
            let all = rows(count, modulus);
            let lists = [check::<Wide>(&[all[..half].to_vec()]), check::<Narrow>(&[all[half..].to_vec()])];
            for group in 0..GROUPS {
                let mut slices: Vec<&[i64]> = lists.iter().map(|list| list.of(group as usize)).collect();
                let mut found = Vec::new();
                for share in [0..1, 1..100, 100..PARTITIONS] {
                    let mut slices = slices.clone();
                    union(&mut slices, &share, &mut Set::new(), |values| found.extend_from_slice(values));
                }
                let mut at_once = Vec::new();
                let all_partitions = 0..PARTITIONS;
                union(&mut slices, &all_partitions, &mut Set::new(), |values| {
                    at_once.extend_from_slice(values)
                });
                assert_eq!(at_once.len(), found.len());
                let of_group = all.iter().filter(|(of, _)| *of == group);
                let expected: BTreeSet<i64> = of_group.map(|(_, value)| *value).collect();
                assert_eq!(found.len(), expected.len());
                assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
            }
        }
    }

    proptest! {
        #[test]
        fn pairs_are_those_of_a_set(blocks in prop::collection::vec(
            prop::collection::vec((0..GROUPS, prop_oneof![
                any::<i32>().prop_map(i64::from), -3..3i64, Just(-1), Just(i64::from(i32::MIN))
            ]), 0..300), 0..5)) {
            check::<Narrow>(&blocks);
            check::<Wide>(&blocks);
            let of_none: Vec<Pairs> = blocks.iter()
                .map(|block| block.iter().map(|(_, value)| (0, value.wrapping_mul(i64::MAX))).collect())
                .collect();
            check::<Alone>(&of_none);
            check::<Wide>(&of_none);
        }
    }
}
