//! The oracle: random tables, messages and queries, answered by Headwater in random mixtures of open, sealing and
//! sealed segments, with inverted indexes and bloom filters by choice, forced on and off, with and without zone maps and the
//! fused aggregate, with the plan of an earlier run and with a new one, by one process and by the nodes of a cluster of which
//! each knows another version of the log, and by plain DataFusion over the rows that a second, slow decoder finds.
//!
//! One case is one seed. `HEADWATER_ORACLE_CASES` says how many cases run (48), `HEADWATER_ORACLE_SEED` where they
//! begin (0): a failure names the seed with which it comes back alone.
#![allow(clippy::unwrap_used, clippy::panic)]

mod cluster;
mod exact;
mod expression;
mod filling;
mod message;
mod number;
mod query;
mod reference;
mod rows;
mod schema;
mod tree;
mod values;
mod world;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;
use headwater_broker::QueryError;
use headwater_segment::schema::TableSchema;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::expression::Shape;
use crate::query::{Query, query};
use crate::reference::Datum;
use crate::values::Profile;
use crate::world::{Stream, World};

const CASES_DEFAULT: u64 = 48;
const QUERIES_PER_CASE: usize = 14;

/// Messages of the one partition of a large table that has many: more than a block of a segment (8192 rows) holds.
const MESSAGES_LARGE: usize = 10_000;

fn environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Cases whose number leaves `part` when divided by 2: tests run side by side.
fn run_cases(part: u64) {
    // Nodes serve while others ask.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let first = environment("HEADWATER_ORACLE_SEED", 0);
    let cases = environment("HEADWATER_ORACLE_CASES", CASES_DEFAULT);
    let mut tally = Tally::default();
    for seed in (first..first + cases).filter(|seed| seed % 2 == part) {
        runtime.block_on(case(seed, &mut tally));
    }
    let Tally { asked, again, kept, from_results, across_again, across_kept, refused } = tally;
    // Queries that are an error for both prove little.
    assert!(
        refused.len() <= 10 + asked / 10,
        "{} of {asked} queries fail:\n{}",
        refused.len(),
        refused.join("\n")
    );
    assert!(
        from_results * 20 >= again,
        "only {from_results} of {again} third runs had results of the second"
    );
    assert!(kept * 2 >= again, "only {kept} of {again} second runs had the plan of the first");
    assert!(
        across_kept * 3 >= across_again,
        "only {across_kept} of {across_again} second runs on several nodes had the plan of the first"
    );
}

/// What the cases did.
#[derive(Default)]
struct Tally {
    /// Queries.
    asked: usize,
    /// Second runs of a query by one engine.
    again: usize,
    /// Those of them that used the plan of the first.
    kept: usize,
    /// Of third runs: those that found partial aggregates of the second.
    from_results: usize,
    /// Second runs of a query on several nodes, where plans are kept.
    across_again: usize,
    /// Those of them that used the plan of the first.
    across_kept: usize,
    /// Queries that are an error for both sides.
    refused: Vec<String>,
}

#[test]
fn headwater_answers_like_plain_rows_on_even_seeds() {
    run_cases(0);
}

#[test]
fn headwater_answers_like_plain_rows_on_odd_seeds() {
    run_cases(1);
}

fn stream(random: &mut StdRng, name: &str, messages: usize) -> Stream {
    let spec = schema::spec(random, name);
    let mut partitions = BTreeMap::new();
    let profiles: Vec<Profile> = spec.columns.iter().map(|column| Profile::new(random, column)).collect();
    for partition in 0..random.random_range(1..4) {
        let first_offset = [0, 0, 1000, 5_000_000_000][random.random_range(0..4)];
        // Of a large table one partition is.
        let count = match (messages == MESSAGES_LARGE, partition) {
            (true, 0) => messages,
            (true, _) => random.random_range(0..=300),
            _ => random.random_range(0..=messages),
        };
        partitions.insert(partition, message::messages(random, &spec, &profiles, first_offset, count));
    }
    Stream { spec, partitions }
}

