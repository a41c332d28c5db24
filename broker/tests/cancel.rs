//! A client that goes away: what its query still does then, in whatever it is at.

// The helpers of a test are tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_broker::engine::{EngineConfig, ExecuteOptions, QueryEngine};
use headwater_broker::request::{QueryAnswer, QueryRequest, QueryStats};
use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::Tables;
use headwater_segment::mutable::{MutableSegment, SegmentWriter};
use headwater_segment::value::{RowSink, Value};
use object_store::ObjectStore;
use object_store::memory::InMemory;

const SPEC: &str = "{name: rides, columns: [{name: rider, type: STRING}, {name: amount, type: LONG}, \
                    {name: note, type: STRING}], stream: {brokers: 'localhost:9092', topic: rides}}";
const PARTITIONS: i64 = 2;
/// Rows of each partition.
const ROWS: i64 = 700_000;
const THREADS: usize = 2;
/// Rows that a thread works on before it gives way.
const MORSEL_ROWS: u64 = 131_072;

/// What a query may be at when its client goes: with no pause longer than a morsel.
const SHAPES: &[(&str, &str)] = &[
    ("a million groups", "SELECT amount, count(*), max(rider) FROM rides GROUP BY amount"),
    ("groups by text", "SELECT note, count(*) FROM rides GROUP BY note"),
];

struct World {
    fused: QueryEngine,
    stock: QueryEngine,
    // As long as they live, so does consumption.
    _writers: Vec<SegmentWriter>,
}

async fn world() -> World {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let table = common::table(&store, SPEC, &"tables/rides".into(), PARTITIONS as i32).await;
    let mut writers = Vec::new();
    for partition in 0..PARTITIONS {
        let budget = MemoryBudget::new(2 << 30);
        let (mut writer, segment) = MutableSegment::create(table.schema(), partition as i32, 0, budget);
        table.open_segment(segment);
        for row in 0..ROWS {
            let amount = row * PARTITIONS + partition;
            writer.set(0, Value::Str(&format!("rider number {}", amount.wrapping_mul(7_919) % 20_000)));
            writer.set(1, Value::I64(amount));
            writer.set(2, Value::Str(&format!("note {amount}")));
            writer.finish_row(row, Some(1_700_000_000_000), None, None);
        }
        writer.publish(ROWS);
        writers.push(writer);
    }
    let tables = Arc::new(Tables::default());
    tables.insert(table);
    let engine = |aggregate| {
        let execute = ExecuteOptions { aggregate, ..ExecuteOptions::default() };
        let config = EngineConfig { threads: THREADS, execute, ..EngineConfig::default() };
        QueryEngine::new(config, Arc::clone(&tables)).unwrap()
    };
    World { fused: engine(true), stock: engine(false), _writers: writers }
}

async fn start(engine: &QueryEngine, sql: &str) -> QueryAnswer {
    let request = QueryRequest { sql: sql.into(), rows_max: Some(u64::MAX), ..QueryRequest::default() };
    engine.run(request).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Waits until nothing of a query is left on any thread. Whatever works for a query holds its counters; afterwards only the
/// list of the latest queries does, and whoever asks here.
fn until_over(stats: &Arc<QueryStats>, sql: &str) {
    let started = Instant::now();
    while Arc::strong_count(stats) > 2 {
        assert!(started.elapsed() < Duration::from_secs(120), "{sql}: still at work");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Each thread ends the morsel that it is at, and begins at most one more before it learns of the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_whose_client_goes_away_begins_no_more_than_a_morsel_per_thread() {
    let world = world().await;
    let left_over = 2 * THREADS as u64 * MORSEL_ROWS;
    for (name, sql) in SHAPES {
        for engine in [&world.fused, &world.stock] {
            let mut caught = false;
            // On a busy machine the query may be through before anybody looks.
            for _ in 0..10 {
                let answer = start(engine, sql).await;
                let stats = Arc::clone(&answer.stats);
                while QueryStats::get(&stats.rows_scanned) == 0 && Arc::strong_count(&stats) > 2 {
                    tokio::task::yield_now().await;
                }
                drop(answer);
                let begun = QueryStats::get(&stats.rows_scanned);
                until_over(&stats, sql);
                let more = QueryStats::get(&stats.rows_scanned) - begun;
                assert!(more <= left_over, "{name}: {more} rows after the client went");
                caught = begun > 0 && begun + left_over < (ROWS * PARTITIONS) as u64;
                if caught {
                    break;
                }
            }
            assert!(caught, "{name}: it was always through");
        }
    }
}
