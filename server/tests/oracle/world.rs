//! The path under test: messages through the decoder into mutable segments, some of them sealed and committed, all of
//! them in the tables of one query engine.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt;
use headwater_broker::engine::{EngineConfig, ExecuteOptions, QueryEngine, Toggle, error_of};
use headwater_broker::request::{QueryAnswer, QueryRequest};
use headwater_ingest::decode::JsonDecoder;
use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::{LiveTable, Tables};
use headwater_segment::log::{Change, Commit, TableLog};
use headwater_segment::mutable::{DeadLetter, MutableSegment, SegmentWriter};
use headwater_segment::schema::TableSchema;
use headwater_segment::sealed::{SealRequest, encode};
use headwater_segment::spec::TableSpec;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use rand::Rng;
use rand::rngs::StdRng;
use tempfile::TempDir;
use ulid::Ulid;

use crate::message::Message;
use crate::reference::{Datum, row_of};
use arrow::array::RecordBatch;

/// A table as the stream has it.
pub(crate) struct Stream {
    pub(crate) spec: TableSpec,
    pub(crate) partitions: BTreeMap<i32, Vec<Message>>,
}

impl Stream {
    /// The rows that the second decoder finds.
    pub(crate) fn reference_rows(&self) -> Vec<Vec<Datum>> {
        let messages = self.partitions.iter().flat_map(|(partition, messages)| {
            messages.iter().filter_map(|message| row_of(&self.spec, *partition, message))
        });
        messages.collect()
    }
}

/// What has become of a stretch of offsets. In this order along a partition; the last stretch is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    /// Committed, and the mutable segment gone.
    Sealed,
    /// Committed by another process: the log that readers use may not know it yet, the rows are still in memory.
    Unadopted,
    /// Another process has committed the first part, and readers know.
    Overlapped,
    /// Encoded and uploaded, but not committed.
    Sealing,
    Open,
}

/// Every query runs with inverted indexes and bloom filters by choice, wherever they are possible, and never; and with and
/// without zone maps, the fused aggregate and kept plans.
const ENGINES: [(&str, ExecuteOptions); 4] = [
    ("by choice", options(Toggle::Auto, true, true)),
    ("forced on", options(Toggle::On, true, true)),
    ("without zone maps", options(Toggle::Auto, false, true)),
    ("forced off", options(Toggle::Off, false, false)),
];

const fn options(indexes: Toggle, zones: bool, others: bool) -> ExecuteOptions {
    ExecuteOptions { indexes, zones, aggregate: others, plans: others }
}

/// A query engine, by how it was told to execute.
pub(crate) struct Engine {
    pub(crate) name: &'static str,
    pub(crate) keeps_plans: bool,
    engine: QueryEngine,
}

/// The engines over the tables. The writers live as long: an open segment without one would be no open segment.
pub(crate) struct World {
    engines: Vec<Engine>,
    _writers: Vec<SegmentWriter>,
    _resident_dir: TempDir,
    /// Which stretches are in which form, for the report of a failure.
    pub(crate) mixture: String,
}

impl World {
    pub(crate) async fn new(random: &mut StdRng, streams: &[Stream]) -> Self {
        let tables = Tables::default();
        let mut writers = Vec::new();
        let mut mixture = String::new();
        for stream in streams {
            let mut filling = Filling::new(stream).await;
            for (partition, messages) in &stream.partitions {
                let _ = write!(mixture, "\n  {} partition {partition}:", stream.spec.name);
                for (form, stretch) in stretches(random, messages.len()) {
                    let _ = write!(mixture, " {form:?}({} messages)", stretch.len());
                    filling.stretch(random, *partition, messages, stretch, form).await;
                }
            }
            writers.append(&mut filling.writers);
            tables.insert(filling.live);
        }
        let tables = Arc::new(tables);
        let resident_dir = tempfile::tempdir().unwrap();
        let engines = ENGINES.map(|(name, execute)| {
            let config = EngineConfig {
                threads: random.random_range(1..4),
                execute,
                // Of the engines one maps its resident columns from files.
                resident_dir: (execute.indexes == Toggle::On).then(|| resident_dir.path().to_owned()),
                ..EngineConfig::default()
            };
            let engine = QueryEngine::new(config, Arc::clone(&tables)).unwrap();
            Engine { name, keeps_plans: execute.plans, engine }
        });
        Self { engines: engines.into(), _writers: writers, _resident_dir: resident_dir, mixture }
    }

    pub(crate) fn engines(&self) -> &[Engine] {
        &self.engines
    }
}

