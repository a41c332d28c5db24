//! What a writer wants to commit, and the pure decision whether the log allows it.
//!
//! The rule for the changes that may share an entry is in [`draft`](super::draft); all others are decided here, one by one.
//!
//! **Architecture Invariant:** no store, no clock, no randomness. The actions are built afresh from each state
//! that the decision is taken on, because the stream state is written whole: an entry built on an older state
//! would undo what another partition's writer recorded since.

use std::collections::BTreeMap;
use std::sync::Arc;

use deltalake_core::kernel::Action;
use ulid::Ulid;
use uuid::Uuid;

use super::actions;
use super::chunk::Place;
use super::compact::{Conflict, check_not_collected, decide_compact};
use super::compatible::check_compatible;
use super::draft::{Decided, Draft};
use super::queue::copy;
use super::state::LogState;
use super::stream::{Gap, GapReason, StreamState};
use crate::schema::TableSchema;
use crate::sealed::SegmentMeta;
use crate::spec::TableSpec;
use crate::{Result, SegmentError};

/// One change of a table, with the identity by which its writer knows it again. Whoever must try again, after an error
/// that [may pass](SegmentError::is_transient), passes the same value.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Unique per change, never reused for another.
    pub id: Ulid,
    /// When the change was made, milliseconds since the epoch.
    pub at_ms: i64,
    /// The change.
    pub change: Change,
}

/// A change of a table. Offsets are of the stream epoch that the writer read them from
/// ([`StreamState::epoch`]); in any other epoch the change is fenced.
#[derive(Clone, Debug)]
pub enum Change {
    /// A sealed segment, uploaded before, whose `from` is the committed offset.
    Segment {
        /// Stream epoch.
        epoch: u32,
        /// The segment.
        meta: Arc<SegmentMeta>,
        /// The schema that the rows were read and the segment was sealed with; its statistics are in that order.
        schema: Arc<TableSchema>,
    },
    /// `[from, to)` was read in full and held no row of the table.
    Offsets {
        /// Stream epoch.
        epoch: u32,
        /// The schema that it was read with: under another one there may be rows.
        schema: Arc<TableSchema>,
        /// Kafka partition.
        partition: i32,
        /// The committed offset.
        from: i64,
        /// The next one.
        to: i64,
    },
    /// `[from, to)` is gone from the stream and was never read.
    Gap {
        /// Stream epoch.
        epoch: u32,
        /// Kafka partition.
        partition: i32,
        /// The committed offset.
        from: i64,
        /// The next offset that exists.
        to: i64,
        /// Why.
        reason: GapReason,
    },
    /// Consumption begins on partitions that the table has never consumed: all of them at the first start, later those that
    /// the topic gained. If one of them was begun meanwhile the whole change is fenced: read the log and begin the rest.
    FirstStart {
        /// Stream epoch.
        epoch: u32,
        /// Start offset of each partition.
        starts: BTreeMap<i32, i64>,
        /// Kafka's identity of the topic, if the broker tells it.
        topic_id: Option<String>,
    },
    /// The topic was deleted and created again: its offsets begin anew, and the rows of the old one stay.
    TopicRecreated {
        /// The epoch that ends with this change.
        epoch: u32,
        /// Start offset of each partition of the new topic.
        starts: BTreeMap<i32, i64>,
        /// The new topic's identity, if the broker tells it.
        topic_id: Option<String>,
    },
    /// A segment is written anew with the same rows (with other indexes, say): the new one takes the old one's place in one
    /// entry that changes no data and no offset.
    Replace {
        /// The segment that goes.
        old: Ulid,
        /// The one that comes, uploaded before: of the same partition, offsets and number of rows.
        meta: Arc<SegmentMeta>,
        /// The schema that it was written with; its statistics are in that order.
        schema: Arc<TableSchema>,
    },
    /// Neighbouring segments are written anew as one, with the same rows: it takes their place in one entry that changes no
    /// data and no committed offset. What lies between them must be nothing, or recorded as empty.
    Compact {
        /// Stream epoch of their offsets, which need not be the current one.
        epoch: u32,
        /// The segments that go, two or more.
        old: Vec<Ulid>,
        /// The one that comes, uploaded before: from the first offset of the first to the end of the last.
        meta: Arc<SegmentMeta>,
        /// The schema that it was written with; its statistics are in that order.
        schema: Arc<TableSchema>,
    },
    /// The table's retention removes segments. Ids that are not in the table are passed over.
    Expire {
        /// Ids of the segments.
        segments: Vec<Ulid>,
    },
    /// A collector is about to delete objects that no entry names: from here on, none that was made before `before_ms` (by the
    /// time of its ULID) is let into the table.
    Collect {
        /// Milliseconds since the epoch.
        before_ms: u64,
    },
    /// The table gets another spec.
    SetSpec {
        /// The new spec.
        spec: Arc<TableSpec>,
    },
    /// Consumption of the whole table is paused on command, or goes on.
    SetPaused {
        /// Whether it is paused.
        paused: bool,
    },
    /// The table ceases to exist.
    Drop,
}

