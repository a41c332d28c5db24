//! Fixed memory that one writer fills while any number of readers hold its committed prefix.
//!
//! A [`Region`] is `capacity` elements, all initialised from the start. Its one [`RegionWriter`] may write any
//! element that is not committed yet, and commits ever longer prefixes. Readers get a committed prefix as an
//! Arrow buffer that shares the memory: no copy, no lock.
//!
//! Why this is free of data races: an element is written only while its index is at or above `committed`, and
//! read by others only below it. `committed` never falls; it is stored with Release after the writes and
//! loaded with Acquire before the reads. No reference to the whole region is ever made, only raw pointers
//! and slices of the committed prefix.
#![allow(unsafe_code)]

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::ArrowNativeType;

use crate::budget::{Account, Charge};

/// The memory. Shared by the writer, the readers and every Arrow buffer made of it.
pub(crate) struct Region<T: ArrowNativeType> {
    /// First of `capacity` initialised elements; owned, from `Box<[T]>`.
    start: NonNull<T>,
    capacity: usize,
    /// Elements below this index are immutable. Grows only, never above `capacity`.
    committed: AtomicUsize,
    _charge: Charge,
}

// SAFETY: T is Send and Sync (ArrowNativeType requires both) and the pointer is owned, as a Box's would be.
unsafe impl<T: ArrowNativeType> Send for Region<T> {}
// SAFETY: through a shared reference only the committed prefix can be read, and nothing writes to it (see the
// module's opening); writing needs the unique RegionWriter.
unsafe impl<T: ArrowNativeType> Sync for Region<T> {}
// A panic cannot leave an element half written: elements are Copy and written by one store.
impl<T: ArrowNativeType> RefUnwindSafe for Region<T> {}
impl<T: ArrowNativeType> UnwindSafe for Region<T> {}

impl<T: ArrowNativeType> Region<T> {
    /// How many elements readers may see.
    pub(crate) fn committed(&self) -> usize {
        self.committed.load(Ordering::Acquire)
    }

    /// The first `count` elements, shared.
    ///
    /// # Panics
    /// If more is asked for than was committed: callers learn `count` from what the writer published after it
    /// committed.
    pub(crate) fn prefix(self: &Arc<Self>, count: usize) -> ScalarBuffer<T> {
        assert!(count <= self.committed(), "only a committed prefix is ever asked for");
        let owner: Arc<Self> = Arc::clone(self);
        // SAFETY: `start` is valid for `capacity >= committed >= count` initialised elements as long as `owner`
        // lives; those below `committed` are never written again. Arrow never writes to custom allocations.
        let buffer =
            unsafe { Buffer::from_custom_allocation(self.start.cast(), count * size_of::<T>(), owner) };
        ScalarBuffer::new(buffer, 0, count)
    }

    /// Committed elements from `start` on; `None` if not all of them are committed.
    pub(crate) fn committed_slice(&self, start: usize, count: usize) -> Option<&[T]> {
        let end = start.checked_add(count)?;
        if end > self.committed() {
            return None;
        }
        // SAFETY: `start..end` lies within the committed prefix, which is initialised and never written again
        // while `self` lives.
        Some(unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(start), count) })
    }
}

impl<T: ArrowNativeType> Drop for Region<T> {
    fn drop(&mut self) {
        let elements = std::ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.capacity);
        // SAFETY: `start` and `capacity` are those of the Box that `RegionWriter::new` took apart, and this is the
        // last owner.
        drop(unsafe { Box::from_raw(elements) });
    }
}

/// The one writer of a [`Region`].
pub(crate) struct RegionWriter<T: ArrowNativeType> {
    region: Arc<Region<T>>,
    /// What `region.committed` holds; only this writer changes it.
    committed: usize,
}

impl<T: ArrowNativeType> RegionWriter<T> {
    /// A region of `capacity` elements, each `T::default()` (zero) until written.
    pub(crate) fn new(capacity: usize, account: &Arc<Account>) -> Self {
        let charge = Charge::new(account, capacity * size_of::<T>());
        let elements = Box::leak(vec![T::default(); capacity].into_boxed_slice());
        let region = Region {
            start: NonNull::from(elements).cast(),
            capacity,
            committed: AtomicUsize::new(0),
            _charge: charge,
        };
        Self { region: Arc::new(region), committed: 0 }
    }

    /// What readers share.
    pub(crate) fn region(&self) -> &Arc<Region<T>> {
        &self.region
    }

    /// Elements that fit.
    pub(crate) fn capacity(&self) -> usize {
        self.region.capacity
    }

    /// Elements that are committed.
    pub(crate) fn committed(&self) -> usize {
        self.committed
    }

    /// Writes one element, which must not be committed and must fit.
    #[inline]
    pub(crate) fn set(&mut self, index: usize, value: T) {
        assert!(
            index >= self.committed && index < self.region.capacity,
            "only uncommitted elements are written"
        );
        // SAFETY: `index` is within the allocation and not below `committed`, so no reader can hold it, and this is
        // the only writer (`&mut self`, not Clone, one per region).
        unsafe { self.region.start.as_ptr().add(index).write(value) };
    }

