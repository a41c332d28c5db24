//! `headwater-bench`: the fault harness and the side-by-side benchmarks, one subcommand each.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use headwater_bench::{freshness, ingest};

mod chaos;

/// Fault harness and benchmarks of Headwater. They need a Kafka (deploy/kafka.sh up).
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
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Chaos(arguments) => return chaos::run(&arguments),
        Command::Freshness(arguments) => freshness::run(&arguments),
        Command::Ingest(arguments) => ingest::run(&arguments),
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
