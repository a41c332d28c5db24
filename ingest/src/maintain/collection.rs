//! The deletion of objects that nobody needs: finds them, and deletes them a batch at a time.

use std::sync::Arc;
use std::time::Duration;

use headwater_segment::SegmentError;
use headwater_segment::clock::now_ms;
use headwater_segment::live::LiveTable;
use headwater_segment::maintain::garbage::{self, Collector};
use headwater_segment::tasks::{Task, TaskKind, TaskSubject};
use tokio::sync::Mutex;
use ulid::Ulid;

use super::COLLECT_EVERY;

/// Objects deleted at once.
const BATCH: usize = 100;
/// Between two batches: a store that is busy with this has no time for queries.
const BATCH_EVERY: Duration = Duration::from_millis(200);

/// One sweep over a table.
pub(super) async fn collect(live: Arc<LiveTable>, collector: Arc<Mutex<Collector>>) {
    let table = live.name();
    let what = "objects that no version of the table needs".to_owned();
    let subject = TaskSubject { what, unit: "objects", total: None };
    let task = live.tasks().begin(TaskKind::GarbageCollection, subject);
    let outcome = match sweep(&live, &mut *collector.lock().await, &task).await {
        Ok(deleted) => {
            task.done(Some(COLLECT_EVERY));
            if deleted > 0 {
                tracing::info!(table, deleted, "objects that no version of the table needs were deleted");
            }
            if deleted > 0 { "done" } else { "nothing" }
        }
        Err(error) => {
            tracing::warn!(table, %error, "garbage could not be collected; the next sweep tries again");
            task.failed(&error, Some(COLLECT_EVERY));
            "failed"
        }
    };
    let labels = [("table", table.to_string()), ("outcome", outcome.to_string())];
    metrics::counter!("headwater_garbage_sweeps_total", &labels).increment(1);
}

/// Returns how many objects were deleted.
async fn sweep(live: &LiveTable, collector: &mut Collector, task: &Task) -> Result<u64, SegmentError> {
    let (table, store) = (live.name(), live.store());
    let found = collector.find(live.log(), store, live.root(), Ulid::new(), now_ms).await?;
    task.set_total(found.len() as u64);
    let mut deleted = 0;
    for batch in found.chunks(BATCH) {
        if deleted > 0 {
            tokio::time::sleep(BATCH_EVERY).await;
        }
        tracing::debug!(
            table,
            segments =
                batch.iter().filter_map(object_store::path::Path::filename).collect::<Vec<_>>().join(","),
            "deleting objects that no version of the table needs"
        );
        let count = garbage::delete(store, live.root(), batch.to_vec()).await?;
        metrics::counter!("headwater_garbage_deleted_total", "table" => table.to_string()).increment(count);
        task.advance(batch.len() as u64);
        deleted += count;
    }
    Ok(deleted)
}
