//! The engine without tables: limits, errors, cancelling, parameters, system tables.

// The helpers of a test are tests.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use datafusion::common::ScalarValue;
use futures::StreamExt;
use headwater_broker::engine::{EngineConfig, QueryEngine, error_of};
use headwater_broker::request::{Argument, ClientKind, QueryRequest};
use headwater_broker::{QueryError, QueryErrorKind};
use headwater_segment::live::Tables;
use serde_json::json;

/// Some minutes of work that no optimizer takes away.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b \
                       WHERE (a.value * 31 + b.value * 17) % 7919 = 3";

fn engine_with(change: impl FnOnce(&mut EngineConfig)) -> QueryEngine {
    let mut config = EngineConfig { threads: 2, ..EngineConfig::default() };
    change(&mut config);
    QueryEngine::new(config, Arc::new(Tables::default())).unwrap()
}

fn engine() -> QueryEngine {
    engine_with(|_| {})
}

fn sql(text: &str) -> QueryRequest {
    QueryRequest { sql: text.into(), ..QueryRequest::default() }
}

async fn rows(engine: &QueryEngine, request: QueryRequest) -> Result<Vec<RecordBatch>, QueryError> {
    let mut answer = engine.run(request).await?;
    let mut batches = Vec::new();
    while let Some(batch) = answer.stream.next().await {
        batches.push(batch.map_err(|error| error_of(&error))?);
    }
    Ok(batches)
}

async fn text(engine: &QueryEngine, request: QueryRequest) -> String {
    let batches = rows(engine, request).await.unwrap();
    let table = pretty_format_batches(&batches).unwrap().to_string();
    let cells = table.lines().filter(|line| line.starts_with('|')).skip(1);
    cells.map(|line| line.trim_matches('|').replace(' ', "")).collect::<Vec<_>>().join("\n")
}

async fn failure(engine: &QueryEngine, request: QueryRequest) -> QueryError {
    rows(engine, request).await.unwrap_err()
}

#[tokio::test]
async fn whole_sql_runs() {
    let engine = engine();
    for (statement, expected) in [
        ("SELECT 1 + 1", "2"),
        ("VALUES (1), (2)", "1\n2"),
        ("WITH a AS (SELECT 1 AS x UNION ALL SELECT 2) SELECT sum(x) FROM a", "3"),
        (
            "SELECT value, sum(value) OVER (ORDER BY value) FROM generate_series(1, 3) ORDER BY 1",
            "1|1\n2|3\n3|6",
        ),
        ("SELECT json_get_int('{\"a\": 7}', 'a')", "7"),
        ("SELECT arrow_typeof(now())", "Timestamp(ns,\"UTC\")"),
        ("SHOW datafusion.execution.batch_size", "datafusion.execution.batch_size|8192"),
    ] {
        assert_eq!(text(&engine, sql(statement)).await, expected, "{statement}");
    }
    assert!(text(&engine, sql("EXPLAIN SELECT 1")).await.contains("physical_plan"));
    assert!(text(&engine, sql("EXPLAIN ANALYZE SELECT 1")).await.contains("metrics"));
    assert!(text(&engine, sql("SHOW TABLES")).await.contains("headwater|system|segments"));
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'system'";
    assert_eq!(text(&engine, sql(columns)).await, "94");
}

