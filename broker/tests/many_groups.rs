//! Groups by the hundred thousand: put together by the partitions themselves and, where memory is short, by DataFusion's
//! final aggregate, which spills.

// The helpers of a test are tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/lines.rs"]
mod lines;

use std::sync::Arc;

use futures::StreamExt;
use headwater_broker::QueryError;
use headwater_broker::engine::{EngineConfig, QueryEngine, error_of};
use headwater_broker::request::QueryRequest;
use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::Tables;
use headwater_segment::mutable::{MutableSegment, SegmentWriter};
use headwater_segment::value::{RowSink, Value};
use object_store::ObjectStore;
use object_store::memory::InMemory;

const SPEC: &str = "{name: rides, columns: [{name: rider, type: STRING}, {name: amount, type: LONG}, \
                    {name: fare, type: DOUBLE}], stream: {brokers: 'localhost:9092', topic: rides}}";
const PARTITIONS: i64 = 2;
/// Rows of each partition.
const ROWS: i64 = 120_000;
/// Amounts are below; each comes in both partitions.
const AMOUNTS: i64 = 90_000;

struct World {
    engine: QueryEngine,
    // As long as they live, so does consumption.
    _writers: Vec<SegmentWriter>,
}

async fn world() -> World {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let table = common::table(&store, SPEC, &"tables/rides".into(), PARTITIONS as i32).await;
    let mut writers = Vec::new();
    for partition in 0..PARTITIONS as i32 {
        let budget = MemoryBudget::new(1 << 30);
        let (mut writer, segment) = MutableSegment::create(table.schema(), partition, 0, budget);
        table.open_segment(segment);
        for row in 0..ROWS {
            let amount = row % AMOUNTS;
            if amount % 10 != 9 {
                writer.set(0, Value::Str(&format!("rider number {}", amount / 2)));
            }
            writer.set(1, Value::I64(amount));
            writer.set(2, Value::F64(amount as f64 / 2.0));
            writer.finish_row(row, Some(1_700_000_000_000), None, None);
        }
        writer.publish(ROWS);
        writers.push(writer);
    }
    let tables = Arc::new(Tables::default());
    tables.insert(table);
    let config = EngineConfig { threads: 2, ..EngineConfig::default() };
    World { engine: QueryEngine::new(config, tables).unwrap(), _writers: writers }
}

impl World {
    async fn ask(&self, sql: &str, memory_bytes: Option<u64>) -> Result<Vec<String>, QueryError> {
        let sql = sql.to_owned();
        let request = QueryRequest { sql, memory_bytes_max: memory_bytes, ..QueryRequest::default() };
        let mut answer = self.engine.run(request).await?;
        let mut rows = Vec::new();
        while let Some(batch) = answer.stream.next().await {
            rows.extend(lines::lines(&batch.map_err(|error| error_of(&error))?));
        }
        Ok(rows)
    }

