//! `live`: the star schema benchmark's queries while the same node ingests from Kafka, and what each costs the other.
//!
//! One node serves the flat table, sealed, and consumes the events of [`freshness`](crate::freshness). Three phases of the same
//! length: queries alone, events alone, both. Queries go over HTTP, one after the other, round after round; freshness is measured
//! as `freshness` does, by a prober that counts without a pause in the last two phases. Producer, Kafka, prober and node
//! share the machine. A phase that did not keep up with the rate asked for is shown as such: its figures are of another rate.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use reqwest::Method;
use serde::Serialize;

use crate::Result;
use crate::contest::{Wanted, geometric_mean, prepare_engines};
use crate::data::Kept;
use crate::engines::{EngineName, store_directory};
use crate::events::{PARTITIONS, TABLE, spec_text};
use crate::freshness::{Freshness, measure_freshness};
use crate::node::{Client, Node};
use crate::report::{Machine, Output, Table, grouped, median, note};
use crate::ssb::{Ssb, queries};
use crate::topic::Topic;

const SEALS_PER_PARTITION: u64 = 4;

/// Arguments of `headwater-bench live`.
#[derive(Clone, Debug, Args)]
pub struct LiveArguments {
    /// Bootstrap address of a real Kafka.
    #[arg(long, value_name = "HOST:PORT")]
    kafka: String,
    /// The `headwater` binary, a release build.
    #[arg(long, value_name = "PATH")]
    binary: PathBuf,
    /// Scale factor of the queries' table.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    scale: u64,
    /// Events per second.
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Length of each phase.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(5..))]
    seconds: u64,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Document {
    benchmark: &'static str,
    machine: Machine,
    rows: u64,
    rate: u64,
    queries: Vec<QueryTimes>,
    slow_down: f64,
    freshness_alone: Freshness,
    freshness_with_queries: Freshness,
    /// Whether both phases with events kept up with the rate.
    sustained: bool,
}

#[derive(Debug, Serialize)]
struct QueryTimes {
    name: String,
    alone_ms: f64,
    live_ms: f64,
}

/// Runs the benchmark.
///
/// # Errors
/// If Kafka or the node fails, or if an answer is wrong.
pub fn run(arguments: &LiveArguments) -> Result<()> {
    let machine = Machine::here();
    let root = arguments.kept.root()?;
    let dataset = arguments.kept.prepare(&Ssb::new(arguments.scale))?;
    drop(prepare_engines(&dataset, &root, Wanted::plain(&[EngineName::Headwater]))?);
    let store = store_directory(&dataset.directory.join(EngineName::Headwater.to_string()));
    let topic = Topic::temporary(&arguments.kafka, &format!("headwater-bench-live-{}", std::process::id()))?;
    let node = Node::start_over(&arguments.binary, &store)?;
    let measured = phases(arguments, &node, &topic);
    // The store stays; what this run put beside the flat table does not.
    let removed = node.client()?.call(Method::DELETE, &format!("/tables/{TABLE}"), None);
    let (queries, freshness_alone, freshness_with_queries) = measured?;
    removed?;
    let slow_down = geometric_mean(queries.iter().map(|query| query.live_ms / query.alone_ms));
    let document = Document {
        benchmark: "live",
        machine,
        rows: dataset.rows,
        rate: arguments.rate,
        queries,
        slow_down,
        sustained: freshness_alone.sustained && freshness_with_queries.sustained,
        freshness_alone,
        freshness_with_queries,
    };
    arguments.output.publish(show(&document), &document)
}

