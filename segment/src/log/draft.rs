//! An entry in the making: changes of the stream that go out together, none of which depends on another.
//!
//! The rule for a change of one partition, against the state after the last known entry:
//!
//! | it is already there | same epoch | committed offset | read with the spec of the log | decision |
//! |---|---|---|---|---|
//! | yes | - | - | - | success |
//! | no | yes | equals `from` | yes | it joins the draft |
//! | no | yes | equals `from` | no | the spec has changed |
//! | no | yes | anything else | - | fenced |
//! | no | no | - | - | fenced |
//!
//! The spec is asked about last, so that rows which somebody else has committed are never read again. It counts for sealed
//! segments and for ranges without a row, as far as it says how a message becomes a row
//! ([`TableSchema::reads_like`]); a gap was never read. So from the entry on that changes the spec, every row in the log is one
//! that the new spec makes of its message, whichever node read it and whatever that node had heard of.
//!
//! "Already there" is known from the commit's id in the entries replayed, and for a segment also from the segment itself, which
//! checkpoints carry, and for some days after it was replaced or has expired. An id that only a checkpoint saw, of a commit
//! without a segment, is fenced: its writer drops its work and resumes at the committed offset, which is never wrong.
//!
//! # What may share an entry
//!
//! Sealed segments and gaps, of different partitions. What is decided about each of them depends on its own partition, and on
//! the epoch, the spec and the collectors' mark, which no other of them changes: so it is what it would be alone.
//!
//! Were two of one partition to share an entry, the second would be decided on an offset that is committed only if this very
//! entry is. If the answer to the write is lost, and the second is tried again without the first, it is fenced for good,
//! while the entry may still land with both. So it waits for the next entry.
//!
//! What removes segments has an entry of its own, because removes are applied before adds, and so has what changes the epoch,
//! the spec, or which objects may enter.
//!
//! **Architecture Invariant:** an entry has one `commitInfo`, at most one `txn` per partition and at most one stream state,
//! however many commits it holds (Delta allows no more), and that of a lone commit is what it would be without any drafts.

use std::collections::BTreeMap;

use deltalake_core::kernel::Action;
use ulid::Ulid;

use super::actions;
use super::compact::check_not_collected;
use super::decide::{Change, Commit, fenced, refused};
use super::segments::SegmentKey;
use super::state::LogState;
use super::stream::{Gap, GapReason, PartitionState};
use crate::schema::TableSchema;
use crate::sealed::SegmentMeta;
use crate::{Result, SegmentError};

/// Changes of the stream on the way into one entry.
pub(super) struct Draft<'a> {
    state: &'a LogState,
    ids: Vec<Ulid>,
    /// The latest of all.
    at_ms: i64,
    adds: Vec<Action>,
    /// Partitions as they will be, and when they moved last.
    moved: BTreeMap<i32, (PartitionState, i64)>,
    has_gaps: bool,
}

impl<'a> Draft<'a> {
    /// An empty one behind `state`.
    pub(super) fn behind(state: &'a LogState) -> Self {
        Self {
            state,
            ids: Vec::new(),
            at_ms: i64::MIN,
            adds: Vec::new(),
            moved: BTreeMap::new(),
            has_gaps: false,
        }
    }

    /// The partition of a change that may share an entry with those of other partitions.
    pub(super) fn partition_of(change: &Change) -> Option<i32> {
        match change {
            Change::Segment { meta, .. } => Some(meta.partition),
            Change::Offsets { partition, .. } | Change::Gap { partition, .. } => Some(*partition),
            _ => None,
        }
    }

    /// Takes a change in, if the log does not say it already. One that is refused leaves the draft as it was.
    ///
    /// # Errors
    /// As [`decide`](super::decide::decide). Transient if the change cannot share an entry with what is in it.
    pub(super) fn add(&mut self, commit: &Commit) -> Result<()> {
        let partition = Self::partition_of(&commit.change);
        if partition.is_none_or(|partition| self.moved.contains_key(&partition)) {
            let context = format!("table {}: committing", self.state.spec.name);
            return Err(SegmentError::Log { context, message: "it needs an entry of its own".into() });
        }
        if self.state.recent.contains(commit.id) {
            return Ok(());
        }
        let is_new = match &commit.change {
            Change::Segment { epoch, meta, schema } => self.add_segment(commit, *epoch, meta, schema)?,
            Change::Offsets { epoch, schema, partition, from, to } => {
                self.check_range(*epoch, *partition, *from, *to)?;
                self.check_read_with(schema, *partition, *from)?;
                self.add_gap(commit, *epoch, *partition, (*from, *to), GapReason::Empty)?
            }
            Change::Gap { epoch, partition, from, to, reason } => {
                self.add_gap(commit, *epoch, *partition, (*from, *to), *reason)?
            }
            _ => false,
        };
        if is_new {
            self.ids.push(commit.id);
            self.at_ms = self.at_ms.max(commit.at_ms);
        }
        Ok(())
    }

