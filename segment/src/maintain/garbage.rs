//! Which objects of a table may be deleted: those that no reader needs and that no writer can bring into the table any more.
//!
//! | the object | may be deleted |
//! |---|---|
//! | is no segment's (the log, dead letters, anything unknown) | never |
//! | is named by the newest version | no |
//! | was removed | [`GRACE_MS`] after this process first saw that |
//! | is named by no entry | [`UNNAMED_AGE_MS`] after its ULID was made, if the log shuts it out |
//!
//! # Why no reader misses it
//! A reader holds a version that was the newest when it looked. What that version names was removed after the look, and was seen
//! to be removed later still, so it is there for the whole grace. The time written in the entry is not believed: a writer that
//! stood still between the stamp and the write would have removed the object later than its entry says, by any length of time.
//!
//! # Why no writer brings it back
//! A writer that stood still for a day after its upload may write its entry at any moment. So before an object that no entry names
//! is deleted, the log is given a mark ([`Change::Collect`]): objects made before it are shut out from then on. Whoever wrote
//! before the mark is seen by the look that follows it; whoever writes after it is refused, and makes the segment anew under
//! another name. The mark is written only when there is something to delete.
//!
//! The listing comes first and the log is read after it: a segment that is committed in between is named.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore};
use ulid::Ulid;

use crate::log::{Change, Commit, References, Standing, TableLog};
use crate::sealed::SegmentMeta;
use crate::{Result, SegmentError};

const HOUR_MS: i64 = 3_600_000;

/// How long an object stays after it was seen to be removed: longer than any query runs.
pub const GRACE_MS: i64 = 2 * HOUR_MS;
/// How long an object that no entry names may wait for its commit.
pub const UNNAMED_AGE_MS: i64 = 24 * HOUR_MS;
/// A writer that uploaded longer ago than this writes the segment anew before it commits, far ahead of [`UNNAMED_AGE_MS`].
pub const UPLOAD_AGE_MAX_MS: i64 = HOUR_MS;

/// Whether an upload is so old that its segment must be made and uploaded again, under a new name, before it is committed.
/// Under the old name a collector that has listed the object already would delete the new one.
pub fn is_upload_too_old(uploaded_at_ms: i64, now_ms: i64) -> bool {
    now_ms.saturating_sub(uploaded_at_ms) > UPLOAD_AGE_MAX_MS
}

/// Whether an object may be deleted. `object` is its path relative to the table's root; `seen_removed_at_ms` is when this
/// process first saw that it was removed; `log` was read after the object was listed.
pub fn may_delete(object: &str, now_ms: i64, log: &References, seen_removed_at_ms: Option<i64>) -> bool {
    let Some(id) = SegmentMeta::id_of_path(object) else { return false };
    match log.standing(id) {
        Standing::Named => false,
        Standing::Removed => seen_removed_at_ms.is_some_and(|at| now_ms.saturating_sub(at) > GRACE_MS),
        Standing::Unknown => is_old(id, now_ms) && id.timestamp_ms() < log.collected_before_ms,
    }
}

fn made_before(now_ms: i64) -> u64 {
    u64::try_from(now_ms.saturating_sub(UNNAMED_AGE_MS)).unwrap_or_default()
}

fn is_old(id: Ulid, now_ms: i64) -> bool {
    id.timestamp_ms() < made_before(now_ms)
}

/// What one process has seen of the removed segments of one table.
#[derive(Debug, Default)]
pub struct Collector {
    seen_removed_at_ms: HashMap<Ulid, i64>,
}

impl Collector {
    /// The objects of the table under `root` that may be deleted now. `mark` is a new ULID, used if the log must be given a mark;
    /// `clock` tells the time in milliseconds since the epoch.
    ///
    /// # Errors
    /// `Store` if the store fails, `NoSuchTable` if the table was dropped, also if one of its name was created since.
    pub async fn find(
        &mut self,
        log: &TableLog,
        store: &dyn ObjectStore,
        root: &Path,
        mark: Ulid,
        clock: impl Fn() -> i64,
    ) -> Result<Vec<Path>> {
        let objects = list(store, root).await?;
        let mut references = log.references().await?;
        let now_ms = clock();
        let must_mark = objects.iter().any(|(_, id)| {
            references.standing(*id) == Standing::Unknown
                && is_old(*id, now_ms)
                && id.timestamp_ms() >= references.collected_before_ms
        });
        if must_mark {
            let change = Change::Collect { before_ms: made_before(now_ms) };
            log.commit(&Commit { id: mark, at_ms: now_ms, change }).await?;
            references = log.references().await?;
        }
        let now_ms = clock();
        self.observe(&references, now_ms);
        let may_go = |(location, id): &(Path, Ulid)| {
            let relative = relative(location, root)?;
            may_delete(&relative, now_ms, &references, self.seen_removed_at_ms.get(id).copied())
                .then(|| location.clone())
        };
        Ok(objects.iter().filter_map(may_go).collect())
    }

    /// Takes note of what is removed. `now_ms` is after the log was read.
    fn observe(&mut self, log: &References, now_ms: i64) {
        self.seen_removed_at_ms.retain(|id, _| log.standing(*id) == Standing::Removed);
        for id in log.removed() {
            self.seen_removed_at_ms.entry(id).or_insert(now_ms);
        }
    }
}

/// The segments in a table's data directory.
async fn list(store: &dyn ObjectStore, root: &Path) -> Result<Vec<(Path, Ulid)>> {
    let data = root.clone().join("data");
    let named = store.list(Some(&data)).try_filter_map(|object| async move {
        let id = relative(&object.location, root).and_then(|path| SegmentMeta::id_of_path(&path));
        Ok(id.map(|id| (object.location, id)))
    });
    named.try_collect().await.map_err(|error| SegmentError::store(format!("listing {data}"), error))
}

fn relative(location: &Path, root: &Path) -> Option<String> {
    let parts = location.prefix_match(root)?;
    Some(parts.map(|part| part.as_ref().to_string()).collect::<Vec<_>>().join("/"))
}

/// Deletes objects of the table under `root`, and returns how many were there.
///
/// # Errors
/// `Store` if the store fails half way; what is left is found again.
pub async fn delete(store: &dyn ObjectStore, root: &Path, objects: Vec<Path>) -> Result<u64> {
    let deleted = store.delete_stream(futures::stream::iter(objects).map(Ok).boxed());
    let gone = deleted.filter_map(|outcome| async move {
        match outcome {
            Err(StoreError::NotFound { .. }) => None,
            other => Some(other),
        }
    });
    gone.try_fold(0, |count, _| async move { Ok(count + 1) })
        .await
        .map_err(|error| SegmentError::store(format!("deleting objects under {root}"), error))
}

#[cfg(test)]
mod tests;
