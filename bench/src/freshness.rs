//! `freshness`: how long after Kafka has acknowledged an event it is in an SQL answer.
//!
//! A producer sends at a steady rate (`acks=all`, `linger.ms=1`) and notes when each event was handed over and when its
//! acknowledgement arrived. Meanwhile a prober asks `SELECT count(*)` over HTTP without a pause and notes when each
//! answer arrived in full and which offsets its cut contains. An event's freshness is the time from its acknowledgement
//! to the first answer whose cut contains it: the wait for the next query and the whole query included, every
//! event counted and none sampled. "From send" is the same from the moment at which the producer was given the event.
//!
//! Every answer is checked on the way: its count must be what its cut says (all events are decodable), and cuts never go
//! back. Producer, prober, Kafka and Headwater share the machine. Segments are sealed all the time: the row threshold is
//! set for some four seals of each partition in a run.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use reqwest::Method;
use serde::Serialize;

use crate::events::{PARTITIONS, TABLE, spec_text};
use crate::node::Node;
use crate::report::{Machine, Output, Table, grouped, note};
use crate::topic::Topic;
use crate::{Result, process};

mod figures;
pub(crate) mod load;
mod probe;

use figures::{Figures, Percentiles};

/// Events sent before this much of a run has passed are not counted: the tables' caches and the connections are new.
const WARM_UP: Duration = Duration::from_secs(2);
/// How long the last events may take to become visible.
const CATCH_UP_WAIT: Duration = Duration::from_secs(60);
const SEALS_PER_PARTITION: u64 = 4;
/// The search for the highest rate: where it begins, its steps, and the length of one.
const SEARCH_FROM: u64 = 60_000;
const SEARCH_STEP: f64 = 1.3;
const SEARCH_RATE_MAX: u64 = 5_000_000;
const SEARCH_TIME: Duration = Duration::from_secs(8);
/// After the search the full run is tried at the highest rate, then at this much less.
const BACK_OFF: f64 = 0.9;
const BACK_OFF_TRIES: usize = 4;

/// Arguments of `headwater-bench freshness`.
#[derive(Clone, Debug, Args)]
pub struct FreshnessArguments {
    /// Bootstrap address of a real Kafka.
    #[arg(long, value_name = "HOST:PORT")]
    kafka: String,
    /// The `headwater` binary, a release build.
    #[arg(long, value_name = "PATH")]
    binary: PathBuf,
    /// Events per second; `max` searches for the highest rate at which the lag does not grow.
    #[arg(long, value_delimiter = ',', default_value = "1000,50000,max", value_parser = parse_rate)]
    rates: Vec<Rate>,
    /// Length of a run.
    #[arg(long, value_name = "N", default_value_t = 20)]
    seconds: u64,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug)]
enum Rate {
    PerSecond(u64),
    Max,
}

fn parse_rate(text: &str) -> std::result::Result<Rate, String> {
    match text {
        "max" => Ok(Rate::Max),
        _ => match text.parse() {
            Ok(rate) if rate > 0 => Ok(Rate::PerSecond(rate)),
            _ => Err(format!("{text:?} is neither a number of events per second nor max")),
        },
    }
}

#[derive(Debug, Serialize)]
struct Document {
    benchmark: &'static str,
    machine: Machine,
    event_bytes: u64,
    partitions: i32,
    runs: Vec<Run>,
}

#[derive(Debug, Serialize)]
struct Run {
    rate: u64,
    found_by_search: bool,
    #[serde(flatten)]
    figures: Figures,
    sealed_segments: i64,
    event_bytes: u64,
    cpu_cores_used: f64,
    peak_memory_bytes: u64,
}