#[tokio::test]
async fn errors_have_kind_position_and_suggestion() {
    let engine = engine();
    for (statement, kind, position, suggestion) in [
        ("SELECT *\nFROM nope", QueryErrorKind::UnknownTable, Some((2, 6)), None),
        (
            "SELECT * FROM system.segmnts",
            QueryErrorKind::UnknownTable,
            Some((1, 15)),
            Some("system.segments"),
        ),
        ("SELECT valu FROM generate_series(1, 2)", QueryErrorKind::Plan, Some((1, 8)), Some("value")),
        ("SELECT uper('x')", QueryErrorKind::Plan, Some((1, 8)), Some("upper")),
        ("SELECT 1 FROM", QueryErrorKind::Parse, None, None),
        ("SELECT 1 WHERE 'a' + 1 = INTERVAL '1 day'", QueryErrorKind::Plan, None, None),
        ("SELECT 1 / value FROM generate_series(0, 1)", QueryErrorKind::Execution, None, None),
        (
            "SELECT CAST(concat('x', value) AS INT) FROM generate_series(0, 1)",
            QueryErrorKind::Execution,
            None,
            None,
        ),
        ("CREATE TABLE x AS SELECT 1", QueryErrorKind::NotReadOnly, None, None),
    ] {
        let error = failure(&engine, sql(statement)).await;
        assert_eq!(error.kind, kind, "{statement}: {error:?}");
        assert_eq!(error.position, position, "{statement}: {error:?}");
        assert_eq!(error.suggestion.as_deref(), suggestion, "{statement}: {error:?}");
        assert!(!error.message.contains('\n') && !error.message.contains("DataFusion"), "{error:?}");
    }
}

#[tokio::test]
async fn parameters_take_the_types_that_the_statement_wants() {
    let engine = engine();
    let with =
        |statement: &str, parameters: Vec<serde_json::Value>| QueryRequest { parameters, ..sql(statement) };
    let query = with(
        "SELECT value FROM generate_series(1, 9) WHERE value > $1 AND value < $2 LIMIT $3",
        vec![json!(3), json!("6"), json!(1)],
    );
    assert_eq!(text(&engine, query).await, "4");
    let time = "SELECT TIMESTAMP '2026-01-02T00:00:00Z' > $1";
    assert_eq!(text(&engine, with(time, vec![json!("2026-01-01T00:00:00Z")])).await, "true");
    assert_eq!(text(&engine, with("SELECT $1 IS NULL, $2", vec![json!(null), json!("x")])).await, "true|x");
    for (statement, parameters) in [
        ("SELECT $2", vec![json!(1)]),
        ("SELECT 1", vec![json!(1)]),
        ("SELECT $1", vec![json!([1])]),
        (time, vec![json!("tomorrow")]),
    ] {
        let error = failure(&engine, with(statement, parameters)).await;
        assert_eq!(error.kind, QueryErrorKind::BadRequest, "{statement}: {error}");
    }
}

