//! What a filter demands of a row that bloom filters can answer: before a sealed segment is loaded, its filters are asked
//! whether it holds any of the values that `column = x` and `column IN (...)` name.
//!
//! Only types whose values are equal if and only if their bytes are: text, bytes, integers, days and microseconds. A
//! DOUBLE has two zeros and many NaN, so it has neither a filter nor a probe. NULL is equal to nothing, so it is no value.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::physical_expr::utils::{Guarantee, LiteralGuarantee};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, Gauge, MetricBuilder};
use headwater_segment::resident::Wish;
use headwater_segment::sealed::{Probe, SegmentMeta};

use super::options::Toggle;
use super::source::{Source, segment_error};
use crate::request::QueryStats;

/// Longer lists are not asked for: at 1 % false positives a filter denies so many values in about half of the cases.
const VALUES_MAX: usize = 64;

/// Values of one column, one of which every row that passes holds.
#[derive(Debug, PartialEq)]
pub(crate) struct Demand {
    /// Place in the table's schema.
    column: usize,
    values: Vec<Value>,
}

#[derive(Debug, PartialEq)]
enum Value {
    Int(i64),
    Bytes(Box<[u8]>),
}

impl Demand {
    fn probes(&self) -> Vec<Probe<'_>> {
        let values = self.values.iter();
        let probes = values.map(|value| match value {
            Value::Int(integer) => Probe::Int(*integer),
            Value::Bytes(bytes) => Probe::Bytes(bytes),
        });
        probes.collect()
    }
}

/// What a filter over the visible columns of `source` demands that guarantees this.
pub(crate) fn demands(source: &Source, guarantees: &[LiteralGuarantee]) -> Arc<[Demand]> {
    guarantees.iter().filter_map(|guarantee| demand(source, guarantee)).collect()
}

fn demand(source: &Source, guarantee: &LiteralGuarantee) -> Option<Demand> {
    if guarantee.guarantee != Guarantee::In || guarantee.literals.len() > VALUES_MAX {
        return None;
    }
    let visible = source.visible_schema.index_of(&guarantee.column.name).ok()?;
    let data_type = source.visible_schema.field(visible).data_type();
    let literals = guarantee.literals.iter().filter(|literal| !literal.is_null());
    let values = literals.map(|literal| value(literal, data_type)).collect::<Option<Vec<_>>>()?;
    (!values.is_empty()).then(|| Demand { column: source.visible[visible], values })
}

/// A literal as a column of this type stores it; `None` if it is of another type, or one that no filter has.
fn value(literal: &ScalarValue, column: &DataType) -> Option<Value> {
    let integer = match (column, literal) {
        (DataType::Int32, ScalarValue::Int32(value)) | (DataType::Date32, ScalarValue::Date32(value)) => {
            i64::from((*value)?)
        }
        (DataType::Int64, ScalarValue::Int64(value)) => (*value)?,
        // Microseconds since the epoch, whatever the zone.
        (DataType::Timestamp(TimeUnit::Microsecond, _), ScalarValue::TimestampMicrosecond(value, _)) => {
            (*value)?
        }
        (
            DataType::Utf8View,
            ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text),
        ) => return Some(Value::Bytes(text.as_deref()?.as_bytes().into())),
        (
            DataType::BinaryView,
            ScalarValue::Binary(bytes) | ScalarValue::LargeBinary(bytes) | ScalarValue::BinaryView(bytes),
        ) => return Some(Value::Bytes(bytes.as_deref()?.into())),
        _ => return None,
    };
    Some(Value::Int(integer))
}

/// What one operator asks the bloom filters of the segments that it would load.
#[derive(Clone)]
pub(crate) struct Probes {
    demands: Arc<[Demand]>,
    /// Whether filters are asked at any cost, even where the columns are in memory.
    forced: bool,
    /// Segments that were not loaded.
    pruned: Option<PrunedByBloom>,
}

/// Counters of one operator over segments, and the query's.
#[derive(Clone)]
pub(crate) struct SegmentCounts {
    /// Segments that are, or were, to be read.
    scanned: Gauge,
    /// Segments that were left out.
    pruned: Count,
    /// The query's counters, of all its operators.
    stats: Arc<QueryStats>,
}

impl SegmentCounts {
    /// For an operator that is about to read `left` of `total` segments, as the query's counters know already.
    pub(crate) fn new(
        metrics: &ExecutionPlanMetricsSet,
        total: usize,
        left: usize,
        stats: &Arc<QueryStats>,
    ) -> Self {
        let scanned = MetricBuilder::new(metrics).global_gauge("segments_scanned");
        let pruned = MetricBuilder::new(metrics).global_counter("segments_pruned");
        scanned.add(left);
        pruned.add(total - left);
        Self { scanned, pruned, stats: Arc::clone(stats) }
    }

    /// One of the segments is not read after all.
    fn prune(&self) {
        self.scanned.sub(1);
        self.pruned.add(1);
        self.stats.segments_scanned.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct PrunedByBloom {
    segments: Count,
    counts: SegmentCounts,
}

impl Probes {
    /// Counts in `metrics` and `counts`, if there is anything to ask.
    pub(crate) fn new(
        demands: &Arc<[Demand]>,
        toggle: Toggle,
        metrics: &ExecutionPlanMetricsSet,
        counts: SegmentCounts,
    ) -> Self {
        if toggle == Toggle::Off || demands.is_empty() {
            return Self::none();
        }
        let segments = MetricBuilder::new(metrics).global_counter("segments_pruned_by_bloom");
        let pruned = Some(PrunedByBloom { segments, counts });
        Self { demands: Arc::clone(demands), forced: toggle == Toggle::On, pruned }
    }

    /// Asks nothing.
    pub(crate) fn none() -> Self {
        Self { demands: Arc::new([]), forced: false, pruned: None }
    }

    /// Whether the filters are to be asked although the columns are in memory.
    pub(super) fn are_forced(&self) -> bool {
        self.forced && !self.demands.is_empty()
    }

    /// Counts a segment that was not loaded, once.
    pub(super) fn count_pruned(&self) {
        if let Some(pruned) = &self.pruned {
            pruned.segments.add(1);
            pruned.counts.prune();
        }
    }

    /// Whether filters that are in memory say that no row of the segment passes.
    pub(super) fn is_known_absent(&self, source: &Source, meta: &SegmentMeta) -> bool {
        self.demands.iter().any(|demand| {
            let wish = Wish { column: demand.column, values: &demand.probes() };
            source.residents.is_known_absent(&source.schema, meta, wish)
        })
    }

    /// Whether the segment's filters say that no row of it passes; `columns`, places in the table's schema, are what would
    /// be loaded. On a runtime with I/O.
    pub(super) async fn is_absent(
        &self,
        source: &Source,
        meta: &Arc<SegmentMeta>,
        columns: &[usize],
    ) -> Result<bool> {
        let load = (!self.forced).then_some(columns);
        for demand in self.demands.iter() {
            let values = demand.probes();
            let wish = Wish { column: demand.column, values: &values };
            let absent = source.residents.is_absent(&source.readers, &source.schema, meta, wish, load);
            if absent.await.map_err(segment_error)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
