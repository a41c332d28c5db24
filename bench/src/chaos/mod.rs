//! `headwater-bench chaos`: the proof that every event is counted exactly once.
//!
//! A producer writes numbered events, in transactions that commit and abort, with tombstones and undecodable messages
//! among them. Meanwhile one process is killed and paused at the worst instants ([`single`]), or the nodes of a cluster
//! are, which also join, leave and are restarted one by one ([`cluster`]). All the while they are asked, and each answer
//! is judged at the cut that it names ([`answer`], [`model`]). At the end everything must be there once ([`closing`]).
//! The seed decides what is written and done; timing is the machine's.
//!
//! Exit code: 0 all is well, 1 a violation, 2 the harness could not do its work.
//!
//! A cluster's nodes are also cut off from each other and from an S3 store, the store fails, delays and stays away, and
//! Kafka is restarted; one process is spared that. Nothing here waits for a compaction: the tables' small segments are
//! merged and deleted beside everything else, at the server's own pace.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use self::cluster::Card;
use self::error::ChaosError;
use self::report::line;
use self::stage::Stage;

mod answer;
mod checker;
mod client;
mod closing;
mod cluster;
mod commits;
mod compacted;
mod error;
mod kafka_script;
mod model;
mod nemesis;
mod plan;
mod process;
mod producer;
mod report;
mod single;
mod stage;
mod store_test;
mod timeline;
mod topic;

/// The store option that names an S3 server.
const STORE_ENDPOINT: &str = "aws_endpoint";

/// Arguments of `headwater-bench chaos`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// Decides what is written and what is done.
    #[arg(long, value_name = "N")]
    seed: u64,
    /// Kills. A run takes about four seconds a kill; a cluster, in which more is done, about half a minute.
    #[arg(long, value_name = "K", default_value_t = 50)]
    kills: u64,
    /// Goes on until so many minutes are over, however many kills that makes. For a cluster.
    #[arg(long, value_name = "N", conflicts_with = "kills", value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: Option<u64>,
    /// What is done to a cluster, nothing else. Default: everything that can be done.
    #[arg(long, value_name = "STEP,...", value_enum, value_delimiter = ',')]
    only: Vec<Card>,
    /// A Kafka in which topics may be created and deleted.
    #[arg(long, value_name = "HOST:PORT")]
    kafka: String,
    /// Script that stops that Kafka with `down` and starts it with `up`, such as deploy/kafka.sh. Without it Kafka is never
    /// restarted.
    #[arg(long, value_name = "PATH")]
    kafka_script: Option<PathBuf>,
    /// The server, as built for release.
    #[arg(long, value_name = "PATH")]
    binary: PathBuf,
    /// Data nodes of a cluster. 0: one process that does everything.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=16))]
    data_nodes: u8,
    /// Brokers of a cluster.
    #[arg(long, value_name = "B", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=4))]
    brokers: u8,
    /// Data nodes that hold each partition and each segment, in a cluster.
    #[arg(long, value_name = "R", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=7))]
    replication: u8,
    /// Store of the server. Default: a directory inside --dir. On S3, with the store option aws_endpoint, a cluster's nodes
    /// reach it through the harness, which lets requests fail.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Option of the store by its object_store name; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_option)]
    store_option: Vec<(String, String)>,
    /// Partitions of the topic; half as many again are added on the way.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=256))]
    partitions: i32,
    /// Messages per second.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(50..))]
    rate: u32,
    /// Directory for logs and the store. Default: a temporary one, deleted if all is well.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// File for the report as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

fn parse_option(text: &str) -> std::result::Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as key=value")?;
    Ok((key.to_string(), value.to_string()))
}

impl Arguments {
    /// The S3 server that the nodes of a cluster may be kept from.
    fn store_endpoint(&self) -> Option<String> {
        self.store.as_ref().filter(|store| store.starts_with("s3:"))?;
        let endpoint = self.store_option.iter().find(|(key, _)| key == STORE_ENDPOINT);
        endpoint.map(|(_, endpoint)| endpoint.clone())
    }

    /// The command that does the same again.
    /// The command that does the same again, but for secrets.
    fn reproduce(&self) -> String {
        let store = self.store.as_ref().map(|store| format!(" --store {store}")).unwrap_or_default();
        let options: String = self
            .store_option
            .iter()
            .map(|(key, value)| format!(" --store-option {key}={}", shown(key, value)))
            .collect();
        let cluster = match self.data_nodes {
            0 => String::new(),
            nodes => {
                format!(" --data-nodes {nodes} --brokers {} --replication {}", self.brokers, self.replication)
            }
        };
        let length = match self.minutes {
            Some(minutes) => format!("--minutes {minutes}"),
            None => format!("--kills {}", self.kills),
        };
        let script = self.kafka_script.as_ref();
        let script = script.map(|path| format!(" --kafka-script {}", path.display())).unwrap_or_default();
        let only: Vec<_> = self.only.iter().filter_map(ValueEnum::to_possible_value).collect();
        let only: Vec<_> = only.iter().map(|card| card.get_name()).collect();
        let only = if only.is_empty() { String::new() } else { format!(" --only {}", only.join(",")) };
        format!(
            "headwater-bench chaos --seed {} {length} --kafka {}{script} --binary {}{cluster}{only}{store}{options} \
             --partitions {} --rate {}",
            self.seed,
            self.kafka,
            self.binary.display(),
            self.partitions,
            self.rate
        )
    }
}

/// Runs the harness.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(ChaosError::at("start the runtime")).and_then(|runtime| {
        runtime.block_on(async {
            if arguments.minutes.is_some() && arguments.data_nodes == 0 {
                return Err(ChaosError::new("--minutes", "it is for a cluster; set --data-nodes, too"));
            }
            let stage = Stage::prepare(arguments.clone()).await?;
            match arguments.data_nodes {
                0 => Box::pin(single::run(&stage)).await,
                _ => Box::pin(cluster::run(&stage)).await,
            }
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

/// The value of a store's option, unless it is a secret.
fn shown<'a>(key: &str, value: &'a str) -> &'a str {
    if key.contains("secret") || key.contains("token") { "…" } else { value }
}
