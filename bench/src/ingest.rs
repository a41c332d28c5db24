//! `ingest`: from a full Kafka topic until every event is queryable, beside bare parsers and beside ClickHouse.
//!
//! The same events go several ways, one after the other, on an otherwise idle machine:
//! - **headwater**: consumed from Kafka by a new node until `count(*)` has them all, which leaves them in memory with Kafka
//!   as their log; and **headwater, sealing**: the same with segments sealed on the way and at the end, until the
//!   table log has every offset;
//! - **Kafka client**: fetched as Headwater fetches them, and thrown away;
//! - **simd-json** and **sonic-rs**: each message parsed alone, on one thread, and thrown away;
//! - **ClickHouse** (chdb): read from a file of lines, `JSONEachRow` into a MergeTree.
//!
//! "MB/s per core" is megabytes of JSON (10^6 bytes) by second of CPU time of all threads, so that engines with more
//! threads gain nothing by them. Headwater's CPU time holds the Kafka client: fetching, checksums, the lot.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use reqwest::Method;
use serde::Serialize;

use crate::data::Kept;
use crate::engines::python;
use crate::events::{TABLE, spec_text};
use crate::node::{Client, Node};
use crate::report::{Machine, Output, Table, grouped, median, note};
use crate::{Result, process};

mod client;
mod parsers;
mod peer;
mod preload;

const REPETITIONS: usize = 3;
/// Segments of the run that seals: some twenty of them for five million events.
const SEAL_ROWS: u64 = 250_000;
/// Segments of the run that does not seal.
const NEVER: u64 = 1_000_000_000;
const WAIT: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(20);

