//! Asks every process without end, and judges each answer at its own cut.
//!
//! One task per process, one question after the other, so a process's cut may only grow from answer to answer. An
//! answer whose cut reaches past what the producer knows is kept and judged a little later.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::answer::{Answer, History, Judgement, Question, contains, judge};
use super::client::{AskError, Client};
use super::model::{Cut, Model};
use super::process::Node;

/// Answers that wait for judgement; past this the oldest is given up.
const WAITING_MAX: usize = 20_000;
const PAUSE: Duration = Duration::from_millis(15);
const MESSAGES_KEPT: usize = 5;

/// A table under watch.
pub(crate) struct Watched {
    pub(crate) table: String,
    pub(crate) model: Arc<Mutex<Model>>,
    history: Mutex<History>,
}

impl Watched {
    pub(crate) fn new(table: impl Into<String>, model: Arc<Mutex<Model>>) -> Arc<Self> {
        Arc::new(Self { table: table.into(), model, history: Mutex::default() })
    }

    /// Rows that are certain by now.
    pub(crate) fn rows(&self) -> u64 {
        let model = self.model.lock();
        model.totals(&model.delivered_ends()).unwrap_or_default().rows
    }
}

/// What came out so far.
#[derive(Default)]
pub(crate) struct Findings {
    /// Answers that were exactly right.
    pub(crate) exact: u64,
    /// Answers that could never be judged.
    pub(crate) skipped: u64,
    /// Questions without an answer, by kind.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Some of the server's error messages.
    pub(crate) messages: Vec<String>,
    /// What must not be.
    pub(crate) violations: Vec<String>,
    /// What should not be, and is not wrong.
    pub(crate) notes: BTreeSet<String>,
    waiting: VecDeque<(Arc<Watched>, Answer)>,
}

/// The findings of a run, and the tables that are asked about.
#[derive(Default)]
pub(crate) struct Ledger {
    findings: Mutex<Findings>,
    watched: Mutex<Vec<Arc<Watched>>>,
}

impl Ledger {
    /// Begins to ask about a table.
    pub(crate) fn watch(&self, watched: Arc<Watched>) {
        self.watched.lock().push(watched);
    }

    /// No longer asks about a table.
    pub(crate) fn unwatch(&self, table: &str) {
        self.watched.lock().retain(|watched| watched.table != table);
    }

    /// What is asked about.
    pub(crate) fn watched(&self) -> Vec<Arc<Watched>> {
        self.watched.lock().clone()
    }

    pub(crate) fn watches(&self, watched: &Arc<Watched>) -> bool {
        self.watched.lock().iter().any(|present| Arc::ptr_eq(present, watched))
    }

    /// Records a violation.
    pub(crate) fn violation(&self, text: impl Into<String>) {
        self.findings.lock().violations.push(text.into());
    }

    /// Records something that should be better.
    pub(crate) fn note(&self, text: impl Into<String>) {
        self.findings.lock().notes.insert(text.into());
    }

    /// Whether anything is wrong.
    pub(crate) fn is_violated(&self) -> bool {
        !self.findings.lock().violations.is_empty()
    }

