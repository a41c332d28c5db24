//! Commits that wait for their turn, and those whose turn it is.
//!
//! Every caller of a commit puts it here and then waits for an answer or for the writer, whichever comes first. Who gets the
//! writer takes the commits that wait at the front, commits them as one entry, and answers each. So the time of one write is
//! the time of all that waited for it, and nobody waits on purpose.
//!
//! # Why a caller that goes away harms nobody
//!
//! - Before its commit is taken: the commit is passed over.
//! - While others work for it: it is in the log or not, as after a lost answer.
//! - While it works for others: its [`Group`] puts those that have no answer yet back to the front, in their order, and
//!   releases the writer to one of them. What was being written may have landed, or still will; whoever takes them next aims
//!   them at the same version, or reads there what became of them.
//!
//! **Architecture Invariant:** the caller of a commit that waits here, or is in a group, either holds the writer or is in line
//! for it. So as long as one of them goes on, all are answered.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::decide::Commit;
use super::draft::Draft;
use super::snapshot::LogSnapshot;
use crate::{Result, SegmentError};

/// Commits in an entry, at most: some hundred kilobytes.
const COMMITS_PER_ENTRY_MAX: usize = 256;

/// What a caller is told.
pub(super) type Answer = Result<Arc<LogSnapshot>>;

/// A commit and who asked for it.
struct Waiting {
    commit: Commit,
    answer: oneshot::Sender<Answer>,
}

impl Waiting {
    fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    /// How many there were when those who had given up were last taken out.
    swept_at: usize,
}

/// The commits of one process that wait for one table.
pub(super) struct CommitQueue {
    line: Mutex<Line>,
    commits_per_entry_max: AtomicUsize,
}

impl Default for CommitQueue {
    fn default() -> Self {
        Self { line: Mutex::default(), commits_per_entry_max: AtomicUsize::new(COMMITS_PER_ENTRY_MAX) }
    }
}

impl CommitQueue {
    /// From now on, at most so many commits go into one entry.
    pub(super) fn limit(&self, commits_per_entry_max: usize) {
        self.commits_per_entry_max.store(commits_per_entry_max.max(1), Ordering::Relaxed);
    }

    /// Puts a commit behind the others.
    pub(super) fn push(&self, commit: Commit) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let mut line = self.line.lock();
        if line.waiting.len() > 2 * line.swept_at.max(COMMITS_PER_ENTRY_MAX) {
            // Callers that lose patience with a slow store and come back must not pile up.
            line.waiting.retain(|waiting| !waiting.is_abandoned());
            line.swept_at = line.waiting.len();
        }
        line.waiting.push_back(Waiting { commit, answer });
        answered
    }

    /// How many wait, or have given up.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.line.lock().waiting.len()
    }

    /// The commits whose turn it is: the first, and if it may [share an entry](Draft::partition_of), those behind it that may
    /// share it. Of one partition the first goes first. Only for who holds the writer.
    pub(super) fn take(&self) -> Group<'_> {
        let count_max = self.commits_per_entry_max.load(Ordering::Relaxed);
        let waiting = &mut self.line.lock().waiting;
        let (mut commits, mut partitions) = (VecDeque::new(), HashSet::new());
        let mut place = 0;
        while commits.len() < count_max
            && let Some(next) = waiting.get(place)
        {
            if next.is_abandoned() {
                waiting.remove(place);
                continue;
            }
            match Draft::partition_of(&next.commit.change) {
                Some(partition) if partitions.insert(partition) => commits.extend(waiting.remove(place)),
                Some(_) => place += 1,
                None => {
                    if commits.is_empty() {
                        commits.extend(waiting.remove(place));
                    }
                    break;
                }
            }
        }
        Group { queue: self, commits }
    }
}

/// Commits whose turn it is.
pub(super) struct Group<'a> {
    queue: &'a CommitQueue,
    commits: VecDeque<Waiting>,
}

impl Group<'_> {
    /// The commits that somebody still waits for.
    pub(super) fn wanted(&mut self) -> Vec<&Commit> {
        self.commits.retain(|waiting| !waiting.is_abandoned());
        self.commits.iter().map(|waiting| &waiting.commit).collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.commits.len()
    }

    /// Tells everybody.
    pub(super) fn answer(mut self, outcomes: Vec<Result<()>>, snapshot: &Arc<LogSnapshot>) {
        debug_assert_eq!(outcomes.len(), self.commits.len());
        for (waiting, outcome) in self.commits.drain(..).zip(outcomes) {
            // Who went away meanwhile does not want to know.
            let _ = waiting.answer.send(outcome.map(|()| Arc::clone(snapshot)));
        }
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        let mut line = self.queue.line.lock();
        while let Some(last) = self.commits.pop_back() {
            line.waiting.push_front(last);
        }
    }
}

/// One error, told to many.
pub(super) fn to_each(error: &SegmentError, count: usize) -> Vec<Result<()>> {
    (0..count).map(|_| Err(copy(error))).collect()
}

/// The same error, for another caller: of the same kind, and as transient as the first.
pub(super) fn copy(error: &SegmentError) -> SegmentError {
    match error {
        SegmentError::Store { context, source } => {
            let text = source.to_string().into();
            let source = match error.is_transient() {
                true => object_store::Error::Generic { store: "table log", source: text },
                false => object_store::Error::NotSupported { source: text },
            };
            SegmentError::store(context.clone(), source)
        }
        SegmentError::Log { context, message } => {
            SegmentError::Log { context: context.clone(), message: message.clone() }
        }
        SegmentError::NoSuchTable(table) => SegmentError::NoSuchTable(table.clone()),
        SegmentError::Refused(message) => SegmentError::Refused(message.clone()),
        SegmentError::Corrupt(message) => SegmentError::Corrupt(message.clone()),
        other => SegmentError::Corrupt(other.to_string()),
    }
}
