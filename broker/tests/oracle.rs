//! Queries over mixtures of open, sealing and sealed rows, beside plain DataFusion over the same rows in memory.

// The helpers of a test are tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/lines.rs"]
mod lines;
#[path = "common/sealing.rs"]
mod sealing;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::{StreamExt, TryStreamExt};
use headwater_broker::engine::{EngineConfig, ExecuteOptions, QueryEngine, error_of};
use headwater_broker::request::{QueryAnswer, QueryRequest, QueryStats};
use headwater_broker::{QueryError, QueryErrorKind};
use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::{LiveTable, Tables};
use headwater_segment::mutable::{MutableSegment, SegmentWriter};
use headwater_segment::value::{RowSink, Value};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const SPEC: &str = "
name: orders
columns:
  - {name: city, type: STRING}
  - {name: amount, type: LONG}
  - {name: price, type: DOUBLE}
  - {name: rideId, type: INT, nullable: false}
  - {name: at, type: TIMESTAMP(3)}
time_column: at
sort_key: [city, at]
stream: {brokers: 'localhost:9092', topic: orders}
";

/// What becomes of a stretch of offsets.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Sealed,
    Sealing,
    Open,
}

struct World {
    engine: QueryEngine,
    /// The same without zone maps.
    unzoned: QueryEngine,
    table: Arc<LiveTable>,
    rows: Vec<RecordBatch>,
    // The open segments' writers: as long as they live, so does consumption.
    _writers: Vec<SegmentWriter>,
}

fn put_row(writer: &mut SegmentWriter, random: &mut StdRng, offset: i64) {
    let city = ["Oslo", "Bergen", "Hamar", "", "Å"][random.random_range(0..5)];
    let nullable = |random: &mut StdRng, value| if random.random_ratio(1, 7) { Value::Null } else { value };
    writer.set(0, nullable(random, Value::Str(city)));
    let amount = [i64::MIN, i64::MAX, 0, offset, -offset][random.random_range(0..5)];
    writer.set(1, nullable(random, Value::I64(amount)));
    let price = [f64::NAN, f64::INFINITY, -0.0, 0.0, 1.5, -2.25][random.random_range(0..6)];
    writer.set(2, nullable(random, Value::F64(price)));
    writer.set(3, Value::I32(random.random_range(0..20)));
    writer.set(4, nullable(random, Value::I64(1_700_000_000_000_000 + offset * 1_000_000)));
    writer.finish_row(offset, Some(1_700_000_000_000 + offset), Some(b"key"), None);
}

/// Two partitions, each made of the same stretches of `stretch_rows` rows.
async fn world(seed: u64, forms: &[Form], stretch_rows: i64) -> World {
    let mut random = StdRng::seed_from_u64(seed);
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let root = Path::from("tables/orders");
    let table = common::table(&store, SPEC, &root, 2).await;
    let schema = table.schema();
    let budget = MemoryBudget::new(1 << 30);
    let mut rows = Vec::new();
    let mut writers = Vec::new();
    for partition in 0..2 {
        for (index, form) in forms.iter().enumerate() {
            let from = index as i64 * stretch_rows;
            let (mut writer, segment) =
                MutableSegment::create(Arc::clone(&schema), partition, from, Arc::clone(&budget));
            for offset in from..from + stretch_rows {
                put_row(&mut writer, &mut random, offset);
            }
            writer.publish(from + stretch_rows);
            let batches = sealing::rows(&segment, &table);
            rows.extend(batches.clone());
            if *form == Form::Sealed {
                let stretch = (partition, from, from + stretch_rows);
                sealing::seal(&table, (store.as_ref(), &root), stretch, batches).await;
            } else {
                table.open_segment(segment);
                writers.push(writer);
            }
        }
    }
    let tables = Tables::default();
    tables.insert(Arc::clone(&table));
    let tables = Arc::new(tables);
    let engine = |zones| {
        let execute = ExecuteOptions { zones, ..ExecuteOptions::default() };
        let config = EngineConfig { threads: 2, execute, ..EngineConfig::default() };
        QueryEngine::new(config, Arc::clone(&tables)).unwrap()
    };
    World { engine: engine(true), unzoned: engine(false), table, rows, _writers: writers }
}

fn request(sql: &str) -> QueryRequest {
    QueryRequest { sql: sql.into(), ..QueryRequest::default() }
}

async fn collect(mut answer: QueryAnswer) -> Result<Vec<RecordBatch>, QueryError> {
    let mut batches = Vec::new();
    while let Some(batch) = answer.stream.next().await {
        batches.push(batch.map_err(|error| error_of(&error))?);
    }
    Ok(batches)
}

