//! `headwater-bench`: the fault harness and the side-by-side benchmarks, one subcommand each.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use headwater_bench::{
    cancel, dashboard, engines, freshness, hits, ingest, limit, live, log, planning, ssb, viewers,
};

mod chaos;

/// Fault harness and benchmarks of Headwater. Some need a Kafka (deploy/kafka.sh up).
#[derive(Debug, Parser)]
#[command(name = "headwater-bench", version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Kill and pause a server at the worst instants while events come in; prove that each is counted exactly once.
    Chaos(chaos::Arguments),
    /// Time from Kafka's acknowledgement to an SQL answer, at several rates, while segments are sealed.
    Freshness(freshness::FreshnessArguments),
    /// Speed from a full topic to queryable rows, beside bare parsers and ClickHouse.
    Ingest(ingest::IngestArguments),
    /// The star schema benchmark on one flat table, beside DuckDB, ClickHouse and DataFusion.
    Ssb(ssb::SsbArguments),
    /// ClickBench's 43 queries on a synthetic table of a third of its columns, beside the same engines.
    Hits(hits::HitsArguments),
    /// Many clients with small questions: Headwater over HTTP, DuckDB and ClickHouse in process.
    Dashboard(dashboard::DashboardArguments),
    /// The engine beside bare loops over the same codes.
    Limit(limit::LimitArguments),
    /// The star schema benchmark's queries while the same node ingests from Kafka.
    Live(live::LiveArguments),
    /// Many viewers of one live dashboard while events flow: what they cost, and how soon they see an event.
    Viewers(viewers::ViewersArguments),
    /// Commits per second of one table log, by committers and commits per entry, on local disk, S3 and a slow store.
    Log(log::LogArguments),
    /// Planning over up to 100,000 segments, and what a snapshot of them costs.
    Planning(planning::PlanningArguments),
    /// How long queries still work after their clients have gone.
    Cancel(cancel::CancelArguments),
    /// One engine of a contest; speaks lines of JSON.
    #[command(hide = true)]
    Engine(engines::EngineArguments),
}

fn main() -> ExitCode {
    headwater_server::allocator::keep_freed_memory();
    let outcome = match Arguments::parse().command {
        Command::Chaos(arguments) => return chaos::run(&arguments),
        Command::Freshness(arguments) => freshness::run(&arguments),
        Command::Ingest(arguments) => ingest::run(&arguments),
        Command::Ssb(arguments) => ssb::run(&arguments),
        Command::Hits(arguments) => hits::run(&arguments),
        Command::Dashboard(arguments) => dashboard::run(&arguments),
        Command::Limit(arguments) => limit::run(&arguments),
        Command::Live(arguments) => live::run(&arguments),
        Command::Viewers(arguments) => viewers::run(&arguments),
        Command::Log(arguments) => log::run(&arguments),
        Command::Planning(arguments) => planning::run(&arguments),
        Command::Cancel(arguments) => cancel::run(&arguments),
        Command::Engine(arguments) => engines::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done if standard error is closed.
            let _ = writeln!(std::io::stderr(), "headwater-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
