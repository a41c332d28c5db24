//! `planning`: from a snapshot with many segments to the planned query, and what such a snapshot costs.
//!
//! The log is in memory and the segments are in nothing but the log: 100 partitions, each with a segment per minute, with bounds
//! in every column. Each query is planned anew (no kept plans), which includes pruning for the estimates; its answer is dropped
//! as soon as the plan is made. "To the first segment" goes on until the leaf, having pruned for the cut, asks the store for the
//! first segment that is left, which fails because there is no object. The engine plans in one thread.
//!
//! Beside it: the time from one more commit to the snapshot that has it, for the process that commits, for one that reads the
//! log, and for a segment that takes another's place; and the memory of a segment's metadata. And what placement on 10 to 1,000
//! nodes costs, and moves when one more joins.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use futures::StreamExt;
use headwater_broker::engine::{EngineConfig, ExecuteOptions, QueryEngine};
use headwater_broker::request::QueryRequest;
use headwater_segment::live::{LiveTable, Tables};
use headwater_segment::log::{Change, LogSnapshot, TableLog, table_root};
use headwater_segment::sealed::{ColumnStats, SegmentMeta, StatValue};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::Serialize;

use crate::Result;
use crate::events::{TABLE, spec};
use crate::log::{FIRST_MICROS, SPAN_MICROS, commit, number_of, segment};
use crate::placement::{self, Placed};
use crate::report::{Machine, Output, Table, grouped, note, quantile};

const PARTITIONS: i32 = 100;
const ROWS: i64 = 1_000_000;
/// Commits that are timed, each way.
const COMMITS: usize = 15;

/// Arguments of `headwater-bench planning`.
#[derive(Clone, Debug, Args)]
pub struct PlanningArguments {
    /// Numbers of segments.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000])]
    segments: Vec<i64>,
    /// How often each query is planned.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Document {
    benchmark: &'static str,
    machine: Machine,
    plans: Vec<Plan>,
    snapshots: Vec<Snapshot>,
    placements: Vec<Placed>,
}

#[derive(Debug, Serialize)]
struct Plan {
    segments: usize,
    query: &'static str,
    p50_ms: f64,
    p99_ms: f64,
    first_segment_p50_ms: f64,
}

#[derive(Debug, Serialize)]
struct Snapshot {
    segments: usize,
    open_ms: f64,
    commit_p50_ms: f64,
    refresh_p50_ms: f64,
    replace_p50_ms: f64,
    bytes_per_segment: f64,
}

/// Runs the benchmark.
///
/// # Errors
/// If the engine cannot plan a query.
pub fn run(arguments: &PlanningArguments) -> Result<()> {
    let machine = Machine::here();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut document = Document {
        benchmark: "planning",
        machine,
        plans: Vec::new(),
        snapshots: Vec::new(),
        placements: placement::measure()?,
    };
    for &count in &arguments.segments {
        note(format!("{count} segments"));
        let per_partition = (count / i64::from(PARTITIONS)).max(1);
        let (store, root) =
            (Arc::new(InMemory::new()) as Arc<dyn ObjectStore>, table_root(&Path::default(), TABLE));
        runtime.block_on(fill(&store, &root, per_partition))?;
        let opening = Instant::now();
        let log = runtime.block_on(TableLog::open(Arc::clone(&store), root.clone()))?;
        let (log, open_ms) = (log.ok_or("the table is gone")?, milliseconds(opening));
        document.plans.extend(runtime.block_on(plan_all(&log, &store, &root, arguments.rounds))?);
        document.snapshots.push(runtime.block_on(measure_snapshot(&log, &store, &root, open_ms))?);
    }
    arguments.output.publish(show(&document), &document)
}

