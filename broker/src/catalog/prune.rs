//! Which sealed segments a query must read, and what is known without reading them: the log's column statistics. What the
//! filter demands of single values is passed on, for the bloom filters of segments that are about to be loaded.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt64Array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, UInt64Type};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, ScalarValue};
use datafusion::physical_expr::{PhysicalExpr, conjunction_opt};
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use headwater_segment::log::{ColumnBounds, LogSnapshot, SegmentChunk, Segments, array_of};
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

    /// The segments that may hold rows which pass. First whole chunks are decided, then the segments of those that are left.
    pub(super) fn surviving<'a>(&self, full: &'a TableSchema, segments: &'a Segments) -> Surviving<'a> {
        let chunks = segments.chunks();
        let all = || chunks.iter().map(|chunk| (&**chunk, None)).collect();
        let Some(predicate) = self.predicate.as_ref().filter(|_| !segments.is_empty()) else {
            return Surviving { full, chunks: all() };
        };
        let kept: Vec<&SegmentChunk> = match predicate.prune(&ChunkStatistics { full, chunks }) {
            Ok(keep) => {
                chunks.iter().zip(keep).filter(|(_, keep)| *keep).map(|(chunk, _)| &**chunk).collect()
            }
            Err(_) => return Surviving { full, chunks: all() },
        };
        let kept_segments = kept.iter().map(|chunk| chunk.places().len()).sum();
        let statistics = LogStatistics { full, chunks: &kept, segments: kept_segments };
        let Some(keep) = predicate.prune(&statistics).ok().filter(|_| kept_segments > 0) else {
            return Surviving { full, chunks: kept.into_iter().map(|chunk| (chunk, None)).collect() };
        };
        let mut keep = keep.as_slice();
        let mut left = Vec::with_capacity(kept.len());
        for chunk in kept {
            let (own, others) = keep.split_at(chunk.places().len());
            keep = others;
            match own.iter().filter(|keep| **keep).count() {
                0 => {}
                count if count == own.len() => left.push((chunk, None)),
                _ => left.push((chunk, Some(own.to_vec()))),
            }
        }
        Surviving { full, chunks: left }
    }
}

/// Segments of a table that a filter leaves.
pub(super) struct Surviving<'a> {
    full: &'a TableSchema,
    /// Chunks with segments that are left, and which those are; `None`: all.
    chunks: Vec<(&'a SegmentChunk, Option<Vec<bool>>)>,
}

impl<'a> Surviving<'a> {
    /// How many segments there are.
    pub(super) fn count(&self) -> usize {
        let count = |(chunk, kept): &(&SegmentChunk, Option<Vec<bool>>)| match kept {
            None => chunk.places().len(),
            Some(kept) => kept.iter().filter(|kept| **kept).count(),
        };
        self.chunks.iter().map(count).sum()
    }

    /// Rows of them.
    pub(super) fn rows(&self) -> u64 {
        let rows = |(chunk, kept): &(&SegmentChunk, Option<Vec<bool>>)| match kept {
            None => chunk.rows(),
            Some(kept) => {
                let counts = chunk.row_counts().as_primitive::<UInt64Type>().values();
                counts.iter().zip(kept).filter(|(_, kept)| **kept).map(|(rows, _)| rows).sum()
            }
        };
        self.chunks.iter().map(rows).sum()
    }

    /// The segments, in the order of the log.
    pub(super) fn segments(&self) -> Vec<Arc<SegmentMeta>> {
        let mut segments = Vec::with_capacity(self.count());
        for (chunk, kept) in &self.chunks {
            let places = chunk.places().iter();
            match kept {
                None => segments.extend(places.map(|place| Arc::clone(&place.meta))),
                Some(kept) => {
                    let kept = places.zip(kept).filter(|(_, kept)| **kept);
                    segments.extend(kept.map(|(place, _)| Arc::clone(&place.meta)));
                }
            }
        }
        segments
    }

