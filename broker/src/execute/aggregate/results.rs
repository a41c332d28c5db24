//! Partial aggregates of sealed segments, kept from query to query: a dashboard that asks again finds what the sealed rows
//! add up to, and only new rows are looked at.
//!
//! A sealed segment never changes, so what is kept is right for as long as the segment is read. An aggregate is kept when it
//! is asked a second time, and then after that query, by one task at a time: what is asked once costs nothing.
//!
//! Not kept: aggregates with more than [`GROUPS_MAX`] groups in a segment or more than [`DISTINCT_MAX`] distinct values to
//! count (to look at the rows again is faster than to put these together), those that fail for it, and those with
//! conditions that other operators narrow while they run.

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::PhysicalExpr;
use headwater_segment::column::SegmentColumns;
use headwater_segment::schema::TableSchema;
use headwater_segment::sealed::SegmentMeta;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use ulid::Ulid;

use super::fragment::Fragment;
use super::key_values::KeyValues;
use super::state::PartitionState;
use crate::execute::source::{SegmentPart, Source};

/// Most groups of a segment that are kept.
const GROUPS_MAX: usize = 4096;
/// Most distinct values of a segment, in all groups.
const DISTINCT_MAX: usize = 65_536;
/// Bytes of a segment's groups while they are found; with more there would be too many.
const GROUPS_BYTES_MAX: usize = 64 << 20;
/// Most aggregates that are known.
const AGGREGATES_MAX: usize = 1024;
/// What an entry takes besides its batch.
const ENTRY_BYTES: usize = 256;
/// Blocks between which a task gives way.
const BLOCKS_PER_TURN: usize = 16;

type Expr = Arc<dyn PhysicalExpr>;

/// An aggregate, apart from the segments that it reads. Expressions are over the visible columns of a table.
#[derive(Clone)]
pub(super) struct AggregateKey {
    pub(super) schema: Arc<TableSchema>,
    pub(super) visible: SchemaRef,
    pub(super) conjuncts: Vec<Expr>,
    pub(super) keys: Vec<Expr>,
    pub(super) calls: Vec<CallKey>,
    pub(super) output: SchemaRef,
}

/// One of its functions.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct CallKey {
    pub(super) function: AggregateUDF,
    pub(super) is_distinct: bool,
    pub(super) ignores_nulls: bool,
    pub(super) arguments: Vec<Expr>,
    pub(super) filter: Option<Expr>,
}

impl PartialEq for AggregateKey {
    fn eq(&self, other: &Self) -> bool {
        (Arc::ptr_eq(&self.schema, &other.schema) || self.schema.columns() == other.schema.columns())
            && self.visible == other.visible
            && self.conjuncts == other.conjuncts
            && self.keys == other.keys
            && self.calls == other.calls
            && self.output == other.output
    }
}

impl Eq for AggregateKey {}

impl Hash for AggregateKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.conjuncts, &self.keys, &self.calls).hash(state);
    }
}

/// See the module.
pub(crate) struct ResultCache {
    bytes_max: usize,
    state: Mutex<State>,
    is_filling: AtomicBool,
}

#[derive(Default)]
struct State {
    aggregates: HashMap<AggregateKey, Aggregate>,
    uses: u64,
    bytes: usize,
}

#[derive(Default)]
struct Aggregate {
    /// Partial states; `None`: not to be kept.
    segments: HashMap<Ulid, Option<RecordBatch>>,
    runs: u64,
    used: u64,
}

/// What is to be kept after a query.
pub(super) struct Fill {
    source: Arc<Source>,
    key: AggregateKey,
    fragment: Arc<Fragment>,
    columns: Vec<usize>,
    segments: Vec<Arc<SegmentMeta>>,
}

