//! [`TableLog`]: a process's handle on one table's log, and the commit loop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::Mutex;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::task::JoinHandle;
use ulid::Ulid;

use super::actions;
use super::checkpoint::{self, CHECKPOINT_EVERY};
use super::decide::{Change, Commit, Decision, decide_create, decide_failed, decide_together};
use super::files::LogFiles;
use super::queue::{CommitQueue, Group, to_each};
use super::references::References;
use super::snapshot::LogSnapshot;
use super::state::LogState;
use crate::clock::now_ms;
use crate::schema::TableSchema;
use crate::sealed::SegmentMeta;
use crate::spec::TableSpec;
use crate::tasks::{TaskKind, TaskList, TaskSubject};
use crate::{Result, SegmentError};

/// After this long without a look at the store, a commit looks before it writes. Entries are kept for days, so the version
/// that a writer knows cannot have been cleaned up within this time.
const KNOWN_VERSION_AGE_MAX: Duration = Duration::from_secs(600);

/// A table's log. Clones share one state; reading a [snapshot](Self::snapshot) never waits.
///
/// The handle is bound to the table as it was created: once that is dropped, every call answers `NoSuchTable`, even
/// if a table of the same name was created since.
#[derive(Clone)]
pub struct TableLog {
    inner: Arc<Inner>,
}

struct Inner {
    files: LogFiles,
    table_id: String,
    snapshot: ArcSwap<LogSnapshot>,
    /// Held across store calls: two commits of one process would only race for the same version.
    writer: Mutex<Writer>,
    queue: CommitQueue,
    /// The one that is being written, or was written last.
    checkpoint: parking_lot::Mutex<Option<JoinHandle<()>>>,
    /// Here, because this outlives a consumer that starts anew.
    tasks: TaskList,
}

struct Writer {
    /// `None` if it has to be loaded again.
    state: Option<LogState>,
    /// When the newest version was last seen to be the newest; `None` if that must be seen anew.
    looked_at: Option<Instant>,
}

impl TableLog {
    /// Creates the table whose objects lie under `root` (see [`table_root`](super::table_root)).
    ///
    /// # Errors
    /// `Refused` if it exists already. After a transient error the table may exist, or come to exist a moment later.
    pub async fn create(store: Arc<dyn ObjectStore>, root: Path, spec: &TableSpec) -> Result<Self> {
        let files = LogFiles::new(store, root);
        let (id, at_ms) = (Ulid::new(), now_ms());
        let mut slot = files.load().await?;
        commit_loop(&files, &mut slot, |state| decide_create(state, id, at_ms, spec)).await?;
        match slot.filter(|state| !state.dropped) {
            Some(state) => Ok(Self::with_state(files, state)),
            None => Err(SegmentError::NoSuchTable(spec.name.clone())), // dropped in the same instant
        }
    }

    /// Opens the table whose objects lie under `root`; `None` if there is none, or it was dropped.
    ///
    /// # Errors
    /// `Store` if the store cannot be read, `Corrupt` if the log is damaged.
    pub async fn open(store: Arc<dyn ObjectStore>, root: Path) -> Result<Option<Self>> {
        let files = LogFiles::new(store, root);
        let state = files.load().await?.filter(|state| !state.dropped);
        Ok(state.map(|state| Self::with_state(files, state)))
    }

