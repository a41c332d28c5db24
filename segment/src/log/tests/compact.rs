//! Compaction in the log: what takes the place of what, what is refused and why, under faults and in races.

use super::super::testing::{FaultRates, FaultStore, PutFault};
use super::*;

fn ids(log: &TableLog) -> Vec<Ulid> {
    log.snapshot().segments.iter().map(|segment| segment.id).collect()
}

fn compact_in(epoch: u32, old: &[Ulid], meta: Arc<SegmentMeta>) -> Commit {
    let schema = Arc::new(TableSchema::new(&spec()));
    Commit { id: meta.id, at_ms: AT_MS, change: Change::Compact { epoch, old: old.to_vec(), meta, schema } }
}

/// Of epoch 0.
fn compact(old: &[Ulid], partition: i32, from: i64, to: i64) -> Commit {
    compact_in(0, old, meta(&spec(), partition, from, to))
}

/// A table with `[0, 10)`, `[10, 20)`, `[20, 30)` in partition 0.
async fn three() -> (Arc<dyn ObjectStore>, TableLog) {
    let store = memory();
    let log = started(&store, 2).await;
    for (from, to) in [(0, 10), (10, 20), (20, 30)] {
        log.commit(&segment(0, from, to)).await.unwrap();
    }
    (store, log)
}

#[tokio::test]
async fn neighbours_become_one_in_one_entry() {
    let (store, log) = three().await;
    let old = ids(&log);
    let version = log.snapshot().version;
    let change = compact(&[old[1], old[0]], 0, 0, 20); // whatever the order
    let seen = log.commit(&change).await.unwrap();
    assert_eq!(seen.version, version + 1);
    assert_eq!(ids(&log), [change.id, old[2]]);
    assert_eq!(seen.committed(0), Some(30), "offsets stay");
    assert_reopens(&store, &log).await;
    assert_eq!(log.commit(&change).await.unwrap().version, version + 1, "once");

    let entry = root().join("_delta_log").join(format!("{:020}.json", version + 1));
    let text = store.get(&entry).await.unwrap().bytes().await.unwrap();
    let actions = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let actions: Vec<serde_json::Value> = actions.map(|line| serde_json::from_slice(line).unwrap()).collect();
    let count = |kind: &str| actions.iter().filter_map(|line| line.get(kind)).collect::<Vec<_>>();
    assert_eq!((count("remove").len(), count("add").len()), (2, 1));
    assert!(count("remove").into_iter().chain(count("add")).all(|action| action["dataChange"] == false));
}

#[tokio::test]
async fn a_gap_without_rows_is_covered_and_any_other_is_not() {
    let store = memory();
    let log = started(&store, 2).await;
    log.commit(&segment(0, 0, 10)).await.unwrap();
    log.commit(&offsets(0, 10, 15)).await.unwrap();
    log.commit(&segment(0, 15, 20)).await.unwrap();
    log.commit(&gap(0, 20, 25, GapReason::Retention)).await.unwrap();
    log.commit(&segment(0, 25, 30)).await.unwrap();
    log.commit(&offsets(1, 0, 3)).await.unwrap();
    let old = ids(&log);
    let mut merged = SegmentMeta::clone(&meta(&spec(), 0, 0, 20));
    merged.rows = 15;
    let change = compact_in(0, &old[..2], Arc::new(merged.clone()));
    log.commit(&change).await.unwrap();
    let stream = &log.snapshot().stream;
    let gaps: Vec<_> = stream.partitions[&0].gaps.iter().map(|gap| (gap.from, gap.to)).collect();
    assert_eq!(gaps, [(20, 25)]);
    assert_eq!(stream.partitions[&1].gaps.len(), 1);
    assert_reopens(&store, &log).await;

    let mut wider = SegmentMeta::clone(&meta(&spec(), 0, 0, 30));
    wider.rows = 20;
    let across = compact_in(0, &[change.id, old[2]], Arc::new(wider));
    assert_refused(log.commit(&across).await, "are not neighbours");
}

