//! One partition of a scan: morsels in, batches of selected rows out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::DynamicFilterTracking;
use datafusion::physical_expr_common::physical_expr::snapshot_physical_expr;
use datafusion::physical_plan::metrics::{BaselineMetrics, Count};
use headwater_segment::column::BLOCK_ROWS;

use super::filter::{Filter, FilterScratch, SegmentFilter};
use super::options::ExecuteOptions;
use super::project::materialise;
use super::scan::ScanRun;
use super::selection::Selection;
use super::work::Morsel;

/// Batches of more rows are handed on as they are, others are gathered into larger ones.
const LARGE_BATCH_ROWS: usize = BLOCK_ROWS / 2;

/// Counters of one partition.
pub(super) struct ScanMetrics {
    pub(super) baseline: BaselineMetrics,
    pub(super) rows_scanned: Count,
    pub(super) blocks_skipped: Count,
}

/// See the module.
pub(super) struct ScanStream {
    run: Arc<ScanRun>,
    schema: SchemaRef,
    metrics: ScanMetrics,
    dynamic: Option<Dynamic>,
    morsel: Option<Morsel<SegmentFilter>>,
    /// Blocks of the morsel that are left, the last one first.
    blocks: Vec<usize>,
    scratch: FilterScratch,
    selection: Selection,
    gathered: BatchCoalescer,
    ended: bool,
}

impl ScanStream {
    pub(super) fn new(run: Arc<ScanRun>, schema: SchemaRef, metrics: ScanMetrics) -> Self {
        let gathered = BatchCoalescer::new(Arc::clone(&schema), BLOCK_ROWS)
            .with_biggest_coalesce_batch_size(Some(LARGE_BATCH_ROWS));
        let dynamic = run.layout.dynamic.as_ref();
        let dynamic =
            dynamic.map(|expr| Dynamic::new(Arc::clone(expr), Arc::clone(&run.layout.schema), run.options));
        Self {
            run,
            schema,
            metrics,
            dynamic,
            morsel: None,
            blocks: Vec::new(),
            scratch: FilterScratch::new(),
            selection: Selection::new(),
            gathered,
            ended: false,
        }
    }

    /// The next batch; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.gathered.next_completed_batch() {
                self.metrics.baseline.record_output(batch.num_rows());
                return Ok(Some(batch));
            }
            if self.ended {
                return Ok(None);
            }
            if self.blocks.is_empty() {
                self.next_morsel().await?;
            } else {
                self.work()?;
            }
        }
    }

    /// Gets the next morsel that may have rows, giving way to other tasks and to the end of the query before each.
    async fn next_morsel(&mut self) -> Result<()> {
        if self.morsel.take().is_some() {
            tokio::task::yield_now().await;
        }
        if self.run.is_full() {
            return self.end();
        }
        let Some(morsel) = self.run.work.next().await? else { return self.end() };
        if let Some(dynamic) = &mut self.dynamic {
            dynamic.compile(&morsel).await?;
        }
        let _timer = self.metrics.baseline.elapsed_compute().timer();
        self.run.remember(&morsel.prepared);
        let total = morsel.blocks.len();
        self.blocks.extend(morsel.prepared.candidates(&morsel.segment, morsel.blocks.clone()));
        if let Some(dynamic) = &self.dynamic {
            dynamic.narrow_blocks(&morsel, &mut self.blocks);
        }
        self.metrics.blocks_skipped.add(total - self.blocks.len());
        self.blocks.reverse();
        self.morsel = Some(morsel);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.blocks.clear();
        self.ended = true;
        Ok(self.gathered.finish_buffered_batch()?)
    }

    /// Works through blocks until a batch is full or the morsel is done.
    fn work(&mut self) -> Result<()> {
        let _timer = self.metrics.baseline.elapsed_compute().timer();
        let Some(morsel) = &self.morsel else { return Ok(()) };
        let segment = &morsel.segment;
        while let Some(block) = self.blocks.pop() {
            let rows = segment.block(block).len();
            self.metrics.rows_scanned.add(rows);
            self.run.count_scanned(rows);
            morsel.prepared.select(segment, block, &mut self.scratch, &mut self.selection)?;
            if let Some((_, compiled)) = self.dynamic.as_ref().and_then(|dynamic| dynamic.compiled.as_ref()) {
                compiled.narrow(segment, block, &mut self.scratch, &mut self.selection)?;
            }
            let count = self.run.claim(self.selection.count());
            if count > 0 {
                let output = &self.run.layout.output;
                let batch = materialise(segment, output, block, &mut self.selection, &self.schema)?;
                self.gathered.push_batch(batch.slice(0, count))?;
            }
            if self.run.is_full() {
                self.blocks.clear();
            }
            if self.gathered.has_completed_batch() {
                break;
            }
        }
        Ok(())
    }
}

/// Conditions that other operators narrow while the query runs: the bound of a top-k, the keys of a join. They are looked
/// at once per morsel, and compiled again for the segment only if they have changed.
struct Dynamic {
    expr: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
    options: ExecuteOptions,
    tracking: DynamicFilterTracking,
    filter: Option<Filter>,
    compiled: Option<(usize, SegmentFilter)>,
}

impl Dynamic {
    fn new(expr: Arc<dyn PhysicalExpr>, schema: SchemaRef, options: ExecuteOptions) -> Self {
        let tracking = DynamicFilterTracking::classify(&expr);
        Self { expr, schema, options, tracking, filter: None, compiled: None }
    }

    /// Makes a filter for the segment of `morsel` of what is known now.
    async fn compile(&mut self, morsel: &Morsel<SegmentFilter>) -> Result<()> {
        let changed = self.tracking.watcher().is_some_and(|watcher| watcher.changed());
        let filter = match self.filter.take().filter(|_| !changed) {
            Some(filter) => filter,
            None => {
                self.compiled = None;
                let now = snapshot_physical_expr(Arc::clone(&self.expr))?;
                Filter::new(Some(&now), &self.schema, &self.options)?
            }
        };
        let filter = self.filter.insert(filter);
        let compiled = match self.compiled.take().filter(|(segment, _)| *segment == morsel.segment_index) {
            Some(compiled) => compiled,
            None => (morsel.segment_index, filter.compile(&morsel.segment).await?),
        };
        self.compiled = Some(compiled);
        Ok(())
    }

    /// Leaves of `blocks` those that may have rows.
    fn narrow_blocks(&self, morsel: &Morsel<SegmentFilter>, blocks: &mut Vec<usize>) {
        let Some((_, compiled)) = &self.compiled else { return };
        if compiled.is_never() {
            blocks.clear();
        } else if let (Some(first), Some(last)) = (blocks.first().copied(), blocks.last().copied()) {
            let kept: Vec<usize> = compiled.candidates(&morsel.segment, first..last + 1).collect();
            blocks.retain(|block| kept.binary_search(block).is_ok());
        }
    }
}

/// Rows that a limited scan may still produce, over all its partitions.
pub(super) struct Quota(AtomicUsize);

impl Quota {
    pub(super) fn new(limit: Option<usize>) -> Self {
        Self(AtomicUsize::new(limit.unwrap_or(usize::MAX)))
    }

    /// Takes up to `rows`; says how many there were left to take. Without a limit nothing is counted.
    pub(super) fn take(&self, rows: usize) -> usize {
        let left = self.0.load(Ordering::Relaxed);
        if left == usize::MAX || rows == 0 {
            return rows;
        }
        let taken =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(rows)));
        taken.map_or(0, |left| left.min(rows))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}
