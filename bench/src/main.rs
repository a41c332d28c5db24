//! `headwater-bench`: the benchmarks, one command each.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use headwater_bench::{freshness, ingest};

/// Benchmarks of Headwater against a real Kafka.
#[derive(Debug, Parser)]
#[command(name = "headwater-bench", version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Time from Kafka's acknowledgement to an SQL answer, at several rates, while segments are sealed.
    Freshness(freshness::FreshnessArguments),
    /// Speed from a full topic to queryable rows, beside bare parsers and ClickHouse.
    Ingest(ingest::IngestArguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Freshness(arguments) => freshness::run(&arguments),
        Command::Ingest(arguments) => ingest::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "headwater-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