/// What to do about a commit.
#[derive(Debug)]
pub(super) enum Decision {
    /// Write these actions as the next version, if nobody else does.
    Write(Vec<Action>),
    /// The log already says it.
    AlreadyCommitted,
}

/// Decides about a commit on the state after the last known entry.
///
/// # Errors
/// `Fenced` if the offset or the epoch moved on, `SpecChanged` if the rows were read with another spec than the table has: the
/// work is to be dropped (never the uploaded object: only a collector that reads the log may delete objects). `Refused` if the change makes no sense on this table, whoever asks.
pub(super) fn decide(state: &LogState, commit: &Commit) -> Result<Decision> {
    if state.recent.contains(commit.id) {
        return Ok(Decision::AlreadyCommitted);
    }
    match &commit.change {
        Change::Segment { .. } | Change::Offsets { .. } | Change::Gap { .. } => {
            let mut draft = Draft::behind(state);
            draft.add(commit)?;
            Ok(draft.entry()?.map_or(Decision::AlreadyCommitted, Decision::Write))
        }
        Change::FirstStart { epoch, starts, topic_id } => {
            decide_start(state, commit, *epoch, starts, topic_id)
        }
        Change::TopicRecreated { epoch, starts, topic_id } => {
            decide_recreated(state, commit, *epoch, starts, topic_id)
        }
        Change::Replace { old, meta, schema } => decide_replace(state, commit, *old, meta, schema),
        Change::Compact { epoch, old, meta, schema } => {
            decide_compact(state, commit, *epoch, old, meta, schema)
        }
        Change::Expire { segments } => decide_expire(state, commit, segments),
        Change::Collect { before_ms } => decide_collect(state, commit, *before_ms),
        Change::SetSpec { spec } => decide_spec(state, commit, spec),
        Change::SetPaused { paused } => decide_paused(state, commit, *paused),
        Change::Drop => decide_drop(state, commit),
    }
}

/// Decides about commits that are to share an entry: one that must have its own, or any number of those that a [`Draft`] takes.
/// Each has its own outcome; that one is refused changes nothing for the others.
pub(super) fn decide_together(state: &LogState, commits: &[&Commit]) -> Result<Decided> {
    if let [commit] = commits {
        return Ok(match decide(state, commit) {
            Ok(Decision::Write(entry)) => Decided { outcomes: vec![Ok(())], entry: Some(entry) },
            Ok(Decision::AlreadyCommitted) => Decided { outcomes: vec![Ok(())], entry: None },
            Err(error) => Decided { outcomes: vec![Err(error)], entry: None },
        });
    }
    let mut draft = Draft::behind(state);
    let outcomes = commits.iter().map(|commit| draft.add(commit)).collect();
    Ok(Decided { outcomes, entry: draft.entry()? })
}

/// What each of them is told if the write failed with `error` and nothing of it is in the log that is known.
pub(super) fn decide_failed(state: &LogState, commits: &[&Commit], error: &SegmentError) -> Vec<Result<()>> {
    let outcomes = commits.iter().map(|commit| match decide(state, commit)? {
        Decision::AlreadyCommitted => Ok(()),
        Decision::Write(_) => Err(copy(error)),
    });
    outcomes.collect()
}

/// Decides about creating a table where there is none (`None`) or where one was dropped. The log of a dropped table is
/// carried on, in a new epoch: a writer that still believes in the old table finds its next version taken, and its epoch over.
pub(super) fn decide_create(
    state: Option<&LogState>,
    id: Ulid,
    at_ms: i64,
    spec: &TableSpec,
) -> Result<Decision> {
    let mut write = vec![actions::commit_info(&[id], at_ms, "CREATE TABLE")];
    let mut stream = StreamState::default();
    match state {
        None => write.push(actions::protocol(&spec.name)?),
        Some(state) if state.recent.contains(id) => return Ok(Decision::AlreadyCommitted),
        Some(state) if state.dropped => stream.epoch = state.stream.epoch + 1,
        Some(_) => {
            return Err(SegmentError::Refused(format!(
                "table {} already exists; change it with `headwater table apply`, or drop it first",
                spec.name
            )));
        }
    }
    write.push(actions::metadata(Uuid::from_u128(id.0), spec, false, at_ms)?);
    write.push(actions::stream(&spec.name, &stream)?);
    Ok(Decision::Write(write))
}

