//! The undecodable messages of a table: those in memory, and those stored beside the sealed segments.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::LiveTable;
use crate::error::{Result, SegmentError};
use crate::mutable::DeadLetter;
use crate::sealed::decode_dead_letters;

/// Once so many letters are read no further object is: the newest of each partition come first, the partitions in descending order.
pub const DEAD_LETTERS_MAX: usize = 100_000;
/// Objects read at a time.
const READ_AT_ONCE: usize = 8;

impl LiveTable {
    /// The dead letters of mutable segments, in the order of partition and offset. Those of a range that is sealed meanwhile
    /// are stored before they leave memory.
    pub fn open_dead_letters(&self) -> Vec<DeadLetter> {
        let state = self.state.load();
        state.partitions.values().flatten().flat_map(|segment| segment.dead_letters()).collect()
    }

    /// The newest dead letters that are stored, in the order of partition and offset, about [`DEAD_LETTERS_MAX`] of them.
    ///
    /// A range whose commit was lost to another process leaves its letters in a second object; a letter is one per
    /// partition, offset and timestamp, so it counts once.
    ///
    /// # Errors
    /// `Store` if the store cannot be read, `Corrupt` if an object is damaged.
    pub async fn stored_dead_letters(&self) -> Result<Vec<DeadLetter>> {
        let mut letters = BTreeMap::new();
        let prefix: Path = self.root().parts().chain(Path::from("_dead_letters").parts()).collect();
        let failed = |error| SegmentError::store(format!("table {}: dead letters", self.name()), error);
        let mut objects: Vec<Path> = self
            .store()
            .list(Some(&prefix))
            .map_ok(|object| object.location)
            .try_collect()
            .await
            .map_err(failed)?;
        // Names begin with the range's first offset, so the newest of a partition are the last.
        objects.sort_unstable_by(|left, right| right.cmp(left));
        let mut contents = futures::stream::iter(objects)
            .map(|path| async move {
                let object = self.store().get(&path).await.map_err(failed)?;
                decode_dead_letters(object.bytes().await.map_err(failed)?)
            })
            .buffered(READ_AT_ONCE);
        let mut read_letters = 0;
        while let Some(found) = contents.next().await {
            let found = found?;
            read_letters += found.len();
            letters.extend(
                found
                    .into_iter()
                    .map(|letter| ((letter.partition, letter.offset, letter.timestamp_ms), letter)),
            );
            if read_letters >= DEAD_LETTERS_MAX {
                break;
            }
        }
        Ok(letters.into_values().collect())
    }
}
