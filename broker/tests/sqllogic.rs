//! The `.slt` files beside this one, over a small fixed table of which one half is sealed and one half open.
//!
//! `HEADWATER_SLT_UPDATE=1` writes the present answers into the files. Read the difference: an answer is right because
//! SQL says so, not because it came out.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use Value::{Bool, Bytes, F64, I32, I64, I128, List, Null, Str};
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use futures::StreamExt;
use headwater_broker::QueryError;
use headwater_broker::engine::{EngineConfig, QueryEngine, error_of};
use headwater_broker::request::{ClientKind, QueryRequest};
use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::{LiveTable, Tables};
use headwater_segment::log::{Change, Commit, TableLog};
use headwater_segment::mutable::{DeadLetter, MutableSegment, SegmentWriter};
use headwater_segment::sealed::{SealRequest, encode};
use headwater_segment::spec::parse_spec;
use headwater_segment::value::{RowSink, Value};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use sqllogictest::{
    AsyncDB, DBOutput, DefaultColumnType, Runner, default_normalizer, default_validator,
    strict_column_validator,
};
use ulid::Ulid;

const ORDERS: &str = "
name: orders
columns:
  - {name: id, type: LONG, nullable: false}
  - {name: city, type: STRING}
  - {name: amount, type: 'DECIMAL(10,2)'}
  - {name: items, type: INT}
  - {name: price, type: DOUBLE}
  - {name: paid, type: BOOLEAN}
  - {name: placedAt, type: TIMESTAMP(3)}
  - {name: day, type: DATE}
  - {name: tags, type: ARRAY<STRING>}
  - {name: detail, type: JSON}
  - {name: rider, type: UUID}
  - {name: raw, type: BYTES}
time_column: placedAt
sort_key: [city]
stream: {brokers: 'localhost:9092', topic: orders}
";

const CITIES: &str = "
name: cities
columns:
  - {name: name, type: STRING, nullable: false}
  - {name: country, type: STRING}
  - {name: population, type: LONG}
stream: {brokers: 'localhost:9092', topic: cities}
";

const RIDER_1: Value<'static> = Str("00000000-0000-0000-0000-000000000001");
const RIDER_2: Value<'static> = Str("00000000-0000-0000-0000-000000000002");

/// 2024-03-01 in days since the epoch.
const MARCH: i32 = 19_783;

/// 2024-03-01T10:00:00Z and some seconds.
const fn at(seconds: i64) -> Value<'static> {
    I64((1_709_287_200 + seconds) * 1_000_000)
}

/// Partition, offset, values. Partition 1 has no offset 2.
type Row = (i32, i64, &'static [Value<'static>]);

