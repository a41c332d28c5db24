//! `headwater-bench chaos`: the proof that every event is counted exactly once.
//!
//! A producer writes numbered events, in transactions that commit and abort, with tombstones and undecodable messages
//! among them; the server is killed and paused at the worst instants ([`plan`], [`nemesis`]); all the while every
//! process is asked, and each answer is judged at the cut that it names ([`answer`], [`model`]). At the end everything
//! must be there once ([`closing`]). The seed decides what is written and done; timing is the machine's.
//!
//! Exit code: 0 all is well, 1 a violation, 2 the harness could not do its work.
//!
//! Not here: a stopped Kafka, a failing store. Tables are never compacted by the server yet, so a run's time is bounded
//! by its growing number of small segments: for hours, run many seeds one after the other.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Args;
use headwater_segment::log::table_root;
use headwater_server::config::StoreConfig;
use headwater_server::store::{self, Store};
use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use self::checker::{Ledger, Watched};
use self::client::Client;
use self::closing::Closing;
use self::commits::Commits;
use self::error::{ChaosError, Result};
use self::model::Model;
use self::nemesis::Nemesis;
use self::plan::Step;
use self::process::Launch;
use self::producer::EventProducer;
use self::report::{Report, line};
use self::topic::Topics;

mod answer;
mod checker;
mod client;
mod closing;
mod commits;
mod compacted;
mod error;
mod model;
mod nemesis;
mod plan;
mod process;
mod producer;
mod report;
mod store_test;
mod topic;

const EVENTS: &str = "events";
/// Kills after which the compacted topic becomes a new table and is read from its beginning again.
const COMPACTED_EVERY_KILLS: u64 = 20;

/// Arguments of `headwater-bench chaos`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// Decides what is written and what is done.
    #[arg(long, value_name = "N")]
    seed: u64,
    /// Kills. A run takes about four seconds a kill.
    #[arg(long, value_name = "K", default_value_t = 50)]
    kills: u64,
    /// A Kafka in which topics may be created and deleted.
    #[arg(long, value_name = "HOST:PORT")]
    kafka: String,
    /// The server, as built for release.
    #[arg(long, value_name = "PATH")]
    binary: PathBuf,
    /// Store of the server. Default: a directory inside --dir.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Option of the store by its object_store name; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_option)]
    store_option: Vec<(String, String)>,
    /// Partitions of the topic; half as many again are added half way.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=256))]
    partitions: i32,
    /// Messages per second.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(50..))]
    rate: u32,
    /// Directory for logs and the store. Default: a temporary one, deleted if all is well.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

fn parse_option(text: &str) -> std::result::Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as key=value")?;
    Ok((key.to_string(), value.to_string()))
}

/// Runs the harness.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(ChaosError::at("start the runtime")).and_then(|runtime| {
        runtime.block_on(async {
            let mut run = Run::prepare(arguments.clone()).await?;
            run.go().await
        })
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            line(format_args!("VOID: {error}"));
            ExitCode::from(2)
        }
    }
}

/// One run.
struct Run {
    arguments: Arguments,
    dir: PathBuf,
    topics: Topics,
    topic: String,
    compacted_topic: String,
    store: Store,
    client: Client,
    ledger: Arc<Ledger>,
    compacted: Arc<Mutex<Model>>,
    launch: Launch,
    started: Instant,
}