fn decide_start(
    state: &LogState,
    commit: &Commit,
    epoch: u32,
    starts: &BTreeMap<i32, i64>,
    topic_id: &Option<String>,
) -> Result<Decision> {
    let begun = starts.iter().find(|(partition, _)| state.stream.partitions.contains_key(partition));
    let moved = if epoch == state.stream.epoch { begun } else { starts.iter().next() };
    if let Some((&partition, &start)) = moved {
        return Err(fenced(state, partition, start));
    }
    check_starts(state, starts)?;
    if let (Some(known), Some(found)) = (&state.stream.topic_id, topic_id)
        && known != found
    {
        return refused(
            state,
            format!(
                "the topic is {found}, but the committed offsets are of its predecessor {known}: it was recreated"
            ),
        );
    }
    let mut stream = state.stream.clone();
    stream.topic_id = stream.topic_id.or_else(|| topic_id.clone());
    stream.begin(starts);
    write_stream(state, commit, "STREAMING UPDATE", &stream, starts.keys().copied())
}

fn decide_recreated(
    state: &LogState,
    commit: &Commit,
    epoch: u32,
    starts: &BTreeMap<i32, i64>,
    topic_id: &Option<String>,
) -> Result<Decision> {
    check_starts(state, starts)?;
    if epoch != state.stream.epoch {
        let (partition, start) =
            starts.iter().next().map_or((0, 0), |(&partition, &start)| (partition, start));
        return Err(fenced(state, partition, start));
    }
    let mut stream = state.stream.clone();
    stream.recreate(topic_id.clone(), starts, commit.at_ms);
    write_stream(state, commit, "STREAMING UPDATE", &stream, starts.keys().copied())
}

fn check_starts(state: &LogState, starts: &BTreeMap<i32, i64>) -> Result<()> {
    if starts.is_empty() {
        return refused(state, "there is no partition to begin".into());
    }
    match starts.iter().find(|&(&partition, &start)| partition < 0 || start < 0) {
        Some((partition, start)) => {
            refused(state, format!("partition {partition} cannot begin at offset {start}"))
        }
        None => Ok(()),
    }
}

/// | the new one is in the table | the old one is | both hold the same range and rows | decision |
/// |---|---|---|---|
/// | yes | - | - | already committed |
/// | no | yes | yes | write it |
/// | no | yes | no | refused |
/// | no | no (expired, or replaced by another) | - | conflict |
fn decide_replace(
    state: &LogState,
    commit: &Commit,
    old: Ulid,
    meta: &SegmentMeta,
    schema: &TableSchema,
) -> Result<Decision> {
    if state.segments.find(meta.id).is_some() {
        return Ok(Decision::AlreadyCommitted);
    }
    check_not_collected(state, meta.id)?;
    let Some(Place { key: (_, epoch, _), meta: replaced, .. }) = state.segments.find(old) else {
        return Err(conflict(state, replaced_or_gone(state, old, meta)));
    };
    let identity = |segment: &SegmentMeta| {
        (segment.partition, segment.from, segment.to, segment.rows, segment.dead_letters)
    };
    if identity(replaced) != identity(meta) {
        return refused(
            state,
            format!("{} does not hold the same rows as {}, which it is to replace", meta.path, replaced.path),
        );
    }
    write_rewritten(state, commit, *epoch, &[replaced], meta, schema).map(Decision::Write)
}

/// What became of the segment `old`, in whose place `new` was to come.
fn replaced_or_gone(state: &LogState, old: Ulid, new: &SegmentMeta) -> Conflict {
    let overlaps = |other: &&Arc<SegmentMeta>| {
        other.partition == new.partition && other.from < new.to && new.from < other.to
    };
    let expired = |gap: &Gap| gap.reason == GapReason::Expired && gap.from < new.to && new.from < gap.to;
    let partition = state.stream.partitions.get(&new.partition);
    match state.segments.iter().find(overlaps) {
        Some(other) => Conflict::Replaced { segment: old, by: other.id },
        None if partition.is_some_and(|partition| partition.gaps.iter().any(expired)) => {
            Conflict::Expired { segment: old }
        }
        None => Conflict::Gone { segment: old },
    }
}

/// An entry by which `new` takes the place of `old`, without a change of data.
pub(super) fn write_rewritten(
    state: &LogState,
    commit: &Commit,
    epoch: u32,
    old: &[&SegmentMeta],
    new: &SegmentMeta,
    schema: &TableSchema,
) -> Result<Vec<Action>> {
    let mut add = new.to_add(schema)?;
    add.data_change = false;
    actions::set_epoch(&mut add, epoch);
    // As for a new segment: what cannot be read back must not be written.
    SegmentMeta::from_add(&add, &state.schema)?;
    let mut write = vec![actions::commit_info(&[commit.id], commit.at_ms, "OPTIMIZE")];
    for segment in old {
        let mut remove = actions::remove(&segment.path, segment.size_bytes, commit.at_ms);
        if let Action::Remove(remove) = &mut remove {
            remove.data_change = false;
        }
        write.push(remove);
    }
    write.push(Action::Add(add));
    Ok(write)
}

