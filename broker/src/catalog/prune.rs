//! Which sealed segments a query must read, and what is known without reading them: the log's column statistics. What the
//! filter demands of single values is passed on, for the bloom filters of segments that are about to be loaded.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array,
    StringViewArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, ScalarValue};
use datafusion::physical_expr::{PhysicalExpr, conjunction_opt};
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use headwater_segment::log::LogSnapshot;
use headwater_segment::schema::TableSchema;
use headwater_segment::sealed::{ColumnStats, SegmentMeta, StatValue};

use crate::execute::layout::is_dynamic;
use crate::execute::probe::{Demand, demands};
use crate::execute::source::Source;

/// A filter as far as the log's statistics and bloom filters can decide it. Made once per plan, used at every cut.
pub(crate) struct Pruner {
    /// None prunes nothing.
    predicate: Option<Arc<PruningPredicate>>,
    demands: Arc<[Demand]>,
}

impl Pruner {
    /// For the conjunction of `conjuncts` over the visible columns of `source`. A condition that the statistics cannot
    /// decide prunes nothing; whether it is an error shows when it runs.
    pub(crate) fn new(source: &Source, conjuncts: &[Arc<dyn PhysicalExpr>]) -> Self {
        let fixed = conjuncts.iter().filter(|conjunct| !is_dynamic(conjunct)).cloned();
        let schema = Arc::clone(&source.visible_schema);
        let predicate = conjunction_opt(fixed)
            .and_then(|filter| PruningPredicateBuilder::new().with_file_schema(schema).build(filter));
        let guarantees = predicate.as_ref().map_or(&[][..], |predicate| predicate.literal_guarantees());
        let demands = demands(source, guarantees);
        Self { predicate: predicate.filter(|_| source.options.zones), demands }
    }

    /// What bloom filters may be asked.
    pub(crate) fn demands(&self) -> &Arc<[Demand]> {
        &self.demands
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
        let values = self.segments.iter().map(|segment| segment.columns.get(index).and_then(bound));
        array_of(values, data_type)
    }
}

/// Bounds as an array of their column's type. A bound of another type, which no valid log has, is unknown.
fn array_of<'a>(
    values: impl Iterator<Item = Option<&'a StatValue>>,
    data_type: &DataType,
) -> Option<ArrayRef> {
    let integers = |value: Option<&StatValue>| match value {
        Some(StatValue::Int(value)) => Some(*value),
        _ => None,
    };
    let floats = |value: Option<&StatValue>| match value {
        Some(StatValue::Float(value)) => Some(*value),
        _ => None,
    };
    let small = |value| integers(value).and_then(|value| i32::try_from(value).ok());
    Some(match data_type {
        DataType::Boolean => {
            let flag = |value: Option<&StatValue>| match value {
                Some(StatValue::Bool(value)) => Some(*value),
                _ => None,
            };
            Arc::new(values.map(flag).collect::<BooleanArray>())
        }
        DataType::Int32 => Arc::new(values.map(small).collect::<Int32Array>()),
        DataType::Date32 => Arc::new(values.map(small).collect::<Date32Array>()),
        DataType::Int64 => Arc::new(values.map(integers).collect::<Int64Array>()),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let times: TimestampMicrosecondArray = values.map(integers).collect();
            Arc::new(times.with_timezone_opt(zone.clone()))
        }
        DataType::Float32 => {
            Arc::new(values.map(|value| floats(value).map(|value| value as f32)).collect::<Float32Array>())
        }
        DataType::Float64 => Arc::new(values.map(floats).collect::<Float64Array>()),
        DataType::Decimal128(precision, scale) => {
            let unscaled = |value: Option<&StatValue>| match value {
                Some(StatValue::Decimal(value)) => Some(*value),
                _ => None,
            };
            let decimals: Decimal128Array = values.map(unscaled).collect();
            Arc::new(decimals.with_precision_and_scale(*precision, *scale).ok()?)
        }
        DataType::Utf8View => {
            let text = |value: Option<&'a StatValue>| match value {
                Some(StatValue::Str(value)) => Some::<&str>(value),
                _ => None,
            };
            Arc::new(values.map(text).collect::<StringViewArray>())
        }
        _ => return None,
    })
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

    /// The log has no sets of values.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(min: Option<i64>, max: Option<i64>) -> Arc<SegmentMeta> {
        let int = |value: Option<i64>| value.map(StatValue::Int);
        let stats = ColumnStats { null_count: Some(0), min: int(min), max: int(max), exact: true };
        Arc::new(SegmentMeta {
            path: String::new(),
            id: ulid::Ulid::nil(),
            partition: 0,
            from: 0,
            to: 1,
            rows: 1,
            size_bytes: 1,
            format_version: 1,
            index_settings: 0,
            sealed_at_ms: 0,
            index_offset: 0,
            index_length: 0,
            tail_crc32c: 0,
            dead_letters: 0,
            columns: vec![stats],
        })
    }

    #[test]
    fn promising_segments_come_first_and_unknown_ones_before_them() {
        let segments =
            [meta(Some(1), Some(9)), meta(None, None), meta(Some(3), Some(20)), meta(Some(-5), Some(0))];
        for (descending, expected) in [(false, [1, 3, 0, 2]), (true, [1, 2, 0, 3])] {
            let mut ordered = segments.to_vec();
            order(&mut ordered, 0, descending);
            let places =
                ordered.iter().map(|segment| segments.iter().position(|other| Arc::ptr_eq(other, segment)));
            assert_eq!(places.collect::<Option<Vec<_>>>().unwrap(), expected, "descending: {descending}");
        }
    }

    #[test]
    fn bounds_have_their_columns_type_or_are_unknown() {
        let bounds =
            [Some(StatValue::Int(7)), None, Some(StatValue::Int(i64::MAX)), Some(StatValue::Bool(true))];
        let timestamps = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        for data_type in [DataType::Int32, DataType::Date32, DataType::Int64, timestamps, DataType::Float64] {
            let array = array_of(bounds.iter().map(Option::as_ref), &data_type).unwrap();
            assert_eq!(array.data_type(), &data_type);
            for (row, bound) in bounds.iter().enumerate() {
                let alone = bound.as_ref().and_then(|bound| scalar(bound, &data_type));
                let alone = alone.unwrap_or(ScalarValue::try_from(&data_type).unwrap());
                assert_eq!(
                    ScalarValue::try_from_array(&array, row).unwrap(),
                    alone,
                    "{data_type}, row {row}"
                );
            }
        }
    }
}
