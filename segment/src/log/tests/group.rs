//! Commits that wait together: they go out as one entry, each with its own outcome, whatever happens to the write or to
//! whoever is at it.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use deltalake_core::DeltaTableBuilder;
use futures::future::join_all;
use url::Url;

use super::super::queue::CommitQueue;
use super::super::testing::{FaultRates, FaultStore, PutFault};
use super::*;

type Outcome = Result<Arc<LogSnapshot>, SegmentError>;

/// A shared store with a table of eight partitions, one process on it with scripted faults, and its log.
async fn eight() -> (Arc<dyn ObjectStore>, Arc<FaultStore>, TableLog) {
    let shared = memory();
    started(&shared, 8).await;
    let faults = FaultStore::new(shared.clone(), 3, FaultRates::default());
    let log = TableLog::open(faults.clone(), root()).await.unwrap().unwrap();
    (shared, faults, log)
}

/// All of them wait, and then it is their turn.
async fn together(log: &TableLog, commits: &[Commit]) -> Vec<Outcome> {
    let held = log.hold().await;
    let running = waiting(log, commits);
    drop(held);
    join_all(running).await
}

/// Commits that are begun, one after the other.
fn waiting<'a>(
    log: &'a TableLog,
    commits: &'a [Commit],
) -> Vec<Pin<Box<impl Future<Output = Outcome> + 'a>>> {
    let mut running: Vec<_> = commits.iter().map(|commit| Box::pin(log.commit(commit))).collect();
    for commit in &mut running {
        assert!(poll(commit).is_pending());
    }
    running
}