fn phases(
    arguments: &LiveArguments,
    node: &Node,
    topic: &Topic,
) -> Result<(Vec<QueryTimes>, Freshness, Freshness)> {
    let time = Duration::from_secs(arguments.seconds);
    let client = node.client()?;
    note("queries alone");
    rounds(&client, &mut |round| round == 0)?;
    let until = Instant::now() + time;
    let alone = rounds(&client, &mut |round| round == 0 || Instant::now() < until)?;

    let seal_rows = arguments.rate * arguments.seconds / PARTITIONS as u64 / SEALS_PER_PARTITION;
    let spec = spec_text(&arguments.kafka, topic.name(), seal_rows.max(100));
    client.call(Method::PUT, &format!("/tables/{TABLE}"), Some(spec))?;
    note("events alone");
    let fresh_alone = measure_freshness(node, &arguments.kafka, topic.name(), arguments.rate, time)?;
    note("queries and events");
    let over = Arc::new(AtomicBool::new(false));
    let asking = std::thread::spawn({
        let over = Arc::clone(&over);
        move || rounds(&client, &mut |round| round == 0 || !over.load(Ordering::Relaxed))
    });
    let fresh = measure_freshness(node, &arguments.kafka, topic.name(), arguments.rate, time);
    over.store(true, Ordering::Relaxed);
    let live = asking.join().map_err(|_| "the thread of queries panicked")??;
    let times = queries().into_iter().zip(alone).zip(live);
    let times = times.map(|((query, alone_ms), live_ms)| QueryTimes { name: query.name, alone_ms, live_ms });
    Ok((times.collect(), fresh_alone, fresh?))
}

/// Asks all queries in turn for as long as `go_on`; the median of each, in milliseconds.
fn rounds(client: &Client, go_on: &mut dyn FnMut(usize) -> bool) -> Result<Vec<f64>> {
    let queries = queries();
    let mut times = vec![Vec::new(); queries.len()];
    let mut round = 0;
    while go_on(round) {
        for (query, times) in queries.iter().zip(&mut times) {
            let asked = Instant::now();
            client.sql(&query.sql)?;
            times.push(asked.elapsed().as_secs_f64() * 1e3);
        }
        round += 1;
    }
    Ok(times.into_iter().map(median).collect())
}

fn show(document: &Document) -> String {
    let mut times = Table::new(&["query", "alone, ms", "while ingesting, ms", "slow-down"]);
    for query in &document.queries {
        times.row([
            query.name.clone(),
            format!("{:.2}", query.alone_ms),
            format!("{:.2}", query.live_ms),
            format!("{:.2}", query.live_ms / query.alone_ms),
        ]);
    }
    times.row(["geometric mean".into(), String::new(), String::new(), format!("{:.2}", document.slow_down)]);
    let headings =
        ["freshness", "events/s", "of the rate", "lag at end", "sustained", "p50, ms", "p99, ms", "max, ms"];
    let mut fresh = Table::new(&headings);
    for (name, of) in
        [("alone", &document.freshness_alone), ("with queries", &document.freshness_with_queries)]
    {
        fresh.row([
            name.into(),
            grouped(of.events_per_second),
            format!("{:.0} %", of.events_per_second / document.rate as f64 * 100.0),
            grouped(of.lag_events_end as f64),
            if of.sustained { "yes" } else { "NO" }.into(),
            format!("{:.1}", of.p50_ms),
            format!("{:.1}", of.p99_ms),
            format!("{:.1}", of.max_ms),
        ]);
    }
    let outcome = match document.sustained {
        true => "",
        false => " It did NOT keep up throughout: what was measured meanwhile is not of that rate.",
    };
    format!(
        "Queries on {} rows while the node ingests {} events/s.{outcome}\n{}\n\n{times}\n{fresh}",
        grouped(document.rows as f64),
        grouped(document.rate as f64),
        document.machine
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_that_did_not_keep_up_is_shown_as_such() {
        let fresh = |events_per_second: f64, sustained: bool| Freshness {
            events_per_second,
            p50_ms: 1.0,
            p99_ms: 2.0,
            max_ms: 3.0,
            lag_events_end: 7,
            sustained,
        };
        let document = |sustained: bool| Document {
            benchmark: "live",
            machine: Machine::here(),
            rows: 1,
            rate: 1_000,
            queries: Vec::new(),
            slow_down: 1.0,
            freshness_alone: fresh(1_000.0, true),
            freshness_with_queries: fresh(if sustained { 1_000.0 } else { 640.0 }, sustained),
            sustained,
        };
        let shown = show(&document(false));
        assert!(shown.contains("did NOT keep up"), "{shown}");
        let row = shown.lines().find(|line| line.starts_with("| with queries")).unwrap();
        assert!(row.contains("64 %") && row.contains(" NO "), "{row}");
        assert!(!show(&document(true)).contains("NO"));
    }
}
