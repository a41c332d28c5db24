//! The queue that the partitions of one operator share while it runs: morsels of about a millisecond.
//!
//! ```text
//! parts ──claim──▶ ready in memory? ──yes──▶ prepare ──▶ morsels of BLOCKS_PER_MORSEL blocks ──▶ whoever asks next
//!                        └─no─▶ bloom filters ─may have rows─▶ load (and the next ones ahead) ─┘
//!                                     └─have none─▶ nothing
//! ```
//!
//! Invariants:
//! - every block of every part is handed out exactly once, whatever the number of partitions;
//! - a part whose claimer goes away, or fails, before its morsels are out is claimed again, so neither rows nor errors
//!   are lost;
//! - what is in memory is handed out without waiting and without another task.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::internal_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use futures::future::BoxFuture;
use headwater_segment::column::SegmentColumns;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::{Instrument, Span};

use super::probe::Probes;
use super::source::{SegmentPart, Source};
use crate::request::QueryStats;
use crate::trace::{SEGMENT_SPANS_MAX, TARGET};

/// Blocks of a morsel: 131,072 rows, about a millisecond of work.
const BLOCKS_PER_MORSEL: usize = 16;
/// Parts that are loaded ahead of the one that is needed now.
const LOADS_AHEAD: usize = 4;

/// What an operator makes of each segment before its first block; `None` if the segment has no row for it. It gives way
/// where that may take long.
pub(crate) type Prepare<P> =
    Box<dyn Fn(Arc<SegmentColumns>) -> BoxFuture<'static, Result<Option<P>>> + Send + Sync>;

/// See the module.
pub(crate) struct Work<P> {
    source: Arc<Source>,
    parts: Vec<SegmentPart>,
    columns: Vec<usize>,
    probes: Probes,
    prepare: Prepare<P>,
    around: Around,
    /// Segments that may still have a span.
    spans_left: AtomicUsize,
    state: Mutex<State<P>>,
    /// Something has changed for partitions that wait.
    changed: Notify,
}

/// What the work is a part of.
pub(crate) struct Around {
    /// Where loads run: not on the query threads.
    pub(crate) io: Handle,
    /// Counts the parts that are done.
    pub(crate) stats: Arc<QueryStats>,
    /// The first segments have spans beneath this one.
    pub(crate) trace: Span,
}

/// Consecutive blocks of one segment, for one partition to work on.
pub(crate) struct Morsel<P> {
    /// The columns that the operator asked for.
    pub(crate) segment: Arc<SegmentColumns>,
    /// What the operator made of the segment.
    pub(crate) prepared: Arc<P>,
    /// The blocks.
    pub(crate) blocks: Range<usize>,
    /// Which part; distinct per segment.
    pub(crate) segment_index: usize,
    /// No further ones follow of this part.
    is_last: bool,
}

struct State<P> {
    /// Segments that still have blocks to hand out.
    opened: VecDeque<Morsel<P>>,
    /// Parts that nobody works on, in order.
    unclaimed: VecDeque<usize>,
    /// Loads under way, and the parts that they are for.
    loads: Vec<(usize, Load)>,
    /// Parts claimed but not opened yet.
    claimed: usize,
}

/// A segment's columns; `None` if its bloom filters say that it has no row for the operator.
type Loaded = Option<Arc<SegmentColumns>>;

/// A load on its own task; dropping it ends the task.
struct Load(JoinHandle<Result<Loaded>>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Load {
    async fn wait(mut self) -> Result<Loaded> {
        (&mut self.0).await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?
    }
}

/// What a partition does next.
enum Step<'a, P> {
    Take(Morsel<P>),
    Open(Claim<'a, P>),
    Wait,
    End,
}

/// A part that one partition opens. Dropped before it is opened, the part goes back.
struct Claim<'a, P> {
    work: &'a Work<P>,
    part: usize,
    load: Option<Load>,
    opened: bool,
}

