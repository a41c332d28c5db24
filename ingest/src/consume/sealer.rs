//! From a mutable segment that takes no more rows to a commit in the table log, one partition at a time and in order.
//!
//! Invariants:
//! - a segment leaves the live table only in the swap that brings in the log snapshot which covers its offsets;
//! - nothing is dropped on an error: what can be retried is retried for ever with backoff, while its rows stay
//!   queryable and count against the memory budget;
//! - the commit carries the segment's own id, and a retry carries the same id, so an ambiguous write is found again;
//! - if another process has committed part of the range, only the rest is written; if all of it, nothing is.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headwater_segment::SegmentError;
use headwater_segment::live::LiveTable;
use headwater_segment::log::{Commit, LogSnapshot};
use headwater_segment::mutable::MutableSegment;
use headwater_segment::sealed::{self, EncodedSegment, SealRequest, SegmentMeta};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload, WriteMultipart};
use tokio::sync::{Semaphore, mpsc};
use ulid::Ulid;

use super::dead_letters::DeadLetterTopic;
use super::partition::SealReply;
use crate::error::Result;

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Objects above this size go up in parts.
const MULTIPART_BYTES_MIN: usize = 16 << 20;

/// One segment to seal: everything in `[from, to)`.
pub(crate) struct SealJob {
    pub(crate) segment: Arc<MutableSegment>,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) reply: Option<SealReply>,
}

/// What became of a segment.
#[derive(Clone, Debug, PartialEq)]
pub enum SealOutcome {
    /// A sealed segment was committed.
    Segment(Box<SegmentMeta>),
    /// There were no rows; the offset was committed.
    OffsetOnly {
        /// Every offset below this one is committed.
        to: i64,
    },
    /// There was nothing new, or another process had already committed it.
    Nothing,
}

pub(crate) struct Sealer {
    pub(crate) live: Arc<LiveTable>,
    pub(crate) partition: i32,
    /// Encoding is CPU work; this bounds how many encode at once on the node.
    pub(crate) encode_permits: Arc<Semaphore>,
    pub(crate) letters: Option<DeadLetterTopic>,
}

/// What is left to write of a job, given what the log says is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remaining {
    Nothing,
    From(i64),
}

/// Pure: `[from, to)` of this process against the committed offset of the log.
fn remaining(from: i64, to: i64, committed: i64) -> Remaining {
    if committed >= to || from >= to { Remaining::Nothing } else { Remaining::From(from.max(committed)) }
}

impl Sealer {
    /// Seals jobs in order until the partition's consumer is gone and the queue is empty.
    pub(crate) async fn run(self, mut jobs: mpsc::UnboundedReceiver<SealJob>) {
        while let Some(job) = jobs.recv().await {
            let started = std::time::Instant::now();
            let outcome = self.seal(&job).await;
            metrics::histogram!("headwater_seal_seconds", "table" => self.live.name().to_string())
                .record(started.elapsed());
            if let Some(reply) = job.reply {
                // Whoever asked may have gone; the seal is done all the same.
                let _ = reply.send(Ok(outcome));
            }
        }
    }

