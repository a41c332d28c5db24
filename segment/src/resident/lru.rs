//! A map within a budget of bytes: what was used least recently goes first.

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

/// Values by key, and the bytes that each takes.
pub(super) struct Lru<K, V> {
    entries: HashMap<K, Entry<V>, RandomState>,
    bytes: u64,
    bytes_max: u64,
    clock: AtomicU64,
}

struct Entry<V> {
    value: V,
    bytes: u64,
    used: AtomicU64,
}

impl<K: Copy + Eq + Hash, V> Lru<K, V> {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { entries: HashMap::default(), bytes: 0, bytes_max, clock: AtomicU64::new(0) }
    }

    /// Bytes of all values.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a quarter of the budget is free.
    pub(super) fn has_room(&self) -> bool {
        self.bytes <= self.bytes_max / 4 * 3
    }

    /// Whether so many bytes fit without anything having to go.
    pub(super) fn has_free(&self, bytes: u64) -> bool {
        self.bytes.saturating_add(bytes) <= self.bytes_max
    }

    /// Whether a value of so many bytes can be kept at all.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        bytes <= self.bytes_max
    }

    pub(super) fn contains(&self, key: K) -> bool {
        self.entries.contains_key(&key)
    }

    /// The value, now the one that was used last. Needs no exclusive access, so that readers do not wait for each other.
    pub(super) fn get(&self, key: K) -> Option<&V> {
        let entry = self.entries.get(&key)?;
        entry.used.store(self.tick(), Ordering::Relaxed);
        Some(&entry.value)
    }

    /// Adds a value, or replaces it. Returns what had to go, which is the value itself if it alone is over the budget.
    pub(super) fn insert(&mut self, key: K, value: V, bytes: u64) -> Vec<(K, V)> {
        self.remove(key);
        if !self.fits(bytes) {
            return vec![(key, value)];
        }
        let evicted = if self.bytes + bytes > self.bytes_max { self.evict(bytes) } else { Vec::new() };
        let used = AtomicU64::new(self.tick());
        self.bytes += bytes;
        self.entries.insert(key, Entry { value, bytes, used });
        evicted
    }

    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        let entry = self.entries.remove(&key)?;
        self.bytes -= entry.bytes;
        Some(entry.value)
    }

    /// Removes the keys that are named.
    pub(super) fn remove_all(&mut self, is_named: impl Fn(&K) -> bool) -> Vec<(K, V)> {
        let removed: Vec<(K, Entry<V>)> = self.entries.extract_if(|key, _| is_named(key)).collect();
        self.bytes -= removed.iter().map(|(_, entry)| entry.bytes).sum::<u64>();
        removed.into_iter().map(|(key, entry)| (key, entry.value)).collect()
    }

    /// Makes room for `bytes` in one pass, and for an eighth of the budget beyond, so that a full map does not look for a
    /// victim at every insert.
    fn evict(&mut self, bytes: u64) -> Vec<(K, V)> {
        let target = (self.bytes_max - bytes).min(self.bytes_max / 8 * 7);
        let mut by_use: Vec<(u64, K)> =
            self.entries.iter().map(|(key, entry)| (entry.used.load(Ordering::Relaxed), *key)).collect();
        by_use.sort_unstable_by_key(|(used, _)| *used);
        let mut evicted = Vec::new();
        for (_, key) in by_use {
            if self.bytes <= target {
                break;
            }
            evicted.extend(self.remove(key).map(|value| (key, value)));
        }
        evicted
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut lru = Lru::new(100);
        for key in 0..4 {
            assert!(lru.insert(key, key, 25).is_empty());
        }
        assert_eq!(lru.get(0), Some(&0));
        assert_eq!(lru.insert(4, 4, 20), [(1, 1)]);
        assert_eq!(lru.bytes(), 95);
        assert_eq!(lru.insert(5, 5, 101), [(5, 5)], "more than the budget");
        assert_eq!(lru.insert(0, 7, 35), [(2, 2)], "replaced");
        assert_eq!((lru.get(0), lru.get(3), lru.bytes()), (Some(&7), Some(&3), 80));
        assert!(!lru.has_room());
        assert_eq!(lru.remove_all(|key| *key == 3), [(3, 3)]);
        assert_eq!(lru.bytes(), 55);
        assert!(lru.has_room());
    }
}
