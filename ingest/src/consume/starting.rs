//! The supervisor's look at the topic: which partitions there are, where each starts, and what the table log must
//! record before that. Every decision is in [`crate::decide`].

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_segment::SegmentError;
use headwater_segment::clock::now_ms;
use headwater_segment::live::PartitionStage;
use headwater_segment::log::{Change, Commit, GapReason};
use headwater_segment::spec::{OnGap, StartPosition};
use tokio::sync::oneshot::error::TryRecvError;
use ulid::Ulid;

use super::partition::PartitionParts;
use super::provenance::{Provenance, is_recreated};
use super::supervisor::{Running, Supervisor};
use super::worker::Command;
use crate::decide::{PartitionFacts, StartDecision, decide_start};
use crate::error::{IngestError, Result};
use crate::kafka::topic::{TopicClient, TopicState};
use crate::ownership::Rank;

/// Races that one look may lose. Each says that another process has got on with it, so this bounds nothing but a look's time.
const RACES_LOST_MAX: usize = 8;

impl Supervisor {
    /// Asks Kafka what there is and starts every partition that is this node's and does not run.
    ///
    /// Where a partition begins is recorded before it is read, and of several nodes that hear of a table at once one is the
    /// first to do so. To the others that is news and no trouble: they read it and go on from there.
    pub(super) fn look(&mut self) -> Result<()> {
        for _ in 0..RACES_LOST_MAX {
            match self.look_once() {
                Err(IngestError::Segment(SegmentError::Fenced { partition, committed, .. })) => {
                    tracing::info!(
                        table = self.parts.live.name(),
                        partition,
                        committed,
                        "another process was the first to record where to begin; going on from there"
                    );
                    self.refresh_log();
                }
                outcome => return outcome,
            }
        }
        self.look_once()
    }

    fn look_once(&mut self) -> Result<()> {
        let Some(topic) = self.topic.clone() else { return Ok(()) };
        // Should the look fail, it is tried again like any other.
        self.forget_postponed();
        if self.has_wanted() {
            // Others have committed since: what they have need not be read again.
            self.refresh_log();
        }
        let state = topic.look(&self.parts.live)?;
        self.leave_to_others(&state.partitions);
        let snapshot = self.parts.live.snapshot();
        if is_recreated(snapshot.stream.topic_id.as_deref(), state.id.as_deref()) {
            if !self.end_epoch() {
                return Ok(());
            }
            if snapshot.spec.stream.on_gap == OnGap::Fail {
                self.fail_recreated(&state);
                return Ok(());
            }
            self.count_anew(&topic.client, &state)?;
        }
        self.ending = None;
        self.restart_after_new_epoch();
        self.restart_set_back();
        self.follow_ends(&topic.client);
        let idle: Vec<i32> = state
            .partitions
            .iter()
            .copied()
            .filter(|partition| !self.running.contains_key(partition))
            .collect();
        if idle.is_empty() {
            return Ok(());
        }
        let first_starts = self.first_starts(&topic.client, &state, &idle)?;
        for partition in self.due(idle) {
            self.start(partition, first_starts.get(&partition).copied())?;
        }
        Ok(())
    }

    /// Asks where the partitions end that are not fetched: no fetch says so, and what waits there is to be seen.
    fn follow_ends(&self, topic: &TopicClient) {
        let is_held_back = self.parts.budget.is_short();
        let is_fetched = |running: &Running| *running == Running::Fetching && !is_held_back;
        let unfetched = self.running.iter().filter(|(_, running)| !is_fetched(running));
        let unfetched: Vec<i32> = unfetched.map(|(partition, _)| *partition).collect();
        if unfetched.is_empty() {
            return;
        }
        let ends = topic.ends(&unfetched).unwrap_or_else(|error| {
            tracing::debug!(table = self.parts.live.name(), %error, "the ends of what is not fetched are not known");
            BTreeMap::new()
        });
        for partition in unfetched {
            let progress = self.parts.live.partition_progress(partition);
            match ends.get(&partition) {
                Some(end) => progress.latest(*end),
                None => progress.forget_latest(),
            }
        }
    }

