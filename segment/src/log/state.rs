//! The state that replaying a log yields, and how one entry changes it.
//!
//! A writer applies its own entry by the same function as everybody else's, so what it believes after a
//! commit is what a reader of the log finds.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use deltalake_core::kernel::{Action, Add, Metadata};
use ulid::Ulid;

use super::actions;
use super::chunk::Place;
use super::segments::Segments;
use super::snapshot::LogSnapshot;
use super::stream::StreamState;
use crate::schema::TableSchema;
use crate::sealed::SegmentMeta;
use crate::spec::TableSpec;
use crate::{Result, SegmentError};

/// How many commit ids are remembered: a quarter of an hour if 1,000 partitions seal every minute, where a retry comes within
/// a minute. Under a megabyte per table. A retry that comes later finds its segment, or is fenced.
const RECENT_COMMITS_MAX: usize = 16_384;

/// As long as Delta checkpoints keep them.
const REMOVED_KEPT_MS: i64 = 7 * 24 * 3_600_000;
/// Entries between two looks at which removed segments are to be forgotten.
const FORGET_EVERY: u64 = 64;

/// A table as its log describes it at one version.
#[derive(Clone, Debug)]
pub(super) struct LogState {
    pub(super) version: u64,
    /// Changes when a dropped table is created anew in the same place.
    pub(super) table_id: String,
    pub(super) dropped: bool,
    pub(super) spec: Arc<TableSpec>,
    pub(super) schema: Arc<TableSchema>,
    pub(super) segments: Segments,
    pub(super) stream: StreamState,
    pub(super) recent: RecentCommits,
    /// Segments that were removed, and when. For [`REMOVED_KEPT_MS`]; longer ago nobody asks.
    pub(super) removed: BTreeMap<Ulid, i64>,
}

impl LogState {
    /// The state after `version`, whose entry (or checkpoint, if there is no state before it) holds `actions`.
    ///
    /// # Errors
    /// `Corrupt` naming `origin` if the actions do not make sense, `Refused` if they need features that we do not know.
    pub(super) fn apply(
        before: Option<Self>,
        version: u64,
        actions: &[Action],
        origin: &str,
    ) -> Result<Self> {
        for action in actions {
            if let Action::Protocol(protocol) = action {
                actions::check_protocol(origin, protocol)?;
            }
        }
        let metadata = actions.iter().rev().find_map(|action| match action {
            Action::Metadata(metadata) => Some(metadata),
            _ => None,
        });
        let mut state = match (before, metadata) {
            (Some(state), None) => state,
            (Some(state), Some(metadata)) => state.with_metadata(metadata, origin)?,
            (None, Some(metadata)) => Self::begin(metadata, origin)?,
            (None, None) => {
                return Err(SegmentError::Corrupt(format!("{origin}: there is no metaData action")));
            }
        };
        state.version = version;
        state.remove_segments(actions);
        for action in actions {
            match action {
                Action::Remove(remove) => {
                    if let Some(id) = SegmentMeta::id_of_path(&remove.path) {
                        state.removed.insert(id, remove.deletion_timestamp.unwrap_or_default());
                    }
                }
                Action::Add(add) => state.add_segment(add, origin)?,
                Action::DomainMetadata(domain) => {
                    if let Some(stream) = actions::read_stream(origin, domain)? {
                        state.stream = stream;
                    }
                }
                Action::CommitInfo(info) => state.recent.extend(actions::commit_ids(info)),
                _ => {}
            }
        }
        if version.is_multiple_of(FORGET_EVERY) {
            state.forget_removed(actions);
        }
        // After the domain metadata, whatever their order in the entry: `txn` is the authority on what is committed. A
        // partition that the stream does not list is of a table that was dropped.
        for action in actions {
            if let Action::Txn(txn) = action
                && let Some(partition) = actions::txn_partition(&state.spec, txn)
                && let Some(partition) = state.stream.partitions.get_mut(&partition)
            {
                partition.committed = txn.version;
            }
        }
        Ok(state)
    }

    fn begin(metadata: &Metadata, origin: &str) -> Result<Self> {
        let (spec, dropped) = actions::read_metadata(origin, metadata)?;
        Ok(Self {
            version: 0,
            table_id: metadata.id().to_string(),
            dropped,
            schema: Arc::new(TableSchema::new(&spec)),
            spec: Arc::new(spec),
            segments: Segments::default(),
            stream: StreamState::default(),
            recent: RecentCommits::default(),
            removed: BTreeMap::new(),
        })
    }

    /// Statistics are held by schema order, so segments are read again when the columns change.
    fn with_metadata(mut self, metadata: &Metadata, origin: &str) -> Result<Self> {
        let next = Self::begin(metadata, origin)?;
        if next.schema.columns() != self.schema.columns() {
            let read_again = |place: &Place| {
                let add = place.meta.to_add(&self.schema)?;
                Ok((place.key, Arc::new(SegmentMeta::from_add(&add, &next.schema)?)))
            };
            self.segments = self.segments.places().map(read_again).collect::<Result<_>>()?;
        }
        Ok(Self {
            segments: self.segments,
            stream: self.stream,
            recent: self.recent,
            removed: self.removed,
            version: self.version,
            ..next
        })
    }

    fn remove_segments(&mut self, actions: &[Action]) {
        let removed: HashSet<Ulid> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Remove(remove) => SegmentMeta::id_of_path(&remove.path),
                _ => None,
            })
            .collect();
        if !removed.is_empty() {
            self.segments.remove(&removed);
        }
    }

    fn forget_removed(&mut self, actions: &[Action]) {
        let written_at = actions.iter().find_map(|action| match action {
            Action::CommitInfo(info) => info.timestamp,
            _ => None,
        });
        if let Some(written_at) = written_at {
            self.removed.retain(|_, at| *at > written_at.saturating_sub(REMOVED_KEPT_MS));
        }
    }

    fn add_segment(&mut self, add: &Add, origin: &str) -> Result<()> {
        let segment = SegmentMeta::from_add(add, &self.schema)?;
        let key = (segment.partition, actions::read_epoch(origin, add)?, segment.from);
        match self.segments.insert(key, Arc::new(segment)) {
            None => Ok(()),
            Some(other) if other.path == add.path => Ok(()), // Delta: a file added again replaces its first entry
            Some(other) => Err(SegmentError::Corrupt(format!(
                "{origin}: {} begins at the same offset as {}",
                add.path, other.path
            ))),
        }
    }

    /// What readers see.
    pub(super) fn snapshot(&self) -> LogSnapshot {
        LogSnapshot {
            version: self.version,
            spec: self.spec.clone(),
            schema: self.schema.clone(),
            segments: self.segments.clone(),
            stream: self.stream.clone(),
        }
    }
}

/// The ids of the last commits that were read as entries; those before a checkpoint are not known.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentCommits {
    order: VecDeque<Ulid>,
    known: HashSet<Ulid>,
}

impl RecentCommits {
    pub(super) fn contains(&self, id: Ulid) -> bool {
        self.known.contains(&id)
    }

    fn extend(&mut self, ids: impl Iterator<Item = Ulid>) {
        for id in ids {
            if self.order.len() >= RECENT_COMMITS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
            self.order.push_back(id);
            self.known.insert(id);
        }
    }
}