impl Engine {
    /// The answer, or the error as text; whether the plan of an earlier run was used; and in how many sealed segments its
    /// partial aggregates.
    pub(crate) async fn run(&self, sql: &str) -> (Result<Vec<RecordBatch>, String>, bool, u64) {
        let request = QueryRequest { sql: sql.to_owned(), ..QueryRequest::default() };
        match self.engine.run(request).await {
            Ok(answer) => {
                let is_kept = answer.stats.plan_kept.load(Ordering::Relaxed);
                let stats = Arc::clone(&answer.stats);
                let batches = batches(answer).await;
                (batches, is_kept, stats.segments_kept.load(Ordering::Relaxed))
            }
            Err(error) => (Err(error.to_string()), false, 0),
        }
    }
}

async fn batches(mut answer: QueryAnswer) -> Result<Vec<RecordBatch>, String> {
    let mut batches = vec![RecordBatch::new_empty(Arc::clone(&answer.schema))];
    while let Some(batch) = answer.stream.next().await {
        batches.push(batch.map_err(|error| error_of(&error).to_string())?);
    }
    Ok(batches)
}

/// So many messages make more rows than a block of a segment has (8192), although some are no rows.
const BLOCK_MESSAGES: usize = 9300;

/// Cuts the messages of a partition into stretches.
fn stretches(random: &mut StdRng, messages: usize) -> Vec<(Form, Range<usize>)> {
    use Form::{Open, Overlapped, Sealed, Sealing, Unadopted};
    if messages > BLOCK_MESSAGES {
        // More than one block in one segment, and another segment behind it.
        let form = [Sealed, Sealing, Unadopted][random.random_range(0..3)];
        let cut = random.random_range(BLOCK_MESSAGES..=messages);
        return vec![(form, 0..cut), (Open, cut..messages)];
    }
    let mut forms: Vec<Form> = match random.random_range(0..8) {
        0 => vec![],
        1 => vec![Sealed; random.random_range(1..4)],
        2 => vec![Sealing; random.random_range(1..4)],
        _ => (0..random.random_range(1..5))
            .map(|_| [Sealed, Sealed, Unadopted, Overlapped, Sealing][random.random_range(0..5)])
            .collect(),
    };
    forms.sort();
    forms.dedup_by(|a, b| *a == Overlapped && a == b);
    forms.push(Open);
    let mut cuts: Vec<usize> = (1..forms.len()).map(|_| random.random_range(0..=messages)).collect();
    // Sometimes everything is sealed or sealing.
    if let Some(last) = cuts.last_mut()
        && random.random_ratio(1, 3)
    {
        *last = messages;
    }
    cuts.sort();
    let starts: Vec<usize> = std::iter::once(0).chain(cuts.iter().copied()).collect();
    let ends = cuts.into_iter().chain([messages]);
    forms.into_iter().zip(starts.into_iter().zip(ends).map(|(start, end)| start..end)).collect()
}

/// One table while it is being filled.
struct Filling<'s> {
    stream: &'s Stream,
    schema: Arc<TableSchema>,
    store: Arc<dyn ObjectStore>,
    live: Arc<LiveTable>,
    budget: Arc<MemoryBudget>,
    decoder: JsonDecoder,
    writers: Vec<SegmentWriter>,
    /// Where the next stretch of each partition begins.
    next: BTreeMap<i32, i64>,
}

impl<'s> Filling<'s> {
    async fn new(stream: &'s Stream) -> Self {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let root = Path::from(format!("tables/{}", stream.spec.name));
        let log = TableLog::create(Arc::clone(&store), root.clone(), &stream.spec).await.unwrap();
        let first = |(partition, messages): (&i32, &Vec<Message>)| {
            (*partition, messages.first().map_or(0, |message| message.offset))
        };
        let next: BTreeMap<i32, i64> = stream.partitions.iter().map(first).collect();
        log.commit(&commit(Change::FirstStart { epoch: 0, starts: next.clone(), topic_id: None }))
            .await
            .unwrap();
        let live = LiveTable::new(log, Arc::clone(&store), root);
        let schema = live.schema();
        let decoder = JsonDecoder::new(&schema, &stream.spec);
        let budget = MemoryBudget::new(1 << 30);
        Self { stream, schema, store, live, budget, decoder, writers: Vec::new(), next }
    }