    /// Stops everything that reads the topic and seals what is known to be of the one that was deleted: Kafka does not have
    /// it any more. Returns whether that is done.
    fn end_epoch(&mut self) -> bool {
        if self.ending.is_none() {
            for partition in self.parts.live.snapshot().stream.partitions.keys().copied() {
                self.command(partition, Command::Pause { partition, stage: PartitionStage::Starting });
            }
            self.ending = self.seal(None).ok();
        }
        let Some(ending) = &mut self.ending else { return false };
        ending.retain_mut(|answer| matches!(answer.try_recv(), Err(TryRecvError::Empty)));
        ending.is_empty()
    }

    fn fail_recreated(&mut self, state: &TopicState) {
        for partition in &state.partitions {
            if self.rank(*partition) == Rank::None {
                continue;
            }
            self.holdings.hold(*partition);
            if self.running.insert(*partition, Running::Failed) == Some(Running::Failed) {
                continue;
            }
            let message = "the topic was deleted and created again; its offsets have nothing to do with the committed ones. Set \
                           stream.on_gap: skip in the spec to record that and read the new topic from its beginning, then \
                           resume the table";
            tracing::error!(table = self.parts.live.name(), partition, "{message}");
            // The worker obeys later: what it is told must not take the failure back.
            self.command(*partition, Command::Pause { partition: *partition, stage: PartitionStage::Failed });
            let progress = self.parts.live.partition_progress(*partition);
            progress.failed(message);
            progress.forget_latest();
        }
    }

    /// The topic is another one under the same name: every partition begins at its earliest offset.
    fn count_anew(&self, topic: &TopicClient, state: &TopicState) -> Result<()> {
        tracing::warn!(
            table = self.parts.live.name(),
            "the topic was deleted and created again; reading it from its beginning"
        );
        let mut starts = BTreeMap::new();
        for partition in &state.partitions {
            starts.insert(*partition, topic.watermarks(*partition)?.low);
        }
        let epoch = self.parts.live.snapshot().stream.epoch;
        self.commit(Change::TopicRecreated { epoch, starts, topic_id: state.id.clone() })
    }

    /// Offsets count anew, by this process or another: whatever runs was started in the old epoch.
    fn restart_after_new_epoch(&mut self) {
        let epoch = self.parts.live.snapshot().stream.epoch;
        if epoch != self.epoch {
            for partition in std::mem::take(&mut self.running).into_keys() {
                self.stop_for_restart(partition);
            }
            self.epoch = epoch;
        }
    }

    /// A partition whose open rows begin past the committed offset was set back by somebody: it starts again.
    fn restart_set_back(&mut self) {
        let live = &self.parts.live;
        let begins_late = |partition: &i32| {
            let oldest = live.segments(*partition).first().map(|segment| segment.start_offset());
            // Read after the segments: what is committed in between may only make it larger.
            let committed = live.snapshot().committed(*partition);
            oldest.zip(committed).is_some_and(|(oldest, committed)| oldest > committed)
        };
        let set_back: Vec<i32> = self.running.keys().copied().filter(begins_late).collect();
        for partition in set_back {
            tracing::warn!(
                table = self.parts.live.name(),
                partition,
                "the committed offset was set back; starting again"
            );
            self.stop_for_restart(partition);
        }
    }

    /// The spec's start policy counts on the table's very first start; partitions found later start at earliest.
    fn first_starts(
        &self,
        topic: &TopicClient,
        state: &TopicState,
        idle: &[i32],
    ) -> Result<BTreeMap<i32, i64>> {
        let snapshot = self.parts.live.snapshot();
        let new: Vec<i32> =
            idle.iter().copied().filter(|partition| snapshot.committed(*partition).is_none()).collect();
        if new.is_empty() {
            return Ok(BTreeMap::new());
        }
        let policy = if snapshot.stream.partitions.is_empty() {
            snapshot.spec.stream.start
        } else {
            StartPosition::Earliest
        };
        let mut starts = BTreeMap::new();
        match policy {
            StartPosition::Timestamp(timestamp_ms) => starts = topic.offsets_for_time(&new, timestamp_ms)?,
            StartPosition::Earliest | StartPosition::Latest => {
                for partition in new {
                    let marks = topic.watermarks(partition)?;
                    let offset = if policy == StartPosition::Earliest { marks.low } else { marks.high };
                    starts.insert(partition, offset);
                }
            }
        }
        // One entry for all, so that a crash in between cannot make the rest look like partitions found later.
        let epoch = snapshot.stream.epoch;
        self.commit(Change::FirstStart { epoch, starts: starts.clone(), topic_id: state.id.clone() })?;
        Ok(starts)
    }