async fn answer(world: &World, sql: &str) -> Vec<String> {
    answer_of(&world.engine, sql).await
}

async fn answer_of(engine: &QueryEngine, sql: &str) -> Vec<String> {
    let answer = engine.run(request(sql)).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    lines(&collect(answer).await.unwrap_or_else(|error| panic!("{sql}: {error}")))
}

/// The answer's rows as text, sorted: order is a matter of ORDER BY, which the queries test through window functions.
fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let mut lines: Vec<String> = batches.iter().flat_map(lines::lines).collect();
    lines.sort();
    lines
}

fn oracle(world: &World) -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    let table = MemTable::try_new(world.rows[0].schema(), vec![world.rows.clone()]).unwrap();
    context.register_table("orders", Arc::new(table)).unwrap();
    context
}

const QUERIES: &[&str] = &[
    "SELECT count(*) FROM orders",
    "SELECT count(city), count(price), min(amount), max(amount), min(at), max(at), min(city), max(city) FROM orders",
    "SELECT min(price), max(price), min(\"rideId\"), max(\"rideId\") FROM orders",
    "SELECT city, count(*), sum(\"rideId\") FROM orders GROUP BY city",
    "SELECT \"$partition\", min(\"$offset\"), max(\"$offset\"), count(*) FROM orders GROUP BY 1",
    "SELECT city, sum(\"rideId\"), count(*), avg(\"rideId\"), count(DISTINCT amount), count(DISTINCT at) FILTER (WHERE amount > 0) FROM orders GROUP BY city",
    "SELECT count(*), avg(\"rideId\"), count(DISTINCT amount), count(DISTINCT city), count(DISTINCT \"rideId\") FROM orders",
    "SELECT \"$offset\", \"$key\", \"$timestamp\", price FROM orders WHERE \"$offset\" BETWEEN 30 AND 120",
    "SELECT * EXCLUDE (\"$partition\", \"$offset\", \"$timestamp\", \"$key\", \"$headers\") FROM orders WHERE city = 'Oslo'",
    "SELECT count(*) FROM orders WHERE city = 'Nowhere'",
    "SELECT count(*) FROM orders WHERE price = 0.0",
    "SELECT count(*) FROM orders WHERE price > 1.0",
    "SELECT count(*) FROM orders WHERE price IS NULL OR amount IN (0, 9223372036854775807)",
    "SELECT count(*) FROM orders WHERE at >= TIMESTAMP '2023-11-14T22:14:20Z' AND city LIKE 'B%'",
    "SELECT o.city, count(*) FROM orders o JOIN orders p ON o.\"rideId\" = p.\"rideId\" AND o.\"$offset\" < 50 GROUP BY o.city",
    "SELECT \"$partition\", \"$offset\", row_number() OVER (PARTITION BY city ORDER BY \"$partition\", \"$offset\") FROM orders",
    "WITH top AS (SELECT city, count(*) AS n FROM orders GROUP BY city ORDER BY n DESC, city LIMIT 2) SELECT * FROM top",
    "SELECT city FROM orders WHERE \"rideId\" < 3 INTERSECT SELECT city FROM orders WHERE \"rideId\" > 15",
    "SELECT DISTINCT city FROM orders EXCEPT SELECT city FROM orders WHERE \"rideId\" = 1",
    "SELECT count(*) FROM orders WHERE \"rideId\" = (SELECT max(\"rideId\") FROM orders)",
    "SELECT count(*) FROM orders o WHERE EXISTS (SELECT 1 FROM orders p WHERE p.\"$offset\" = o.\"$offset\" + 1 AND p.city = o.city)",
    "SELECT \"$partition\", \"$offset\" FROM orders ORDER BY \"$offset\" DESC, \"$partition\" LIMIT 7",
];

#[tokio::test]
async fn every_mixture_answers_like_plain_rows() {
    use Form::{Open, Sealed, Sealing};
    let mixtures: [&[Form]; 5] = [
        &[Sealed, Sealed, Sealed],
        &[Open],
        &[Sealing, Sealing, Open],
        &[Sealed, Sealing, Open],
        &[Sealed, Sealed, Open],
    ];
    for (seed, forms) in mixtures.into_iter().enumerate() {
        let world = world(seed as u64, forms, 90).await;
        let context = oracle(&world);
        for sql in QUERIES {
            let expected: Vec<RecordBatch> =
                context.sql(sql).await.unwrap().execute_stream().await.unwrap().try_collect().await.unwrap();
            for run in ["made", "kept"] {
                assert_eq!(answer(&world, sql).await, lines(&expected), "mixture {seed}, plan {run}: {sql}");
                let found = answer_of(&world.unzoned, sql).await;
                assert_eq!(found, lines(&expected), "mixture {seed}, plan {run}, no zone maps: {sql}");
            }
        }
    }
}