    fn with_state(files: LogFiles, state: LogState) -> Self {
        let inner = Inner {
            files,
            table_id: state.table_id.clone(),
            snapshot: ArcSwap::from_pointee(state.snapshot()),
            writer: Mutex::new(Writer { state: Some(state), looked_at: Some(Instant::now()) }),
            queue: CommitQueue::default(),
            checkpoint: parking_lot::Mutex::default(),
            tasks: TaskList::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The table's identity: another one has the name after a drop and a new creation.
    pub fn table_id(&self) -> &str {
        &self.inner.table_id
    }

    /// What this process does for the table in the background.
    pub fn tasks(&self) -> &TaskList {
        &self.inner.tasks
    }

    /// The newest version that this process knows.
    pub fn snapshot(&self) -> Arc<LogSnapshot> {
        self.inner.snapshot.load_full()
    }

    /// Reads what others have committed since.
    ///
    /// # Errors
    /// `Store` (transient), `Corrupt`, or `NoSuchTable` if the table was dropped.
    pub async fn refresh(&self) -> Result<Arc<LogSnapshot>> {
        let mut writer = self.inner.writer.lock().await;
        self.inner.look(&mut writer).await?;
        self.inner.publish(writer.state.as_ref())
    }

    /// Which objects the newest version names, and which were removed, after a look at the store.
    ///
    /// # Errors
    /// As [`refresh`](Self::refresh).
    pub async fn references(&self) -> Result<References> {
        let mut writer = self.inner.writer.lock().await;
        self.inner.look(&mut writer).await?;
        self.inner.publish(writer.state.as_ref())?;
        Ok(References::of(self.inner.live(writer.state.as_ref())?))
    }

    /// Waits until no checkpoint is being written.
    pub async fn settle(&self) {
        let checkpoint = self.inner.checkpoint.lock().take();
        if let Some(checkpoint) = checkpoint {
            // An error is a panic, which has been told.
            let _ = checkpoint.await;
        }
    }

    /// Commits a change, exactly once however often it is tried with the same value.
    ///
    /// # Errors
    /// - transient: it is not known whether the change is in the log, or will be. Try again with the same commit.
    /// - `Fenced`: the offset or the epoch moved on; another process owns the partition. Drop the work, read the log.
    /// - `SpecChanged`: the rows were read with another spec than the table has by now. Read them again with that one.
    /// - `Conflict`: what a segment was written anew from is not in the table any more: drop the work. Or its object may have been
    ///   collected: write and upload it again.
    /// - `Refused`: the change makes no sense on this table. `NoSuchTable`: it was dropped.
    /// - Cancel by dropping: it is not known then whether the change is in the log, or will be.
    pub async fn commit(&self, commit: &Commit) -> Result<Arc<LogSnapshot>> {
        let inner = &*self.inner;
        let mut answer = inner.queue.push(commit.clone());
        let mut writer = tokio::select! {
            biased;
            answered = &mut answer => return answered.unwrap_or_else(|_| Err(inner.unanswered())),
            writer = inner.writer.lock() => writer,
        };
        // It is among the first that wait, or somebody else has just been at it.
        loop {
            match answer.try_recv() {
                Ok(answer) => return answer,
                Err(TryRecvError::Empty) => self.commit_next(&mut writer).await,
                Err(TryRecvError::Closed) => return Err(inner.unanswered()),
            }
        }
    }

    /// Commits those whose turn it is, and answers them.
    async fn commit_next(&self, writer: &mut Writer) {
        let inner = &*self.inner;
        let mut group = inner.queue.take();
        let started = Instant::now();
        let committed = inner.commit_group(writer, &mut group).await;
        metrics::histogram!("headwater_commit_duration_seconds").record(started.elapsed());
        let outcomes = match committed {
            Ok((outcomes, written)) => {
                if let Some(version) = written.filter(|version| version % CHECKPOINT_EVERY == 0) {
                    self.checkpoint_in_background(version);
                }
                outcomes
            }
            Err(error) => match inner.live(writer.state.as_ref()) {
                Ok(state) => decide_failed(state, &group.wanted(), &error),
                Err(_) => to_each(&error, group.len()),
            },
        };
        // What was read on the way is news even if nothing was written. A table that is dropped has no more.
        let snapshot = inner.publish(writer.state.as_ref()).unwrap_or_else(|_| self.snapshot());
        group.answer(outcomes, &snapshot);
    }

    /// From now on at most so many commits share an entry of the log. For measuring what that is worth.
    #[doc(hidden)]
    pub fn limit_commits_per_entry(&self, commits_max: usize) {
        self.inner.queue.limit(commits_max);
    }

    /// Gives the table another spec; one that is already in force is a success.
    ///
    /// # Errors
    /// `Refused`, naming the column and the reason, if the segments that are there do not allow it; else as [`commit`](Self::commit).
    pub async fn set_spec(&self, spec: &TableSpec) -> Result<Arc<LogSnapshot>> {
        self.commit_now(Change::SetSpec { spec: Arc::new(spec.clone()) }).await
    }

    /// Puts `new`, which is uploaded and holds the same rows, in the place of the segment `old`. A second call with the same
    /// arguments is a success. The object of the old one is left for a collector.
    ///
    /// # Errors
    /// `Conflict` if the old one is gone, `Refused` if the two are not alike; else as [`commit`](Self::commit), never `Fenced`.
    pub async fn replace(
        &self,
        old: Ulid,
        new: Arc<SegmentMeta>,
        schema: Arc<TableSchema>,
    ) -> Result<Arc<LogSnapshot>> {
        let id = new.id;
        self.commit(&Commit { id, at_ms: now_ms(), change: Change::Replace { old, meta: new, schema } }).await
    }

    /// Puts `new`, which is uploaded and holds the rows of all of `old`, in their place. A second call with the same arguments
    /// is a success. The objects of the old ones are left for a collector.
    ///
    /// # Errors
    /// `Conflict` if one of the old ones is gone, `Refused` if the new one does not hold their rows; else as
    /// [`commit`](Self::commit), never `Fenced`.
    pub async fn compact(
        &self,
        epoch: u32,
        old: Vec<Ulid>,
        new: Arc<SegmentMeta>,
        schema: Arc<TableSchema>,
    ) -> Result<Arc<LogSnapshot>> {
        let id = new.id;
        let change = Change::Compact { epoch, old, meta: new, schema };
        self.commit(&Commit { id, at_ms: now_ms(), change }).await
    }

    /// Removes segments whose rows this table's retention has given up. Their objects are left for a collector.
    ///
    /// # Errors
    /// As [`commit`](Self::commit), never `Fenced`.
    pub async fn expire_segments(&self, segments: Vec<Ulid>) -> Result<Arc<LogSnapshot>> {
        self.commit_now(Change::Expire { segments }).await
    }

    /// Drops the table: it is empty to every Delta reader and does not exist to Headwater any more. Its objects stay until
    /// [`purge`](Self::purge). A table that is dropped already is a success.
    ///
    /// # Errors
    /// As [`commit`](Self::commit), never `Fenced`.
    pub async fn drop_table(&self) -> Result<()> {
        match self.commit_now(Change::Drop).await {
            Ok(_) | Err(SegmentError::NoSuchTable(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// As if [`KNOWN_VERSION_AGE_MAX`] had passed.
    #[cfg(test)]
    pub(super) async fn fall_asleep(&self) {
        self.inner.writer.lock().await.looked_at = None;
    }

    /// Makes all commits wait.
    #[cfg(test)]
    pub(super) async fn hold(&self) -> impl Sized + '_ {
        self.inner.writer.lock().await
    }

    async fn commit_now(&self, change: Change) -> Result<Arc<LogSnapshot>> {
        self.commit(&Commit { id: Ulid::new(), at_ms: now_ms(), change }).await
    }

    fn checkpoint_in_background(&self, version: u64) {
        let mut checkpoint = self.inner.checkpoint.lock();
        if checkpoint.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let log = self.clone();
        *checkpoint = Some(tokio::spawn(async move { log.checkpoint(version).await }));
    }

    /// Writes the checkpoint of a version; a failure is only logged, because a checkpoint only saves time.
    pub(super) async fn checkpoint(&self, version: u64) {
        let table = &self.inner.files.table;
        let subject = TaskSubject { what: format!("version {version}"), unit: "checkpoints", total: Some(1) };
        let task = self.tasks().begin(TaskKind::Checkpoint, subject);
        match checkpoint::write(&self.inner.files, version).await {
            Ok(removed) => {
                tracing::debug!(table, version, removed, "table log: checkpoint written");
                task.advance(1);
                task.done(None);
            }
            Err(error) => {
                tracing::warn!(table, version, %error, "table log: checkpoint failed; the next one follows");
                task.failed(&error, None);
            }
        }
    }
}

impl Inner {
    /// What became of each of a group, and the version that was written, if one was. An error leaves all of them open.
    async fn commit_group(
        &self,
        writer: &mut Writer,
        group: &mut Group<'_>,
    ) -> Result<(Vec<Result<()>>, Option<u64>)> {
        let is_fresh = writer.looked_at.is_some_and(|at| at.elapsed() <= KNOWN_VERSION_AGE_MAX);
        if writer.state.is_none() || !is_fresh {
            self.look(writer).await?;
        }
        let mut outcomes = Vec::new();
        let written = commit_loop(&self.files, &mut writer.state, |state| {
            let decided = decide_together(self.live(state)?, &group.wanted())?;
            outcomes = decided.outcomes;
            Ok(decided.entry.map_or(Decision::AlreadyCommitted, Decision::Write))
        });
        let written = written.await?;
        // What is refused, or known already, may have been decided without a look at the store.
        if written.is_some() {
            writer.looked_at = Some(Instant::now());
        }
        Ok((outcomes, written))
    }

    /// Reads what others have written.
    async fn look(&self, writer: &mut Writer) -> Result<()> {
        self.files.catch_up(&mut writer.state).await?;
        writer.looked_at = Some(Instant::now());
        Ok(())
    }

    fn unanswered(&self) -> SegmentError {
        let context = format!("table {}: committing", self.files.table);
        SegmentError::Log { context, message: "whoever was at it has failed; try again".into() }
    }

    /// The state, if it is still that of the table which this handle was opened on.
    fn live<'a>(&self, state: Option<&'a LogState>) -> Result<&'a LogState> {
        state
            .filter(|state| !state.dropped && state.table_id == self.table_id)
            .ok_or_else(|| SegmentError::NoSuchTable(self.files.table.clone()))
    }

    fn publish(&self, state: Option<&LogState>) -> Result<Arc<LogSnapshot>> {
        let state = self.live(state)?;
        let current = self.snapshot.load_full();
        if current.version == state.version {
            return Ok(current);
        }
        let snapshot = Arc::new(state.snapshot());
        self.snapshot.store(snapshot.clone());
        Ok(snapshot)
    }
}

/// Decides, writes the next version, and decides again for as long as others take it. Returns the version that was
/// written, or `None` if the log said it already.
///
/// An error of the write leaves open whether it happened, so it is treated like "already exists": the log is read on, and
/// what is found there is decided on. Only if there is nothing new, the error goes to the caller.
async fn commit_loop(
    files: &LogFiles,
    slot: &mut Option<LogState>,
    mut decide: impl FnMut(Option<&LogState>) -> Result<Decision>,
) -> Result<Option<u64>> {
    loop {
        let actions = match decide(slot.as_ref())? {
            Decision::Write(actions) => actions,
            Decision::AlreadyCommitted => return Ok(None),
        };
        let version = slot.as_ref().map_or(0, |state| state.version + 1);
        let Err(error) = files.write_entry(version, actions::encode(&files.table, &actions)?).await else {
            files.advance(slot, version, &actions)?;
            return Ok(Some(version));
        };
        files.catch_up(slot).await?;
        if slot.as_ref().is_none_or(|state| state.version < version) {
            return Err(error);
        }
    }
}
