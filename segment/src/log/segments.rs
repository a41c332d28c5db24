//! The sealed segments of a table: an ordered sequence of which versions share what they have in common.
//!
//! ```text
//! Segments ── chunk ── chunk ── chunk      of a version
//!               │        └ copied for a commit that puts a segment there; the others are shared by both versions
//!               └ up to 512 places: partition, epoch, first offset -> segment, and what is known of each column over all of them
//! ```
//!
//! With 100,000 segments a version is some 300 pointers, a commit copies one chunk of at most 512 places (some 20 KB), and
//! pruning looks at the [bounds](super::chunk) of chunks before those of segments.
//!
//! **Invariants:** places ascend, within a chunk and from chunk to chunk; no chunk is empty; a chunk does not change once another
//! version may see it.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use ulid::Ulid;

use super::chunk::{Place, SegmentChunk};
use crate::sealed::SegmentMeta;

/// Where a segment stands: partition, epoch, first offset.
pub type SegmentKey = (i32, u32, i64);

/// Places of a chunk at most. More make a commit dearer, fewer make a version longer.
const PLACES_MAX: usize = 512;

/// The sealed segments of one version, ordered by partition, then epoch, then offset. A clone costs 8 bytes for each 512 segments.
#[derive(Clone, Debug, Default)]
pub struct Segments {
    chunks: Vec<Arc<SegmentChunk>>,
    len: usize,
}

impl Segments {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Rows of all of them.
    pub fn rows(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.rows()).sum()
    }

    /// Length of all objects, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.size_bytes()).sum()
    }

    /// The segments, in runs of which much is known at once.
    pub fn chunks(&self) -> &[Arc<SegmentChunk>] {
        &self.chunks
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<SegmentMeta>> + Clone {
        self.places().map(|place| &place.meta)
    }

    /// Each with where it stands, in order.
    pub fn places(&self) -> impl DoubleEndedIterator<Item = &Place> + Clone {
        self.chunks.iter().flat_map(|chunk| chunk.places())
    }

    /// The one that stands there.
    pub fn get(&self, key: SegmentKey) -> Option<&Arc<SegmentMeta>> {
        self.last_before(key, true).filter(|place| place.key == key).map(|place| &place.meta)
    }

    /// The last that begins at `key` or before it; before it only, without `inclusive`.
    pub(super) fn last_before(&self, key: SegmentKey, inclusive: bool) -> Option<&Place> {
        let is_before = |place: &Place| place.key < key || (inclusive && place.key == key);
        let chunk = self.chunks.partition_point(|chunk| chunk.places().first().is_some_and(is_before));
        let places = self.chunks[chunk.checked_sub(1)?].places();
        places[..places.partition_point(is_before)].last()
    }

    /// Those that begin within `range`, in order.
    pub fn range(&self, range: Range<SegmentKey>) -> impl DoubleEndedIterator<Item = &Place> {
        let first = self.chunks.partition_point(|chunk| chunk.last_key() < range.start);
        let end = self.chunks.partition_point(|chunk| chunk.first_key() < range.end);
        let chunks = self.chunks[first..end.max(first)].iter();
        chunks.flat_map(|chunk| chunk.places()).filter(move |place| range.contains(&place.key))
    }

    /// The one of this identity, wherever it stands. Looks at all of them.
    pub(super) fn find(&self, id: Ulid) -> Option<&Place> {
        self.places().find(|place| place.id == id)
    }

    /// Puts a segment there; the answer is the one that stood there.
    pub(super) fn insert(&mut self, key: SegmentKey, meta: Arc<SegmentMeta>) -> Option<Arc<SegmentMeta>> {
        let place = Place { key, id: meta.id, meta };
        let at = self.chunks.partition_point(|chunk| chunk.first_key() <= key).saturating_sub(1);
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.chunks.push(Arc::new(SegmentChunk::of(vec![place])));
            self.len += 1;
            return None;
        };
        if chunk.places().len() >= PLACES_MAX && chunk.last_key() < key {
            // What comes in order leaves full chunks behind.
            self.chunks.insert(at + 1, Arc::new(SegmentChunk::of(vec![place])));
            self.len += 1;
            return None;
        }
        let replaced = Arc::make_mut(chunk).insert(place);
        if chunk.places().len() > PLACES_MAX {
            let right = Arc::make_mut(chunk).split();
            self.chunks.insert(at + 1, Arc::new(right));
        }
        self.len += usize::from(replaced.is_none());
        replaced
    }

    /// Takes out those of these identities.
    pub(super) fn remove(&mut self, ids: &HashSet<Ulid>) {
        for chunk in &mut self.chunks {
            if chunk.places().iter().any(|place| ids.contains(&place.id)) {
                let left = chunk.places().iter().filter(|place| !ids.contains(&place.id)).cloned().collect();
                *chunk = Arc::new(SegmentChunk::of(left));
            }
        }
        self.chunks.retain(|chunk| !chunk.places().is_empty());
        self.len = self.chunks.iter().map(|chunk| chunk.places().len()).sum();
    }
}

