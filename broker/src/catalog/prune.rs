//! Which sealed segments a query must read, and what is known without reading them: the log's column statistics.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::DataType;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, ScalarValue};
use datafusion::physical_expr::{PhysicalExpr, conjunction_opt};
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use headwater_segment::log::LogSnapshot;
use headwater_segment::schema::TableSchema;
use headwater_segment::sealed::{ColumnStats, SegmentMeta, StatValue};

use crate::execute::layout::is_dynamic;
use crate::execute::source::Source;

/// A filter as far as the log's statistics can decide it. Made once per plan, used at every cut.
pub(crate) struct Pruner {
    /// None prunes nothing.
    predicate: Option<Arc<PruningPredicate>>,
}

impl Pruner {
    /// For the conjunction of `conjuncts` over the visible columns of `source`. A condition that the statistics cannot
    /// decide prunes nothing; whether it is an error shows when it runs.
    pub(crate) fn new(source: &Source, conjuncts: &[Arc<dyn PhysicalExpr>]) -> Self {
        let fixed = conjuncts.iter().filter(|conjunct| !is_dynamic(conjunct)).cloned();
        let schema = Arc::clone(&source.visible_schema);
        let predicate = conjunction_opt(fixed)
            .and_then(|filter| PruningPredicateBuilder::new().with_file_schema(schema).build(filter));
        Self { predicate }
    }

    /// The segments that may hold rows which pass.
    pub(super) fn surviving(
        &self,
        full: &TableSchema,
        segments: &[Arc<SegmentMeta>],
    ) -> Vec<Arc<SegmentMeta>> {
        let keep = self
            .predicate
            .as_ref()
            .filter(|_| !segments.is_empty())
            .and_then(|predicate| predicate.prune(&LogStatistics { full, segments }).ok());
        let Some(keep) = keep else { return segments.to_vec() };
        segments.iter().zip(keep).filter(|(_, keep)| *keep).map(|(segment, _)| Arc::clone(segment)).collect()
    }
}

/// The log's statistics, column by column over all segments.
struct LogStatistics<'a> {
    full: &'a TableSchema,
    segments: &'a [Arc<SegmentMeta>],
}

impl LogStatistics<'_> {
    fn bounds(&self, column: &Column, bound: fn(&ColumnStats) -> Option<&StatValue>) -> Option<ArrayRef> {
        let index = self.full.index_of(&column.name)?;
        let data_type = self.full.arrow().field(index).data_type();
        let null = ScalarValue::try_from(data_type).ok()?;
        let value = |segment: &Arc<SegmentMeta>| {
            let known = segment.columns.get(index).and_then(bound).and_then(|value| scalar(value, data_type));
            known.unwrap_or_else(|| null.clone())
        };
        ScalarValue::iter_to_array(self.segments.iter().map(value)).ok()
    }
}

