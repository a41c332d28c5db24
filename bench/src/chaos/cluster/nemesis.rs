//! Carries out the plan on a cluster, step by step, and waits after each until answers are fresh again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fleet::{Drained, Fleet, Member};
use super::plan::Step;
use super::watch::Watch;
use crate::chaos::answer::{Answer, Question, contains};
use crate::chaos::checker::{Watched, ask};
use crate::chaos::client::AskError;
use crate::chaos::commits::Commits;
use crate::chaos::error::{ChaosError, Result};
use crate::chaos::kafka_script::KafkaScript;
use crate::chaos::nemesis::wait_for;
use crate::chaos::plan::Moment;
use crate::chaos::producer::EventProducer;
use crate::chaos::report::line;
use crate::chaos::stage::{EVENTS, Stage};

/// How long a node may take to answer at all, and to be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take until answers are fresh again.
pub(super) const FRESH_WITHIN: Duration = Duration::from_secs(180);
/// How long a step goes on once answers are fresh, so that what it does later counts as its own.
const AFTERMATH: Duration = Duration::from_millis(1_500);
/// The same where a node wakes up, and believes to own what others own by now.
pub(super) const AFTERMATH_OF_WAKING: Duration = Duration::from_secs(4);
/// How long a pause may take to reach all nodes.
const PAUSE_REACHES_ALL: Duration = Duration::from_millis(1_500);
/// A deadline before others can have taken over from a node.
const IMPATIENT: Duration = Duration::from_millis(300);
/// How long requests to pause and resume are repeated.
const INSIST: Duration = Duration::from_secs(30);

/// How a loss of data nodes was made up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TakeOver {
    /// From the strike to the first fresh answer.
    pub(crate) took: Duration,
    /// Whether that was before the node came back.
    pub(crate) without_it: bool,
    pub(crate) loss: Loss,
}

/// How nodes were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// SIGKILL.
    Killed,
    /// SIGSTOP.
    Stopped,
    /// Cut off in both directions.
    CutOff,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Processes killed.
    pub(crate) kills: u64,
    /// How losses of one data node, or of fewer than there are replicas, were made up for.
    pub(crate) take_overs: Vec<TakeOver>,
    /// How long nodes took to end on SIGTERM.
    pub(crate) drains: Vec<Duration>,
    /// What was expected and not seen, but is no violation.
    pub(crate) missed: Vec<String>,
}

/// The cluster, and what strikes it.
pub(crate) struct Nemesis<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) fleet: Fleet,
    pub(crate) watch: Arc<Watch>,
    pub(crate) tally: Tally,
    pub(crate) compacted: Option<Arc<Watched>>,
    pub(crate) segment_rows_max: u32,
    pub(crate) kafka: Option<KafkaScript>,
}

