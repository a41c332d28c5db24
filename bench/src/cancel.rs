//! `cancel`: how long a query still works after its client has gone, in whatever it is at.
//!
//! The engine runs in this process over open rows. Each statement is asked once to its end, and then again and again with a
//! client that goes after a tenth of that time, two tenths, …. A query is over when nothing holds its counters but the list of the
//! latest queries. With the engine's own operators and with DataFusion's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use futures::StreamExt;
use headwater_broker::engine::{EngineConfig, ExecuteOptions, QueryEngine};
use headwater_broker::request::{QueryAnswer, QueryRequest, QueryStats};
use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::{LiveTable, Tables};
use headwater_segment::log::{Change, TableLog, table_root};
use headwater_segment::mutable::{MutableSegment, SegmentWriter};
use headwater_segment::spec::parse_spec;
use headwater_segment::value::{RowSink, Value};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use serde::Serialize;

use crate::Result;
use crate::log::commit;
use crate::report::{Machine, Output, Table, note, quantile};

const SPEC: &str = "{name: rides, columns: [{name: rider, type: STRING}, {name: amount, type: LONG}, \
                    {name: note, type: STRING}], stream: {brokers: 'localhost:9092', topic: rides}}";
const PARTITIONS: i64 = 2;
const THREADS: usize = 2;
/// A query that is not over by then hangs.
const OVER_WAIT: Duration = Duration::from_secs(120);

const SHAPES: &[(&str, &str)] = &[
    ("a million groups", "SELECT amount, count(*), max(rider) FROM rides GROUP BY amount"),
    ("groups by text", "SELECT note, count(*) FROM rides GROUP BY note"),
    (
        "first of a million groups",
        "SELECT amount, sum(amount) AS s FROM rides GROUP BY amount ORDER BY s DESC LIMIT 3",
    ),
    ("distinct values", "SELECT count(DISTINCT amount), count(DISTINCT note) FROM rides"),
    ("a sort", "SELECT * FROM rides ORDER BY amount % 1000, note"),
    ("a join", "SELECT count(*), max(a.note) FROM rides a JOIN rides b ON a.amount = b.amount"),
    ("a regular expression", "SELECT count(*) FROM rides WHERE regexp_like(note, '(a|b).*[0-9]+7.*9$')"),
    (
        "a regular expression over a dictionary",
        "SELECT count(*) FROM rides WHERE regexp_like(rider, '(a|b).*[0-9]+7.*9$')",
    ),
    ("a window", "SELECT sum(amount) OVER (PARTITION BY rider ORDER BY amount) FROM rides"),
    ("rows", "SELECT note || rider || amount FROM rides"),
];

