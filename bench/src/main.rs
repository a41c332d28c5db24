//! `headwater-bench`: the fault harness and the side-by-side benchmarks, one subcommand each.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Chaos(arguments) => chaos::run(&arguments),
    }
}
