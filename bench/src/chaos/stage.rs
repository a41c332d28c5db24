//! What a run needs whatever runs in it: topics, a store, tables over them, and the findings.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use headwater_segment::log::table_root;
use headwater_server::config::StoreConfig;
use headwater_server::store::{self, Store};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::Arguments;
use super::checker::{Ledger, Watched};
use super::client::{AskError, Client};
use super::closing::{Closing, Sealed};
use super::commits::Commits;
use super::compacted;
use super::error::{ChaosError, Result};
use super::model::Model;
use super::process::Launch;
use super::producer::{EventProducer, Written};
use super::report::line;
use super::store_test;
use super::topic::Topics;

/// The table of the events.
pub(crate) const EVENTS: &str = "events";
/// The same events in a table that keeps them only for a while.
pub(crate) const AGING: &str = "aging";
/// For how long: the least that a table may ask for.
pub(crate) const RETENTION: Duration = Duration::from_secs(60);
/// Rows per segment of a table over the compacted topic.
const COMPACTED_ROWS_PER_SEGMENT: u32 = 50;
/// How long news may take to get around in a cluster, on a busy machine.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(60);
/// How long a cluster may take to carry out what is asked of its tables.
const APPLY_WITHIN: Duration = Duration::from_secs(60);

/// Everything around the processes.
pub(crate) struct Stage {
    pub(crate) arguments: Arguments,
    pub(crate) dir: PathBuf,
    pub(crate) topics: Topics,
    pub(crate) topic: String,
    compacted_topic: String,
    pub(crate) store: Store,
    pub(crate) client: Client,
    pub(crate) ledger: Arc<Ledger>,
    compacted: Arc<Mutex<Model>>,
    pub(crate) launch: Launch,
    pub(crate) started: Instant,
}

/// A process that is asked to do something: where, and its number.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) url: String,
    pub(crate) process: u32,
}

