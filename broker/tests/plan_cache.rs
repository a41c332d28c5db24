//! Plans that are kept: the second run of a statement sees what is there then, and nothing of the first.

// The helpers of a test are tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/lines.rs"]
mod lines;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt;
use headwater_broker::engine::{EngineConfig, QueryEngine, error_of};
use headwater_broker::request::{QueryRequest, QueryStats};
use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::{LiveTable, Tables};
use headwater_segment::mutable::{MutableSegment, SegmentWriter};
use headwater_segment::value::{RowSink, Value};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use serde_json::json;

const CITIES: [&str; 4] = ["Oslo", "Bergen", "Hamar", "Voss"];

/// A table with one open segment.
struct World {
    engine: QueryEngine,
    tables: Arc<Tables>,
    writer: SegmentWriter,
    next: i64,
}

/// A table `orders` with a text and a LONG column, `second` by name, and nothing in it.
async fn open_table(second: &str) -> (Arc<LiveTable>, SegmentWriter) {
    let spec = format!(
        "{{name: orders, columns: [{{name: city, type: STRING}}, {{name: {second}, type: LONG}}], \
         stream: {{brokers: 'localhost:9092', topic: orders}}}}"
    );
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let table = common::table(&store, &spec, &"tables/orders".into(), 1).await;
    let (writer, segment) = MutableSegment::create(table.schema(), 0, 0, MemoryBudget::new(1 << 30));
    table.open_segment(segment);
    (table, writer)
}

async fn world() -> World {
    let (table, writer) = open_table("amount").await;
    let tables = Arc::new(Tables::default());
    tables.insert(table);
    let config = EngineConfig { threads: 2, ..EngineConfig::default() };
    let engine = QueryEngine::new(config, Arc::clone(&tables)).unwrap();
    World { engine, tables, writer, next: 0 }
}

impl World {
    fn append(&mut self, amounts: impl IntoIterator<Item = i64>) {
        for amount in amounts {
            self.writer.set(0, Value::Str(CITIES[(self.next % 4) as usize]));
            self.writer.set(1, Value::I64(amount));
            self.writer.finish_row(self.next, Some(1_700_000_000_000), None, None);
            self.next += 1;
        }
        self.writer.publish(self.next);
    }

    async fn ask(&self, request: QueryRequest) -> (Vec<String>, Arc<QueryStats>) {
        let sql = request.sql.clone();
        let mut answer = self.engine.run(request).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let stats = Arc::clone(&answer.stats);
        let mut rows = Vec::new();
        while let Some(batch) = answer.stream.next().await {
            rows.extend(lines::lines(&batch.unwrap_or_else(|error| panic!("{sql}: {}", error_of(&error)))));
        }
        (rows, stats)
    }

    async fn rows(&self, sql: &str) -> Vec<String> {
        self.ask(QueryRequest { sql: sql.into(), ..QueryRequest::default() }).await.0
    }

    /// The rows, of a run with the plan of an earlier one.
    async fn rows_again(&self, sql: &str) -> Vec<String> {
        let (rows, stats) = self.ask(QueryRequest { sql: sql.into(), ..QueryRequest::default() }).await;
        assert!(stats.plan_kept.load(Ordering::Relaxed), "a new plan was made: {sql}");
        rows
    }
}

#[tokio::test]
async fn every_run_has_its_own_cut() {
    let mut world = world().await;
    world.append(0..1000);
    let sql = "SELECT count(*), sum(amount) FROM orders WHERE amount >= 500";
    assert_eq!(world.rows(sql).await, ["500|374750"]);
    world.append(1000..1010);
    let request = QueryRequest { sql: sql.into(), ..QueryRequest::default() };
    let (rows, stats) = world.ask(request).await;
    assert_eq!(rows, ["510|384795"]);
    assert!(stats.plan_kept.load(Ordering::Relaxed));
    assert_eq!(QueryStats::get(&stats.rows_total), 1010);
    assert_eq!(QueryStats::get(&stats.rows_scanned), 1010);
    let answer = world.engine.run(QueryRequest { sql: sql.into(), ..QueryRequest::default() }).await.unwrap();
    assert_eq!(answer.cuts["orders"].offsets, BTreeMap::from([(0, 1010)]));
    let sealed = QueryRequest { sql: sql.into(), sealed_only: true, ..QueryRequest::default() };
    assert_eq!(world.ask(sealed).await.0, ["0|NULL"]);
}

