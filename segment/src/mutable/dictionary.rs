//! The dictionary of one column of one mutable segment: each distinct value once, numbered in order of arrival.
//!
//! The hash table belongs to the writer alone; readers need only the entries. An entry is immutable and readable
//! from the moment it is interned, so any code that a committed row holds can be resolved by any snapshot taken
//! after that row was seen. Code 0 is the empty value: it stands under rows that are NULL, so that every code in
//! a chunk resolves. Values of rows that were abandoned stay in the dictionary; nothing points to them.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use crate::budget::{Account, Charge};
use crate::cardinality::Limit;
use crate::kernel::view_store::{ByteValue, ViewKind, ViewReader, ViewWriter};

/// What a column must have more values than, or be on the way to, for its dictionary to be left: as many as a hash table of 2^19
/// slots takes (4.5 MiB). The next larger one is out of most caches, so that each row would wait for memory more than
/// once, and the row that makes it grow for some milliseconds.
///
/// The column is judged by the rule that sealing uses, against the rows that a segment is sealed at by default. A column
/// that would be coded when it is sealed thus keeps its codes while it is open, whose first 32,768 rows are half distinct with
/// 20,600 values already. What that costs where the guess is wrong is bounded:
/// - rows: a column of unique values is found out at 8 chunks (40,448 rows), one in which six of ten rows are new at half
///   a million; until then a row costs a look into the table, and a new value an entry in it;
/// - bytes: a row takes 4 and a value about 30 beside its text, where a row without a dictionary takes 16 beside its text.
///   At worst (290,000 values of at most 12 bytes in 460,000 rows) that is 23 bytes a row instead of 16, 3 MiB altogether;
///   from three rows per value on it is less than without;
/// - queries: leaving the dictionary is what they pay for, as a column is read as codes only if all its chunks have them.
///
/// Chunks come in the order of arrival, not from all over the column. So what changes later, such as ids that are used
/// for a while, is not seen before it comes; the column is judged again at each chunk.
const LIMIT: Limit = Limit { distinct_max: (1 << 19) / 8 * 7, judged_rows: Some(5_000_000) };

/// An entry of the hash table. The hash is kept so that growing the table reads no values.
struct Slot {
    hash: u32,
    code: u32,
}

impl Slot {
    /// hashbrown takes the bucket from the low bits and a tag from the topmost seven, so both halves carry the hash.
    fn table_hash(hash: u32) -> u64 {
        u64::from(hash) << 32 | u64::from(hash)
    }
}

/// The writer's side.
pub(super) struct DictionaryWriter {
    entries: ViewWriter,
    count: usize,
    table: HashTable<Slot>,
    table_charge: Charge,
    hasher: RandomState,
    /// Values interned so far, repeated ones included.
    values: usize,
    /// Chunks that they fill.
    chunks: usize,
}

impl DictionaryWriter {
    pub(super) fn new(kind: ViewKind, account: &Arc<Account>) -> Self {
        let mut entries = ViewWriter::new(kind, 0, account);
        // Code 0: an entry that is never written is empty.
        entries.commit(1);
        Self {
            entries,
            count: 1,
            table: HashTable::new(),
            table_charge: Charge::new(account, 0),
            hasher: RandomState::default(),
            values: 0,
            chunks: 0,
        }
    }

    pub(super) fn kind(&self) -> ViewKind {
        self.entries.kind()
    }

    /// A reader of the entries.
    pub(super) fn reader(&self) -> ViewReader {
        self.entries.reader()
    }

    /// The code of a value; `None` if the value is not of the dictionary's kind or too long for Arrow.
    #[inline]
    pub(super) fn intern(&mut self, value: ByteValue<'_>) -> Option<u32> {
        if value.kind() != self.kind() {
            return None;
        }
        let bytes = value.bytes();
        let hash = self.hash(bytes);
        self.values += 1;
        let is_value = |slot: &Slot| slot.hash == hash && self.entries.equals(slot.code as usize, bytes);
        match self.table.find(Slot::table_hash(hash), is_value) {
            Some(slot) => Some(slot.code),
            None => self.insert(hash, value),
        }
    }

