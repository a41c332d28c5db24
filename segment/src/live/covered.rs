//! Mutable segments whose rows a log snapshot has in sealed ones, whoever sealed them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::PartitionSegments;
use crate::log::LogSnapshot;

/// Removes segments that lie wholly below the committed offset, except the newest of each partition: its writer may go on.
/// Of a segment that is covered in part, readers take what is not.
pub(super) fn remove(partitions: &mut BTreeMap<i32, PartitionSegments>, log: &LogSnapshot) {
    for (partition, segments) in partitions {
        let (Some(committed), Some(newest)) = (log.committed(*partition), segments.last().cloned()) else {
            continue;
        };
        segments.retain(|segment| segment.next_offset() > committed || Arc::ptr_eq(segment, &newest));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::ObjectStore;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use ulid::Ulid;

    use crate::budget::MemoryBudget;
    use crate::live::LiveTable;
    use crate::log::tests::{meta, spec};
    use crate::log::{Change, Commit, TableLog};
    use crate::mutable::MutableSegment;
    use crate::schema::TableSchema;
    use crate::value::{RowSink, Value};

    async fn commit(log: &TableLog, change: Change) {
        log.commit(&Commit { id: Ulid::new(), at_ms: 0, change }).await.unwrap();
    }

    /// What the node that has the log seals.
    async fn seal(log: &TableLog, from: i64, to: i64) {
        let schema = Arc::new(TableSchema::new(&spec()));
        commit(log, Change::Segment { epoch: 0, meta: meta(&spec(), 0, from, to), schema }).await;
    }

    fn segment(live: &LiveTable, budget: &Arc<MemoryBudget>, from: i64, to: i64) {
        let (mut writer, segment) = MutableSegment::create(live.schema(), 0, from, budget.clone());
        for offset in from..to {
            writer.set(0, Value::I64(offset));
            writer.finish_row(offset, None, None, None);
        }
        writer.publish(to);
        live.open_segment(segment);
    }

    /// Sealed and open rows, as a query counts them.
    fn rows(live: &LiveTable) -> (u64, usize) {
        let read = live.read();
        let sealed = read.log.segments.rows();
        (sealed, read.open.iter().map(|slice| slice.rows.len()).sum())
    }

    #[tokio::test]
    async fn what_another_process_commits_leaves_memory_and_no_row_is_lost_or_doubled() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let root = Path::from("tables/orders");
        let theirs = TableLog::create(store.clone(), root.clone(), &spec()).await.unwrap();
        let starts = [(0, 0)].into();
        commit(&theirs, Change::FirstStart { epoch: 0, starts, topic_id: None }).await;
        let ours = TableLog::open(store.clone(), root.clone()).await.unwrap().unwrap();
        assert_eq!(ours.table_id(), theirs.table_id());
        let live = LiveTable::new(ours, store, root);
        let budget = MemoryBudget::new(1 << 30);
        for (from, to) in [(0, 10), (10, 20), (20, 30)] {
            segment(&live, &budget, from, to);
        }
        let before = budget.used();
        assert_eq!(rows(&live), (0, 30));

        // One segment and a half.
        seal(&theirs, 0, 15).await;
        live.adopt(live.log().refresh().await.unwrap(), None);
        assert_eq!(rows(&live), (15, 15));
        let starts = || live.segments(0).iter().map(|segment| segment.start_offset()).collect::<Vec<_>>();
        assert_eq!(starts(), [10, 20]);
        assert_eq!(budget.used(), before / 3 * 2);

        // Past everything that is here: the newest may still grow.
        seal(&theirs, 15, 40).await;
        live.adopt(live.log().refresh().await.unwrap(), None);
        assert_eq!(rows(&live), (40, 0));
        assert_eq!(starts(), [20]);
        assert_eq!(live.read().cut.offsets[&0], 40);

        live.forget_partition(0);
        assert_eq!((starts(), budget.used()), (vec![], 0));
        assert_eq!(live.read().cut.offsets[&0], 40);
    }

    /// A broker that is behind asks for what was compacted here meanwhile.
    #[tokio::test]
    async fn a_segment_is_found_shortly_after_it_was_replaced() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let root = Path::from("t");
        let log = TableLog::create(store.clone(), root.clone(), &spec()).await.unwrap();
        let starts = [(0, 0)].into_iter().collect();
        commit(&log, Change::FirstStart { epoch: 0, starts, topic_id: None }).await;
        seal(&log, 0, 10).await;
        let live = LiveTable::new(log.clone(), store, root);
        let old = live.snapshot().segments.iter().next().unwrap().clone();
        commit(&log, Change::Expire { segments: vec![old.id] }).await;
        live.adopt(log.snapshot(), None);
        assert!(live.snapshot().segments.is_empty());
        assert_eq!(live.sealed(0, 0, old.id), Some(old.clone()));
        assert_eq!(live.sealed(0, 0, Ulid::new()), None);
        for version in 0..crate::live::SNAPSHOTS_BEFORE as i64 {
            seal(&log, 10 + version, 11 + version).await;
            live.adopt(log.snapshot(), None);
        }
        assert_eq!(live.sealed(0, 0, old.id), None);
    }
}
