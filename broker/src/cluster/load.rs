//! How busy and how slow each node is, from what this broker has asked of it.
//!
//! A node's **slowness** is how many times longer it takes than what was expected, 1 at least: a decayed mean over its answers,
//! or what its oldest open question says by now, if that is worse. Its **score** is its slowness times what is under way there.
//! Of nodes that can read the same, the first one in the order of placement does, as it has the columns and the kept results
//! at hand; another one only if its score is better by a clear factor. Without answers slowness decays, so a node that was left
//! is tried again.
//!
//! Invariant: loads decide which of several nodes that can do the same is asked, never what is asked for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::NodeId;

/// A node is left for another one whose score is so many times better.
const WORSE_BY: f64 = 3.0;
/// What is under way counts as if there were so many more: one or two make no difference.
const UNDER_WAY_MIN: f64 = 4.0;
/// What is expected sooner than this is expected within this time: shorter times differ for no reason.
const EXPECTED_MIN: Duration = Duration::from_millis(50);
/// How much one answer weighs in the mean.
const WEIGHT: f64 = 0.3;
/// A node is at most so slow, and so is tried again within a minute.
const SLOWNESS_MAX: f64 = 100.0;
/// Without answers slowness halves in this time.
const HALF_LIFE: Duration = Duration::from_secs(5);

/// What this broker knows of one node. Pure: whoever asks says what time it is.
#[derive(Debug, Default)]
struct Load {
    /// Mean slowness, as it was then.
    slowness: Option<(f64, Instant)>,
    /// Questions without an answer.
    open: BTreeMap<u64, Question>,
}

#[derive(Clone, Copy, Debug)]
struct Question {
    since: Instant,
    expected: Duration,
    is_work: bool,
}

impl Question {
    /// How many times longer than expected it takes, or has taken.
    fn ratio(&self, now: Instant) -> f64 {
        let taken = now.saturating_duration_since(self.since);
        (taken.as_secs_f64() / self.expected.max(EXPECTED_MIN).as_secs_f64()).min(SLOWNESS_MAX)
    }
}

impl Load {
    fn mean(&self, now: Instant) -> f64 {
        let Some((slowness, at)) = self.slowness else { return 0.0 };
        let idle = now.saturating_duration_since(at).as_secs_f64();
        slowness * 0.5_f64.powf(idle / HALF_LIFE.as_secs_f64())
    }

    /// Closes a question. What was given up, and what is no work, only says that the node is slow, never that it is quick.
    fn close(&mut self, question: u64, is_answered: bool, now: Instant) {
        let Some(question) = self.open.remove(&question) else { return };
        let (mean, ratio) = (self.mean(now), question.ratio(now));
        if (is_answered && question.is_work) || ratio > mean.max(1.0) {
            self.slowness = Some((mean + WEIGHT * (ratio - mean), now));
        }
    }

    fn score(&self, now: Instant) -> f64 {
        let waiting = self.open.values().map(|question| question.ratio(now));
        let slowness = waiting.fold(self.mean(now).max(1.0), f64::max);
        let work = self.open.values().filter(|question| question.is_work).count();
        slowness * (UNDER_WAY_MIN + work as f64)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    nodes: HashMap<NodeId, Load>,
    asked: u64,
}

/// A question to a node; dropped without an answer, it was given up.
#[derive(Debug)]
pub(crate) struct Asking {
    loads: Arc<Loads>,
    node: NodeId,
    number: u64,
    is_open: bool,
}

impl Asking {
    /// The node has answered. Only the first time counts.
    pub(crate) fn answered(&mut self) {
        self.close(true);
    }

    fn close(&mut self, is_answered: bool) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        if let Some(load) = self.loads.state.lock().nodes.get_mut(&self.node) {
            load.close(self.number, is_answered, Instant::now());
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.close(false);
    }
}

impl Loads {
    /// A question to `node` that is expected to be answered within some time; `is_work` if it costs the node more than a look.
    pub(crate) fn ask(self: &Arc<Self>, node: &NodeId, expected: Duration, is_work: bool) -> Asking {
        let mut state = self.state.lock();
        state.asked += 1;
        let number = state.asked;
        let load = state.nodes.entry(node.clone()).or_default();
        load.open.insert(number, Question { since: Instant::now(), expected, is_work });
        Asking { loads: Arc::clone(self), node: node.clone(), number, is_open: true }
    }