const ORDER_ROWS: [Row; 9] = [
    (
        0,
        0,
        &[
            I64(1),
            Str("Oslo"),
            I128(1250),
            I32(2),
            F64(1.5),
            Bool(true),
            at(0),
            I32(MARCH),
            List(&[Str("a"), Str("b")]),
            Str(r#"{"vip":true,"n":1,"from":{"lat":59.9}}"#),
            RIDER_1,
            Bytes(b"\x00\xff"),
        ],
    ),
    (
        0,
        1,
        &[
            I64(2),
            Str("Bergen"),
            I128(725),
            I32(1),
            F64(0.25),
            Bool(false),
            at(900),
            I32(MARCH),
            List(&[]),
            Str(r#"{"vip":false,"n":2}"#),
            RIDER_2,
            Bytes(b""),
        ],
    ),
    (0, 2, &[I64(3), Null, Null, Null, Null, Null, Null, Null, Null, Null, Null, Null]),
    (
        0,
        3,
        &[
            I64(4),
            Str("Oslo"),
            I128(10_000),
            I32(3),
            F64(f64::NAN),
            Bool(true),
            at(2700),
            I32(MARCH),
            List(&[Str("b"), Null]),
            Str("[1, 2, 3]"),
            RIDER_1,
            Bytes(b"abc"),
        ],
    ),
    (
        0,
        4,
        &[
            I64(5),
            Str("Hamar"),
            I128(1),
            I32(5),
            F64(-0.5),
            Bool(false),
            at(3900),
            I32(MARCH),
            List(&[Str("c")]),
            Str(r#"{"n":"five"}"#),
            RIDER_2,
            Null,
        ],
    ),
    (
        1,
        0,
        &[
            I64(6),
            Str("Bergen"),
            I128(725),
            I32(4),
            F64(2.5),
            Bool(true),
            at(50_400),
            I32(MARCH + 1),
            List(&[Str("a")]),
            Str(r#"{"vip":true,"n":6}"#),
            Null,
            Bytes(b"abc"),
        ],
    ),
    (
        1,
        1,
        &[
            I64(7),
            Str("Oslo"),
            I128(-3_00),
            I32(1),
            F64(f64::INFINITY),
            Null,
            at(84_600),
            I32(MARCH + 1),
            Null,
            Str("null"),
            RIDER_1,
            Bytes(b"\x00"),
        ],
    ),
    (
        1,
        3,
        &[
            I64(8),
            Str("Å"),
            I128(5555),
            I32(2),
            F64(0.0),
            Bool(false),
            I64(1_709_251_199_999_000),
            I32(MARCH - 1),
            List(&[Str("a"), Str("a")]),
            Str("7"),
            RIDER_2,
            Null,
        ],
    ),
    (
        1,
        4,
        &[
            I64(9),
            Str("Hamar"),
            I128(2000),
            Null,
            F64(3.25),
            Bool(true),
            at(180_000),
            I32(MARCH + 2),
            List(&[Str("b"), Str("c")]),
            Null,
            Null,
            Bytes(b"\xc3\x85"),
        ],
    ),
];

const CITY_ROWS: [Row; 4] = [
    (0, 0, &[Str("Oslo"), Str("Norway"), I64(717_710)]),
    (0, 1, &[Str("Bergen"), Str("Norway"), I64(291_940)]),
    (0, 2, &[Str("Å"), Null, I64(2)]),
    (0, 3, &[Str("Paris"), Str("France"), I64(2_102_650)]),
];

/// A table from rows. `sealed` says how far each partition is sealed.
async fn table(spec: &str, rows: &[Row], sealed: &[(i32, i64)], tables: &Tables) -> Vec<SegmentWriter> {
    let spec = parse_spec(spec).unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let root = object_store::path::Path::from(format!("tables/{}", spec.name));
    let log = TableLog::create(Arc::clone(&store), root.clone(), &spec).await.unwrap();
    let starts = sealed.iter().map(|(partition, _)| (*partition, 0)).collect();
    commit(&log, Change::FirstStart { epoch: 0, starts, topic_id: None }).await;
    let live = LiveTable::new(log, Arc::clone(&store), root.clone());
    let (schema, budget) = (live.schema(), MemoryBudget::new(1 << 24));
    let mut writers = Vec::new();
    for (partition, middle) in sealed.iter().copied() {
        for range in [0..middle, middle..i64::MAX] {
            let (mut writer, segment) =
                MutableSegment::create(Arc::clone(&schema), partition, range.start, Arc::clone(&budget));
            let wanted = |row: &&Row| row.0 == partition && range.contains(&row.1);
            let next = rows.iter().filter(wanted).map(|row| row.1 + 1).max().unwrap_or(range.start);
            for (_, offset, values) in rows.iter().filter(wanted) {
                for (column, value) in values.iter().enumerate() {
                    writer.set(column, *value);
                }
                let (key, headers) = (format!("key {offset}"), r#"{"trace":"x"}"#);
                let headers = (partition == 1).then_some(headers);
                writer.finish_row(
                    *offset,
                    Some(1_709_287_200_000 + offset * 1000),
                    Some(key.as_bytes()),
                    headers,
                );
            }
            if range.end < i64::MAX {
                writer.publish(range.end);
                let columns: Vec<usize> = (0..schema.columns().len()).collect();
                let request = SealRequest {
                    schema: &schema,
                    table: live.name(),
                    partition,
                    from: 0,
                    to: range.end,
                    id: Ulid::new(),
                    dead_letters: 0,
                    rows: segment.batches(0..segment.visible_rows(), &columns).map(Result::unwrap).collect(),
                    keep: Vec::new(),
                };
                let sealed = encode(request).unwrap();
                store.put(&sealed.meta.location(&root), sealed.bytes.into()).await.unwrap();
                let meta = Arc::new(sealed.meta);
                let change = Change::Segment { epoch: 0, meta, schema: Arc::clone(&schema) };
                commit(live.log(), change).await;
                live.adopt(live.log().snapshot(), None);
            } else {
                let letter = DeadLetter::new(
                    partition,
                    next,
                    Some(1_709_287_200_000),
                    "$: no JSON".into(),
                    b"{",
                    None,
                );
                writer.dead_letter(letter);
                writer.publish(next + 1);
                live.open_segment(segment);
                writers.push(writer);
            }
        }
    }
    tables.insert(live);
    writers
}

async fn commit(log: &TableLog, change: Change) {
    log.commit(&Commit { id: Ulid::new(), at_ms: 1_709_300_000_000, change }).await.unwrap();
}

/// The engine as sqllogictest drives it.
struct Database {
    engine: QueryEngine,
    client: ClientKind,
    _writers: Vec<SegmentWriter>,
}

impl Database {
    async fn new(client: ClientKind) -> Self {
        let tables = Tables::default();
        let mut writers = table(ORDERS, &ORDER_ROWS, &[(0, 3), (1, 2)], &tables).await;
        writers.extend(table(CITIES, &CITY_ROWS, &[(0, 2)], &tables).await);
        let config = EngineConfig { threads: 2, ..EngineConfig::default() };
        Self { engine: QueryEngine::new(config, Arc::new(tables)).unwrap(), client, _writers: writers }
    }
}

#[async_trait]
impl AsyncDB for Database {
    type Error = QueryError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, QueryError> {
        let request = QueryRequest { sql: sql.to_owned(), client: self.client, ..QueryRequest::default() };
        let mut answer = self.engine.run(request).await?;
        let types = answer.schema.fields().iter().map(|field| column_type(field.data_type())).collect();
        let mut rows = Vec::new();
        while let Some(batch) = answer.stream.next().await {
            rows.extend(cells(&batch.map_err(|error| error_of(&error))?));
        }
        Ok(DBOutput::Rows { types, rows })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "headwater"
    }
}

fn column_type(data_type: &DataType) -> DefaultColumnType {
    match data_type {
        data_type if data_type.is_integer() => DefaultColumnType::Integer,
        data_type if data_type.is_numeric() => DefaultColumnType::FloatingPoint,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DefaultColumnType::Text,
        _ => DefaultColumnType::Any,
    }
}

fn cells(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let format = |column: &dyn Array, row| {
        let text = ArrayFormatter::try_new(column, &options).unwrap().value(row).to_string();
        if text.is_empty() { "(empty)".to_owned() } else { text }
    };
    let row = |row| batch.columns().iter().map(|column| format(column.as_ref(), row)).collect();
    (0..batch.num_rows()).map(row).collect()
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "slt"));
    files.sort();
    files
}

#[tokio::test]
async fn every_file_holds() {
    let update = std::env::var_os("HEADWATER_SLT_UPDATE").is_some();
    let mut faults = Vec::new();
    for file in files() {
        let client = match file.file_name().and_then(|name| name.to_str()) {
            Some("pinot_door.slt") => ClientKind::Pinot,
            Some("postgres_door.slt") => ClientKind::Postgres,
            _ => ClientKind::Http,
        };
        let mut runner = Runner::new(|| async { Ok(Database::new(client).await) });
        runner.with_column_validator(strict_column_validator);
        if update {
            let outcome = runner
                .update_test_file(&file, "  ", default_validator, default_normalizer, strict_column_validator)
                .await;
            outcome.unwrap();
        } else if let Err(fault) = runner.run_file_async(&file).await {
            faults.push(fault.display(false).to_string());
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}
