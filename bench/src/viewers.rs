//! `viewers`: what it costs that many people watch one dashboard, and how soon they see an event.
//!
//! Events flow at a steady rate (`acks=all`). N viewers follow the same dashboard of four panels, which run at most once a second,
//! each over a connection of its own. Every viewer notes each update of the panel that counts all events: when it arrived in full, and
//! which offsets it contains. Two times come out of that, over all viewers:
//!
//! - **push**: from the moment at which the server began to run the panel to the arrival at a viewer: the statement, its rendering
//!   and the way to all of them;
//! - **event**: from Kafka's acknowledgement of an event to the first update at a viewer that contains it. The wait for the panel's
//!   turn is in it, which is half of `refresh_ms` on average.
//!
//! Kafka, the server and all viewers share the machine; the processor time is the server's alone. Each run has a new node, a new
//! topic and an empty store. Every update is checked: it must count exactly what its cut contains.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use crate::events::{PARTITIONS, TABLE, spec_text};
use crate::freshness::{load, wait_for_partitions};
use crate::node::Node;
use crate::report::{Machine, Output, Table, grouped, note, quantile};
use crate::topic::Topic;
use crate::{Result, process};

mod watch;

use watch::{Seen, Update};

const DASHBOARD: &str = "viewers";
/// The panel whose updates are looked into.
const COUNTED: &str = "count";
const REFRESH_MS: u64 = 1_000;
/// Updates and events of this much of a run are not counted: connections and caches are new.
const WARM_UP: Duration = Duration::from_secs(3);
/// After the last event: its update comes with the panel's next turn.
const LAST_UPDATE_WAIT: Duration = Duration::from_secs(3);
/// Events whose way to every viewer is followed.
const EVENTS_FOLLOWED: usize = 2_000;
const SEALS_PER_PARTITION: u64 = 4;

