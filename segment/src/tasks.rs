//! What a process does for a table in the background, and how far it is: what `system.tasks` shows.
//!
//! Whoever does such work holds a [`Task`] and says through it what comes of it; a [`TaskList`] is what there is to see.
//!
//! Invariants:
//! - a list is bounded whatever happens: of each kind [`ENDED_PER_KIND_MAX`] that have ended, and [`LISTED_MAX`] in all;
//! - a task has ended when its holder says so or lets go of it, so none is shown as running that nobody works at;
//! - nothing here decides anything: a task that the list has no room for is done like any other.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::now_ms;

/// Tasks of one kind that have ended and are still listed.
const ENDED_PER_KIND_MAX: usize = 16;
/// Tasks of one table: many partitions that seal at once, each of which is a few hundred bytes here.
const LISTED_MAX: usize = 1024;
/// Bytes of an error that are kept.
const ERROR_BYTES_MAX: usize = 1000;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// Rows that were open are encoded, uploaded and committed.
    Seal,
    /// The table log is summed up in one object.
    Checkpoint,
    /// Segments that the table's retention gives up are removed.
    Retention,
    /// Neighbouring segments are written anew as one.
    Compaction,
    /// Objects that nobody needs are deleted.
    GarbageCollection,
    /// Segments are written anew with the indexes of the spec.
    IndexRebuild,
    /// Columns that queries use are loaded before they are asked for.
    CacheWarming,
}

impl TaskKind {
    /// Name in `system.tasks`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Checkpoint => "checkpoint",
            Self::Retention => "retention",
            Self::Compaction => "compaction",
            Self::GarbageCollection => "garbage_collection",
            Self::IndexRebuild => "index_rebuild",
            Self::CacheWarming => "cache_warming",
        }
    }
}

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// Its turn comes later: others go first, or a try has failed.
    Waiting,
    /// Somebody works at it.
    Running,
    /// It is done.
    Done,
    /// It has failed; what is left of it is for another task.
    Failed,
    /// It was let go: another node was quicker, or the node or the table stops.
    Stopped,
}

impl TaskState {
    /// Name in `system.tasks`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Stopped)
    }
}

/// What a task works on, and in what its progress is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSubject {
    /// In words, such as `partition 3, offsets 10 to 20`.
    pub what: String,
    /// `rows`, `segments`, `objects` ...
    pub unit: &'static str,
    /// How much there is to do; `None`: that is not known yet.
    pub total: Option<u64>,
}

/// A task as it is at one moment. Times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSnapshot {
    /// What is done.
    pub kind: TaskKind,
    /// With what.
    pub subject: TaskSubject,
    /// Where it is.
    pub state: TaskState,
    /// When it came up.
    pub started_at_ms: i64,
    /// When it ended.
    pub ended_at_ms: Option<i64>,
    /// How much is done, in the subject's unit.
    pub done: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it, or what is left of it, is tried next.
    pub next_attempt_at_ms: Option<i64>,
}

#[derive(Debug, Default)]
struct Listed {
    next_id: u64,
    tasks: BTreeMap<u64, TaskSnapshot>,
}

/// The tasks of one table in one process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct TaskList(Arc<Mutex<Listed>>);

impl TaskList {
    /// A task that begins now.
    pub fn begin(&self, kind: TaskKind, subject: TaskSubject) -> Task {
        self.add(kind, subject, TaskState::Running)
    }

    /// A task whose turn comes later.
    pub fn enqueue(&self, kind: TaskKind, subject: TaskSubject) -> Task {
        self.add(kind, subject, TaskState::Waiting)
    }

    fn add(&self, kind: TaskKind, subject: TaskSubject, state: TaskState) -> Task {
        let mut listed = self.0.lock();
        listed.next_id += 1;
        let id = listed.next_id;
        if listed.has_room() {
            let task = TaskSnapshot {
                kind,
                subject,
                state,
                started_at_ms: now_ms(),
                ended_at_ms: None,
                done: 0,
                last_error: None,
                next_attempt_at_ms: None,
            };
            listed.tasks.insert(id, task);
        }
        Task { list: self.clone(), id }
    }

    /// All that are listed, in the order in which they came up.
    pub fn list(&self) -> Vec<TaskSnapshot> {
        self.0.lock().tasks.values().cloned().collect()
    }
}

impl Listed {
    /// Makes room for one more, at the cost of one that has ended.
    fn has_room(&mut self) -> bool {
        if self.tasks.len() >= LISTED_MAX
            && let Some(ended) = self.oldest(|task| task.state.has_ended())
        {
            self.tasks.remove(&ended);
        }
        self.tasks.len() < LISTED_MAX
    }

    fn oldest(&self, is_wanted: impl Fn(&TaskSnapshot) -> bool) -> Option<u64> {
        self.tasks.iter().find(|(_, task)| is_wanted(task)).map(|(id, _)| *id)
    }

    fn forget_old(&mut self, kind: TaskKind) {
        let is_old = |task: &TaskSnapshot| task.kind == kind && task.state.has_ended();
        if self.tasks.values().filter(|task| is_old(task)).count() > ENDED_PER_KIND_MAX
            && let Some(oldest) = self.oldest(is_old)
        {
            self.tasks.remove(&oldest);
        }
    }
}

/// A task in the hands of who does it. Letting go of one that has not ended stops it.
#[derive(Debug)]
pub struct Task {
    list: TaskList,
    id: u64,
}

impl Task {
    /// So much more is done.
    pub fn advance(&self, by: u64) {
        self.change(|task| task.done = task.done.saturating_add(by));
    }

