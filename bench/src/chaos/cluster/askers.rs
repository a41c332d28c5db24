//! Clients that ask the brokers without end.
//!
//! Each asks one question after the other, so what it is told by one process of a broker may only grow; a broker that was
//! started again owes nothing to what its predecessor has said, and neither does another broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::caller::Caller;
use super::fleet::Front;
use super::watch::Outcome;
use crate::chaos::answer::{Answer, Question, contains};
use crate::chaos::checker::{Ledger, Watched, diagnose};
use crate::chaos::model::Cut;
use crate::chaos::stage::EVENTS;

const CLIENTS: u64 = 4;
const PAUSE: Duration = Duration::from_millis(15);
/// Pause after an error: four clients are no flood.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// What all clients share.
#[derive(Clone)]
struct Shared {
    ledger: Arc<Ledger>,
    caller: Caller,
    fronts: Arc<[Arc<Front>]>,
    stop: Arc<AtomicBool>,
}

/// The clients.
pub(crate) struct Askers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Askers {
    /// Begins to ask.
    pub(crate) fn begin(ledger: Arc<Ledger>, caller: Caller, fronts: Vec<Arc<Front>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Shared { ledger, caller, fronts: fronts.into(), stop: stop.clone() };
        let tasks = (0..CLIENTS).map(|number| tokio::spawn(ask_on(shared.clone(), number))).collect();
        Self { stop, tasks }
    }

    /// Lets every client end its question.
    pub(crate) async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            // A client that panicked has been seen on standard error; the findings are what they are.
            let _ = task.await;
        }
    }
}

/// One client.
async fn ask_on(shared: Shared, number: u64) {
    // What it was told last, by process and table.
    let mut cuts: BTreeMap<(u32, String), Cut> = BTreeMap::new();
    let is_over = || shared.stop.load(Ordering::SeqCst) || shared.ledger.is_violated();
    for turn in number.. {
        // All kinds of questions to one broker, then to the next.
        let front = &shared.fronts[(turn / 8 + number) as usize % shared.fronts.len()];
        let mut pause = PAUSE;
        for watched in shared.ledger.watched() {
            if is_over() {
                return;
            }
            if !shared.ask_once(front, &watched, Question::of_turn(turn), &mut cuts).await {
                pause = PAUSE_AFTER_ERROR;
            }
        }
        shared.ledger.judge_waiting();
        if is_over() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

impl Shared {
    /// Asks one question. Returns whether there was an answer.
    async fn ask_once(
        &self,
        front: &Front,
        watched: &Arc<Watched>,
        question: Question,
        cuts: &mut BTreeMap<(u32, String), Cut>,
    ) -> bool {
        let caller = &self.caller;
        let sql = question.sql(&watched.table);
        let is_wanted = || self.ledger.watches(watched);
        let Some(reply) = caller.ask(front, &watched.table, &sql, is_wanted).await else { return false };
        let process = reply.process;
        let answer = match Answer::read(&reply.document, &watched.table, question, process.unwrap_or(0)) {
            Ok(answer) => answer,
            Err(fault) => {
                caller.unreadable(&reply, &fault);
                return false;
            }
        };
        let cut = (watched.table == EVENTS).then_some(&answer.cut);
        caller.watch.record(reply.ticket, &Outcome::Answered(cut));
        if let Some(process) = process {
            let key = (process, watched.table.clone());
            let before = cuts.insert(key, answer.cut.clone());
            if let Some(before) = before.filter(|before| !contains(&answer.cut, before)) {
                self.ledger.violation(format!(
                    "{}: the cut of broker process {process} went back from {before:?} to {:?} (log version {})",
                    watched.table, answer.cut, answer.log_version
                ));
            }
        }
        if self.ledger.judge(watched, answer) {
            diagnose(&self.ledger, &caller.client, &front.url, &watched.table).await;
        }
        true
    }
}
