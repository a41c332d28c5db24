//! `headwater doctor`: looks at everything that `headwater start` would stand on, and says what to correct.
//!
//! ```text
//! configuration ─▶ store ─▶ the tables in it ─▶ Kafka of each        all at once, each check with a time limit
//!               ├▶ clock, machine, listeners, cluster                each finding: what was seen, what to do
//! ```
//!
//! **Architecture Invariant:** nothing lasting is changed and no node is started: what is written for trying is deleted, and a
//! directory that is missing is not made. No secret is printed: what may be one is cut out of every text ([`report`]).

mod clock;
mod cluster;
mod configuration;
mod kafka;
mod listeners;
mod machine;
mod report;
mod store;

use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use headwater_segment::spec::StreamSpec;
use headwater_server::config::Config;

use self::report::{Area, Findings, Outcome, Place};
use super::infer::{StreamArguments, stream_of};
use super::screen::Screen;
use super::serve::environment;
use super::{CliError, NodeArguments};

const EXAMPLES: &str = "\
Examples:
  headwater doctor --config headwater.toml
  headwater doctor --store s3://bucket/prefix --brokers localhost:9092 --topic orders
  headwater doctor --output json | jq '.checks[] | select(.verdict == \"failure\")'

Ends with 0 if nothing failed (warnings may be there), with 1 otherwise.";

/// Tables whose Kafka is looked at at the same time.
const TABLES_AT_ONCE: usize = 8;

/// Arguments of `headwater doctor`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArguments {
    #[command(flatten)]
    node: NodeArguments,
    /// Kafka to look at, besides those of the store's tables: host:port, separated by commas.
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// Topic to look for on --brokers.
    #[arg(long, requires = "brokers")]
    topic: Option<String>,
    /// librdkafka property for --brokers, as in `table infer`; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", requires = "brokers")]
    property: Vec<String>,
    /// Each check may take so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    check_seconds: u64,
}

pub(crate) fn run(arguments: &DoctorArguments, screen: Screen) -> Result<(), CliError> {
    let given = given_stream(arguments)?;
    let findings = Findings::new(Duration::from_secs(arguments.check_seconds));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let settings = runtime.block_on(examine(&findings, &arguments.node, given));
    // A question to Kafka that was given up may still be blocking a thread.
    runtime.shutdown_background();
    let report = findings.into_report(settings);
    screen.answer(&report.to_json(), |out| report.write(out, screen))?;
    match report.failures() {
        0 => Ok(()),
        1 => Err(CliError::Answer("1 check failed".into())),
        count => Err(CliError::Answer(format!("{count} checks failed"))),
    }
}

fn given_stream(arguments: &DoctorArguments) -> Result<Option<StreamSpec>, CliError> {
    let Some(brokers) = &arguments.brokers else { return Ok(None) };
    let topic = arguments.topic.clone().unwrap_or_default();
    stream_of(&StreamArguments { brokers, topic, properties: &arguments.property }).map(Some)
}

async fn examine(
    findings: &Findings,
    node: &NodeArguments,
    given: Option<StreamSpec>,
) -> Vec<headwater_server::config::Origin> {
    let (config, origins) = configuration::check(findings, node, &environment().collect::<Vec<_>>());
    let given_kafka = async {
        if let Some(stream) = &given {
            kafka::check(findings, None, stream, None).await;
        }
    };
    let Some(config) = config else {
        for area in [Area::Store, Area::Clock, Area::Machine, Area::Listeners, Area::Cluster] {
            let why = Outcome::skipped("the configuration cannot be used");
            findings.add(Place::new(area, "all", ""), why);
        }
        given_kafka.await;
        return origins;
    };
    tokio::join!(
        given_kafka,
        store_and_tables(findings, &config, given.is_some()),
        machine::check(findings, &config),
        listeners::check(findings, &config),
        cluster::check(findings, &config),
    );
    origins
}

async fn store_and_tables(findings: &Findings, config: &Config, has_given: bool) {
    let tables = store::check(findings, &config.store).await;
    if tables.is_empty() && !has_given {
        let why = Outcome::skipped("the store has no tables; name a Kafka with --brokers and --topic");
        findings.add(Place::new(Area::Kafka, "brokers", ""), why);
    }
    let checks = futures::stream::iter(tables);
    checks
        .for_each_concurrent(TABLES_AT_ONCE, |log| async move {
            let snapshot = log.snapshot();
            let (spec, state) = (&snapshot.spec, &snapshot.stream);
            kafka::check(findings, Some(&spec.name), &spec.stream, Some(state)).await;
        })
        .await;
}