impl Run {
    async fn prepare(arguments: Arguments) -> Result<Self> {
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

    /// The whole run. Returns whether all is well.
    async fn go(&mut self) -> Result<bool> {
        let arguments = self.arguments.clone();
        let producer = tokio::task::block_in_place(|| {
            EventProducer::start(
                &arguments.kafka,
                &self.topic,
                arguments.partitions,
                arguments.rate,
                arguments.seed,
            )
        })?;
        let events = Watched::new(EVENTS, producer.shared().model.clone());
        let (launch, client) = (self.launch.clone(), self.client.clone());
        let mut nemesis = Nemesis::begin(launch, client, self.ledger.clone(), EVENTS.into())?;
        nemesis.ready().await;
        self.apply(&nemesis, EVENTS, &self.topic, self.rows_per_segment()).await?;
        self.ledger.watch(events.clone());

        let compacted = self.strike_all(&mut nemesis, &producer).await?;

        let partitions = producer.shared().partitions.load(Ordering::SeqCst);
        let written = tokio::task::block_in_place(|| producer.stop())?;
        let ends = tokio::task::block_in_place(|| self.topics.ends(&self.topic, partitions))?;
        events.model.lock().settle_to_end(&ends);
        self.ledger.close();
        let mut sealed = Vec::new();
        if !self.ledger.is_violated() && nemesis.ready().await {
            line("everything is written; checking that it is there once");
            sealed = self
                .close(&mut nemesis, [Some(events.clone()), compacted].into_iter().flatten().collect())
                .await?;
        }
        let rows = {
            let model = events.model.lock();
            model.totals(&model.delivered_ends()).unwrap_or_default().rows
        };
        let report = Report {
            reproduce: self.reproduce(),
            dir: self.dir.display().to_string(),
            took: self.started.elapsed(),
            tally: nemesis.tally.clone(),
            written,
            rows,
            sealed,
        };
        drop(nemesis);
        let well = report.print(&self.ledger);
        if well {
            self.clean_up().await?;
        }
        Ok(well)
    }

    /// Carries out the plan. Returns the table over the compacted topic that is there at the end.
    async fn strike_all(
        &self,
        nemesis: &mut Nemesis,
        producer: &EventProducer,
    ) -> Result<Option<Arc<Watched>>> {
        let every = if self.launch.store.starts_with("file:") { 2 } else { 20 };
        let root = table_root(&self.store.root, EVENTS);
        let commits = Commits::watch(self.store.objects.clone(), root, Duration::from_millis(every));
        let mut random = StdRng::seed_from_u64(self.arguments.seed);
        let mut compacted: Option<Arc<Watched>> = None;
        let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
        let kills = self.arguments.kills;
        while nemesis.tally.kills() < kills && !self.ledger.is_violated() && !producer.has_ended() {
            let done = nemesis.tally.kills();
            if done >= kills / 2 {
                self.widen(producer).await?;
            }
            if compacted.is_none() || done / COMPACTED_EVERY_KILLS >= self.generation(compacted.as_ref()) {
                compacted = self.next_compacted(nemesis, compacted).await?;
            }
            let step = Step::draw(&mut random);
            let struck = tokio::select! {
                what = nemesis.strike(step, &commits) => Some(what?),
                _ = &mut interrupted => None,
            };
            let Some(what) = struck else {
                line("interrupted: going on to the last checks");
                nemesis.wake()?;
                break;
            };
            let exact = self.ledger.read(|findings| findings.exact);
            let waiting = self.ledger.waiting();
            let done = nemesis.tally.kills();
            line(format_args!("{done}/{kills} {what}; {exact} answers exact, {waiting} waiting"));
        }
        Ok(compacted)
    }

    /// Adds partitions to the topic, once.
    async fn widen(&self, producer: &EventProducer) -> Result<()> {
        let partitions = self.arguments.partitions + (self.arguments.partitions / 2).max(1);
        let shared = producer.shared();
        if shared.partitions.load(Ordering::SeqCst) < partitions {
            self.topics.widen(&self.topic, partitions).await?;
            shared.partitions.store(partitions, Ordering::SeqCst);
            line(format_args!("the topic has {partitions} partitions now"));
        }
        Ok(())
    }

    /// How often the compacted topic became a table, from the table's name.
    fn generation(&self, table: Option<&Arc<Watched>>) -> u64 {
        table.and_then(|table| table.table.rsplit('_').next()?.parse().ok()).unwrap_or(0)
    }

    /// Checks the present table over the compacted topic, drops it, and creates the next one.
    async fn next_compacted(
        &self,
        nemesis: &mut Nemesis,
        present: Option<Arc<Watched>>,
    ) -> Result<Option<Arc<Watched>>> {
        if !nemesis.ready().await {
            return Ok(present);
        }
        if let Some(present) = &present {
            self.closing(nemesis).check_visible(present).await;
            self.ledger.unwatch(&present.table);
            let purged = self.client.purge(&nemesis.url(), &present.table).await;
            purged
                .map_err(|error| ChaosError::new(format!("drop {}", present.table), format!("{error:?}")))?;
        }
        let next = Watched::new(
            format!("compacted_{}", self.generation(present.as_ref()) + 1),
            self.compacted.clone(),
        );
        self.apply(nemesis, &next.table, &self.compacted_topic, 50).await?;
        self.ledger.watch(next.clone());
        Ok(Some(next))
    }

    fn closing<'a>(&'a self, nemesis: &Nemesis) -> Closing<'a> {
        Closing { client: &self.client, ledger: &self.ledger, url: nemesis.url(), process: nemesis.process() }
    }

    /// The last checks: everything visible, everything sealed, and the same again after a restart.
    async fn close(
        &self,
        nemesis: &mut Nemesis,
        tables: Vec<Arc<Watched>>,
    ) -> Result<Vec<(String, closing::Sealed)>> {
        let mut sealed = Vec::new();
        for watched in &tables {
            let closing = self.closing(nemesis);
            closing.check_visible(watched).await;
            sealed.push((watched.table.clone(), closing.check_sealed(watched, &self.store).await?));
            closing.check_visible(watched).await;
        }
        nemesis.restart()?;
        if nemesis.ready().await {
            for watched in &tables {
                self.closing(nemesis).check_visible(watched).await;
            }
        }
        Ok(sealed)
    }

    async fn apply(&self, nemesis: &Nemesis, table: &str, topic: &str, rows_max: u32) -> Result<()> {
        let spec = self.spec(table, topic, rows_max);
        let applied = self.client.apply(&nemesis.url(), table, &spec).await;
        applied
            .map(|_| ())
            .map_err(|error| ChaosError::new(format!("create table {table}"), format!("{error:?}")))
    }

    /// A partition fills a segment in about a second and a half.
    fn rows_per_segment(&self) -> u32 {
        (self.arguments.rate * 3 / 2 / self.arguments.partitions.unsigned_abs()).max(10)
    }

    fn spec(&self, table: &str, topic: &str, rows_max: u32) -> Value {
        json!({
            "name": table,
            "columns": [
                {"name": "id", "type": "LONG", "nullable": false},
                {"name": "producer", "type": "INT"},
                {"name": "v", "type": "STRING"},
            ],
            "sort_key": ["v", "id"],
            "stream": {"brokers": [self.arguments.kafka], "topic": topic, "start": "earliest", "on_gap": "fail"},
            "seal": {"rows_max": rows_max, "bytes_max": "64 MiB", "age_max": "2s"},
        })
    }

    fn reproduce(&self) -> String {
        let a = &self.arguments;
        let store = a.store.as_ref().map(|store| format!(" --store {store}")).unwrap_or_default();
        let options: String =
            a.store_option.iter().map(|(key, value)| format!(" --store-option {key}={value}")).collect();
        format!(
            "headwater-bench chaos --seed {} --kills {} --kafka {} --binary {}{store}{options} --partitions {} --rate {}",
            a.seed,
            a.kills,
            a.kafka,
            a.binary.display(),
            a.partitions,
            a.rate
        )
    }

    async fn clean_up(&self) -> Result<()> {
        self.topics.delete(&self.topic).await?;
        self.topics.delete(&self.compacted_topic).await?;
        if self.arguments.dir.is_none() {
            std::fs::remove_dir_all(&self.dir)
                .map_err(ChaosError::at(format!("delete {}", self.dir.display())))?;
        }
        Ok(())
    }
}