fn decide_expire(state: &LogState, commit: &Commit, ids: &[Ulid]) -> Result<Decision> {
    let ids: std::collections::HashSet<&Ulid> = ids.iter().collect();
    let mut write = vec![actions::commit_info(&[commit.id], commit.at_ms, "DELETE")];
    let mut stream = state.stream.clone();
    for Place { key: (partition, epoch, _), id, meta: segment } in state.segments.places() {
        if ids.contains(id) {
            stream.expire(*epoch, *partition, segment.from, segment.to, commit.at_ms);
            write.push(actions::remove(&segment.path, segment.size_bytes, commit.at_ms));
        }
    }
    if write.len() == 1 {
        return Ok(Decision::AlreadyCommitted);
    }
    write.push(actions::stream(&state.spec.name, &stream)?);
    Ok(Decision::Write(write))
}

/// The mark only moves forward: one that is behind it is a success.
fn decide_collect(state: &LogState, commit: &Commit, before_ms: u64) -> Result<Decision> {
    if before_ms <= state.stream.collected_before_ms {
        return Ok(Decision::AlreadyCommitted);
    }
    let stream = StreamState { collected_before_ms: before_ms, ..state.stream.clone() };
    write_stream(state, commit, "VACUUM START", &stream, [])
}

fn decide_spec(state: &LogState, commit: &Commit, spec: &TableSpec) -> Result<Decision> {
    if *spec == *state.spec {
        return Ok(Decision::AlreadyCommitted);
    }
    check_compatible(&state.spec, spec).map_err(SegmentError::Refused)?;
    Ok(Decision::Write(vec![
        actions::commit_info(&[commit.id], commit.at_ms, "SET TBLPROPERTIES"),
        actions::metadata(table_id(state)?, spec, false, commit.at_ms)?,
    ]))
}

fn decide_paused(state: &LogState, commit: &Commit, paused: bool) -> Result<Decision> {
    if state.stream.paused == paused {
        return Ok(Decision::AlreadyCommitted);
    }
    let stream = StreamState { paused, ..state.stream.clone() };
    Ok(Decision::Write(vec![
        actions::commit_info(&[commit.id], commit.at_ms, "SET TBLPROPERTIES"),
        actions::stream(&state.spec.name, &stream)?,
    ]))
}

fn decide_drop(state: &LogState, commit: &Commit) -> Result<Decision> {
    let stream = StreamState { epoch: state.stream.epoch, ..StreamState::default() };
    let mut write = vec![
        actions::commit_info(&[commit.id], commit.at_ms, "DROP TABLE"),
        actions::metadata(table_id(state)?, &state.spec, true, commit.at_ms)?,
        actions::stream(&state.spec.name, &stream)?,
    ];
    let removes = state.segments.iter();
    write.extend(removes.map(|segment| actions::remove(&segment.path, segment.size_bytes, commit.at_ms)));
    Ok(Decision::Write(write))
}

/// An entry that changes the stream state, with the committed offset of `moved` partitions.
fn write_stream(
    state: &LogState,
    commit: &Commit,
    operation: &str,
    stream: &StreamState,
    moved: impl IntoIterator<Item = i32>,
) -> Result<Decision> {
    let mut write = vec![
        actions::commit_info(&[commit.id], commit.at_ms, operation),
        actions::stream(&state.spec.name, stream)?,
    ];
    let committed = moved
        .into_iter()
        .filter_map(|partition| Some((partition, stream.partitions.get(&partition)?.committed)));
    write.extend(committed.map(|(partition, to)| actions::txn(&state.spec, partition, to, commit.at_ms)));
    Ok(Decision::Write(write))
}

fn table_id(state: &LogState) -> Result<Uuid> {
    state.table_id.parse().map_err(|_| {
        SegmentError::Corrupt(format!("table {}: id {:?} is not a UUID", state.spec.name, state.table_id))
    })
}

pub(super) fn fenced(state: &LogState, partition: i32, expected: i64) -> SegmentError {
    SegmentError::Fenced {
        table: state.spec.name.clone(),
        partition,
        expected,
        committed: state.stream.partitions.get(&partition).map_or(-1, |partition| partition.committed),
    }
}

pub(super) fn conflict(state: &LogState, conflict: Conflict) -> SegmentError {
    SegmentError::Conflict { table: state.spec.name.clone(), conflict }
}

pub(super) fn refused<T>(state: &LogState, message: String) -> Result<T> {
    Err(SegmentError::Refused(format!("table {}: {message}", state.spec.name)))
}
