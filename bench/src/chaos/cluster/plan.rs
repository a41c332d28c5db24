//! What is done to a cluster, and in what order: drawn from the seed and the cluster's shape alone.
//!
//! Steps come as from a deck of cards: each kind comes up once before any comes up again, so that a run of moderate
//! length has seen everything. As long as two replicas are all there are, one node is down at a time, but for the step
//! that takes away as many as there are replicas.

use std::time::Duration;

use clap::ValueEnum;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::gate::Isolation;
use super::weather::Weather;
use crate::chaos::plan::{Moment, below};

/// Data nodes that may be there beyond those of the beginning.
const JOINED_MAX: usize = 2;

/// What the plan must know of the cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) data_nodes: usize,
    pub(crate) brokers: usize,
    pub(crate) replication: usize,
    /// Whether nodes reach their store through the harness.
    pub(crate) has_store_proxies: bool,
    /// Whether the harness may stop Kafka.
    pub(crate) has_kafka_script: bool,
}

/// One step. Nodes are named by their place among those that are there, in the order in which they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// SIGKILL of data nodes, fewer than there are replicas or one; started again after `down`.
    KillData {
        /// Which.
        nodes: Vec<usize>,
        /// When.
        moment: Moment,
        /// For how long.
        down: Duration,
    },
    /// The same of as many data nodes as there are replicas: some rows are nowhere.
    KillReplicas {
        /// Which.
        nodes: Vec<usize>,
        /// For how long.
        down: Duration,
    },
    /// SIGSTOP of a data node, for longer than the others believe in it; then it wakes up and goes on.
    Stun {
        /// Which.
        node: usize,
        /// When.
        moment: Moment,
        /// For how long.
        stopped: Duration,
    },
    /// A data node is cut off from the other nodes. Kafka stays within its reach, and unless it is said, the store does.
    CutOff {
        /// Which.
        node: usize,
        /// In which direction.
        isolation: Isolation,
        /// Whether it is cut off from the store, too.
        store_too: bool,
        /// For how long.
        lasting: Duration,
    },
    /// The way to the store is bad, for all nodes.
    Store {
        /// In which way.
        weather: Weather,
        /// For how long.
        lasting: Duration,
    },
    /// Kafka stops, and starts again after `down`.
    RestartKafka {
        /// For how long.
        down: Duration,
    },
    /// SIGKILL of a broker, started again after `down`.
    KillBroker {
        /// Which.
        broker: usize,
        /// For how long.
        down: Duration,
    },
    /// SIGTERM and a new start of all nodes, one after the other.
    RollingRestart,
    /// A new data node.
    Join,
    /// SIGTERM of a data node, for good.
    Leave {
        /// Which.
        node: usize,
    },
    /// The table is paused and resumed.
    PauseTable {
        /// For how long.
        paused: Duration,
    },
    /// The table's spec changes: larger or smaller segments.
    ChangeSpec,
    /// The compacted topic becomes a new table.
    NewTable,
    /// The topic gets more partitions, once.
    Widen,
}

impl Step {
    /// Name in the report.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::KillData { .. } => "kill data node",
            Self::KillReplicas { .. } => "kill all replicas",
            Self::Stun { .. } => "stun data node",
            Self::CutOff { isolation: Isolation::Deaf, .. } => "data node hears nobody",
            Self::CutOff { isolation: Isolation::Mute, .. } => "nobody hears data node",
            Self::CutOff { store_too: true, .. } => "cut off, store too",
            Self::CutOff { .. } => "cut off data node",
            Self::Store { weather: Weather::Slow { .. }, .. } => "store slow",
            Self::Store { weather: Weather::Away { .. }, .. } => "store away",
            Self::Store { .. } => "store errors",
            Self::RestartKafka { .. } => "restart Kafka",
            Self::KillBroker { .. } => "kill broker",
            Self::RollingRestart => "rolling restart",
            Self::Join => "node joins",
            Self::Leave { .. } => "node leaves",
            Self::PauseTable { .. } => "pause table",
            Self::ChangeSpec => "change spec",
            Self::NewTable => "new table",
            Self::Widen => "add partitions",
        }
    }
}

/// A kind of step, before it is known which node it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Card {
    /// SIGKILL of data nodes, started again at once, before or while others take over.
    KillShortly,
    /// SIGKILL of data nodes, started again once others have long taken over.
    KillForLong,
    /// SIGKILL of as many data nodes as there are replicas.
    KillReplicas,
    /// SIGSTOP of a data node.
    Stun,
    /// A data node is cut off from the others.
    CutOff,
    /// A data node is cut off from the others and from the store.
    CutOffWithStore,
    /// A data node is cut off in one direction.
    CutOffOneWay,
    /// Requests to the store fail, before or after they are carried out.
    StoreErrors,
    /// Requests to the store wait.
    StoreSlow,
    /// No request to the store is carried out.
    StoreAway,
    /// Kafka stops and starts.
    RestartKafka,
    /// SIGKILL of a broker.
    KillBroker,
    /// SIGTERM and start of all nodes.
    RollingRestart,
    /// A new data node.
    Join,
    /// SIGTERM of a data node, for good.
    Leave,
    /// The table is paused and resumed.
    PauseTable,
    /// Segments become larger or smaller.
    ChangeSpec,
    /// A table is dropped, and another created.
    NewTable,
    /// The topic gets more partitions.
    Widen,
}