/// Arguments of `headwater-bench viewers`.
#[derive(Clone, Debug, Args)]
pub struct ViewersArguments {
    /// Bootstrap address of a real Kafka.
    #[arg(long, value_name = "HOST:PORT")]
    kafka: String,
    /// The `headwater` binary, a release build.
    #[arg(long, value_name = "PATH")]
    binary: PathBuf,
    /// Viewers at once. Each takes an open file here and one in the server.
    #[arg(long, value_delimiter = ',', default_value = "0,1,1000")]
    viewers: Vec<usize>,
    /// Events per second.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    rate: u64,
    /// Length of a run.
    #[arg(long, value_name = "N", default_value_t = 30)]
    seconds: u64,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Document {
    benchmark: &'static str,
    machine: Machine,
    rate: u64,
    refresh_ms: u64,
    panels: usize,
    runs: Vec<Run>,
}

#[derive(Debug, Serialize)]
struct Run {
    viewers: usize,
    events_per_second: f64,
    cpu_cores_used: f64,
    peak_memory_bytes: u64,
    panel_runs_per_second: f64,
    updates_per_second: f64,
    bytes_per_second: f64,
    push_p50_ms: f64,
    push_p99_ms: f64,
    event_p50_ms: f64,
    event_p99_ms: f64,
}

/// Runs the benchmark.
///
/// # Errors
/// If Kafka or the node fails, if a viewer is refused or loses its connection, or if an update is wrong.
pub fn run(arguments: &ViewersArguments) -> Result<()> {
    let machine = Machine::here();
    let mut runs = Vec::new();
    for viewers in &arguments.viewers {
        runs.push(run_with(arguments, *viewers)?);
    }
    let panels = dashboard()["panels"].as_array().map_or(0, Vec::len);
    let document = Document {
        benchmark: "viewers",
        machine,
        rate: arguments.rate,
        refresh_ms: REFRESH_MS,
        panels,
        runs,
    };
    arguments.output.publish(show(&document), &document)
}

fn dashboard() -> Value {
    let panel = |id: &str, kind: &str, sql: String| json!({"id": id, "title": id, "kind": kind, "sql": sql, "at": {"x": 0, "y": 0, "w": 6, "h": 4}});
    json!({
        "title": "Events",
        "refresh_ms": REFRESH_MS,
        "time": {"last": "5m"},
        "panels": [
            panel(COUNTED, "number", format!("SELECT count(*) AS events FROM {TABLE}")),
            panel("seconds", "area", format!(
                "SELECT date_trunc('second', event_time) AS second, status, count(*) AS events FROM {TABLE} \
                 WHERE event_time >= $time_from GROUP BY 1, 2 ORDER BY 1, 2"
            )),
            panel("cities", "table", format!(
                "SELECT city, count(*) AS events, sum(fare) AS fares FROM {TABLE} \
                 WHERE event_time >= $time_from GROUP BY city ORDER BY events DESC, city LIMIT 20"
            )),
            panel("vehicles", "bar", format!(
                "SELECT vehicle, avg(distance_km) AS km FROM {TABLE} WHERE status = 'completed' GROUP BY vehicle ORDER BY vehicle"
            )),
        ],
    })
}

fn run_with(arguments: &ViewersArguments, viewers: usize) -> Result<Run> {
    let (rate, time) = (arguments.rate, Duration::from_secs(arguments.seconds.max(WARM_UP.as_secs() + 2)));
    note(format_args!("viewers: {viewers}, {} events/s for {} s", grouped(rate as f64), time.as_secs()));
    let name = format!("headwater-bench-{}-viewers-{viewers}", std::process::id());
    let topic = Topic::temporary(&arguments.kafka, &name)?;
    let node = Node::start(&arguments.binary)?;
    let client = node.client()?;
    let seal_rows = rate * time.as_secs() / PARTITIONS as u64 / SEALS_PER_PARTITION;
    let spec = spec_text(&arguments.kafka, topic.name(), seal_rows.max(100));
    client.call(Method::PUT, &format!("/tables/{TABLE}"), Some(spec))?;
    wait_for_partitions(&node)?;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(watch::make(node.url(), DASHBOARD, &dashboard()))?;

    let origin = Instant::now();
    let url = format!("{}/dashboards/{DASHBOARD}/live", node.url());
    let watching = runtime.block_on(watch::start(&url, COUNTED, viewers, origin))?;
    let before = (panel_runs(&client)?, process::cpu_time(node.pid())?);
    let (load, took) = {
        let began = Instant::now();
        let load = load::produce(&arguments.kafka, topic.name(), rate, time, origin)?;
        (load, began.elapsed().as_secs_f64())
    };
    let after = (panel_runs(&client)?, process::cpu_time(node.pid())?);
    std::thread::sleep(LAST_UPDATE_WAIT);
    let seen = runtime.block_on(watching.finish())?;
    check(&seen)?;

    let warm_ns = load.began_ns + WARM_UP.as_nanos() as u64;
    let (mut push_ms, mut event_ms) = (push_times(&seen, warm_ns), event_times(&seen, &load.acks, warm_ns));
    let in_run = |update: &&Update| update.arrived_ns >= load.began_ns && update.arrived_ns <= load.ended_ns;
    let run = Run {
        viewers,
        events_per_second: load.acks.len() as f64 / took,
        cpu_cores_used: (after.1 - before.1).as_secs_f64() / took,
        peak_memory_bytes: process::peak_memory_bytes(node.pid())?,
        panel_runs_per_second: (after.0 - before.0) / took,
        updates_per_second: seen.iter().map(|seen| seen.updates.iter().filter(in_run).count()).sum::<usize>()
            as f64
            / took,
        bytes_per_second: seen.iter().map(|seen| seen.bytes).sum::<u64>() as f64 / took,
        push_p50_ms: quantile(&mut push_ms, 0.5),
        push_p99_ms: quantile(&mut push_ms, 0.99),
        event_p50_ms: quantile(&mut event_ms, 0.5),
        event_p99_ms: quantile(&mut event_ms, 0.99),
    };
    note(format_args!(
        "  {:.2} panel runs/s, {:.2} cores, push p99 {:.1} ms",
        run.panel_runs_per_second, run.cpu_cores_used, run.push_p99_ms
    ));
    Ok(run)
}

/// How often panels have run, as the server counts it.
fn panel_runs(client: &crate::node::Client) -> Result<f64> {
    let text = String::from_utf8(client.call(Method::GET, "/metrics", None)?)?;
    let lines = text.lines().filter(|line| line.starts_with("headwater_dashboard_panel_runs_total"));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

/// From the beginning of a run of the panel to the arrival of its answer.
fn push_times(seen: &[Seen], from_ns: u64) -> Vec<f64> {
    let updates = seen.iter().flat_map(|seen| &seen.updates);
    updates.filter(|update| update.arrived_ns >= from_ns).map(|update| update.push_ms).collect()
}

/// From an event's acknowledgement to the first update that contains it, for a sample of events and every viewer.
fn event_times(seen: &[Seen], acks: &[load::Ack], from_ns: u64) -> Vec<f64> {
    let step = (acks.len() / EVENTS_FOLLOWED).max(1);
    let sample: Vec<&load::Ack> = acks.iter().filter(|ack| ack.acked_ns >= from_ns).step_by(step).collect();
    let mut times = Vec::new();
    for seen in seen {
        for ack in &sample {
            let contains = |update: &Update| update.ends[ack.partition as usize] > ack.offset;
            let first = seen.updates.partition_point(|update| !contains(update));
            // One that came after the end of the run is in no update that was waited for.
            if let Some(update) = seen.updates.get(first) {
                times.push(update.arrived_ns.saturating_sub(ack.acked_ns) as f64 / 1e6);
            }
        }
    }
    times
}

/// A benchmark over wrong answers is worth nothing.
fn check(seen: &[Seen]) -> Result<()> {
    for seen in seen {
        if seen.updates.is_empty() {
            return Err("a viewer has seen no update".into());
        }
        for update in &seen.updates {
            if update.count != update.ends.iter().sum::<i64>() {
                return Err(
                    format!("{} events were counted, the cut has {:?}", update.count, update.ends).into()
                );
            }
        }
    }
    Ok(())
}

fn show(document: &Document) -> String {
    let mut table = Table::new(&[
        "viewers",
        "events/s",
        "panel runs/s",
        "updates/s",
        "MB/s",
        "cores used",
        "peak MiB",
        "push p50, ms",
        "p99",
        "event p50, ms",
        "p99",
    ]);
    let ms = |value: f64| if value.is_nan() { "-".to_string() } else { format!("{value:.1}") };
    for run in &document.runs {
        table.row([
            grouped(run.viewers as f64),
            grouped(run.events_per_second),
            format!("{:.2}", run.panel_runs_per_second),
            grouped(run.updates_per_second),
            format!("{:.2}", run.bytes_per_second / 1e6),
            format!("{:.2}", run.cpu_cores_used),
            grouped(run.peak_memory_bytes as f64 / 1048576.0),
            ms(run.push_p50_ms),
            ms(run.push_p99_ms),
            ms(run.event_p50_ms),
            ms(run.event_p99_ms),
        ]);
    }
    format!(
        "Viewers of one dashboard of {} panels that run at most once in {} ms; updates of one of them.\n{}\n\n{table}",
        document.panels, document.refresh_ms, document.machine
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_seen_with_the_first_update_that_contains_it() {
        let update =
            |arrived_ns: u64, end: i64| Update { arrived_ns, push_ms: 1.0, count: end, ends: [end, 0, 0, 0] };
        let seen = Seen { updates: vec![update(10_000_000, 5), update(20_000_000, 9)], bytes: 0 };
        let ack = |offset: i64| load::Ack { sent_ns: 0, acked_ns: 4_000_000, partition: 0, offset };
        let times = event_times(&[seen], &[ack(4), ack(5), ack(9)], 0);
        assert_eq!(times, [6.0, 16.0]);
    }
}
