//! What the supervisor does as partitions move among the nodes of a cluster: it gives up what others serve, and begins what is
//! this node's. Whose they are is [`Ownership`](crate::ownership::Ownership)'s answer; when one is given up is decided in
//! [`crate::decide`].
//!
//! **Invariant:** a partition is held from its start until it is released, whatever happens to it in between, and only what is
//! held has rows in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use headwater_segment::live::PartitionStage;

use super::supervisor::{Running, Supervisor};
use super::worker::Command;
use crate::decide::{MOVES_MAX, decide_release, decide_take};
use crate::ownership::Rank;

#[cfg(test)]
mod tests;

/// The partitions of a table, by who consumes them.
#[derive(Default)]
pub(super) struct Holdings {
    /// Those that were started here, and since when they are not this node's.
    held: BTreeMap<i32, Option<Instant>>,
    /// Those that are left to others.
    elsewhere: BTreeSet<i32>,
    /// Whether one of the latter was this node's when that was last asked.
    has_wanted: bool,
    /// Whether one that is this node's was put off when there was last one to start, since too many moved here.
    has_postponed: bool,
    /// When the owners of a partition were last seen to have taken it over.
    taken_over: Option<Instant>,
}

impl Holdings {
    /// Notes that a partition starts here.
    pub(super) fn hold(&mut self, partition: i32) {
        self.elsewhere.remove(&partition);
        self.held.insert(partition, None);
    }
}

impl Supervisor {
    pub(super) fn rank(&self, partition: i32) -> Rank {
        let live = &self.parts.live;
        self.parts.ownership.rank(live.name(), live.log().table_id(), partition)
    }

    /// Whether the background work of the table is this node's.
    pub(super) fn runs_jobs(&self) -> bool {
        let live = &self.parts.live;
        self.parts.ownership.runs_jobs(live.name(), live.log().table_id())
    }

    /// Releases partitions that are others' by now. Returns whether one is to be begun: it has just become this node's, or it was put
    /// off and need not wait any more.
    pub(super) fn follow_ownership(&mut self, now: Instant) -> bool {
        let held: Vec<i32> = self.holdings.held.keys().copied().collect();
        for partition in held {
            let rank = self.rank(partition);
            let Some(without_rank) = self.holdings.held.get_mut(&partition) else { continue };
            if rank != Rank::None {
                *without_rank = None;
                continue;
            }
            let since = *without_rank.get_or_insert(now);
            // They take over a few at a time: as long as they do, those that wait for their turn are kept.
            let since = self.holdings.taken_over.map_or(since, |at| at.max(since));
            let live = &self.parts.live;
            let is_served =
                self.parts.ownership.is_served_by_owners(live.name(), live.log().table_id(), partition);
            if decide_release(rank, now.saturating_duration_since(since), is_served) {
                tracing::info!(table = live.name(), partition, is_served, "left to other nodes");
                if is_served {
                    self.holdings.taken_over = Some(now);
                }
                self.release(partition);
            }
        }
        let has_wanted = self.has_wanted();
        let had_wanted = std::mem::replace(&mut self.holdings.has_wanted, has_wanted);
        (has_wanted && !had_wanted) || (self.holdings.has_postponed && self.moving() < MOVES_MAX)
    }

    /// What was put off is to be found out anew.
    pub(super) fn forget_postponed(&mut self) {
        self.holdings.has_postponed = false;
    }

    /// Those of `idle`, which do not run, that are to start now.
    pub(super) fn due(&mut self, idle: Vec<i32>) -> Vec<i32> {
        let mut moving = self.moving();
        let mut due = Vec::with_capacity(idle.len());
        let mut ranked: Vec<(Rank, i32)> =
            idle.into_iter().map(|partition| (self.rank(partition), partition)).collect();
        // What this node is to seal comes first.
        ranked.sort_by_key(|(rank, _)| *rank != Rank::Primary);
        for (rank, partition) in ranked {
            let is_served = self.is_served_elsewhere(partition);
            if decide_take(rank, is_served, moving) {
                moving += usize::from(is_served);
                due.push(partition);
            } else if rank != Rank::None {
                self.holdings.has_postponed = true;
            }
        }
        due
    }

    /// How many partitions are on their way here from nodes that still serve them.
    fn moving(&self) -> usize {
        let progress = self.parts.live.progress().into_iter();
        let begun = progress.filter(|progress| {
            matches!(progress.stage, PartitionStage::Starting | PartitionStage::CatchingUp)
                && self.running.get(&progress.partition) == Some(&Running::Fetching)
        });
        begun.filter(|progress| self.is_served_elsewhere(progress.partition)).count()
    }

    fn is_served_elsewhere(&self, partition: i32) -> bool {
        self.parts.ownership.is_served_elsewhere(self.parts.live.name(), partition)
    }

    /// Whether a partition that was left to others is this node's.
    pub(super) fn has_wanted(&self) -> bool {
        self.holdings.elsewhere.iter().any(|partition| self.rank(*partition) != Rank::None)
    }

    /// Notes which partitions of the topic others consume.
    pub(super) fn leave_to_others(&mut self, partitions: &[i32]) {
        self.holdings.elsewhere.retain(|partition| partitions.contains(partition));
        for &partition in partitions {
            let is_known =
                self.holdings.held.contains_key(&partition) || self.holdings.elsewhere.contains(&partition);
            if !is_known && self.rank(partition) == Rank::None {
                self.release(partition);
            }
        }
    }

    /// Stops a partition that is to start again, if it is this node's.
    pub(super) fn stop_for_restart(&mut self, partition: i32) {
        if self.rank(partition) == Rank::None {
            return self.release(partition);
        }
        self.command(partition, Command::Pause { partition, stage: PartitionStage::Starting });
        self.running.remove(&partition);
    }

    fn release(&mut self, partition: i32) {
        self.running.remove(&partition);
        self.holdings.held.remove(&partition);
        self.holdings.elsewhere.insert(partition);
        if let Some(topic) = &self.topic {
            topic.forget(partition);
        }
        self.command(partition, Command::Release { partition });
    }
}