impl FromIterator<(SegmentKey, Arc<SegmentMeta>)> for Segments {
    /// Of several in one place the last one stays.
    fn from_iter<I: IntoIterator<Item = (SegmentKey, Arc<SegmentMeta>)>>(placed: I) -> Self {
        let mut segments = Self::default();
        for (key, meta) in placed {
            segments.insert(key, meta);
        }
        segments
    }
}

impl PartialEq for Segments {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.places().eq(other.places())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::log::tests::{meta, spec};

    fn check(segments: &Segments, model: &BTreeMap<SegmentKey, Arc<SegmentMeta>>) {
        assert_eq!(segments.len(), model.len());
        assert_eq!(segments.is_empty(), model.is_empty());
        assert!(segments.places().map(|place| (&place.key, &place.meta)).eq(model.iter()));
        assert!(segments.iter().rev().eq(model.values().rev()));
        assert_eq!(segments.rows(), model.values().map(|meta| meta.rows).sum::<u64>());
        assert_eq!(segments.size_bytes(), model.values().map(|meta| meta.size_bytes).sum::<u64>());
        assert!(segments.chunks().iter().all(|chunk| (1..=PLACES_MAX).contains(&chunk.places().len())));
    }

    fn key() -> impl Strategy<Value = SegmentKey> {
        (0..3_i32, 0..2_u32, 0..2000_i64)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn they_are_an_ordered_map_and_older_versions_stay(
            inserts in prop::collection::vec(key(), 0..3000),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
            asked in prop::collection::vec((key(), key()), 20),
        ) {
            let spec = spec();
            let mut model = BTreeMap::new();
            let mut segments = Segments::default();
            let mut before = None;
            for (number, key) in inserts.iter().enumerate() {
                let meta = Arc::new(meta(&spec, key.0, key.2, key.2 + 1).as_ref().clone());
                prop_assert_eq!(segments.insert(*key, Arc::clone(&meta)), model.insert(*key, meta));
                if number == inserts.len() / 2 {
                    before = Some((segments.clone(), model.clone()));
                }
            }
            check(&segments, &model);
            let gone: HashSet<Ulid> = match inserts.is_empty() {
                true => HashSet::new(),
                false => removed.iter().map(|index| model[&inserts[index.index(inserts.len())]].id).collect(),
            };
            segments.remove(&gone);
            model.retain(|_, meta| !gone.contains(&meta.id));
            check(&segments, &model);
            for (low, high) in asked {
                prop_assert_eq!(segments.get(low), model.get(&low));
                prop_assert_eq!(segments.last_before(low, true).map(|place| place.key), model.range(..=low).next_back().map(|(key, _)| *key));
                prop_assert_eq!(segments.last_before(low, false).map(|place| place.key), model.range(..low).next_back().map(|(key, _)| *key));
                let range = low.min(high)..low.max(high);
                let found: Vec<SegmentKey> = segments.range(range.clone()).map(|place| place.key).collect();
                prop_assert_eq!(found, model.range(range).map(|(key, _)| *key).collect::<Vec<_>>());
            }
            if let Some((segments, model)) = before {
                check(&segments, &model);
            }
        }
    }

    #[test]
    fn what_comes_in_order_makes_full_chunks() {
        let spec = spec();
        let placed = (0..2000).map(|from| ((0, 0, from), meta(&spec, 0, from, from + 1)));
        let segments: Segments = placed.collect();
        assert_eq!(segments.chunks().len(), 2000_usize.div_ceil(PLACES_MAX));
        assert!(segments.iter().map(|segment| segment.from).eq(0..2000));
    }
}
