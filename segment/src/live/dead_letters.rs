//! The undecodable messages of a table: those in memory, and those stored beside the sealed segments.
//!
//! A stored object never changes, and its name says which offsets it covers. So a reader says what it wants by name and
//! number, lists each partition's objects by itself, reads many at a time, the newest first, and what was read is
//! kept (`letter_cache`).

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStoreExt};

use super::LiveTable;
use super::letter_cache::Letters;
use crate::error::{Result, SegmentError};
use crate::mutable::DeadLetter;
use crate::sealed::{LetterObject, decode_dead_letters};

/// Once so many letters are read no further object is: the newest of each partition come first, the partitions in descending order.
pub const DEAD_LETTERS_MAX: usize = 100_000;
/// Objects read at a time: most are a few KiB, so a read is a round trip to the store.
const READ_AT_ONCE: usize = 64;
/// Partitions listed at a time.
const LIST_AT_ONCE: usize = 16;

/// Which stored letters are wanted. What is given is a superset.
#[derive(Clone, Copy)]
pub struct LettersWanted<'a> {
    /// For each object, by what its name says, whether it may hold letters that are wanted. Also asked about all that a
    /// partition may have.
    pub may_hold: &'a (dyn Fn(&[LetterObject]) -> Vec<bool> + Send + Sync),
    /// When so many letters are read, that is enough.
    pub letters_max: usize,
}

impl LettersWanted<'_> {
    fn keep<T>(&self, candidates: Vec<(LetterObject, T)>) -> Vec<(LetterObject, T)> {
        let named: Vec<LetterObject> = candidates.iter().map(|(object, _)| *object).collect();
        let verdicts = (self.may_hold)(&named);
        candidates.into_iter().zip(verdicts).filter(|(_, keep)| *keep).map(|(object, _)| object).collect()
    }
}

impl LiveTable {
    /// The dead letters of mutable segments, in the order of partition and offset. Those of a range that is sealed meanwhile
    /// are stored before they leave memory.
    pub fn open_dead_letters(&self) -> Vec<DeadLetter> {
        let state = self.state.load();
        state.partitions.values().flatten().flat_map(|segment| segment.dead_letters()).collect()
    }

    /// The newest dead letters that are stored and wanted, in the order of partition and offset, about
    /// [`DEAD_LETTERS_MAX`] of them at most.
    ///
    /// A range whose commit was lost to another process leaves its letters in a second object; a letter is one per
    /// partition, offset and timestamp, so it counts once.
    ///
    /// # Errors
    /// `Store` if the store cannot be read, `Corrupt` if an object is damaged.
    pub async fn stored_dead_letters(&self, wanted: LettersWanted<'_>) -> Result<Vec<DeadLetter>> {
        let letters_max = wanted.letters_max.min(DEAD_LETTERS_MAX);
        let mut objects = self.list_letters(wanted).await?;
        objects.sort_unstable_by_key(|(object, _)| {
            std::cmp::Reverse((object.partition, object.from, object.id))
        });
        let mut contents = futures::stream::iter(objects)
            .map(|(object, path)| self.read_letters(object, path))
            .buffered(READ_AT_ONCE.min(letters_max.max(1)));
        let mut letters = BTreeMap::new();
        while letters.len() < letters_max {
            let Some(found) = contents.next().await else { break };
            letters.extend(
                found?
                    .iter()
                    .map(|letter| ((letter.partition, letter.offset, letter.timestamp_ms), letter.clone())),
            );
        }
        Ok(letters.into_values().collect())
    }

    /// The stored objects that may hold what is wanted. Those of other names are not ours.
    async fn list_letters(&self, wanted: LettersWanted<'_>) -> Result<Vec<(LetterObject, Path)>> {
        let prefix: Path = self.root().parts().chain(Path::from("_dead_letters").parts()).collect();
        let listed = self.store().list_with_delimiter(Some(&prefix)).await;
        let directories = listed.map_err(|error| self.letters_failed(error))?.common_prefixes;
        let partitions = directories.into_iter().filter_map(|directory| {
            let partition = directory.filename()?.parse().ok()?;
            Some((LetterObject::all_of(partition), directory))
        });
        let partitions = wanted.keep(partitions.collect());
        let listings = partitions.into_iter().map(|(all, directory)| async move {
            let named = self.store().list(Some(&directory)).try_filter_map(|object| async move {
                let named =
                    object.location.filename().and_then(|name| LetterObject::named(all.partition, name));
                Ok(named.map(|named| (named, object.location)))
            });
            named.try_collect::<Vec<_>>().await.map_err(|error| self.letters_failed(error))
        });
        let listed: Vec<Vec<_>> =
            futures::stream::iter(listings).buffer_unordered(LIST_AT_ONCE).try_collect().await?;
        Ok(wanted.keep(listed.into_iter().flatten().collect()))
    }

    async fn read_letters(&self, object: LetterObject, path: Path) -> Result<Letters> {
        if let Some(letters) = self.letters.get(object.id) {
            return Ok(letters);
        }
        let read = async { self.store().get(&path).await?.bytes().await };
        let bytes = read.await.map_err(|error| self.letters_failed(error))?;
        let letters: Letters = decode_dead_letters(bytes)?.into();
        self.letters.keep(object.id, letters.clone());
        Ok(letters)
    }

    fn letters_failed(&self, error: StoreError) -> SegmentError {
        SegmentError::store(format!("table {}: dead letters", self.name()), error)
    }
}

#[cfg(test)]
mod tests;
