//! A worker: one thread that fetches some partitions of a table, decodes, appends and publishes.
//!
//! It never waits for an upload or a commit. Above the memory budget's high mark it seals its largest segments and
//! stops fetching until the low mark; librdkafka's own bounded queue then fills and the lag grows in Kafka.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use headwater_segment::clock::now_ms;
use headwater_segment::live::{LiveTable, PartitionStage};
use headwater_segment::schema::TableSchema;
use headwater_segment::spec::SealSpec;
use tokio::sync::mpsc::UnboundedSender;

use super::SealOutcome;
use super::partition::{PartitionIngest, PartitionParts, SealReply};
use super::supervisor::Request;
use crate::decide::SealReason;
use crate::decode::JsonDecoder;
use crate::kafka::stream::{PartitionStream, RawEvent, describe};

/// How long a fetch waits when nothing arrives; commands wait at most this long.
const FETCH_WAIT: Duration = Duration::from_millis(20);
const HOUSEKEEPING_EVERY: Duration = Duration::from_millis(100);
const HOLD_BACK_SLEEP: Duration = Duration::from_millis(5);

/// What a worker is told.
pub(crate) enum Command {
    /// Consume a partition from this offset, in the place of anything it had open.
    Start { partition: i32, offset: i64, parts: PartitionParts },
    /// Stop fetching a partition; its open rows stay queryable.
    Pause { partition: i32, stage: PartitionStage },
    /// Go on where a pause stopped. Nothing happens if the partition runs or is unknown.
    Resume { partition: i32 },
    /// Stop fetching a partition, and forget its rows: others consume it.
    Release { partition: i32 },
    /// Seal a partition's open segment now.
    Seal { partition: i32, reply: Option<SealReply> },
    /// End the thread; with `seal`, hand every open segment over first.
    Stop { seal: bool },
}

struct Slot {
    ingest: PartitionIngest,
    fetching: bool,
}

pub(crate) struct Worker {
    live: Arc<LiveTable>,
    stream: PartitionStream,
    decoder: JsonDecoder,
    /// That of the decoder. The table's may be another one by now, until its consumer starts anew.
    schema: Arc<TableSchema>,
    seal: SealSpec,
    budget: Arc<headwater_segment::budget::MemoryBudget>,
    commands: Receiver<Command>,
    supervisor: UnboundedSender<Request>,
    /// By partition number; a worker has every n-th partition, so half of a short list is empty.
    slots: Vec<Option<Box<Slot>>>,
    held_back: bool,
}

impl Worker {
    pub(crate) fn new(
        live: Arc<LiveTable>,
        stream: PartitionStream,
        budget: Arc<headwater_segment::budget::MemoryBudget>,
        commands: Receiver<Command>,
        supervisor: UnboundedSender<Request>,
    ) -> Self {
        // Of one version of the log: what says that it was read with a spec was.
        let snapshot = live.snapshot();
        let (spec, schema) = (&snapshot.spec, Arc::clone(&snapshot.schema));
        let decoder = JsonDecoder::new(&schema, spec);
        let seal = spec.seal.clone();
        Self {
            live,
            stream,
            decoder,
            schema,
            seal,
            budget,
            commands,
            supervisor,
            slots: Vec::new(),
            held_back: false,
        }
    }

    /// Runs until told to stop, or until the supervisor is gone.
    pub(crate) fn run(mut self) {
        let mut housekeeping = Instant::now();
        loop {
            if !self.obey() {
                return;
            }
            if housekeeping.elapsed() >= HOUSEKEEPING_EVERY {
                housekeeping = Instant::now();
                self.keep_house(housekeeping);
            }
            if self.hold_back() {
                std::thread::sleep(HOLD_BACK_SLEEP);
                continue;
            }
            self.fetch();
        }
    }

    /// Takes commands. Returns false when the worker is to end.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Start { partition, offset, parts }) => self.start(partition, offset, parts),
                Ok(Command::Pause { partition, stage }) => self.pause(partition, stage),
                Ok(Command::Resume { partition }) => self.resume(partition),
                Ok(Command::Release { partition }) => self.release(partition),
                Ok(Command::Seal { partition, reply }) => match (self.slot(partition), reply) {
                    (Some(slot), reply) => slot.ingest.seal(SealReason::Command, reply),
                    // Released in between. Whoever asked may have gone.
                    (None, Some(reply)) => drop(reply.send(Ok(SealOutcome::Nothing))),
                    (None, None) => {}
                },
                Ok(Command::Stop { seal }) => {
                    for slot in self.slots.iter_mut().flatten() {
                        slot.ingest.publish();
                        if seal {
                            slot.ingest.seal(SealReason::Command, None);
                        }
                    }
                    return false;
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn slot(&mut self, partition: i32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(partition).ok()?)?.as_deref_mut()
    }

    fn start(&mut self, partition: i32, offset: i64, parts: PartitionParts) {
        let Ok(index) = usize::try_from(partition) else { return };
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        let ingest = PartitionIngest::open(partition, offset, self.schema.clone(), parts);
        ingest.progress().started();
        self.slots[index] = Some(Box::new(Slot { ingest, fetching: false }));
        self.fetch_from(partition);
    }

