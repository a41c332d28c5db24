//! Messages to segments: a table while it is being filled, in one process or in one of several.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use headwater_ingest::decode::JsonDecoder;
use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::LiveTable;
use headwater_segment::log::{Change, Commit, TableLog};
use headwater_segment::mutable::{DeadLetter, MutableSegment, SegmentWriter};
use headwater_segment::schema::TableSchema;
use headwater_segment::sealed::{SealRequest, SegmentMeta, encode};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use rand::Rng;
use rand::rngs::StdRng;
use ulid::Ulid;

use crate::message::Message;
use crate::reference::row_of;
use crate::world::{Form, Stream};

/// One table while it is being filled. The writers live as long: an open segment without one would be no open segment.
pub(crate) struct Filling<'s> {
    pub(crate) stream: &'s Stream,
    schema: Arc<TableSchema>,
    store: Arc<dyn ObjectStore>,
    /// The table in the one process.
    pub(crate) live: Arc<LiveTable>,
    budget: Arc<MemoryBudget>,
    decoder: JsonDecoder,
    writers: Vec<SegmentWriter>,
    /// Where the next stretch of each partition begins.
    pub(crate) next: BTreeMap<i32, i64>,
}

impl<'s> Filling<'s> {
    pub(crate) async fn new(stream: &'s Stream) -> Self {
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

    pub(crate) async fn stretch(
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
                self.commit(self.live.log(), &segment, from..to).await;
                self.live.adopt(self.live.log().snapshot(), Some(&segment));
                return;
            }
            Form::Unadopted => {
                self.live.open_segment(Arc::clone(&segment));
                self.commit(self.live.log(), &segment, from..to).await;
            }
            Form::Overlapped => {
                self.live.open_segment(Arc::clone(&segment));
                let middle = random.random_range(from..=to);
                self.commit(self.live.log(), &segment, from..middle).await;
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

    /// The table's log as another process finds it now.
    pub(crate) async fn open_log(&self) -> TableLog {
        let log = TableLog::open(Arc::clone(&self.store), self.live.root().clone()).await;
        log.unwrap().unwrap()
    }

    /// The table in another process, with nothing open.
    pub(crate) fn table(&self, log: TableLog) -> Arc<LiveTable> {
        LiveTable::new(log, Arc::clone(&self.store), self.live.root().clone())
    }

    /// The messages at these offsets as another process has them.
    pub(crate) fn fill(
        &mut self,
        partition: i32,
        offsets: Range<i64>,
    ) -> (SegmentWriter, Arc<MutableSegment>) {
        let (schema, budget) = (Arc::clone(&self.schema), Arc::clone(&self.budget));
        let (mut writer, segment) = MutableSegment::create(schema, partition, offsets.start, budget);
        self.grow(&mut writer, partition, offsets);
        (writer, segment)
    }

    /// Appends the messages at these offsets, and makes them visible.
    pub(crate) fn grow(&mut self, writer: &mut SegmentWriter, partition: i32, offsets: Range<i64>) {
        let stream = self.stream;
        let messages = &stream.partitions[&partition];
        for message in messages.iter().filter(|message| offsets.contains(&message.offset)) {
            self.append(writer, partition, message);
        }
        writer.publish(offsets.end);
    }

    /// Encodes and uploads a range. `None`: it has no rows.
    pub(crate) async fn upload(
        &self,
        segment: &Arc<MutableSegment>,
        range: Range<i64>,
    ) -> Option<Arc<SegmentMeta>> {
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
        Some(Arc::new(sealed.meta))
    }

    /// Seals a range, in the log as one process has it.
    pub(crate) async fn commit(&self, log: &TableLog, segment: &Arc<MutableSegment>, range: Range<i64>) {
        if range.is_empty() {
            return;
        }
        let (partition, from, to) = (segment.partition(), range.start, range.end);
        let change = match self.upload(segment, range).await {
            Some(meta) => Change::Segment { epoch: 0, meta, schema: Arc::clone(&self.schema) },
            None => Change::Offsets { epoch: 0, schema: Arc::clone(&self.schema), partition, from, to },
        };
        log.commit(&commit(change)).await.unwrap();
    }

    /// Puts one segment in the place of two neighbours.
    pub(crate) async fn compact(&mut self, log: &TableLog, old: [&SegmentMeta; 2]) {
        let (from, to) = (old[0].from, old[1].to);
        let (_writer, segment) = self.fill(old[0].partition, from..to);
        let new = self.upload(&segment, from..to).await.unwrap();
        let old = old.map(|segment| segment.id).to_vec();
        log.compact(0, old, new, Arc::clone(&self.schema)).await.unwrap();
    }
}

fn commit(change: Change) -> Commit {
    Commit { id: Ulid::new(), at_ms: 1_700_000_000_000, change }
}
