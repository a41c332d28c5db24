//! What is done to a cluster, and in what order: drawn from the seed and the cluster's shape alone.
//!
//! Steps come as from a deck of cards: each kind comes up once before any comes up again, so that a run of moderate
//! length has seen everything. As long as two replicas are all there are, one node is down at a time, but for the step
//! that takes away as many as there are replicas.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::chaos::plan::{Moment, below};

/// Data nodes that may be there beyond those of the beginning.
const JOINED_MAX: usize = 2;

/// What the plan must know of the cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) data_nodes: usize,
    pub(crate) brokers: usize,
    pub(crate) replication: usize,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Card {
    /// Started again at once, before or while others take over.
    KillShortly,
    /// Started again once others have long taken over.
    KillForLong,
    KillReplicas,
    Stun,
    KillBroker,
    RollingRestart,
    Join,
    Leave,
    PauseTable,
    ChangeSpec,
    NewTable,
    Widen,
}

/// Draws steps.
pub(crate) struct Planner {
    random: StdRng,
    shape: Shape,
    data_nodes: usize,
    deck: Vec<Card>,
    is_widened: bool,
}

impl Planner {
    pub(crate) fn new(random: StdRng, shape: Shape) -> Self {
        Self { random, shape, data_nodes: shape.data_nodes, deck: Vec::new(), is_widened: false }
    }

    /// The next step, and how long the cluster is left alone before it.
    pub(crate) fn draw(&mut self) -> (Duration, Step) {
        let card = match self.deck.pop() {
            Some(card) => card,
            None => {
                self.shuffle();
                return self.draw();
            }
        };
        let calm = Duration::from_millis(500) + below(&mut self.random, 2_000_000);
        (calm, self.step(card))
    }

    fn shuffle(&mut self) {
        self.deck = vec![
            Card::KillShortly,
            Card::KillForLong,
            Card::KillForLong,
            Card::KillForLong,
            Card::Stun,
            Card::Stun,
            Card::KillBroker,
            Card::RollingRestart,
            Card::Join,
            Card::Leave,
            Card::PauseTable,
            Card::ChangeSpec,
            Card::NewTable,
        ];
        if self.shape.replication > 1 {
            self.deck.push(Card::KillReplicas);
        }
        if !self.is_widened {
            self.is_widened = true;
            self.deck.push(Card::Widen);
        }
        self.deck.shuffle(&mut self.random);
    }

    fn step(&mut self, card: Card) -> Step {
        let random = &mut self.random;
        match card {
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

    const SHAPE: Shape = Shape { data_nodes: 3, brokers: 1, replication: 2 };

    fn steps(seed: u64, shape: Shape, count: usize) -> Vec<Step> {
        let mut planner = Planner::new(StdRng::seed_from_u64(seed), shape);
        (0..count).map(|_| planner.draw().1).collect()
    }

    #[test]
    fn a_seed_names_one_plan() {
        assert_eq!(steps(1, SHAPE, 50), steps(1, SHAPE, 50));
        assert_ne!(steps(1, SHAPE, 50), steps(2, SHAPE, 50));
    }

    #[test]
    fn everything_comes_up_early() {
        for seed in 0..20 {
            let names: BTreeSet<_> = steps(seed, SHAPE, 15).iter().map(Step::name).collect();
            assert_eq!(names.len(), 11, "seed {seed}: {names:?}");
            let widened = steps(seed, SHAPE, 60).iter().filter(|step| **step == Step::Widen).count();
            assert_eq!(widened, 1);
        }
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
                    Step::Stun { node, .. } | Step::Leave { node } => (vec![*node], 1),
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