/// Runs the benchmark.
///
/// # Errors
/// If Kafka or the node fails, or if an answer is wrong.
pub fn run(arguments: &FreshnessArguments) -> Result<()> {
    let machine = Machine::here();
    let seconds = Duration::from_secs(arguments.seconds.max(WARM_UP.as_secs() + 1));
    let mut runs = Vec::new();
    for rate in &arguments.rates {
        runs.push(match rate {
            Rate::PerSecond(rate) => run_at(arguments, *rate, seconds)?,
            Rate::Max => run_at_highest(arguments, seconds)?,
        });
    }
    let event_bytes = runs.first().map_or(0, |run| run.event_bytes);
    let document = Document { benchmark: "freshness", machine, event_bytes, partitions: PARTITIONS, runs };
    arguments.output.publish(show(&document), &document)
}

fn run_at_highest(arguments: &FreshnessArguments, seconds: Duration) -> Result<Run> {
    let (mut rate, mut highest) = (SEARCH_FROM, None);
    while rate <= SEARCH_RATE_MAX {
        if !run_at(arguments, rate, SEARCH_TIME)?.figures.sustained {
            break;
        }
        highest = Some(rate);
        rate = (rate as f64 * SEARCH_STEP) as u64;
    }
    let mut rate = highest.unwrap_or(SEARCH_FROM);
    for _ in 0..BACK_OFF_TRIES {
        let run = run_at(arguments, rate, seconds)?;
        if run.figures.sustained {
            return Ok(Run { found_by_search: true, ..run });
        }
        rate = (rate as f64 * BACK_OFF) as u64;
    }
    Err(format!("no rate near {rate} events/s was sustained").into())
}

/// One run, on a new node over a new topic.
fn run_at(arguments: &FreshnessArguments, rate: u64, time: Duration) -> Result<Run> {
    note(format_args!("freshness: {} events/s for {} s", grouped(rate as f64), time.as_secs()));
    let name = format!("headwater-bench-{}-{rate}-{}", std::process::id(), time.as_secs());
    let topic = Topic::temporary(&arguments.kafka, &name)?;
    let node = Node::start(&arguments.binary)?;
    let client = node.client()?;
    let seal_rows = rate * time.as_secs() / PARTITIONS as u64 / SEALS_PER_PARTITION;
    let spec = spec_text(&arguments.kafka, topic.name(), seal_rows.max(100));
    client.call(Method::PUT, &format!("/tables/{TABLE}"), Some(spec))?;
    let observed = observe(&node, &arguments.kafka, topic.name(), rate, time)?;
    let run = Run {
        rate,
        found_by_search: false,
        figures: observed.figures,
        sealed_segments: observed.sealed_segments,
        event_bytes: observed.event_bytes,
        cpu_cores_used: observed.cpu_cores_used,
        peak_memory_bytes: process::peak_memory_bytes(node.pid())?,
    };
    note(format_args!(
        "  {} events/s, freshness p50 {:.2} ms, p99 {:.2} ms, lag at the end {}{}",
        grouped(run.figures.events_per_second),
        run.figures.freshness_ms.p50,
        run.figures.freshness_ms.p99,
        run.figures.lag_events_end,
        if run.figures.sustained { "" } else { " (not sustained)" }
    ));
    Ok(run)
}

/// What was seen while a node consumed a steady rate of events.
struct Observed {
    figures: Figures,
    event_bytes: u64,
    sealed_segments: i64,
    cpu_cores_used: f64,
}

/// Produces to a topic that the node's table consumes, and probes meanwhile.
fn observe(node: &Node, kafka: &str, topic: &str, rate: u64, time: Duration) -> Result<Observed> {
    wait_for_partitions(node)?;
    let client = node.client()?;
    let origin = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let prober = probe::Prober::start(node.client()?, origin, Arc::clone(&stop))?;
    let cpu_before = process::cpu_time(node.pid())?;
    let load = load::produce(kafka, topic, rate, time, origin);
    let cpu_cores_used = (process::cpu_time(node.pid())? - cpu_before).as_secs_f64() / time.as_secs_f64();
    let sealed = client.number(&format!(
        "SELECT count(*) FROM system.segments WHERE state = 'sealed' AND table_name = '{TABLE}'"
    ));
    let caught_up = load.as_ref().is_ok_and(|load| prober.wait_for(&load.ends(), CATCH_UP_WAIT));
    stop.store(true, Ordering::Relaxed);
    let probes = prober.finish()?;
    let load = load?;
    if !caught_up {
        note(format_args!(
            "not every event became visible in time; the node's log ends with:\n{}",
            node.log_end()
        ));
    }
    let figures = Figures::new(&load, &probes, WARM_UP);
    check(&figures)?;
    let event_bytes = load.bytes / (load.acks.len() as u64).max(1);
    Ok(Observed { figures, event_bytes, sealed_segments: sealed?, cpu_cores_used })
}