    fn add_segment(
        &mut self,
        commit: &Commit,
        epoch: u32,
        meta: &SegmentMeta,
        schema: &TableSchema,
    ) -> Result<bool> {
        let key: SegmentKey = (meta.partition, epoch, meta.from);
        let is_there = self.state.segments.get(key).is_some_and(|segment| segment.id == meta.id);
        if is_there || self.state.removed.contains_key(&meta.id) {
            return Ok(false);
        }
        let mut partition = self.check_range(epoch, meta.partition, meta.from, meta.to)?.clone();
        self.check_read_with(schema, meta.partition, meta.from)?;
        check_not_collected(self.state, meta.id)?;
        let mut add = meta.to_add(schema)?;
        actions::set_epoch(&mut add, epoch);
        // An entry that cannot be read back would stop everybody, so it is read back before it is written.
        SegmentMeta::from_add(&add, &self.state.schema)?;
        self.adds.push(Action::Add(add));
        partition.committed = meta.to;
        self.moved.insert(meta.partition, (partition, commit.at_ms));
        Ok(true)
    }

    fn add_gap(
        &mut self,
        commit: &Commit,
        epoch: u32,
        partition: i32,
        (from, to): (i64, i64),
        reason: GapReason,
    ) -> Result<bool> {
        let mut partition_state = self.check_range(epoch, partition, from, to)?.clone();
        partition_state.record(Gap { from, to, reason, at_ms: commit.at_ms });
        partition_state.committed = to;
        self.moved.insert(partition, (partition_state, commit.at_ms));
        self.has_gaps = true;
        Ok(true)
    }

    /// The commit rule: the change must begin where the partition is committed, in the current epoch.
    fn check_range(&self, epoch: u32, partition: i32, from: i64, to: i64) -> Result<&'a PartitionState> {
        let (state, stream) = (self.state, &self.state.stream);
        let Some(partition_state) = stream.partitions.get(&partition) else {
            return match epoch == stream.epoch {
                true => refused(state, format!("partition {partition} was never begun")),
                false => Err(fenced(state, partition, from)),
            };
        };
        if epoch != stream.epoch || from != partition_state.committed {
            return Err(fenced(state, partition, from));
        }
        if from >= to {
            return refused(state, format!("partition {partition}: offsets {from} to {to} are not a range"));
        }
        Ok(partition_state)
    }

    /// What was read from `from` on must have been read as the table's spec says.
    fn check_read_with(&self, schema: &TableSchema, partition: i32, from: i64) -> Result<()> {
        if schema.reads_like(&self.state.schema) {
            return Ok(());
        }
        Err(SegmentError::SpecChanged { table: self.state.spec.name.clone(), partition, from })
    }

    /// The actions of the entry; `None` if nothing is in it.
    ///
    /// # Errors
    /// If the stream state cannot be written as JSON.
    pub(super) fn entry(self) -> Result<Option<Vec<Action>>> {
        if self.ids.is_empty() {
            return Ok(None);
        }
        let spec = &self.state.spec;
        let mut write = vec![actions::commit_info(&self.ids, self.at_ms, "STREAMING UPDATE")];
        write.extend(self.adds);
        if self.has_gaps {
            let mut stream = self.state.stream.clone();
            let moved = self.moved.iter().map(|(&partition, (moved, _))| (partition, moved.clone()));
            stream.partitions.extend(moved);
            write.push(actions::stream(&spec.name, &stream)?);
        }
        let committed = self.moved.iter();
        write.extend(
            committed
                .map(|(&partition, (moved, at_ms))| actions::txn(spec, partition, moved.committed, *at_ms)),
        );
        Ok(Some(write))
    }
}

/// What is decided about commits that are to share an entry.
pub(super) struct Decided {
    /// For each, in their order. Those that are not refused hold once the entry, if there is one, is written.
    pub(super) outcomes: Vec<Result<()>>,
    /// What is to be written.
    pub(super) entry: Option<Vec<Action>>,
}
