//! Where the write path and the read path meet.
//!
//! A [`LiveTable`] holds one immutable state at a time: a table-log snapshot and, per partition, the mutable segments
//! that the log does not cover yet. Writers swap the state whole, under a lock that readers never take; a reader
//! loads it once and has one consistent [`Cut`].
//!
//! Invariants:
//! - a mutable segment leaves the state in the same swap that brings in the log snapshot which covers it, so no row
//!   is missed and none is counted twice while a segment moves from open to sealed;
//! - a reader takes open rows with `$offset >= committed(V, p)` only, whatever the writers have noticed: another
//!   process may have committed part of what is still open here;
//! - what another process has committed leaves memory as well, but for the segment that is still appended to;
//! - what is not here: consuming, sealing, committing (ingest), planning (broker).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arc_swap::ArcSwap;
use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::Mutex;
use tokio::sync::watch;
use ulid::Ulid;

use crate::log::{LogSnapshot, TableLog};
use crate::mutable::MutableSegment;
use crate::schema::TableSchema;
use crate::sealed::{SegmentMeta, StatValue};
use crate::spec::TableSpec;
use crate::tasks::TaskList;

mod covered;
mod dead_letters;
mod letter_cache;
mod progress;
mod ranges;
mod tables;

pub use dead_letters::{DEAD_LETTERS_MAX, LettersWanted};
pub use progress::{BatchProgress, PartitionProgress, PartitionStage, ProgressSnapshot};
pub use ranges::{Offered, OffsetRange, Piece, Refusal};
pub use tables::Tables;

/// The mutable segments of one partition, oldest first; the last one is open, the others are being sealed.
type PartitionSegments = Vec<Arc<MutableSegment>>;

#[derive(Clone)]
struct TableState {
    log: Arc<LogSnapshot>,
    /// Those before it, oldest first.
    before: Vec<Arc<LogSnapshot>>,
    partitions: BTreeMap<i32, PartitionSegments>,
}

/// Earlier snapshots of the log that are kept, which share most of their segments: what another process still reads at one of them
/// was compacted or has expired here, but its object is there for hours.
const SNAPSHOTS_BEFORE: usize = 16;

/// One table while it is being written and read.
pub struct LiveTable {
    name: String,
    store: Arc<dyn ObjectStore>,
    root: Path,
    log: TableLog,
    state: ArcSwap<TableState>,
    state_change: Mutex<()>,
    progress: ArcSwap<BTreeMap<i32, Arc<PartitionProgress>>>,
    visible: watch::Sender<u64>,
    trouble: Mutex<Option<String>>,
    letters: letter_cache::LetterCache,
}

/// Which part of the stream a read contains: a log version and, per partition, an exclusive upper offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Table log version.
    pub log_version: u64,
    /// Per partition: every offset below this one is in the answer.
    pub offsets: BTreeMap<i32, i64>,
    /// The newest `$timestamp` among the open rows, in milliseconds since the epoch.
    pub newest_timestamp_ms: Option<i64>,
}

/// Rows of one mutable segment that belong to a cut.
#[derive(Clone)]
pub struct OpenSlice {
    /// The segment; holding it keeps its rows in memory.
    pub segment: Arc<MutableSegment>,
    /// Row numbers inside the segment.
    pub rows: Range<usize>,
    /// Whether the segment is being sealed (as opposed to open).
    pub sealing: bool,
}

/// Everything that a query needs to read one table at one cut.
#[derive(Clone)]
pub struct TableRead {
    /// The log snapshot: sealed segments, schema, spec.
    pub log: Arc<LogSnapshot>,
    /// Open and sealing rows that the snapshot does not cover.
    pub open: Vec<OpenSlice>,
    /// The cut.
    pub cut: Cut,
}

impl LiveTable {
    /// A table with nothing open yet. `root` is the table's directory in `store`.
    pub fn new(log: TableLog, store: Arc<dyn ObjectStore>, root: Path) -> Arc<Self> {
        let snapshot = log.snapshot();
        Arc::new(Self {
            name: snapshot.spec.name.clone(),
            store,
            root,
            log,
            state: ArcSwap::from_pointee(TableState {
                log: snapshot,
                before: Vec::new(),
                partitions: BTreeMap::new(),
            }),
            state_change: Mutex::new(()),
            progress: ArcSwap::default(),
            visible: watch::Sender::new(0),
            trouble: Mutex::new(None),
            letters: letter_cache::LetterCache::default(),
        })
    }

    /// Table name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The store that holds the table's objects.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The table's directory in the store.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The table log, for committing.
    pub fn log(&self) -> &TableLog {
        &self.log
    }

