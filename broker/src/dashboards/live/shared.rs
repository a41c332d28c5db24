//! What many ask for at the same time: fetched once for all of them, and kept for a while.
//!
//! **Invariants:** one fetch of a key runs at a time, and whoever comes meanwhile gets what it brings, be it a failure. A fetch whose
//! caller goes away is dropped, and one of those who wait begins anew. What was [forgotten](Shared::forget) while it was fetched is not
//! kept. No more is kept than the bounds allow; what would have gone first goes first.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Values by their keys.
pub(super) struct Shared<K, V> {
    entries: Mutex<HashMap<K, Entry<V>>>,
    entries_max: usize,
    bytes_max: usize,
}

struct Entry<V> {
    /// Held by whoever fetches.
    turn: Arc<tokio::sync::Mutex<()>>,
    kept: Option<Kept<V>>,
}

/// What a fetch brought.
pub(super) struct Kept<V> {
    pub(super) value: V,
    /// What it takes.
    pub(super) bytes: usize,
    /// Whoever asks later has it fetched again.
    pub(super) until: Instant,
}

enum Look<V> {
    Fresh(V),
    /// To be fetched by whoever has the turn; with what it was before, if that is known.
    Stale(Option<V>, Arc<tokio::sync::Mutex<()>>),
}

impl<K: Clone + Eq + Hash, V: Clone> Shared<K, V> {
    pub(super) fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self { entries: Mutex::default(), entries_max, bytes_max }
    }

    /// The value of `key`; fetched, with what it was before at hand, if none is kept.
    pub(super) async fn get<F>(&self, key: &K, fetch: impl FnOnce(Option<V>) -> F) -> V
    where
        F: Future<Output = Kept<V>>,
    {
        loop {
            let turn = match self.look(key) {
                Look::Fresh(value) => return value,
                Look::Stale(_, turn) => turn,
            };
            let _mine = turn.lock().await;
            let before = match self.look(key) {
                Look::Fresh(value) => return value,
                // It was forgotten meanwhile: whoever came since may be fetching it already.
                Look::Stale(_, other) if !Arc::ptr_eq(&other, &turn) => continue,
                Look::Stale(before, _) => before,
            };
            let fetched = fetch(before).await;
            let value = fetched.value.clone();
            self.keep(key, &turn, fetched);
            return value;
        }
    }

    /// What is kept of `key`, however old.
    pub(super) fn peek(&self, key: &K) -> Option<V> {
        Some(self.entries.lock().get(key)?.kept.as_ref()?.value.clone())
    }

    /// Who asks from now on has it fetched again.
    pub(super) fn forget(&self, key: &K) {
        self.entries.lock().remove(key);
    }

    fn look(&self, key: &K) -> Look<V> {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.get(key) {
            return match &entry.kept {
                Some(kept) if Instant::now() < kept.until => Look::Fresh(kept.value.clone()),
                kept => Look::Stale(kept.as_ref().map(|kept| kept.value.clone()), Arc::clone(&entry.turn)),
            };
        }
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        entries.insert(key.clone(), Entry { turn: Arc::clone(&turn), kept: None });
        self.make_room(&mut entries);
        Look::Stale(None, turn)
    }

    fn keep(&self, key: &K, turn: &Arc<tokio::sync::Mutex<()>>, fetched: Kept<V>) {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.get_mut(key).filter(|entry| Arc::ptr_eq(&entry.turn, turn)) {
            entry.kept = Some(fetched);
        }
        self.make_room(&mut entries);
    }

    fn make_room(&self, entries: &mut HashMap<K, Entry<V>>) {
        let bytes_of = |entry: &Entry<V>| entry.kept.as_ref().map_or(0, |kept| kept.bytes);
        let mut bytes: usize = entries.values().map(bytes_of).sum();
        if entries.len() <= self.entries_max && bytes <= self.bytes_max {
            return;
        }
        // Those that nobody has fetched in the end, nor waits for.
        entries.retain(|_, entry| entry.kept.is_some() || Arc::strong_count(&entry.turn) > 1);
        let mut kept: Vec<(Instant, K)> = entries
            .iter()
            .filter_map(|(key, entry)| Some((entry.kept.as_ref()?.until, key.clone())))
            .collect();
        kept.sort_by_key(|(until, _)| *until);
        for (_, key) in kept {
            if entries.len() <= self.entries_max && bytes <= self.bytes_max {
                return;
            }
            bytes -= entries.remove(&key).as_ref().map_or(0, bytes_of);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::Notify;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn kept(value: usize, bytes: usize, keep: Duration) -> Kept<usize> {
        Kept { value, bytes, until: Instant::now() + keep }
    }

    /// Asks for `key`; the answer is how often anything was fetched.
    async fn ask(
        shared: &Shared<&'static str, usize>,
        fetched: &AtomicUsize,
        key: &'static str,
        keep: Duration,
    ) -> usize {
        let fetch = async |_| {
            tokio::task::yield_now().await;
            kept(fetched.fetch_add(1, Ordering::SeqCst) + 1, 10, keep)
        };
        shared.get(&key, fetch).await
    }

    #[tokio::test]
    async fn one_fetch_for_all_who_ask_until_it_is_old_or_forgotten() {
        let (shared, fetched) = (Shared::new(10, 1_000), AtomicUsize::new(0));
        let answers = futures::future::join_all((0..50).map(|_| ask(&shared, &fetched, "a", LONG))).await;
        assert!(answers.iter().all(|answer| *answer == 1), "{answers:?}");
        assert_eq!(ask(&shared, &fetched, "a", LONG).await, 1);
        shared.forget(&"a");
        assert_eq!(shared.peek(&"a"), None);
        assert_eq!(ask(&shared, &fetched, "a", Duration::ZERO).await, 2);
        assert_eq!(shared.peek(&"a"), Some(2));
        let before = shared.get(&"a", async |before| kept(before.unwrap_or_default() * 100, 1, LONG)).await;
        assert_eq!(before, 200);
    }

    #[tokio::test]
    async fn who_waits_goes_on_when_whoever_fetched_is_gone() {
        let (shared, fetched) = (Arc::new(Shared::new(10, 1_000)), AtomicUsize::new(0));
        let begun = Arc::new(Notify::new());
        let stuck = tokio::spawn({
            let (shared, begun) = (Arc::clone(&shared), Arc::clone(&begun));
            async move {
                let fetch = async |_| {
                    begun.notify_one();
                    std::future::pending().await
                };
                shared.get(&"a", fetch).await
            }
        });
        begun.notified().await;
        let waiting = ask(&shared, &fetched, "a", LONG);
        let ending = async { stuck.abort() };
        assert_eq!(futures::future::join(waiting, ending).await.0, 1);
    }

    #[tokio::test]
    async fn what_was_forgotten_while_it_was_fetched_is_not_kept() {
        let (shared, fetched) = (Shared::new(10, 1_000), AtomicUsize::new(10));
        let fetch = async |_| {
            shared.forget(&"a");
            assert_eq!(ask(&shared, &fetched, "a", LONG).await, 11);
            kept(1, 1, LONG)
        };
        // The one who asked before gets what was there before.
        assert_eq!(shared.get(&"a", fetch).await, 1);
        assert_eq!(shared.peek(&"a"), Some(11));
    }

    #[tokio::test]
    async fn what_would_go_first_makes_room() {
        let (shared, fetched) = (Shared::new(3, 35), AtomicUsize::new(0));
        for (key, seconds) in [("a", 30), ("b", 10), ("c", 20), ("d", 40)] {
            ask(&shared, &fetched, key, Duration::from_secs(seconds)).await;
        }
        let is_kept = |key| shared.peek(&key).is_some();
        assert_eq!(["a", "b", "c", "d"].map(is_kept), [true, false, true, true]);
        shared.get(&"e", async |_| kept(0, 20, LONG)).await;
        assert_eq!(["a", "c", "d", "e"].map(is_kept), [false, false, true, true]);
        shared.get(&"f", async |_| kept(0, 36, LONG)).await;
        assert!(!is_kept("f"), "larger than all that may be kept");
        assert!(shared.entries.lock().len() <= 3);
    }
}
