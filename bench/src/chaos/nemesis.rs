//! Carries out the plan: strikes the running process, lets another take over, and keeps one running.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::checker::{Ledger, check};
use super::client::Client;
use super::commits::Commits;
use super::error::Result;
use super::plan::{Action, Moment, Step};
use super::process::{Launch, Node, Seat, delete_log};
use super::stage::Address;

const READY_WITHIN: Duration = Duration::from_secs(60);
const COMMIT_WITHIN: Duration = Duration::from_secs(10);
/// Logs of processes that are kept; older ones are deleted as long as nothing is wrong.
const LOGS_KEPT: u32 = 20;
/// A kill this soon after a log entry counts as one at a commit.
const AT_COMMIT: Duration = Duration::from_millis(100);

/// What was done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Kills by the moment that they were aimed at.
    pub(crate) kills: BTreeMap<&'static str, u64>,
    /// Kills within 100 ms after a log entry.
    pub(crate) at_commit: u64,
    /// Processes started.
    pub(crate) starts: u32,
    /// Take-overs.
    pub(crate) take_overs: u64,
    /// Take-overs in which the second process committed while the first was stopped.
    pub(crate) take_overs_committed: u64,
}

impl Tally {
    /// All kills.
    pub(crate) fn kills(&self) -> u64 {
        self.kills.values().sum()
    }
}

/// The process that runs, and what strikes it.
pub(crate) struct Nemesis {
    pub(crate) launch: Launch,
    pub(crate) client: Client,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) table: String,
    pub(crate) tally: Tally,
    current: Node,
}

impl Nemesis {
    /// Starts the first process and asks it from then on.
    pub(crate) fn begin(launch: Launch, client: Client, ledger: Arc<Ledger>, table: String) -> Result<Self> {
        let current = Node::start(&launch, 1, &Seat::alone()?)?;
        let tally = Tally { starts: 1, ..Tally::default() };
        drop(check(ledger.clone(), client.clone(), &current));
        Ok(Self { launch, client, ledger, table, tally, current })
    }

    /// The running process.
    pub(crate) fn address(&self) -> Address {
        Address { url: self.current.url.clone(), process: self.current.number }
    }

    /// Waits until the running process answers; a violation if it does not. Returns whether it does.
    pub(crate) async fn ready(&mut self) -> bool {
        match self.current.ready(&self.client, READY_WITHIN).await {
            Ok(()) => true,
            Err(fault) => {
                self.ledger.violation(fault);
                false
            }
        }
    }

    /// Carries out one step. Returns what happened, for the progress line.
    pub(crate) async fn strike(&mut self, step: Step, commits: &Commits) -> Result<String> {
        if !matches!(step.moment, Moment::Starting(_)) {
            if !self.ready().await {
                return Ok("not ready".into());
            }
            tokio::time::sleep(step.run).await;
        }
        wait_for(step.moment, &self.client, &self.current.url, &self.table, commits).await;
        if let Some(fault) = self.current.ended() {
            self.ledger.violation(fault);
            return Ok("it ended by itself".into());
        }
        let what = match step.action {
            Action::Kill => {
                let uptime = self.current.started.elapsed();
                let since_commit = self.kill_current(step.moment, commits);
                let next = self.start()?;
                self.replace(next);
                format!("killed after {} ms, {}", uptime.as_millis(), since(since_commit))
            }
            Action::TakeOver { stopped, together, kill_old } => {
                self.take_over(step.moment, (stopped, together, kill_old), commits).await?
            }
        };
        Ok(format!("{} +{:.1} ms: {what}", step.moment.name(), step.moment.wait().as_secs_f64() * 1000.0))
    }

    async fn take_over(
        &mut self,
        moment: Moment,
        (stopped, together, kill_old): (Duration, Duration, bool),
        commits: &Commits,
    ) -> Result<String> {
        self.current.pause()?;
        let version_before = commits.newest().map(|commit| commit.version);
        let mut second = self.start()?;
        if let Err(fault) = second.ready(&self.client, READY_WITHIN).await {
            self.ledger.violation(fault);
        }
        let committed = commits.next(COMMIT_WITHIN).await.is_some();
        tokio::time::sleep(stopped).await;
        let version_after = commits.newest().map(|commit| commit.version);
        self.current.resume()?;
        tokio::time::sleep(together).await;
        for node in [&mut self.current, &mut second] {
            if let Some(fault) = node.ended() {
                self.ledger.violation(fault);
            }
        }
        self.tally.take_overs += 1;
        self.tally.take_overs_committed += u64::from(committed);
        if !kill_old {
            std::mem::swap(&mut self.current, &mut second);
        }
        let since_commit = self.kill_current(moment, commits);
        self.replace(second);
        Ok(format!(
            "taken over (log {version_before:?} -> {version_after:?}), {} ms together, {} killed, {}",
            together.as_millis(),
            if kill_old { "first" } else { "second" },
            since(since_commit)
        ))
    }

    fn start(&mut self) -> Result<Node> {
        self.tally.starts += 1;
        let node = Node::start(&self.launch, self.tally.starts, &Seat::alone()?)?;
        drop(check(self.ledger.clone(), self.client.clone(), &node));
        if let Some(old) = self.tally.starts.checked_sub(LOGS_KEPT) {
            delete_log(&self.launch, old);
        }
        Ok(node)
    }

    fn replace(&mut self, next: Node) {
        self.current = next;
    }

    /// Returns how long before the kill the newest log entry was seen.
    fn kill_current(&mut self, moment: Moment, commits: &Commits) -> Option<Duration> {
        let at = Instant::now();
        self.current.kill();
        if let Some(fault) = self.current.panicked() {
            self.ledger.violation(fault);
        }
        *self.tally.kills.entry(moment.name()).or_default() += 1;
        let since_commit = commits.newest().map(|commit| at.saturating_duration_since(commit.seen));
        self.tally.at_commit += u64::from(since_commit.is_some_and(|since| since <= AT_COMMIT));
        since_commit
    }

    /// Continues the running process, should a step have been broken off while it was stopped.
    pub(crate) fn wake(&self) -> Result<()> {
        self.current.resume()
    }

    /// One more restart, at the end of the run.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.current.kill();
        if let Some(fault) = self.current.panicked() {
            self.ledger.violation(fault);
        }
        let next = self.start()?;
        self.replace(next);
        Ok(())
    }
}

/// Waits until the moment has come. `url` is who is asked to seal.
pub(crate) async fn wait_for(moment: Moment, client: &Client, url: &str, table: &str, commits: &Commits) {
    match moment {
        Moment::Starting(_) | Moment::Anywhere(_) => {}
        Moment::AfterSeal(_) => {
            let (client, url, table) = (client.clone(), url.to_string(), table.to_string());
            // The process is killed before it answers, more often than not.
            tokio::spawn(async move { client.seal(&url, &table).await });
        }
        Moment::AfterCommit(_) => {
            // None for a long time is not this code's business: the end of the run finds out.
            let _ = commits.next(COMMIT_WITHIN).await;
        }
    }
    tokio::time::sleep(moment.wait()).await;
}

fn since(commit: Option<Duration>) -> String {
    commit.map_or("no commit yet".into(), |since| {
        format!("{:.1} ms after a commit", since.as_secs_f64() * 1000.0)
    })
}
