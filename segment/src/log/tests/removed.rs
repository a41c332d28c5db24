//! What a collector learns from the log, and what the log learns from a collector.

use super::*;
use crate::clock::now_ms;
use crate::log::Standing;

#[tokio::test]
async fn a_checkpoint_remembers_what_was_removed() {
    let store = memory();
    let log = started(&store, 1).await;
    for from in [0, 10, 20] {
        log.commit(&segment(0, from, from + 10)).await.unwrap();
    }
    let old: Vec<_> = log.snapshot().segments.iter().cloned().collect();
    log.expire_segments(vec![old[0].id]).await.unwrap();
    let new = meta(&spec(), 0, 10, 30);
    log.compact(0, vec![old[1].id, old[2].id], new.clone(), Arc::new(TableSchema::new(&spec())))
        .await
        .unwrap();
    let stranger = Ulid::new();
    let check = async |log: &TableLog| {
        let references = log.references().await.unwrap();
        let standing = |id| references.standing(id);
        assert_eq!(old.iter().map(|old| standing(old.id)).collect::<Vec<_>>(), [Standing::Removed; 3]);
        assert_eq!((standing(new.id), standing(stranger)), (Standing::Named, Standing::Unknown));
    };
    check(&log).await;
    let version = log.snapshot().version;
    log.checkpoint(version).await;
    for version in 0..version {
        store.delete(&root().join("_delta_log").join(format!("{version:020}.json"))).await.unwrap();
    }
    check(&open(&store).await).await;
}

#[tokio::test]
async fn what_was_made_before_a_collectors_mark_is_shut_out() {
    let store = memory();
    let log = started(&store, 1).await;
    let made_at = |partition, range: (i64, i64), made_at_ms: i64| {
        let schema = Arc::new(TableSchema::new(&spec()));
        let id = Ulid::from_parts(made_at_ms as u64, 1 + range.0 as u128);
        let meta = Arc::new(segment_meta(&schema, id, partition, range));
        Commit { id, at_ms: now_ms(), change: Change::Segment { epoch: 0, meta, schema } }
    };
    let before_ms = now_ms() - 1000;
    let (early, late) = (made_at(0, (0, 10), before_ms - 1), made_at(0, (10, 20), before_ms - 1));
    log.commit(&early).await.unwrap();
    let zombie = open(&store).await;
    let mark = commit(Change::Collect { before_ms: before_ms as u64 });
    let version = log.commit(&mark).await.unwrap().version;
    let behind = commit(Change::Collect { before_ms: before_ms as u64 - 5 });
    assert_eq!(log.commit(&behind).await.unwrap().version, version, "it only moves forward");

    for shut_out in [&late, &late] {
        match zombie.commit(shut_out).await {
            Err(SegmentError::Conflict { conflict, .. }) => {
                assert_eq!(conflict, Conflict::Collected { segment: late.id });
            }
            other => panic!("{other:?}"),
        }
    }
    zombie.commit(&early).await.unwrap(); // it is in already
    zombie.commit(&made_at(0, (10, 20), before_ms)).await.unwrap();
    // The same for what is written anew.
    let schema = Arc::new(TableSchema::new(&spec()));
    let old: Vec<Ulid> = zombie.snapshot().segments.iter().map(|segment| segment.id).collect();
    let stale = |range| Arc::new(segment_meta(&schema, Ulid::from_parts(before_ms as u64 - 1, 2), 0, range));
    let replaced = zombie.replace(old[0], stale((0, 10)), schema.clone()).await;
    let compacted = zombie.compact(0, old.clone(), stale((0, 20)), schema.clone()).await;
    for refused in [replaced, compacted] {
        assert!(matches!(refused, Err(SegmentError::Conflict { conflict: Conflict::Collected { .. }, .. })));
    }
    assert_reopens(&store, &zombie).await;
}
