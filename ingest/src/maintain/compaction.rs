//! Compaction: reads neighbouring small segments, writes one, and commits it in their place; one job at a time.
//!
//! Queries on older versions go on reading the old objects until a collector deletes them. Whatever fails leaves the table as it
//! is; an object that was uploaded for nothing is left to the collector too, because an entry may yet name it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_segment::SegmentError;
use headwater_segment::live::LiveTable;
use headwater_segment::log::LogSnapshot;
use headwater_segment::maintain::{
    CompactionJob, CompactionLimits, MergeError, MergeRequest, merge, next_compaction,
};
use headwater_segment::sealed::{EncodedSegment, SegmentMeta};
use headwater_segment::tasks::{Task, TaskKind, TaskSubject};
use object_store::ObjectStoreExt;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use ulid::Ulid;

use crate::consume::{idle_encoder, put};

/// Most bytes of objects that a job reads, all of which it holds.
const BYTES_MAX: u64 = 128 << 20;
/// Fewer neighbours are not worth an object.
const SEGMENTS_MIN: usize = 4;
const RETRY_FIRST: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(3600);

/// A merged segment has at most the rows at which the table seals, so that a job needs no more memory than a seal.
fn limits(snapshot: &LogSnapshot) -> CompactionLimits {
    CompactionLimits {
        segments_min: SEGMENTS_MIN,
        bytes_max: BYTES_MAX,
        rows_max: snapshot.spec.seal.rows_max,
    }
}

/// Segments that could not be compacted, and when each is tried again.
#[derive(Default)]
pub(super) struct Postponed {
    by_segment: HashMap<Ulid, (u32, Instant)>,
}

impl Postponed {
    fn is_held(&self, segment: Ulid, now: Instant) -> bool {
        self.by_segment.get(&segment).is_some_and(|(_, until)| *until > now)
    }

    /// Puts segments off: twice as long every time, up to an hour. Returns for how long the one that failed most.
    fn postpone(&mut self, segments: &[Ulid], now: Instant) -> Duration {
        let mut longest = RETRY_FIRST;
        for segment in segments {
            let (tries, until) = self.by_segment.entry(*segment).or_insert((0, now));
            let wait = RETRY_FIRST.saturating_mul(2_u32.saturating_pow(*tries)).min(RETRY_MAX);
            *tries = tries.saturating_add(1);
            *until = now.checked_add(wait).unwrap_or(now);
            longest = longest.max(wait);
        }
        longest
    }

    fn keep_only(&mut self, segments: &HashSet<Ulid>) {
        self.by_segment.retain(|segment, _| segments.contains(segment));
    }
}

/// What failed, and the segments that are to be left alone for a while.
struct Failed {
    error: SegmentError,
    culprits: Vec<Ulid>,
}

/// A job, and the version of the table that it was planned on.
pub(super) struct Planned {
    snapshot: Arc<LogSnapshot>,
    job: CompactionJob,
}

pub(super) struct Compactor {
    pub(super) live: Arc<LiveTable>,
    pub(super) encode_permits: Arc<Semaphore>,
    pub(super) postponed: Arc<Mutex<Postponed>>,
}

impl Compactor {
    /// What there is to compact now, if anything.
    pub(super) fn first(&self) -> Option<Planned> {
        let present = self.live.snapshot().segments.iter().map(|segment| segment.id).collect();
        self.postponed.lock().keep_only(&present);
        self.next()
    }

    fn next(&self) -> Option<Planned> {
        let (snapshot, postponed, now) = (self.live.snapshot(), self.postponed.lock(), Instant::now());
        let is_held = |segment: &SegmentMeta| postponed.is_held(segment.id, now);
        let job = next_compaction(&snapshot, &limits(&snapshot), is_held)?;
        Some(Planned { snapshot, job })
    }

    /// Runs jobs, `first` to begin with, until there is none, or the log has moved on under one.
    pub(super) async fn run(self, first: Planned) {
        let mut next = Some(first);
        while let Some(Planned { snapshot, job }) = next {
            let started = Instant::now();
            let task = self.live.tasks().begin(TaskKind::Compaction, subject_of(&job));
            let outcome = match self.compact(&snapshot, &job, &task).await {
                Ok(new) => {
                    task.done(None);
                    self.report(&job, &new, started.elapsed());
                    "done"
                }
                Err(Failed { error: error @ SegmentError::Conflict { .. }, .. }) => {
                    tracing::info!(table = self.live.name(), segments = names(&job.segments), %error, "a compaction came to nothing");
                    task.failed(&error, None);
                    "conflict"
                }
                Err(Failed { error, culprits }) => {
                    let wait = self.postponed.lock().postpone(&culprits, Instant::now());
                    tracing::warn!(
                        table = self.live.name(),
                        segments = names(&job.segments),
                        %error,
                        retry_s = wait.as_secs(),
                        "segments could not be compacted; they stay as they are"
                    );
                    task.failed(&error, Some(wait));
                    "failed"
                }
            };
            let labels = [("table", self.live.name().to_string()), ("outcome", outcome.to_string())];
            metrics::counter!("headwater_compactions_total", &labels).increment(1);
            if outcome == "conflict" {
                // What the log said on the way is news. The rest can wait for the next sweep.
                self.live.adopt(self.live.log().snapshot(), None);
                return;
            }
            next = self.next();
        }
    }

