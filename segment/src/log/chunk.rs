//! A run of sealed segments that stand side by side, and what is known of their columns.
//!
//! Bounds are laid out column by column when first asked for, so that a filter is decided for all segments of a chunk by Arrow's
//! kernels, and for the chunk as a whole by one comparison. A column that nobody filters by costs nothing; one that somebody does
//! takes some 24 bytes a segment, and more for text.

use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array,
    StringViewArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, TimeUnit};
use ulid::Ulid;

use super::segments::SegmentKey;
use crate::schema::TableSchema;
use crate::sealed::{ColumnStats, SegmentMeta, StatValue};

/// A segment and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Partition, epoch, first offset.
    pub key: SegmentKey,
    /// The segment's identity.
    pub id: Ulid,
    /// The segment.
    pub meta: Arc<SegmentMeta>,
}

impl Place {
    /// The stream epoch that the segment's offsets belong to.
    pub fn epoch(&self) -> u32 {
        self.key.1
    }
}

/// Neighbouring segments. Never empty where others see it.
#[derive(Debug)]
pub struct SegmentChunk {
    places: Vec<Place>,
    rows: u64,
    size_bytes: u64,
    row_counts: OnceLock<ArrayRef>,
    /// By schema order.
    bounds: OnceLock<Box<[OnceLock<ColumnBounds>]>>,
}

/// What is known of one column of a chunk.
#[derive(Debug)]
pub struct ColumnBounds {
    /// Of each segment, in order, in the column's type; `None` if bounds of this type have no array.
    pub arrays: Option<BoundArrays>,
    /// NULLs of each segment, UINT64.
    pub null_counts: ArrayRef,
    /// Over all segments, as far as it is known of all of them.
    pub all: ColumnStats,
}

/// Bounds of a column, one of each for every segment, NULL where it is unknown.
#[derive(Debug)]
pub struct BoundArrays {
    /// No value is less.
    pub min: ArrayRef,
    /// No value is greater.
    pub max: ArrayRef,
}

impl Clone for SegmentChunk {
    /// Clones are made to be changed, so nothing that is known goes along.
    fn clone(&self) -> Self {
        Self::of(self.places.clone())
    }
}

impl SegmentChunk {
    /// Of places in order.
    pub(super) fn of(places: Vec<Place>) -> Self {
        debug_assert!(places.is_sorted_by(|left, right| left.key < right.key), "segments out of order");
        Self {
            rows: places.iter().map(|place| place.meta.rows).sum(),
            size_bytes: places.iter().map(|place| place.meta.size_bytes).sum(),
            places,
            row_counts: OnceLock::new(),
            bounds: OnceLock::new(),
        }
    }

    /// The segments and where they stand, in order.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Rows of all of them.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Length of all objects, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Rows of each segment, UINT64.
    pub fn row_counts(&self) -> &ArrayRef {
        self.row_counts.get_or_init(|| {
            Arc::new(self.places.iter().map(|place| Some(place.meta.rows)).collect::<UInt64Array>())
        })
    }

    /// What is known of a column of `schema`, which must be that of the version which the chunk is of. `None` if it has no such
    /// column.
    pub fn bounds(&self, schema: &TableSchema, column: usize) -> Option<&ColumnBounds> {
        let columns = schema.columns().len();
        let bounds = self.bounds.get_or_init(|| (0..columns).map(|_| OnceLock::new()).collect());
        let data_type = schema.arrow().fields().get(column)?.data_type();
        Some(bounds.get(column)?.get_or_init(|| self.bounds_of(column, data_type)))
    }

    fn bounds_of(&self, column: usize, data_type: &DataType) -> ColumnBounds {
        let stats = || self.places.iter().map(|place| place.meta.columns.get(column));
        let min = array_of(stats().map(|stats| stats?.min.as_ref()), data_type);
        let max = array_of(stats().map(|stats| stats?.max.as_ref()), data_type);
        let null_counts = stats().map(|stats| stats?.null_count).collect::<UInt64Array>();
        ColumnBounds {
            arrays: min.zip(max).map(|(min, max)| BoundArrays { min, max }),
            null_counts: Arc::new(null_counts),
            all: self.all_of(column),
        }
    }

    /// Segments without a value in the column have no part in its bounds.
    fn all_of(&self, column: usize) -> ColumnStats {
        let bound = |of: fn(&ColumnStats) -> Option<&StatValue>, wanted: Ordering| {
            let mut best: Option<&StatValue> = None;
            for Place { meta, .. } in &self.places {
                let stats = meta.columns.get(column)?;
                if stats.null_count == Some(meta.rows) {
                    continue;
                }
                let value = of(stats)?;
                if best.map_or(Some(wanted), |best| value.compare(best))? == wanted {
                    best = Some(value);
                }
            }
            best.cloned()
        };
        let nulls = self.places.iter().map(|place| place.meta.columns.get(column)?.null_count);
        ColumnStats {
            null_count: nulls.sum(),
            min: bound(|stats| stats.min.as_ref(), Ordering::Less),
            max: bound(|stats| stats.max.as_ref(), Ordering::Greater),
            exact: false,
        }
    }

