//! Bloom filters of sealed segments: what they say is not there is not loaded, and no answer depends on them.

// The helpers of a test are tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/sealing.rs"]
mod sealing;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use headwater_broker::engine::{EngineConfig, ExecuteOptions, QueryEngine, Toggle, error_of};
use headwater_broker::request::{QueryRequest, QueryStats};
use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::Tables;
use headwater_segment::mutable::{MutableSegment, SegmentWriter};
use headwater_segment::sealed::SegmentMeta;
use headwater_segment::value::{RowSink, Value};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// A store that counts the bytes which are read from it.
#[derive(Debug, Default)]
struct Counting {
    inner: InMemory,
    bytes: AtomicU64,
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "counting {}", self.inner)
    }
}

impl Counting {
    fn take(&self) -> u64 {
        self.bytes.swap(0, Ordering::Relaxed)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let result = self.inner.get_opts(location, options).await?;
        self.bytes.fetch_add(result.range.end - result.range.start, Ordering::Relaxed);
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A table of some sealed segments and an open one.
struct World {
    store: Arc<Counting>,
    tables: Arc<Tables>,
    segments: Vec<Arc<SegmentMeta>>,
    // As long as it lives, the open segment is one.
    _writer: SegmentWriter,
}

const ROOT: &str = "tables/t";

impl World {
    /// Segments of so many rows each, the last one open; `put` sets the columns of the row at an offset.
    async fn new(spec: &str, segments: &[i64], mut put: impl FnMut(&mut SegmentWriter, i64)) -> Self {
        let store = Arc::new(Counting::default());
        let dynamic: Arc<dyn ObjectStore> = Arc::clone(&store) as _;
        let root = Path::from(ROOT);
        let table = common::table(&dynamic, spec, &root, 1).await;
        let mut metas = Vec::new();
        let mut from = 0;
        let mut open = None;
        for (number, rows) in segments.iter().enumerate() {
            let budget = MemoryBudget::new(1 << 30);
            let (mut writer, segment) = MutableSegment::create(table.schema(), 0, from, budget);
            let to = from + rows;
            for offset in from..to {
                put(&mut writer, offset);
                writer.finish_row(offset, Some(1_700_000_000_000), None, None);
            }
            writer.publish(to);
            if number + 1 == segments.len() {
                table.open_segment(segment);
                open = Some(writer);
                break;
            }
            let rows = sealing::rows(&segment, &table);
            metas.push(sealing::seal(&table, (store.as_ref(), &root), (0, from, to), rows).await);
            from = to;
        }
        let tables = Tables::default();
        tables.insert(table);
        Self { store, tables: Arc::new(tables), segments: metas, _writer: open.unwrap() }
    }

    fn engine(&self, indexes: Toggle) -> QueryEngine {
        let execute = ExecuteOptions { indexes, ..ExecuteOptions::default() };
        let config = EngineConfig { threads: 2, execute, ..EngineConfig::default() };
        QueryEngine::new(config, Arc::clone(&self.tables)).unwrap()
    }

    async fn damage(&self, segment: usize, places: impl Iterator<Item = usize>) {
        let location = self.segments[segment].location(&ROOT.into());
        let mut bytes = self.store.get(&location).await.unwrap().bytes().await.unwrap().to_vec();
        places.for_each(|place| bytes[place] ^= 1);
        self.store.put(&location, bytes.into()).await.unwrap();
    }
}

async fn answer(engine: &QueryEngine, sql: &str) -> Result<String, String> {
    let request = QueryRequest { sql: sql.into(), ..QueryRequest::default() };
    let mut answer = engine.run(request).await.map_err(|error| error.to_string())?;
    let mut batches: Vec<RecordBatch> = Vec::new();
    while let Some(batch) = answer.stream.next().await {
        batches.push(batch.map_err(|error| error_of(&error).to_string())?);
    }
    Ok(pretty_format_batches(&batches).unwrap().to_string())
}

/// The one number of an answer.
async fn number(engine: &QueryEngine, sql: &str) -> Result<u64, String> {
    let table = answer(engine, sql).await?;
    let cell = table.lines().nth(3).unwrap_or_else(|| panic!("{sql}: {table}"));
    Ok(cell.trim_matches('|').trim().parse().unwrap())
}

/// Segments that filters kept from being loaded; `None` if none was to be asked.
async fn pruned(engine: &QueryEngine, sql: &str) -> Option<u64> {
    let plan = answer(engine, &format!("EXPLAIN ANALYZE {sql}")).await.unwrap();
    let (_, rest) = plan.split_once("segments_pruned_by_bloom=")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
    Some(digits.parse().unwrap())
}

/// Distinct, without an order, and long enough that a filter is much smaller than the column.
fn key(offset: i64) -> String {
    let mut random = StdRng::seed_from_u64(offset as u64);
    format!("{:032x}{:016x}", random.random::<u128>(), random.random::<u64>())
}

const KEYS: &str = "{name: t, columns: [{name: id, type: STRING}, {name: n, type: LONG}], \
                    stream: {brokers: 'localhost:9092', topic: t}}";

async fn keys(rows: i64) -> World {
    World::new(KEYS, &[rows, rows, 10], |writer, offset| {
        writer.set(0, Value::Str(&key(offset)));
        writer.set(1, Value::I64(offset));
    })
    .await
}

#[tokio::test]
async fn what_filters_deny_is_not_loaded() {
    let rows = 60_000;
    let world = keys(rows).await;
    let whole = world.segments.iter().map(|segment| segment.size_bytes).sum::<u64>();
    let engine = world.engine(Toggle::Auto);
    world.store.take();
    let absent = format!("SELECT count(*) FROM t WHERE id = '{}'", key(-1));
    assert_eq!(number(&engine, &absent).await, Ok(0));
    let read = world.store.take();
    assert!(0 < read && read < whole / 4, "{read} bytes of {whole}");
    assert_eq!(pruned(&engine, &absent).await, Some(2));
    assert_eq!(world.store.take(), 0, "the filters are kept");

    let of_second = format!("SELECT n FROM t WHERE id IN ('{}', '{}')", key(rows + 7), key(-5));
    assert_eq!(pruned(&engine, &of_second).await, Some(1));
    let read = world.store.take();
    assert!(whole / 4 < read && read < whole * 3 / 4, "one of two: {read} bytes of {whole}");
    assert_eq!(number(&engine, &of_second).await, Ok(rows as u64 + 7));
    let open = format!("SELECT n FROM t WHERE id = '{}'", key(rows * 2 + 3));
    assert_eq!(number(&engine, &open).await, Ok(rows as u64 * 2 + 3));

    let other = format!("SELECT count(*) FROM t WHERE id <> '{}'", key(0));
    assert_eq!(pruned(&engine, &other).await, None, "nothing to ask");
    let off = world.engine(Toggle::Off);
    assert_eq!(pruned(&off, &absent).await, None);
    assert_eq!(number(&off, &absent).await, Ok(0));
}

#[tokio::test]
async fn what_filters_deny_counts_as_pruned() {
    let world = keys(60_000).await;
    for columns in ["count(*)", "n"] {
        for (place, scanned) in [(-1, 1), (3, 2)] {
            // One that has no columns in memory yet.
            let engine = world.engine(Toggle::Auto);
            let sql = format!("SELECT {columns} FROM t WHERE id = '{}'", key(place));
            let answer =
                engine.run(QueryRequest { sql: sql.clone(), ..QueryRequest::default() }).await.unwrap();
            let stats = Arc::clone(&answer.stats);
            answer.stream.map(|batch| assert!(batch.is_ok())).collect::<()>().await;
            assert_eq!(QueryStats::get(&stats.segments_total), 3);
            assert_eq!(QueryStats::get(&stats.segments_scanned), scanned, "{sql}");
        }
    }
    let absent = format!("EXPLAIN ANALYZE SELECT n FROM t WHERE id = '{}'", key(-1));
    let plan = answer(&world.engine(Toggle::Auto), &absent).await.unwrap();
    for counter in ["segments_scanned=1", "segments_pruned=2", "segments_pruned_by_bloom=2"] {
        assert!(plan.contains(counter), "{plan}");
    }
}

#[tokio::test]
async fn a_segment_that_is_loaded_anyway_or_small_is_not_asked() {
    let small = keys(2_000).await;
    let absent = format!("SELECT count(*) FROM t WHERE id = '{}'", key(-1));
    assert_eq!(pruned(&small.engine(Toggle::Auto), &absent).await, Some(0));
    assert_eq!(pruned(&small.engine(Toggle::On), &absent).await, Some(2));
    let world = keys(60_000).await;
    let engine = world.engine(Toggle::Auto);
    assert_eq!(number(&engine, "SELECT count(DISTINCT id) FROM t").await, Ok(120_010));
    world.store.take();
    assert_eq!(pruned(&engine, &absent).await, Some(0), "in memory");
    assert_eq!(world.store.take(), 0);
}

/// The columns cannot be read, so an answer comes without them; and damage to a filter is never an answer.
#[tokio::test]
async fn damage_is_an_error_or_not_looked_at() {
    let world = keys(60_000).await;
    world.damage(0, std::iter::once(100)).await;
    let engine = world.engine(Toggle::Auto);
    let absent = format!("SELECT count(*) FROM t WHERE id = '{}'", key(-1));
    assert_eq!(number(&engine, &absent).await, Ok(0));
    let present = format!("SELECT count(*) FROM t WHERE id = '{}'", key(3));
    let error = number(&engine, &present).await.unwrap_err();
    assert!(error.contains(&world.segments[0].path), "{error}");
    // The filter lies between the columns and the index block.
    let world = keys(60_000).await;
    let end = world.segments[1].index_offset as usize;
    world.damage(1, (end / 2..end).step_by(1 << 16)).await;
    for toggle in [Toggle::Auto, Toggle::On] {
        let error = number(&world.engine(toggle), &absent).await.unwrap_err();
        assert!(error.contains("corrupt") && error.contains(&world.segments[1].path), "{error}");
    }
}

const TYPES: &str = "
name: t
columns:
  - {name: i, type: INT, index: [bloom]}
  - {name: l, type: LONG, index: [inverted, bloom]}
  - {name: d, type: DATE, index: [bloom]}
  - {name: at, type: TIMESTAMP(3), index: [bloom]}
  - {name: at6, type: TIMESTAMP(6), index: [bloom]}
  - {name: s, type: STRING, index: [bloom]}
  - {name: u, type: UUID, index: [bloom]}
  - {name: b, type: BYTES, index: [bloom]}
  - {name: f, type: DOUBLE}
  - {name: q, type: BOOLEAN}
sort_key: [q]
stream: {brokers: 'localhost:9092', topic: t}
";

fn uuid(number: i64) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

/// Values 0, 2, 4 .. of a segment, with NULL among them; the odd ones are nowhere, between the bounds.
async fn types() -> World {
    let mut random = StdRng::seed_from_u64(7);
    World::new(TYPES, &[300, 300, 300, 50], move |writer, offset| {
        let even = i64::from(random.random_range(0..200_i32)) * 2 + offset / 300 * 20;
        let (text, id, bytes) = (format!("text {even}"), uuid(even), even.to_be_bytes());
        let mut set = |column, value| {
            writer.set(column, if random.random_ratio(1, 9) { Value::Null } else { value });
        };
        set(0, Value::I32(even as i32 - 100));
        set(1, Value::I64(even - 100));
        set(2, Value::I32(even as i32 - 100));
        set(3, Value::I64(even * 1_000));
        set(4, Value::I64(even));
        set(5, Value::Str(&text));
        set(6, Value::Str(&id));
        set(7, Value::Bytes(&bytes));
        let float = [f64::NAN, -f64::NAN, -0.0, 0.0, even as f64][even as usize % 5];
        set(8, Value::F64(float));
        set(9, Value::Bool(even % 3 == 0));
    })
    .await
}

/// A literal of each column, as users write them, in their types or others.
fn condition(random: &mut StdRng) -> String {
    let number = random.random_range(-4..500_i64);
    let at = |micros: i64| format!("1970-01-01T00:00:{:09.6}Z", micros as f64 / 1e6);
    let day = 1 + number.rem_euclid(28);
    let literals = |random: &mut StdRng| {
        let number = number + random.random_range(0..4);
        let small = number - 100;
        let choices = [
            ("i", format!("{small}")),
            ("i", format!("CAST({small} AS BIGINT)")),
            ("i", format!("{small}.0")),
            ("i", format!("{}", (1_i64 << 40) + small)),
            ("l", format!("{small}")),
            ("l", format!("CAST({small} AS INT)")),
            ("l", format!("'{small}'")),
            ("d", format!("DATE '1970-01-{day:02}'")),
            ("d", format!("'1970-02-{day:02}'")),
            ("at", format!("TIMESTAMP '{}'", at(number * 1_000))),
            ("at", format!("'{}'", at(number * 1_000 + 1))),
            ("at", format!("CAST('{}' AS TIMESTAMP)", at(number * 1_000))),
            ("at6", format!("TIMESTAMP '{}'", at(number))),
            ("s", format!("'text {number}'")),
            ("u", format!("'{}'", uuid(number))),
            ("u", format!("'{}'", uuid(number).to_uppercase())),
            ("b", format!("X'{number:016x}'")),
            ("f", format!("{number}.0")),
            ("f", "CAST('NaN' AS DOUBLE)".into()),
            ("f", "-0.0".into()),
            ("f", "0".into()),
            ("q", "true".into()),
        ];
        choices.choose(random).unwrap().clone()
    };
    let (column, literal) = literals(random);
    let mut another = || {
        let (_, other) =
            std::iter::repeat_with(|| literals(random)).find(|(other, _)| *other == column).unwrap();
        other
    };
    let second = another();
    let third = another();
    match random.random_range(0..9) {
        0..3 => format!("{column} = {literal}"),
        3 => format!("{literal} = {column}"),
        4 => format!("{column} IN ({literal}, {second}, {third})"),
        5 => format!("{column} IN ({literal}, NULL)"),
        6 => format!("({column} = {literal} OR {column} = {second})"),
        7 => format!("{column} NOT IN ({literal}, {second})"),
        _ => format!("({column} IS NOT DISTINCT FROM {literal})"),
    }
}

#[tokio::test]
async fn no_answer_depends_on_filters() {
    let world = types().await;
    let (on, off) = (world.engine(Toggle::On), world.engine(Toggle::Off));
    let mut random = StdRng::seed_from_u64(3);
    let mut found = 0;
    for round in 0..400 {
        let (one, two) = (condition(&mut random), condition(&mut random));
        let filter = match round % 4 {
            0 | 1 => one,
            2 => format!("{one} AND {two}"),
            _ => format!("({one} OR {two})"),
        };
        let sql = match round % 3 {
            0 => format!("SELECT count(*), sum(l) FROM t WHERE {filter}"),
            1 => format!("SELECT q, count(u) FROM t WHERE {filter} GROUP BY q ORDER BY q"),
            _ => format!("SELECT s, \"$offset\" FROM t WHERE {filter} ORDER BY \"$offset\""),
        };
        let expected = answer(&off, &sql).await;
        assert_eq!(answer(&on, &sql).await, expected, "{sql}");
        assert!(expected.is_ok(), "{sql}: {expected:?}");
        found += usize::from(expected.is_ok_and(|table| table.lines().count() > 4));
    }
    assert!(found > 50, "{found} answers with rows");
}

#[tokio::test]
async fn values_of_every_type_are_asked_for() {
    let world = types().await;
    let on = world.engine(Toggle::On);
    // Odd, so nowhere, but between the bounds of all segments.
    for (filter, expected) in [
        ("i = 201", Some(3)),
        ("i = CAST(201 AS BIGINT)", Some(3)),
        ("CAST(201 AS BIGINT) = i", Some(3)),
        ("i IN (201, 203, 205)", Some(3)),
        ("i = 201 OR i = 203", Some(3)),
        ("l = 201", Some(3)),
        ("l = 201 AND q", Some(3)),
        ("d = DATE '1970-07-21'", Some(3)),
        ("d = '1970-07-21'", Some(3)),
        ("at = TIMESTAMP '1970-01-01T00:00:00.301Z'", Some(3)),
        ("at = '1970-01-01T00:00:00.301'", Some(3)),
        ("at6 = TIMESTAMP '1970-01-01T00:00:00.000301Z'", Some(3)),
        ("s = 'text 301'", Some(3)),
        ("u = '00000000-0000-4000-8000-00000000012d'", Some(3)),
        ("b = X'000000000000012d'", Some(3)),
        // Nothing that a filter knows.
        ("f = 301.0", None),
        ("f = -0.0", None),
        ("f = CAST('NaN' AS DOUBLE)", None),
        ("l <> 201", None),
        ("l NOT IN (201, 203)", None),
        ("l = 201 OR q", None),
        ("l + 1 = 202", None),
        ("l IS NULL", None),
        ("i IS NOT DISTINCT FROM 201", None),
    ] {
        let sql = format!("SELECT count(*) FROM t WHERE {filter}");
        assert_eq!(pruned(&on, &sql).await, expected, "{filter}");
    }
}