    /// What this process does for the table in the background.
    pub fn tasks(&self) -> &TaskList {
        self.log.tasks()
    }

    /// The schema at the newest log version that this process knows.
    pub fn schema(&self) -> Arc<TableSchema> {
        self.state.load().log.schema.clone()
    }

    /// The spec at the newest log version that this process knows.
    pub fn spec(&self) -> Arc<TableSpec> {
        self.state.load().log.spec.clone()
    }

    /// The log snapshot that reads use at present.
    pub fn snapshot(&self) -> Arc<LogSnapshot> {
        self.state.load().log.clone()
    }

    /// Takes a consistent cut of everything that is visible now.
    pub fn read(&self) -> TableRead {
        let state = self.state.load_full();
        let log = state.log.clone();
        let mut offsets: BTreeMap<i32, i64> =
            log.stream.partitions.iter().map(|(partition, state)| (*partition, state.committed)).collect();
        let mut open = Vec::new();
        let mut newest_timestamp_ms = None;
        for (partition, segments) in &state.partitions {
            let committed = log.committed(*partition).unwrap_or(i64::MIN);
            for (index, segment) in segments.iter().enumerate() {
                // One load of the published offset decides what this read sees of the segment.
                let upper = segment.next_offset();
                let rows = segment.rows_below(committed)..segment.rows_below(upper);
                let cut = offsets.entry(*partition).or_insert(upper);
                *cut = (*cut).max(upper);
                if rows.is_empty() {
                    continue;
                }
                newest_timestamp_ms = newest_timestamp_ms.max(segment.newest_timestamp_ms());
                open.push(OpenSlice { segment: segment.clone(), rows, sealing: index + 1 < segments.len() });
            }
        }
        let cut = Cut { log_version: log.version, offsets, newest_timestamp_ms };
        TableRead { log, open, cut }
    }

