//! One partition being consumed: its open segment, its position, and when it seals.
//!
//! Invariants:
//! - `next_offset` only grows; every offset below it is a row, a dead letter, or was skipped as a tombstone or as an
//!   offset that Kafka never delivers (compacted away, aborted, control record);
//! - what is appended becomes visible in `publish`, all at once, and never half a row;
//! - a seal opens the next segment at the same instant: consumption does not wait for the commit.

use std::sync::Arc;
use std::time::Instant;

use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::{BatchProgress, LiveTable, PartitionProgress};
use headwater_segment::mutable::{DeadLetter, MutableSegment, SegmentWriter};
use headwater_segment::schema::TableSchema;
use headwater_segment::spec::SealSpec;
use headwater_segment::tasks::{TaskKind, TaskSubject};
use tokio::sync::{mpsc, oneshot};

use super::dead_letters::DeadLetterTopic;
use super::headers::{HeaderView, headers_json};
use super::sealer::{SealJob, SealOutcome};
use crate::decide::{OpenState, SealReason, decide_seal};
use crate::decode::JsonDecoder;
use crate::error::Result;
use crate::kafka::stream::RawMessage;

/// Where a sealed-to-be segment's result goes.
pub(crate) type SealReply = oneshot::Sender<Result<SealOutcome>>;

pub(crate) struct PartitionIngest {
    partition: i32,
    epoch: u32,
    live: Arc<LiveTable>,
    schema: Arc<TableSchema>,
    budget: Arc<MemoryBudget>,
    progress: Arc<PartitionProgress>,
    letters: Option<DeadLetterTopic>,
    sealer: mpsc::UnboundedSender<SealJob>,
    writer: SegmentWriter,
    next_offset: i64,
    /// Since when the open segment holds anything, be it only an advanced offset.
    since: Option<Instant>,
    batch: BatchProgress,
    dirty: bool,
}

/// What a partition needs besides its number and offset.
pub(crate) struct PartitionParts {
    /// The stream epoch that the offsets belong to.
    pub(crate) epoch: u32,
    pub(crate) live: Arc<LiveTable>,
    pub(crate) budget: Arc<MemoryBudget>,
    pub(crate) letters: Option<DeadLetterTopic>,
    pub(crate) sealer: mpsc::UnboundedSender<SealJob>,
}

impl PartitionIngest {
    /// Opens the first segment of a partition at `offset`, in the place of anything that was open before. `schema` is that of
    /// the decoder which will fill it.
    pub(crate) fn open(partition: i32, offset: i64, schema: Arc<TableSchema>, parts: PartitionParts) -> Self {
        let PartitionParts { epoch, live, budget, letters, sealer } = parts;
        let (writer, segment) = MutableSegment::create(schema.clone(), partition, offset, budget.clone());
        live.restart_partition(segment);
        let progress = live.partition_progress(partition);
        Self {
            partition,
            epoch,
            live,
            schema,
            budget,
            progress,
            letters,
            sealer,
            writer,
            next_offset: offset,
            since: None,
            batch: BatchProgress::default(),
            dirty: false,
        }
    }

    pub(crate) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    pub(crate) fn progress(&self) -> &PartitionProgress {
        &self.progress
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.writer.bytes()
    }

    pub(crate) fn has_rows(&self) -> bool {
        self.writer.rows() > 0
    }

    /// Takes one message in. It becomes visible with the next [`publish`](Self::publish).
    pub(crate) fn append(&mut self, message: &RawMessage<'_>, decoder: &mut JsonDecoder) {
        if message.offset < self.next_offset {
            // Fetched before the partition was started anew at a later offset.
            return;
        }
        self.next_offset = message.offset + 1;
        self.dirty = true;
        let Some(payload) = message.payload else {
            self.batch.tombstones += 1;
            return;
        };
        let headers = HeaderView::new(message);
        match decoder.decode(payload, message.key, &headers, &mut self.writer) {
            Ok(()) => {
                let headers = headers_json(message);
                self.writer.finish_row(message.offset, message.timestamp_ms, message.key, headers.as_deref());
                self.batch.rows += 1;
                self.batch.newest_timestamp_ms = self.batch.newest_timestamp_ms.max(message.timestamp_ms);
            }
            Err(error) => {
                self.writer.abandon_row();
                self.dead_letter(message, payload, error.to_string());
            }
        }
    }

    fn dead_letter(&mut self, message: &RawMessage<'_>, payload: &[u8], reason: String) {
        self.batch.dead_letters += 1;
        tracing::debug!(
            table = self.live.name(),
            partition = self.partition,
            offset = message.offset,
            reason,
            "dead letter"
        );
        if let Some(topic) = &self.letters {
            topic.send(message, payload, &reason);
        }
        let (offset, timestamp_ms) = (message.offset, message.timestamp_ms);
        self.writer.dead_letter(DeadLetter::new(
            self.partition,
            offset,
            timestamp_ms,
            reason,
            payload,
            message.key,
        ));
    }

    /// Makes everything taken in so far visible. Returns whether there was anything.
    pub(crate) fn publish(&mut self) -> bool {
        if !self.dirty {
            return false;
        }
        self.dirty = false;
        self.since.get_or_insert_with(Instant::now);
        self.writer.publish(self.next_offset);
        self.progress.batch(std::mem::take(&mut self.batch));
        true
    }

    /// Seals if the thresholds call for it.
    pub(crate) fn seal_if_due(&mut self, spec: &SealSpec, now: Instant) {
        let open = OpenState {
            rows: self.writer.rows() as u64,
            bytes: self.writer.bytes(),
            age: self.since.map(|since| now.saturating_duration_since(since)),
        };
        if let Some(reason) = decide_seal(open, spec) {
            self.seal(reason, None);
        }
    }

    /// Hands the open segment to the sealer and opens the next one. With a `reply`, the sealer answers even if
    /// there is nothing to seal, after everything that was handed over before.
    pub(crate) fn seal(&mut self, reason: SealReason, reply: Option<SealReply>) {
        self.publish();
        let from = self.writer.segment().start_offset();
        if from == self.next_offset && reply.is_none() {
            return;
        }
        let sealing = self.writer.segment().clone();
        if from < self.next_offset {
            let (writer, segment) = MutableSegment::create(
                self.schema.clone(),
                self.partition,
                self.next_offset,
                self.budget.clone(),
            );
            self.live.open_segment(segment);
            self.writer = writer;
            self.since = None;
        }
        tracing::debug!(
            table = self.live.name(),
            partition = self.partition,
            from,
            to = self.next_offset,
            rows = sealing.visible_rows(),
            reason = reason.name(),
            "seal"
        );
        metrics::counter!("headwater_seals_total", "table" => self.live.name().to_string(), "reason" => reason.name())
            .increment(1);
        let task = (from < self.next_offset).then(|| {
            let what = format!("partition {}, offsets {from} to {}", self.partition, self.next_offset);
            let subject = TaskSubject { what, unit: "rows", total: Some(sealing.visible_rows() as u64) };
            self.live.tasks().enqueue(TaskKind::Seal, subject)
        });
        // The sealer ends only after its partition; a failed send means the process is going down, and the rows are
        // still in Kafka.
        let _ = self.sealer.send(SealJob {
            epoch: self.epoch,
            segment: sealing,
            from,
            to: self.next_offset,
            reason,
            handed_over: Instant::now(),
            reply,
            task,
        });
    }
}