    /// What is known of one column over all of them, as estimates: a chunk of which some are left counts with the bounds of all
    /// its segments.
    pub(super) fn estimate(&self, column: usize) -> ColumnStatistics {
        let data_type = self.full.arrow().field(column).data_type();
        let stats =
            || self.chunks.iter().map(|(chunk, _)| chunk.bounds(self.full, column).map(|known| &known.all));
        let bound = |of: fn(&ColumnStats) -> Option<&StatValue>, wanted: Ordering| {
            let mut best: Option<&StatValue> = None;
            for stats in stats() {
                let value = of(stats?)?;
                if best.map_or(Some(wanted), |best| value.compare(best))? == wanted {
                    best = Some(value);
                }
            }
            best.and_then(|value| scalar(value, data_type))
        };
        let precision = |value: Option<ScalarValue>| value.map_or(Precision::Absent, Precision::Inexact);
        let nulls = stats().map(|stats| stats?.null_count).sum::<Option<u64>>();
        ColumnStatistics {
            null_count: nulls.map_or(Precision::Absent, |nulls| Precision::Inexact(nulls as usize)),
            min_value: precision(bound(|stats| stats.min.as_ref(), Ordering::Less)),
            max_value: precision(bound(|stats| stats.max.as_ref(), Ordering::Greater)),
            ..ColumnStatistics::new_unknown()
        }
    }
}

/// The log's statistics, column by column, with each chunk of segments as one.
struct ChunkStatistics<'a> {
    full: &'a TableSchema,
    chunks: &'a [Arc<SegmentChunk>],
}

impl ChunkStatistics<'_> {
    fn known(&self, column: &Column) -> Option<impl Iterator<Item = Option<&ColumnStats>>> {
        let index = self.full.index_of(&column.name)?;
        Some(self.chunks.iter().map(move |chunk| chunk.bounds(self.full, index).map(|known| &known.all)))
    }

    fn bounds(&self, column: &Column, bound: fn(&ColumnStats) -> Option<&StatValue>) -> Option<ArrayRef> {
        let index = self.full.index_of(&column.name)?;
        let data_type = self.full.arrow().field(index).data_type();
        array_of(self.known(column)?.map(|stats| bound(stats?)), data_type)
    }
}

impl PruningStatistics for ChunkStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |stats| stats.min.as_ref())
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |stats| stats.max.as_ref())
    }

    fn num_containers(&self) -> usize {
        self.chunks.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let counts = self.known(column)?.map(|stats| stats?.null_count);
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.chunks.iter().map(|chunk| Some(chunk.rows())).collect::<UInt64Array>()))
    }

    /// The log has no sets of values.
    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// The log's statistics, column by column over all segments of some chunks.
struct LogStatistics<'a> {
    full: &'a TableSchema,
    chunks: &'a [&'a SegmentChunk],
    segments: usize,
}

impl LogStatistics<'_> {
    fn of(&self, column: &Column, array: fn(&ColumnBounds) -> Option<&ArrayRef>) -> Option<ArrayRef> {
        let index = self.full.index_of(&column.name)?;
        let arrays = self.chunks.iter().map(|chunk| array(chunk.bounds(self.full, index)?));
        together(&arrays.collect::<Option<Vec<_>>>()?)
    }
}

/// One array of all; what is one already is not copied.
fn together(arrays: &[&ArrayRef]) -> Option<ArrayRef> {
    match arrays {
        [array] => Some(Arc::clone(array)),
        arrays => {
            let arrays: Vec<&dyn Array> = arrays.iter().map(|array| &***array).collect();
            concat(&arrays).ok()
        }
    }
}

