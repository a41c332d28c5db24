//! A query that is late is run once more beside itself, without the node that it waits for, and the first answer counts.
//!
//! Late is what 95 of a hundred queries of its shape are not. Few queries may be run twice: where many are late there is too
//! much to do, and doing it twice is no help.
//!
//! Where data nodes exchange rows, whoever waits for a late node is late itself, and no query says which one it is. There the
//! nodes are asked something else, and those that are late to answer that are done without.
//!
//! Invariants: only one of the two runs is answered from, and the other one is cancelled before a row leaves; a query that could
//! not be answered without the late node is not run twice.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::across::{Begun, Failed, Try, try_once};
use super::run::QueryTask;
use crate::cluster::NodeId;
use crate::cluster::nodes::Nodes;

/// Sooner than this no query is late.
const LATE_MIN: Duration = Duration::from_millis(20);
/// When a query is late of whose shape too little is known.
const LATE_UNKNOWN: Duration = Duration::from_secs(1);
/// Between two looks at a query that is late.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Between two questions whether a node is there.
const PROBE_EVERY: Duration = Duration::from_millis(250);
/// Queries for which one may be run twice: 5 %.
const QUERIES_PER_HEDGE: f64 = 20.0;
/// Queries in a row that may be run twice after many that were not: as many as may wait for a node when it falls silent.
const HEDGES_MAX: f64 = 32.0;

/// How many queries may be run twice.
#[derive(Debug)]
pub(crate) struct HedgeBudget(Mutex<f64>);

impl Default for HedgeBudget {
    fn default() -> Self {
        Self(Mutex::new(HEDGES_MAX))
    }
}

impl HedgeBudget {
    /// One more query.
    fn put(&self) {
        let mut left = self.0.lock();
        *left = (*left + 1.0 / QUERIES_PER_HEDGE).min(HEDGES_MAX);
    }

    fn take(&self) -> bool {
        let mut left = self.0.lock();
        let may = *left >= 1.0;
        *left -= if may { 1.0 } else { 0.0 };
        may
    }
}

/// Runs the query once, or twice if it is late; `next` makes the second run, without the nodes that it is told.
pub(super) async fn run(
    task: &QueryTask,
    nodes: &Nodes,
    first: &Try,
    next: impl FnOnce(&BTreeSet<NodeId>) -> Try,
) -> Result<Begun, Failed> {
    let begun_at = Instant::now();
    task.entry.follow(first.number(), first.stats());
    let mut running = pin!(Box::pin(try_once(task, first)));
    let late = tokio::select! {
        biased;
        done = running.as_mut() => return took(nodes, first, begun_at, done),
        late = until_late(nodes, first) => late,
    };
    tracing::info!(query = task.entry.id, without = ?late, "a query is late and is run once more");
    let (second, second_at) = (next(&late), Instant::now());
    let mut beside = pin!(Box::pin(try_once(task, &second)));
    let (is_won, answer) = tokio::select! {
        biased;
        done = running.as_mut() => match done {
            Ok(begun) => (false, Ok(begun)),
            // What the other one fails of is its own matter.
            Err(failed) => match beside.await {
                Ok(begun) => (true, Ok(begun)),
                Err(_) => (false, Err(failed)),
            },
        },
        done = beside.as_mut() => match done {
            Ok(begun) => (true, Ok(begun)),
            Err(_) => (false, running.await),
        },
    };
    let won = if is_won { "second" } else { "first" };
    metrics::counter!("headwater_queries_hedged_total", "won" => won).increment(1);
    if is_won {
        task.entry.follow(second.number(), second.stats());
        return took(nodes, &second, second_at, answer);
    }
    took(nodes, first, begun_at, answer)
}

/// Notes how long a query of this shape takes.
fn took(nodes: &Nodes, run: &Try, since: Instant, done: Result<Begun, Failed>) -> Result<Begun, Failed> {
    if done.is_ok() {
        nodes.paces().took(run.waits.shape, since.elapsed());
    }
    done
}

/// Waits until the query is late because of some nodes without which it can be run. For ever, if that is never so.
async fn until_late(nodes: &Nodes, run: &Try) -> BTreeSet<NodeId> {
    nodes.hedges().put();
    let usual = nodes.paces().late_after(run.waits.shape);
    tokio::time::sleep(usual.unwrap_or(LATE_UNKNOWN).max(LATE_MIN)).await;
    let mut probe_at = Instant::now();
    loop {
        let mut late = run.waits.to_avoid(usual.is_some());
        if late.is_none() && probe_at <= Instant::now() {
            late = run.waits.to_avoid_silent(nodes.silent(&run.waits.given()).await);
            probe_at = Instant::now() + PROBE_EVERY;
        }
        if let Some(late) = late {
            let without = run.excluded.union(&late).cloned().collect();
            if !nodes.view(&without).nodes().is_empty() && nodes.hedges().take() {
                return late;
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_queries_are_run_twice() {
        let budget = HedgeBudget::default();
        let taken = (0..1000).filter(|_| {
            budget.put();
            budget.take()
        });
        // What was there at first, and 5 % of a thousand.
        let taken = taken.count();
        assert!((80..=82).contains(&taken), "{taken}");
    }
}
