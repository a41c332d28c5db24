//! After a change of the spec's indexes: segments that were sealed under other ones are written anew, one at a time.
//!
//! Behind everything else: a rebuild begins only when no seal wants to encode, and a segment that cannot be rebuilt keeps the
//! indexes that it has and is tried again ever more rarely. The log lets a replacement in only for the very segment that it was
//! made from.
//!
//! **Invariant:** an object is deleted only if the first answer of the log says that no entry names it. If it is not known whether
//! one does, the object stays and the same replacement is committed again, so that a segment never has more than one.

mod failures;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_segment::SegmentError;
use headwater_segment::live::LiveTable;
use headwater_segment::log::LogSnapshot;
use headwater_segment::sealed::{EncodedSegment, RebuildRequest, SegmentMeta, rebuild};
use headwater_segment::tasks::{TaskKind, TaskSubject};
use object_store::{Error as StoreError, ObjectStoreExt};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use ulid::Ulid;

pub(crate) use failures::Failures;
use failures::{Replacement, Wanted};

use super::sealer;
use super::supervisor::Supervisor;

/// How long a rebuild waits before it looks again whether an encoder is free.
const ENCODER_WAIT: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Begins to rebuild what is to be rebuilt, unless that is under way.
    pub(super) fn sweep_indexes(&mut self) {
        if self.rebuilding.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let snapshot = self.parts.live.snapshot();
        let has_due = {
            let wanted: HashSet<Wanted> =
                snapshot.segments.iter().filter_map(|segment| stale(&snapshot, segment)).collect();
            let mut failures = self.rebuild_failures.lock();
            failures.keep_only(&wanted);
            !due_segments(&snapshot, &failures, Instant::now()).is_empty()
        };
        if !has_due {
            return;
        }
        let rebuilder = Rebuilder {
            live: self.parts.live.clone(),
            encode_permits: self.parts.encode_permits.clone(),
            failures: Arc::clone(&self.rebuild_failures),
        };
        self.rebuilding = Some(self.parts.runtime.spawn(rebuilder.run()));
    }
}

/// What is wanted of a segment whose indexes are not those of the spec.
fn stale(snapshot: &LogSnapshot, segment: &SegmentMeta) -> Option<Wanted> {
    let wanted = snapshot.schema.index_settings();
    (segment.index_settings != wanted).then_some((segment.id, wanted))
}

/// Segments to rebuild now, newest first: they are asked most.
fn due_segments(snapshot: &LogSnapshot, failures: &Failures, now: Instant) -> Vec<Arc<SegmentMeta>> {
    let is_due = |segment: &&Arc<SegmentMeta>| {
        stale(snapshot, segment).is_some_and(|wanted| failures.is_due(wanted, now))
    };
    let mut segments: Vec<Arc<SegmentMeta>> = snapshot.segments.iter().filter(is_due).cloned().collect();
    segments.sort_by_key(|segment| std::cmp::Reverse(segment.sealed_at_ms));
    segments
}

struct Rebuilder {
    live: Arc<LiveTable>,
    encode_permits: Arc<Semaphore>,
    failures: Arc<Mutex<Failures>>,
}

/// A turn to encode that no seal wants.
pub(crate) async fn idle_encoder(encode_permits: &Semaphore) -> SemaphorePermit<'_> {
    loop {
        match encode_permits.try_acquire() {
            Ok(permit) => return permit,
            Err(_) => tokio::time::sleep(ENCODER_WAIT).await,
        }
    }
}

