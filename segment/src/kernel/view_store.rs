//! Byte strings as Arrow views (16 bytes each), appended to by one writer while readers hold prefixes.
//!
//! A value of up to 12 bytes lives in its view; a longer one in a data block that the view points into. Blocks
//! double from 4 KiB to 1 MiB; a value too long to share a block has one of its own. Bytes are committed the
//! moment they are copied, always before a view that points to them can be; a value that is overwritten before
//! its view is committed leaves its bytes behind, unused.
//!
//! **Invariant** (every [`ViewSnapshot`] relies on it): each committed view is either inline or points to
//! committed bytes of the block that it names, holds those bytes' first four, and in a text store was made from
//! a whole `&str`. It holds because views come only from [`ViewWriter::make_view`], values enter a text store only
//! as `&str`, a view never leaves its store, and a snapshot takes the views first and the blocks after, whose
//! list only grows.
#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::Arc;

use arc_swap::ArcSwap;
use arrow::array::{ArrayRef, BinaryViewArray, StringViewArray, make_view};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};

use super::append_buffer::{Region, RegionWriter};
use super::grow_buffer::{GrowReader, GrowWriter};
use crate::budget::Account;

/// The longest value that lives in its view (Arrow columnar format, variable-size binary view layout).
const INLINE_BYTES_MAX: usize = 12;
/// Capacity of a store's first block.
const BLOCK_BYTES_MIN: usize = 4 << 10;
/// Capacity at which blocks stop doubling.
const BLOCK_BYTES_MAX: usize = 1 << 20;
/// A longer value gets a block of its own, so at most an eighth of a full-size block is ever left unused.
const SHARED_VALUE_BYTES_MAX: usize = BLOCK_BYTES_MAX / 8;
/// The longest value: lengths and offsets are signed 32-bit in Arrow.
const VALUE_BYTES_MAX: usize = i32::MAX as usize;

/// What the values of a store are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ViewKind {
    /// UTF-8, read as `StringViewArray`.
    Text,
    /// Any bytes, read as `BinaryViewArray`.
    Binary,
}