/// A log with a table of synthetic segments, all of one entry.
async fn fill(store: &Arc<dyn ObjectStore>, root: &Path, per_partition: i64) -> Result<()> {
    let spec = spec()?;
    let log = TableLog::create(Arc::clone(store), root.clone(), &spec).await?;
    let starts: BTreeMap<i32, i64> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    let begun = log.commit(&commit(Change::FirstStart { epoch: 0, starts, topic_id: None })).await?;
    let mut entry = String::new();
    for partition in 0..PARTITIONS {
        for place in 0..per_partition {
            let add = segment(&begun.schema, partition, place * ROWS, ROWS).to_add(&begun.schema)?;
            writeln!(entry, "{}", serde_json::json!({ "add": add }))?;
        }
        let app_id = format!("{}/{}/{partition}", spec.name, spec.stream.topic);
        let txn = serde_json::json!({ "appId": app_id, "version": per_partition * ROWS });
        writeln!(entry, "{}", serde_json::json!({ "txn": txn }))?;
    }
    let path = root.clone().join("_delta_log").join(format!("{:020}.json", begun.version + 1));
    store.put(&path, entry.into()).await?;
    Ok(())
}

/// Its name, and its text for a table in which each partition has so many segments.
fn queries(per_partition: i64) -> [(&'static str, String); 3] {
    let middle = per_partition / 2;
    let at = |place: i64| FIRST_MICROS + place * SPAN_MICROS;
    let time = |micros: i64| {
        let time = chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default();
        time.format("TIMESTAMP '%Y-%m-%dT%H:%M:%SZ'").to_string()
    };
    let text =
        |filter: String| format!("SELECT city, count(*), sum(fare) FROM {TABLE}{filter} GROUP BY city");
    let (from, to) = (time(at(middle)), time(at(middle + 1)));
    [
        ("no filter", text(String::new())),
        ("a minute", text(format!(" WHERE event_time >= {from} AND event_time < {to}"))),
        ("equality", text(format!(" WHERE rider_id = {}", number_of(PARTITIONS / 2, middle) + 7))),
    ]
}

async fn plan_all(
    log: &TableLog,
    store: &Arc<dyn ObjectStore>,
    root: &Path,
    rounds: u64,
) -> Result<Vec<Plan>> {
    let snapshot = log.snapshot();
    let tables = Tables::default();
    tables.insert(LiveTable::new(log.clone(), Arc::clone(store), root.clone()));
    let config = EngineConfig {
        threads: 1,
        result_bytes_max: 0,
        execute: ExecuteOptions { plans: false, ..ExecuteOptions::default() },
        ..EngineConfig::default()
    };
    let engine = QueryEngine::new(config, Arc::new(tables))?;
    let mut plans = Vec::new();
    for (query, sql) in queries(snapshot.segments.len() as i64 / i64::from(PARTITIONS)) {
        let (mut planned_ms, mut first_ms) = (Vec::new(), Vec::new());
        for round in 0..rounds + rounds.div_ceil(10) {
            let asked = Instant::now();
            let mut answer = engine.run(QueryRequest { sql: sql.clone(), ..QueryRequest::default() }).await?;
            let planned = milliseconds(asked);
            let is_error = answer.stream.next().await.is_some_and(|batch| batch.is_err());
            if !is_error {
                return Err(format!("{query}: the query asked for no segment").into());
            }
            // The first tenth warms up.
            if round >= rounds.div_ceil(10) {
                planned_ms.push(planned);
                first_ms.push(milliseconds(asked));
            }
        }
        plans.push(Plan {
            segments: snapshot.segments.len(),
            query,
            p50_ms: quantile(&mut planned_ms, 0.5),
            p99_ms: quantile(&mut planned_ms, 0.99),
            first_segment_p50_ms: quantile(&mut first_ms, 0.5),
        });
    }
    Ok(plans)
}

async fn measure_snapshot(
    log: &TableLog,
    store: &Arc<dyn ObjectStore>,
    root: &Path,
    open_ms: f64,
) -> Result<Snapshot> {
    let snapshot = log.snapshot();
    let bytes_per_segment = bytes_per_segment(&snapshot);
    let reader = TableLog::open(Arc::clone(store), root.clone()).await?.ok_or("the table is gone")?;
    let schema = &snapshot.schema;
    let (mut commit_ms, mut refresh_ms, mut replace_ms) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..COMMITS {
        let from = log.snapshot().committed(0).unwrap_or_default();
        let meta = Arc::new(segment(schema, 0, from, ROWS));
        let change =
            commit(Change::Segment { epoch: 0, meta: Arc::clone(&meta), schema: Arc::clone(schema) });
        let asked = Instant::now();
        log.commit(&change).await?;
        commit_ms.push(milliseconds(asked));
        let asked = Instant::now();
        reader.refresh().await?;
        refresh_ms.push(milliseconds(asked));
        let again = Arc::new(segment(schema, 0, from, ROWS));
        let asked = Instant::now();
        log.replace(meta.id, again, Arc::clone(schema)).await?;
        replace_ms.push(milliseconds(asked));
        reader.refresh().await?;
    }
    Ok(Snapshot {
        segments: snapshot.segments.len(),
        open_ms,
        commit_p50_ms: quantile(&mut commit_ms, 0.5),
        refresh_p50_ms: quantile(&mut refresh_ms, 0.5),
        replace_p50_ms: quantile(&mut replace_ms, 0.5),
        bytes_per_segment,
    })
}

/// What the metadata take in memory, on average, and their places in a snapshot; what the allocator adds is not counted.
fn bytes_per_segment(snapshot: &LogSnapshot) -> f64 {
    let text = |value: &Option<StatValue>| match value {
        Some(StatValue::Str(text)) => text.len(),
        _ => 0,
    };
    let bytes = |segment: &Arc<SegmentMeta>| {
        let texts = segment.columns.iter().map(|column| text(&column.min) + text(&column.max));
        let columns = segment.columns.capacity() * size_of::<ColumnStats>() + texts.sum::<usize>();
        // Two counters; the pointer to it and the epoch.
        let shared = 2 * size_of::<usize>() + size_of::<usize>() + size_of::<u32>();
        size_of::<SegmentMeta>() + segment.path.capacity() + columns + shared
    };
    let all: usize = snapshot.segments.iter().map(bytes).sum();
    all as f64 / snapshot.segments.len().max(1) as f64
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn show(document: &Document) -> String {
    let mut plans =
        Table::new(&["query", "segments", "planned p50, ms", "planned p99, ms", "to the first segment, ms"]);
    for plan in &document.plans {
        plans.row([
            plan.query.into(),
            grouped(plan.segments as f64),
            format!("{:.2}", plan.p50_ms),
            format!("{:.2}", plan.p99_ms),
            format!("{:.2}", plan.first_segment_p50_ms),
        ]);
    }
    let mut snapshots = Table::new(&[
        "snapshot, segments",
        "open, ms",
        "one more commit, ms",
        "one more read, ms",
        "one replaced, ms",
        "bytes per segment",
    ]);
    for snapshot in &document.snapshots {
        snapshots.row([
            grouped(snapshot.segments as f64),
            format!("{:.0}", snapshot.open_ms),
            format!("{:.2}", snapshot.commit_p50_ms),
            format!("{:.2}", snapshot.refresh_p50_ms),
            format!("{:.2}", snapshot.replace_p50_ms),
            grouped(snapshot.bytes_per_segment),
        ]);
    }
    let placements = placement::show(&document.placements);
    format!("Planning over many segments.\n{}\n\n{plans}\n{snapshots}\n{placements}", document.machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_small_log_is_planned_over_and_pruned() {
        let (store, root) =
            (Arc::new(InMemory::new()) as Arc<dyn ObjectStore>, table_root(&Path::default(), TABLE));
        fill(&store, &root, 4).await.unwrap();
        let log = TableLog::open(Arc::clone(&store), root.clone()).await.unwrap().unwrap();
        assert_eq!(log.snapshot().segments.len(), 400);
        assert_eq!(log.snapshot().check_tiling(), Vec::<String>::new());
        let plans = plan_all(&log, &store, &root, 1).await.unwrap();
        assert_eq!(plans.len(), 3);
        assert!(plans.iter().all(|plan| plan.first_segment_p50_ms >= plan.p50_ms));
        let measured = measure_snapshot(&log, &store, &root, 1.0).await.unwrap();
        assert_eq!(measured.segments, 400);
    }
}
