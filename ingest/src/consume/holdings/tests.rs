//! A supervisor whose Kafka is never there, and whose partitions come and go.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::LiveTable;
use headwater_segment::log::{Change, Commit, TableLog};
use headwater_segment::resident::{ResidentConfig, ResidentStore};
use headwater_segment::spec::parse_spec;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use ulid::Ulid;

use super::super::SealOutcome;
use super::super::supervisor::{Running, SupervisorParts};
use super::*;
use crate::ownership::Assigned;

const SPEC: &str = "{name: t, columns: [{name: n, type: LONG}], stream: {brokers: 'localhost:1', topic: t}}";

struct Node {
    runtime: Runtime,
    ranks: Arc<Assigned>,
    live: Arc<LiveTable>,
    supervisor: Supervisor,
}

impl Node {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (root, spec) = (Path::from("tables/t"), parse_spec(SPEC).unwrap());
        let log = runtime.block_on(TableLog::create(store.clone(), root.clone(), &spec)).unwrap();
        let live = LiveTable::new(log, store, root);
        let ranks = Assigned::new(Rank::Primary);
        let resident = ResidentConfig { dir: None, disk_bytes_max: 0, memory_bytes_max: 1 << 20 };
        let parts = SupervisorParts {
            live: live.clone(),
            budget: MemoryBudget::new(1 << 30),
            encode_permits: Arc::new(Semaphore::new(1)),
            residents: ResidentStore::open(resident).unwrap(),
            runtime: runtime.handle().clone(),
            workers: 1,
            ownership: ranks.clone(),
        };
        let (mut supervisor, _requests) = Supervisor::new(parts);
        supervisor.connect().unwrap();
        let node = Self { runtime, ranks, live, supervisor };
        let starts = [(0, 0), (1, 0)].into();
        node.others_commit(Change::FirstStart { epoch: 0, starts, topic_id: None });
        node
    }

    fn others_commit(&self, change: Change) {
        self.runtime.block_on(async {
            let (store, root) = (self.live.store().clone(), self.live.root().clone());
            let log = TableLog::open(store, root).await.unwrap().unwrap();
            log.commit(&Commit { id: Ulid::new(), at_ms: 0, change }).await.unwrap();
        });
    }

    fn begin(&mut self, offset: i64) {
        let topic = self.supervisor.topic.clone().unwrap();
        self.supervisor.begin(0, offset, 0, &topic);
        self.has_stage(0, PartitionStage::CatchingUp);
        assert_eq!(self.supervisor.running.get(&0), Some(&Running::Fetching));
        assert_eq!(self.live.segments(0)[0].start_offset(), offset);
    }

    /// The worker obeys soon.
    fn has_stage(&self, partition: i32, wanted: PartitionStage) {
        let begun = Instant::now();
        let stage = || {
            let progress = self.live.progress();
            progress.iter().find(|progress| progress.partition == partition).map(|progress| progress.stage)
        };
        while stage() != Some(wanted) {
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", stage());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn is_held(&self) -> bool {
        self.supervisor.running.contains_key(&0) && self.live.segments(0).len() == 1
    }

    fn is_released(&self) {
        self.has_stage(0, PartitionStage::Elsewhere);
        while !self.live.segments(0).is_empty() {
            std::thread::yield_now();
        }
        assert!(!self.supervisor.running.contains_key(&0));
    }
}

#[test]
fn a_partition_is_released_in_time_and_taken_back() {
    let mut node = Node::new();
    node.supervisor.refresh_log();
    node.begin(5);
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    // The rank goes and comes back before the time is up: nothing happens.
    node.ranks.set(Rank::None);
    assert!(!node.supervisor.follow_ownership(at(0)));
    assert!(!node.supervisor.follow_ownership(at(59)));
    node.ranks.set(Rank::Standby(1));
    assert!(!node.supervisor.follow_ownership(at(61)));
    node.ranks.set(Rank::None);
    assert!(!node.supervisor.follow_ownership(at(62)));
    assert!(!node.supervisor.follow_ownership(at(121)));
    assert!(node.is_held());
    assert!(!node.supervisor.follow_ownership(at(122)));
    node.is_released();

    node.ranks.set(Rank::Primary);
    assert!(node.supervisor.follow_ownership(at(130)), "it is to be begun");
    assert!(!node.supervisor.follow_ownership(at(131)), "which is said once");
    node.begin(7);
    assert!(!node.supervisor.follow_ownership(at(132)));
    assert!(node.is_held());

    // The owners serve it: at once.
    node.ranks.set(Rank::None);
    node.ranks.is_served.store(true, Ordering::Relaxed);
    assert!(!node.supervisor.follow_ownership(at(133)));
    node.is_released();
    // Who asks for a seal now is answered.
    for answer in node.supervisor.seal(None).unwrap() {
        assert_eq!(node.runtime.block_on(answer).unwrap().unwrap(), SealOutcome::Nothing);
    }
}

#[test]
fn what_others_consume_is_known_to_be_elsewhere() {
    let mut node = Node::new();
    node.supervisor.refresh_log();
    node.begin(0);
    node.ranks.set(Rank::None);
    node.supervisor.leave_to_others(&[0, 1]);
    node.has_stage(1, PartitionStage::Elsewhere);
    assert!(node.is_held(), "until its owners serve it");
    assert!(!node.supervisor.runs_jobs());
    // In a new epoch its rows are of no use to anybody.
    node.supervisor.stop_for_restart(0);
    node.is_released();
    assert!(!node.supervisor.has_wanted());
    node.ranks.set(Rank::Standby(1));
    assert!(node.supervisor.has_wanted());
    // The topic has fewer partitions by now.
    node.supervisor.leave_to_others(&[]);
    assert!(!node.supervisor.has_wanted());
}

#[test]
fn few_move_at_a_time_unless_nobody_serves_them() {
    let mut node = Node::new();
    node.supervisor.refresh_log();
    let idle: Vec<i32> = (0..40).collect();
    assert_eq!(node.supervisor.due(idle.clone()), idle, "nobody serves them");
    assert!(!node.supervisor.follow_ownership(Instant::now()));

    node.ranks.is_served_elsewhere.store(true, Ordering::Relaxed);
    assert_eq!(node.supervisor.due(idle.clone()), idle[..MOVES_MAX]);
    assert!(node.supervisor.follow_ownership(Instant::now()), "there is room for those that were put off");
    node.begin(0);
    let others = idle[1..].to_vec();
    assert_eq!(node.supervisor.due(others.clone()), others[..MOVES_MAX - 1], "one is on its way");

    node.ranks.set(Rank::None);
    node.supervisor.forget_postponed();
    assert_eq!(node.supervisor.due(others), Vec::<i32>::new());
    assert!(!node.supervisor.follow_ownership(Instant::now()), "nothing of this node's was put off");
}

#[test]
fn a_pause_by_another_node_is_followed() {
    let mut node = Node::new();
    node.supervisor.refresh_log();
    node.begin(0);
    node.others_commit(Change::SetPaused { paused: true });
    node.supervisor.refresh_log();
    assert_eq!(node.supervisor.running.get(&0), Some(&Running::Paused));
    node.has_stage(0, PartitionStage::Paused);
    node.others_commit(Change::SetPaused { paused: false });
    node.supervisor.refresh_log();
    assert_eq!(node.supervisor.running.get(&0), Some(&Running::Fetching));
    node.has_stage(0, PartitionStage::CatchingUp);
}