/// A value on its way into a store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ByteValue<'a> {
    /// For a text store.
    Text(&'a str),
    /// For a binary store.
    Binary(&'a [u8]),
}

impl<'a> ByteValue<'a> {
    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    pub(crate) fn kind(self) -> ViewKind {
        match self {
            Self::Text(_) => ViewKind::Text,
            Self::Binary(_) => ViewKind::Binary,
        }
    }
}

type Block = Arc<Region<u8>>;

/// The one writer of a view store.
pub(crate) struct ViewWriter {
    kind: ViewKind,
    views: GrowWriter<u128>,
    /// All blocks, in the order that views number them.
    blocks: Vec<Block>,
    shared_blocks: Arc<ArcSwap<Vec<Block>>>,
    /// The block that is being filled.
    open: Option<OpenBlock>,
    next_block_bytes: usize,
    account: Arc<Account>,
}

struct OpenBlock {
    number: u32,
    writer: RegionWriter<u8>,
}

impl OpenBlock {
    fn remaining(&self) -> usize {
        self.writer.capacity() - self.writer.committed()
    }

    /// Copies bytes that fit to the end of the block and returns where they begin.
    fn append(&mut self, bytes: &[u8]) -> u32 {
        let start = self.writer.committed();
        self.writer.set_slice(start, bytes);
        self.writer.commit(start + bytes.len());
        // No block is larger than VALUE_BYTES_MAX.
        start as u32
    }
}

impl ViewWriter {
    /// An empty store with room for `capacity` views before it first grows.
    pub(crate) fn new(kind: ViewKind, capacity: usize, account: &Arc<Account>) -> Self {
        Self {
            kind,
            views: GrowWriter::new(capacity, account),
            blocks: Vec::new(),
            shared_blocks: Arc::default(),
            open: None,
            next_block_bytes: BLOCK_BYTES_MIN,
            account: Arc::clone(account),
        }
    }

    /// Goes on with an empty store that shares nothing with this one but the unused rest of its open block.
    pub(crate) fn renew(&mut self, capacity: usize) {
        let mut renewed = Self::new(self.kind, capacity, &self.account);
        renewed.next_block_bytes = self.next_block_bytes;
        if let Some(open) = self.open.take()
            && open.remaining() > 0
        {
            renewed.add_block(open.writer);
        }
        *self = renewed;
    }

    pub(crate) fn kind(&self) -> ViewKind {
        self.kind
    }

    /// A reader of this store.
    pub(crate) fn reader(&self) -> ViewReader {
        ViewReader { kind: self.kind, views: self.views.reader(), blocks: Arc::clone(&self.shared_blocks) }
    }

    /// Sets value `index`, which must not be committed. Values that are skipped are empty. False, and nothing is
    /// set, if the value is not of the store's kind or longer than 2^31 - 1 bytes.
    #[inline]
    pub(crate) fn set(&mut self, index: usize, value: ByteValue<'_>) -> bool {
        if value.kind() != self.kind || value.bytes().len() > VALUE_BYTES_MAX {
            return false;
        }
        let view = self.make_view(value.bytes());
        self.views.set(index, view);
        true
    }

    /// Makes the first `count` values readable and immutable.
    pub(crate) fn commit(&mut self, count: usize) {
        self.views.commit(count);
    }

    /// Whether value `index` is `bytes`.
    #[inline]
    pub(crate) fn equals(&self, index: usize, bytes: &[u8]) -> bool {
        let view = self.views.get(index);
        if bytes.len() <= INLINE_BYTES_MAX {
            return view == make_view(bytes, 0, 0);
        }
        // A view's low half is its length and the value's first four bytes.
        view as u64 == make_view(bytes, 0, 0) as u64 && self.long_bytes(view) == Some(bytes)
    }

    /// The bytes that a view with a block points to.
    fn long_bytes(&self, view: u128) -> Option<&[u8]> {
        let (length, block, offset) = (view as u32, (view >> 64) as u32, (view >> 96) as u32);
        self.blocks.get(block as usize)?.committed_slice(offset as usize, length as usize)
    }

    #[inline]
    fn make_view(&mut self, bytes: &[u8]) -> u128 {
        if bytes.len() <= INLINE_BYTES_MAX {
            return make_view(bytes, 0, 0);
        }
        if let Some(open) = &mut self.open
            && open.remaining() >= bytes.len()
        {
            let start = open.append(bytes);
            return make_view(bytes, open.number, start);
        }
        self.make_view_in_new_block(bytes)
    }

    #[cold]
    fn make_view_in_new_block(&mut self, bytes: &[u8]) -> u128 {
        if bytes.len() > SHARED_VALUE_BYTES_MAX {
            let mut writer = RegionWriter::new(bytes.len(), &self.account);
            writer.set_slice(0, bytes);
            writer.commit(bytes.len());
            return make_view(bytes, self.share_block(&writer), 0);
        }
        let capacity = self.next_block_bytes.max(bytes.len());
        self.next_block_bytes = (self.next_block_bytes * 2).min(BLOCK_BYTES_MAX);
        let open = self.add_block(RegionWriter::new(capacity, &self.account));
        let start = open.append(bytes);
        make_view(bytes, open.number, start)
    }

    fn add_block(&mut self, writer: RegionWriter<u8>) -> &mut OpenBlock {
        let number = self.share_block(&writer);
        self.open.insert(OpenBlock { number, writer })
    }

    /// Adds a block to the list, before any view points to it, and returns its number.
    fn share_block(&mut self, writer: &RegionWriter<u8>) -> u32 {
        let number = self.blocks.len() as u32;
        self.blocks.push(Arc::clone(writer.region()));
        self.shared_blocks.store(Arc::new(self.blocks.clone()));
        number
    }
}

/// A reader of a view store.
#[derive(Clone)]
pub(crate) struct ViewReader {
    kind: ViewKind,
    views: GrowReader<u128>,
    blocks: Arc<ArcSwap<Vec<Block>>>,
}

impl ViewReader {
    /// Every value committed by now.
    pub(crate) fn snapshot(&self) -> ViewSnapshot {
        // The order matters: blocks that these views point to are in the list, and their bytes committed, because
        // both happened before the views were committed.
        let views = self.views.committed();
        let blocks = self.blocks.load();
        let blocks = blocks.iter().map(|block| block.prefix(block.committed()).into_inner()).collect();
        ViewSnapshot { kind: self.kind, views, blocks }
    }
}

/// A prefix of a store's values and the bytes that they point to.
#[derive(Clone)]
pub(crate) struct ViewSnapshot {
    kind: ViewKind,
    views: ScalarBuffer<u128>,
    blocks: Arc<[Buffer]>,
}

impl ViewSnapshot {
    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.views.len()
    }

    /// Values `range` as an array; nothing is copied. `nulls` is as long as the range.
    pub(crate) fn array(&self, range: Range<usize>, nulls: Option<NullBuffer>) -> ArrayRef {
        self.array_of(self.views.slice(range.start, range.len()), nulls)
    }

    /// One value per code as an array; only views are copied. `nulls` is as long as `codes`, and every code is
    /// that of a value in this snapshot.
    pub(crate) fn gather(&self, codes: &[u32], nulls: Option<NullBuffer>) -> ArrayRef {
        let views = &self.views[..];
        let gathered: Vec<u128> = codes.iter().map(|code| views[*code as usize]).collect();
        self.array_of(gathered.into(), nulls)
    }

    fn array_of(&self, views: ScalarBuffer<u128>, nulls: Option<NullBuffer>) -> ArrayRef {
        assert!(nulls.as_ref().is_none_or(|nulls| nulls.len() == views.len()), "one null flag per value");
        let blocks = Arc::clone(&self.blocks);
        match self.kind {
            // SAFETY: `views` are views of this store, so by the module's invariant each points into `blocks` at
            // bytes that a whole `&str` was copied to; the null flags were checked above.
            ViewKind::Text => Arc::new(unsafe { StringViewArray::new_unchecked(views, blocks, nulls) }),
            // SAFETY: as above; binary values need not be UTF-8.
            ViewKind::Binary => Arc::new(unsafe { BinaryViewArray::new_unchecked(views, blocks, nulls) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::MemoryBudget;
    use arrow::array::{Array, AsArray};
    use proptest::prelude::*;

    fn account() -> Arc<Account> {
        Account::new(MemoryBudget::new(1 << 30))
    }

    /// Arrow's own checks, which `new_unchecked` skips.
    fn validate(array: &StringViewArray) {
        let checked =
            StringViewArray::try_new(array.views().clone(), array.data_buffers(), array.nulls().cloned());
        assert_eq!(&checked.expect("the array is what Arrow allows"), array);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn equals_the_safe_twin(
            values in prop::collection::vec(("\\PC{0,40}", 1..9000usize, 0..8u8), 1..80),
            commits in prop::collection::vec(any::<bool>(), 80),
        ) {
            let account = account();
            let mut writer = ViewWriter::new(ViewKind::Text, 4, &account);
            let mut reader = writer.reader();
            let mut twin: Vec<String> = Vec::new();
            let mut held: Vec<(ArrayRef, Vec<String>)> = Vec::new();
            for ((text, times, dice), commit) in values.into_iter().zip(commits) {
                // One in eight values is long, up to 360 KB and more.
                let text = if dice == 0 { text.repeat(times) } else { text };
                prop_assert!(writer.set(twin.len(), ByteValue::Text("overwritten before it was committed")));
                prop_assert!(writer.set(twin.len(), ByteValue::Text(&text)));
                prop_assert!(writer.equals(twin.len(), text.as_bytes()));
                let different = format!("{text}.");
                prop_assert!(!writer.equals(twin.len(), different.as_bytes()));
                twin.push(text);
                if commit {
                    writer.commit(twin.len());
                    let snapshot = reader.snapshot();
                    prop_assert_eq!(snapshot.len(), twin.len());
                    held.push((snapshot.array(0..twin.len(), None), twin.clone()));
                    let codes: Vec<u32> = (0..twin.len() as u32).rev().collect();
                    held.push((snapshot.gather(&codes, None), twin.iter().rev().cloned().collect()));
                }
                if dice == 1 {
                    writer.renew(2);
                    reader = writer.reader();
                    twin.clear();
                }
            }
            drop((writer, reader));
            for (array, expected) in held {
                validate(array.as_string_view());
                prop_assert_eq!(array.as_string_view(), &StringViewArray::from_iter_values(expected));
            }
        }
    }

    #[test]
    fn a_value_of_the_other_kind_is_refused() {
        let mut text = ViewWriter::new(ViewKind::Text, 1, &account());
        assert!(!text.set(0, ByteValue::Binary(b"\xff")));
        let mut binary = ViewWriter::new(ViewKind::Binary, 1, &account());
        assert!(!binary.set(0, ByteValue::Text("a")));
        assert!(binary.set(0, ByteValue::Binary(b"\xff")));
        binary.commit(1);
        assert_eq!(binary.reader().snapshot().array(0..1, None).as_binary_view().value(0), b"\xff");
    }

    #[test]
    fn readers_on_other_threads_see_whole_values() {
        const VALUES: usize = 20_000;
        let value = |index: usize| format!("{index}:").repeat(index % 30 + 1);
        let mut writer = ViewWriter::new(ViewKind::Text, 0, &account());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let reader = writer.reader();
                scope.spawn(move || {
                    let mut seen = 0;
                    while seen < VALUES {
                        let snapshot = reader.snapshot();
                        let first = seen.saturating_sub(50);
                        let array = snapshot.array(first..snapshot.len(), None);
                        let texts = array.as_string_view();
                        validate(texts);
                        for (index, text) in texts.iter().enumerate() {
                            assert_eq!(text, Some(value(first + index).as_str()));
                        }
                        seen = snapshot.len();
                    }
                });
            }
            for index in 0..VALUES {
                assert!(writer.set(index, ByteValue::Text(&value(index))));
                if index % 13 == 0 || index + 1 == VALUES {
                    writer.commit(index + 1);
                }
            }
        });
    }
}
