//! Background work on the sealed segments of one table, beside ingestion and queries: compaction, and the deletion of objects
//! that nobody needs.
//!
//! The table's supervisor calls [`Maintenance::sweep`] now and then, if this node does the table's background work; what is to be
//! done then runs as tasks. What two nodes do at once is sorted out by the table log, at the cost of work.
//!
//! **Architecture Invariant:** nothing is decided here. Which segments are compacted, and what may be deleted, is in
//! [`headwater_segment::maintain`].

mod collection;
mod compaction;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_segment::maintain::garbage::Collector;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::consume::SupervisorParts;
use compaction::{Compactor, Postponed};

/// Between two looks for garbage: a listing of the whole table.
const COLLECT_EVERY: Duration = Duration::from_secs(3600);

/// The background work of one table, and what it remembers from one sweep to the next.
#[derive(Default)]
pub(crate) struct Maintenance {
    compacting: Option<JoinHandle<()>>,
    postponed: Arc<Mutex<Postponed>>,
    collecting: Option<JoinHandle<()>>,
    collected_at: Option<Instant>,
    collector: Arc<tokio::sync::Mutex<Collector>>,
}

impl Maintenance {
    /// Begins what is due, unless it is under way.
    pub(crate) fn sweep(&mut self, parts: &SupervisorParts) {
        // Above the high mark memory is for rows that come in.
        if is_idle(self.compacting.as_ref()) && !parts.budget.above_high() {
            let compactor = Compactor {
                live: parts.live.clone(),
                encode_permits: parts.encode_permits.clone(),
                postponed: self.postponed.clone(),
            };
            if let Some(first) = compactor.first() {
                self.compacting = Some(parts.runtime.spawn(compactor.run(first)));
            }
        }
        let is_due = self.collected_at.is_none_or(|at| at.elapsed() >= COLLECT_EVERY);
        if is_due && is_idle(self.collecting.as_ref()) {
            self.collected_at = Some(Instant::now());
            let work = collection::collect(parts.live.clone(), self.collector.clone());
            self.collecting = Some(parts.runtime.spawn(work));
        }
    }

    /// Ends the tasks where they stand: what a compaction has uploaded is left to a collector.
    pub(crate) fn stop(&mut self) {
        self.compacting.take().into_iter().chain(self.collecting.take()).for_each(|task| task.abort());
    }
}

fn is_idle(task: Option<&JoinHandle<()>>) -> bool {
    task.is_none_or(JoinHandle::is_finished)
}