    async fn seal(&self, job: &SealJob) -> SealOutcome {
        let mut retry = RETRY_FIRST;
        let mut prepared: Option<Prepared> = None;
        loop {
            let snapshot = self.live.log().snapshot();
            let committed = snapshot.committed(self.partition).unwrap_or(job.from);
            let from = match remaining(job.from, job.to, committed) {
                Remaining::Nothing => {
                    if job.from < job.to {
                        // A write whose outcome was unknown may have been ours.
                        let ours = prepared.as_ref().and_then(|prepared| prepared.find_in(&snapshot));
                        self.live.adopt(snapshot, Some(&job.segment));
                        return ours.unwrap_or(SealOutcome::Nothing);
                    }
                    return SealOutcome::Nothing;
                }
                Remaining::From(from) => from,
            };
            match self.attempt(job, from, &mut prepared).await {
                Ok((snapshot, outcome)) => {
                    self.live.adopt(snapshot, Some(&job.segment));
                    self.live.partition_progress(self.partition).trouble_over();
                    return outcome;
                }
                Err(SegmentError::Fenced { committed, .. }) if committed < job.from => {
                    // Somebody set the partition back (a recreated topic). The supervisor sees it, too, and starts
                    // the partition again at the committed offset, so these rows are read again.
                    self.live.adopt(self.live.log().snapshot(), Some(&job.segment));
                    return SealOutcome::Nothing;
                }
                Err(SegmentError::Fenced { committed, .. }) => {
                    tracing::warn!(
                        table = self.live.name(),
                        partition = self.partition,
                        from,
                        to = job.to,
                        committed,
                        "another process has committed this range; keeping what is past it"
                    );
                }
                Err(error) => {
                    tracing::warn!(
                        table = self.live.name(),
                        partition = self.partition,
                        from,
                        to = job.to,
                        %error,
                        retry_ms = retry.as_millis() as u64,
                        "seal failed and will be retried; its rows stay in memory"
                    );
                    metrics::counter!("headwater_seal_retries_total", "table" => self.live.name().to_string())
                        .increment(1);
                    self.live.partition_progress(self.partition).trouble(format!("seal: {error}"));
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Encodes (once), uploads (once) and commits `[from, to)`. Every step can be repeated.
    async fn attempt(
        &self,
        job: &SealJob,
        from: i64,
        prepared: &mut Option<Prepared>,
    ) -> Result<(Arc<LogSnapshot>, SealOutcome), SegmentError> {
        if let Some(letters) = &self.letters {
            letters.delivered().await;
        }
        if prepared.as_ref().is_none_or(|prepared| prepared.from != from) {
            // The old object, if any, belongs to a range that somebody else has committed.
            if let Some(stale) = prepared.take() {
                self.forget(&stale).await;
            }
            *prepared = Some(self.encode(job, from).await?);
        }
        let Some(ready) = prepared.as_mut() else { return Err(SegmentError::Refused("nothing prepared".into())) };
        self.upload(ready).await?;
        let snapshot = self.live.log().commit(ready.commit(self.partition, job.to)).await?;
        let outcome = match &ready.segment {
            Some(segment) => SealOutcome::Segment(Box::new(segment.meta.clone())),
            None => SealOutcome::OffsetOnly { to: job.to },
        };
        Ok((snapshot, outcome))
    }

    async fn encode(&self, job: &SealJob, from: i64) -> Result<Prepared, SegmentError> {
        let _permit = self.encode_permits.acquire().await;
        let (segment, live, partition, to) = (job.segment.clone(), self.live.clone(), self.partition, job.to);
        let work = move || -> Result<Prepared, SegmentError> {
            let id = Ulid::new();
            let letters: Vec<_> = segment.dead_letters().into_iter().filter(|letter| letter.offset >= from).collect();
            let rows = segment.rows_below(from)..segment.rows_below(to);
            let schema = segment.schema().clone();
            let encoded = if rows.is_empty() {
                None
            } else {
                let all: Vec<usize> = (0..schema.columns().len()).collect();
                let rows = segment.batches(rows, &all).collect::<Result<Vec<_>, _>>()?;
                Some(sealed::encode(SealRequest {
                    schema: &schema,
                    table: live.name(),
                    partition,
                    from,
                    to,
                    id,
                    sealed_at_ms: now_ms(),
                    dead_letters: letters.len() as u64,
                    rows,
                })?)
            };
            let letters = if letters.is_empty() { None } else { Some(sealed::encode_dead_letters(&letters)?) };
            Ok(Prepared { id, from, segment: encoded, letters, uploaded: false })
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| SegmentError::Refused(format!("encoding the segment panicked: {error}")))?
    }

    async fn upload(&self, prepared: &mut Prepared) -> Result<(), SegmentError> {
        if prepared.uploaded {
            return Ok(());
        }
        if let Some(letters) = &prepared.letters {
            let path = sealed::dead_letters_path(self.partition, prepared.from, prepared.id);
            self.put(&path, letters.clone()).await?;
        }
        if let Some(segment) = &prepared.segment {
            self.put(&segment.meta.path, segment.bytes.clone()).await?;
            metrics::counter!("headwater_sealed_bytes_total", "table" => self.live.name().to_string())
                .increment(segment.meta.size_bytes);
        }
        prepared.uploaded = true;
        Ok(())
    }

    async fn put(&self, relative: &str, bytes: bytes::Bytes) -> Result<(), SegmentError> {
        let path = self.object_path(relative);
        let failed = |error| SegmentError::store(format!("table {}: upload {path}", self.live.name()), error);
        // The name carries a fresh ULID, so writing it again writes the same bytes.
        if bytes.len() < MULTIPART_BYTES_MIN {
            self.live.store().put(&path, PutPayload::from_bytes(bytes)).await.map_err(failed)?;
            return Ok(());
        }
        let upload = self.live.store().put_multipart(&path).await.map_err(failed)?;
        let mut writer = WriteMultipart::new(upload);
        writer.put(bytes);
        writer.finish().await.map_err(failed)?;
        Ok(())
    }

    /// Deletes what was uploaded for a range that another process committed. Left-overs are harmless: the log does
    /// not name them.
    async fn forget(&self, prepared: &Prepared) {
        if let Some(segment) = prepared.segment.as_ref().filter(|_| prepared.uploaded)
            && let Err(error) = self.live.store().delete(&self.object_path(&segment.meta.path)).await
        {
            tracing::debug!(%error, path = segment.meta.path, "an object that no log entry names was left behind");
        }
    }

    fn object_path(&self, relative: &str) -> Path {
        Path::from(format!("{}/{relative}", self.live.root()))
    }
}

/// A range that is encoded and perhaps uploaded.
struct Prepared {
    id: Ulid,
    from: i64,
    segment: Option<EncodedSegment>,
    letters: Option<bytes::Bytes>,
    uploaded: bool,
}

impl Prepared {
    fn commit(&self, partition: i32, to: i64) -> Commit {
        match &self.segment {
            Some(segment) => Commit::Segment { id: self.id, meta: Box::new(segment.meta.clone()) },
            None => Commit::Offsets { id: self.id, partition, from: self.from, to },
        }
    }

    fn find_in(&self, snapshot: &LogSnapshot) -> Option<SealOutcome> {
        let found = snapshot.segments.iter().find(|meta| meta.id == self.id)?;
        Some(SealOutcome::Segment(Box::new(SegmentMeta::clone(found))))
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_remains_of_a_range() {
        assert_eq!(remaining(10, 20, 10), Remaining::From(10));
        assert_eq!(remaining(10, 20, 15), Remaining::From(15));
        assert_eq!(remaining(10, 20, 20), Remaining::Nothing);
        assert_eq!(remaining(10, 20, 30), Remaining::Nothing);
        assert_eq!(remaining(10, 10, 5), Remaining::Nothing);
        // The log stands before this range: only the log itself can say so, by refusing the commit.
        assert_eq!(remaining(10, 20, 5), Remaining::From(10));
    }
}
