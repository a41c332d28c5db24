//! Who may run now, who waits, who is sent away.
//!
//! Queries have an age, and whoever waits, waits for older ones only: one that comes late although it is older than one that
//! runs is let in beside it. A query that runs on several nodes needs a place on each of them; were it to wait for a younger
//! one, that one could wait for it elsewhere, and neither would ever end. With ages that all nodes agree on the oldest query
//! waits nowhere, ends, and makes room.
//!
//! | there is | older than one that runs | room among the waiting | then |
//! |---|---|---|---|
//! | a free place | | | it runs |
//! | none, and fewer than twice as many run | yes | | it runs |
//! | none | | yes | it waits |
//! | none | | no | it is sent away |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// When a query began, and the order in which it came here: smaller is older.
type Age = (u128, u64);

/// So many times the places may be taken while older queries are let in. Beyond that an older one waits as well: ages that
/// another node's clock made must not undo the bound.
const OVER_MAX: usize = 2;

/// A bounded queue before a bounded number of running queries; the oldest first.
#[derive(Debug)]
pub(crate) struct Admission {
    running_max: usize,
    waiting_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: BTreeSet<Age>,
    waiting: BTreeMap<Age, oneshot::Sender<Slot>>,
    arrived: u64,
    is_closed: bool,
}

/// Why a query was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAdmitted {
    /// Too many are before it.
    #[error("{running} queries are running and {waiting} are waiting; try again later")]
    Full {
        /// Queries that run.
        running: usize,
        /// Queries that wait.
        waiting: usize,
    },
    /// Nobody is admitted any more.
    #[error("this node is shutting down; ask another one")]
    Closed,
}

/// The right to run, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    admission: Arc<Admission>,
    age: Age,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.admission.state.lock().running.remove(&self.age);
        self.admission.admit_waiting();
    }
}

/// Leaves the queue, also when the wait is given up.
struct Waiting<'a>(&'a Admission, Age);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state.lock().waiting.remove(&self.1);
    }
}

impl Admission {
    pub(crate) fn new(running_max: usize, waiting_max: usize) -> Arc<Self> {
        Arc::new(Self { running_max: running_max.max(1), waiting_max, state: Mutex::default() })
    }

    /// How many run.
    pub(crate) fn running(&self) -> usize {
        self.state.lock().running.len()
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Waits for the right to run; `began` says how old the query is, the same everywhere.
    ///
    /// # Errors
    /// At once if too many wait, and when nobody is admitted any more.
    pub(crate) async fn admit(self: &Arc<Self>, began: u128) -> Result<Slot, NotAdmitted> {
        let (age, admitted) = {
            let mut state = self.state.lock();
            state.arrived += 1;
            let age = (began, state.arrived);
            match self.turn(&state, age) {
                Turn::Now => {
                    state.running.insert(age);
                    return Ok(Slot { admission: Arc::clone(self), age });
                }
                Turn::Later => {}
                Turn::Never(why) => return Err(why),
            }
            let (sender, admitted) = oneshot::channel();
            state.waiting.insert(age, sender);
            (age, admitted)
        };
        let _waiting = Waiting(self, age);
        admitted.await.map_err(|_| NotAdmitted::Closed)
    }

    fn turn(&self, state: &State, age: Age) -> Turn {
        let (running, waiting) = (state.running.len(), state.waiting.len());
        if state.is_closed {
            return Turn::Never(NotAdmitted::Closed);
        }
        let is_older = state.running.last().is_some_and(|youngest| age < *youngest);
        if running < self.running_max || (is_older && running < self.running_max.saturating_mul(OVER_MAX)) {
            return Turn::Now;
        }
        match waiting < self.waiting_max {
            true => Turn::Later,
            false => Turn::Never(NotAdmitted::Full { running, waiting }),
        }
    }

    /// Lets those in that have waited longest, as long as there are places.
    fn admit_waiting(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state.lock();
                if state.running.len() >= self.running_max {
                    return;
                }
                let Some((age, sender)) = state.waiting.pop_first() else { return };
                state.running.insert(age);
                (Slot { admission: Arc::clone(self), age }, sender)
            };
            // Whoever has given up meanwhile gives its place back right here.
            let (slot, sender) = next;
            drop(sender.send(slot));
        }
    }

    /// Admits nobody any more.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut state = self.state.lock();
            state.is_closed = true;
            std::mem::take(&mut state.waiting)
        };
        drop(waiting);
    }
}

