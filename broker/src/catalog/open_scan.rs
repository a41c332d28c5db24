//! The leaf of a plan that reads open and sealing segments: batches straight out of memory, a chunk at a time.
//!
//! ```text
//! slices of a cut ──spread──▶ partitions of whole chunks ──▶ one RecordBatch per chunk, zero copy
//! ```
//!
//! Invariant: the rows of the slices are produced exactly once, whatever the number of partitions.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_datafusion_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, ReplaceChildrenOptions,
};
use futures::stream;
use headwater_segment::live::OpenSlice;
use headwater_segment::mutable::{CHUNK_ROWS, MutableSegment};
use headwater_segment::schema::TableSchema;

use crate::request::QueryStats;

/// At most one chunk of one segment.
#[derive(Clone)]
struct Piece {
    segment: Arc<MutableSegment>,
    rows: Range<usize>,
}

/// See the module.
pub(super) struct OpenSegmentExec {
    partitions: Vec<Arc<[Piece]>>,
    /// Places of the produced columns in the table's full schema.
    columns: Vec<usize>,
    limit: Option<usize>,
    segments: usize,
    stats: Arc<QueryStats>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl OpenSegmentExec {
    /// Reads `columns` of all rows of `slices`, in at most `partitions_max` partitions of about equal size.
    pub(super) fn new(
        schema: &TableSchema,
        slices: &[OpenSlice],
        columns: Vec<usize>,
        limit: Option<usize>,
        partitions_max: usize,
        stats: Arc<QueryStats>,
    ) -> Result<Self> {
        let ranges: Vec<Range<usize>> = slices.iter().map(|slice| slice.rows.clone()).collect();
        let piece = |(slice, rows): (usize, Range<usize>)| Piece {
            segment: Arc::clone(&slices[slice].segment),
            rows,
        };
        let partitions: Vec<Arc<[Piece]>> = spread(&ranges, CHUNK_ROWS, partitions_max)
            .into_iter()
            .map(|pieces| pieces.into_iter().map(piece).collect())
            .collect();
        let produced: SchemaRef = Arc::new(schema.arrow().project(&columns)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(produced),
            Partitioning::UnknownPartitioning(partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Ok(Self {
            partitions,
            columns,
            limit,
            segments: slices.len(),
            stats,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    fn rows(&self, partition: Option<usize>) -> usize {
        let rows_of = |pieces: &Arc<[Piece]>| {
            let rows = pieces.iter().map(|piece| piece.rows.len()).sum::<usize>();
            self.limit.map_or(rows, |limit| rows.min(limit))
        };
        match partition {
            Some(partition) => self.partitions.get(partition).map_or(0, rows_of),
            None => self.partitions.iter().map(rows_of).sum(),
        }
    }
}

/// Cuts ranges at multiples of `chunk` and deals the pieces, in order, to at most `partitions_max` partitions.
fn spread(ranges: &[Range<usize>], chunk: usize, partitions_max: usize) -> Vec<Vec<(usize, Range<usize>)>> {
    let mut pieces = Vec::new();
    for (index, range) in ranges.iter().enumerate() {
        let mut start = range.start;
        while start < range.end {
            let end = ((start / chunk + 1) * chunk).min(range.end);
            pieces.push((index, start..end));
            start = end;
        }
    }
    let per_partition = pieces.len().div_ceil(partitions_max.max(1)).max(1);
    pieces.chunks(per_partition).map(<[_]>::to_vec).collect()
}

/// The batches of one piece. Without columns there is still a number of rows.
fn read(piece: &Piece, columns: &[usize], schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
    if columns.is_empty() {
        let options = RecordBatchOptions::new().with_row_count(Some(piece.rows.len()));
        return Ok(vec![RecordBatch::try_new_with_options(Arc::clone(schema), Vec::new(), &options)?]);
    }
    let batches = piece.segment.batches(piece.rows.clone(), columns);
    batches.map(|batch| batch.map_err(|error| DataFusionError::External(Box::new(error)))).collect()
}

impl DisplayAs for OpenSegmentExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.properties.equivalence_properties().schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(
            f,
            "OpenSegmentExec: segments={}, rows={}, projection=[{}]",
            self.segments,
            self.rows(None),
            names.join(", ")
        )?;
        self.limit.map_or(Ok(()), |limit| write!(f, ", limit={limit}"))
    }
}

impl fmt::Debug for OpenSegmentExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

impl ExecutionPlan for OpenSegmentExec {
    fn name(&self) -> &'static str {
        "OpenSegmentExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let pieces = self.partitions.get(partition).map(Arc::clone);
        let pieces =
            pieces.ok_or_else(|| internal_datafusion_err!("OpenSegmentExec has no partition {partition}"))?;
        let schema = self.schema();
        let columns = self.columns.clone();
        let stats = Arc::clone(&self.stats);
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let mut left = self.limit.unwrap_or(usize::MAX);
        let produced = Arc::clone(&schema);
        let batches = (0..pieces.len()).map_while(move |index| {
            let _timer = baseline.elapsed_compute().timer();
            let mut piece = pieces[index].clone();
            piece.rows.end = piece.rows.end.min(piece.rows.start.saturating_add(left));
            if piece.rows.is_empty() {
                return None;
            }
            left -= piece.rows.len();
            stats.rows_scanned.fetch_add(piece.rows.len() as u64, Ordering::Relaxed);
            baseline.record_output(piece.rows.len());
            Some(read(&piece, &columns, &produced))
        });
        let flat = batches.flat_map(|batches| match batches {
            Ok(batches) => batches.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        });
        Ok(Box::pin(cooperative(RecordBatchStreamAdapter::new(schema, stream::iter(flat)))))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        statistics.num_rows = Precision::Exact(self.rows(args.partition()));
        Ok(Arc::new(statistics))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_row_goes_to_exactly_one_partition(
            ranges in prop::collection::vec((0usize..50, 0usize..50), 0..6),
            partitions_max in 0usize..6,
        ) {
            let ranges: Vec<Range<usize>> = ranges.iter().map(|(start, rows)| *start..start + rows).collect();
            let parts = spread(&ranges, 8, partitions_max);
            prop_assert!(parts.len() <= partitions_max.max(1));
            let rows = parts.iter().flatten().flat_map(|(index, range)| range.clone().map(move |row| (*index, row)));
            let wanted = ranges.iter().enumerate().flat_map(|(index, range)| range.clone().map(move |row| (index, row)));
            prop_assert_eq!(rows.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
            for (_, range) in parts.iter().flatten() {
                prop_assert_eq!(range.start / 8, (range.end - 1) / 8);
            }
        }
    }
}
