//! From a mutable segment that takes no more rows to a commit in the table log, one partition at a time and in order.
//!
//! Invariants:
//! - a segment leaves the live table only in the swap that brings in the log snapshot which covers its offsets;
//! - nothing is dropped on an error, nor on a panic: what can be retried is retried for ever with backoff, while its rows
//!   stay queryable and count against the memory budget;
//! - the commit carries the segment's own id, and a retry carries the same id, so an ambiguous write is found again;
//! - only what is known to be of the topic that the log names is committed (see `provenance`);
//! - an object that was uploaded long ago is never committed, because a collector may delete it: the segment is made anew;
//! - if another process has committed part of the range, only the rest is written; if all of it, nothing is;
//! - rows that were read with another spec than the log holds are not committed: whoever changed the spec has the consumer
//!   start anew, which reads them again from the committed offset;
//! - on a node that is not first in line for the partition, a segment waits for the others (see `turn`), and nobody waits for it.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_segment::SegmentError;
use headwater_segment::clock::now_ms;
use headwater_segment::live::LiveTable;
use headwater_segment::log::{Change, Commit, Conflict, LogSnapshot};
use headwater_segment::maintain::garbage::is_upload_too_old;
use headwater_segment::mutable::MutableSegment;
use headwater_segment::resident::ResidentStore;
use headwater_segment::schema::TableSchema;
use headwater_segment::sealed::{self, EncodedSegment, SealRequest, SegmentMeta};
use headwater_segment::tasks::Task;
use headwater_segment::trace::TARGET;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload, WriteMultipart};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinError;
use tracing::Instrument;
use ulid::Ulid;

use super::dead_letters::DeadLetterTopic;
use super::partition::SealReply;
use super::provenance::{Provenance, is_recreated};
use crate::decide::SealReason;
use crate::error::{IngestError, Result};

mod turn;

use turn::Queue;
pub(crate) use turn::{Line, LogLook};

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// The same rows are likely to panic again, and to encode them is work.
const RETRY_PANICKED_MAX: Duration = Duration::from_secs(300);
/// Objects above this size go up in parts.
const MULTIPART_BYTES_MIN: usize = 16 << 20;

/// One segment to seal: everything in `[from, to)`.
pub(crate) struct SealJob {
    /// The stream epoch that the offsets belong to.
    pub(crate) epoch: u32,
    pub(crate) segment: Arc<MutableSegment>,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) reason: SealReason,
    /// Since when the segment takes no more rows.
    pub(crate) handed_over: Instant,
    pub(crate) reply: Option<SealReply>,
    /// What is told of it; `None`: there is nothing to seal.
    pub(crate) task: Option<Task>,
}

impl SealJob {
    pub(crate) fn tell(&self, what: impl FnOnce(&Task)) {
        if let Some(task) = &self.task {
            what(task);
        }
    }
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
    pub(crate) topic: Arc<Provenance>,
    /// Encoding is CPU work; this bounds how many encode at once on the node.
    pub(crate) encode_permits: Arc<Semaphore>,
    pub(crate) residents: Arc<ResidentStore>,
    pub(crate) letters: Option<DeadLetterTopic>,
    /// What makes an object of rows.
    pub(crate) encode: Encode,
    /// Whose turn it is.
    pub(crate) line: Line,
}

/// [`sealed::encode`].
pub(crate) type Encode = fn(SealRequest<'_>) -> Result<EncodedSegment, SegmentError>;

/// What is left to write of a job, given what the log says is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remaining {
    Nothing,
    From(i64),
    /// The rows before the job are not committed, so its own cannot be, but they are all that queries have of them.
    Before,
}

fn remaining(job: &SealJob, snapshot: &LogSnapshot) -> Remaining {
    let committed = snapshot.committed(job.segment.partition());
    remaining_of((job.epoch, job.from, job.to), snapshot.stream.epoch, committed)
}

/// Pure: a range of one epoch against what the log says now. If the log stands before the range, what came before it was not
/// let in, or somebody has set the partition back; if it stands in another epoch, offsets count anew. The supervisor sees that,
/// too, and reads the partition again from the committed offset.
fn remaining_of((epoch, from, to): (u32, i64, i64), log_epoch: u32, committed: Option<i64>) -> Remaining {
    match committed {
        Some(committed) if epoch == log_epoch && (from..to).contains(&committed) => {
            Remaining::From(committed)
        }
        Some(committed) if epoch == log_epoch && committed < from => Remaining::Before,
        _ => Remaining::Nothing,
    }
}

