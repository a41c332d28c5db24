//! After a change of the spec's indexes: segments that were sealed under other ones are written anew, one at a time.
//!
//! Behind everything else: a rebuild begins only when no seal wants to encode, and a segment that cannot be rebuilt keeps the
//! indexes that it has. The log lets a replacement in only for the very segment that it was made from.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use headwater_segment::SegmentError;
use headwater_segment::live::LiveTable;
use headwater_segment::log::LogSnapshot;
use headwater_segment::sealed::{EncodedSegment, RebuildRequest, SegmentMeta, rebuild};
use object_store::ObjectStoreExt;
use tokio::sync::Semaphore;
use ulid::Ulid;

use super::sealer;
use super::supervisor::Supervisor;

/// How long a rebuild waits before it looks again whether an encoder is free.
const ENCODER_WAIT: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Begins to rebuild what is to be rebuilt, unless that is under way.
    pub(super) fn sweep_indexes(&mut self) {
        let busy = self.rebuilding.as_ref().is_some_and(|task| !task.is_finished());
        if busy || stale_segments(&self.parts.live.snapshot(), &HashSet::new()).is_empty() {
            return;
        }
        let rebuilder = Rebuilder {
            live: self.parts.live.clone(),
            encode_permits: self.parts.encode_permits.clone(),
            failed: HashSet::new(),
        };
        self.rebuilding = Some(self.parts.runtime.spawn(rebuilder.run()));
    }
}

/// Segments whose indexes are not those of the spec, newest first: they are asked most.
fn stale_segments(snapshot: &LogSnapshot, failed: &HashSet<Ulid>) -> Vec<Arc<SegmentMeta>> {
    let wanted = snapshot.schema.index_settings();
    let stale =
        |segment: &&Arc<SegmentMeta>| segment.index_settings != wanted && !failed.contains(&segment.id);
    let mut segments: Vec<Arc<SegmentMeta>> = snapshot.segments.iter().filter(stale).cloned().collect();
    segments.sort_by_key(|segment| std::cmp::Reverse(segment.sealed_at_ms));
    segments
}

struct Rebuilder {
    live: Arc<LiveTable>,
    encode_permits: Arc<Semaphore>,
    /// Not tried again before the next sweep.
    failed: HashSet<Ulid>,
}

impl Rebuilder {
    async fn run(mut self) {
        loop {
            let snapshot = self.live.snapshot();
            let stale = stale_segments(&snapshot, &self.failed);
            let Some(segment) = stale.first() else { return };
            let (table, id) = (self.live.name(), segment.id);
            match self.replace(&snapshot, segment.clone()).await {
                Ok(bytes) => tracing::info!(
                    table,
                    segment = %id,
                    bytes_before = segment.size_bytes,
                    bytes,
                    left = stale.len() - 1,
                    "a segment was rebuilt with the indexes of the spec"
                ),
                Err(error) => {
                    tracing::warn!(table, segment = %id, %error, "a segment could not be rebuilt; it keeps its indexes");
                    self.failed.insert(id);
                }
            }
        }
    }

    /// Returns the length of the new object.
    async fn replace(&self, snapshot: &LogSnapshot, old: Arc<SegmentMeta>) -> Result<u64, SegmentError> {
        let permit = loop {
            match self.encode_permits.try_acquire() {
                Ok(permit) => break permit,
                Err(_) => tokio::time::sleep(ENCODER_WAIT).await,
            }
        };
        let location = old.location(self.live.root());
        let failed = |error| SegmentError::store(format!("reading segment {location}"), error);
        let object = self.live.store().get(&location).await.map_err(failed)?.bytes().await.map_err(failed)?;
        let (live, schema, meta) = (self.live.clone(), snapshot.schema.clone(), old.clone());
        let work = move || -> Result<EncodedSegment, SegmentError> {
            let table = live.name();
            rebuild(RebuildRequest { schema: &schema, table, meta: &meta, object, id: Ulid::new() })
        };
        let new = tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| SegmentError::Refused(format!("rebuilding the segment panicked: {error}")))??;
        drop(permit);
        sealer::put(&self.live, &new.meta.path, new.bytes).await?;
        let size_bytes = new.meta.size_bytes;
        let replaced = self.live.log().replace(old.id, Arc::new(new.meta), snapshot.schema.clone()).await?;
        self.live.adopt(replaced, None);
        Ok(size_bytes)
    }
}