/// How often each kind comes up in a deck.
const DECK: [(Card, usize); 18] = [
    (Card::KillShortly, 1),
    (Card::KillForLong, 3),
    (Card::KillReplicas, 1),
    (Card::Stun, 2),
    (Card::CutOff, 2),
    (Card::CutOffWithStore, 1),
    (Card::CutOffOneWay, 2),
    (Card::StoreErrors, 2),
    (Card::StoreSlow, 1),
    (Card::StoreAway, 2),
    (Card::RestartKafka, 1),
    (Card::KillBroker, 1),
    (Card::RollingRestart, 1),
    (Card::Join, 1),
    (Card::Leave, 1),
    (Card::PauseTable, 1),
    (Card::ChangeSpec, 1),
    (Card::NewTable, 1),
];

/// Draws steps.
pub(crate) struct Planner {
    random: StdRng,
    shape: Shape,
    /// Kinds that may come up; empty: all.
    only: Vec<Card>,
    data_nodes: usize,
    deck: Vec<Card>,
    is_widened: bool,
}

impl Planner {
    pub(crate) fn new(random: StdRng, shape: Shape, only: &[Card]) -> Self {
        let (data_nodes, only) = (shape.data_nodes, only.to_vec());
        Self { random, shape, only, data_nodes, deck: Vec::new(), is_widened: false }
    }

    /// The next step, and how long the cluster is left alone before it. `None` if nothing can be done.
    pub(crate) fn draw(&mut self) -> Option<(Duration, Step)> {
        if self.deck.is_empty() {
            self.shuffle();
        }
        let card = self.deck.pop()?;
        let calm = Duration::from_millis(500) + below(&mut self.random, 2_000_000);
        Some((calm, self.step(card)))
    }

    fn shuffle(&mut self) {
        let mut deck: Vec<Card> =
            DECK.iter().flat_map(|(card, times)| std::iter::repeat_n(*card, *times)).collect();
        if !self.is_widened {
            self.is_widened = true;
            deck.push(Card::Widen);
        }
        deck.retain(|card| self.can_do(*card));
        deck.shuffle(&mut self.random);
        self.deck = deck;
    }

    fn can_do(&self, card: Card) -> bool {
        let is_possible = match card {
            Card::KillReplicas => self.shape.replication > 1,
            Card::CutOffWithStore | Card::StoreErrors | Card::StoreSlow | Card::StoreAway => {
                self.shape.has_store_proxies
            }
            Card::RestartKafka => self.shape.has_kafka_script,
            _ => true,
        };
        is_possible && (self.only.is_empty() || self.only.contains(&card))
    }

    fn step(&mut self, card: Card) -> Step {
        let random = &mut self.random;
        match card {
            Card::CutOff => self.cut_off(Isolation::Both, false),
            Card::CutOffWithStore => self.cut_off(Isolation::Both, true),
            Card::CutOffOneWay if random.random_bool(0.5) => self.cut_off(Isolation::Deaf, false),
            Card::CutOffOneWay => self.cut_off(Isolation::Mute, false),
            Card::StoreErrors => {
                let weather = Weather::Errors { per_mille: random.random_range(50..300) };
                Step::Store { weather, lasting: Duration::from_secs(6) + below(random, 9_000_000) }
            }
            Card::StoreSlow => {
                let most = Duration::from_millis(200) + below(random, 600_000);
                let weather = Weather::Slow { most };
                Step::Store { weather, lasting: Duration::from_secs(6) + below(random, 6_000_000) }
            }
            Card::StoreAway => {
                let weather = Weather::Away { hangs: random.random_bool(0.5) };
                Step::Store { weather, lasting: Duration::from_secs(3) + below(random, 6_000_000) }
            }
            Card::RestartKafka => Step::RestartKafka { down: below(random, 6_000_000) },
            Card::KillShortly => {
                let down = below(random, 3_000_000);
                Step::KillData { nodes: self.some_to_lose(), moment: self.moment(), down }
            }
            Card::KillForLong => {
                let down = Duration::from_secs(9) + below(random, 6_000_000);
                Step::KillData { nodes: self.some_to_lose(), moment: self.moment(), down }
            }
            Card::KillReplicas => {
                let down = Duration::from_secs(2) + below(random, 6_000_000);
                Step::KillReplicas { nodes: self.some(self.shape.replication), down }
            }
            Card::Stun => {
                let stopped = Duration::from_secs(3) + below(random, 9_000_000);
                Step::Stun { node: self.one(), moment: self.moment(), stopped }
            }
            Card::KillBroker => {
                let down = below(random, 2_000_000);
                Step::KillBroker { broker: random.random_range(0..self.shape.brokers), down }
            }
            Card::RollingRestart => Step::RollingRestart,
            Card::Leave if self.data_nodes > self.shape.replication.max(2) => self.leave(),
            Card::Join if self.data_nodes >= self.shape.data_nodes + JOINED_MAX => self.leave(),
            Card::Join | Card::Leave => {
                self.data_nodes += 1;
                Step::Join
            }
            Card::PauseTable => {
                Step::PauseTable { paused: Duration::from_secs(2) + below(random, 3_000_000) }
            }
            Card::ChangeSpec => Step::ChangeSpec,
            Card::NewTable => Step::NewTable,
            Card::Widen => Step::Widen,
        }
    }