    #[cold]
    fn insert(&mut self, hash: u32, value: ByteValue<'_>) -> Option<u32> {
        let code = u32::try_from(self.count).ok()?;
        if !self.entries.set(self.count, value) {
            return None;
        }
        self.count += 1;
        self.entries.commit(self.count);
        let slot = Slot { hash, code };
        self.table.insert_unique(Slot::table_hash(hash), slot, |slot| Slot::table_hash(slot.hash));
        self.table_charge.resize(self.table.allocation_size());
        Some(code)
    }

    fn hash(&self, bytes: &[u8]) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(bytes);
        (hasher.finish() >> 32) as u32
    }

    /// Ends a chunk. Says whether the next ones are better held without this dictionary.
    pub(super) fn is_pointless_after_chunk(&mut self) -> bool {
        self.chunks += 1;
        LIMIT.is_reached(self.count - 1, self.values, self.chunks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::MemoryBudget;
    use crate::cardinality::tests::drawn;
    use arrow::array::AsArray;

    fn dictionary() -> DictionaryWriter {
        DictionaryWriter::new(ViewKind::Text, &Account::new(MemoryBudget::new(1 << 30)))
    }

    #[test]
    fn equal_values_share_a_code() {
        let mut dictionary = dictionary();
        let texts: Vec<String> = (0..3000).map(|n| format!("{:>width$}", n % 1000, width = n % 40)).collect();
        let codes: Vec<u32> =
            texts.iter().map(|text| dictionary.intern(ByteValue::Text(text)).unwrap()).collect();
        let again: Vec<u32> =
            texts.iter().map(|text| dictionary.intern(ByteValue::Text(text)).unwrap()).collect();
        assert_eq!(codes, again);
        let read = dictionary.reader().snapshot().gather(&codes, None);
        assert!(read.as_string_view().iter().map(Option::unwrap).eq(texts.iter().map(String::as_str)));
        let distinct: std::collections::HashSet<&String> = texts.iter().collect();
        assert_eq!(dictionary.count, distinct.len() + 1);
    }

    #[test]
    fn the_empty_value_resolves_without_any_entry() {
        assert_eq!(dictionary().reader().snapshot().gather(&[0, 0], None).as_string_view().value(1), "");
    }

    /// After how many values of `numbers`, in chunks of 8192, the dictionary is given up.
    fn given_up_after(numbers: impl Iterator<Item = i64>) -> Option<usize> {
        let mut dictionary = dictionary();
        for (place, number) in (1..).zip(numbers) {
            dictionary.intern(ByteValue::Text(&number.to_string()));
            if place % 8192 == 0 && dictionary.is_pointless_after_chunk() {
                return Some(place);
            }
        }
        None
    }

    #[test]
    fn a_dictionary_is_kept_for_values_that_will_repeat() {
        for values in [1, 1_000, 20_000, 25_000, 40_000, 100_000, 400_000] {
            assert_eq!(given_up_after(drawn(values).take(150_000)), None, "{values} values");
        }
        // Half of the rows are new, as long as it lasts.
        assert_eq!(given_up_after((0..200_000).map(|row| row / 2)), None);
    }

    #[test]
    fn a_dictionary_is_given_up_for_values_that_will_not_repeat() {
        assert_eq!(given_up_after(0..100_000), Some(8 * 8192));
        assert_eq!(given_up_after(drawn(50_000_000).take(100_000)), Some(8 * 8192));
        assert_eq!(given_up_after((0..700_000).map(|row| row * 6 / 10)), Some(557_056));
    }

    #[test]
    fn a_dictionary_is_given_up_before_its_table_leaves_the_caches() {
        let mut dictionary = dictionary();
        let values = LIMIT.distinct_max;
        for value in 0..values {
            dictionary.intern(ByteValue::Text(&value.to_string()));
        }
        let bytes = dictionary.table.allocation_size();
        assert!(bytes <= 5 << 20, "{bytes}");
        // Each of them has come often enough.
        (dictionary.values, dictionary.chunks) = (5_000_000, 610);
        assert!(!dictionary.is_pointless_after_chunk());
        dictionary.intern(ByteValue::Text("one more"));
        assert!(dictionary.is_pointless_after_chunk());
    }
}