/// Arguments of `headwater-bench ingest`.
#[derive(Clone, Debug, Args)]
pub struct IngestArguments {
    /// Bootstrap address of a real Kafka.
    #[arg(long, value_name = "HOST:PORT")]
    kafka: String,
    /// The `headwater` binary, a release build.
    #[arg(long, value_name = "PATH")]
    binary: PathBuf,
    /// Events. The topic is filled once and kept for the next run.
    #[arg(long, value_name = "N", default_value_t = 5_000_000)]
    events: u64,
    /// Leaves ClickHouse out, which is otherwise installed.
    #[arg(long)]
    no_peer: bool,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Document {
    benchmark: &'static str,
    machine: Machine,
    events: u64,
    bytes: u64,
    repetitions: usize,
    ways: Vec<Way>,
}

/// One way of the events, medians of its repetitions.
#[derive(Debug, Serialize)]
struct Way {
    name: String,
    seconds: f64,
    cpu_ns_per_event: f64,
    events_per_second: f64,
    megabytes_per_second: f64,
    megabytes_per_cpu_second: f64,
    peak_memory_bytes: Option<u64>,
}

/// One repetition.
#[derive(Clone, Copy, Debug)]
struct Measured {
    seconds: f64,
    cpu_seconds: f64,
    peak_memory_bytes: Option<u64>,
}

impl Way {
    fn new(name: &str, events: u64, bytes: u64, measured: &[Measured]) -> Self {
        let middle = |of: fn(&Measured) -> f64| median(measured.iter().map(of).collect());
        let (seconds, cpu_seconds) = (middle(|one| one.seconds), middle(|one| one.cpu_seconds));
        let megabytes = bytes as f64 / 1e6;
        let way = Self {
            name: name.to_string(),
            seconds,
            cpu_ns_per_event: cpu_seconds * 1e9 / events as f64,
            events_per_second: events as f64 / seconds,
            megabytes_per_second: megabytes / seconds,
            megabytes_per_cpu_second: megabytes / cpu_seconds,
            peak_memory_bytes: measured.iter().filter_map(|one| one.peak_memory_bytes).max(),
        };
        let (rate, per_core) = (grouped(way.events_per_second), way.megabytes_per_cpu_second);
        note(format_args!("  {name}: {rate} events/s, {per_core:.0} MB/s per core"));
        way
    }
}

/// Runs the benchmark.
///
/// # Errors
/// If Kafka, the node or the peer fails, or if an event is missing.
pub fn run(arguments: &IngestArguments) -> Result<()> {
    let machine = Machine::here();
    let events = arguments.events;
    let python = match arguments.no_peer {
        true => None,
        false => Some(python::environment(&arguments.kept.root()?)?),
    };
    let topic = preload::topic(&arguments.kafka, events)?;
    note(format_args!("ingest: {} events, {REPETITIONS} repetitions", grouped(events as f64)));
    let sample = parsers::Sample::new(events);
    let bytes = sample.bytes_of_all;
    let mut ways = Vec::new();
    for (name, seal_rows) in [("headwater", NEVER), ("headwater, sealing", SEAL_ROWS)] {
        let spec = spec_text(&arguments.kafka, topic.name(), seal_rows);
        let measured = (0..REPETITIONS).map(|_| consume(arguments, &spec, seal_rows != NEVER));
        ways.push(Way::new(name, events, bytes, &measured.collect::<Result<Vec<_>>>()?));
    }
    let fetched = (0..REPETITIONS).map(|_| client::fetch(&arguments.kafka, topic.name(), events));
    ways.push(Way::new("Kafka client alone", events, bytes, &fetched.collect::<Result<Vec<_>>>()?));
    for (name, parse) in parsers::PARSERS {
        let measured = (0..REPETITIONS).map(|_| sample.measure(parse)).collect::<Result<Vec<_>>>()?;
        ways.push(Way::new(name, sample.events, sample.bytes, &measured));
    }
    if let Some(python) = &python {
        let file = peer::EventsFile::write(events)?;
        let measured =
            (0..REPETITIONS).map(|_| peer::clickhouse(python, &file)).collect::<Result<Vec<_>>>()?;
        ways.push(Way::new("ClickHouse (chdb)", events, bytes, &measured));
    }
    let document = Document { benchmark: "ingest", machine, events, bytes, repetitions: REPETITIONS, ways };
    arguments.output.publish(show(&document), &document)
}

/// Starts a node, gives it the table, and waits for the last event.
fn consume(arguments: &IngestArguments, spec: &str, seal: bool) -> Result<Measured> {
    let node = Node::start(&arguments.binary)?;
    let client = node.client()?;
    let cpu_before = process::cpu_time(node.pid())?;
    let began = Instant::now();
    client.call(Method::PUT, &format!("/tables/{TABLE}"), Some(spec.to_string()))?;
    let all = arguments.events as i64;
    wait_for(&node, &client, &format!("SELECT count(*) FROM {TABLE}"), all)?;
    if seal {
        client.call(Method::POST, &format!("/tables/{TABLE}/seal"), None)?;
        let sealed = "SELECT sum(\"rows\") FROM system.segments WHERE state = 'sealed'";
        wait_for(&node, &client, sealed, all)?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu_seconds = (process::cpu_time(node.pid())? - cpu_before).as_secs_f64();
    Ok(Measured { seconds, cpu_seconds, peak_memory_bytes: Some(process::peak_memory_bytes(node.pid())?) })
}

fn wait_for(node: &Node, client: &Client, statement: &str, wanted: i64) -> Result<()> {
    let began = Instant::now();
    loop {
        let count = client.number(statement)?;
        if count == wanted {
            return Ok(());
        }
        if count > wanted || began.elapsed() > WAIT {
            let log = node.log_end();
            return Err(
                format!("{statement}: {count}, not {wanted}; the node's log ends with:\n{log}").into()
            );
        }
        std::thread::sleep(POLL);
    }
}

fn show(document: &Document) -> String {
    let headings =
        ["way", "events/s", "MB/s", "CPU ns per event", "MB/s per core", "of simd-json", "peak MiB"];
    let mut table = Table::new(&headings);
    let yardstick = document.ways.iter().find(|way| way.name == parsers::YARDSTICK);
    for way in &document.ways {
        let share =
            yardstick.map(|yardstick| way.megabytes_per_cpu_second / yardstick.megabytes_per_cpu_second);
        table.row([
            way.name.clone(),
            grouped(way.events_per_second),
            format!("{:.0}", way.megabytes_per_second),
            grouped(way.cpu_ns_per_event),
            format!("{:.0}", way.megabytes_per_cpu_second),
            share.map_or(String::new(), |share| format!("{share:.2}")),
            way.peak_memory_bytes.map_or(String::new(), |bytes| grouped(bytes as f64 / 1048576.0)),
        ]);
    }
    format!(
        "{} events of {} bytes and 10 columns from Kafka until all are queryable; medians of {}.\n{}\n\n{table}",
        grouped(document.events as f64),
        document.bytes / document.events.max(1),
        document.repetitions,
        document.machine
    )
}
