//! What leaves the resident store because it is in no table log: replaced, expired, dropped, or sealed and never committed.
//!
//! A sweep compares what is kept with all logs. Until it comes by, such columns cost room, never an answer.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use headwater_segment::clock::now_ms;
use headwater_segment::live::Tables;
use headwater_segment::resident::ResidentStore;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use ulid::Ulid;

const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Columns of a segment are resident before its commit: one as young as this may still be on its way into the log.
const COMMIT_WAIT_MS: u64 = 600_000;

/// Sweeps now and from time to time. `tables` must be all that the process serves by now.
pub(crate) fn start_sweeping(residents: Arc<ResidentStore>, tables: Arc<Tables>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut turns = tokio::time::interval(SWEEP_EVERY);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            let (residents, tables) = (Arc::clone(&residents), Arc::clone(&tables));
            let swept = tokio::task::spawn_blocking(move || {
                let logged = logged_segments(&tables);
                let now_ms = now_ms().unsigned_abs();
                residents.forget(|id| is_gone(id, &logged, now_ms));
            });
            if let Err(error) = swept.await {
                tracing::error!(%error, "resident columns of removed segments could not be dropped");
            }
        }
    })
}

/// The segments of all tables.
fn logged_segments(tables: &Tables) -> HashSet<Ulid> {
    let mut logged = HashSet::new();
    for table in tables.list() {
        logged.extend(table.snapshot().segments.places().map(|place| place.id));
    }
    logged
}

/// Pure: whether a segment is in no log and too old to be on its way into one.
fn is_gone(id: Ulid, logged: &HashSet<Ulid>, now_ms: u64) -> bool {
    !logged.contains(&id) && id.timestamp_ms().saturating_add(COMMIT_WAIT_MS) <= now_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone() {
        let (logged, other) = (Ulid::from_parts(1_000, 1), Ulid::from_parts(1_000, 2));
        let known = HashSet::from([logged]);
        let later = 1_000 + COMMIT_WAIT_MS;
        assert!(!is_gone(logged, &known, later) && is_gone(other, &known, later));
        assert!(!is_gone(other, &known, later - 1), "its commit may be under way");
        assert!(!is_gone(other, &known, 0), "a clock that was set back");
    }
}