impl<P> Drop for Claim<'_, P> {
    fn drop(&mut self) {
        let mut state = self.work.state.lock();
        state.claimed -= 1;
        if !self.opened {
            state.unclaimed.push_front(self.part);
        }
        drop(state);
        self.work.changed.notify_waiters();
    }
}

impl<P> Work<P> {
    /// The visible columns `columns` of `parts`, in their order; they are loaded unless `probes` find that needless.
    pub(crate) fn new(
        source: Arc<Source>,
        parts: Vec<SegmentPart>,
        columns: Vec<usize>,
        probes: Probes,
        around: Around,
        prepare: Prepare<P>,
    ) -> Self {
        let unclaimed = (0..parts.len()).collect();
        let state = State { opened: VecDeque::new(), unclaimed, loads: Vec::new(), claimed: 0 };
        let (state, changed) = (Mutex::new(state), Notify::new());
        Self {
            source,
            parts,
            columns,
            probes,
            prepare,
            around,
            spans_left: AtomicUsize::new(SEGMENT_SPANS_MAX),
            state,
            changed,
        }
    }

    /// The next morsel; `None` when there is and will be none. Cancel by dropping: it gives way after every segment that
    /// has none, and where [`Prepare`] does.
    pub(crate) async fn next(&self) -> Result<Option<Morsel<P>>> {
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            match self.step() {
                Step::Take(morsel) => return Ok(Some(morsel)),
                Step::Open(claim) => {
                    // Of segments without a row for the operator there may be many, one after the other.
                    let span = self.span_of(claim.part);
                    if !self.open(claim).instrument(span).await? {
                        tokio::task::yield_now().await;
                    }
                }
                Step::Wait => changed.await,
                Step::End => return Ok(None),
            }
        }
    }

    fn step(&self) -> Step<'_, P> {
        let mut state = self.state.lock();
        if let Some(morsel) = state.take() {
            if morsel.is_last {
                self.count_done();
            }
            return Step::Take(morsel);
        }
        let Some(part) = state.unclaimed.pop_front() else {
            return if state.claimed == 0 { Step::End } else { Step::Wait };
        };
        state.claimed += 1;
        let load = state.loads.iter().position(|(loading, _)| *loading == part);
        let load = load.map(|index| state.loads.swap_remove(index).1);
        Step::Open(Claim { work: self, part, load, opened: false })
    }

    /// Loads and prepares a part; whether it has morsels.
    async fn open(&self, mut claim: Claim<'_, P>) -> Result<bool> {
        let part = claim.part;
        let Some(segment) = self.segment(&mut claim).await? else {
            self.probes.count_pruned();
            self.count_done();
            claim.opened = true;
            return Ok(false);
        };
        let prepared = (self.prepare)(Arc::clone(&segment)).await?;
        claim.opened = true;
        let Some(prepared) = prepared.filter(|_| segment.blocks() > 0) else {
            self.count_done();
            return Ok(false);
        };
        let blocks = 0..segment.blocks();
        let prepared = Arc::new(prepared);
        let morsel = Morsel { segment, prepared, blocks, segment_index: part, is_last: false };
        self.state.lock().opened.push_back(morsel);
        Ok(true)
    }

    /// The span in which a part is made ready.
    fn span_of(&self, part: usize) -> Span {
        if self.around.trace.is_disabled() {
            return Span::none();
        }
        let take = |left: usize| left.checked_sub(1);
        if self.spans_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return Span::none();
        }
        let segment = match &self.parts[part] {
            SegmentPart::Sealed(meta) => meta.path.clone(),
            SegmentPart::Open(slice) => format!("open, partition {}", slice.segment.partition()),
        };
        let table = self.source.table.name();
        tracing::info_span!(target: TARGET, parent: &self.around.trace, "segment", table, segment)
    }

    fn count_done(&self) {
        self.around.stats.segments_done.fetch_add(1, Ordering::Relaxed);
    }

    async fn segment(&self, claim: &mut Claim<'_, P>) -> Result<Loaded> {
        let part = claim.part;
        if claim.load.is_none() {
            if let Some(ready) = self.ready(part)? {
                return Ok(Some(ready));
            }
            if self.is_known_absent(part) {
                return Ok(None);
            }
        }
        let load = claim.load.take().or_else(|| self.start_load(part));
        self.load_ahead()?;
        let load = load.ok_or_else(|| internal_datafusion_err!("open columns are always ready"))?;
        load.wait().await
    }

    /// The columns of a part if they are in memory, and nothing is to be asked before.
    fn ready(&self, part: usize) -> Result<Loaded> {
        match &self.parts[part] {
            SegmentPart::Sealed(_) if self.probes.are_forced() => Ok(None),
            part => self.source.ready(part, &self.columns),
        }
    }

    fn is_known_absent(&self, part: usize) -> bool {
        match &self.parts[part] {
            SegmentPart::Sealed(meta) => self.probes.is_known_absent(&self.source, meta),
            SegmentPart::Open(_) => false,
        }
    }

    /// Starts loading the parts that come next, as far as they are not in memory.
    fn load_ahead(&self) -> Result<()> {
        let mut state = self.state.lock();
        let next: Vec<usize> = state.unclaimed.iter().copied().take(LOADS_AHEAD).collect();
        for part in next {
            let is_loading = state.loads.iter().any(|(loading, _)| *loading == part);
            let is_sealed = matches!(self.parts[part], SegmentPart::Sealed(_));
            if is_sealed && !is_loading && !self.is_known_absent(part) && self.ready(part)?.is_none() {
                state.loads.extend(self.start_load(part).map(|load| (part, load)));
            }
        }
        Ok(())
    }

    fn start_load(&self, part: usize) -> Option<Load> {
        let SegmentPart::Sealed(meta) = &self.parts[part] else { return None };
        let (source, meta, columns) = (Arc::clone(&self.source), Arc::clone(meta), self.columns.clone());
        let probes = self.probes.clone();
        Some(Load(self.around.io.spawn(async move {
            match probes.is_absent(&source, &meta, &source.full(&columns)).await? {
                true => Ok(None),
                false => source.load(&meta, &columns).await.map(Some),
            }
        })))
    }
}