    /// Reads the findings.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Findings) -> T) -> T {
        read(&self.findings.lock())
    }

    /// Answers not judged yet.
    pub(crate) fn waiting(&self) -> usize {
        self.findings.lock().waiting.len()
    }

    /// Counts a question that was not answered.
    pub(crate) fn error(&self, process: u32, error: &AskError) {
        let mut findings = self.findings.lock();
        *findings.errors.entry(error.kind()).or_default() += 1;
        if let AskError::Status { message, .. } | AskError::Unreadable(message) = error
            && findings.messages.len() < MESSAGES_KEPT
            && !findings.messages.iter().any(|known| known.ends_with(message))
        {
            findings.messages.push(format!("process {process}: {}: {message}", error.kind()));
        }
    }

    /// Judges an answer now, or keeps it for later. Returns whether it is known to be wrong.
    pub(crate) fn judge(&self, watched: &Arc<Watched>, answer: Answer) -> bool {
        let fault = watched.history.lock().check(&answer);
        let judgement = judge(&answer, &watched.model.lock());
        let is_wrong = fault.is_some() || matches!(judgement, Judgement::Wrong(_));
        if let Some(fault) = fault {
            self.violation(format!("{}: {fault}", watched.table));
        }
        self.record(watched.clone(), answer, judgement);
        is_wrong
    }

    fn record(&self, watched: Arc<Watched>, answer: Answer, judgement: Judgement) {
        let mut findings = self.findings.lock();
        match judgement {
            Judgement::Exact => findings.exact += 1,
            Judgement::Wrong(fault) => {
                let text = format!("{} at its cut: {fault}; the answer was {answer:?}", watched.table);
                findings.violations.push(text);
            }
            Judgement::Early => {
                if findings.waiting.len() == WAITING_MAX {
                    findings.waiting.pop_front();
                    findings.skipped += 1;
                }
                findings.waiting.push_back((watched, answer));
            }
        }
    }

    /// Judges what was too early before.
    pub(crate) fn judge_waiting(&self) {
        let waiting = std::mem::take(&mut self.findings.lock().waiting);
        for (watched, answer) in waiting {
            let judgement = judge(&answer, &watched.model.lock());
            self.record(watched, answer, judgement);
        }
    }

    /// The topics are complete: what cannot be judged now claims offsets that do not exist.
    pub(crate) fn close(&self) {
        self.judge_waiting();
        let mut findings = self.findings.lock();
        for (watched, answer) in std::mem::take(&mut findings.waiting) {
            findings
                .violations
                .push(format!("{}: a cut past the end of the topic: {answer:?}", watched.table));
        }
    }
}

/// Asks one process until it is killed.
pub(crate) fn check(ledger: Arc<Ledger>, client: Client, node: &Node) -> JoinHandle<()> {
    let (url, process, gone) = (node.url.clone(), node.number, node.gone());
    tokio::spawn(async move {
        let mut cuts: BTreeMap<String, Cut> = BTreeMap::new();
        for turn in u64::from(process).. {
            let watched = ledger.watched();
            for watched in &watched {
                if gone.load(Ordering::SeqCst) || ledger.is_violated() {
                    return;
                }
                let question = Question::of_turn(turn);
                match ask(&client, &url, process, question, &watched.table).await {
                    Ok(answer) => {
                        let before = cuts.insert(watched.table.clone(), answer.cut.clone());
                        if let Some(before) = before.filter(|before| !contains(&answer.cut, before)) {
                            ledger.violation(format!(
                                "{}: the cut of process {process} went back from {before:?} to {:?} (log version {})",
                                watched.table, answer.cut, answer.log_version
                            ));
                        }
                        ledger.judge(watched, answer);
                        if ledger.is_violated() {
                            diagnose(&ledger, &client, &url, &watched.table).await;
                        }
                    }
                    // A table that was dropped while it was asked about is no error.
                    Err(error) if ledger.watches(watched) => ledger.error(process, &error),
                    Err(_) => {}
                }
            }
            ledger.judge_waiting();
            tokio::time::sleep(PAUSE).await;
        }
    })
}

/// Asks one question.
pub(crate) async fn ask(
    client: &Client,
    url: &str,
    process: u32,
    question: Question,
    table: &str,
) -> Result<Answer, AskError> {
    let document = client.sql(url, &question.sql(table)).await?;
    Answer::read(&document, table, question, process)
        .map_err(|fault| AskError::Unreadable(format!("{fault}: {document}")))
}

/// What the process says about a table whose answers are wrong, while it still runs.
pub(crate) async fn diagnose(ledger: &Ledger, client: &Client, url: &str, table: &str) {
    let questions = [
        format!(
            "SELECT id, count(*) AS times, min(\"$partition\") AS partition, min(\"$offset\") AS first, \
             max(\"$offset\") AS last FROM {table} GROUP BY id HAVING count(*) > 1 ORDER BY id LIMIT 20"
        ),
        format!("SELECT * FROM system.partitions WHERE table_name = '{table}' ORDER BY partition"),
        format!(
            "SELECT * FROM system.segments WHERE table_name = '{table}' AND state <> 'sealed' ORDER BY partition"
        ),
    ];
    for question in questions {
        let answer = match client.sql(url, &question).await {
            Ok(document) => document.to_string(),
            Err(error) => format!("{error:?}"),
        };
        ledger.violation(format!("(diagnosis) {question}\n    {answer}"));
    }
}