impl ResultCache {
    /// Keeps up to so many bytes; 0: nothing.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, state: Mutex::default(), is_filling: AtomicBool::new(false) }
    }

    /// Whether anything is kept.
    pub(super) fn keeps(&self) -> bool {
        self.bytes_max > 0
    }

    /// Takes out the parts whose partial states are kept, and hands these out; and the segments to keep after the query.
    pub(super) fn take(
        &self,
        key: &AggregateKey,
        parts: &mut Vec<SegmentPart>,
    ) -> (Vec<RecordBatch>, Vec<Arc<SegmentMeta>>) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.uses += 1;
        if !state.aggregates.contains_key(key) {
            state.make_room(self.bytes_max);
            state.aggregates.insert(key.clone(), Aggregate::default());
        }
        let Some(aggregate) = state.aggregates.get_mut(key) else { return Default::default() };
        (aggregate.runs, aggregate.used) = (aggregate.runs + 1, state.uses);
        // The same aggregate prunes alike: a segment that is not among the parts is no longer read.
        let read: HashSet<Ulid> = parts.iter().filter_map(sealed).map(|meta| meta.id).collect();
        aggregate.segments.retain(|id, states| {
            let is_read = read.contains(id);
            state.bytes -= if is_read { 0 } else { bytes(states.as_ref()) };
            is_read
        });
        let (mut kept, mut missing) = (Vec::new(), Vec::new());
        let is_repeated = aggregate.runs > 1;
        parts.retain(|part| {
            let Some(meta) = sealed(part) else { return true };
            match aggregate.segments.get(&meta.id) {
                Some(Some(states)) => kept.push(states.clone()),
                Some(None) => return true,
                None => {
                    missing.extend(is_repeated.then(|| Arc::clone(meta)));
                    return true;
                }
            }
            false
        });
        (kept, missing)
    }

    fn put(&self, key: &AggregateKey, segment: Ulid, states: Option<RecordBatch>) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let Some(aggregate) = state.aggregates.get_mut(key) else { return };
        state.bytes += bytes(states.as_ref());
        if let Some(old) = aggregate.segments.insert(segment, states) {
            state.bytes -= bytes(old.as_ref());
        }
        state.make_room(self.bytes_max);
    }
}

impl State {
    /// Drops what was used longest ago, until there is room for one more.
    fn make_room(&mut self, bytes_max: usize) {
        while self.aggregates.len() >= AGGREGATES_MAX || self.bytes > bytes_max {
            let oldest = self.aggregates.iter().min_by_key(|(_, aggregate)| aggregate.used);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { return };
            let dropped = self.aggregates.remove(&oldest).unwrap_or_default();
            self.bytes -= dropped.segments.values().map(|states| bytes(states.as_ref())).sum::<usize>();
        }
    }
}

fn sealed(part: &SegmentPart) -> Option<&Arc<SegmentMeta>> {
    match part {
        SegmentPart::Sealed(meta) => Some(meta),
        SegmentPart::Open(_) => None,
    }
}

fn bytes(states: Option<&RecordBatch>) -> usize {
    ENTRY_BYTES + states.map_or(0, RecordBatch::get_array_memory_size)
}

impl Fill {
    /// `None` if there is nothing to keep.
    pub(super) fn new(
        source: &Arc<Source>,
        key: AggregateKey,
        fragment: &Arc<Fragment>,
        columns: &[usize],
        segments: Vec<Arc<SegmentMeta>>,
    ) -> Option<Self> {
        let (source, fragment) = (Arc::clone(source), Arc::clone(fragment));
        (!segments.is_empty()).then(|| Self { source, key, fragment, columns: columns.to_vec(), segments })
    }

    /// Starts a task, unless one is under way.
    pub(super) fn start(self, runtime: &Handle) {
        let results = Arc::clone(&self.source.results);
        if results.is_filling.swap(true, Ordering::AcqRel) {
            return;
        }
        runtime.spawn(async move {
            let _ends = Ends(Arc::clone(&results));
            for meta in &self.segments {
                // What is not in memory is not worth loading for this.
                let part = SegmentPart::Sealed(Arc::clone(meta));
                let Ok(Some(segment)) = self.source.ready(&part, &self.columns) else { continue };
                let states = self.aggregate(&segment).await.unwrap_or(None);
                results.put(&self.key, meta.id, states);
            }
        });
    }

    /// The partial states of a segment; `None` if they are too many.
    async fn aggregate(&self, segment: &SegmentColumns) -> Result<Option<RecordBatch>> {
        let output = &self.fragment.output;
        let Some(prepared) = self.fragment.prepare(segment).await? else {
            return Ok(Some(RecordBatch::new_empty(Arc::clone(output))));
        };
        let keys = self.fragment.keys.iter().map(|key| KeyValues::new(&key.field).map(Arc::new));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let mut state = PartitionState::new(Arc::clone(&self.fragment), keys, usize::MAX)?;
        for start in (0..segment.blocks()).step_by(BLOCKS_PER_TURN) {
            let end = segment.blocks().min(start + BLOCKS_PER_TURN);
            state.consume(segment, &prepared, 0, start..end)?;
            if state.size() > GROUPS_BYTES_MAX || state.distinct_len_max() > DISTINCT_MAX {
                return Ok(None);
            }
            tokio::task::yield_now().await;
        }
        state.emit()?;
        let batches: Vec<RecordBatch> = std::iter::from_fn(|| state.next_batch()).collect();
        let states = concat_batches(output, &batches)?;
        Ok((states.num_rows() <= GROUPS_MAX).then_some(states))
    }
}

/// Lets the next task start, also if this one is dropped.
struct Ends(Arc<ResultCache>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.is_filling.store(false, Ordering::Release);
    }
}