#[tokio::test]
async fn what_does_not_hold_the_same_rows_is_refused() {
    let (_, log) = three().await;
    log.commit(&segment(1, 0, 10)).await.unwrap();
    let old = ids(&log);
    for (change, word) in [
        (compact(&old[..2], 0, 0, 19), "they are offsets 0 to 20"),
        (compact(&old[..2], 0, 0, 30), "they are offsets 0 to 20"),
        (compact(&[old[0], old[2]], 0, 0, 30), "are not neighbours"),
        (compact(&old[..1], 0, 0, 10), "replaced, not compacted"),
        (compact(&[], 0, 0, 10), "there are none"),
        (compact(&[old[0], old[3]], 0, 0, 20), "where it was to be replaced"),
        (compact(&old[1..3], 0, 10, 10), "not a range"),
        (compact_in(1, &old[..2], meta(&spec(), 0, 0, 20)), "where it was to be replaced"),
    ] {
        assert_refused(log.commit(&change).await, word);
    }
    for (rows, dead_letters) in [(19, 0), (21, 0), (20, 1)] {
        let other = SegmentMeta { rows, dead_letters, ..(*meta(&spec(), 0, 0, 20)).clone() };
        assert_refused(log.commit(&compact_in(0, &old[..2], Arc::new(other))).await, "they hold 20 rows");
    }
    assert_eq!(ids(&log), old);
}

#[tokio::test]
async fn a_conflict_says_what_happened_meanwhile() {
    let (store, log) = three().await;
    let old = ids(&log);
    let late = open(&store).await;
    let winner = compact(&old[..2], 0, 0, 20);
    log.commit(&winner).await.unwrap();
    let replaced = Conflict::Replaced { segment: old[1], by: winner.id };
    assert_conflict(late.commit(&compact(&old[1..], 0, 10, 30)).await, replaced);
    // The same pair again, under another id.
    let twin = Conflict::Replaced { segment: old[0], by: winner.id };
    assert_conflict(late.commit(&compact(&old[..2], 0, 0, 20)).await, twin);

    log.expire_segments(vec![winner.id]).await.unwrap();
    let expired = Conflict::Expired { segment: winner.id };
    assert_conflict(late.commit(&compact(&[winner.id, old[2]], 0, 0, 30)).await, expired);
    let stranger = Ulid::new();
    let gone = Conflict::Gone { segment: stranger };
    assert_conflict(late.commit(&compact(&[old[2], stranger], 0, 20, 30)).await, gone);
    assert_reopens(&store, &log).await;
}

#[tokio::test]
async fn a_closed_epoch_is_compacted_in_its_place_or_not_at_all() {
    let (store, log) = three().await;
    log.commit(&recreated(0, &[(0, 0)])).await.unwrap();
    log.commit(&segment_in(1, 0, 0, 20)).await.unwrap();
    let old = ids(&log);
    let merged = compact(&old[..3], 0, 0, 30);
    log.commit(&merged).await.unwrap();
    assert!(log.snapshot().segments.places().map(Place::epoch).eq([0, 1]));
    assert_reopens(&store, &log).await;
    log.expire_segments(vec![merged.id]).await.unwrap();
    let again = compact(&[merged.id, old[2]], 0, 0, 30);
    assert_conflict(log.commit(&again).await, Conflict::Expired { segment: merged.id });
}

#[tokio::test]
async fn a_lost_answer_and_a_late_put_land_once() {
    let (shared, log) = three().await;
    let old = ids(&log);
    let faults = FaultStore::new(shared.clone(), 1, FaultRates::default());
    let faulty = TableLog::open(faults.clone(), root()).await.unwrap().unwrap();
    let lost = compact(&old[..2], 0, 0, 20);
    faults.script([PutFault::After]);
    faulty.commit(&lost).await.unwrap();
    let version = faulty.snapshot().version;

    // It lands when its writer has given up, behind it somebody retires what it named.
    let late = compact(&[lost.id, old[2]], 0, 0, 30);
    faults.script([PutFault::Late]);
    assert!(faulty.commit(&late).await.unwrap_err().is_transient());
    faults.land_late_puts().await;
    let rival = compact(&[lost.id, old[2]], 0, 0, 30);
    let conflict = Conflict::Replaced { segment: lost.id, by: late.id };
    assert_conflict(open(&shared).await.commit(&rival).await, conflict);
    assert_eq!(faulty.commit(&late).await.unwrap().version, version + 1);
    let known = commit_ids(&shared).await;
    for (id, times) in [(lost.id, 1), (late.id, 1), (rival.id, 0)] {
        assert_eq!(known.iter().filter(|known| **known == id).count(), times);
    }
    assert_reopens(&shared, &faulty).await;
}

#[tokio::test]
async fn a_seal_and_a_compaction_do_not_disturb_each_other() {
    let (store, log) = three().await;
    let sealer = open(&store).await;
    let old = ids(&log);
    log.commit(&compact(&old, 0, 0, 30)).await.unwrap();
    sealer.commit(&segment(0, 30, 40)).await.unwrap();
    sealer.commit(&offsets(0, 40, 45)).await.unwrap();
    assert_eq!(sealer.snapshot().segments.len(), 2);
    assert_reopens(&store, &sealer).await;
}