#[tokio::test]
async fn parameters_are_compared_as_if_they_were_written() {
    let engine = engine();
    let prices = "FROM (VALUES (CAST('70000.01' AS DECIMAL(18,2))), (CAST('0.10' AS DECIMAL(18,2)))) v(p)";
    let days = "FROM (VALUES (DATE '2026-01-01'), (DATE '2026-01-02')) v(day)";
    let instants = "FROM (SELECT CAST('2026-01-01T00:10:00.124001' AS TIMESTAMP(6)) AS at)";
    let ms = 1_767_226_200_124_i64;
    let cases = [
        ("SELECT count(*) FROM_PRICES WHERE p = $1", vec![json!(70000.01)], "1"),
        ("SELECT count(*) FROM_PRICES WHERE $1 <> p", vec![json!(70000.01)], "1"),
        ("SELECT count(*) FROM_PRICES WHERE p IN ($1, 5)", vec![json!(70000.01)], "1"),
        ("SELECT count(*) FROM_PRICES WHERE p BETWEEN $1 AND $2", vec![json!(0.1), json!(70000.01)], "2"),
        ("SELECT count(*) FROM_PRICES WHERE $1 BETWEEN p AND p", vec![json!(70000.01)], "1"),
        ("SELECT sum(p) FROM_PRICES HAVING sum(p) = $1", vec![json!(70000.11)], "70000.11"),
        ("SELECT max(p = $1), min(p = $1) FROM_PRICES", vec![json!(70000.01)], "true|false"),
        ("SELECT count(*) FROM_DAYS WHERE day = $1", vec![json!(1_767_225_600_000_i64)], "1"),
        ("SELECT count(*) FROM_DAYS WHERE day > $1", vec![json!(1_767_225_600_001_i64)], "1"),
        (
            "SELECT at = $1, at >= $1, at > $1, $1 < at FROM_INSTANTS",
            vec![json!(ms)],
            "true|true|false|false",
        ),
        ("SELECT count(*) FROM_INSTANTS WHERE at >= $1 AND at < $2", vec![json!(ms), json!(ms + 1)], "1"),
        ("SELECT count(*) FROM_INSTANTS WHERE at IN ($1, 5) AND at BETWEEN $1 AND $1", vec![json!(ms)], "1"),
        ("SELECT (n >= 1) = $1, n IN ($2, 3) FROM (VALUES (2)) v(n)", vec![json!(1), json!(2)], "true|true"),
        ("SELECT X'00ff' = $1, X'00ff' = $2", vec![json!("\\x00ff"), json!("\\x00")], "true|false"),
    ];
    for (statement, parameters, expected) in cases {
        let statement = statement.replace("FROM_PRICES", prices).replace("FROM_DAYS", days);
        let statement = statement.replace("FROM_INSTANTS", instants);
        let query = QueryRequest { parameters, ..sql(&statement) };
        assert_eq!(text(&engine, query).await, expected, "{statement}");
    }
    let elements =
        format!("SELECT make_array(at) = $1, make_array(at) IN ($1, 5), make_array(at) != $1 {instants}");
    let query = QueryRequest { parameters: vec![json!(ms)], client: ClientKind::Pinot, ..sql(&elements) };
    assert_eq!(text(&engine, query).await, "true|true|false");
    for value in [ScalarValue::Float64(Some(70000.01)), ScalarValue::Float32(Some(70000.01))] {
        let arguments = vec![Argument { value, is_untyped: false }];
        let query = QueryRequest { arguments, ..sql(&format!("SELECT count(*) {prices} WHERE p = $1")) };
        assert_eq!(text(&engine, query).await, "1");
    }
}

#[tokio::test]
async fn the_row_cap_is_an_error_and_not_a_limit() {
    let engine = engine();
    let capped = |statement: &str| QueryRequest { rows_max: Some(10_000), ..sql(statement) };
    let error = failure(&engine, capped("SELECT * FROM generate_series(1, 10001)")).await;
    assert_eq!(error.kind, QueryErrorKind::RowsExceeded);
    assert!(error.message.contains("10000") && error.message.contains("LIMIT"), "{error}");
    let exact = rows(&engine, capped("SELECT * FROM generate_series(1, 10000)")).await.unwrap();
    assert_eq!(exact.iter().map(RecordBatch::num_rows).sum::<usize>(), 10_000);
}