impl PruningStatistics for LogStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |stats| stats.min.as_ref())
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |stats| stats.max.as_ref())
    }

    fn num_containers(&self) -> usize {
        self.segments.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let index = self.full.index_of(&column.name)?;
        let count = |segment: &Arc<SegmentMeta>| null_count(segment, index);
        Some(Arc::new(self.segments.iter().map(count).collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.segments.iter().map(|segment| Some(segment.rows)).collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// A segment that is older than a column has only NULL in it.
fn null_count(segment: &SegmentMeta, column: usize) -> Option<u64> {
    segment.columns.get(column).and_then(|stats| stats.null_count)
}

/// A bound in the type of its column; None if it does not fit, which no valid log has.
pub(super) fn scalar(value: &StatValue, data_type: &DataType) -> Option<ScalarValue> {
    Some(match (value, data_type) {
        (StatValue::Bool(value), DataType::Boolean) => ScalarValue::Boolean(Some(*value)),
        (StatValue::Int(value), DataType::Int32) => ScalarValue::Int32(Some(i32::try_from(*value).ok()?)),
        (StatValue::Int(value), DataType::Date32) => ScalarValue::Date32(Some(i32::try_from(*value).ok()?)),
        (StatValue::Int(value), DataType::Int64) => ScalarValue::Int64(Some(*value)),
        (StatValue::Int(value), DataType::Timestamp(_, zone)) => {
            ScalarValue::TimestampMicrosecond(Some(*value), zone.clone())
        }
        (StatValue::Float(value), DataType::Float32) => ScalarValue::Float32(Some(*value as f32)),
        (StatValue::Float(value), DataType::Float64) => ScalarValue::Float64(Some(*value)),
        (StatValue::Decimal(value), DataType::Decimal128(precision, scale)) => {
            ScalarValue::Decimal128(Some(*value), *precision, *scale)
        }
        (StatValue::Str(value), DataType::Utf8View) => ScalarValue::Utf8View(Some(value.to_string())),
        _ => return None,
    })
}

/// What is known of one column over all of `segments`, as estimates.
pub(super) fn estimate(full: &TableSchema, column: usize, segments: &[Arc<SegmentMeta>]) -> ColumnStatistics {
    let data_type = full.arrow().field(column).data_type();
    let bound = |of: fn(&ColumnStats) -> Option<&StatValue>, wanted: Ordering| {
        let mut best: Option<&StatValue> = None;
        for segment in segments {
            let value = segment.columns.get(column).and_then(of)?;
            if best.is_none_or(|best| compare(value, best) == Some(wanted)) {
                best = Some(value);
            }
        }
        best.and_then(|value| scalar(value, data_type))
    };
    let precision = |value: Option<ScalarValue>| value.map_or(Precision::Absent, Precision::Inexact);
    let nulls = segments.iter().map(|segment| null_count(segment, column)).sum::<Option<u64>>();
    ColumnStatistics {
        null_count: nulls.map_or(Precision::Absent, |nulls| Precision::Inexact(nulls as usize)),
        min_value: precision(bound(|stats| stats.min.as_ref(), Ordering::Less)),
        max_value: precision(bound(|stats| stats.max.as_ref(), Ordering::Greater)),
        ..ColumnStatistics::new_unknown()
    }
}

/// How two bounds of one column compare.
fn compare(left: &StatValue, right: &StatValue) -> Option<Ordering> {
    match (left, right) {
        (StatValue::Bool(left), StatValue::Bool(right)) => Some(left.cmp(right)),
        (StatValue::Int(left), StatValue::Int(right)) => Some(left.cmp(right)),
        (StatValue::Float(left), StatValue::Float(right)) => left.partial_cmp(right),
        (StatValue::Decimal(left), StatValue::Decimal(right)) => Some(left.cmp(right)),
        (StatValue::Str(left), StatValue::Str(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// Puts first the segments with the least values of a column, or with the greatest. Those with unknown ones come first.
pub(super) fn order(segments: &mut [Arc<SegmentMeta>], column: usize, descending: bool) {
    let key = |segment: &Arc<SegmentMeta>| {
        let stats = segment.columns.get(column);
        stats.and_then(|stats| if descending { stats.max.clone() } else { stats.min.clone() })
    };
    segments.sort_by_cached_key(|segment| Promise { bound: key(segment), descending });
}

/// A bound that sorts before those that promise less.
struct Promise {
    bound: Option<StatValue>,
    descending: bool,
}

impl Ord for Promise {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.bound, &other.bound) {
            (Some(left), Some(right)) => {
                let ordering = compare(left, right).unwrap_or(Ordering::Equal);
                if self.descending { ordering.reverse() } else { ordering }
            }
            (left, right) => left.is_some().cmp(&right.is_some()),
        }
    }
}

impl PartialOrd for Promise {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Promise {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Promise {}

/// The newest `$timestamp` of the sealed rows, in milliseconds since the epoch.
pub(super) fn newest_timestamp_ms(log: &LogSnapshot) -> Option<i64> {
    let column = log.schema.timestamp_column();
    let newest = |segment: &Arc<SegmentMeta>| match segment.columns.get(column)?.max {
        Some(StatValue::Int(micros)) => Some(micros.div_euclid(1000)),
        _ => None,
    };
    log.segments.iter().filter_map(newest).max()
}