impl Nemesis<'_> {
    /// Carries out one step. Returns what happened, for the progress line.
    pub(crate) async fn strike(
        &mut self,
        step: &Step,
        commits: &Commits,
        producer: &EventProducer,
    ) -> Result<String> {
        if let Step::KillData { moment, .. } | Step::Stun { moment, .. } = step {
            self.wait_for(*moment, commits).await;
        }
        let struck = self.watch.begin(step.name());
        let what = match step {
            Step::KillData { nodes, down, .. } => self.kill_data(nodes, *down, struck, true).await?,
            Step::KillReplicas { nodes, down } => self.kill_data(nodes, *down, struck, false).await?,
            Step::Stun { node, stopped, .. } => self.stun(*node, *stopped, struck).await?,
            Step::CutOff { node, isolation, store_too, lasting } => {
                self.cut_off(*node, (*isolation, *store_too), *lasting, struck).await
            }
            Step::Store { weather, lasting } => self.bad_weather(*weather, *lasting).await,
            Step::RestartKafka { down } => self.restart_kafka(*down, producer).await?,
            Step::KillBroker { broker, down } => {
                self.tally.kills += 1;
                self.note(|fleet| fleet.brokers[*broker].kill());
                tokio::time::sleep(*down).await;
                self.fleet.start_broker(*broker)?;
                format!("{} down for {} ms", self.fleet.brokers[*broker].name, down.as_millis())
            }
            Step::RollingRestart => self.rolling_restart().await?,
            Step::Join => self.fleet.join()?,
            Step::Leave { node } => {
                let mut member = self.fleet.data.remove(*node);
                let drained = member.terminate().await;
                self.drained(&member.name, drained)
            }
            Step::PauseTable { paused } => self.pause_table(*paused).await?,
            Step::ChangeSpec => self.change_spec().await?,
            Step::NewTable => {
                let next = self.stage.next_compacted(&self.fleet.address(), self.compacted.take()).await?;
                let name = next.table.clone();
                self.compacted = Some(next);
                name
            }
            Step::Widen => format!("{} partitions", self.stage.widen(producer).await?),
        };
        let recovered = self.recover().await;
        let what = format!("{what}; {recovered}");
        self.watch.end(&what);
        for fault in self.fleet.faults() {
            self.stage.ledger.violation(fault);
        }
        Ok(format!("{}: {what}", step.name()))
    }

    async fn wait_for(&self, moment: Moment, commits: &Commits) {
        wait_for(moment, &self.stage.client, &self.fleet.address().url, EVENTS, commits).await;
    }

    /// Does something to the fleet that may bring a fault to light.
    fn note(&mut self, strike: impl FnOnce(&mut Fleet) -> Option<String>) {
        if let Some(fault) = strike(&mut self.fleet) {
            self.stage.ledger.violation(fault);
        }
    }

    /// Waits for a fresh answer; a violation if none comes. Returns how long it took, in words.
    async fn recover(&mut self) -> String {
        let since = Instant::now();
        let Some(took) = self.watch.fresh(since, FRESH_WITHIN).await else {
            if self.stage.ledger.is_violated() {
                return "a violation".into();
            }
            let states = self.describe().await;
            let text = format!("no fresh answer for {FRESH_WITHIN:?} after a step");
            self.stage.ledger.violation(format!("{text}:\n{states}"));
            return text;
        };
        tokio::time::sleep(AFTERMATH).await;
        format!("fresh {} ms after its end", took.as_millis())
    }

    /// What every node and the table's partitions say.
    async fn describe(&mut self) -> String {
        let client = &self.stage.client;
        let mut text = String::new();
        for member in self.fleet.members() {
            let state = client.not_ready(&member.url()).await.unwrap_or_else(|| "ready".into());
            text.push_str(&format!("{}: {state}\n", member.name));
        }
        let url = self.fleet.address().url;
        let questions = ["SELECT * FROM system.partitions ORDER BY 1, 2", "SELECT count(*) FROM events"];
        for sql in questions {
            let answer = client.sql_within(&url, sql, INSIST).await;
            let answer = answer.map_or_else(|error| format!("{error:?}"), |document| document.to_string());
            text.push_str(&format!("{sql}: {answer}\n"));
        }
        text
    }

    async fn kill_data(
        &mut self,
        nodes: &[usize],
        down: Duration,
        struck: Instant,
        some_are_left: bool,
    ) -> Result<String> {
        for node in nodes {
            self.note(|fleet| fleet.data[*node].kill());
        }
        self.tally.kills += nodes.len() as u64;
        let watch = self.watch.clone();
        let impatient = if some_are_left { String::new() } else { self.ask_impatiently().await };
        let come_back = async {
            tokio::time::sleep(down).await;
            nodes.iter().try_for_each(|node| self.fleet.start_data(*node))
        };
        let (fresh, came_back) = tokio::join!(watch.fresh(struck, FRESH_WITHIN), come_back);
        came_back?;
        let names: Vec<_> = nodes.iter().map(|node| self.fleet.data[*node].name.as_str()).collect();
        let names = names.join(", ");
        for node in nodes {
            self.await_ready(*node).await;
        }
        let after = match fresh {
            Some(took) => format!("{} ms", took.as_millis()),
            None => "long".into(),
        };
        if some_are_left {
            let take_over = |took| TakeOver { took, without_it: took < down, loss: Loss::Killed };
            self.tally.take_overs.extend(fresh.map(take_over));
        }
        Ok(format!("{names} down for {} ms, fresh after {after}{impatient}", down.as_millis()))
    }

    /// Asks while rows are nowhere, with deadlines that end before anybody can have taken over: answers may be late or
    /// fail, and are judged if they come. Returns what came, in words.
    async fn ask_impatiently(&self) -> String {
        let at = self.fleet.address();
        let Some(events) = self.stage.ledger.watched().into_iter().find(|watched| watched.table == EVENTS)
        else {
            return String::new();
        };
        let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
        for question in Question::ALL {
            let document = self.stage.client.sql_within(&at.url, &question.sql(EVENTS), IMPATIENT).await;
            let outcome = match document.map(|document| Answer::read(&document, EVENTS, question, at.process))
            {
                Ok(Ok(answer)) => {
                    self.stage.ledger.judge(&events, answer);
                    "an answer".to_string()
                }
                Ok(Err(fault)) => fault,
                Err(error) => error.kind(),
            };
            *outcomes.entry(outcome).or_default() += 1;
        }
        format!("; asked with a deadline of {IMPATIENT:?}: {outcomes:?}")
    }

    async fn stun(&mut self, node: usize, stopped: Duration, struck: Instant) -> Result<String> {
        let name = self.fleet.data[node].name.clone();
        if let Some(process) = self.fleet.data[node].node() {
            process.pause()?;
        }
        let watch = self.watch.clone();
        let wake = async {
            tokio::time::sleep(stopped).await;
            self.fleet.data[node].node().map_or(Ok(()), |process| process.resume())
        };
        let (fresh, woken) = tokio::join!(watch.fresh(struck, FRESH_WITHIN), wake);
        woken?;
        tokio::time::sleep(AFTERMATH_OF_WAKING).await;
        let take_over = |took| TakeOver { took, without_it: took < stopped, loss: Loss::Stopped };
        self.tally.take_overs.extend(fresh.map(take_over));
        let after = fresh.map_or("long".into(), |took| format!("{} ms", took.as_millis()));
        Ok(format!("{name} stopped for {} ms, fresh after {after}", stopped.as_millis()))
    }

    async fn rolling_restart(&mut self) -> Result<String> {
        let mut words = Vec::new();
        for node in 0..self.fleet.data.len() {
            let drained = self.fleet.data[node].terminate().await;
            words.push(self.drained(&self.fleet.data[node].name.clone(), drained));
            self.fleet.start_data(node)?;
            self.await_ready(node).await;
        }
        for broker in 0..self.fleet.brokers.len() {
            let drained = self.fleet.brokers[broker].terminate().await;
            words.push(self.drained(&self.fleet.brokers[broker].name.clone(), drained));
            self.fleet.start_broker(broker)?;
            self.recover().await;
        }
        Ok(words.join(", "))
    }

    /// Takes note of how a node ended. Returns that in words.
    fn drained(&mut self, name: &str, drained: std::result::Result<Drained, String>) -> String {
        match drained {
            Ok(Drained { took, panic }) => {
                self.tally.drains.push(took);
                self.tally.missed.extend(panic.map(|panic| format!("nothing panics on SIGTERM: {panic}")));
                format!("{name} drained in {} ms", took.as_millis())
            }
            Err(fault) => {
                self.stage.ledger.violation(fault);
                format!("{name} did not drain")
            }
        }
    }

    /// Waits until a data node says that it is ready. That it does not is no violation: what counts is what it answers.
    async fn await_ready(&mut self, node: usize) {
        let member = &mut self.fleet.data[node];
        let (name, url) = (member.name.clone(), member.url());
        if let Some(process) = member.node()
            && let Err(fault) = process.ready(&self.stage.client, READY_WITHIN).await
        {
            return self.stage.ledger.violation(fault);
        }
        let give_up = Instant::now() + READY_WITHIN;
        while let Some(missing) = self.stage.client.not_ready(&url).await {
            if Instant::now() > give_up {
                return self
                    .tally
                    .missed
                    .push(format!("{name} is ready {READY_WITHIN:?} after its start: {missing}"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn pause_table(&mut self, paused: Duration) -> Result<String> {
        self.insist_on_pause(true).await?;
        tokio::time::sleep(PAUSE_REACHES_ALL).await;
        let before = self.cut().await;
        tokio::time::sleep(paused).await;
        let after = self.cut().await;
        self.insist_on_pause(false).await?;
        let stood = match (&before, &after) {
            (Some(before), Some(after)) => contains(before, after),
            _ => return Ok("paused and resumed; no answer meanwhile".into()),
        };
        if !stood {
            self.tally.missed.push(format!("a paused table stands still: from {before:?} to {after:?}"));
        }
        Ok(format!("paused for {} ms, {}", paused.as_millis(), if stood { "stood still" } else { "went on" }))
    }

    async fn cut(&self) -> Option<crate::chaos::model::Cut> {
        let at = self.fleet.address();
        let answer = ask(&self.stage.client, &at.url, at.process, Question::Totals, EVENTS).await;
        answer.ok().map(|answer| answer.cut)
    }

    async fn insist_on_pause(&self, paused: bool) -> Result<()> {
        let give_up = Instant::now() + INSIST;
        loop {
            match self.stage.client.pause(&self.fleet.address().url, EVENTS, paused).await {
                Ok(_) => return Ok(()),
                Err(AskError::Status { status, message }) if status < 500 => {
                    return Err(ChaosError::new(
                        format!("pause {paused}"),
                        format!("status {status}: {message}"),
                    ));
                }
                Err(error) if Instant::now() > give_up => {
                    return Err(ChaosError::new(format!("pause {paused}"), format!("{error:?}")));
                }
                Err(error) => line(format_args!("pause {paused}: {error:?}")),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn change_spec(&mut self) -> Result<String> {
        let usual = self.stage.rows_per_segment();
        self.segment_rows_max = if self.segment_rows_max == usual { usual * 2 } else { usual };
        let at = self.fleet.address();
        self.stage.apply(&at, EVENTS, &self.stage.topic, self.segment_rows_max).await?;
        Ok(format!("segments of {} rows", self.segment_rows_max))
    }

    /// Kills everybody and starts everybody, at the end of the run.
    pub(crate) async fn restart_all(&mut self) -> Result<()> {
        self.watch.begin("restart of all");
        let faults: Vec<_> = self.fleet.members().filter_map(Member::kill).collect();
        for fault in faults {
            self.stage.ledger.violation(fault);
        }
        self.fleet.start_all()?;
        let recovered = self.recover().await;
        self.watch.end(recovered);
        Ok(())
    }

    /// Waits until all nodes answer; a violation if they do not. Returns whether they do.
    pub(crate) async fn ready(&mut self) -> bool {
        for member in self.fleet.members() {
            if let Some(node) = member.node()
                && let Err(fault) = node.ready(&self.stage.client, READY_WITHIN).await
            {
                self.stage.ledger.violation(fault);
                return false;
            }
        }
        true
    }

    /// Undoes what a step that was broken off has left: processes that are stopped or down, nodes that are cut off.
    pub(crate) fn wake(&mut self) -> Result<()> {
        self.fleet.heal();
        for member in self.fleet.members() {
            if let Some(node) = member.node() {
                node.resume()?;
            }
        }
        self.fleet.start_all()
    }
}