/// How long to wait after the try that comes `retry` after one that failed with `error`.
fn next_retry(retry: Duration, error: &IngestError) -> Duration {
    let longest = match error {
        IngestError::SealPanicked { .. } => RETRY_PANICKED_MAX,
        _ => RETRY_MAX,
    };
    (retry * 2).min(longest)
}

impl Sealer {
    /// Seals jobs in order until the partition's consumer is gone and the queue is empty.
    pub(crate) async fn run(self, jobs: mpsc::UnboundedReceiver<SealJob>) {
        let mut queue = Queue::new(jobs);
        while let Some(job) = queue.next().await {
            let outcome = if self.wait_for_turn(&job, &mut queue).await {
                let started = Instant::now();
                // A trace of its own: what is sealed has come with many requests, or with none.
                let span = tracing::info_span!(
                    target: TARGET,
                    parent: None,
                    "seal",
                    table = self.live.name(),
                    partition = self.partition,
                    from = job.from,
                    to = job.to,
                );
                let outcome = self.seal(&job).instrument(span).await;
                metrics::histogram!("headwater_seal_seconds", "table" => self.live.name().to_string())
                    .record(started.elapsed());
                outcome
            } else {
                SealOutcome::Nothing
            };
            // What others have committed is not this node's work: the task is let go.
            if let Some(task) = job.task
                && outcome != SealOutcome::Nothing
            {
                task.advance(job.segment.visible_rows() as u64);
                task.done(None);
            }
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
            if job.from == job.to {
                return SealOutcome::Nothing;
            }
            let from = match remaining(job, &snapshot) {
                Remaining::From(from) => from,
                Remaining::Before => {
                    self.live.adopt(snapshot, None);
                    self.live.partition_progress(self.partition).can_seal();
                    return SealOutcome::Nothing;
                }
                Remaining::Nothing => {
                    // A write whose outcome was unknown may have been ours.
                    let ours = prepared.as_ref().and_then(|prepared| prepared.find_in(&snapshot));
                    self.live.adopt(snapshot, Some(&job.segment));
                    self.live.partition_progress(self.partition).can_seal();
                    return ours.unwrap_or(SealOutcome::Nothing);
                }
            };
            job.tell(Task::run);
            match self.attempt(job, from, &mut prepared).await {
                Ok((snapshot, outcome, to)) => {
                    // What is left is of a recreated topic, or may be: it goes when the topic is counted anew.
                    self.live.adopt(snapshot, (to == job.to).then_some(&job.segment));
                    let progress = self.live.partition_progress(self.partition);
                    progress.trouble_over();
                    progress.can_seal();
                    return outcome;
                }
                Err(IngestError::Segment(SegmentError::Fenced { committed, .. })) => {
                    tracing::warn!(
                        table = self.live.name(),
                        partition = self.partition,
                        from,
                        to = job.to,
                        committed,
                        "another process has committed this range; keeping what is past it"
                    );
                }
                Err(error @ IngestError::Segment(SegmentError::SpecChanged { .. })) => {
                    tracing::info!(table = self.live.name(), %error, "a seal came to nothing");
                    job.tell(|task| task.note(&error));
                    // In this way the node learns of the spec, if it has not heard of it; until the consumer starts anew, the
                    // rows can be queried as they are.
                    self.live.adopt(self.live.log().snapshot(), None);
                    return SealOutcome::Nothing;
                }
                Err(error) => {
                    if is_collected(&error) {
                        prepared = None;
                    }
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
                    let progress = self.live.partition_progress(self.partition);
                    match &error {
                        IngestError::SealPanicked { .. } => progress.cannot_seal(format!("seal: {error}")),
                        _ => progress.trouble(format!("seal: {error}")),
                    }
                    job.tell(|task| task.retry_in(retry, &error));
                    tokio::time::sleep(retry).await;
                    retry = next_retry(retry, &error);
                    if self.is_given_up(job) {
                        self.live.partition_progress(self.partition).can_seal();
                        return SealOutcome::Nothing;
                    }
                }
            }
        }
    }