    fn cut_off(&mut self, isolation: Isolation, store_too: bool) -> Step {
        let lasting = Duration::from_secs(4) + below(&mut self.random, 8_000_000);
        Step::CutOff { node: self.one(), isolation, store_too, lasting }
    }

    fn leave(&mut self) -> Step {
        let node = self.one();
        self.data_nodes -= 1;
        Step::Leave { node }
    }

    fn one(&mut self) -> usize {
        self.random.random_range(0..self.data_nodes)
    }

    /// As many nodes as may be lost without losing a row that is open, or one.
    fn some_to_lose(&mut self) -> Vec<usize> {
        let most = self.shape.replication.saturating_sub(1).max(1);
        let many = self.random.random_range(1..=most);
        self.some(many)
    }

    fn some(&mut self, many: usize) -> Vec<usize> {
        let mut nodes: Vec<usize> = (0..self.data_nodes).collect();
        nodes.shuffle(&mut self.random);
        nodes.truncate(many);
        nodes
    }

    fn moment(&mut self) -> Moment {
        match self.random.random_range(0..4) {
            0 => Moment::Anywhere(below(&mut self.random, 500_000)),
            1 => Moment::AfterCommit(below(&mut self.random, 8_000)),
            _ => Moment::AfterSeal(below(&mut self.random, 50_000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    const SHAPE: Shape =
        Shape { data_nodes: 3, brokers: 1, replication: 2, has_store_proxies: true, has_kafka_script: true };

    fn steps(seed: u64, shape: Shape, count: usize) -> Vec<Step> {
        let mut planner = Planner::new(StdRng::seed_from_u64(seed), shape, &[]);
        (0..count).map(|_| planner.draw().unwrap().1).collect()
    }

    #[test]
    fn a_seed_names_one_plan() {
        assert_eq!(steps(1, SHAPE, 50), steps(1, SHAPE, 50));
        assert_ne!(steps(1, SHAPE, 50), steps(2, SHAPE, 50));
    }

    #[test]
    fn everything_comes_up_early() {
        for seed in 0..20 {
            let names: BTreeSet<_> = steps(seed, SHAPE, 26).iter().map(Step::name).collect();
            assert!(names.len() >= 17, "seed {seed}: {names:?}");
            let widened = steps(seed, SHAPE, 100).iter().filter(|step| **step == Step::Widen).count();
            assert_eq!(widened, 1);
        }
    }

    #[test]
    fn what_cannot_be_done_or_is_not_wanted_is_left_out() {
        let shape = Shape { has_store_proxies: false, has_kafka_script: false, ..SHAPE };
        for step in steps(1, shape, 100) {
            assert!(!matches!(step, Step::Store { .. } | Step::RestartKafka { .. }), "{step:?}");
            assert!(!matches!(step, Step::CutOff { store_too: true, .. }), "{step:?}");
        }
        let mut planner = Planner::new(StdRng::seed_from_u64(1), SHAPE, &[Card::Stun, Card::StoreSlow]);
        let names: BTreeSet<_> = (0..20).map(|_| planner.draw().unwrap().1.name()).collect();
        assert_eq!(names, BTreeSet::from(["stun data node", "store slow"]));
        assert_eq!(Planner::new(StdRng::seed_from_u64(1), shape, &[Card::StoreAway]).draw(), None);
    }

    #[test]
    fn nodes_that_are_struck_are_there_and_enough_stay() {
        for (seed, replication) in (0..30).zip([1, 2, 3].into_iter().cycle()) {
            let shape = Shape { replication, ..SHAPE };
            let mut present = shape.data_nodes;
            for step in steps(seed, shape, 200) {
                let (struck, down_max) = match &step {
                    Step::KillData { nodes, .. } => (nodes.clone(), (replication - 1).max(1)),
                    Step::KillReplicas { nodes, .. } => (nodes.clone(), replication),
                    Step::Stun { node, .. } | Step::Leave { node } | Step::CutOff { node, .. } => {
                        (vec![*node], 1)
                    }
                    _ => (Vec::new(), 0),
                };
                let different: BTreeSet<_> = struck.iter().collect();
                assert_eq!(different.len(), struck.len());
                assert!(struck.len() <= down_max && struck.iter().all(|node| *node < present), "{step:?}");
                match step {
                    Step::Join => present += 1,
                    Step::Leave { .. } => present -= 1,
                    _ => {}
                }
                assert!((2.max(replication)..=shape.data_nodes + JOINED_MAX).contains(&present));
            }
        }
    }
}
