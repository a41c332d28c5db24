//! What a collector asks a log: which segments it names, which it has removed, and which it will never name again.

use std::collections::HashSet;

use ulid::Ulid;

use super::state::LogState;

/// How a segment stands with the newest version of its table's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is in the table.
    Named,
    /// It was in the table. It never comes back: an offset is sealed once, and what replaces others must find them in the table.
    Removed,
    /// No entry that is known names it: its commit failed, or is still to come, or it was removed many days ago.
    Unknown,
}

/// The segments of a table, present and past, at the newest version of its log.
#[derive(Clone, Debug)]
pub struct References {
    /// No segment that was made before this moment (by its ULID, in milliseconds) can enter the table any more.
    pub collected_before_ms: u64,
    named: HashSet<Ulid>,
    removed: HashSet<Ulid>,
}

impl References {
    pub(super) fn of(state: &LogState) -> Self {
        Self {
            collected_before_ms: state.stream.collected_before_ms,
            named: state.segments.places().map(|place| place.id).collect(),
            removed: state.removed.keys().copied().collect(),
        }
    }

    /// How a segment stands.
    pub fn standing(&self, segment: Ulid) -> Standing {
        match (self.named.contains(&segment), self.removed.contains(&segment)) {
            (true, _) => Standing::Named,
            (false, true) => Standing::Removed,
            (false, false) => Standing::Unknown,
        }
    }

    /// The segments that were removed.
    pub fn removed(&self) -> impl Iterator<Item = Ulid> {
        self.removed.iter().copied()
    }

    /// For tests of what is decided on it.
    #[cfg(test)]
    pub(crate) fn made_of(named: &[Ulid], removed: &[Ulid], collected_before_ms: u64) -> Self {
        Self {
            collected_before_ms,
            named: named.iter().copied().collect(),
            removed: removed.iter().copied().collect(),
        }
    }
}