    /// Encodes (once), uploads (once) and commits from `from` up to the end that it returns. Every step can be repeated.
    async fn attempt(
        &self,
        job: &SealJob,
        from: i64,
        prepared: &mut Option<Prepared>,
    ) -> Result<(Arc<LogSnapshot>, SealOutcome, i64)> {
        let to = self.known_end(job).await?;
        if to <= from {
            return Ok((self.live.log().snapshot(), SealOutcome::Nothing, to));
        }
        if let Some(letters) = &self.letters {
            letters.delivered().await;
        }
        if !prepared.as_ref().is_some_and(|prepared| prepared.is_good_for(from, to, now_ms())) {
            // An object of a range that somebody else has committed, or of long ago, stays where it is; no log entry names it.
            *prepared = Some(self.encode(job, from, to).await?);
        }
        let Some(ready) = prepared.as_mut() else {
            return Err(SegmentError::Refused("nothing prepared".into()).into());
        };
        self.upload(ready).await?;
        let snapshot = self.live.log().commit(&ready.commit(job)).await?;
        let outcome = match &ready.segment {
            Some(segment) => SealOutcome::Segment(Box::new(segment.meta.clone())),
            None => SealOutcome::OffsetOnly { to },
        };
        Ok((snapshot, outcome, to))
    }

    /// Up to where the job's offsets are known to be of the topic that the log names. Kafka is asked if nobody has asked
    /// since the last of them became visible.
    async fn known_end(&self, job: &SealJob) -> Result<i64> {
        let confirmed = || self.topic.confirmed(job.epoch, self.partition).unwrap_or(job.from).min(job.to);
        if confirmed() == job.to {
            return Ok(job.to);
        }
        let (topic, live) = (self.topic.clone(), self.live.clone());
        let asked = tokio::task::spawn_blocking(move || topic.look(&live)).await;
        match asked
            .map_err(|error| SegmentError::Refused(format!("asking for the topic panicked: {error}")))?
        {
            Ok(state) => {
                let logged = self.live.log().snapshot().stream.topic_id.clone();
                let recreated = is_recreated(logged.as_deref(), state.id.as_deref());
                Ok(if recreated { confirmed() } else { job.to })
            }
            // Deleted and not there again: what was read before is of that topic.
            Err(IngestError::NoSuchTopic(_)) => Ok(job.to),
            Err(error) => Err(error),
        }
    }

    async fn encode(&self, job: &SealJob, from: i64, to: i64) -> Result<Prepared> {
        let _permit = self.encode_permits.acquire().await;
        let (segment, live, partition) = (job.segment.clone(), self.live.clone(), self.partition);
        let (residents, encode) = (self.residents.clone(), self.encode);
        let work = move || -> Result<Prepared, SegmentError> {
            let id = Ulid::new();
            let letters: Vec<_> = segment
                .dead_letters()
                .into_iter()
                .filter(|letter| (from..to).contains(&letter.offset))
                .collect();
            let rows = segment.rows_below(from)..segment.rows_below(to);
            let schema = segment.schema().clone();
            let encoded = if rows.is_empty() {
                None
            } else {
                let all: Vec<usize> = (0..schema.columns().len()).collect();
                let rows = segment.batches(rows, &all).collect::<Result<Vec<_>, _>>()?;
                Some(encode(SealRequest {
                    schema: &schema,
                    table: live.name(),
                    partition,
                    from,
                    to,
                    id,
                    dead_letters: letters.len() as u64,
                    rows,
                    keep: residents.used(live.name(), &schema),
                })?)
            };
            let letters =
                if letters.is_empty() { None } else { Some(sealed::encode_dead_letters(&letters)?) };
            Ok(Prepared { id, from, to, at_ms: now_ms(), segment: encoded, letters, uploaded_at_ms: None })
        };
        let mut prepared =
            tokio::task::spawn_blocking(work).await.map_err(|error| self.panicked(from..to, error))??;
        if let Some(encoded) = &mut prepared.segment {
            self.make_resident(encoded, job.segment.schema().clone()).await;
        }
        Ok(prepared)
    }

    fn panicked(&self, offsets: Range<i64>, error: JoinError) -> IngestError {
        let panic = match error.try_into_panic() {
            Ok(panic) => panic_text(panic.as_ref()),
            Err(error) => error.to_string(),
        };
        IngestError::SealPanicked {
            table: self.live.name().to_string(),
            partition: self.partition,
            from: offsets.start,
            to: offsets.end,
            panic,
        }
    }