impl<P> State<P> {
    fn take(&mut self) -> Option<Morsel<P>> {
        let first = self.opened.front_mut()?;
        let end = (first.blocks.start + BLOCKS_PER_MORSEL).min(first.blocks.end);
        let blocks = first.blocks.start..end;
        if first.blocks.end == end {
            let last = self.opened.pop_front()?;
            return Some(Morsel { blocks, is_last: true, ..last });
        }
        first.blocks.start = end;
        Some(Morsel {
            segment: Arc::clone(&first.segment),
            prepared: Arc::clone(&first.prepared),
            blocks,
            segment_index: first.segment_index,
            is_last: false,
        })
    }
}

/// What the partitions of one operator share during one execution of it. An operator that is executed once more
/// without having been reset gets a new one.
pub(crate) struct Shared<T> {
    state: Mutex<(Option<Arc<T>>, Vec<usize>)>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { state: Mutex::new((None, Vec::new())) }
    }
}

impl<T> Shared<T> {
    /// The shared value for `partition`, made by the first partition of each execution.
    pub(crate) fn get(&self, partition: usize, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let mut state = self.state.lock();
        let (value, started) = &mut *state;
        if started.contains(&partition) {
            *value = None;
        }
        let shared = match value {
            Some(shared) => Arc::clone(shared),
            None => {
                let made = Arc::new(make()?);
                started.clear();
                *value = Some(Arc::clone(&made));
                made
            }
        };
        started.push(partition);
        Ok(shared)
    }

    /// The value of the latest execution.
    pub(crate) fn latest(&self) -> Option<Arc<T>> {
        self.state.lock().0.clone()
    }
}

#[cfg(test)]
mod tests;