    fn start(&mut self, partition: i32, first_start: Option<i64>) -> Result<()> {
        let snapshot = self.parts.live.snapshot();
        let Some(topic) = self.topic.clone() else { return Ok(()) };
        let epoch = snapshot.stream.epoch;
        let facts = PartitionFacts {
            committed: snapshot.committed(partition),
            first_start: first_start.unwrap_or_default(),
            marks: topic.client.watermarks(partition)?,
            on_gap: snapshot.spec.stream.on_gap,
        };
        self.parts.live.partition_progress(partition).latest(facts.marks.high);
        let offset = match decide_start(facts) {
            StartDecision::Resume(offset) | StartDecision::FirstStart(offset) => offset,
            StartDecision::RecordGap { from, to, reason } => {
                self.report_gap(partition, from, to, reason);
                self.commit(Change::Gap { epoch, partition, from, to, reason })?;
                to
            }
            StartDecision::CountAnew { to } => {
                self.report_gap(partition, facts.committed.unwrap_or(to), to, GapReason::Truncated);
                let present = &snapshot.stream.partitions;
                let mut starts: BTreeMap<i32, i64> =
                    present.iter().map(|(partition, state)| (*partition, state.committed)).collect();
                starts.insert(partition, to);
                let topic_id = snapshot.stream.topic_id.clone();
                // The next look starts every partition in the new epoch.
                return self.commit(Change::TopicRecreated { epoch, starts, topic_id });
            }
            StartDecision::Fail { from, to, reason } => {
                let message = format!(
                    "offsets {from} up to {to} of partition {partition} are gone ({}); set stream.on_gap: skip in the spec \
                     to record the gap and go on, then resume the table",
                    reason.name()
                );
                tracing::error!(table = self.parts.live.name(), partition, "{message}");
                self.parts.live.partition_progress(partition).failed(message);
                self.holdings.hold(partition);
                self.running.insert(partition, Running::Failed);
                return Ok(());
            }
        };
        self.begin(partition, offset, epoch, &topic);
        Ok(())
    }

    /// Has a partition consumed from an offset.
    pub(super) fn begin(&mut self, partition: i32, offset: i64, epoch: u32, topic: &Arc<Provenance>) {
        self.holdings.hold(partition);
        let parts = PartitionParts {
            epoch,
            live: self.parts.live.clone(),
            budget: self.parts.budget.clone(),
            letters: self.letters.clone(),
            sealer: self.sealer(partition, topic),
        };
        tracing::info!(table = self.parts.live.name(), partition, offset, "consuming");
        self.command(partition, Command::Start { partition, offset, parts });
        if self.paused {
            self.command(partition, Command::Pause { partition, stage: PartitionStage::Paused });
            self.running.insert(partition, Running::Paused);
        } else {
            self.running.insert(partition, Running::Fetching);
        }
    }

    fn report_gap(&self, partition: i32, from: i64, to: i64, reason: GapReason) {
        tracing::warn!(table = self.parts.live.name(), partition, from, to, reason = reason.name(), "gap");
        let table = self.parts.live.name().to_string();
        metrics::counter!("headwater_gaps_total", "table" => table, "reason" => reason.name()).increment(1);
    }

    /// Commits a change. Fenced means that another process did it first; [`look`](Self::look) goes on with what that did.
    pub(super) fn commit(&self, change: Change) -> Result<()> {
        let live = self.parts.live.clone();
        let commit = Commit { id: Ulid::new(), at_ms: now_ms(), change };
        let committed = self.parts.runtime.block_on(async { live.log().commit(&commit).await });
        match committed {
            Ok(snapshot) => self.parts.live.adopt(snapshot, None),
            Err(error) => {
                self.parts.live.adopt(self.parts.live.log().snapshot(), None);
                return Err(error.into());
            }
        }
        Ok(())
    }
}
