//! The path of a row, step by step, without Kafka: decode, append, snapshot, seal.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use headwater_bench::Result;
use headwater_bench::events::{Events, preloaded_time, spec};
use headwater_ingest::decode::JsonDecoder;
use headwater_segment::budget::MemoryBudget;
use headwater_segment::mutable::{MutableSegment, SegmentWriter};
use headwater_segment::schema::TableSchema;
use headwater_segment::sealed::{SealRequest, encode};
use headwater_segment::spec::TableSpec;
use headwater_segment::value::{RowSink, Value};

const DECODED_EVENTS: usize = 20_000;
const SNAPSHOT_ROWS: usize = 1_000_000;
const SEALED_ROWS: usize = 200_000;

struct Nothing;

impl RowSink for Nothing {
    fn set(&mut self, column: usize, value: Value<'_>) {
        black_box((column, value));
    }
}

struct Fixture {
    spec: TableSpec,
    schema: Arc<TableSchema>,
}

impl Fixture {
    fn new() -> Result<Self> {
        let spec = spec()?;
        let schema = Arc::new(TableSchema::new(&spec));
        Ok(Self { spec, schema })
    }

    fn decoder(&self) -> JsonDecoder {
        JsonDecoder::new(&self.schema, &self.spec)
    }

    fn segment(&self) -> (SegmentWriter, Arc<MutableSegment>) {
        MutableSegment::create(self.schema.clone(), 0, 0, MemoryBudget::new(u64::MAX / 2))
    }

    /// A segment with that many events.
    fn filled(&self, rows: usize) -> Result<Arc<MutableSegment>> {
        let (mut writer, segment) = self.segment();
        fill(&mut writer, &mut self.decoder(), &messages(rows))?;
        Ok(segment)
    }
}

fn messages(count: usize) -> Vec<Vec<u8>> {
    let mut events = Events::new(1);
    (0..count as u64).map(|number| events.next(&preloaded_time(number)).to_vec()).collect()
}

fn fill(writer: &mut SegmentWriter, decoder: &mut JsonDecoder, messages: &[Vec<u8>]) -> Result<()> {
    for (offset, message) in messages.iter().enumerate() {
        decoder.decode(message, None, &(), writer)?;
        writer.finish_row(offset as i64, Some(1_767_225_600_000 + offset as i64), None, None);
    }
    writer.publish(messages.len() as i64);
    Ok(())
}

fn bytes(messages: &[Vec<u8>]) -> Throughput {
    Throughput::Bytes(messages.iter().map(|message| message.len() as u64).sum())
}

fn decode(criterion: &mut Criterion) {
    let fixture = Fixture::new().expect("the spec of the benchmarks is valid");
    let messages = messages(DECODED_EVENTS);
    let mut group = criterion.benchmark_group("decode");
    group.throughput(bytes(&messages));
    let mut decoder = fixture.decoder();
    group.bench_function("into nothing", |bencher| {
        bencher.iter(|| {
            for message in &messages {
                decoder
                    .decode(message, None, &(), &mut Nothing)
                    .expect("events of the benchmarks fit their table");
            }
        });
    });
    group.bench_function("into a segment", |bencher| {
        bencher.iter_batched(
            || fixture.segment(),
            |(mut writer, segment)| {
                fill(&mut writer, &mut decoder, &messages).expect("events of the benchmarks fit their table");
                (writer, segment)
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// The same values again and again: what the segment costs without the decoder.
fn append(criterion: &mut Criterion) {
    let fixture = Fixture::new().expect("the spec of the benchmarks is valid");
    let texts: Vec<String> = (0..DECODED_EVENTS).map(|number| format!("{number:036}")).collect();
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(DECODED_EVENTS as u64));
    group.bench_function("ten columns", |bencher| {
        bencher.iter_batched(
            || fixture.segment(),
            |(mut writer, segment)| {
                for (number, text) in texts.iter().enumerate() {
                    append_row(&mut writer, number as i64, text);
                }
                writer.publish(texts.len() as i64);
                (writer, segment)
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// The columns of [`headwater_bench::events`], by their order.
fn append_row(writer: &mut SegmentWriter, number: i64, distinct: &str) {
    let cities = ["Lisbon", "Berlin", "Osaka", "Lagos", "Quito", "Tunis", "Hanoi"];
    writer.set(0, Value::Str(distinct));
    writer.set(1, Value::I64(number));
    writer.set(2, Value::Str(cities[number as usize % cities.len()]));
    writer.set(3, Value::Str("economy"));
    writer.set(4, Value::Str(if number % 3 == 0 { "requested" } else { "completed" }));
    writer.set(5, Value::F64(number as f64 / 10.0));
    writer.set(6, Value::I128(i128::from(number)));
    writer.set(7, Value::Str("EUR"));
    writer.set(8, Value::I64(number * 7));
    writer.set(9, Value::I64(number * 3));
    writer.finish_row(number, Some(number), None, None);
}

fn snapshot(criterion: &mut Criterion) {
    let fixture = Fixture::new().expect("the spec of the benchmarks is valid");
    let segment = fixture.filled(SNAPSHOT_ROWS).expect("events of the benchmarks fit their table");
    let read = |columns: &[usize]| {
        let rows = segment.rows_below(segment.next_offset());
        for batch in segment.batches(0..rows, columns) {
            black_box(batch.expect("rows of a segment make batches"));
        }
    };
    let mut group = criterion.benchmark_group("snapshot of a million rows");
    group.throughput(Throughput::Elements(SNAPSHOT_ROWS as u64));
    group.bench_function("two numbers", |bencher| bencher.iter(|| read(&[5, 8])));
    group.bench_function("city", |bencher| bencher.iter(|| read(&[2])));
    group.bench_function("order_id", |bencher| bencher.iter(|| read(&[0])));
    let all: Vec<usize> = (0..fixture.schema.columns().len()).collect();
    group.bench_function("all columns", |bencher| bencher.iter(|| read(&all)));
    group.finish();
}

fn seal(criterion: &mut Criterion) {
    let fixture = Fixture::new().expect("the spec of the benchmarks is valid");
    let segment = fixture.filled(SEALED_ROWS).expect("events of the benchmarks fit their table");
    let all: Vec<usize> = (0..fixture.schema.columns().len()).collect();
    let mut group = criterion.benchmark_group("seal");
    group.throughput(Throughput::Elements(SEALED_ROWS as u64)).sample_size(10);
    group.bench_function("200,000 rows", |bencher| {
        bencher.iter(|| {
            let rows = segment.batches(0..SEALED_ROWS, &all).collect::<std::result::Result<_, _>>();
            encode(SealRequest {
                schema: &fixture.schema,
                table: "events",
                partition: 0,
                from: 0,
                to: SEALED_ROWS as i64,
                id: ulid::Ulid::nil(),
                dead_letters: 0,
                rows: rows.expect("rows of a segment make batches"),
                keep: Vec::new(),
            })
            .expect("these rows can be encoded")
        });
    });
    group.finish();
}

fn configuration() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5))
        .sample_size(30)
}

criterion_group!(name = benches; config = configuration(); targets = decode, append, snapshot, seal);
criterion_main!(benches);