impl PruningStatistics for LogStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of(column, |bounds| bounds.arrays.as_ref().map(|arrays| &arrays.min))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of(column, |bounds| bounds.arrays.as_ref().map(|arrays| &arrays.max))
    }

    fn num_containers(&self) -> usize {
        self.segments
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        self.of(column, |bounds| Some(&bounds.null_counts))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        together(&self.chunks.iter().map(|chunk| chunk.row_counts()).collect::<Vec<_>>())
    }

    /// The log has no sets of values.
    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
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
                let ordering = left.compare(right).unwrap_or(Ordering::Equal);
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
    let newest = |chunk: &Arc<SegmentChunk>| match chunk.bounds(&log.schema, column)?.all.max {
        Some(StatValue::Int(micros)) => Some(micros.div_euclid(1000)),
        _ => None,
    };
    log.segments.chunks().iter().filter_map(newest).max()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions as physical;

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

    fn spec() -> TableSchema {
        let spec = "name: t\ncolumns: [{name: a, type: LONG}]\nstream: {brokers: 'k:1', topic: t}\n";
        TableSchema::new(&headwater_segment::spec::parse_spec(spec).unwrap())
    }

    /// What `condition` over column `a` leaves.
    fn surviving(condition: Arc<dyn PhysicalExpr>, schema: &TableSchema, segments: &Segments) -> Vec<i64> {
        let predicate =
            PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema.arrow())).build(condition);
        let pruner = Pruner { predicate, demands: Arc::new([]) };
        assert!(pruner.predicate.is_some());
        let left = pruner.surviving(schema, segments);
        let found = left.segments();
        assert_eq!(left.count(), found.len());
        assert_eq!(left.rows(), found.iter().map(|segment| segment.rows).sum::<u64>());
        let (least, known) =
            (found.iter().map(|segment| segment.columns[0].min.as_ref()), left.estimate(0).min_value);
        for least in least.flatten() {
            let least = scalar(least, &DataType::Int64).unwrap();
            assert!(known.get_value().is_none_or(|known| *known <= least), "{known:?} is above {least}");
        }
        found.iter().map(|segment| segment.from).collect()
    }

    #[test]
    fn a_segment_is_left_if_its_bounds_allow_it_however_many_there_are() {
        let schema = spec();
        let condition = |low: i64, high: i64| {
            let column = || Arc::new(physical::Column::new("a", 0)) as Arc<dyn PhysicalExpr>;
            let from =
                physical::binary(column(), Operator::GtEq, physical::lit(low), schema.arrow()).unwrap();
            let to = physical::binary(column(), Operator::Lt, physical::lit(high), schema.arrow()).unwrap();
            physical::binary(from, Operator::And, to, schema.arrow()).unwrap()
        };
        // In order as time is, and in none; each seventh is unknown, and each eleventh has no value.
        for spread in [1, 7919] {
            let bounds = |from: i64| (from * spread % 3000 * 10, from * spread % 3000 * 10 + 15);
            let placed = (0..3000_i64).map(|from| {
                let (min, max) = bounds(from);
                let known = from % 7 != 0 && from % 11 != 0;
                let mut meta = meta(known.then_some(min), known.then_some(max)).as_ref().clone();
                (meta.from, meta.to, meta.rows) = (from, from + 1, 1 + from as u64 % 5);
                meta.columns[0].null_count = match (from % 7, from % 11) {
                    (0, _) => None,
                    (_, 0) => Some(meta.rows),
                    _ => Some(0),
                };
                ((0, 0, from), Arc::new(meta))
            });
            let segments: Segments = placed.collect();
            assert!(segments.chunks().len() > 3);
            for (low, high) in
                [(0, 1), (12_345, 12_400), (-5, 0), (29_995, 40_000), (i64::MIN, i64::MAX), (9, 3)]
            {
                let expected = (0..3000_i64).filter(|from| {
                    let (min, max) = bounds(*from);
                    from % 7 == 0 || (from % 11 != 0 && max >= low && min < high)
                });
                let found = surviving(condition(low, high), &schema, &segments);
                assert_eq!(found, expected.collect::<Vec<_>>(), "{low} to {high}, spread {spread}");
            }
        }
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