    fn fetch_from(&mut self, partition: i32) {
        let Some(slot) = self.slots.get_mut(partition as usize).and_then(Option::as_deref_mut) else {
            return;
        };
        match self.stream.start(partition, slot.ingest.next_offset()) {
            Ok(()) => slot.fetching = true,
            Err(error) => {
                slot.ingest.progress().trouble(error.to_string());
                // The supervisor is gone only when the process ends.
                let _ = self.supervisor.send(Request::Lost { partition });
            }
        }
    }

    fn pause(&mut self, partition: i32, stage: PartitionStage) {
        self.stream.stop(partition);
        if let Some(slot) = self.slot(partition) {
            slot.fetching = false;
            slot.ingest.publish();
            slot.ingest.progress().stage(stage);
        }
    }

    fn release(&mut self, partition: i32) {
        self.stream.stop(partition);
        if let Some(slot) = usize::try_from(partition).ok().and_then(|index| self.slots.get_mut(index)) {
            *slot = None;
        }
        // In this order: nobody is to take the rows that are left for this partition's present end.
        self.live.partition_progress(partition).elsewhere();
        self.live.forget_partition(partition);
    }

    fn resume(&mut self, partition: i32) {
        if let Some(slot) = self.slot(partition)
            && !slot.fetching
        {
            slot.ingest.progress().stage(PartitionStage::CatchingUp);
            self.fetch_from(partition);
        }
    }

    fn fetch(&mut self) {
        let Self { stream, slots, decoder, supervisor, .. } = self;
        let count = stream.poll(FETCH_WAIT, |event| match event {
            RawEvent::Message(message) => {
                if let Some(slot) = slots.get_mut(message.partition as usize).and_then(Option::as_deref_mut) {
                    slot.ingest.append(&message, decoder);
                }
            }
            RawEvent::End { partition, offset } => {
                if let Some(slot) = slots.get_mut(partition as usize).and_then(Option::as_deref_mut) {
                    slot.ingest.publish();
                    slot.ingest.progress().at_end(offset);
                }
            }
            RawEvent::Error { partition, code } => {
                tracing::warn!(partition, "fetch: {}", describe(code));
                if let Some(slot) = slots.get_mut(partition as usize).and_then(Option::as_deref_mut) {
                    slot.ingest.progress().trouble(format!("fetch: {}", describe(code)));
                    slot.ingest.progress().held_back();
                    slot.fetching = false;
                }
                let _ = supervisor.send(Request::Lost { partition });
            }
        });
        if count == 0 {
            return;
        }
        let now = Instant::now();
        let mut anything = false;
        for slot in self.slots.iter_mut().flatten() {
            if slot.ingest.publish() {
                anything = true;
                slot.ingest.seal_if_due(&self.seal, now);
            }
        }
        if anything {
            self.live.notify_visible();
        }
    }

    /// Age seals, lag, rates, and librdkafka's own events.
    fn keep_house(&mut self, now: Instant) {
        self.stream.serve();
        let trouble = self.stream.take_trouble();
        if let Some(trouble) = &trouble {
            self.tell_first_trouble(trouble);
        }
        let now_ms = now_ms();
        for (partition, slot) in self.slots.iter_mut().enumerate() {
            let Some(slot) = slot else { continue };
            slot.ingest.seal_if_due(&self.seal, now);
            // What is not fetched has its end asked for by the supervisor: the one of the last fetch would stand for ever.
            if slot.fetching
                && !self.held_back
                && let Some(latest) = self.stream.cached_latest(partition as i32)
            {
                slot.ingest.progress().latest(latest);
            }
            if let Some(trouble) = &trouble {
                slot.ingest.progress().trouble(format!("kafka: {trouble}"));
            }
            slot.ingest.progress().tick(now_ms);
        }
    }

    /// Brokers that refuse a connection are told of at once, where the supervisor's first question is still waited for.
    fn tell_first_trouble(&self, trouble: &str) {
        if self.live.trouble().is_none() && self.live.progress().is_empty() {
            self.live.set_trouble(Some(format!("kafka: {trouble}")));
        }
    }

    /// Whether fetching waits for memory.
    fn hold_back(&mut self) -> bool {
        let was_held_back = std::mem::replace(&mut self.held_back, self.budget.is_short());
        if self.held_back && !was_held_back {
            metrics::counter!("headwater_backpressure_total", "table" => self.live.name().to_string())
                .increment(1);
            tracing::info!(
                table = self.live.name(),
                used_bytes = self.budget.used(),
                limit_bytes = self.budget.limit(),
                "memory budget is above its high mark: sealing the largest segments and holding consumption back"
            );
        }
        if self.held_back {
            for slot in self.slots.iter().flatten() {
                slot.ingest.progress().held_back();
            }
            self.seal_largest();
        }
        self.held_back
    }

    /// Seals the largest open segment, unless so much is being sealed already that its release ends the shortage.
    fn seal_largest(&mut self) {
        let open: u64 = self.slots.iter().flatten().map(|slot| slot.ingest.bytes()).sum();
        let low_mark_without_open = self.budget.used().saturating_sub(self.budget.limit() / 2);
        if open < low_mark_without_open / 2 {
            return;
        }
        let largest = self
            .slots
            .iter_mut()
            .flatten()
            .filter(|slot| slot.ingest.has_rows())
            .max_by_key(|slot| slot.ingest.bytes());
        if let Some(slot) = largest {
            slot.ingest.seal(SealReason::Memory, None);
        }
    }
}