    /// Waits until every offset below the given one is visible, per partition. Cancel by dropping.
    pub async fn wait_visible(&self, wanted: &BTreeMap<i32, i64>) {
        let mut visible = self.visible.subscribe();
        loop {
            visible.borrow_and_update();
            let cut = self.read().cut;
            let reached =
                |(partition, offset): (&i32, &i64)| cut.offsets.get(partition).is_some_and(|at| at >= offset);
            if wanted.iter().all(reached) {
                return;
            }
            if visible.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tells waiting readers that new rows were published. Cheap when nobody waits.
    pub fn notify_visible(&self) {
        self.visible.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Subscribes to "something new is visible".
    pub fn watch_visible(&self) -> watch::Receiver<u64> {
        self.visible.subscribe()
    }

    /// Opens the next mutable segment of a partition; the one that was open is now being sealed.
    pub fn open_segment(&self, segment: Arc<MutableSegment>) {
        self.change(|state| state.partitions.entry(segment.partition()).or_default().push(segment.clone()));
    }

    /// Puts `segment` in the place of everything that was open or sealing in its partition: the partition starts
    /// again at another offset, because another process committed past what is here, or the topic was recreated.
    pub fn restart_partition(&self, segment: Arc<MutableSegment>) {
        self.change(|state| {
            state.partitions.insert(segment.partition(), vec![segment.clone()]);
        });
    }

    /// Brings in a newer log snapshot. In the same swap, `sealed` (the segment that it now covers) leaves, and so does whatever
    /// else is being sealed that it covers: another process has committed that. An older snapshot than the present one changes
    /// nothing but still retires `sealed`. In a new epoch offsets count anew, so what is open of the old one leaves as well.
    pub fn adopt(&self, snapshot: Arc<LogSnapshot>, sealed: Option<&Arc<MutableSegment>>) {
        self.change(|state| {
            if snapshot.version >= state.log.version {
                if snapshot.stream.epoch != state.log.stream.epoch {
                    state.partitions.clear();
                }
                covered::remove(&mut state.partitions, &snapshot);
                if snapshot.version > state.log.version {
                    if state.before.len() >= SNAPSHOTS_BEFORE {
                        state.before.remove(0);
                    }
                    state.before.push(state.log.clone());
                }
                state.log = snapshot.clone();
            }
            if let Some(sealed) = sealed
                && let Some(segments) = state.partitions.get_mut(&sealed.partition())
            {
                segments.retain(|segment| !Arc::ptr_eq(segment, sealed));
            }
        });
        self.notify_visible();
    }

    /// Looks at the log and adopts what others have committed.
    ///
    /// # Errors
    /// As [`TableLog::refresh`].
    pub async fn follow_log(&self) -> crate::Result<()> {
        self.adopt(self.log.refresh().await?, None);
        Ok(())
    }

    /// Forgets the mutable segments of a partition: other processes consume it.
    pub fn forget_partition(&self, partition: i32) {
        self.change(|state| {
            state.partitions.remove(&partition);
        });
    }

    /// Forgets all mutable segments: the table is paused for good or dropped.
    pub fn close(&self) {
        self.change(|state| state.partitions.clear());
    }

    /// The mutable segments of a partition, oldest first.
    pub fn segments(&self, partition: i32) -> Vec<Arc<MutableSegment>> {
        self.state.load().partitions.get(&partition).cloned().unwrap_or_default()
    }

    /// A sealed segment of the newest version of the log that this process knows, or of one shortly before it.
    pub fn sealed(&self, partition: i32, from: i64, id: Ulid) -> Option<Arc<SegmentMeta>> {
        let state = self.state.load();
        let mut logs = std::iter::once(&state.log).chain(state.before.iter().rev());
        logs.find_map(|log| log.segment(partition, from, id).cloned())
    }

    /// The rows of `range` as this process has them, whatever versions of the log it and the asking process know.
    ///
    /// # Errors
    /// If it does not have all of them.
    pub fn resolve(&self, range: &OffsetRange) -> Result<Vec<Piece>, Refusal> {
        let state = self.state.load();
        let mutable = state.partitions.get(&range.partition).map_or(&[][..], Vec::as_slice);
        ranges::resolve(&state.log, mutable, range)
    }

    /// What this process can answer of the partitions that it consumes, from the offsets `from` on, with the version of the log
    /// that it knows. A partition is left out if it has not all from there on.
    ///
    /// # Errors
    /// If offsets count in another epoch here.
    pub fn offer(&self, epoch: u32, from: &BTreeMap<i32, i64>) -> Result<(u64, Vec<Offered>), Refusal> {
        let state = self.state.load();
        if state.log.stream.epoch != epoch {
            return Err(Refusal::Epoch { here: state.log.stream.epoch });
        }
        let offered = from.iter().filter_map(|(partition, from)| {
            let mutable = state.partitions.get(partition)?;
            let offered = ranges::offer(&state.log, mutable, (epoch, *partition, *from))?;
            // One that is still catching up may be far behind: nobody is to be content with it.
            let is_live = self.progress.load().get(partition).is_some_and(|progress| progress.is_live());
            Some(Offered { is_consumed: offered.is_consumed && is_live, ..offered })
        });
        Ok((state.log.version, offered.collect()))
    }

    fn change(&self, edit: impl FnOnce(&mut TableState)) {
        let _guard = self.state_change.lock();
        let present = self.state.load_full();
        let mut next = TableState::clone(&present);
        edit(&mut next);
        self.state.store(Arc::new(next));
    }

    /// Records what keeps the whole table from being consumed (Kafka unreachable, no such topic), or that it is over.
    pub fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock() = trouble;
    }

    /// What keeps the whole table from being consumed.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// The progress record of a partition, made on first use.
    pub fn partition_progress(&self, partition: i32) -> Arc<PartitionProgress> {
        if let Some(progress) = self.progress.load().get(&partition) {
            return progress.clone();
        }
        let _guard = self.state_change.lock();
        let present = self.progress.load_full();
        if let Some(progress) = present.get(&partition) {
            return progress.clone();
        }
        let progress = Arc::new(PartitionProgress::default());
        let mut next = (*present).clone();
        next.insert(partition, progress.clone());
        self.progress.store(Arc::new(next));
        progress
    }

    /// How far each partition is, for `system.partitions`, metrics and readiness.
    pub fn progress(&self) -> Vec<ProgressSnapshot> {
        let state = self.state.load();
        let cut = self.read().cut;
        let records = self.progress.load();
        let partitions: std::collections::BTreeSet<i32> =
            state.log.stream.partitions.keys().chain(records.keys()).copied().collect();
        partitions
            .into_iter()
            .map(|partition| {
                let stream = state.log.stream.partitions.get(&partition);
                let visible = cut.offsets.get(&partition).copied();
                let record = records.get(&partition);
                let sealed = || newest_sealed_ms(&state.log, partition);
                ProgressSnapshot::new(partition, stream, visible, record.map(AsRef::as_ref), sealed)
            })
            .collect()
    }
}

/// The newest timestamp in the last sealed segment of a partition, in milliseconds since the epoch.
fn newest_sealed_ms(log: &LogSnapshot, partition: i32) -> Option<i64> {
    let epoch = log.stream.epoch;
    let last = log.segments.range((partition, epoch, i64::MIN)..(partition, epoch, i64::MAX)).next_back()?;
    match last.meta.columns.get(log.schema.timestamp_column())?.max {
        Some(StatValue::Int(micros)) => Some(micros.div_euclid(1000)),
        _ => None,
    }
}
