//! Which sealed segments a query must read, and what is known without reading them: the log's column statistics.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, DFSchema, ScalarValue, Statistics};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use headwater_segment::log::LogSnapshot;
use headwater_segment::schema::TableSchema;
use headwater_segment::sealed::{ColumnStats, SegmentMeta, StatValue};

/// The segments that may hold rows which pass `filters`. `visible` is the schema that the filters speak of.
pub(super) fn surviving(
    state: &dyn Session,
    visible: &SchemaRef,
    full: &TableSchema,
    segments: &[Arc<SegmentMeta>],
    filters: &[Expr],
) -> Result<Vec<Arc<SegmentMeta>>> {
    let Some(filter) = conjunction(filters.iter().cloned()) else { return Ok(segments.to_vec()) };
    let expression = state.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(visible))?)?;
    // A filter that cannot be decided by statistics prunes nothing; whether it is an error shows when it runs.
    let predicate = PruningPredicateBuilder::new().with_file_schema(Arc::clone(visible)).build(expression);
    let keep = predicate.and_then(|predicate| predicate.prune(&LogStatistics { full, segments }).ok());
    let Some(keep) = keep else { return Ok(segments.to_vec()) };
    Ok(segments.iter().zip(keep).filter(|(_, keep)| *keep).map(|(segment, _)| Arc::clone(segment)).collect())
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

/// What DataFusion may know of a segment's `visible` columns: enough to answer COUNT, MIN and MAX from the log.
pub(super) fn statistics(full: &TableSchema, visible: &[usize], segment: &SegmentMeta) -> Statistics {
    let column = |index: &usize| {
        let data_type = full.arrow().field(*index).data_type();
        let stats = segment.columns.get(*index);
        let bound = |value: Option<&StatValue>| match value.and_then(|value| scalar(value, data_type)) {
            Some(value) if stats.is_some_and(|stats| stats.exact) => Precision::Exact(value),
            Some(value) => Precision::Inexact(value),
            None => Precision::Absent,
        };
        let nulls = null_count(segment, *index).and_then(|count| usize::try_from(count).ok());
        ColumnStatistics {
            null_count: nulls.map_or(Precision::Absent, Precision::Exact),
            min_value: bound(stats.and_then(|stats| stats.min.as_ref())),
            max_value: bound(stats.and_then(|stats| stats.max.as_ref())),
            ..ColumnStatistics::new_unknown()
        }
    };
    Statistics {
        num_rows: Precision::Exact(segment.rows as usize),
        total_byte_size: Precision::Inexact(segment.size_bytes as usize),
        column_statistics: visible.iter().map(column).collect(),
    }
}

/// The newest `$timestamp` of the sealed rows, in milliseconds since the epoch.
pub(super) fn newest_timestamp_ms(log: &LogSnapshot) -> Option<i64> {
    let column = log.schema.timestamp_column();
    let newest = |segment: &Arc<SegmentMeta>| match segment.columns.get(column)?.max {
        Some(StatValue::Int(micros)) => Some(micros.div_euclid(1000)),
        _ => None,
    };
    log.segments.iter().filter_map(newest).max()
}