/// Arguments of `headwater-bench cancel`.
#[derive(Clone, Debug, Args)]
pub struct CancelArguments {
    /// Rows of the table.
    #[arg(long, value_name = "N", default_value_t = 1_400_000)]
    rows: i64,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Document {
    benchmark: &'static str,
    machine: Machine,
    rows: i64,
    shapes: Vec<Shape>,
}

#[derive(Debug, Serialize)]
struct Shape {
    query: &'static str,
    operators: &'static str,
    whole_ms: f64,
    over_median_ms: f64,
    over_longest_ms: f64,
}

/// Runs the benchmark.
///
/// # Errors
/// If a query fails, or does not end.
pub fn run(arguments: &CancelArguments) -> Result<()> {
    let machine = Machine::here();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let shapes = runtime.block_on(measure_all(arguments.rows))?;
    let document = Document { benchmark: "cancel", machine, rows: arguments.rows, shapes };
    arguments.output.publish(show(&document), &document)
}

async fn measure_all(rows: i64) -> Result<Vec<Shape>> {
    // As long as the writers live, so does consumption.
    let (table, _writers) = filled(rows).await?;
    let tables = Arc::new(Tables::default());
    tables.insert(table);
    let mut shapes = Vec::new();
    for (aggregate, operators) in [(true, "headwater's"), (false, "DataFusion's")] {
        let execute = ExecuteOptions { aggregate, ..ExecuteOptions::default() };
        let config = EngineConfig { threads: THREADS, execute, ..EngineConfig::default() };
        let engine = QueryEngine::new(config, Arc::clone(&tables))?;
        for (query, sql) in SHAPES {
            note(format!("{query}, {operators} operators"));
            let (whole_ms, mut waits) = measure(&engine, sql).await?;
            shapes.push(Shape {
                query,
                operators,
                whole_ms,
                over_median_ms: quantile(&mut waits, 0.5),
                over_longest_ms: quantile(&mut waits, 1.0),
            });
        }
    }
    Ok(shapes)
}

async fn filled(rows: i64) -> Result<(Arc<LiveTable>, Vec<SegmentWriter>)> {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let root = table_root(&Path::default(), "rides");
    let log = TableLog::create(Arc::clone(&store), root.clone(), &parse_spec(SPEC)?).await?;
    let starts: BTreeMap<i32, i64> = (0..PARTITIONS as i32).map(|partition| (partition, 0)).collect();
    log.commit(&commit(Change::FirstStart { epoch: 0, starts, topic_id: None })).await?;
    let table = LiveTable::new(log, store, root);
    let mut writers = Vec::new();
    for partition in 0..PARTITIONS {
        let budget = MemoryBudget::new(u64::MAX / 2);
        let (mut writer, segment) = MutableSegment::create(table.schema(), partition as i32, 0, budget);
        table.open_segment(segment);
        let rows = rows / PARTITIONS;
        for row in 0..rows {
            let amount = row * PARTITIONS + partition;
            writer.set(0, Value::Str(&format!("rider number {}", amount.wrapping_mul(7_919) % 20_000)));
            writer.set(1, Value::I64(amount));
            writer.set(2, Value::Str(&format!("note {amount}")));
            writer.finish_row(row, Some(1_700_000_000_000), None, None);
        }
        writer.publish(rows);
        writers.push(writer);
    }
    Ok((table, writers))
}

/// Milliseconds that a query takes, and for how long it goes on when its client has gone.
async fn measure(engine: &QueryEngine, sql: &str) -> Result<(f64, Vec<f64>)> {
    let mut answer = start(engine, sql).await?;
    let started = Instant::now();
    while let Some(batch) = answer.stream.next().await {
        batch?;
    }
    let whole = started.elapsed();
    let mut waits = Vec::new();
    for tenth in 0..10 {
        let mut answer = start(engine, sql).await?;
        let stats = Arc::clone(&answer.stats);
        let reading = async { while answer.stream.next().await.is_some() {} };
        // Whether it has ended by then or not, its client goes.
        let _ = tokio::time::timeout(whole * tenth / 10, reading).await;
        drop(answer);
        waits.push(until_over(&stats).ok_or_else(|| format!("{sql}: still at work"))?);
    }
    Ok((whole.as_secs_f64() * 1e3, waits))
}

async fn start(engine: &QueryEngine, sql: &str) -> Result<QueryAnswer> {
    let request = QueryRequest { sql: sql.into(), rows_max: Some(u64::MAX), ..QueryRequest::default() };
    Ok(engine.run(request).await?)
}

/// Milliseconds until nothing of a query is left on any thread: whatever works for it holds its counters.
fn until_over(stats: &Arc<QueryStats>) -> Option<f64> {
    let started = Instant::now();
    while Arc::strong_count(stats) > 2 {
        if started.elapsed() > OVER_WAIT {
            return None;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Some(started.elapsed().as_secs_f64() * 1e3)
}

fn show(document: &Document) -> String {
    let mut table = Table::new(&["query", "operators", "to its end, ms", "over, median, ms", "longest, ms"]);
    for shape in &document.shapes {
        table.row([
            shape.query.into(),
            shape.operators.into(),
            format!("{:.0}", shape.whole_ms),
            format!("{:.1}", shape.over_median_ms),
            format!("{:.1}", shape.over_longest_ms),
        ]);
    }
    format!(
        "From the client's going to the last work, {} rows.\n{}\n\n{table}",
        document.rows, document.machine
    )
}
