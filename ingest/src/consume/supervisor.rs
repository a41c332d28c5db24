//! The supervisor of one table: finds the topic's partitions, decides where each starts, hands them to workers, and
//! watches for new partitions, gaps, a recreated topic and what other processes commit.
//!
//! It runs on a thread of its own, because librdkafka's questions block. Here is its loop and what it is asked; where
//! partitions start is in `starting`, which of them are this node's in `holdings`, what the table's retention removes in
//! `retention`, what is indexed anew in `rebuild`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::{LiveTable, PartitionStage};
use headwater_segment::log::Change;
use headwater_segment::resident::ResidentStore;
use headwater_segment::sealed;
use headwater_segment::spec::DeadLetterTarget;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use super::dead_letters::DeadLetterTopic;
use super::holdings::Holdings;
use super::partition::SealReply;
use super::provenance::Provenance;
use super::rebuild::Failures;
use super::sealer::{Line, LogLook, SealJob, Sealer};
use super::worker::{Command, Worker};
use crate::decide::STANDBY_WAIT;
use crate::error::{IngestError, Result};
use crate::kafka::stream::PartitionStream;
use crate::kafka::topic::TopicClient;
use crate::maintain::Maintenance;
use crate::ownership::Ownership;

const LOOK_EVERY: Duration = Duration::from_secs(2);
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
const REFRESH_LOG_EVERY: Duration = Duration::from_secs(5);
/// How often background work is looked for.
pub(super) const SWEEP_EVERY: Duration = Duration::from_secs(60);
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
    pub(crate) residents: Arc<ResidentStore>,
    pub(crate) runtime: Handle,
    pub(crate) workers: usize,
    pub(crate) ownership: Arc<dyn Ownership>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Running {
    Fetching,
    Paused,
    Failed,
}