/// Runs the case of a seed.
async fn case(seed: u64, tally: &mut Tally) {
    let mut random = StdRng::seed_from_u64(seed);
    // Now and then more rows than a block of a segment or a batch of the engine has.
    let is_large = random.random_ratio(1, 32);
    let messages = if is_large { MESSAGES_LARGE } else { [6, 40, 120][random.random_range(0..3)] };
    let streams = [stream(&mut random, "t1", messages), stream(&mut random, "t2", messages.min(60))];
    let mut world = World::new(&mut random, &streams).await;
    let partitions = random.random_range(1..4);
    let config =
        SessionConfig::new().with_target_partitions(partitions).with_default_catalog_and_schema("c", "s");
    let plain = SessionContext::new_with_config(config);
    plain.state_ref().write().config_mut().options_mut().execution.time_zone = Some("UTC".into());
    let mut shapes = Vec::new();
    let mut all_rows = Vec::new();
    for stream in &streams {
        let (schema, rows) = (TableSchema::new(&stream.spec), stream.reference_rows());
        let table = MemTable::try_new(schema.arrow().clone(), vec![vec![rows::batch(schema.arrow(), &rows)]])
            .unwrap();
        plain.register_table(&stream.spec.name, Arc::new(table)).unwrap();
        shapes.push(Shape::new(&mut random, &stream.spec.name, &schema, &rows));
        all_rows.push(rows);
    }
    let everything = streams.iter().zip(&shapes).map(|(stream, shape)| {
        let columns: Vec<String> = shape.columns.iter().map(|column| column.of("t")).collect();
        Query { sql: format!("SELECT {} FROM {} t", columns.join(", "), stream.spec.name), ordered: false }
    });
    let everything: Vec<Query> = everything.collect();
    let random_queries = (0..QUERIES_PER_CASE).map(|_| query(&mut random, &shapes, is_large));
    let queries: Vec<Query> = everything.into_iter().chain(random_queries).collect();
    for query in &queries {
        match compare(&mut random, &mut world, &plain, query, tally).await {
            Ok(None) => {}
            Ok(Some(error)) => tally.refused.push(format!("{error}: {}", query.sql)),
            Err(difference) => {
                let explained = explained(query);
                let text = |error: QueryError| error.to_string();
                let plans = [
                    ("Headwater", world.engines()[0].run(&explained).await.0.map_err(text)),
                    ("several nodes", world.cluster.engine.clone().run(&explained).await.0.map_err(text)),
                    ("plain DataFusion", plain_answer(&plain, &explained).await),
                ];
                panic!("{difference}\n{}", report(seed, &streams, &world, &all_rows, query, plans));
            }
        }
    }
    tally.asked += queries.len();
}

fn explained(query: &Query) -> String {
    format!("EXPLAIN {}", exact::asked(&query.sql))
}

