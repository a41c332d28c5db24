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
use crate::kernel::view_store::{ByteValue, ViewKind, ViewReader, ViewWriter};

/// Rows before a dictionary is first judged: few rows say little about a column.
const JUDGED_VALUES_MIN: u64 = 4 * 8192;
/// A hash table beyond this (half a million values and more) is out of most caches, so that each row would wait
/// for memory more than once, and the row that makes it grow for some milliseconds.
const TABLE_BYTES_MAX: u64 = 8 << 20;

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
    values: u64,
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

    /// Whether later rows are better held without this dictionary: most values are distinct, or there are
    /// so many that looking one up costs more than storing it again.
    pub(super) fn is_pointless(&self) -> bool {
        let mostly_distinct = self.values >= JUDGED_VALUES_MIN && self.count as u64 * 2 > self.values;
        mostly_distinct || self.table_charge.bytes() > TABLE_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::MemoryBudget;
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

    #[test]
    fn pointless_once_most_of_many_values_are_distinct() {
        let mut dictionary = dictionary();
        for value in 0..JUDGED_VALUES_MIN {
            assert!(!dictionary.is_pointless());
            dictionary.intern(ByteValue::Text(&format!("{value}")));
        }
        assert!(dictionary.is_pointless());
        for _ in 0..2 * JUDGED_VALUES_MIN {
            dictionary.intern(ByteValue::Text("again"));
        }
        assert!(!dictionary.is_pointless());
    }
}
