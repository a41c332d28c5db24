//! One partition at work: morsels in, groups in its state.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, Gauge, MetricBuilder,
};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::fragment::{Fragment, Prepared};
use super::key_values::KeyValues;
use super::merge::PartitionGroups;
use super::results::Fill;
use super::state::PartitionState;
use crate::execute::work::{Morsel, Work};
use crate::request::QueryStats;

/// More groups than this no longer fit into the second-level cache, with their table and their accumulators.
const SPREAD_GROUPS: usize = 16_384;

/// What the partitions share during one execution.
pub(super) struct Run {
    pub(super) fragment: Arc<Fragment>,
    /// The values of the keys.
    pub(super) keys: Vec<Arc<KeyValues>>,
    pub(super) work: Work<Prepared>,
    pub(super) stats: Arc<QueryStats>,
    /// Partial states that earlier queries found; whoever starts first hands them out.
    pub(super) kept: Mutex<Vec<RecordBatch>>,
    /// What is to be kept of this query when it ends, and where.
    pub(super) fill: Mutex<Option<Fill>>,
    pub(super) runtime: Option<Handle>,
    /// How rows were grouped, and by which filter, in the first segment that was worked on: for EXPLAIN ANALYZE.
    pub(super) example: OnceLock<(&'static str, String)>,
}

impl Drop for Run {
    fn drop(&mut self) {
        if let (Some(fill), Some(runtime)) = (self.fill.get_mut().take(), &self.runtime) {
            fill.start(runtime);
        }
    }
}

/// See the module.
pub(super) struct Worker {
    pub(super) run: Arc<Run>,
    pub(super) state: PartitionState,
    memory: MemoryReservation,
    metrics: WorkerMetrics,
    /// Whether all groups were handed out as partial states.
    has_ended: bool,
}

struct WorkerMetrics {
    baseline: BaselineMetrics,
    rows_scanned: Count,
    rows_selected: Count,
    blocks_skipped: Count,
    emissions: Count,
    bytes_max: Gauge,
}

impl Worker {
    pub(super) fn new(
        run: &Arc<Run>,
        context: &TaskContext,
        metrics: &ExecutionPlanMetricsSet,
        partition: usize,
    ) -> Result<Self> {
        let count = |name| MetricBuilder::new(metrics).counter(name, partition);
        let mut state = PartitionState::new(Arc::clone(&run.fragment), run.keys.clone(), SPREAD_GROUPS)?;
        state.hand_out(std::mem::take(&mut run.kept.lock()));
        Ok(Self {
            state,
            run: Arc::clone(run),
            memory: MemoryConsumer::new("SegmentAggregateExec").register(context.memory_pool()),
            metrics: WorkerMetrics {
                baseline: BaselineMetrics::new(metrics, partition),
                rows_scanned: count("rows_scanned"),
                rows_selected: count("rows_selected"),
                blocks_skipped: count("blocks_skipped"),
                emissions: count("emissions"),
                bytes_max: MetricBuilder::new(metrics).gauge("groups_bytes_max", partition),
            },
            has_ended: false,
        })
    }

    /// Works on the next morsel; `false` if there is none. Gives way to other tasks, and to the end of the query, after
    /// each.
    pub(super) async fn step(&mut self) -> Result<bool> {
        let Some(morsel) = self.run.work.next().await? else { return Ok(false) };
        self.consume(&morsel)?;
        tokio::task::yield_now().await;
        Ok(true)
    }

    /// The next batch of partial states: of groups that had to be handed out early or, after the last morsel, of all.
    pub(super) async fn next_states(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.state.next_batch() {
                self.metrics.baseline.record_output(batch.num_rows());
                return Ok(Some(batch));
            }
            if self.has_ended {
                return Ok(None);
            }
            if !self.step().await? {
                self.has_ended = true;
                self.emit()?;
            }
        }
    }

    /// Makes the groups ready for a merge; hands them out if memory is too short for that.
    pub(super) fn settle(&mut self) -> Result<()> {
        let more = self.state.settle_bytes();
        if more == 0 {
            return Ok(());
        }
        if self.memory.try_grow(more).is_err() {
            self.emit()?;
        } else {
            let elapsed = self.metrics.baseline.elapsed_compute().clone();
            let _timer = elapsed.timer();
            self.state.settle();
        }
        self.memory.try_resize(self.state.size())
    }

    /// The groups, for a merge, and the memory that they take.
    pub(super) fn take_groups(&mut self) -> Result<(Option<PartitionGroups>, MemoryReservation)> {
        Ok((self.state.take_groups()?, self.memory.take()))
    }

    fn consume(&mut self, morsel: &Morsel<Prepared>) -> Result<()> {
        let elapsed = self.metrics.baseline.elapsed_compute().clone();
        let _timer = elapsed.timer();
        let (segment, prepared) = (&morsel.segment, &morsel.prepared);
        let (blocks, rows) = (self.state.blocks_read, self.state.rows_selected);
        self.state.consume(segment, prepared, morsel.segment_index, morsel.blocks.clone())?;
        let scanned = segment.block(morsel.blocks.end - 1).end - segment.block(morsel.blocks.start).start;
        self.metrics.rows_scanned.add(scanned);
        self.metrics.rows_selected.add(self.state.rows_selected - rows);
        self.metrics.blocks_skipped.add(morsel.blocks.len() - (self.state.blocks_read - blocks));
        self.run.stats.rows_scanned.fetch_add(scanned as u64, Ordering::Relaxed);
        self.run.example.get_or_init(|| (self.state.mode(), prepared.filter.describe()));
        self.reserve()
    }

    /// Accounts for the groups; hands them out early if they are too large for the query's budget.
    fn reserve(&mut self) -> Result<()> {
        let bytes = self.state.size();
        self.metrics.bytes_max.set_max(bytes);
        if bytes <= self.memory.size() || self.memory.try_resize(bytes).is_ok() {
            return Ok(());
        }
        self.emit()?;
        self.memory.try_resize(self.state.size())
    }

    fn emit(&mut self) -> Result<()> {
        let elapsed = self.metrics.baseline.elapsed_compute().clone();
        let _timer = elapsed.timer();
        self.metrics.emissions.add(1);
        self.state.emit()
    }
}
