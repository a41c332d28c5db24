//! What keeps a node's tables as the cluster has them: tables that others created, dropped or gave another spec, and versions of
//! their logs that others have committed.
//!
//! Nodes gossip which version of each log they know (`log/<table>`), so what one commits the others look at within some hundred
//! milliseconds. That is a hint: every log is looked at from time to time, and the directory of tables as well.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_segment::SegmentError;
use headwater_segment::live::{LiveTable, PartitionStage};
use headwater_segment::log::{self, TableLog};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::membership::Membership;
use super::ownership::{LIVE_FACT, listing};
use crate::node_tables::NodeTables;
use crate::warming::{self, USED_FACT};

const LOG_FACT: &str = "log/";
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Each log is looked at this often even if nobody says that there is something new.
const REFRESH_EVERY: Duration = Duration::from_secs(5);
/// The directory of tables is listed this often.
const LIST_EVERY: Duration = Duration::from_secs(30);
/// A table that somebody speaks of and that is not there, or whose log cannot be read, is looked at again after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct Keeper {
    node: Arc<NodeTables>,
    membership: Arc<dyn Membership>,
    listed: Instant,
    refreshed: HashMap<String, Instant>,
    /// When a table was not there, or its log could not be read.
    failed: HashMap<String, Instant>,
    /// What this node has announced.
    announced: BTreeMap<String, String>,
}

impl Keeper {
    pub(crate) fn new(node: Arc<NodeTables>, membership: Arc<dyn Membership>) -> Self {
        Self {
            node,
            membership,
            listed: Instant::now(),
            refreshed: HashMap::new(),
            failed: HashMap::new(),
            announced: BTreeMap::new(),
        }
    }

    /// Looks until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut turns = tokio::time::interval(LOOK_EVERY);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let turn = async {
                turns.tick().await;
                self.look().await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = turn => {}
            }
        }
    }

    async fn look(&mut self) {
        for (name, version) in self.spoken_of() {
            match self.node.tables.get(&name) {
                Some(live) if live.snapshot().version < version && !self.is_put_off(&name) => {
                    self.refresh(&live).await;
                }
                Some(_) => {}
                None => self.open(&name).await,
            }
        }
        if self.listed.elapsed() >= LIST_EVERY {
            self.listed = Instant::now();
            self.list().await;
        }
        for live in self.node.tables.list() {
            let at = self.refreshed.entry(live.name().to_owned()).or_insert_with(Instant::now);
            if at.elapsed() >= REFRESH_EVERY {
                self.refresh(&live).await;
            }
        }
        self.node.restart_changed().await;
        self.announce();
    }

    /// The newest version of each table's log that another node knows.
    fn spoken_of(&self) -> BTreeMap<String, u64> {
        let members = self.membership.members();
        let this = self.membership.this();
        let mut newest = BTreeMap::new();
        for member in members.compatible().filter(|member| member.info.id != *this) {
            for (key, value) in &member.facts {
                let Some((name, version)) = key.strip_prefix(LOG_FACT).zip(value.parse::<u64>().ok()) else {
                    continue;
                };
                let known = newest.entry(name.to_owned()).or_insert(version);
                *known = (*known).max(version);
            }
        }
        newest
    }

    /// Whether what has failed with a table is not yet to be tried again.
    fn is_put_off(&self, name: &str) -> bool {
        self.failed.get(name).is_some_and(|at| at.elapsed() < AGAIN_AFTER)
    }

    async fn refresh(&mut self, live: &Arc<LiveTable>) {
        self.refreshed.insert(live.name().to_owned(), Instant::now());
        match live.follow_log().await {
            Ok(()) => {}
            Err(SegmentError::NoSuchTable(_)) => {
                tracing::info!(table = live.name(), "the table was dropped by another node");
                self.node.forget(live).await;
            }
            Err(error) => {
                self.failed.insert(live.name().to_owned(), Instant::now());
                tracing::warn!(table = live.name(), %error, "the table log could not be looked at");
            }
        }
    }

    async fn open(&mut self, name: &str) {
        if self.is_put_off(name) {
            return;
        }
        match TableLog::open(self.node.store.clone(), self.node.table_root(name)).await {
            Ok(Some(log)) => {
                self.failed.remove(name);
                tracing::info!(table = name, "a table of another node is served here as well");
                self.node.serve(log).await;
            }
            Ok(None) => {
                self.failed.insert(name.to_owned(), Instant::now());
            }
            Err(error) => {
                self.failed.insert(name.to_owned(), Instant::now());
                tracing::warn!(table = name, %error, "a table of another node could not be opened");
            }
        }
    }

    async fn list(&mut self) {
        match log::table_directories(&self.node.store, &self.node.root).await {
            Ok(names) => {
                for name in names {
                    if self.node.tables.get(&name).is_none() {
                        self.open(&name).await;
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "the tables could not be listed"),
        }
    }

    /// Says what is known and served here.
    fn announce(&mut self) {
        let mut facts = BTreeMap::new();
        for live in self.node.tables.list() {
            facts.insert(format!("{LOG_FACT}{}", live.name()), live.snapshot().version.to_string());
            let served = live.progress().into_iter();
            let served = served.filter(|progress| progress.stage == PartitionStage::Live);
            let served = listing(served.map(|progress| progress.partition));
            facts.insert(format!("{LIVE_FACT}{}", live.name()), served);
            let used = self.node.context.residents.used_names(live.name());
            if !used.is_empty() {
                facts.insert(format!("{USED_FACT}{}", live.name()), warming::listing(used));
            }
        }
        let gone: Vec<String> =
            self.announced.keys().filter(|key| !facts.contains_key(*key)).cloned().collect();
        let changed = facts.iter().filter(|(key, value)| self.announced.get(*key) != Some(value));
        let changed = changed.map(|(key, value)| (key.as_str(), Some(value.as_str())));
        let mut untold = Vec::new();
        for (key, value) in changed.chain(gone.iter().map(|key| (key.as_str(), None))) {
            if let Err(error) = self.membership.announce(key, value) {
                tracing::warn!(%error, "other nodes are not told of a change");
                untold.push(key.to_owned());
            }
        }
        for key in untold {
            // Rather nothing than what is no longer so; it is tried again.
            facts.remove(&key);
            if let Err(error) = self.membership.announce(&key, None) {
                tracing::warn!(%error, "other nodes go on believing what is no longer so");
            }
        }
        self.announced = facts;
    }
}