    /// The scores at present.
    pub(crate) fn scores(&self) -> Scores {
        let now = Instant::now();
        let mut state = self.state.lock();
        // Nodes that have left are forgotten when nothing is to be known of them.
        state.nodes.retain(|_, load| !load.open.is_empty() || load.mean(now) > 0.01);
        Scores(state.nodes.iter().map(|(node, load)| (node.clone(), load.score(now))).collect())
    }
}

/// The scores of nodes at one moment; smaller is better. Of whom nothing is known is idle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scores(BTreeMap<NodeId, f64>);

impl Scores {
    /// Whether `other` is to be asked in place of `node`.
    pub(crate) fn is_worse(&self, node: &NodeId, other: &NodeId) -> bool {
        self.of(node) > WORSE_BY * self.of(other)
    }

    /// Whether nobody is to be left for anybody.
    pub(crate) fn are_alike(&self) -> bool {
        // An idle node may be among those that nothing is known of.
        self.0.values().all(|score| *score <= WORSE_BY * UNDER_WAY_MIN)
    }

    fn of(&self, node: &NodeId) -> f64 {
        self.0.get(node).copied().unwrap_or(UNDER_WAY_MIN)
    }

    #[cfg(test)]
    pub(crate) fn slow(nodes: impl IntoIterator<Item = NodeId>) -> Self {
        Self(nodes.into_iter().map(|node| (node, UNDER_WAY_MIN * 10.0)).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn ask(load: &mut Load, number: u64, since: Instant) {
        load.open.insert(number, Question { since, expected: ms(100), is_work: true });
    }

    /// Whether a node with this load is left for an idle one.
    fn is_left(load: &Load, now: Instant) -> bool {
        load.score(now) > WORSE_BY * Load::default().score(now)
    }

    #[test]
    fn a_silent_node_is_left_while_it_is_silent_and_tried_again_later() {
        let (mut load, begun) = (Load::default(), Instant::now());
        ask(&mut load, 1, begun);
        assert!(!is_left(&load, begun + ms(200)), "a little late");
        assert!(is_left(&load, begun + ms(400)));
        // Given up: that it did not answer is remembered for a while.
        load.close(1, false, begun + ms(5000));
        assert!(is_left(&load, begun + ms(5000)));
        assert!(!is_left(&load, begun + ms(65_000)));
    }

    #[test]
    fn what_was_given_up_early_says_nothing() {
        let (mut load, begun) = (Load::default(), Instant::now());
        ask(&mut load, 1, begun);
        load.close(1, true, begun + ms(1000));
        let before = load.score(begun + ms(1000));
        ask(&mut load, 2, begun + ms(1000));
        load.close(2, false, begun + ms(1001));
        assert!(load.score(begun + ms(1001)) > before * 0.99);
    }

    #[test]
    fn much_work_under_way_counts() {
        let (mut load, begun) = (Load::default(), Instant::now());
        (0..8).for_each(|number| ask(&mut load, number, begun));
        assert!(!is_left(&load, begun));
        ask(&mut load, 8, begun);
        assert!(is_left(&load, begun));
    }

    proptest! {
        /// Times that are as expected move nothing, whatever their order; and after slow ones, usual ones bring a node back.
        #[test]
        fn usual_times_keep_a_node_and_bring_it_back(
            usual in proptest::collection::vec(1u64..150, 20..40),
            slow in proptest::collection::vec(2000u64..50_000, 3..10),
        ) {
            let (mut load, mut now) = (Load::default(), Instant::now());
            let mut take = |load: &mut Load, taken: u64| {
                ask(load, 0, now);
                now += ms(taken);
                load.close(0, true, now);
                is_left(load, now)
            };
            for taken in &usual {
                prop_assert!(!take(&mut load, *taken));
            }
            let left = slow.iter().filter(|taken| take(&mut load, **taken)).count();
            prop_assert!(left + 1 >= slow.len(), "left after {left} of {}", slow.len());
            let back = usual.iter().filter(|taken| !take(&mut load, **taken)).count();
            prop_assert!(back > 0, "never tried again");
        }
    }
}
