//! An append-only buffer without a fixed capacity: when its region is full, a larger one takes its place.
//!
//! Readers keep the region that they hold; whoever looks next finds the larger one, which holds at least
//! what the one before had committed. A buffer that was made large enough never copies.

use std::sync::Arc;

use arc_swap::ArcSwap;
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::ArrowNativeType;

use super::append_buffer::{Region, RegionWriter};
use crate::budget::Account;

/// Elements of the first region that a growing buffer allocates when asked for none.
const GROWN_ELEMENTS_MIN: usize = 64;

/// The one writer of a growing buffer.
pub(crate) struct GrowWriter<T: ArrowNativeType> {
    writer: RegionWriter<T>,
    shared: Arc<ArcSwap<Region<T>>>,
    account: Arc<Account>,
}

impl<T: ArrowNativeType> GrowWriter<T> {
    /// A buffer with room for `capacity` elements before it first grows.
    pub(crate) fn new(capacity: usize, account: &Arc<Account>) -> Self {
        let writer = RegionWriter::new(capacity, account);
        let shared = Arc::new(ArcSwap::new(Arc::clone(writer.region())));
        Self { writer, shared, account: Arc::clone(account) }
    }

    /// A reader of this buffer.
    pub(crate) fn reader(&self) -> GrowReader<T> {
        GrowReader { shared: Arc::clone(&self.shared) }
    }

    /// Writes one element, which must not be committed. Elements that are skipped are zero.
    #[inline]
    pub(crate) fn set(&mut self, index: usize, value: T) {
        if index >= self.writer.capacity() {
            self.grow(index + 1);
        }
        self.writer.set(index, value);
    }

    /// One element as the writer sees it, committed or not; zero if it was never written.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> T {
        self.writer.elements().get(index).copied().unwrap_or_default()
    }

    /// Makes the first `count` elements readable and immutable.
    pub(crate) fn commit(&mut self, count: usize) {
        if count > self.writer.capacity() {
            self.grow(count);
        }
        self.writer.commit(count);
    }

    #[cold]
    fn grow(&mut self, count: usize) {
        let capacity = count.max(self.writer.capacity() * 2).max(GROWN_ELEMENTS_MIN);
        let mut larger = RegionWriter::new(capacity, &self.account);
        larger.set_slice(0, self.writer.elements());
        larger.commit(self.writer.committed());
        self.writer = larger;
        self.shared.store(Arc::clone(self.writer.region()));
    }
}

/// A reader of a growing buffer.
#[derive(Clone)]
pub(crate) struct GrowReader<T: ArrowNativeType> {
    shared: Arc<ArcSwap<Region<T>>>,
}

impl<T: ArrowNativeType> GrowReader<T> {
    /// The first `count` elements, shared. They must have been committed; see [`Region::prefix`].
    pub(crate) fn prefix(&self, count: usize) -> ScalarBuffer<T> {
        self.shared.load_full().prefix(count)
    }

    /// All elements committed by now, shared.
    pub(crate) fn committed(&self) -> ScalarBuffer<T> {
        let region = self.shared.load_full();
        region.prefix(region.committed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::MemoryBudget;

    #[test]
    fn growing_keeps_what_was_written_and_what_readers_hold() {
        let budget = MemoryBudget::new(1 << 20);
        let account = Account::new(Arc::clone(&budget));
        let mut writer = GrowWriter::<i64>::new(0, &account);
        let reader = writer.reader();
        assert!(reader.committed().is_empty());
        let mut held = Vec::new();
        for index in 0..1000 {
            writer.set(index, index as i64);
            writer.commit(index);
            held.push(reader.committed());
        }
        writer.commit(2000);
        assert_eq!(writer.get(999), 999);
        assert_eq!(writer.get(1_000_000), 0);
        let expected: Vec<i64> = (0..1000).chain(std::iter::repeat_n(0, 1000)).collect();
        assert_eq!(&reader.prefix(2000)[..], &expected[..]);
        for (count, buffer) in held.iter().enumerate() {
            assert_eq!(&buffer[..], &expected[..count]);
        }
        drop(held);
        assert_eq!(budget.used(), 2048 * 8, "only the newest region is charged once no reader holds another");
    }
}