impl Stage {
    /// Topics and store, and nothing that runs yet.
    pub(crate) async fn prepare(arguments: Arguments) -> Result<Self> {
        let name = format!("chaos-{}-{}", arguments.seed, std::process::id());
        let dir =
            arguments.dir.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("headwater-{name}")));
        std::fs::create_dir_all(&dir).map_err(ChaosError::at(format!("create {}", dir.display())))?;
        let dir = dir.canonicalize().map_err(ChaosError::at(format!("find {}", dir.display())))?;
        let url = match &arguments.store {
            Some(url) => format!("{}/{name}", url.trim_end_matches('/')),
            None => format!("file://{}", dir.join("store").display()),
        };
        let config =
            StoreConfig { url: url.clone(), options: arguments.store_option.iter().cloned().collect() };
        let store = store::open(&config).map_err(ChaosError::at("open the store"))?;
        store_test::check_create_if_absent(store.objects.as_ref(), &store.root).await?;
        let topics = Topics::connect(&arguments.kafka)?;
        let (topic, compacted_topic) = (name.clone(), format!("{name}-compacted"));
        topics.create(&topic, arguments.partitions, &[]).await?;
        line(format_args!("seed {}: topic {topic}, store {url}, logs in {}", arguments.seed, dir.display()));
        line("writing a topic and waiting for its compaction");
        let compacted = compacted::prepare(&topics, &arguments.kafka, &compacted_topic).await?;
        let launch = Launch {
            binary: arguments.binary.clone(),
            store: url,
            store_options: arguments.store_option.clone(),
            dir: dir.clone(),
        };
        Ok(Self {
            arguments,
            dir,
            topics,
            topic,
            compacted_topic,
            store,
            client: Client::new()?,
            ledger: Arc::default(),
            compacted: Arc::new(Mutex::new(compacted)),
            launch,
            started: Instant::now(),
        })
    }

    /// Begins to write events.
    pub(crate) fn produce(&self) -> Result<EventProducer> {
        let a = &self.arguments;
        tokio::task::block_in_place(|| {
            EventProducer::start(&a.kafka, &self.topic, a.partitions, a.rate, a.seed)
        })
    }

    /// A watch on the log of the events.
    pub(crate) fn commits(&self) -> Commits {
        let every = if self.launch.store.starts_with("file:") { 2 } else { 20 };
        let root = table_root(&self.store.root, EVENTS);
        Commits::watch(self.store.objects.clone(), root, Duration::from_millis(every))
    }

    /// Adds partitions to the topic, once. Returns how many there are then.
    pub(crate) async fn widen(&self, producer: &EventProducer) -> Result<i32> {
        let partitions = self.arguments.partitions + (self.arguments.partitions / 2).max(1);
        let shared = producer.shared();
        if shared.partitions.load(Ordering::SeqCst) < partitions {
            self.topics.widen(&self.topic, partitions).await?;
            shared.partitions.store(partitions, Ordering::SeqCst);
            line(format_args!("the topic has {partitions} partitions now"));
        }
        Ok(partitions)
    }

    /// Ends the writing. From here on it is certain what every answer must be.
    pub(crate) fn end_of_events(&self, producer: EventProducer, events: &Watched) -> Result<Written> {
        let partitions = producer.shared().partitions.load(Ordering::SeqCst);
        let written = tokio::task::block_in_place(|| producer.stop())?;
        let ends = tokio::task::block_in_place(|| self.topics.ends(&self.topic, partitions))?;
        events.model.lock().settle_to_end(&ends);
        self.ledger.close();
        Ok(written)
    }

    /// Checks the present table over the compacted topic, drops it, and creates the next one.
    pub(crate) async fn next_compacted(
        &self,
        at: &Address,
        present: Option<Arc<Watched>>,
    ) -> Result<Arc<Watched>> {
        if let Some(present) = &present {
            self.closing(at).check_visible(present).await;
            self.ledger.unwatch(&present.table);
            let purged = self.client.purge(&at.url, &present.table).await;
            purged
                .map_err(|error| ChaosError::new(format!("drop {}", present.table), format!("{error:?}")))?;
        }
        let next =
            Watched::new(format!("compacted_{}", generation(present.as_deref()) + 1), self.compacted.clone());
        self.apply(at, &next.table, &self.compacted_topic, COMPACTED_ROWS_PER_SEGMENT).await?;
        self.ledger.watch(next.clone());
        Ok(next)
    }

    pub(crate) fn closing<'a>(&'a self, at: &Address) -> Closing<'a> {
        let patience = if self.arguments.data_nodes > 0 { CLUSTER_PATIENCE } else { Duration::ZERO };
        Closing {
            client: &self.client,
            ledger: &self.ledger,
            url: at.url.clone(),
            process: at.process,
            patience,
        }
    }

    /// The last checks but for those after a restart: everything visible, everything sealed.
    pub(crate) async fn close(&self, at: &Address, tables: &[Arc<Watched>]) -> Result<Vec<(String, Sealed)>> {
        let mut sealed = Vec::new();
        for watched in tables {
            let closing = self.closing(at);
            closing.check_visible(watched).await;
            sealed.push((watched.table.clone(), closing.check_sealed(watched, &self.store).await?));
            closing.check_visible(watched).await;
        }
        Ok(sealed)
    }

    /// Creates or changes a table. A cluster whose nodes do not know each other yet is asked again.
    pub(crate) async fn apply(&self, at: &Address, table: &str, topic: &str, rows_max: u32) -> Result<()> {
        self.apply_spec(at, table, &self.spec(table, topic, rows_max)).await
    }

    /// Creates the table that keeps events only for a while.
    pub(crate) async fn apply_aging(&self, at: &Address) -> Result<()> {
        let mut spec = self.spec(AGING, &self.topic, self.rows_per_segment());
        spec["retention"] = format!("{}s", RETENTION.as_secs()).into();
        self.apply_spec(at, AGING, &spec).await
    }

    async fn apply_spec(&self, at: &Address, table: &str, spec: &Value) -> Result<()> {
        let give_up = Instant::now() + APPLY_WITHIN;
        loop {
            let error = match self.client.apply(&at.url, table, spec).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            let is_refused = matches!(error, AskError::Status { status, .. } if status < 500);
            if is_refused || self.arguments.data_nodes == 0 || Instant::now() > give_up {
                return Err(ChaosError::new(format!("apply table {table}"), format!("{error:?}")));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// A partition fills a segment in about a second and a half.
    pub(crate) fn rows_per_segment(&self) -> u32 {
        (self.arguments.rate * 3 / 2 / self.arguments.partitions.unsigned_abs()).max(10)
    }

    fn spec(&self, table: &str, topic: &str, rows_max: u32) -> Value {
        let mut spec = json!({
            "name": table,
            "columns": [
                {"name": "id", "type": "LONG", "nullable": false},
                {"name": "producer", "type": "INT"},
                {"name": "v", "type": "STRING"},
            ],
            "sort_key": ["v", "id"],
            "stream": {"brokers": [self.arguments.kafka], "topic": topic, "start": "earliest", "on_gap": "fail"},
            "seal": {"rows_max": rows_max, "bytes_max": "64 MiB", "age_max": "2s"},
        });
        if self.arguments.data_nodes > 0 {
            spec["replication"] = self.arguments.replication.into();
        }
        spec
    }

    /// Deletes what a run that went well leaves behind.
    pub(crate) async fn clean_up(&self) -> Result<()> {
        self.topics.delete(&self.topic).await?;
        self.topics.delete(&self.compacted_topic).await?;
        if self.arguments.dir.is_none() {
            std::fs::remove_dir_all(&self.dir)
                .map_err(ChaosError::at(format!("delete {}", self.dir.display())))?;
        }
        Ok(())
    }
}

/// How often the compacted topic became a table, from the table's name.
pub(crate) fn generation(table: Option<&Watched>) -> u64 {
    table.and_then(|table| table.table.rsplit('_').next()?.parse().ok()).unwrap_or(0)
}