async fn entry(store: &Arc<dyn ObjectStore>, version: u64) -> Vec<serde_json::Value> {
    let path = root().join("_delta_log").join(format!("{version:020}.json"));
    let text = store.get(&path).await.unwrap().bytes().await.unwrap();
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn count(entry: &[serde_json::Value], kind: &str) -> usize {
    entry.iter().filter(|action| action.get(kind).is_some()).count()
}

async fn assert_in_the_log(store: &Arc<dyn ObjectStore>, commits: &[Commit], times: usize) {
    let ids = commit_ids(store).await;
    for commit in commits {
        assert_eq!(ids.iter().filter(|id| **id == commit.id).count(), times, "{commit:?}");
    }
}

/// Goes on with a commit once.
fn poll<T>(commit: &mut Pin<Box<impl Future<Output = T>>>) -> Poll<T> {
    commit.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn what_waits_together_goes_out_as_one_entry() {
    let (store, faults, log) = eight().await;
    let mut commits: Vec<Commit> = (0..8).map(|partition| segment(partition, 0, 10)).collect();
    // Of one partition, one after the other.
    commits.extend([segment(3, 10, 20), offsets(3, 20, 25), gap(4, 10, 30, GapReason::Retention)]);
    commits.extend([offsets(5, 10, 30), gap(3, 25, 26, GapReason::Truncated)]);
    let before = log.snapshot().version;
    let outcomes = together(&log, &commits).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!((log.snapshot().version, faults.puts()), (before + 4, 4));
    let mut counted = Vec::new();
    for version in before + 1..=before + 4 {
        let entry = entry(&store, version).await;
        counted.push(["commitInfo", "add", "txn", "domainMetadata"].map(|kind| count(&entry, kind)));
    }
    // Delta allows one txn per application and one state per domain.
    assert_eq!(counted, [[1, 8, 8, 0], [1, 1, 3, 1], [1, 0, 1, 1], [1, 0, 1, 1]]);
    assert_eq!(log.snapshot().committed(3), Some(26));
    assert_eq!(log.snapshot().committed(4), Some(30));
    assert_in_the_log(&store, &commits, 1).await;
    assert_reopens(&store, &log).await;

    // A lone commit's entry is what it always was.
    let alone = segment(0, 10, 20);
    log.commit(&alone).await.unwrap();
    let lone = entry(&store, before + 5).await;
    assert_eq!(lone[0]["commitInfo"]["headwater.commitId"], alone.id.to_string());
    assert_eq!(lone[0]["commitInfo"].get("headwater.commitIds"), None);
    assert_eq!(["add", "txn", "domainMetadata"].map(|kind| count(&lone, kind)), [1, 1, 0]);
    assert_eq!(lone.len(), 3);

    // Again, all of them, by whoever opens the log: it says it already.
    let version = log.snapshot().version;
    for log in [&log, &open(&store).await] {
        assert!(together(log, &commits).await.iter().all(Result::is_ok));
        assert_eq!(log.snapshot().version, version);
    }
}

#[tokio::test]
async fn what_is_refused_stays_out_and_the_others_go_in() {
    let (store, _, log) = eight().await;
    let lead = segment(0, 0, 1);
    let good = [segment(1, 0, 10), segment(2, 0, 10), segment(2, 10, 12), offsets(6, 0, 4)];
    let commits = [
        lead,
        good[0].clone(),
        segment(1, 0, 15),       // a rival of the one before
        segment(1, 5, 15),       // fits nowhere
        segment_in(1, 4, 0, 10), // of another epoch
        segment(9, 0, 10),       // a partition that was never begun
        segment(5, 0, 0),        // not a range
        good[1].clone(),
        good[2].clone(),
        good[1].clone(), // the same again
        good[3].clone(),
    ];
    let mut outcomes = together(&log, &commits).await.into_iter();
    let mut next = || outcomes.next().unwrap();
    assert!(next().is_ok());
    assert!(next().is_ok());
    assert_fenced(next(), (0, 10));
    assert_fenced(next(), (5, 10));
    assert_fenced(next(), (0, 0));
    assert_refused(next(), "never begun");
    assert_refused(next(), "not a range");
    for _ in 0..4 {
        assert!(next().is_ok());
    }
    assert_in_the_log(&store, &good, 1).await;
    assert_in_the_log(&store, &commits[2..7], 0).await;
    assert_eq!(log.snapshot().version, 3, "one for the first of each partition, one for the others");
    assert_reopens(&store, &log).await;
}

#[tokio::test]
async fn what_cannot_be_combined_stays_alone_and_in_its_place() {
    let (store, _, log) = eight().await;
    log.commit(&segment(0, 0, 10)).await.unwrap();
    let old = log.snapshot().segments.iter().next().unwrap().id;
    let wider = spec_with(
        "{name: id, type: LONG, nullable: false}, {name: city, type: STRING}, {name: x, type: INT}",
    );
    let commits = [
        segment(1, 0, 10),
        segment(2, 0, 10),
        segment(3, 0, 10),
        commit(Change::SetSpec { spec: Arc::new(wider.clone()) }),
        segment_of(&wider, 0, 4, 0, 10),
        segment_of(&wider, 0, 5, 0, 10),
        commit(Change::Expire { segments: vec![old] }),
        recreated(0, &[(0, 0)]),
        segment_in(0, 6, 0, 10),
        segment_of(&wider, 1, 0, 0, 10),
    ];
    let version = log.snapshot().version;
    let outcomes = together(&log, &commits).await;
    for (index, outcome) in outcomes.into_iter().enumerate() {
        match index {
            8 => assert_fenced(outcome, (0, -1)),
            _ => assert!(outcome.is_ok(), "{index}: {outcome:?}"),
        }
    }
    let mut adds = Vec::new();
    for version in version + 1..=log.snapshot().version {
        adds.push(count(&entry(&store, version).await, "add"));
    }
    assert_eq!(adds, [3, 0, 2, 0, 0, 1]);
    assert_eq!(*log.snapshot().spec, wider);
    assert_reopens(&store, &log).await;

    // A drop is the last that anybody hears of the table.
    let last = [segment_of(&wider, 1, 0, 10, 20), commit(Change::Drop), segment_of(&wider, 1, 0, 20, 30)];
    let outcomes = together(&log, &last).await;
    assert!(outcomes[0].is_ok() && outcomes[1].is_ok(), "{outcomes:?}");
    assert!(matches!(outcomes[2], Err(SegmentError::NoSuchTable(_))));
}

#[tokio::test]
async fn a_lost_race_is_decided_anew_for_each() {
    let (store, faults, log) = eight().await;
    let rival = open(&store).await;
    let theirs = segment(2, 0, 7);
    rival.commit(&theirs).await.unwrap();
    let ours = [segment(0, 0, 1), segment(1, 0, 10), segment(2, 0, 10), segment(3, 0, 10)];
    let held = log.hold().await;
    let running = waiting(&log, &ours);
    rival.commit(&segment(1, 0, 5)).await.unwrap();
    drop(held);
    let outcomes = join_all(running).await;
    assert!(outcomes[0].is_ok() && outcomes[3].is_ok());
    let mut fenced = outcomes.into_iter().skip(1);
    assert_fenced(fenced.next().unwrap(), (0, 5));
    assert_fenced(fenced.next().unwrap(), (0, 7));
    assert_in_the_log(&store, &[ours[0].clone(), ours[3].clone(), theirs], 1).await;
    assert_in_the_log(&store, &ours[1..3], 0).await;
    assert_eq!(faults.puts(), 2);
    assert_reopens(&store, &log).await;
}

#[tokio::test]
async fn whatever_becomes_of_a_write_becomes_of_all_once() {
    for fate in [PutFault::After, PutFault::Before, PutFault::Late] {
        let (store, faults, log) = eight().await;
        let commits: Vec<Commit> = (0..7).map(|partition| segment(partition, 0, 10)).collect();
        let refused = segment(7, 1, 12);
        let all = [&commits[..], std::slice::from_ref(&refused)].concat();
        faults.script([fate]);
        for (index, outcome) in together(&log, &all).await.into_iter().enumerate() {
            match (index, fate) {
                (7, _) => assert_fenced(outcome, (1, 0)),
                (_, PutFault::After) => assert!(outcome.is_ok(), "{outcome:?}"),
                _ => assert!(outcome.unwrap_err().is_transient(), "{index}"),
            }
        }
        // Each tries again, in other company.
        let (left, right) = commits.split_at(4);
        assert!(together(&log, right).await.iter().all(Result::is_ok));
        faults.land_late_puts().await;
        assert!(together(&log, left).await.iter().all(Result::is_ok));
        assert_in_the_log(&store, &commits, 1).await;
        assert_in_the_log(&store, &[refused], 0).await;
        assert_reopens(&store, &log).await;
    }
}

#[tokio::test]
async fn two_of_one_partition_never_share_an_entry() {
    let (store, faults, log) = eight().await;
    let [first, second] = [segment(0, 0, 10), segment(0, 10, 20)];
    faults.script([PutFault::Late]);
    let mut outcomes = together(&log, &[first.clone(), second.clone()]).await.into_iter();
    assert!(outcomes.next().unwrap().unwrap_err().is_transient());
    // It is told so for good, whatever becomes of the first one's entry.
    assert_fenced(outcomes.next().unwrap(), (10, 0));
    faults.land_late_puts().await;
    assert_in_the_log(&store, &[second], 0).await;
    log.commit(&first).await.unwrap();
    assert_in_the_log(&store, &[first], 1).await;
    assert_reopens(&store, &log).await;
}

#[tokio::test]
async fn a_group_that_could_not_be_read_back_is_recognised_later() {
    let (store, faults, log) = eight().await;
    let commits: Vec<Commit> = (0..8).map(|partition| offsets(partition, 0, 10)).collect();
    faults.script([PutFault::After]);
    faults.fail_reads(true);
    for outcome in together(&log, &commits).await {
        assert!(outcome.unwrap_err().is_transient());
    }
    faults.fail_reads(false);
    open(&store).await.commit(&segment(1, 10, 20)).await.unwrap();
    assert!(together(&log, &commits).await.iter().all(Result::is_ok));
    assert_in_the_log(&store, &commits, 1).await;
    assert_reopens(&store, &log).await;
}

#[tokio::test]
async fn whoever_gives_up_harms_nobody() {
    // The first is given up at every point of its own work, and the second while it works for all that are left.
    for (first_polls, second_polls) in (0..6).flat_map(|first| (0..8).map(move |second| (first, second))) {
        let (store, _, log) = eight().await;
        let commits: Vec<Commit> = (0..8).map(|partition| segment(partition, 0, 10)).collect();
        let held = log.hold().await;
        let mut running = waiting(&log, &commits);
        drop(held);
        let mut given_up = Vec::new();
        for polls in [first_polls, second_polls] {
            let mut commit = running.remove(0);
            let is_done = (0..polls).any(|_| poll(&mut commit).is_ready());
            given_up.push(is_done);
        }
        // One that never had its turn.
        drop(running.pop());
        for outcome in join_all(running).await {
            outcome.unwrap();
        }
        assert_in_the_log(&store, &commits[2..7], 1).await;
        let ids = commit_ids(&store).await;
        for (commit, is_done) in commits.iter().zip(given_up) {
            let times = ids.iter().filter(|id| **id == commit.id).count();
            assert!(times == 1 || (times == 0 && !is_done), "{first_polls}, {second_polls}");
        }
        // It can be asked for again.
        assert!(together(&log, &commits).await.iter().all(Result::is_ok));
        assert_in_the_log(&store, &commits, 1).await;
        assert_reopens(&store, &log).await;
    }
}

#[test]
fn a_queue_keeps_its_order_and_forgets_who_went_away() {
    let queue = CommitQueue::default();
    let spec_change = || commit(Change::SetSpec { spec: Arc::new(spec()) });
    let commits = [segment(0, 0, 1), segment(1, 0, 1), spec_change(), segment(2, 0, 1), spec_change()];
    let mut answers: Vec<_> = commits.iter().map(|commit| queue.push(commit.clone())).collect();
    let ids_of = |group: &[&Commit]| group.iter().map(|commit| commit.id).collect::<Vec<_>>();
    let ids: Vec<Ulid> = commits.iter().map(|commit| commit.id).collect();
    // Dropped without an answer: they are back in front.
    for _ in 0..2 {
        assert_eq!(ids_of(&queue.take().wanted()), ids[..2]);
    }
    queue.limit(1);
    assert_eq!(ids_of(&queue.take().wanted()), ids[..1]);
    queue.limit(256);
    answers.remove(2); // the spec change is not wanted any more
    assert_eq!(ids_of(&queue.take().wanted()), [ids[0], ids[1], ids[3]]);
    answers.drain(..3);
    assert_eq!(ids_of(&queue.take().wanted()), ids[4..]);
    drop(answers);

    // Of one partition only the first, and nothing that is behind one that stays alone.
    let commits = [
        segment(7, 0, 1),
        segment(7, 1, 2),
        segment(8, 0, 1),
        segment(7, 2, 3),
        spec_change(),
        segment(9, 0, 1),
    ];
    let answers: Vec<_> = commits.iter().map(|commit| queue.push(commit.clone())).collect();
    let ids: Vec<Ulid> = commits.iter().map(|commit| commit.id).collect();
    let mut taken = [queue.take(), queue.take(), queue.take(), queue.take(), queue.take()];
    let expected = [vec![ids[0], ids[2]], vec![ids[1]], vec![ids[3]], vec![ids[4]], vec![ids[5]]];
    assert_eq!(taken.each_mut().map(|group| ids_of(&group.wanted())), expected);
    drop((taken, answers));
    // Whoever comes back again and again does not fill it.
    for _ in 0..10_000 {
        drop(queue.push(segment(0, 0, 1)));
    }
    assert!(queue.len() <= 600);
}

/// What the Delta library makes of a log: files, and the committed offset of each partition.
async fn as_delta(store: &Arc<dyn ObjectStore>, partitions: i32) -> (Vec<String>, Vec<Option<i64>>) {
    let url = Url::parse("memory://headwater--x-s3/wh/tables/orders/").unwrap();
    let builder = DeltaTableBuilder::from_url(url.clone()).unwrap().with_storage_backend(store.clone(), url);
    let table = builder.load().await.unwrap();
    let snapshot = table.snapshot().unwrap();
    let mut files: Vec<String> =
        table.get_files_by_partitions(&[]).await.unwrap().iter().map(ToString::to_string).collect();
    files.sort();
    let log_store = table.log_store();
    let mut committed = Vec::new();
    for partition in 0..partitions {
        let app_id = format!("orders/orders/{partition}");
        committed.push(snapshot.transaction_version(&*log_store, app_id).await.unwrap());
    }
    (files, committed)
}

#[tokio::test]
async fn other_readers_and_checkpoints_see_what_we_see() {
    let (store, _, log) = eight().await;
    let mut commits: Vec<Commit> = (0..8).map(|partition| segment(partition, 0, 10)).collect();
    commits.extend([segment(3, 10, 20), segment(3, 20, 25), gap(4, 10, 30, GapReason::Retention)]);
    together(&log, &commits).await;
    let snapshot = log.snapshot();
    let mut ours: Vec<String> = snapshot.segments.iter().map(|segment| segment.path.clone()).collect();
    ours.sort();
    let committed: Vec<Option<i64>> = (0..8).map(|partition| snapshot.committed(partition)).collect();
    assert_eq!(as_delta(&store, 8).await, (ours.clone(), committed.clone()));

    // Compacted, and read from a checkpoint alone.
    let old: Vec<Ulid> =
        snapshot.segments.iter().filter(|segment| segment.partition == 3).map(|segment| segment.id).collect();
    let merged = meta(&spec(), 3, 0, 25);
    log.compact(0, old, merged.clone(), Arc::new(TableSchema::new(&spec()))).await.unwrap();
    let version = log.snapshot().version;
    log.checkpoint(version).await;
    for version in 0..version {
        store.delete(&root().join("_delta_log").join(format!("{version:020}.json"))).await.unwrap();
    }
    assert_same(&log.snapshot(), &open(&store).await.snapshot());
    let (files, again) = as_delta(&store, 8).await;
    assert_eq!((files.len(), again), (8, committed));
    assert!(files.contains(&merged.path));
    // The sealed segments are known from the checkpoint, though their commits' ids are not.
    let reopened = open(&store).await;
    reopened.commit(&commits[0]).await.unwrap();
    // So are those that were compacted since.
    reopened.commit(&commits[8]).await.unwrap();
    assert_fenced(reopened.commit(&commits[10]).await, (10, 30));
    assert_eq!(reopened.snapshot().version, version);
}