    fn report(&self, job: &CompactionJob, new: &SegmentMeta, took: Duration) {
        let table = self.live.name();
        let bytes: u64 = job.segments.iter().map(|segment| segment.size_bytes).sum();
        tracing::info!(
            table,
            partition = new.partition,
            from = new.from,
            to = new.to,
            segments = names(&job.segments),
            segment = %new.id,
            rows = new.rows,
            bytes_before = bytes,
            bytes = new.size_bytes,
            took_ms = took.as_millis() as u64,
            "segments were compacted"
        );
        let label = || ("table", table.to_string());
        metrics::counter!("headwater_compacted_segments_total", &[label()])
            .increment(job.segments.len() as u64);
        metrics::counter!("headwater_compacted_bytes_total", &[label()]).increment(bytes);
        metrics::histogram!("headwater_compaction_seconds", &[label()]).record(took);
    }

    async fn compact(
        &self,
        snapshot: &LogSnapshot,
        job: &CompactionJob,
        task: &Task,
    ) -> Result<SegmentMeta, Failed> {
        let all: Vec<Ulid> = job.segments.iter().map(|segment| segment.id).collect();
        let of_all = |error| Failed { error, culprits: all.clone() };
        // Not kept while the objects come: those who seal would wait for the store.
        drop(idle_encoder(&self.encode_permits).await);
        let mut sources = Vec::with_capacity(job.segments.len());
        for segment in &job.segments {
            sources.push(self.read(segment.clone()).await?);
            task.advance(1);
        }
        let merged = self.merge(snapshot, sources).await;
        let EncodedSegment { bytes, meta, .. } = merged.map_err(|MergeError { error, segment }| {
            // A damaged segment must not hold up its neighbours.
            let culprits = segment.map_or_else(|| all.clone(), |segment| vec![segment]);
            Failed { error: *error, culprits }
        })?;
        put(&self.live, &meta.path, bytes).await.map_err(of_all)?;
        let (new, schema) = (Arc::new(meta.clone()), snapshot.schema.clone());
        let committed = self.live.log().compact(job.epoch, all.clone(), new, schema).await.map_err(of_all)?;
        self.live.adopt(committed, None);
        Ok(meta)
    }

    async fn read(&self, segment: Arc<SegmentMeta>) -> Result<(Arc<SegmentMeta>, bytes::Bytes), Failed> {
        let location = segment.location(self.live.root());
        let read = async { self.live.store().get(&location).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok((segment, bytes)),
            Err(error) => Err(Failed {
                error: SegmentError::store(format!("reading segment {location}"), error),
                culprits: vec![segment.id],
            }),
        }
    }

    async fn merge(
        &self,
        snapshot: &LogSnapshot,
        sources: Vec<(Arc<SegmentMeta>, bytes::Bytes)>,
    ) -> Result<EncodedSegment, MergeError> {
        let (live, schema) = (self.live.clone(), snapshot.schema.clone());
        let permit = idle_encoder(&self.encode_permits).await;
        let work =
            move || merge(MergeRequest { schema: &schema, table: live.name(), sources, id: Ulid::new() });
        let merged = tokio::task::spawn_blocking(work).await;
        drop(permit);
        let panicked = |error| SegmentError::Refused(format!("merging segments panicked: {error}"));
        merged.map_err(|error| MergeError::from(panicked(error)))?
    }
}

/// Progress counts the segments that were read, which is what takes the time.
fn subject_of(job: &CompactionJob) -> TaskSubject {
    let what = match (job.segments.first(), job.segments.last()) {
        (Some(first), Some(last)) => {
            format!("partition {}, offsets {} to {}", first.partition, first.from, last.to)
        }
        _ => String::new(),
    };
    TaskSubject { what, unit: "segments", total: Some(job.segments.len() as u64) }
}

/// For a log line.
fn names(segments: &[Arc<SegmentMeta>]) -> String {
    segments.iter().map(|segment| segment.id.to_string()).collect::<Vec<_>>().join(",")
}
