//! The supervisor of one table: finds the topic's partitions, decides where each starts, hands them to workers, and
//! watches for new partitions, gaps, a recreated topic and what other processes commit.
//!
//! It runs on a thread of its own, because librdkafka's questions block. Every decision is in [`crate::decide`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::{LiveTable, PartitionStage};
use headwater_segment::log::{Change, Commit, GapReason, LogSnapshot};
use headwater_segment::schema::ColumnType;
use headwater_segment::sealed::{SegmentMeta, StatValue};
use headwater_segment::spec::{DeadLetterTarget, OnGap, StartPosition};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use ulid::Ulid;

use super::dead_letters::DeadLetterTopic;
use super::partition::{PartitionParts, SealReply};
use super::sealer::{SealJob, Sealer};
use super::worker::{Command, Worker};
use crate::decide::{PartitionFacts, StartDecision, decide_start};
use crate::error::{IngestError, Result};
use crate::kafka::stream::PartitionStream;
use crate::kafka::topic::{TopicClient, TopicState};

const LOOK_EVERY: Duration = Duration::from_secs(2);
const REFRESH_LOG_EVERY: Duration = Duration::from_secs(5);
const RETENTION_EVERY: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What the supervisor is asked.
pub(crate) enum Request {
    /// A worker cannot go on with a partition.
    Lost { partition: i32 },
    /// Stop fetching.
    Pause { partition: Option<i32>, reply: oneshot::Sender<Result<()>> },
    /// Go on; also a partition that failed is tried again.
    Resume { partition: Option<i32>, reply: oneshot::Sender<Result<()>> },
    /// Seal now; one reply per partition.
    Seal {
        partition: Option<i32>,
        reply: oneshot::Sender<Result<Vec<oneshot::Receiver<Result<super::SealOutcome>>>>>,
    },
    /// End; with `seal`, seal everything first. Answers when all commits are done (or at once without `seal`).
    Stop { seal: bool, reply: oneshot::Sender<()> },
}

/// What a supervisor needs.
pub(crate) struct SupervisorParts {
    pub(crate) live: Arc<LiveTable>,
    pub(crate) budget: Arc<MemoryBudget>,
    pub(crate) encode_permits: Arc<Semaphore>,
    pub(crate) runtime: Handle,
    pub(crate) workers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Running {
    Fetching,
    Paused,
    Failed,
}

pub(crate) struct Supervisor {
    parts: SupervisorParts,
    requests: UnboundedReceiver<Request>,
    to_self: UnboundedSender<Request>,
    letters: Option<DeadLetterTopic>,
    workers: Vec<Sender<Command>>,
    threads: Vec<std::thread::JoinHandle<()>>,
    sealers: BTreeMap<i32, (UnboundedSender<SealJob>, JoinHandle<()>)>,
    running: BTreeMap<i32, Running>,
    /// The stream epoch that the running partitions were started in.
    epoch: u32,
    paused: bool,
    topic: Option<TopicClient>,
}

impl Supervisor {
    pub(crate) fn new(parts: SupervisorParts) -> (Self, UnboundedSender<Request>) {
        let (to_self, requests) = mpsc::unbounded_channel();
        let supervisor = Self {
            parts,
            requests,
            to_self: to_self.clone(),
            letters: None,
            workers: Vec::new(),
            threads: Vec::new(),
            sealers: BTreeMap::new(),
            running: BTreeMap::new(),
            epoch: 0,
            paused: false,
            topic: None,
        };
        (supervisor, to_self)
    }

    /// Checks the stream's properties and connects; no broker is needed for that.
    pub(crate) fn connect(&mut self) -> Result<()> {
        let spec = self.parts.live.spec();
        if let DeadLetterTarget::Topic(topic) = &spec.dead_letters {
            self.letters = Some(DeadLetterTopic::connect(&spec.stream, topic)?);
        }
        self.topic = Some(TopicClient::connect(&spec.stream)?);
        for index in 0..self.parts.workers.max(1) {
            let stream = PartitionStream::connect(&spec.stream)?;
            let (sender, commands) = std::sync::mpsc::channel();
            let worker = Worker::new(
                self.parts.live.clone(),
                stream,
                self.parts.budget.clone(),
                commands,
                self.to_self.clone(),
            );
            let name = format!("hw-in-{}-{index}", spec.name);
            let thread = std::thread::Builder::new()
                .name(name)
                .spawn(move || worker.run())
                .map_err(|error| IngestError::kafka(format!("table {}: start a thread", spec.name), error))?;
            self.workers.push(sender);
            self.threads.push(thread);
        }
        Ok(())
    }

