//! One fault at a time: lost answers, late puts, a store that cannot be read back, and writers that slept.

use super::super::testing::{FaultRates, FaultStore, PutFault};
use super::*;

/// A shared store, one process on it with scripted faults, and its log.
async fn faulty() -> (Arc<dyn ObjectStore>, Arc<FaultStore>, TableLog) {
    let shared = memory();
    started(&shared, 2).await;
    let faults = FaultStore::new(shared.clone(), 1, FaultRates::default());
    let log = TableLog::open(faults.clone(), root()).await.unwrap().unwrap();
    (shared, faults, log)
}

fn assert_transient<T>(result: Result<T, SegmentError>) {
    match result {
        Err(error) => assert!(error.is_transient(), "{error}"),
        Ok(_) => panic!("it was committed"),
    }
}

async fn assert_once(store: &Arc<dyn ObjectStore>, commit: &Commit) {
    let ids = commit_ids(store).await;
    assert_eq!(ids.iter().filter(|id| **id == commit.id).count(), 1);
    assert_eq!(open(store).await.snapshot().check_tiling(), Vec::<String>::new());
}

#[tokio::test]
async fn a_lost_answer_is_read_back() {
    let (shared, faults, log) = faulty().await;
    for change in [segment(0, 0, 10), offsets(1, 0, 10)] {
        faults.script([PutFault::After]);
        log.commit(&change).await.unwrap();
        assert_once(&shared, &change).await;
    }
    assert_reopens(&shared, &log).await;
}

#[tokio::test]
async fn a_write_that_did_not_happen_is_tried_again_by_the_caller() {
    let (shared, faults, log) = faulty().await;
    let change = segment(0, 0, 10);
    faults.script([PutFault::Before]);
    assert_transient(log.commit(&change).await);
    log.commit(&change).await.unwrap();
    log.commit(&change).await.unwrap();
    assert_once(&shared, &change).await;
}

#[tokio::test]
async fn a_commit_that_could_not_be_read_back_is_recognised_later() {
    let (shared, faults, log) = faulty().await;
    let change = offsets(0, 0, 10);
    faults.script([PutFault::After]);
    faults.fail_reads(true);
    assert_transient(log.commit(&change).await);
    assert_transient(log.commit(&change).await);
    faults.fail_reads(false);
    // Meanwhile somebody commits behind it, on both partitions.
    let rival = open(&shared).await;
    rival.commit(&segment(0, 10, 20)).await.unwrap();
    rival.commit(&segment(1, 0, 20)).await.unwrap();
    log.commit(&change).await.unwrap();
    assert_once(&shared, &change).await;
    // And another handle, as after a restart, knows it as well.
    open(&shared).await.commit(&change).await.unwrap();
    assert_once(&shared, &change).await;
}

#[tokio::test]
async fn a_put_that_lands_after_it_was_given_up_for_lost_lands_once() {
    let (shared, faults, log) = faulty().await;
    let change = segment(0, 0, 10);
    // It lands between the read-back and the retry.
    faults.script([PutFault::Late]);
    assert_transient(log.commit(&change).await);
    faults.land_late_puts().await;
    log.commit(&change).await.unwrap();
    assert_once(&shared, &change).await;

    // It arrives after the retry has succeeded.
    let change = segment(0, 10, 20);
    faults.script([PutFault::Late]);
    assert_transient(log.commit(&change).await);
    log.commit(&change).await.unwrap();
    faults.land_late_puts().await;
    assert_once(&shared, &change).await;

    // Somebody else takes its version; the retry goes to the next one, and the late put finds its place taken.
    let change = segment(0, 20, 30);
    faults.script([PutFault::Late]);
    assert_transient(log.commit(&change).await);
    open(&shared).await.commit(&segment(1, 0, 5)).await.unwrap();
    log.commit(&change).await.unwrap();
    faults.land_late_puts().await;
    assert_once(&shared, &change).await;

    // It lands although its writer never tried again: the successor meets it and is fenced.
    let successor = open(&shared).await;
    let change = segment(0, 30, 40);
    faults.script([PutFault::Late]);
    assert_transient(log.commit(&change).await);
    faults.land_late_puts().await;
    assert_fenced(successor.commit(&segment(0, 30, 35)).await, (30, 40));
    assert_once(&shared, &change).await;
}

#[tokio::test]
async fn a_zombie_is_fenced_and_what_it_read_is_kept() {
    let (shared, faults, zombie) = faulty().await;
    let successor = open(&shared).await;
    successor.commit(&segment(0, 0, 10)).await.unwrap();
    successor.commit(&segment(0, 10, 20)).await.unwrap();
    let late = segment(0, 0, 15);
    assert_fenced(zombie.commit(&late).await, (0, 20));
    assert_eq!(faults.puts(), 1, "the first put told it; there was no second");
    assert_eq!(zombie.snapshot().committed(0), Some(20));
    assert!(!commit_ids(&shared).await.contains(&late.id));
    // Its other partition is still its own.
    zombie.commit(&segment(1, 0, 10)).await.unwrap();
    assert_reopens(&shared, &zombie).await;
}

#[tokio::test]
async fn what_another_partition_recorded_is_not_undone() {
    let (shared, _, log) = faulty().await;
    let other = open(&shared).await;
    other.commit(&gap(1, 0, 10, GapReason::Retention)).await.unwrap();
    log.commit(&gap(0, 0, 20, GapReason::Truncated)).await.unwrap(); // decided first on a state without the other gap
    let stream = &log.snapshot().stream;
    assert_eq!((stream.partitions[&0].gaps.len(), stream.partitions[&1].gaps.len()), (1, 1));
    assert_reopens(&shared, &log).await;
}

#[tokio::test]
async fn a_writer_that_slept_past_the_clean_up_looks_before_it_writes() {
    let (shared, faults, sleeper) = faulty().await;
    let awake = open(&shared).await;
    awake.commit(&segment(0, 0, 10)).await.unwrap();
    awake.commit(&segment(0, 10, 20)).await.unwrap();
    awake.checkpoint(awake.snapshot().version).await;
    for version in 0..awake.snapshot().version {
        let entry = root().join("_delta_log").join(format!("{version:020}.json"));
        shared.delete(&entry).await.unwrap();
    }
    sleeper.fall_asleep().await;
    assert_fenced(sleeper.commit(&segment(0, 0, 15)).await, (0, 20));
    assert_eq!(faults.puts(), 0, "the version behind its own is absent, and would have been written");
}

#[tokio::test]
async fn creation_survives_a_lost_answer() {
    let shared = memory();
    let faults = FaultStore::new(shared.clone(), 1, FaultRates::default());
    faults.script([PutFault::After]);
    let log = TableLog::create(faults, root(), &spec()).await.unwrap();
    assert_reopens(&shared, &log).await;
}