    async fn stretch(
        &mut self,
        random: &mut StdRng,
        partition: i32,
        messages: &[Message],
        stretch: Range<usize>,
        form: Form,
    ) {
        let from = self.next[&partition];
        // A hole between two stretches belongs to either.
        let last = messages[stretch.clone()].last().map_or(from, |message| message.offset + 1);
        let to = match messages.get(stretch.end) {
            Some(next) if random.random_bool(0.5) => next.offset,
            _ => last,
        };
        self.next.insert(partition, to);
        let (mut writer, segment) =
            MutableSegment::create(Arc::clone(&self.schema), partition, from, Arc::clone(&self.budget));
        for message in &messages[stretch.clone()] {
            self.append(&mut writer, partition, message);
            if random.random_ratio(1, 10) {
                writer.publish(message.offset + 1);
            }
        }
        writer.publish(to);
        match form {
            Form::Sealed => {
                if random.random_bool(0.5) {
                    self.live.open_segment(Arc::clone(&segment));
                }
                self.commit(&segment, from..to).await;
                self.live.adopt(self.live.log().snapshot(), Some(&segment));
                return;
            }
            Form::Unadopted => {
                self.live.open_segment(Arc::clone(&segment));
                self.commit(&segment, from..to).await;
            }
            Form::Overlapped => {
                self.live.open_segment(Arc::clone(&segment));
                let middle = random.random_range(from..=to);
                self.commit(&segment, from..middle).await;
                self.live.adopt(self.live.log().snapshot(), None);
            }
            Form::Sealing => {
                self.live.open_segment(Arc::clone(&segment));
                self.upload(&segment, from..to).await;
            }
            Form::Open => {
                self.live.open_segment(segment);
                // Rows that are not published yet are in no answer.
                for (message, offset) in messages.iter().take(random.random_range(0..4)).zip(to..) {
                    let early = Message { offset, ..message.clone() };
                    self.append(&mut writer, partition, &early);
                }
            }
        }
        self.writers.push(writer);
    }

    /// What the consumer does with a message; both decoders must agree on whether it is a row.
    fn append(&mut self, writer: &mut SegmentWriter, partition: i32, message: &Message) {
        let Some(payload) = &message.payload else { return };
        let key = message.key.as_deref();
        let outcome = self.decoder.decode(payload, key, message, writer);
        let reference = row_of(&self.stream.spec, partition, message);
        assert_eq!(
            outcome.is_ok(),
            reference.is_some(),
            "the decoders disagree on {:?} (key {key:?}, headers {:?}): {outcome:?}, reference {reference:?}, spec {}",
            String::from_utf8_lossy(payload),
            message.headers,
            self.stream.spec.to_json(),
        );
        match outcome {
            Ok(()) => {
                writer.finish_row(
                    message.offset,
                    message.timestamp_ms,
                    key,
                    message.headers_json().as_deref(),
                );
            }
            Err(error) => {
                writer.abandon_row();
                let (offset, at, reason) = (message.offset, message.timestamp_ms, error.to_string());
                writer.dead_letter(DeadLetter::new(partition, offset, at, reason, payload, key));
            }
        }
    }

    /// Encodes and uploads a range. `None`: it has no rows.
    async fn upload(&self, segment: &Arc<MutableSegment>, range: Range<i64>) -> Option<Change> {
        let rows = segment.rows_below(range.start)..segment.rows_below(range.end);
        if rows.is_empty() {
            return None;
        }
        let columns: Vec<usize> = (0..self.schema.columns().len()).collect();
        let request = SealRequest {
            schema: &self.schema,
            table: &self.stream.spec.name,
            partition: segment.partition(),
            from: range.start,
            to: range.end,
            id: Ulid::new(),
            dead_letters: 0,
            rows: segment.batches(rows, &columns).collect::<Result<_, _>>().unwrap(),
            keep: Vec::new(),
        };
        let sealed = encode(request).unwrap();
        self.store.put(&sealed.meta.location(self.live.root()), sealed.bytes.into()).await.unwrap();
        Some(Change::Segment { epoch: 0, meta: Arc::new(sealed.meta), schema: Arc::clone(&self.schema) })
    }

    async fn commit(&self, segment: &Arc<MutableSegment>, range: Range<i64>) {
        if range.is_empty() {
            return;
        }
        let (partition, from, to) = (segment.partition(), range.start, range.end);
        let empty = Change::Offsets { epoch: 0, partition, from, to };
        let change = self.upload(segment, range).await.unwrap_or(empty);
        self.live.log().commit(&commit(change)).await.unwrap();
    }
}

fn commit(change: Change) -> Commit {
    Commit { id: Ulid::new(), at_ms: 1_700_000_000_000, change }
}