    /// Writes `values` from `index` on; none of these elements may be committed and all must fit.
    pub(crate) fn set_slice(&mut self, index: usize, values: &[T]) {
        let fits = index.checked_add(values.len()).is_some_and(|end| end <= self.region.capacity);
        assert!(index >= self.committed && fits, "only uncommitted elements are written");
        // SAFETY: as in `set` for the whole range; `values` cannot overlap it, since nothing hands out references
        // to uncommitted elements while `self` is borrowed mutably.
        unsafe {
            let target = self.region.start.as_ptr().add(index);
            std::ptr::copy_nonoverlapping(values.as_ptr(), target, values.len());
        }
    }

    /// Everything the writer may read: all elements, committed or not.
    pub(crate) fn elements(&self) -> &[T] {
        // SAFETY: all `capacity` elements are initialised, and only this writer writes, which takes `&mut self`.
        unsafe { std::slice::from_raw_parts(self.region.start.as_ptr(), self.region.capacity) }
    }

    /// Makes the first `count` elements readable and immutable. A shorter prefix than before changes nothing.
    pub(crate) fn commit(&mut self, count: usize) {
        assert!(count <= self.region.capacity, "no more than the capacity is committed");
        if count > self.committed {
            self.committed = count;
            self.region.committed.store(count, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::MemoryBudget;
    use proptest::prelude::*;

    fn account() -> Arc<Account> {
        Account::new(MemoryBudget::new(1 << 30))
    }

    /// The safe twin: what the region must look like to its readers.
    struct Twin {
        elements: Vec<u64>,
        committed: usize,
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(usize, u64),
        SetSlice(usize, Vec<u64>),
        Commit(usize),
        Read(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..64usize, any::<u64>()).prop_map(|(index, value)| Step::Set(index, value)),
            2 => (0..64usize, prop::collection::vec(any::<u64>(), 0..8))
                .prop_map(|(index, values)| Step::SetSlice(index, values)),
            1 => (0..=64usize).prop_map(Step::Commit),
            2 => (0..=64usize).prop_map(Step::Read),
        ]
    }

    proptest! {
        #[test]
        fn reads_equal_the_safe_twin(steps in prop::collection::vec(step(), 1..200)) {
            let mut writer = RegionWriter::<u64>::new(64, &account());
            let mut twin = Twin { elements: vec![0; 64], committed: 0 };
            // Every prefix ever handed out must keep its content to the end.
            let mut held: Vec<(ScalarBuffer<u64>, Vec<u64>)> = Vec::new();
            for step in steps {
                match step {
                    Step::Set(index, value) if index >= twin.committed => {
                        writer.set(index, value);
                        twin.elements[index] = value;
                    }
                    Step::SetSlice(index, values) if index >= twin.committed && index + values.len() <= 64 => {
                        writer.set_slice(index, &values);
                        twin.elements[index..index + values.len()].copy_from_slice(&values);
                    }
                    Step::Commit(count) => {
                        writer.commit(count);
                        twin.committed = twin.committed.max(count);
                    }
                    Step::Read(count) if count <= twin.committed => {
                        held.push((writer.region().prefix(count), twin.elements[..count].to_vec()));
                        prop_assert_eq!(writer.region().committed_slice(0, count), Some(&twin.elements[..count]));
                    }
                    _ => {}
                }
                prop_assert_eq!(writer.elements(), &twin.elements[..]);
                prop_assert_eq!(writer.region().committed(), twin.committed);
            }
            drop(writer);
            for (buffer, expected) in held {
                prop_assert_eq!(&buffer[..], &expected[..]);
            }
        }
    }

    #[test]
    #[should_panic(expected = "only uncommitted elements")]
    fn a_committed_element_cannot_be_written() {
        let mut writer = RegionWriter::<u8>::new(4, &account());
        writer.commit(2);
        writer.set(1, 7);
    }

    #[test]
    #[should_panic(expected = "only uncommitted elements")]
    fn a_slice_cannot_be_written_past_the_end() {
        RegionWriter::<u8>::new(4, &account()).set_slice(3, &[1, 2]);
    }

    #[test]
    #[should_panic(expected = "only a committed prefix")]
    fn an_uncommitted_prefix_cannot_be_read() {
        let mut writer = RegionWriter::<u8>::new(4, &account());
        writer.commit(2);
        let _ = writer.region().prefix(3);
    }

    #[test]
    fn memory_is_charged_until_the_last_buffer_goes() {
        let budget = MemoryBudget::new(1 << 20);
        let mut writer = RegionWriter::<i128>::new(100, &Account::new(Arc::clone(&budget)));
        writer.commit(10);
        let buffer = writer.region().prefix(10);
        drop(writer);
        assert_eq!(budget.used(), 1600);
        drop(buffer);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn readers_on_other_threads_see_whole_prefixes() {
        const ELEMENTS: usize = 200_000;
        let mut writer = RegionWriter::<u64>::new(ELEMENTS, &account());
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let region = Arc::clone(writer.region());
                scope.spawn(move || {
                    let mut seen = 0;
                    while seen < ELEMENTS {
                        let count = region.committed();
                        assert!(count >= seen);
                        let prefix = region.prefix(count);
                        let tail = prefix.iter().enumerate().skip(seen.saturating_sub(100));
                        assert!(tail.into_iter().all(|(index, value)| *value == index as u64 * 3));
                        seen = count;
                    }
                });
            }
            for index in 0..ELEMENTS {
                writer.set(index, u64::MAX);
                writer.set(index, index as u64 * 3);
                if index % 97 == 0 || index + 1 == ELEMENTS {
                    writer.commit(index + 1);
                }
            }
        });
    }
}