    /// Runs until told to stop.
    pub(crate) fn run(mut self) {
        let (mut looked, mut refreshed, mut swept) = (None::<Instant>, Instant::now(), Instant::now());
        let mut retry = Duration::from_millis(100);
        loop {
            let wait = looked.map_or(Duration::ZERO, |at| LOOK_EVERY.saturating_sub(at.elapsed()));
            let runtime = self.parts.runtime.clone();
            let request = runtime.block_on(async { tokio::time::timeout(wait, self.requests.recv()).await });
            match request {
                Ok(Some(Request::Stop { seal, reply })) => return self.stop(seal, reply),
                Ok(Some(request)) => self.handle(request),
                Ok(None) => return self.stop(false, oneshot::channel().0),
                Err(_elapsed) => {
                    looked = Some(Instant::now());
                    match self.look() {
                        Ok(()) => {
                            retry = Duration::from_millis(100);
                            self.trouble_over();
                        }
                        Err(error) => {
                            self.trouble(&error);
                            // Look again sooner than usual at first, then ever later.
                            looked = Instant::now().checked_sub(LOOK_EVERY.saturating_sub(retry));
                            retry = (retry * 2).min(RETRY_MAX);
                        }
                    }
                }
            }
            if refreshed.elapsed() >= REFRESH_LOG_EVERY {
                refreshed = Instant::now();
                self.refresh_log();
            }
            if swept.elapsed() >= RETENTION_EVERY {
                swept = Instant::now();
                self.sweep_expired();
            }
        }
    }

    fn handle(&mut self, request: Request) {
        match request {
            Request::Lost { partition } => {
                self.running.remove(&partition);
            }
            Request::Pause { partition, reply } => {
                let answer = self.set_paused(partition, true);
                let _ = reply.send(answer);
            }
            Request::Resume { partition, reply } => {
                let answer = self.set_paused(partition, false);
                let _ = reply.send(answer);
            }
            Request::Seal { partition, reply } => {
                let answer = self.seal(partition);
                let _ = reply.send(answer);
            }
            Request::Stop { .. } => {}
        }
    }

    /// Asks Kafka what there is and starts every partition that does not run.
    fn look(&mut self) -> Result<()> {
        let Some(topic) = &self.topic else { return Ok(()) };
        let state = topic.describe()?;
        let snapshot = self.parts.live.snapshot();
        let recreated =
            snapshot.stream.topic_id.is_some() && state.id.is_some() && snapshot.stream.topic_id != state.id;
        if recreated {
            if snapshot.spec.stream.on_gap == OnGap::Fail {
                self.fail_recreated(&state);
                return Ok(());
            }
            self.count_anew(topic, &state)?;
        }
        self.restart_after_new_epoch();
        self.restart_set_back();
        let idle: Vec<i32> = state
            .partitions
            .iter()
            .copied()
            .filter(|partition| !self.running.contains_key(partition))
            .collect();
        if idle.is_empty() {
            return Ok(());
        }
        let first_starts = match &self.topic {
            Some(topic) => self.first_starts(topic, &state, &idle)?,
            None => return Ok(()),
        };
        for partition in idle {
            self.start(partition, first_starts.get(&partition).copied())?;
        }
        Ok(())
    }

    fn fail_recreated(&mut self, state: &TopicState) {
        for partition in &state.partitions {
            if self.running.insert(*partition, Running::Failed) == Some(Running::Failed) {
                continue;
            }
            let message = "the topic was deleted and created again; its offsets have nothing to do with the committed ones. Set \
                           stream.on_gap: skip in the spec to record that and read the new topic from its beginning, then \
                           resume the table";
            tracing::error!(table = self.parts.live.name(), partition, "{message}");
            self.command(
                *partition,
                Command::Pause { partition: *partition, stage: PartitionStage::Starting },
            );
            self.parts.live.partition_progress(*partition).failed(message);
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
                self.command(partition, Command::Pause { partition, stage: PartitionStage::Starting });
            }
            self.epoch = epoch;
        }
    }