async fn plain_answer(plain: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>, String> {
    let answer = async {
        let stream = plain.sql(sql).await?.execute_stream().await?;
        let empty = RecordBatch::new_empty(stream.schema());
        let mut batches: Vec<RecordBatch> = stream.try_collect().await?;
        batches.insert(0, empty);
        Ok::<_, datafusion::error::DataFusionError>(batches)
    };
    answer.await.map_err(|error| error.to_string())
}

/// Asks all sides. `Ok` with the error of plain DataFusion if all fail, `Err` if they differ.
async fn compare(
    random: &mut StdRng,
    world: &mut World<'_>,
    plain: &SessionContext,
    query: &Query,
    tally: &mut Tally,
) -> Result<Option<String>, String> {
    let expected = plain_answer(plain, &exact::expected(&query.sql)).await;
    let asked = exact::asked(&query.sql);
    let mut kind = None;
    for engine in world.engines() {
        let (found, _, _) = engine.run(&asked).await;
        kind = kind.or(found.as_ref().err().map(|error| error.kind));
        difference(query, &expected, found).map_err(|text| format!("{}: {text}", engine.name))?;
        if engine.keeps_plans && expected.is_ok() {
            let (found, is_kept, _) = engine.run(&asked).await;
            tally.again += 1;
            tally.kept += usize::from(is_kept);
            difference(query, &expected, found)
                .map_err(|text| format!("{}, second run (plan kept: {is_kept}): {text}", engine.name))?;
            // What the second run leaves for the third one is found beside it.
            tokio::time::sleep(Duration::from_millis(2)).await;
            let (found, _, segments) = engine.run(&asked).await;
            tally.from_results += usize::from(segments > 0);
            difference(query, &expected, found)
                .map_err(|text| format!("{}, third run ({segments} segments kept): {text}", engine.name))?;
        }
    }
    let engine = world.cluster.engine.clone();
    for run in 1..3 {
        let found = match random.random_bool(0.5) {
            true => tokio::join!(engine.run(&asked), world.cluster.happen(random)).0,
            false => engine.run(&asked).await,
        };
        let (found, is_kept, _) = found;
        let at = format!("{}, run {run} (plan kept: {is_kept})", engine.name);
        if let (Some(kind), Err(error)) = (kind, &found)
            && kind != error.kind
        {
            return Err(format!("{at}: the error is {error}, of kind {:?}, not {kind:?}", error.kind));
        }
        difference(query, &expected, found).map_err(|text| format!("{at}: {text}"))?;
        if engine.keeps_plans && expected.is_ok() && run > 1 {
            tally.across_again += 1;
            tally.across_kept += usize::from(is_kept);
        }
    }
    let is_overflow = query.sql.contains('«');
    Ok(expected.err().filter(|_| !is_overflow))
}

fn difference(
    query: &Query,
    expected: &Result<Vec<RecordBatch>, String>,
    found: Result<Vec<RecordBatch>, QueryError>,
) -> Result<(), String> {
    let (expected, found) = match (expected, found) {
        (Err(_), Err(_)) => return Ok(()),
        (Ok(_), Err(error)) if exact::sums(&query.sql) && error.to_string().contains("sum overflows") => {
            return Ok(());
        }
        (Ok(expected), Ok(found)) => (expected, found),
        (Ok(_), Err(error)) => {
            return Err(format!("only Headwater fails: {error} ({:?})", error.kind));
        }
        (Err(error), Ok(_)) => return Err(format!("only plain DataFusion fails: {error}")),
    };
    let types = |batches: &[RecordBatch]| -> Vec<String> {
        batches[0]
            .schema()
            .fields()
            .iter()
            .map(|field| format!("{} {}", field.name(), field.data_type()))
            .collect()
    };
    if types(expected) != types(&found) {
        return Err(format!("types differ: expected {:?}, found {:?}", types(expected), types(&found)));
    }
    let (mut expected, mut found) = (rows::lines(expected), rows::lines(&found));
    if !query.ordered {
        expected.sort();
        found.sort();
    }
    if expected == found {
        return Ok(());
    }
    let missing = expected.iter().filter(|line| !found.contains(line)).take(10);
    let excess = found.iter().filter(|line| !expected.contains(line)).take(10);
    let mut text = format!("answers differ: {} rows expected, {} found", expected.len(), found.len());
    missing.for_each(|line| text += &format!("\n  missing: {line}"));
    excess.for_each(|line| text += &format!("\n  excess:  {line}"));
    Err(text)
}

fn report(
    seed: u64,
    streams: &[Stream],
    world: &World<'_>,
    rows: &[Vec<Vec<Datum>>],
    query: &Query,
    plans: [(&str, Result<Vec<RecordBatch>, String>); 3],
) -> String {
    let mut text = format!(
        "HEADWATER_ORACLE_SEED={seed} HEADWATER_ORACLE_CASES=1\n{}\nmixture: {}\nseveral nodes:\n  {}\n",
        exact::asked(&query.sql),
        world.mixture,
        world.cluster.history.join("\n  ")
    );
    for (name, plan) in plans {
        let plan =
            plan.and_then(|batches| pretty_format_batches(&batches).map_err(|error| error.to_string()));
        let _ =
            writeln!(text, "plan of {name}: {}", plan.map_or_else(|error| error, |table| table.to_string()));
    }
    for (stream, rows) in streams.iter().zip(rows) {
        let _ = writeln!(text, "spec: {}", stream.spec.to_json());
        for row in rows.iter().take(200) {
            let _ = writeln!(text, "  {}", clipped(format!("{row:?}")));
        }
    }
    text
}

fn clipped(mut line: String) -> String {
    if let Some((end, _)) = line.char_indices().nth(600) {
        line.truncate(end);
        line.push('…');
    }
    line
}
