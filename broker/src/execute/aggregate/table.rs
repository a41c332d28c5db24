//! Keys to group numbers: an open-addressing hash table of fixed-size keys, each with its number beside it, so that a
//! lookup touches one cache line. Groups are numbered in the order in which they come.

/// Most slots of the table that are taken, in eighths.
const LOAD_EIGHTHS_MAX: usize = 5;
const SLOTS_MIN: usize = 1024;
/// 2^64 over the golden ratio, as in Fibonacci hashing.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
const EMPTY: u32 = u32::MAX;
/// Bits of the number of partitions.
pub(super) const PARTITION_BITS: u32 = 8;

/// A key of one machine word or two.
pub(super) trait PackedKey: Copy + Eq + Default {
    /// `word`, from bit `offset` on.
    fn place(word: u64, offset: u32) -> Self;
    /// Both keys' bits.
    fn join(self, other: Self) -> Self;
    /// Bits from `offset` on.
    fn word(self, offset: u32) -> u64;
    /// A hash whose upper bits are the best.
    fn hash(self) -> u64;
    /// A number of [`PARTITION_BITS`] bits, by other bits of the hash than those that place a key in a table.
    fn partition(self) -> usize {
        (self.hash() >> 16) as usize & ((1 << PARTITION_BITS) - 1)
    }
}

fn mix(value: u64) -> u64 {
    let wide = u128::from(value ^ SPREAD) * u128::from(SPREAD);
    (wide as u64) ^ ((wide >> 64) as u64)
}

impl PackedKey for u64 {
    fn place(word: u64, offset: u32) -> Self {
        word << offset
    }
    fn join(self, other: Self) -> Self {
        self | other
    }
    fn word(self, offset: u32) -> u64 {
        self >> offset
    }
    fn hash(self) -> u64 {
        mix(self).wrapping_mul(SPREAD)
    }
}

impl PackedKey for u128 {
    fn place(word: u64, offset: u32) -> Self {
        Self::from(word) << offset
    }
    fn join(self, other: Self) -> Self {
        self | other
    }
    fn word(self, offset: u32) -> u64 {
        (self >> offset) as u64
    }
    fn hash(self) -> u64 {
        mix(self as u64 ^ mix((self >> 64) as u64)).wrapping_mul(SPREAD)
    }
}

/// See the module.
pub(super) struct Table<K> {
    /// A power of two of slots.
    slots: Vec<(K, u32)>,
    /// By group.
    keys: Vec<K>,
    hashes: Vec<u64>,
}

impl<K: PackedKey> Table<K> {
    pub(super) fn new() -> Self {
        Self { slots: vec![(K::default(), EMPTY); SLOTS_MIN], keys: Vec::new(), hashes: Vec::new() }
    }

    /// Groups so far.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The key of each group.
    pub(super) fn keys(&self) -> &[K] {
        &self.keys
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        self.slots.capacity() * size_of::<(K, u32)>() + self.keys.capacity() * size_of::<K>()
    }

    /// The group of each key; new keys get the next numbers.
    pub(super) fn find(&mut self, keys: &[K], groups: &mut Vec<u32>) {
        groups.clear();
        self.reserve(keys.len());
        let shift = 64 - self.slots.len().trailing_zeros();
        let mask = self.slots.len() - 1;
        let mut hashes = std::mem::take(&mut self.hashes);
        hashes.clear();
        hashes.extend(keys.iter().map(|key| key.hash() >> shift));
        for (key, hash) in keys.iter().zip(&hashes) {
            let mut slot = *hash as usize;
            let group = loop {
                let (held, group) = self.slots[slot];
                if group == EMPTY {
                    let group = self.keys.len() as u32;
                    self.slots[slot] = (*key, group);
                    self.keys.push(*key);
                    break group;
                }
                if held == *key {
                    break group;
                }
                slot = (slot + 1) & mask;
            };
            groups.push(group);
        }
        self.hashes = hashes;
    }

    /// Makes room for `more` groups.
    fn reserve(&mut self, more: usize) {
        let needed = self.keys.len() + more;
        if needed <= self.slots.len() / 8 * LOAD_EIGHTHS_MAX {
            return;
        }
        let count = (needed * 8 / LOAD_EIGHTHS_MAX).next_power_of_two().max(self.slots.len() * 2);
        let shift = 64 - count.trailing_zeros();
        self.slots = vec![(K::default(), EMPTY); count];
        for (group, key) in self.keys.iter().enumerate() {
            let mut slot = (key.hash() >> shift) as usize;
            while self.slots[slot].1 != EMPTY {
                slot = (slot + 1) & (count - 1);
            }
            self.slots[slot] = (*key, group as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_equal_those_of_a_map(batches in prop::collection::vec(
            prop::collection::vec(prop_oneof![any::<u64>(), 0..40u64], 0..900), 0..5)) {
            let (mut table, mut wide) = (Table::<u64>::new(), Table::<u128>::new());
            let mut map = HashMap::new();
            let mut groups = Vec::new();
            for batch in batches {
                let expected: Vec<u32> = batch.iter().map(|key| {
                    let next = map.len() as u32;
                    *map.entry(*key).or_insert(next)
                }).collect();
                table.find(&batch, &mut groups);
                prop_assert_eq!(&groups, &expected);
                wide.find(&batch.iter().map(|key| u128::from(*key) << 64).collect::<Vec<_>>(), &mut groups);
                prop_assert_eq!(&groups, &expected);
            }
            prop_assert_eq!(table.len(), map.len());
            for (group, key) in table.keys().iter().enumerate() {
                prop_assert_eq!(map[key], group as u32);
            }
        }
    }
}
