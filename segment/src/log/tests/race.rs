//! Many writers at once, with every fault at random: all that was acknowledged is in the log once, all that was
//! fenced is not, and the offsets tile.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::testing::{FaultRates, FaultStore};
use super::*;

/// What a writer was told about its commits.
#[derive(Default)]
struct Told {
    acknowledged: Vec<Ulid>,
    fenced: Vec<Ulid>,
}

/// One process: it commits on all partitions, in steps that `choices` shape, until they have reached `target`.
async fn write_until(
    shared: Arc<dyn ObjectStore>,
    target: i64,
    partitions: i32,
    rates: FaultRates,
    seed: u64,
) -> Told {
    let store: Arc<dyn ObjectStore> = FaultStore::new(shared, seed, rates);
    let mut told = Told::default();
    let mut log = reopen(&store).await;
    let mut turn = seed;
    loop {
        turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let choice = turn >> 33;
        let snapshot = log.snapshot();
        let behind: Vec<i32> = (0..partitions).filter(|p| snapshot.committed(*p) < Some(target)).collect();
        let Some(&partition) = behind.get(choice as usize % behind.len().max(1)) else { return told };
        let from = snapshot.committed(partition).unwrap();
        let to = (from + 1 + (choice as i64 >> 8) % 7).min(target);
        let change = match choice % 6 {
            5 => match neighbours(&snapshot, partition, choice as usize >> 8) {
                Some(change) => change,
                None => segment(partition, from, to),
            },
            0 => offsets(partition, from, to),
            1 => gap(partition, from, to, GapReason::Retention),
            _ => segment(partition, from, to),
        };
        loop {
            match log.commit(&change).await {
                Ok(_) => told.acknowledged.push(change.id),
                Err(SegmentError::Fenced { .. } | SegmentError::Conflict { .. }) => {
                    told.fenced.push(change.id)
                }
                Err(error) => {
                    assert!(error.is_transient(), "{error}");
                    match choice % 7 {
                        0 => log = reopen(&store).await, // killed and started anew: nobody will ask for this commit again
                        _ => continue,
                    }
                }
            }
            break;
        }
    }
}

/// Two segments with nothing, or nothing of interest, between them are to become one.
fn neighbours(snapshot: &LogSnapshot, partition: i32, choice: usize) -> Option<Commit> {
    let state = snapshot.stream.partition(0, partition)?;
    let segments: Vec<_> =
        snapshot.segments.iter().filter(|segment| segment.partition == partition).collect();
    let at = choice % segments.len().max(1);
    let (left, right) = (segments.get(at)?, segments.get(at + 1)?);
    if !state.is_empty_between(left.to, right.from) {
        return None;
    }
    let merged = SegmentMeta {
        rows: left.rows + right.rows,
        ..SegmentMeta::clone(&meta(&spec(), partition, left.from, right.to))
    };
    let (id, schema) = (merged.id, Arc::new(TableSchema::new(&spec())));
    let change = Change::Compact { epoch: 0, old: vec![left.id, right.id], meta: Arc::new(merged), schema };
    Some(Commit { id, ..commit(change) })
}

async fn reopen(store: &Arc<dyn ObjectStore>) -> TableLog {
    loop {
        match TableLog::open(store.clone(), root()).await {
            Ok(log) => return log.unwrap(),
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    }
}

async fn check(shared: &Arc<dyn ObjectStore>, told: Vec<Told>, target: i64, partitions: i32) {
    let snapshot = open(shared).await.snapshot();
    assert_eq!(snapshot.check_tiling(), Vec::<String>::new());
    for partition in 0..partitions {
        assert_eq!(snapshot.committed(partition), Some(target));
    }
    let ids = commit_ids(shared).await;
    let known: BTreeSet<Ulid> = ids.iter().copied().collect();
    assert_eq!(known.len(), ids.len(), "an id is in the log twice");
    for told in told {
        assert!(
            told.acknowledged.iter().all(|id| known.contains(id)),
            "an acknowledged commit is not in the log"
        );
        assert!(!told.fenced.iter().any(|id| known.contains(id)), "a fenced commit is in the log");
    }
}

#[test]
fn writers_racing_for_every_version_commit_exactly_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let shared = memory();
        started(&shared, 4).await;
        let rates = FaultRates { before: 5, after: 5, late: 5, read: 5 };
        let writers: Vec<_> =
            (1..=6).map(|seed| tokio::spawn(write_until(shared.clone(), 60, 4, rates, seed))).collect();
        let mut told = Vec::new();
        for writer in writers {
            told.push(writer.await.unwrap());
        }
        check(&shared, told, 60, 4).await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_interleaving_and_no_fault_breaks_the_tiling(
        seed in any::<u64>(),
        (before, after, late, read) in (0..20u64, 0..20u64, 0..20u64, 0..20u64),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let shared = memory();
            started(&shared, 3).await;
            let rates = FaultRates { before, after, late, read };
            let writers = (1..=3).map(|writer| write_until(shared.clone(), 25, 3, rates, seed.wrapping_mul(writer)));
            let told = futures::future::join_all(writers).await;
            check(&shared, told, 25, 3).await;
        });
    }
}