    /// By now it is known how much there is to do.
    pub fn set_total(&self, total: u64) {
        self.change(|task| task.subject.total = Some(total));
    }

    /// Somebody works at it, from now on or again.
    pub fn run(&self) {
        self.change(|task| {
            task.state = TaskState::Running;
            task.next_attempt_at_ms = None;
        });
    }

    /// A try has failed, and the next one comes after `wait`.
    pub fn retry_in(&self, wait: Duration, error: &dyn fmt::Display) {
        let error = shortened(error);
        self.change(|task| {
            task.state = TaskState::Waiting;
            task.last_error = Some(error);
            task.next_attempt_at_ms = Some(after(wait));
        });
    }

    /// Its turn comes after `wait`, unless something happens before.
    pub fn wait(&self, wait: Duration) {
        self.change(|task| {
            task.state = TaskState::Waiting;
            task.next_attempt_at_ms = Some(after(wait));
        });
    }

    /// Something went wrong on the way.
    pub fn note(&self, error: &dyn fmt::Display) {
        let error = shortened(error);
        self.change(|task| task.last_error = Some(error));
    }

    /// It is done; the next of its kind comes after `next`, if it comes by time.
    pub fn done(self, next: Option<Duration>) {
        self.end(TaskState::Done, next);
    }

    /// It has failed; what is left of it is tried after `next`, if that is known.
    pub fn failed(self, error: &dyn fmt::Display, next: Option<Duration>) {
        self.note(error);
        self.end(TaskState::Failed, next);
    }

    fn end(&self, state: TaskState, next: Option<Duration>) {
        self.change(|task| {
            task.state = state;
            task.ended_at_ms = Some(now_ms());
            task.next_attempt_at_ms = next.map(after);
        });
    }

    fn change(&self, change: impl FnOnce(&mut TaskSnapshot)) {
        let mut listed = self.list.0.lock();
        let Some(task) = listed.tasks.get_mut(&self.id) else { return };
        change(task);
        if task.state.has_ended() {
            let kind = task.kind;
            listed.forget_old(kind);
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let has_ended = |task: &TaskSnapshot| task.state.has_ended();
        if !self.list.0.lock().tasks.get(&self.id).is_none_or(has_ended) {
            self.end(TaskState::Stopped, None);
        }
    }
}

fn after(wait: Duration) -> i64 {
    now_ms().saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

fn shortened(error: &dyn fmt::Display) -> String {
    let mut text = error.to_string();
    text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(what: impl Into<String>) -> TaskSubject {
        TaskSubject { what: what.into(), unit: "segments", total: Some(3) }
    }

    #[test]
    fn a_task_from_its_turn_to_its_end() {
        let list = TaskList::default();
        let only = || list.list().pop().unwrap();
        let task = list.enqueue(TaskKind::Compaction, subject("partition 1"));
        assert_eq!((only().state, only().done, only().next_attempt_at_ms), (TaskState::Waiting, 0, None));
        task.run();
        task.advance(2);
        assert_eq!((only().state, only().done, only().ended_at_ms), (TaskState::Running, 2, None));
        let before = now_ms();
        task.retry_in(Duration::from_secs(60), &"the store is down");
        let told = only();
        assert_eq!((told.state, told.last_error.as_deref()), (TaskState::Waiting, Some("the store is down")));
        assert!(told.next_attempt_at_ms.is_some_and(|at| at >= before + 60_000));
        task.run();
        assert_eq!((only().state, only().next_attempt_at_ms), (TaskState::Running, None));
        assert!(only().last_error.is_some(), "what went wrong last stays");
        task.done(None);
        assert_eq!((only().state, only().next_attempt_at_ms), (TaskState::Done, None));
        assert!(only().ended_at_ms.is_some_and(|at| at >= before));
    }

    #[test]
    fn what_is_let_go_is_stopped_and_what_has_ended_stays_so() {
        let list = TaskList::default();
        drop(list.begin(TaskKind::Seal, subject("let go")));
        list.begin(TaskKind::Seal, subject("done")).done(None);
        list.begin(TaskKind::Seal, subject("failed")).failed(&"é".repeat(ERROR_BYTES_MAX), None);
        let states: Vec<TaskState> = list.list().iter().map(|task| task.state).collect();
        assert_eq!(states, [TaskState::Stopped, TaskState::Done, TaskState::Failed]);
        assert_eq!(list.list()[2].last_error.as_ref().map(String::len), Some(ERROR_BYTES_MAX));
    }

    #[test]
    fn a_list_is_bounded() {
        let list = TaskList::default();
        let kept = list.begin(TaskKind::GarbageCollection, subject("kept"));
        for number in 0..3 * LISTED_MAX {
            list.begin(TaskKind::Seal, subject(number.to_string())).done(None);
        }
        assert_eq!(list.list().len(), ENDED_PER_KIND_MAX + 1);
        let last = list.list().pop().unwrap().subject.what;
        assert_eq!(last, (3 * LISTED_MAX - 1).to_string(), "the latest stay");
        let running: Vec<Task> =
            (0..2 * LISTED_MAX).map(|_| list.begin(TaskKind::Seal, subject("many"))).collect();
        assert_eq!(list.list().len(), LISTED_MAX);
        assert!(
            list.list().iter().all(|task| task.state == TaskState::Running),
            "those that ended made room"
        );
        drop(running);
        assert_eq!(list.list().len(), ENDED_PER_KIND_MAX + 1);
        kept.advance(1);
        assert_eq!(list.list()[0].done, 1);
    }
}