    /// A partition whose open rows begin past the committed offset was set back by somebody: it starts again.
    fn restart_set_back(&mut self) {
        let snapshot = self.parts.live.snapshot();
        let set_back: Vec<i32> = self
            .running
            .keys()
            .copied()
            .filter(|partition| {
                let oldest =
                    self.parts.live.segments(*partition).first().map(|segment| segment.start_offset());
                oldest
                    .zip(snapshot.committed(*partition))
                    .is_some_and(|(oldest, committed)| oldest > committed)
            })
            .collect();
        for partition in set_back {
            tracing::warn!(
                table = self.parts.live.name(),
                partition,
                "the committed offset was set back; starting again"
            );
            self.command(partition, Command::Pause { partition, stage: PartitionStage::Starting });
            self.running.remove(&partition);
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
        let Some(topic) = &self.topic else { return Ok(()) };
        let epoch = snapshot.stream.epoch;
        let facts = PartitionFacts {
            committed: snapshot.committed(partition),
            first_start: first_start.unwrap_or_default(),
            marks: topic.watermarks(partition)?,
            on_gap: snapshot.spec.stream.on_gap,
        };
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
                self.running.insert(partition, Running::Failed);
                return Ok(());
            }
        };
        let parts = PartitionParts {
            epoch,
            live: self.parts.live.clone(),
            schema: self.parts.live.schema(),
            budget: self.parts.budget.clone(),
            letters: self.letters.clone(),
            sealer: self.sealer(partition),
        };
        tracing::info!(table = self.parts.live.name(), partition, offset, "consuming");
        self.command(partition, Command::Start { partition, offset, parts });
        if self.paused {
            self.command(partition, Command::Pause { partition, stage: PartitionStage::Paused });
            self.running.insert(partition, Running::Paused);
        } else {
            self.running.insert(partition, Running::Fetching);
        }
        Ok(())
    }

    fn report_gap(&self, partition: i32, from: i64, to: i64, reason: GapReason) {
        tracing::warn!(table = self.parts.live.name(), partition, from, to, reason = reason.name(), "gap");
        let table = self.parts.live.name().to_string();
        metrics::counter!("headwater_gaps_total", "table" => table, "reason" => reason.name()).increment(1);
    }

    /// Commits a change. Fenced means that another process did it first; the next look sees what it did.
    fn commit(&self, change: Change) -> Result<()> {
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

    fn sealer(&mut self, partition: i32) -> UnboundedSender<SealJob> {
        let (parts, letters) = (&self.parts, &self.letters);
        let (sender, _task) = self.sealers.entry(partition).or_insert_with(|| {
            let (sender, jobs) = mpsc::unbounded_channel();
            let sealer = Sealer {
                live: parts.live.clone(),
                partition,
                encode_permits: parts.encode_permits.clone(),
                letters: letters.clone(),
            };
            (sender, parts.runtime.spawn(sealer.run(jobs)))
        });
        sender.clone()
    }

    fn command(&self, partition: i32, command: Command) {
        if let Some(worker) = self.workers.get(partition as usize % self.workers.len().max(1)) {
            // A worker ends only when the supervisor does.
            let _ = worker.send(command);
        }
    }

    fn chosen(&self, partition: Option<i32>) -> Result<Vec<i32>> {
        let known: BTreeSet<i32> =
            self.running.keys().chain(self.parts.live.snapshot().stream.partitions.keys()).copied().collect();
        match partition {
            None => Ok(known.into_iter().collect()),
            Some(partition) if known.contains(&partition) => Ok(vec![partition]),
            Some(partition) => {
                Err(IngestError::NoSuchPartition { table: self.parts.live.name().to_string(), partition })
            }
        }
    }

    fn set_paused(&mut self, partition: Option<i32>, pause: bool) -> Result<()> {
        let chosen = self.chosen(partition)?;
        if partition.is_none() {
            self.paused = pause;
        }
        for partition in chosen {
            match (pause, self.running.get(&partition)) {
                (true, Some(Running::Fetching)) => {
                    self.command(partition, Command::Pause { partition, stage: PartitionStage::Paused });
                    self.running.insert(partition, Running::Paused);
                }
                (false, Some(Running::Paused)) => {
                    self.command(partition, Command::Resume { partition });
                    self.running.insert(partition, Running::Fetching);
                }
                // Tried again at the next look, with the spec as it is then.
                (false, Some(Running::Failed)) => {
                    self.running.remove(&partition);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn seal(&self, partition: Option<i32>) -> Result<Vec<oneshot::Receiver<Result<super::SealOutcome>>>> {
        let chosen = self.chosen(partition)?;
        let waiting = chosen.into_iter().filter(|partition| self.sealers.contains_key(partition));
        Ok(waiting
            .map(|partition| {
                let (reply, answer): (SealReply, _) = oneshot::channel();
                self.command(partition, Command::Seal { partition, reply: Some(reply) });
                answer
            })
            .collect())
    }

    /// Looks at what other processes have committed.
    fn refresh_log(&self) {
        let live = self.parts.live.clone();
        match self.parts.runtime.block_on(async { live.log().refresh().await }) {
            Ok(snapshot) => self.parts.live.adopt(snapshot, None),
            Err(error) => {
                tracing::warn!(table = self.parts.live.name(), %error, "the table log could not be refreshed")
            }
        }
    }

    /// Removes sealed segments whose newest row is older than the table's retention.
    fn sweep_expired(&self) {
        let snapshot = self.parts.live.snapshot();
        let Some(retention) = snapshot.spec.retention else { return };
        let expired = expired_segments(&snapshot, now_ms().saturating_sub(retention.as_millis() as i64));
        if expired.is_empty() {
            return;
        }
        tracing::info!(
            table = self.parts.live.name(),
            segments = expired.len(),
            "retention removes segments"
        );
        if let Err(error) = self.commit(Change::Expire { segments: expired }) {
            tracing::warn!(table = self.parts.live.name(), %error, "retention will be tried again");
        }
    }

    fn trouble(&self, error: &IngestError) {
        tracing::warn!(table = self.parts.live.name(), %error, "the topic could not be looked at and will be tried again");
        let progress = self.parts.live.progress();
        for partition in progress.iter().map(|progress| progress.partition) {
            self.parts.live.partition_progress(partition).trouble(error.to_string());
        }
        self.parts.live.set_trouble(Some(error.to_string()));
    }

    fn trouble_over(&self) {
        if self.parts.live.trouble().is_none() {
            return;
        }
        tracing::info!(table = self.parts.live.name(), "the topic can be looked at again");
        self.parts.live.set_trouble(None);
        for partition in self.running.keys() {
            self.parts.live.partition_progress(*partition).trouble_over();
        }
    }

    fn stop(mut self, seal: bool, reply: oneshot::Sender<()>) {
        for worker in std::mem::take(&mut self.workers) {
            let _ = worker.send(Command::Stop { seal });
        }
        for thread in std::mem::take(&mut self.threads) {
            if thread.join().is_err() {
                tracing::error!(table = self.parts.live.name(), "a consumer thread panicked");
            }
        }
        let runtime = self.parts.runtime.clone();
        for (_partition, (jobs, task)) in std::mem::take(&mut self.sealers) {
            drop(jobs);
            if seal {
                let _ = runtime.block_on(task);
            } else {
                task.abort();
            }
        }
        if let Some(letters) = &self.letters {
            letters.flush();
        }
        let _ = reply.send(());
    }
}

/// Ids of segments whose newest row is older than `cutoff_ms`: by the time column, or else by `$timestamp`. A segment
/// without known times is judged by when it was sealed.
fn expired_segments(snapshot: &LogSnapshot, cutoff_ms: i64) -> Vec<Ulid> {
    let schema = &snapshot.schema;
    let column = schema.time_column().unwrap_or_else(|| schema.timestamp_column());
    let is_date = schema.columns()[column].data_type == ColumnType::Date;
    let newest_ms =
        |segment: &SegmentMeta| match segment.columns.get(column).and_then(|stats| stats.max.as_ref()) {
            Some(StatValue::Int(days)) if is_date => days.saturating_add(1).saturating_mul(86_400_000),
            Some(StatValue::Int(micros)) => micros / 1000,
            _ => segment.sealed_at_ms,
        };
    snapshot
        .segments
        .iter()
        .filter(|segment| newest_ms(segment) < cutoff_ms)
        .map(|segment| segment.id)
        .collect()
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as i64)
}