#[tokio::test]
async fn the_deadline_holds_while_running_and_while_nobody_reads() {
    let engine = engine();
    let started = Instant::now();
    let deadline = Some(Duration::from_millis(200));
    let error = failure(&engine, QueryRequest { deadline, ..sql(ENDLESS) }).await;
    assert_eq!(error.kind, QueryErrorKind::Deadline);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(engine.running(), 0);

    let deadline = Some(Duration::from_millis(1500));
    let many = QueryRequest {
        deadline,
        rows_max: Some(u64::MAX),
        ..sql("SELECT * FROM generate_series(1, 90000000)")
    };
    let mut answer = engine.run(many).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1600)).await;
    let error = answer.stream.next().await.unwrap().unwrap_err();
    assert_eq!(error_of(&error).kind, QueryErrorKind::Deadline);
    assert!(answer.stream.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_answer_or_cancelling_ends_the_query() {
    // One slot: the next query can only run once the one before has left its threads.
    let engine = engine_with(|config| config.concurrent_max = 1);
    let answer = engine.run(sql(ENDLESS)).await.unwrap();
    let id = answer.id.clone();
    drop(answer);
    let dropped = Instant::now();
    assert_eq!(text(&engine, sql("SELECT 1")).await, "1");
    assert!(dropped.elapsed() < Duration::from_millis(500), "{:?}", dropped.elapsed());
    let state = format!("SELECT state FROM system.queries WHERE id = '{id}'");
    assert_eq!(text(&engine, sql(&state)).await, "cancelled");

    let counting = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b WHERE a.value + b.value > 0";
    for statement in [ENDLESS, counting] {
        let answer = engine.run(sql(statement)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
        drop(answer);
        let dropped = Instant::now();
        assert_eq!(text(&engine, sql("SELECT 1")).await, "1");
        assert!(dropped.elapsed() < Duration::from_millis(500), "{statement}: {:?}", dropped.elapsed());
    }

    let mut answer = engine.run(sql(ENDLESS)).await.unwrap();
    assert!(engine.kill(&answer.id, None).await && !engine.kill("nobody", None).await);
    let error = answer.stream.next().await.unwrap().unwrap_err();
    assert_eq!(error_of(&error).kind, QueryErrorKind::Cancelled);
    assert_eq!(text(&engine, sql("SELECT 2")).await, "2");

    // The caller gives up while `run` still waits for a slot.
    let running = engine.run(sql(ENDLESS)).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), engine.run(sql("SELECT 3"))).await.is_err());
    assert_eq!(engine.running(), 1);
    drop(running);
}

#[tokio::test]
async fn memory_is_bounded_and_sorts_spill() {
    let engine = engine();
    let budget = |bytes| QueryRequest {
        memory_bytes_max: Some(bytes),
        rows_max: Some(u64::MAX),
        ..QueryRequest::default()
    };
    let grouping = "SELECT count(*) FROM (SELECT value, array_agg(value) AS l FROM generate_series(1, 2000000) GROUP BY value)";
    let error = failure(&engine, QueryRequest { sql: grouping.into(), ..budget(1 << 20) }).await;
    assert_eq!(error.kind, QueryErrorKind::MemoryExceeded, "{error}");
    assert!(error.message.contains("1048576"), "{error}");

    let sorting = "SELECT value FROM generate_series(1, 2000000) ORDER BY value % 1000, value DESC";
    let sorted = rows(&engine, QueryRequest { sql: sorting.into(), ..budget(24 << 20) }).await.unwrap();
    assert_eq!(sorted.iter().map(RecordBatch::num_rows).sum::<usize>(), 2_000_000);
}

#[tokio::test]
async fn a_full_queue_refuses_and_draining_cancels() {
    let engine = engine_with(|config| {
        config.concurrent_max = 1;
        config.queue_max = 0;
    });
    let mut answer = engine.run(sql(ENDLESS)).await.unwrap();
    assert_eq!(failure(&engine, sql("SELECT 1")).await.kind, QueryErrorKind::Overloaded);
    engine.drain(Duration::from_millis(20)).await;
    let error = answer.stream.next().await.unwrap().unwrap_err();
    assert_eq!(error_of(&error).kind, QueryErrorKind::Cancelled);
    assert_eq!(failure(&engine, sql("SELECT 1")).await.kind, QueryErrorKind::Overloaded);
}

#[tokio::test]
async fn the_longest_chains_neither_crash_nor_hang() {
    let engine = engine();
    for statement in [
        format!("SELECT 1{}", "+1".repeat(1_900)),
        format!("SELECT 1{}", "::INT".repeat(1_900)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(600)),
        format!("SELECT {}true", "NOT ".repeat(1_900)),
    ] {
        let request = QueryRequest { deadline: Some(Duration::from_secs(240)), ..sql(&statement) };
        let error = rows(&engine, request).await.err();
        // Too deep for the parser is an answer; a deadline that passed or a panic is not.
        assert!(error.as_ref().is_none_or(|error| error.kind == QueryErrorKind::Parse), "{error:?}");
    }
}
