//! A node that is not first in line, beside another one that commits to the same log.

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::ownership::{Assigned, Rank};

const LONG: Duration = Duration::from_secs(600);
/// Longer than what is asked every second takes, and than the log is not looked at.
const SOON: Duration = Duration::from_secs(20);

/// A standby with a job of [`ROWS`] rows that reached a threshold.
struct Standby {
    live: Arc<LiveTable>,
    segment: Arc<MutableSegment>,
    ranks: Arc<Assigned>,
    budget: Arc<MemoryBudget>,
    permits: Arc<Semaphore>,
    jobs: mpsc::UnboundedSender<SealJob>,
    sealing: JoinHandle<()>,
}

impl Standby {
    async fn new(rank: Rank, standby_wait: Duration) -> Self {
        let (mut sealer, segment) = sealer(sealed::encode).await;
        let (ranks, budget) = (Assigned::new(rank), MemoryBudget::new(100));
        sealer.line = Line::new(ranks.clone(), budget.clone(), Arc::default(), standby_wait);
        let (live, permits) = (sealer.live.clone(), sealer.encode_permits.clone());
        let (jobs, queue) = mpsc::unbounded_channel();
        let sealing = tokio::spawn(sealer.run(queue));
        jobs.send(job(&segment)).unwrap();
        Self { live, segment, ranks, budget, permits, jobs, sealing }
    }

    /// The other node commits everything below `to`.
    async fn others_commit(&self, to: i64) {
        let log = TableLog::open(self.live.store().clone(), self.live.root().clone()).await.unwrap().unwrap();
        let change = Change::Offsets { epoch: 0, schema: self.live.schema(), partition: 0, from: 0, to };
        log.commit(&Commit { id: Ulid::new(), at_ms: 0, change }).await.unwrap();
    }

    fn open_rows(&self) -> usize {
        self.live.read().open.iter().map(|slice| slice.rows.len()).sum()
    }

    async fn soon(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < SOON, "{what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn sealed_soon(&self) {
        self.soon("sealed", || self.live.snapshot().committed(0) == Some(ROWS)).await;
        assert_eq!(self.open_rows(), 0);
    }

    /// Segments that this node has uploaded, by first offset.
    async fn uploaded(&self) -> Vec<i64> {
        let data = self.live.root().clone().join("data").join("0");
        let listed = self.live.store().list_with_delimiter(Some(&data)).await.unwrap();
        let from = |path: &Path| path.filename().unwrap()[..20].parse().unwrap();
        listed.objects.iter().map(|object| from(&object.location)).collect()
    }

    async fn waits(&self) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!((self.open_rows(), self.live.snapshot().committed(0)), (ROWS as usize, Some(0)));
        assert_eq!(self.permits.available_permits(), 1, "others may encode");
    }
}

#[tokio::test]
async fn a_standby_leaves_a_segment_to_the_primary_and_uploads_nothing() {
    let standby = Standby::new(Rank::Standby(1), LONG).await;
    standby.waits().await;
    standby.others_commit(ROWS).await;
    standby.soon("retired", || standby.live.segments(0).is_empty()).await;
    assert_eq!(standby.live.snapshot().committed(0), Some(ROWS));
    assert_eq!(standby.uploaded().await, [0; 0]);
}

#[tokio::test]
async fn a_standby_that_becomes_primary_seals_what_waits() {
    let standby = Standby::new(Rank::Standby(1), LONG).await;
    standby.waits().await;
    standby.ranks.set(Rank::Primary);
    standby.sealed_soon().await;
    assert_eq!(standby.uploaded().await, [0]);
}

#[tokio::test]
async fn a_standby_seals_when_the_time_is_up() {
    let begun = Instant::now();
    let standby = Standby::new(Rank::Standby(2), Duration::from_secs(1)).await;
    standby.waits().await;
    standby.sealed_soon().await;
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(standby.uploaded().await, [0]);
}

#[tokio::test]
async fn of_a_segment_that_the_primary_has_begun_the_rest_waits_for_its_next_one() {
    let standby = Standby::new(Rank::Standby(1), Duration::from_millis(2500)).await;
    standby.others_commit(4).await;
    standby.soon("looked at", || standby.open_rows() == 6).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((standby.open_rows(), standby.uploaded().await), (6, vec![]));
    standby.ranks.set(Rank::Primary);
    standby.sealed_soon().await;
    assert_eq!(standby.uploaded().await, [4]);
}

#[tokio::test]
async fn an_operator_does_not_wait_and_neither_does_what_was_before() {
    let standby = Standby::new(Rank::Standby(1), LONG).await;
    standby.waits().await;
    let (reply, answer) = oneshot::channel();
    let (writer, segment) =
        MutableSegment::create(standby.live.schema(), 0, ROWS, MemoryBudget::new(1 << 30));
    drop(writer);
    standby.live.open_segment(segment.clone());
    let asked = SealJob { from: ROWS, reason: SealReason::Command, reply: Some(reply), ..job(&segment) };
    standby.jobs.send(asked).unwrap();
    assert_eq!(answer.await.unwrap().unwrap(), SealOutcome::Nothing);
    assert_eq!(standby.live.snapshot().committed(0), Some(ROWS));
    assert_eq!(standby.uploaded().await, [0]);
}

#[tokio::test]
async fn a_consumer_that_ends_does_not_wait() {
    let Standby { live, jobs, sealing, .. } = Standby::new(Rank::Standby(1), LONG).await;
    drop(jobs);
    sealing.await.unwrap();
    assert_eq!(live.snapshot().committed(0), Some(ROWS));
}

#[tokio::test]
async fn without_memory_a_standby_does_not_wait() {
    let standby = Standby::new(Rank::Standby(1), LONG).await;
    standby.budget.charge(84);
    standby.waits().await;
    standby.budget.charge(2);
    standby.sealed_soon().await;
}

#[tokio::test]
async fn what_was_given_up_is_not_sealed() {
    let standby = Standby::new(Rank::None, LONG).await;
    standby.waits().await;
    assert_eq!(Arc::strong_count(&standby.segment), 3);
    standby.live.forget_partition(0);
    standby.soon("dropped", || Arc::strong_count(&standby.segment) == 1).await;
    drop(standby.jobs);
    standby.sealing.await.unwrap();
    assert_eq!(standby.live.snapshot().committed(0), Some(0));
}

#[tokio::test]
async fn what_cannot_be_sealed_is_given_up_with_its_partition() {
    let (mut sealer, segment) = sealer(|_| panic!("no code")).await;
    let (ranks, live) = (Assigned::new(Rank::Primary), sealer.live.clone());
    sealer.line = Line::new(ranks.clone(), MemoryBudget::new(100), Arc::default(), LONG);
    let sealing = tokio::spawn(async move { sealer.seal(&job(&segment)).await });
    while progress(&live).seal_error.is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    ranks.set(Rank::None);
    live.forget_partition(0);
    assert_eq!(sealing.await.unwrap(), SealOutcome::Nothing);
    assert_eq!(progress(&live).seal_error, None);
}