#[tokio::test]
async fn large_open_segments_are_spread_and_counted() {
    let world = world(9, &[Form::Open], 20_000).await;
    let plan = answer(&world, "EXPLAIN SELECT city FROM orders WHERE amount = 3").await.join("\n");
    assert!(plan.contains("SegmentScanExec: table=orders, segments=2 of 2, rows=40000, projection=[city], filter=amount@1 = 3"), "{plan}");
    let sum = "SELECT count(*), sum(\"$offset\") FROM orders";
    assert_eq!(answer(&world, sum).await, ["40000|399980000"]);
    assert_eq!(answer(&world, "SELECT count(*) FROM (SELECT * FROM orders LIMIT 9000)").await, ["9000"]);
}

#[tokio::test]
async fn without_zone_maps_every_segment_and_block_is_looked_at() {
    let world = world(7, &[Form::Sealed, Form::Sealed], 20_000).await;
    let rows = "SELECT \"$offset\" FROM orders WHERE $offset < 9000 AND city = 'Oslo'";
    let groups =
        "SELECT count(*), min(at), max(\"rideId\") FROM orders WHERE $offset < 9000 AND city = 'Oslo'";
    for sql in [rows, groups] {
        let mut found = Vec::new();
        for (engine, segments) in [(&world.engine, 2), (&world.unzoned, 4)] {
            let answer = engine.run(request(sql)).await.unwrap();
            let stats = Arc::clone(&answer.stats);
            found.push(lines(&collect(answer).await.unwrap()));
            assert_eq!(QueryStats::get(&stats.segments_scanned), segments);
            let plan = answer_of(engine, &format!("EXPLAIN ANALYZE {sql}")).await.join("\n");
            assert_eq!(plan.contains("blocks_skipped=0"), segments == 4, "{plan}");
        }
        assert_eq!(found[0], found[1]);
    }
}

#[tokio::test]
async fn names_need_no_quotes_and_stream_columns_hide() {
    let world = world(1, &[Form::Sealed, Form::Open], 40).await;
    assert_eq!(
        answer(&world, "SELECT count(rideid) FROM ORDERS WHERE $offset < 10 AND $partition = 0").await,
        ["10"]
    );
    let star = world.engine.run(request("SELECT * FROM orders LIMIT 1")).await.unwrap();
    assert_eq!(star.schema.fields().len(), 5);
    let mentioned = world.engine.run(request("SELECT * FROM orders WHERE $offset = 1")).await.unwrap();
    assert_eq!(mentioned.schema.fields().len(), 6);
    let columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'orders' AND column_name LIKE '$%'";
    assert!(answer(&world, columns).await.is_empty());
    let error = world.engine.run(request("SELECT cty FROM orders")).await.map(|_| ()).unwrap_err();
    assert_eq!(
        (error.kind, error.position, error.suggestion.as_deref()),
        (QueryErrorKind::Plan, Some((1, 8)), Some("city"))
    );
    let error = world.engine.run(request("SELECT 1 FROM oders")).await.map(|_| ()).unwrap_err();
    assert_eq!((error.kind, error.suggestion.as_deref()), (QueryErrorKind::UnknownTable, Some("orders")));
}

#[tokio::test]
async fn the_answer_names_its_cut_and_what_it_read() {
    let world = world(2, &[Form::Sealed, Form::Sealed, Form::Open], 50).await;
    let answer = world.engine.run(request("SELECT city FROM orders WHERE $offset < 50")).await.unwrap();
    let cut = &answer.cuts["orders"];
    assert_eq!(cut.offsets, BTreeMap::from([(0, 150), (1, 150)]));
    assert_eq!(cut.log_version, world.table.snapshot().version);
    assert!(cut.freshness_ms.is_some());
    let stats = Arc::clone(&answer.stats);
    let rows: usize = collect(answer).await.unwrap().iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, 100);
    assert_eq!(QueryStats::get(&stats.rows_total), 300);
    assert_eq!(QueryStats::get(&stats.segments_total), 6);
    assert_eq!(QueryStats::get(&stats.segments_scanned), 4, "two sealed segments are pruned by $offset");
    assert_eq!(QueryStats::get(&stats.segments_open), 2);

    let sealed = QueryRequest { sealed_only: true, ..request("SELECT count(*) FROM orders") };
    let answer = world.engine.run(sealed).await.unwrap();
    assert_eq!(answer.cuts["orders"].offsets, BTreeMap::from([(0, 100), (1, 100)]));
    assert_eq!(lines(&collect(answer).await.unwrap()), ["200"]);
    let schema_only = world.engine.run(request("SELECT * FROM information_schema.columns")).await.unwrap();
    assert!(schema_only.cuts.is_empty());
}