#[tokio::test]
async fn no_bound_of_an_earlier_run_is_left() {
    let mut world = world().await;
    world.append(100..40_100);
    let top = "SELECT amount FROM orders ORDER BY amount LIMIT 3";
    let joined = "SELECT count(*) FROM orders o JOIN (SELECT amount FROM orders WHERE amount < 150) p ON o.amount = p.amount";
    let least = "SELECT min(amount) FROM orders";
    assert_eq!(world.rows(top).await, ["100", "101", "102"]);
    assert_eq!(world.rows(joined).await, ["50"]);
    assert_eq!(world.rows(least).await, ["100"]);
    // What would be beyond the bounds that the first runs found.
    world.append([200_000, 7]);
    assert_eq!(world.rows_again(top).await, ["7", "100", "101"]);
    assert_eq!(world.rows_again(joined).await, ["51"]);
    assert_eq!(world.rows(least).await, ["7"]);
    let greatest = "SELECT amount FROM orders ORDER BY amount DESC LIMIT 2";
    assert_eq!(world.rows(greatest).await, ["200000", "40099"]);
    assert_eq!(world.rows_again(greatest).await, ["200000", "40099"]);
    world.append([300_000]);
    assert_eq!(world.rows_again(greatest).await, ["300000", "200000"]);
}

#[tokio::test]
async fn parameters_and_time_are_of_each_run() {
    let mut world = world().await;
    world.append(0..100);
    let sql = "SELECT count(*) FROM orders WHERE amount < $1 AND city = $2";
    for (parameters, expected) in [
        (vec![json!(10), json!("Oslo")], "3"),
        (vec![json!(20), json!("Oslo")], "5"),
        (vec![json!(20), json!("Voss")], "5"),
        (vec![json!(10), json!("Oslo")], "3"),
    ] {
        let request = QueryRequest { sql: sql.into(), parameters, ..QueryRequest::default() };
        assert_eq!(world.ask(request).await.0, [expected]);
    }
    let now = "SELECT now() FROM orders LIMIT 1";
    assert_ne!(world.rows(now).await, world.rows(now).await);
    let random = "SELECT sum(random()) FROM orders";
    assert_ne!(world.rows(random).await, world.rows(random).await);
    let own = "SELECT count(*) FROM system.queries";
    assert_ne!(world.rows(own).await, world.rows(own).await);
}

#[tokio::test]
async fn overflow_in_the_condition_of_a_scan_is_an_error() {
    let mut world = world().await;
    world.append([1, i64::MAX]);
    let sql = "SELECT amount FROM orders WHERE amount + 1 < 5";
    let mut answer =
        world.engine.run(QueryRequest { sql: sql.into(), ..QueryRequest::default() }).await.unwrap();
    let mut failed = false;
    while let Some(batch) = answer.stream.next().await {
        failed |= batch.is_err();
    }
    assert!(failed, "the second row has no amount + 1");
}

#[tokio::test]
async fn another_table_of_the_name_gets_its_own_plan() {
    let mut world = world().await;
    world.append(0..100);
    let star = "SELECT * FROM orders ORDER BY 2 DESC LIMIT 1";
    assert_eq!(world.rows(star).await, ["Voss|99"]);
    let (table, writer) = open_table("price").await;
    world.tables.insert(table);
    (world.writer, world.next) = (writer, 0);
    world.append([5]);
    assert_eq!(world.rows(star).await, ["Oslo|5"]);
    let gone = QueryRequest { sql: "SELECT amount FROM orders".into(), ..QueryRequest::default() };
    assert!(world.engine.run(gone).await.is_err());
    world.tables.remove("orders");
    let gone = QueryRequest { sql: star.into(), ..QueryRequest::default() };
    assert!(world.engine.run(gone).await.is_err());
}

#[tokio::test]
async fn many_at_once_do_not_share_state() {
    let mut world = world().await;
    world.append((0..30_000).map(|row| row * 7919 % 30_000));
    let sql = "SELECT amount FROM orders WHERE city <> 'Hamar' ORDER BY amount LIMIT 4";
    let expected = world.rows(sql).await;
    let world = Arc::new(world);
    let runs = (0..40).map(|_| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.rows_again(sql).await })
    });
    for run in runs.collect::<Vec<_>>() {
        assert_eq!(run.await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_kept_plan_holds_nothing_of_a_run() {
    let mut world = world().await;
    world.append(0..1000);
    for sql in [
        "SELECT max(amount) FROM orders WHERE amount < 9",
        "SELECT amount % 3, count(*) FROM orders GROUP BY 1",
        "SELECT city, count(*) FROM orders GROUP BY city",
    ] {
        for run in 0..3 {
            let (rows, stats) = world.ask(QueryRequest { sql: sql.into(), ..QueryRequest::default() }).await;
            assert!(!rows.is_empty());
            assert_eq!(stats.plan_kept.load(Ordering::Relaxed), run > 0, "run {run} of {sql}");
            // Ours, and that of the query's entry, which may outlive the answer; operators and their runs have one each.
            for _ in 0..500 {
                if Arc::strong_count(&stats) <= 2 {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            assert!(Arc::strong_count(&stats) <= 2, "run {run} of {sql}");
        }
    }
}
