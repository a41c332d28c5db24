//! Whose turn it is to seal, where several nodes consume the same partition.
//!
//! The first in line seals at once. Each of the others keeps the segment, which is queryable as before, until the log covers
//! it, and only seals it if that takes too long. Jobs stay in their order: what makes a later one due makes those before it due.
//!
//! **Invariant:** nothing here changes what is committed, only when; no permit to encode is held while a job waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::LiveTable;
use headwater_segment::log::LogSnapshot;
use tokio::sync::{Mutex, mpsc};

use super::{Remaining, SealJob, Sealer, remaining};
use crate::decide::{TurnFacts, decide_turn};
use crate::ownership::{Ownership, Rank};

/// How often a waiting job asks whose turn it is.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How often the log of a table is looked at while jobs of it wait.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What a sealer needs to know its place in the line.
pub(crate) struct Line {
    pub(crate) ownership: Arc<dyn Ownership>,
    pub(crate) budget: Arc<MemoryBudget>,
    pub(crate) look: Arc<LogLook>,
    pub(crate) standby_wait: Duration,
}

impl Line {
    pub(crate) fn new(
        ownership: Arc<dyn Ownership>,
        budget: Arc<MemoryBudget>,
        look: Arc<LogLook>,
        standby_wait: Duration,
    ) -> Self {
        Self { ownership, budget, look, standby_wait }
    }
}

/// Looks at a table's log for all who wait for what others commit.
#[derive(Default)]
pub(crate) struct LogLook(Mutex<Option<Instant>>);

impl LogLook {
    /// Looks, unless somebody does, or did a moment ago.
    async fn if_due(&self, live: &LiveTable) {
        let Ok(mut looked) = self.0.try_lock() else { return };
        if looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return;
        }
        match live.log().refresh().await {
            Ok(snapshot) => live.adopt(snapshot, None),
            Err(error) => {
                tracing::debug!(table = live.name(), %error, "the table log could not be refreshed");
            }
        }
        *looked = Some(Instant::now());
    }
}

/// The jobs of one partition, in order; those behind the present one can be seen.
pub(super) struct Queue {
    jobs: mpsc::UnboundedReceiver<SealJob>,
    waiting: VecDeque<SealJob>,
    /// Nobody hands over jobs any more: the consumer ends, and waits for what it has handed over.
    closed: bool,
}

impl Queue {
    pub(super) fn new(jobs: mpsc::UnboundedReceiver<SealJob>) -> Self {
        Self { jobs, waiting: VecDeque::new(), closed: false }
    }

    pub(super) async fn next(&mut self) -> Option<SealJob> {
        match self.waiting.pop_front() {
            Some(job) => Some(job),
            None => self.jobs.recv().await,
        }
    }

    fn take(&mut self, arrived: Option<SealJob>) {
        match arrived {
            Some(job) => self.waiting.push_back(job),
            None => self.closed = true,
        }
    }

    /// Takes what has arrived.
    fn fill(&mut self) {
        loop {
            match self.jobs.try_recv() {
                Ok(job) => self.waiting.push_back(job),
                Err(mpsc::error::TryRecvError::Empty) => return,
                Err(mpsc::error::TryRecvError::Disconnected) => return self.take(None),
            }
        }
    }
}

impl Sealer {
    /// Waits until `job` is to be sealed here, or has nothing left to seal. Returns false if its rows are not this node's
    /// business any more: the partition was given up, or starts again.
    pub(super) async fn wait_for_turn(&self, job: &SealJob, queue: &mut Queue) -> bool {
        let mut ask_at = Instant::now() + ASK_EVERY;
        loop {
            queue.fill();
            let snapshot = self.live.log().snapshot();
            let wait = self.wait_left(job, queue, &snapshot);
            if wait.is_zero() || remaining(job, &snapshot) == Remaining::Nothing {
                return true;
            }
            if !self.is_live(job) {
                return false;
            }
            job.tell(|task| task.wait(wait));
            // Counted from the last time, not from the last job: they may come in any number.
            let wait = wait.min(ask_at.saturating_duration_since(Instant::now()));
            tokio::select! {
                () = tokio::time::sleep(wait) => {
                    self.line.look.if_due(&self.live).await;
                    ask_at = Instant::now() + ASK_EVERY;
                }
                arrived = queue.jobs.recv() => queue.take(arrived),
            }
        }
    }

    /// A job is due as soon as one behind it is.
    fn wait_left(&self, job: &SealJob, queue: &Queue, snapshot: &LogSnapshot) -> Duration {
        let rank = self.rank();
        let is_hurried = queue.closed || self.line.budget.is_short();
        let wait = |job: &SealJob| {
            decide_turn(TurnFacts {
                rank,
                is_urgent: is_hurried || job.reason.is_urgent(),
                is_begun: matches!(remaining(job, snapshot), Remaining::From(offset) if offset > job.from),
                waited: job.handed_over.elapsed(),
                age_max: snapshot.spec.seal.age_max,
                standby_wait: self.line.standby_wait,
            })
        };
        std::iter::once(job).chain(&queue.waiting).map(wait).min().unwrap_or_default()
    }

    /// Whether the partition is left to others and the job's rows with it.
    pub(super) fn is_given_up(&self, job: &SealJob) -> bool {
        self.rank() == Rank::None && !self.is_live(job)
    }

    fn rank(&self) -> Rank {
        self.line.ownership.rank(self.live.name(), self.live.log().table_id(), self.partition)
    }

    fn is_live(&self, job: &SealJob) -> bool {
        self.live.segments(self.partition).iter().any(|segment| Arc::ptr_eq(segment, &job.segment))
    }
}