    async fn rows(&self, sql: &str) -> Vec<String> {
        self.ask(sql, None).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_group_comes_once_with_all_its_rows() {
    let world = world().await;
    let plan = world.rows("EXPLAIN SELECT amount, count(*) FROM rides GROUP BY amount").await.join("\n");
    assert!(plan.contains("SegmentMergeExec") && !plan.contains("AggregateExec: mode=Final"), "{plan}");

    // Amounts below 30,000 come twice in each partition, the others once.
    let of_groups = "SELECT count(*), sum(n), min(n), max(n), sum(total), sum(mean) FROM ( \
                     SELECT amount, count(*) AS n, sum(amount) AS total, avg(fare) AS mean, max(rider) \
                     FROM rides GROUP BY amount)";
    let total: i64 = (0..ROWS).map(|row| row % AMOUNTS).sum::<i64>() * PARTITIONS;
    let means = (0..AMOUNTS).sum::<i64>() as f64 / 2.0;
    let expected = format!("{AMOUNTS}|{}|2|4|{total}|{means:?}", ROWS * PARTITIONS);
    assert_eq!(world.rows(of_groups).await, [expected]);
    let riders = "SELECT count(*), sum(n), count(rider) FROM \
                  (SELECT rider, count(*) AS n FROM rides WHERE amount < 40000 GROUP BY rider)";
    // Those with an amount that ends in 9 have no rider; the other of the two amounts has.
    assert_eq!(world.rows(riders).await, ["20001|140000|20000"]);
    let pairs = "SELECT count(*), sum(n) FROM (SELECT rider, amount, amount + 1 AS next, count(*) AS n FROM rides \
                 GROUP BY rider, amount, amount + 1)";
    assert_eq!(world.rows(pairs).await, [format!("{AMOUNTS}|{}", ROWS * PARTITIONS)]);
    assert_eq!(
        world.rows("SELECT count(DISTINCT amount), count(DISTINCT rider) FROM rides").await,
        ["90000|45000"]
    );
    assert_eq!(
        world
            .rows("SELECT amount % 7 AS k, count(DISTINCT amount) FROM rides GROUP BY k ORDER BY k LIMIT 1")
            .await,
        ["0|12858"]
    );
}

/// Distinct values beside other functions, which no rewrite of the query takes apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn distinct_values_are_counted_beside_other_functions() {
    let world = world().await;
    let by_rest = "SELECT amount % 7 AS k, sum(amount), count(*) AS c, avg(fare), count(DISTINCT amount) AS d, \
                   count(DISTINCT rider) AS r FROM rides GROUP BY k";
    let in_order = format!("{by_rest} ORDER BY c DESC LIMIT 10");
    let plan = world.rows(&format!("EXPLAIN {in_order}")).await.join("\n");
    let counted = "distinct=[count(DISTINCT rides.amount), count(DISTINCT rides.rider)]";
    assert!(plan.contains("SegmentMergeExec: greatest 10") && plan.contains(counted), "{plan}");
    assert!(!plan.contains("AggregateExec: mode=Final"), "{plan}");

    let distinct = "SELECT a.k, d, r FROM \
                    (SELECT k, count(*) AS d FROM (SELECT DISTINCT amount % 7 AS k, amount FROM rides) GROUP BY k) a JOIN \
                    (SELECT k, count(rider) AS r FROM (SELECT DISTINCT amount % 7 AS k, rider FROM rides) GROUP BY k) b \
                    ON a.k = b.k ORDER BY k";
    let found = world.rows(&format!("SELECT k, d, r FROM ({by_rest}) ORDER BY k")).await;
    assert_eq!(found, world.rows(distinct).await);
    let first = world.rows(&format!("SELECT d FROM ({by_rest} ORDER BY d DESC, k LIMIT 1)")).await;
    assert_eq!(first, ["12858"]);

    let of_riders = "SELECT count(*), sum(n), sum(d), sum(e) FROM (SELECT rider, count(*) AS n, avg(fare), \
                     count(DISTINCT amount) AS d, count(DISTINCT rider) AS e FROM rides GROUP BY rider)";
    assert_eq!(world.rows(of_riders).await, ["45001|240000|90000|45000"]);
    let none = "SELECT rider, count(DISTINCT amount), avg(fare), count(DISTINCT fare) FROM rides \
                WHERE amount < 0 GROUP BY rider";
    assert!(world.rows(none).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn distinct_values_of_all_rows_are_counted_by_the_partitions() {
    let world = world().await;
    let of_all = "SELECT count(*), avg(fare), count(DISTINCT amount), count(DISTINCT amount + 1), \
                  count(DISTINCT rider) FILTER (WHERE amount < 1000) FROM rides";
    let plan = world.rows(&format!("EXPLAIN {of_all}")).await.join("\n");
    assert!(plan.contains("SegmentMergeExec") && plan.contains("distinct=["), "{plan}");
    assert!(!plan.contains("AggregateExec: mode=Final"), "{plan}");
    let mean: i64 = (0..ROWS).map(|row| row % AMOUNTS).sum();
    let expected = format!("240000|{:?}|90000|90000|500", mean as f64 / 2.0 / ROWS as f64);
    assert_eq!(world.rows(of_all).await, [expected]);
    let none = "SELECT count(*), avg(fare), min(rider), count(DISTINCT amount), count(DISTINCT rider) \
                FROM rides WHERE amount < 0";
    assert_eq!(world.rows(none).await, ["0|NULL|NULL|0|0"]);
    // Without distinct values there is a row for each partition to put together.
    let plan = world.rows("EXPLAIN SELECT count(*), avg(fare) FROM rides").await.join("\n");
    assert!(!plan.contains("SegmentMergeExec"), "{plan}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn distinct_values_that_do_not_fit_into_memory_are_handed_out() {
    let world = world().await;
    for (sql, least) in [
        ("SELECT count(*), avg(fare), count(DISTINCT amount), count(DISTINCT amount * 3) FROM rides", 2),
        (
            "SELECT amount % 7 AS k, count(*), avg(fare), count(DISTINCT amount), count(DISTINCT amount * 3) \
             FROM rides GROUP BY k ORDER BY k",
            2,
        ),
    ] {
        let expected = world.rows(sql).await;
        let mut answered = 0;
        for mebibytes in [128, 64, 32, 16, 8, 4, 2] {
            match world.ask(sql, Some(mebibytes << 20)).await {
                Ok(rows) => {
                    assert_eq!(rows, expected, "{mebibytes} MiB: {sql}");
                    answered += 1;
                }
                Err(error) => assert!(error.to_string().contains("memory"), "{mebibytes} MiB: {error}"),
            }
        }
        assert!(answered >= least, "only {answered} of the budgets sufficed: {sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_groups_in_an_order_are_the_first_of_all() {
    let world = world().await;
    let greatest = "SELECT amount, sum(amount) AS s FROM rides GROUP BY amount ORDER BY s DESC LIMIT 3";
    assert_eq!(world.rows(greatest).await, ["89999|179998", "89998|179996", "89997|179994"]);
    let least = "SELECT sum(amount) AS s, amount FROM rides GROUP BY amount ORDER BY s LIMIT 3 OFFSET 1";
    assert_eq!(world.rows(least).await, ["4|1", "8|2", "12|3"]);
    // All with the same count as the last one are in the running for the second key.
    let ties = "SELECT amount, count(*) AS n FROM rides GROUP BY amount ORDER BY n DESC, amount DESC LIMIT 3";
    assert_eq!(world.rows(ties).await, ["29999|4", "29998|4", "29997|4"]);
    let joined = "SELECT count(*) FROM (SELECT amount, count(*) AS n FROM rides GROUP BY amount) a \
                  JOIN (SELECT amount, sum(amount) AS s FROM rides GROUP BY amount) b ON a.amount = b.amount \
                  WHERE a.n = 4 AND b.s = 4 * a.amount";
    assert_eq!(world.rows(joined).await, ["30000"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_that_do_not_fit_into_memory_are_merged_by_spilling() {
    let world = world().await;
    let sql = "SELECT count(*), sum(n), sum(s) FROM \
               (SELECT amount, count(*) AS n, sum(amount) AS s FROM rides GROUP BY amount)";
    let expected = world.rows(sql).await;
    let mut answered = 0;
    for mebibytes in [64, 16, 8, 6, 4] {
        match world.ask(sql, Some(mebibytes << 20)).await {
            Ok(rows) => {
                assert_eq!(rows, expected, "{mebibytes} MiB");
                answered += 1;
            }
            Err(error) => assert!(error.to_string().contains("memory"), "{mebibytes} MiB: {error}"),
        }
    }
    assert!(answered >= 3, "only {answered} of the budgets sufficed");
}