/// Freshness at a steady rate, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Freshness {
    pub(crate) events_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// Events acknowledged but not visible when sending ended.
    pub(crate) lag_events_end: u64,
    /// Whether the rate asked for was reached and the lag did not grow.
    pub(crate) sustained: bool,
}

/// Measures on a node of somebody else's, which has the table of events already.
pub(crate) fn measure_freshness(
    node: &Node,
    kafka: &str,
    topic: &str,
    rate: u64,
    time: Duration,
) -> Result<Freshness> {
    let figures = observe(node, kafka, topic, rate, time)?.figures;
    let Percentiles { p50, p99, max, .. } = figures.freshness_ms;
    Ok(Freshness {
        events_per_second: figures.events_per_second,
        p50_ms: p50,
        p99_ms: p99,
        max_ms: max,
        lag_events_end: figures.lag_events_end,
        sustained: figures.sustained,
    })
}

/// Consumption must have begun, or the first events would wait for the topic's metadata.
pub(crate) fn wait_for_partitions(node: &Node) -> Result<()> {
    let client = node.client()?;
    let began = Instant::now();
    while client.number("SELECT count(latest_offset) FROM system.partitions")? < i64::from(PARTITIONS) {
        if began.elapsed() > CATCH_UP_WAIT {
            return Err(
                format!("the table does not consume; the node's log ends with:\n{}", node.log_end()).into()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A benchmark over wrong answers is worth nothing.
fn check(figures: &Figures) -> Result<()> {
    if figures.answers_wrong > 0 || figures.cuts_gone_back > 0 {
        let (wrong, back) = (figures.answers_wrong, figures.cuts_gone_back);
        return Err(
            format!("{wrong} answers did not count what their cut holds, {back} cuts went back").into()
        );
    }
    Ok(())
}

fn show(document: &Document) -> String {
    let headings = [
        "events/s asked",
        "achieved",
        "sustained",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "max ms",
        "from send p50",
        "p99",
        "query p50 ms",
        "query p99",
        "lag at end",
        "segments sealed",
        "not visible",
        "cores used",
        "peak MiB",
    ];
    let mut table = Table::new(&headings);
    let times = |times: &Percentiles| [times.p50, times.p99].map(|ms| format!("{ms:.2}"));
    for run in &document.runs {
        let figures = &run.figures;
        let fresh = &figures.freshness_ms;
        let asked = grouped(run.rate as f64);
        let mut cells = vec![if run.found_by_search { format!("{asked} (max)") } else { asked }];
        cells.push(grouped(figures.events_per_second));
        cells.push(if figures.sustained { "yes" } else { "NO" }.into());
        cells.extend([fresh.p50, fresh.p99, fresh.p999, fresh.max].map(|ms| format!("{ms:.2}")));
        cells.extend(times(&figures.from_send_ms));
        cells.extend(times(&figures.query_ms));
        cells.push(grouped(figures.lag_events_end as f64));
        cells.push(run.sealed_segments.to_string());
        cells.push(figures.events_never_visible.to_string());
        cells.push(format!("{:.2}", run.cpu_cores_used));
        cells.push(grouped(run.peak_memory_bytes as f64 / 1048576.0));
        table.row(cells);
    }
    format!(
        "Acknowledged by Kafka to visible in an SQL answer; {} bytes an event, {} partitions.\n{}\n\n{table}",
        document.event_bytes, document.partitions, document.machine
    )
}
