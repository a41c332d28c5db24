//! The command line: what there is, and who does it.
//!
//! Exit codes: 0 done; 1 the server or the query answered with an error; 2 wrong usage or configuration; 3 the server
//! could not be reached.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod client;
mod infer;
mod segment;
mod serve;
mod shell;
mod sql;
mod statements;
mod table;
mod text_table;

/// A real-time columnar OLAP engine: Kafka in, SQL out.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, max_term_width = 110)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything in one process with no outside service: a small Kafka, a stream of ride orders, a table, a page.
    Demo(serve::DemoArguments),
    /// Serve the tables of a store.
    Start(NodeArguments),
    /// Print the configuration that `start` would use.
    Config(NodeArguments),
    /// Create, look at and manage tables.
    Table(table::TableArguments),
    /// Look into sealed segments as files.
    Segment(segment::SegmentArguments),
    /// Ask: an interactive shell, one statement with -c, or statements from standard input.
    Sql(sql::SqlArguments),
}

/// Where the node's configuration comes from.
#[derive(Debug, Args)]
pub(crate) struct NodeArguments {
    /// TOML file.
    #[arg(long, value_name = "FILE", env = "HEADWATER_CONFIG")]
    config: Option<PathBuf>,
    /// Address and port of the HTTP listener (setting http.listen).
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// file:///path, s3://bucket/prefix or memory:// (setting store.url).
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// What the node does in its cluster: broker, data or all (setting cluster.role).
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Any setting by its dotted path; may be repeated.
    #[arg(long, value_name = "PATH=VALUE", value_parser = parse_setting)]
    set: Vec<(String, String)>,
}

/// Which server to talk to.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServerArguments {
    /// Address of a running headwater.
    #[arg(
        long,
        value_name = "URL",
        env = "HEADWATER_URL",
        default_value = "http://127.0.0.1:8099",
        global = true
    )]
    url: String,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Lines and columns for a person.
    Table,
    /// RFC 4180 with a header line.
    Csv,
    /// The server's JSON document.
    Json,
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let (path, value) = text.split_once('=').ok_or("write it as path=value, as in query.threads=4")?;
    Ok((path.trim().to_string(), value.to_string()))
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The server or the query answered with an error.
    #[error("{0}")]
    Answer(String),
    /// Wrong usage or configuration.
    #[error("{0}")]
    Usage(String),
    /// The server could not be reached.
    #[error("{url} could not be reached ({reason}); is `headwater start` or `headwater demo` running there?")]
    Unreachable {
        /// Address.
        url: String,
        /// Why.
        reason: String,
    },
    /// Whoever read our output has gone.
    #[error("output closed")]
    BrokenPipe,
}

impl CliError {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Answer(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable { .. } => 3,
            Self::BrokenPipe => 0,
        }
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::BrokenPipe;
        }
        Self::Usage(error.to_string())
    }
}

/// Does what was asked.
pub(crate) fn run(arguments: Arguments) -> Result<(), CliError> {
    match arguments.command {
        Command::Demo(arguments) => serve::demo(&arguments),
        Command::Start(arguments) => serve::start(&arguments),
        Command::Config(arguments) => serve::print_config(&arguments),
        Command::Table(arguments) => table::run(arguments),
        Command::Segment(arguments) => segment::run(arguments),
        Command::Sql(arguments) => sql::run(&arguments),
    }
}

/// A vector extension that this build needs and the processor lacks.
pub(crate) fn missing_cpu_feature() -> Option<&'static str> {
    #[cfg(all(target_arch = "x86_64", target_feature = "avx2"))]
    if !std::arch::is_x86_feature_detected!("avx2") {
        return Some("AVX2");
    }
    None
}