impl Rebuilder {
    async fn run(self) {
        let subject = TaskSubject { what: "the indexes of the spec".into(), unit: "segments", total: None };
        let task = self.live.tasks().begin(TaskKind::IndexRebuild, subject);
        let (mut tried, mut failed) = (0, None);
        loop {
            let snapshot = self.live.snapshot();
            let due = due_segments(&snapshot, &self.failures.lock(), Instant::now());
            task.set_total(tried + due.len() as u64);
            tried += 1;
            let Some(segment) = due.first() else {
                return match failed {
                    None => task.done(None),
                    Some((error, wait)) => task.failed(&error, Some(wait)),
                };
            };
            let (table, id) = (self.live.name(), segment.id);
            match self.replace(&snapshot, segment).await {
                Ok(bytes) => {
                    task.advance(1);
                    tracing::info!(
                        table,
                        segment = %id,
                        bytes_before = segment.size_bytes,
                        bytes,
                        left = due.len() - 1,
                        "a segment was rebuilt with the indexes of the spec"
                    );
                }
                Err(error) => {
                    let wanted = (id, snapshot.schema.index_settings());
                    let (tries, wait) = self.failures.lock().failed(wanted, Instant::now());
                    tracing::warn!(
                        table,
                        segment = %id,
                        %error,
                        tries,
                        retry_s = wait.as_secs(),
                        "a segment could not be rebuilt; it keeps its indexes"
                    );
                    let error = format!("segment {id}: {error}");
                    task.note(&error);
                    failed = Some((error, wait));
                }
            }
        }
    }

    /// Returns the length of the new object.
    async fn replace(&self, snapshot: &LogSnapshot, old: &Arc<SegmentMeta>) -> Result<u64, SegmentError> {
        let wanted = (old.id, snapshot.schema.index_settings());
        let left = self.left(wanted).await?;
        let is_first = left.is_none();
        let new = match left {
            Some(left) => left,
            None => self.uploaded(snapshot, old).await?,
        };
        // Noted before the commit, so that a rebuilder that is stopped leaves word of it.
        self.failures.lock().leave(wanted, new.clone());
        match self.live.log().replace(old.id, new.meta.clone(), new.schema.clone()).await {
            Ok(replaced) => {
                self.live.adopt(replaced, None);
                Ok(new.meta.size_bytes)
            }
            Err(
                error @ (SegmentError::Refused(_)
                | SegmentError::Conflict { .. }
                | SegmentError::NoSuchTable(_)),
            ) if is_first => {
                self.failures.lock().forget_left(wanted);
                self.remove(&new.meta).await;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// What an earlier try has uploaded, if it is still there.
    async fn left(&self, wanted: Wanted) -> Result<Option<Replacement>, SegmentError> {
        let Some(left) = self.failures.lock().left(wanted) else { return Ok(None) };
        let location = left.meta.location(self.live.root());
        match self.live.store().head(&location).await {
            Ok(object) if object.size == left.meta.size_bytes => Ok(Some(left)),
            Ok(_) | Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(SegmentError::store(format!("looking for segment {location}"), error)),
        }
    }

    /// Writes a segment anew and uploads it.
    async fn uploaded(
        &self,
        snapshot: &LogSnapshot,
        old: &Arc<SegmentMeta>,
    ) -> Result<Replacement, SegmentError> {
        // Not kept while the object comes: those who seal would wait for the store.
        drop(idle_encoder(&self.encode_permits).await);
        let location = old.location(self.live.root());
        let failed = |error| SegmentError::store(format!("reading segment {location}"), error);
        let object = self.live.store().get(&location).await.map_err(failed)?.bytes().await.map_err(failed)?;
        let (live, schema, meta) = (self.live.clone(), snapshot.schema.clone(), old.clone());
        let work = move || -> Result<EncodedSegment, SegmentError> {
            let table = live.name();
            rebuild(RebuildRequest { schema: &schema, table, meta: &meta, object, id: Ulid::new() })
        };
        let permit = idle_encoder(&self.encode_permits).await;
        let new = tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| SegmentError::Refused(format!("rebuilding the segment panicked: {error}")))??;
        drop(permit);
        if let Err(error) = sealer::put(&self.live, &new.meta.path, new.bytes).await {
            // It may be there all the same, and nobody else knows its name yet.
            self.remove(&new.meta).await;
            return Err(error);
        }
        Ok(Replacement { meta: Arc::new(new.meta), schema: snapshot.schema.clone() })
    }

    /// Removes an object that no log entry names.
    async fn remove(&self, segment: &SegmentMeta) {
        let location = segment.location(self.live.root());
        match self.live.store().delete(&location).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => {}
            Err(error) => {
                tracing::warn!(table = self.live.name(), %location, %error, "an object that no log entry names stays in the store");
            }
        }
    }
}