enum Turn {
    Now,
    Later,
    Never(NotAdmitted),
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::rngs::StdRng;
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn counts(admission: &Admission) -> (usize, usize) {
        let state = admission.state.lock();
        (state.running.len(), state.waiting.len())
    }

    async fn waits(admission: &Arc<Admission>, began: u128, waiting: usize) -> tokio::task::JoinHandle<Slot> {
        let queue = Arc::clone(admission);
        let task = tokio::spawn(async move { queue.admit(began).await.unwrap() });
        while counts(admission).1 < waiting {
            tokio::task::yield_now().await;
        }
        task
    }

    #[tokio::test]
    async fn bounds_the_running_and_the_waiting() {
        let admission = Admission::new(1, 1);
        let running = admission.admit(0).await.unwrap();
        let waiting = waits(&admission, 0, 1).await;
        assert_eq!(admission.admit(0).await.unwrap_err(), NotAdmitted::Full { running: 1, waiting: 1 });
        drop(running);
        let second = waiting.await.unwrap();
        assert_eq!(counts(&admission), (1, 0));
        let given_up = waits(&admission, 0, 1).await;
        given_up.abort();
        assert!(given_up.await.unwrap_err().is_cancelled());
        assert_eq!(counts(&admission), (1, 0));
        let waiting = Arc::clone(&admission);
        let waiting = tokio::spawn(async move { waiting.admit(0).await });
        while counts(&admission).1 == 0 {
            tokio::task::yield_now().await;
        }
        admission.close();
        assert_eq!(waiting.await.unwrap().unwrap_err(), NotAdmitted::Closed);
        drop(second);
        assert_eq!(admission.admit(0).await.unwrap_err(), NotAdmitted::Closed);
    }

    #[tokio::test]
    async fn the_oldest_is_next_and_an_older_one_does_not_wait_for_a_younger_one() {
        let admission = Admission::new(1, 9);
        let running = admission.admit(5).await.unwrap();
        let (_younger, older) = (waits(&admission, 8, 1).await, waits(&admission, 7, 2).await);
        let oldest = admission.admit(3).await.unwrap();
        // Twice the places are taken: from here on the oldest waits too.
        assert_eq!(counts(&admission), (2, 2));
        let over = waits(&admission, 1, 3).await;
        drop(running);
        assert_eq!(counts(&admission), (1, 3));
        drop(oldest);
        let _over = over.await.unwrap();
        assert!(!older.is_finished());
    }

    /// Every query needs a place on every node, all at once, and they come in another order to each.
    #[tokio::test]
    async fn queries_over_several_nodes_do_not_wait_for_each_other() {
        for seed in 0..50 {
            let mut random = StdRng::seed_from_u64(seed);
            let nodes: Vec<_> = (0..3).map(|_| Admission::new(4, 100)).collect();
            // More at once would be bounded by OVER_MAX, and resolved by the limit on waiting.
            let mut queries: Vec<u128> = (0..8).collect();
            queries.shuffle(&mut random);
            let queries: Vec<_> = queries
                .into_iter()
                .map(|query| {
                    let mut nodes = nodes.clone();
                    nodes.shuffle(&mut random);
                    let yields = random.random_range(0..5);
                    tokio::spawn(async move {
                        let mut slots = Vec::new();
                        for node in &nodes {
                            slots.push(node.admit(query).await.unwrap());
                            for _ in 0..yields {
                                tokio::task::yield_now().await;
                            }
                        }
                    })
                })
                .collect();
            let all = futures::future::join_all(queries);
            let ended = tokio::time::timeout(Duration::from_secs(20), all).await;
            assert!(ended.is_ok(), "seed {seed}: they wait for each other");
        }
    }
}