#[tokio::test]
async fn nothing_exact_about_the_rows_is_in_a_plan() {
    let world = world(3, &[Form::Sealed, Form::Sealed], 50).await;
    let sql = "EXPLAIN SELECT count(*), min(at), max(\"rideId\") FROM orders";
    let plan = answer(&world, sql).await.join("\n");
    assert!(plan.contains("orders") && !plan.contains("PlaceholderRowExec"), "{plan}");
}

#[tokio::test]
async fn minimum_offsets_are_waited_for() {
    let mut world = world(4, &[Form::Open], 10).await;
    let offsets = BTreeMap::from([("orders".to_owned(), BTreeMap::from([(1, 11)]))]);
    let waiting = QueryRequest { min_offsets: offsets, ..request("SELECT count(*) FROM orders") };
    let early = QueryRequest { deadline: Some(std::time::Duration::from_millis(50)), ..waiting.clone() };
    let error = world.engine.run(early).await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind, QueryErrorKind::Deadline);
    let named = "table orders, partition 1: offsets below 11 are wanted, below 10 are visible";
    assert!(error.message.contains(named), "{error}");
    let (soon, offsets) = (std::time::Duration::from_millis(50), BTreeMap::from([(0, 1), (9, 5)]));
    let min_offsets = BTreeMap::from([("orders".to_owned(), offsets)]);
    let absent = QueryRequest { deadline: Some(soon), min_offsets, ..waiting.clone() };
    let error = world.engine.run(absent).await.map(|_| ()).unwrap_err();
    let named = "table orders, partition 9: offsets below 5 are wanted, and the table has no such partition";
    assert!(error.message.contains(named) && !error.message.contains("partition 0"), "{error}");
    let at_once = QueryRequest { deadline: Some(std::time::Duration::ZERO), ..request("SELECT 1") };
    assert_eq!(world.engine.run(at_once).await.map(|_| ()).unwrap_err().kind, QueryErrorKind::Deadline);

    let engine = world.engine.clone();
    let query = tokio::spawn(async move { collect(engine.run(waiting).await?).await });
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    let writer = world._writers.last_mut().unwrap();
    put_row(writer, &mut StdRng::seed_from_u64(0), 10);
    writer.publish(11);
    world.table.notify_visible();
    assert_eq!(lines(&query.await.unwrap().unwrap()), ["21"]);
}

#[tokio::test]
async fn a_damaged_segment_is_named_and_never_served() {
    let world = world(5, &[Form::Sealed], 50).await;
    let segment = Arc::clone(world.table.snapshot().segments.iter().next().unwrap());
    let location = segment.location(world.table.root());
    let bytes = world.table.store().get(&location).await.unwrap().bytes().await.unwrap();
    let mut damaged = bytes.to_vec();
    damaged[100] ^= 1;
    world.table.store().put(&location, damaged.into()).await.unwrap();
    let outcome =
        match world.engine.run(request("SELECT sum(\"rideId\"), max(city || 'x') FROM orders")).await {
            Ok(answer) => collect(answer).await.map(|_| ()),
            Err(error) => Err(error),
        };
    let error = outcome.unwrap_err();
    assert_eq!(error.kind, QueryErrorKind::SegmentUnavailable, "{error}");
    assert!(error.message.contains(location.as_ref()), "{error}");
}

#[tokio::test]
async fn system_tables_show_segments_and_partitions() {
    let world = world(6, &[Form::Sealed, Form::Sealing, Form::Open], 30).await;
    let segments = "SELECT state, count(*), sum(rows), min(from_offset), max(to_offset) FROM system.segments GROUP BY state";
    assert_eq!(answer(&world, segments).await, ["open|2|60|60|90", "sealed|2|60|0|30", "sealing|2|60|30|60"]);
    let bounds = "SELECT count(*) FROM system.segments WHERE min_time < max_time AND sealed_at IS NOT NULL AND size_bytes > 0";
    assert_eq!(answer(&world, bounds).await, ["2"]);
    let partitions = "SELECT partition, committed_offset, visible_offset FROM system.partitions WHERE table_name = 'orders'";
    assert_eq!(answer(&world, partitions).await, ["0|30|90", "1|30|90"]);
    for empty in ["gaps", "dead_letters"] {
        assert!(answer(&world, &format!("SELECT * FROM system.{empty}")).await.is_empty());
    }
    let own = "SELECT state FROM system.queries WHERE sql LIKE '%system.queries%'";
    assert_eq!(answer(&world, own).await, ["running"]);
}
