//! The table log: the ordered, atomic history of a table, held as a Delta Lake log in the object store.
//!
//! An entry is one object, created only if it is absent, so exactly one writer owns each version. A sealed
//! segment and its partition's new committed offset are one entry: rows and offset become visible together,
//! and there is no second place where offsets live.
//!
//! ```text
//! Commit -> catch up if in doubt -> decide (pure) -> create version N+1 -> apply it
//!                                     ^                    | taken, or no answer
//!                                     +--- read N+1.. <----+
//! ```
//!
//! # Why a commit lands at most once
//!
//! Let X be a commit's id. A writer puts X at version v only after it has read an entry of every version
//! below v and found none of them to be X.
//!
//! 1. A put whose answer is lost may still land later, but only at the version it was aimed at, and only if
//!    that version is absent (create-if-absent). Versions below v exist, so no earlier put of X can land
//!    any more.
//! 2. At v itself all puts of X compete with each other and with everybody else's. One wins. If it is X, the
//!    retry meets "already exists", reads v, finds its own id, and succeeds. If it is another's, X has no
//!    chance left at v; the writer reads that entry, decides again, and only then aims at v + 1.
//! 3. If v cannot be read back (the store is down), or it is still absent, nothing is decided: the caller gets
//!    a transient error and tries again with the same [`Commit`], which is aimed at v again.
//!
//! So at any instant at most one version can receive X, and once it has, every path ends in success. Should X
//! have landed before entries that only a checkpoint summarises, the segment of the same id is in the table, or among those
//! removed lately, or (for a change without a segment) the writer is fenced and resumes at the committed offset. A zombie,
//! whose partition was taken over, meets the successor's entry on its way and finds the offset moved: fenced.
//!
//! # Several commits in one entry
//!
//! A write takes as long as the store takes, so what a process wants to commit meanwhile [waits](queue) and then goes out
//! [together](draft), as one version with several segments. What holds of a lone commit holds of each of them:
//!
//! 1. What is decided about a commit is what would be decided if it were alone: those that share an entry are of different
//!    partitions, and none changes what another depends on. The entry holds those that are not refused, and no other.
//! 2. Whatever becomes of the write becomes of all: an entry is one object. If another took the version, all are decided
//!    anew on what it says. The proof above never counts commits: X is aimed at v, alone or in any company, only by a
//!    writer that found X in no entry below v. The company may change from try to try.
//! 3. Each caller has his own answer, and none before it is true: that his commit is in the log when the entry is there, that
//!    it is refused when the log says so.
//! 4. The ids of all are in the entry. A build of Headwater that does not know of several reads the same table from it, and
//!    only fails to know those ids, which no commit of its own has.
//! 5. A version thus adds any number of segments, at most one per partition, and moves as many committed offsets.
//!
//! # Dropping
//!
//! Dropping a table writes an entry that marks it and removes its segments; [`TableLog::purge`] then deletes its
//! objects, but never its log. Creating a table of that name again carries the log on, in a new stream epoch.
//! Were the log to begin at 0 again, a writer that slept through all this could still create the version after
//! the last one that it knows.
//!
//! **Architecture Invariant:** nothing here deletes the object of a commit that failed; an entry may name it. What may be
//! deleted, and when, is in [`maintain::garbage`](crate::maintain::garbage).

mod actions;
mod checkpoint;
mod chunk;
mod compact;
mod compatible;
mod decide;
mod draft;
mod files;
mod maintenance;
mod queue;
mod references;
mod segments;
#[cfg(test)]
mod simulation;
mod snapshot;
mod state;
mod stream;
mod table_log;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
pub(crate) mod tests;

pub use chunk::{BoundArrays, ColumnBounds, Place, SegmentChunk, array_of};
pub use compact::Conflict;
pub use decide::{Change, Commit};
pub use maintenance::{open_tables, self_test, table_directories, table_root};
pub use references::{References, Standing};
pub use segments::{SegmentKey, Segments};
pub use snapshot::LogSnapshot;
pub use stream::{ClosedEpoch, Gap, GapReason, PartitionState, StreamState};
pub use table_log::TableLog;