    pub(super) fn first_key(&self) -> SegmentKey {
        self.places.first().map_or((i32::MIN, 0, 0), |place| place.key)
    }

    pub(super) fn last_key(&self) -> SegmentKey {
        self.places.last().map_or((i32::MIN, 0, 0), |place| place.key)
    }

    /// Puts a segment in its place; the answer is the one that was there.
    pub(super) fn insert(&mut self, place: Place) -> Option<Arc<SegmentMeta>> {
        self.row_counts = OnceLock::new();
        self.bounds = OnceLock::new();
        self.rows += place.meta.rows;
        self.size_bytes += place.meta.size_bytes;
        let at = self.places.partition_point(|other| other.key < place.key);
        match self.places.get_mut(at).filter(|other| other.key == place.key) {
            Some(other) => {
                let replaced = std::mem::replace(other, place).meta;
                self.rows -= replaced.rows;
                self.size_bytes -= replaced.size_bytes;
                Some(replaced)
            }
            None => {
                self.places.insert(at, place);
                None
            }
        }
    }

    /// Leaves the first half, and returns the second.
    pub(super) fn split(&mut self) -> Self {
        let right = self.places.split_off(self.places.len() / 2);
        *self = Self::of(std::mem::take(&mut self.places));
        Self::of(right)
    }
}

/// Bounds as an array of their column's type; `None` if it has no bounds. A bound of another type, which no valid log has, is
/// unknown.
pub fn array_of<'a>(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::{meta, spec};

    fn place(from: i64, min: Option<i64>, max: Option<i64>, nulls: u64) -> Place {
        let int = |value: Option<i64>| value.map(StatValue::Int);
        let stats = ColumnStats { null_count: Some(nulls), min: int(min), max: int(max), exact: true };
        let mut meta = meta(&spec(), 0, from, from + 1).as_ref().clone();
        (meta.rows, meta.columns[0]) = (10, stats);
        Place { key: (0, 0, from), id: meta.id, meta: Arc::new(meta) }
    }

    fn all(chunk: &SegmentChunk) -> (Option<u64>, Option<StatValue>, Option<StatValue>) {
        let all = &chunk.bounds(&TableSchema::new(&spec()), 0).unwrap().all;
        (all.null_count, all.min.clone(), all.max.clone())
    }

    #[test]
    fn the_bounds_of_a_chunk_are_those_of_its_segments_as_far_as_they_are_known() {
        let int = |value| Some(StatValue::Int(value));
        let mut chunk = SegmentChunk::of(vec![place(0, Some(3), Some(9), 1), place(1, Some(-4), Some(2), 0)]);
        assert_eq!(all(&chunk), (Some(1), int(-4), int(9)));
        // One without a value changes nothing, and one that nothing is known of leaves nothing known.
        chunk.insert(place(2, None, None, 10));
        assert_eq!(all(&chunk), (Some(11), int(-4), int(9)));
        chunk.insert(place(3, None, Some(50), 2));
        assert_eq!(all(&chunk), (Some(13), None, int(50)));
        assert_eq!((chunk.rows(), chunk.row_counts().len()), (40, 4));
        // In its place again, with other bounds.
        chunk.insert(place(3, Some(0), Some(60), 2));
        assert_eq!(all(&chunk), (Some(13), int(-4), int(60)));
        assert_eq!((chunk.rows(), chunk.places().len()), (40, 4));
    }

    #[test]
    fn zeros_of_both_signs_are_two_bounds_in_whatever_order_they_come() {
        let float = |value: f64| Some(StatValue::Float(value));
        for (first, second) in
            [((-1.0, -0.0), (-2.0, 0.0)), ((-0.0, 2.0), (0.0, 1.0)), ((0.0, 1.0), (-0.0, 2.0))]
        {
            let places = [first, second].into_iter().zip(0..).map(|((min, max), from)| {
                let mut place = place(from, None, None, 0);
                let meta = Arc::make_mut(&mut place.meta);
                (meta.columns[0].min, meta.columns[0].max) = (float(min), float(max));
                place
            });
            let all = SegmentChunk::of(places.collect()).all_of(0);
            let bits = |bound: Option<StatValue>| match bound {
                Some(StatValue::Float(value)) => value.to_bits(),
                _ => 0,
            };
            let least = if first.0.total_cmp(&second.0).is_lt() { first.0 } else { second.0 };
            let greatest = if first.1.total_cmp(&second.1).is_gt() { first.1 } else { second.1 };
            assert_eq!((bits(all.min), bits(all.max)), (least.to_bits(), greatest.to_bits()));
        }
    }

    #[test]
    fn a_chunk_of_nulls_has_no_bounds() {
        let chunk = SegmentChunk::of(vec![place(0, None, None, 10)]);
        assert_eq!(all(&chunk), (Some(10), None, None));
    }
}