pub(crate) struct Supervisor {
    pub(super) parts: SupervisorParts,
    requests: UnboundedReceiver<Request>,
    to_self: UnboundedSender<Request>,
    pub(super) letters: Option<DeadLetterTopic>,
    workers: Vec<Sender<Command>>,
    threads: Vec<std::thread::JoinHandle<()>>,
    sealers: BTreeMap<i32, (UnboundedSender<SealJob>, JoinHandle<()>)>,
    pub(super) running: BTreeMap<i32, Running>,
    /// The stream epoch that the running partitions were started in.
    pub(super) epoch: u32,
    pub(super) paused: bool,
    pub(super) topic: Option<Arc<Provenance>>,
    /// Seals of the epoch that ends, while its topic is another one already.
    pub(super) ending: Option<Vec<oneshot::Receiver<Result<super::SealOutcome>>>>,
    /// Writes segments anew after a change of the spec's indexes.
    pub(super) rebuilding: Option<JoinHandle<()>>,
    /// What it could not write anew.
    pub(super) rebuild_failures: Arc<Mutex<Failures>>,
    /// Compacts segments and deletes garbage.
    maintenance: Maintenance,
    /// What is consumed here and what elsewhere.
    pub(super) holdings: Holdings,
    log_look: Arc<LogLook>,
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
            ending: None,
            rebuilding: None,
            rebuild_failures: Arc::default(),
            maintenance: Maintenance::default(),
            holdings: Holdings::default(),
            log_look: Arc::default(),
        };
        (supervisor, to_self)
    }

    /// Checks the stream's properties and connects; no broker is needed for that.
    pub(crate) fn connect(&mut self) -> Result<()> {
        let spec = self.parts.live.spec();
        if let DeadLetterTarget::Topic(topic) = &spec.dead_letters {
            self.letters = Some(DeadLetterTopic::connect(&spec.stream, topic)?);
        }
        self.topic = Some(Arc::new(Provenance::new(TopicClient::connect(&spec.stream)?)));
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
        self.paused = self.parts.live.snapshot().stream.paused;
        let (mut looked, mut followed) = (None::<Instant>, Instant::now());
        let (mut refreshed, mut swept) = (Instant::now(), Instant::now());
        let mut retry = Duration::from_millis(100);
        loop {
            let look_in = looked.map_or(Duration::ZERO, |at| LOOK_EVERY.saturating_sub(at.elapsed()));
            let wait = look_in.min(FOLLOW_EVERY.saturating_sub(followed.elapsed()));
            let runtime = self.parts.runtime.clone();
            let request = runtime.block_on(async { tokio::time::timeout(wait, self.requests.recv()).await });
            match request {
                Ok(Some(Request::Stop { seal, reply })) => return self.stop(seal, reply),
                Ok(Some(request)) => self.handle(request),
                Ok(None) => return self.stop(false, oneshot::channel().0),
                Err(_elapsed) if wait < look_in => {}
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
            if followed.elapsed() >= FOLLOW_EVERY {
                followed = Instant::now();
                if self.follow_ownership(followed) {
                    looked = None;
                }
            }
            if refreshed.elapsed() >= REFRESH_LOG_EVERY {
                refreshed = Instant::now();
                self.refresh_log();
            }
            if swept.elapsed() >= SWEEP_EVERY {
                swept = Instant::now();
                if self.runs_jobs() {
                    self.sweep_expired();
                    self.sweep_indexes();
                    self.maintenance.sweep(&self.parts);
                }
            }
        }
    }

    fn handle(&mut self, request: Request) {
        match request {
            Request::Lost { partition } => {
                // A pause, or a failure, that came in between stands.
                if self.running.get(&partition) == Some(&Running::Fetching) {
                    self.running.remove(&partition);
                }
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

    pub(super) fn sealer(&mut self, partition: i32, topic: &Arc<Provenance>) -> UnboundedSender<SealJob> {
        let (parts, letters, log_look) = (&self.parts, &self.letters, &self.log_look);
        let (sender, _task) = self.sealers.entry(partition).or_insert_with(|| {
            let (sender, jobs) = mpsc::unbounded_channel();
            let sealer = Sealer {
                live: parts.live.clone(),
                partition,
                topic: topic.clone(),
                encode_permits: parts.encode_permits.clone(),
                residents: parts.residents.clone(),
                letters: letters.clone(),
                encode: sealed::encode,
                line: Line::new(
                    parts.ownership.clone(),
                    parts.budget.clone(),
                    log_look.clone(),
                    STANDBY_WAIT,
                ),
            };
            (sender, parts.runtime.spawn(sealer.run(jobs)))
        });
        sender.clone()
    }

    pub(super) fn command(&self, partition: i32, command: Command) {
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
            // Written down, so that a restart does not undo what an operator decided.
            self.commit(Change::SetPaused { paused: pause })?;
            self.paused = pause;
        }
        self.pause_or_resume(chosen, pause);
        Ok(())
    }

    fn pause_or_resume(&mut self, partitions: Vec<i32>, pause: bool) {
        for partition in partitions {
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
    }

    pub(super) fn seal(
        &self,
        partition: Option<i32>,
    ) -> Result<Vec<oneshot::Receiver<Result<super::SealOutcome>>>> {
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

    /// Looks at what other processes have committed. That the table is paused, or goes on, counts here as well.
    pub(super) fn refresh_log(&mut self) {
        let live = self.parts.live.clone();
        match self.parts.runtime.block_on(async { live.log().refresh().await }) {
            Ok(snapshot) => self.parts.live.adopt(snapshot, None),
            Err(error) => {
                tracing::warn!(table = self.parts.live.name(), %error, "the table log could not be refreshed")
            }
        }
        let paused = self.parts.live.snapshot().stream.paused;
        if paused != self.paused {
            tracing::info!(
                table = self.parts.live.name(),
                paused,
                "another process has paused or resumed the table"
            );
            self.paused = paused;
            self.pause_or_resume(self.running.keys().copied().collect(), paused);
        }
    }

    fn trouble(&self, error: &IngestError) {
        tracing::warn!(table = self.parts.live.name(), %error, "the topic could not be looked at and will be tried again");
        // That the table log cannot be written says nothing about Kafka.
        let is_kafka = matches!(
            error,
            IngestError::Kafka { .. } | IngestError::NoSuchTopic(_) | IngestError::TopicRefused { .. }
        );
        for told in self.parts.live.progress() {
            let progress = self.parts.live.partition_progress(told.partition);
            progress.trouble(error.to_string());
            if is_kafka {
                progress.end_is_known(false);
            }
        }
        self.parts.live.set_trouble(Some(error.to_string()));
    }

    fn trouble_over(&self) {
        if self.parts.live.trouble().is_none() {
            return;
        }
        tracing::info!(table = self.parts.live.name(), "the topic can be looked at again");
        self.parts.live.set_trouble(None);
        for told in self.parts.live.progress() {
            self.parts.live.partition_progress(told.partition).end_is_known(true);
        }
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
        if let Some(task) = self.rebuilding.take() {
            // What it has uploaded already is named by no log entry.
            task.abort();
        }
        self.maintenance.stop();
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
