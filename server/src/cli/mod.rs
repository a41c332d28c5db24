//! The command line: what there is, and who does it.
//!
//! [`Screen`] says how a command answers, [`CliError`] and [`Exit`] how it fails, and [`progress`] how far it is meanwhile.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod access;
mod client;
mod completion;
mod doctor;
mod error;
mod exit;
mod infer;
mod interrupt;
mod password;
mod progress;
mod screen;
mod segment;
mod serve;
mod shell;
mod sql;
mod statements;
mod table;
mod text_table;

pub(crate) use error::CliError;
pub(crate) use exit::Exit;
pub(crate) use screen::Output;
use screen::Screen;

/// A real-time columnar OLAP engine: Kafka in, SQL out.
#[derive(Debug, Parser)]
#[command(
    name = "headwater",
    version,
    max_term_width = 110,
    arg_required_else_help = true,
    after_help = exit::help()
)]
pub(crate) struct Arguments {
    /// What answers are made for: text for a person, or one JSON document on standard output, errors as JSON on
    /// standard error.
    #[arg(short, long, value_enum, global = true, default_value_t)]
    pub(crate) output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything in one process with no outside service: a small Kafka, a stream of ride orders, a table, a page.
    #[command(after_help = "Example:\n  headwater demo --rate 20000")]
    Demo(serve::DemoArguments),
    /// Serve the tables of a store.
    #[command(after_help = START_EXAMPLES)]
    Start(NodeArguments),
    /// Print the configuration that `start` would use.
    #[command(after_help = "Example:\n  headwater config --config headwater.toml --set query.threads=4")]
    Config(NodeArguments),
    /// Check what `start` would stand on: configuration, Kafka, object store, machine, other nodes.
    Doctor(doctor::DoctorArguments),
    /// Create, look at and manage tables.
    Table(table::TableArguments),
    /// Look into sealed segments as files.
    Segment(segment::SegmentArguments),
    /// Make what the configuration names users and API tokens by: hashes of passwords, and tokens.
    #[command(
        after_help = "Example:\n  headwater access hash-password < password.txt\n  headwater access new-token --name grafana --role reader --expires 90d"
    )]
    Access(access::AccessArguments),
    /// Ask: an interactive shell, one statement with -c, or statements from standard input.
    Sql(sql::SqlArguments),
    /// Print a script that completes commands and flags in a shell.
    Completion(completion::CompletionArguments),
}

const START_EXAMPLES: &str = "\
Examples:
  headwater start --store file:///var/lib/headwater
  headwater start --config headwater.toml --set query.threads=4
  headwater doctor --config headwater.toml      checks first what start would stand on";

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
    /// User to ask as; the password is asked for, if no file holds it.
    #[arg(long, value_name = "NAME", env = "HEADWATER_USER", global = true)]
    user: Option<String>,
    /// File with the password.
    #[arg(long, value_name = "FILE", env = "HEADWATER_PASSWORD_FILE", requires = "user", global = true)]
    password_file: Option<PathBuf>,
    /// API token, in the place of a user; better in the environment, as others see command lines.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "HEADWATER_TOKEN",
        hide_env_values = true,
        conflicts_with = "user",
        global = true
    )]
    token: Option<String>,
    /// PEM file with the certificate of whoever signed the server's, beside those that this machine trusts.
    #[arg(long, value_name = "FILE", env = "HEADWATER_CA", global = true)]
    ca: Option<PathBuf>,
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

/// Does what was asked.
pub(crate) fn run(arguments: Arguments) -> Result<(), CliError> {
    let screen = Screen::new(arguments.output);
    // The commands that serve end in their own way.
    if !matches!(arguments.command, Command::Demo(_) | Command::Start(_)) {
        interrupt::watch()?;
    }
    match arguments.command {
        Command::Demo(arguments) => serve::demo(&arguments, screen),
        Command::Start(arguments) => serve::start(&arguments, screen),
        Command::Config(arguments) => serve::print_config(&arguments, screen),
        Command::Doctor(arguments) => doctor::run(&arguments, screen),
        Command::Access(arguments) => access::run(&arguments, screen),
        Command::Table(arguments) => table::run(arguments, screen),
        Command::Segment(arguments) => segment::run(arguments, screen),
        Command::Sql(arguments) => sql::run(&arguments, screen),
        Command::Completion(arguments) => completion::run(&arguments),
    }
}

/// Whether arguments that cannot be parsed ask for JSON all the same.
pub(crate) fn asks_for_json(arguments: impl Iterator<Item = std::ffi::OsString>) -> bool {
    let arguments: Vec<_> = arguments.skip(1).collect();
    let joined = ["--output=json", "-o=json", "-ojson"];
    let is_joined = arguments.iter().any(|argument| joined.iter().any(|joined| argument == joined));
    let is_pair =
        |pair: &[std::ffi::OsString]| (pair[0] == "--output" || pair[0] == "-o") && pair[1] == "json";
    is_joined || arguments.windows(2).any(is_pair)
}

/// A vector extension that this build needs and the processor lacks.
pub(crate) fn missing_cpu_feature() -> Option<&'static str> {
    #[cfg(all(target_arch = "x86_64", target_feature = "avx2"))]
    if !std::arch::is_x86_feature_detected!("avx2") {
        return Some("AVX2");
    }
    None
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed_and_each_has_an_example() {
        let mut command = Arguments::command();
        command.clone().debug_assert();
        command.build();
        let mut left: Vec<&clap::Command> = command.get_subcommands().collect();
        while let Some(command) = left.pop() {
            // `help` comes from clap.
            if command.get_name() == "help" {
                continue;
            }
            left.extend(command.get_subcommands());
            let end = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(end.contains("headwater "), "{} has no example", command.get_name());
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }

    #[test]
    fn a_statement_may_begin_with_a_comment() {
        for flag in ["-c", "--command"] {
            let parsed = Arguments::try_parse_from(["headwater", "sql", flag, "-- why\nSELECT 1"]);
            assert!(parsed.is_ok(), "{parsed:?}");
        }
    }

    #[test]
    fn json_is_asked_for_in_any_spelling() {
        let asks = |text: &str| asks_for_json(text.split(' ').map(Into::into));
        for text in ["hw sql --output json", "hw --output=json x", "hw -o json", "hw -ojson x"] {
            assert!(asks(text), "{text}");
        }
        for text in ["hw", "hw json", "hw --output text json", "hw --output"] {
            assert!(!asks(text), "{text}");
        }
    }
}
