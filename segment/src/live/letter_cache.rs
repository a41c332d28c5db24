//! Dead letters that were read, kept for the next query. Objects never change, so nothing here becomes wrong.
//!
//! Invariant: at most [`BYTES_MAX`] for each table, and of all that were offered the newest. A scan reads the newest first, so
//! a cache that is smaller than what there is answers for the first part of every scan, instead of for none.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ulid::Ulid;

use crate::mutable::DeadLetter;

/// Bytes of one table's letters.
const BYTES_MAX: usize = 4 << 20;

/// The letters of one object.
pub(super) type Letters = Arc<[DeadLetter]>;

/// See the module.
#[derive(Default)]
pub(super) struct LetterCache {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By the object's identity, which begins with the time when it was made.
    objects: BTreeMap<Ulid, (Letters, usize)>,
    bytes: usize,
}

impl LetterCache {
    pub(super) fn get(&self, object: Ulid) -> Option<Letters> {
        self.kept.lock().objects.get(&object).map(|(letters, _)| letters.clone())
    }

    pub(super) fn keep(&self, object: Ulid, letters: Letters) {
        let bytes = size_of::<Ulid>() + letters.iter().map(DeadLetter::memory_bytes).sum::<usize>();
        if bytes > BYTES_MAX {
            return;
        }
        let mut kept = self.kept.lock();
        if let Some((_, before)) = kept.objects.insert(object, (letters, bytes)) {
            kept.bytes -= before;
        }
        kept.bytes += bytes;
        while kept.bytes > BYTES_MAX {
            let Some((_, (_, bytes))) = kept.objects.pop_first() else { break };
            kept.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_within_the_budget() {
        let cache = LetterCache::default();
        let id = |time| Ulid::from_parts(time, 0);
        let letters = |bytes: usize| -> Letters {
            (0..bytes / 50_000)
                .map(|offset| DeadLetter::new(0, offset as i64, None, "no".into(), &[7; 50_000], None))
                .collect()
        };
        for time in [5, 3, 4] {
            cache.keep(id(time), letters(BYTES_MAX / 4));
        }
        // Again is not twice.
        cache.keep(id(5), letters(BYTES_MAX / 4));
        assert!([3, 4, 5].iter().all(|time| cache.get(id(*time)).is_some()));
        cache.keep(id(6), letters(BYTES_MAX / 2));
        assert!(cache.get(id(3)).is_none() && cache.get(id(5)).is_some() && cache.get(id(6)).is_some());
        // Older than all others, and no room.
        cache.keep(id(1), letters(BYTES_MAX / 2));
        assert!(cache.get(id(1)).is_none() && cache.get(id(6)).is_some());
        cache.keep(id(7), letters(BYTES_MAX * 2));
        assert!(cache.get(id(7)).is_none() && cache.get(id(6)).is_some());
        assert!(cache.kept.lock().bytes <= BYTES_MAX);
    }
}