    /// Hands over the columns that queries have read, before the swap that makes queries look for them. The sweep finds those of a
    /// seal that comes to nothing.
    async fn make_resident(&self, encoded: &mut EncodedSegment, schema: Arc<TableSchema>) {
        let kept = std::mem::take(&mut encoded.kept);
        if kept.is_empty() {
            return;
        }
        let (residents, live, meta) = (self.residents.clone(), self.live.clone(), encoded.meta.clone());
        let id = meta.id;
        without_fail(self.live.name(), id, move || residents.adopt(live.name(), &schema, &meta, kept)).await;
    }

    async fn upload(&self, prepared: &mut Prepared) -> Result<(), SegmentError> {
        if prepared.uploaded_at_ms.is_some() {
            return Ok(());
        }
        let began_at_ms = now_ms();
        if let Some(letters) = &prepared.letters {
            let path = sealed::dead_letters_path(self.partition, prepared.from, prepared.to, prepared.id);
            put(&self.live, &path, letters.clone()).await?;
        }
        if let Some(segment) = &prepared.segment {
            put(&self.live, &segment.meta.path, segment.bytes.clone()).await?;
            metrics::counter!("headwater_sealed_bytes_total", "table" => self.live.name().to_string())
                .increment(segment.meta.size_bytes);
        }
        prepared.uploaded_at_ms = Some(began_at_ms);
        Ok(())
    }
}

/// What a panic said.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

/// Runs what a seal can do without: if it panics, its columns are loaded from the object later.
async fn without_fail(table: &str, segment: Ulid, work: impl FnOnce() + Send + 'static) {
    if let Err(error) = tokio::task::spawn_blocking(work).await {
        tracing::warn!(table, %segment, %error, "the columns of a sealed segment did not become resident; they are loaded when asked for");
    }
}

/// Uploads an object of a table; `relative` is its path under the table's root.
pub(crate) async fn put(live: &LiveTable, relative: &str, bytes: bytes::Bytes) -> Result<(), SegmentError> {
    let path = Path::from(format!("{}/{relative}", live.root()));
    let failed = |error| SegmentError::store(format!("table {}: upload {path}", live.name()), error);
    // The name carries a fresh ULID, so writing it again writes the same bytes.
    if bytes.len() < MULTIPART_BYTES_MIN {
        live.store().put(&path, PutPayload::from_bytes(bytes)).await.map_err(failed)?;
        return Ok(());
    }
    let upload = live.store().put_multipart(&path).await.map_err(failed)?;
    let mut writer = WriteMultipart::new(upload);
    writer.put(bytes);
    writer.finish().await.map_err(failed)?;
    Ok(())
}

/// A range that is encoded and perhaps uploaded.
struct Prepared {
    id: Ulid,
    from: i64,
    to: i64,
    at_ms: i64,
    segment: Option<EncodedSegment>,
    letters: Option<bytes::Bytes>,
    /// When the upload began, milliseconds since the epoch.
    uploaded_at_ms: Option<i64>,
}

/// Whether the log refuses an object because it was made too long ago.
fn is_collected(error: &IngestError) -> bool {
    matches!(error, IngestError::Segment(SegmentError::Conflict { conflict: Conflict::Collected { .. }, .. }))
}

impl Prepared {
    /// Whether this is the range that is wanted, and safe to commit.
    fn is_good_for(&self, from: i64, to: i64, now_ms: i64) -> bool {
        let is_too_old = self.uploaded_at_ms.is_some_and(|at| is_upload_too_old(at, now_ms));
        (self.from, self.to) == (from, to) && !is_too_old
    }

    fn commit(&self, job: &SealJob) -> Commit {
        let (epoch, partition) = (job.epoch, job.segment.partition());
        let change = match &self.segment {
            Some(segment) => Change::Segment {
                epoch,
                meta: Arc::new(segment.meta.clone()),
                schema: job.segment.schema().clone(),
            },
            None => Change::Offsets {
                epoch,
                schema: job.segment.schema().clone(),
                partition,
                from: self.from,
                to: self.to,
            },
        };
        Commit { id: self.id, at_ms: self.at_ms, change }
    }

    fn find_in(&self, snapshot: &LogSnapshot) -> Option<SealOutcome> {
        let found = snapshot.segments.iter().find(|meta| meta.id == self.id)?;
        Some(SealOutcome::Segment(Box::new(SegmentMeta::clone(found))))
    }
}

#[cfg(test)]
mod tests;
