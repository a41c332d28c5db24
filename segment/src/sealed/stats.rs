//! What is known about a column of a sealed segment without reading it: null count, minimum, maximum.
//!
//! Bounds are computed from the arrays, exactly, by Arrow's kernels. They are only ever widened, never narrowed.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, AsArray};
use arrow::compute;
use arrow::datatypes::{
    ArrowNumericType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};

use crate::schema::ColumnType;

/// Bytes of text that a bound keeps.
pub(super) const TEXT_BOUND_BYTES_MAX: usize = 64;

/// A bound of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum StatValue {
    /// BOOLEAN.
    Bool(bool),
    /// INT, LONG; DATE in days and TIMESTAMP in microseconds since 1970-01-01T00:00:00Z.
    Int(i64),
    /// FLOAT, DOUBLE; always finite.
    Float(f64),
    /// DECIMAL as its unscaled integer.
    Decimal(i128),
    /// STRING, JSON, UUID.
    Str(Box<str>),
}

impl StatValue {
    /// How two bounds of one column compare; `None` if they are of different types.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => Some(left.cmp(right)),
            (Self::Int(left), Self::Int(right)) => Some(left.cmp(right)),
            // As segments' own bounds, and as filters are decided on them: -0 is below 0.
            (Self::Float(left), Self::Float(right)) => Some(left.total_cmp(right)),
            (Self::Decimal(left), Self::Decimal(right)) => Some(left.cmp(right)),
            (Self::Str(left), Self::Str(right)) => Some(left.cmp(right)),
            _ => None,
        }
    }
}

/// What is known about one column of one segment.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnStats {
    /// Rows that are NULL; `None` if unknown.
    pub null_count: Option<u64>,
    /// No value is less; `None` if unknown (or if there is no value).
    pub min: Option<StatValue>,
    /// No value is greater; `None` if unknown (or if there is no value).
    pub max: Option<StatValue>,
    /// Whether the bounds that are known are values of the column, not merely below and above all of them.
    pub exact: bool,
}

impl ColumnStats {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { null_count: None, min: None, max: None, exact: true };
}

/// Statistics of a column, and whether a float column holds a NaN.
pub(super) struct Collected {
    pub(super) stats: ColumnStats,
    pub(super) has_nan: bool,
}

impl Collected {
    /// The same, of a column that has this many NULLs beside the values that were looked at.
    pub(super) fn with_null_count(mut self, null_count: u64) -> Self {
        self.stats.null_count = Some(null_count);
        self
    }
}

/// Statistics of the column that `arrays` hold together; their Arrow type must be the column type's.
pub(super) fn collect(data_type: &ColumnType, arrays: &[&ArrayRef]) -> Collected {
    let null_count = arrays.iter().map(|array| array.null_count() as u64).sum();
    let mut has_nan = false;
    let int = |value: i64| StatValue::Int(value);
    let (min, max, exact) = match data_type {
        ColumnType::Boolean => both(boolean(arrays), StatValue::Bool),
        ColumnType::Int => both(primitive::<Int32Type>(arrays), |value| int(value.into())),
        ColumnType::Long => both(primitive::<Int64Type>(arrays), int),
        ColumnType::Date => both(primitive::<Date32Type>(arrays), |value| int(value.into())),
        ColumnType::TimestampMillis | ColumnType::TimestampMicros => {
            both(primitive::<TimestampMicrosecondType>(arrays), int)
        }
        ColumnType::Decimal(..) => both(primitive::<Decimal128Type>(arrays), StatValue::Decimal),
        ColumnType::Float => {
            let bounds = primitive::<Float32Type>(arrays);
            float(bounds.map(|(min, max)| (min.into(), max.into())), &mut has_nan)
        }
        ColumnType::Double => float(primitive::<Float64Type>(arrays), &mut has_nan),
        ColumnType::String | ColumnType::Json | ColumnType::Uuid => text(arrays),
        ColumnType::Bytes | ColumnType::Array(_) => (None, None, true),
    };
    Collected { stats: ColumnStats { null_count: Some(null_count), min, max, exact }, has_nan }
}

type Bounds = (Option<StatValue>, Option<StatValue>, bool);

fn both<V>(bounds: Option<(V, V)>, wrap: impl Fn(V) -> StatValue) -> Bounds {
    let (min, max) = bounds.unzip();
    (min.map(&wrap), max.map(&wrap), true)
}

/// Minimum and maximum; floats in total order, so that a NaN is an extreme.
fn primitive<T: ArrowNumericType>(arrays: &[&ArrayRef]) -> Option<(T::Native, T::Native)> {
    let arrays = || arrays.iter().map(|array| array.as_primitive::<T>());
    let min =
        arrays().filter_map(compute::min).reduce(|left, right| if right.is_lt(left) { right } else { left });
    let max =
        arrays().filter_map(compute::max).reduce(|left, right| if right.is_gt(left) { right } else { left });
    min.zip(max)
}

fn boolean(arrays: &[&ArrayRef]) -> Option<(bool, bool)> {
    let arrays = || arrays.iter().map(|array| array.as_boolean());
    arrays().filter_map(compute::min_boolean).min().zip(arrays().filter_map(compute::max_boolean).max())
}

fn float(bounds: Option<(f64, f64)>, has_nan: &mut bool) -> Bounds {
    let Some((min, max)) = bounds else { return (None, None, true) };
    *has_nan = min.is_nan() || max.is_nan();
    if *has_nan {
        return (None, None, true);
    }
    // JSON, which the table log's statistics are, has no infinity.
    let finite = |bound: f64| bound.is_finite().then_some(StatValue::Float(bound));
    (finite(min), finite(max), true)
}

fn text(arrays: &[&ArrayRef]) -> Bounds {
    let arrays = || arrays.iter().map(|array| array.as_string_view());
    let min = arrays().filter_map(compute::min_string_view).min();
    let max = arrays().filter_map(compute::max_string_view).max();
    let (Some(min), Some(max)) = (min, max) else { return (None, None, true) };
    let exact = min.len() <= TEXT_BOUND_BYTES_MAX && max.len() <= TEXT_BOUND_BYTES_MAX;
    let upper = if max.len() <= TEXT_BOUND_BYTES_MAX { Some(max.into()) } else { cut_and_round_up(max) };
    (Some(StatValue::Str(cut(min).into())), upper.map(StatValue::Str), exact)
}

pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BOUND_BYTES_MAX)]
}

/// The least text above every text that begins as `text` does; `None` if all its characters are the greatest one.
pub(super) fn cut_and_round_up(text: &str) -> Option<Box<str>> {
    let mut kept = cut(text);
    while let Some(last) = kept.chars().next_back() {
        kept = &kept[..kept.len() - last.len_utf8()];
        if let Some(next) = next_character(last) {
            return Some(format!("{kept}{next}").into());
        }
    }
    None
}

fn next_character(character: char) -> Option<char> {
    match character {
        // The surrogates between are no characters.
        '\u{D7FF}' => Some('\u{E000}'),
        other => char::from_u32(u32::from(other) + 1),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float32Array, Float64Array, Int32Array, StringViewArray};
    use proptest::prelude::*;

    use super::*;

    fn of(data_type: ColumnType, arrays: &[ArrayRef]) -> Collected {
        collect(&data_type, &arrays.iter().collect::<Vec<_>>())
    }

    fn of_text(values: &[&str]) -> ColumnStats {
        of(ColumnType::String, &[Arc::new(StringViewArray::from_iter_values(values))]).stats
    }

    #[test]
    fn bounds_span_all_arrays_and_nulls_are_counted() {
        let arrays: [ArrayRef; 3] = [
            Arc::new(Int32Array::from(vec![Some(5), None])),
            Arc::new(Int32Array::from(vec![None, None])),
            Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(7)])),
        ];
        let stats = of(ColumnType::Int, &arrays).stats;
        assert_eq!(stats.null_count, Some(3));
        assert_eq!(stats.min, Some(StatValue::Int(i32::MIN.into())));
        assert_eq!(stats.max, Some(StatValue::Int(7)));
        let empty = of(ColumnType::Int, &arrays[1..2]).stats;
        assert_eq!((empty.null_count, empty.min, empty.max), (Some(2), None, None));
    }

    #[test]
    fn a_nan_of_either_sign_makes_bounds_unknown() {
        for nan in [f64::NAN, -f64::NAN] {
            let collected = of(ColumnType::Double, &[Arc::new(Float64Array::from(vec![1.0, nan, -2.0]))]);
            assert!(collected.has_nan);
            assert_eq!((collected.stats.min, collected.stats.max), (None, None));
        }
        let narrow = of(ColumnType::Float, &[Arc::new(Float32Array::from(vec![0.1, -f32::NAN]))]);
        assert!(narrow.has_nan);
    }

    #[test]
    fn an_infinite_bound_is_unknown_and_the_other_stays() {
        let collected = of(ColumnType::Double, &[Arc::new(Float64Array::from(vec![f64::INFINITY, -2.5]))]);
        assert!(!collected.has_nan);
        assert_eq!((collected.stats.min, collected.stats.max), (Some(StatValue::Float(-2.5)), None));
    }

    #[test]
    fn long_text_is_cut_below_and_rounded_up_above() {
        let long = "m".repeat(100);
        let stats = of_text(&[&long]);
        assert!(!stats.exact);
        assert_eq!(stats.min, Some(StatValue::Str("m".repeat(64).into())));
        assert_eq!(stats.max, Some(StatValue::Str(format!("{}n", "m".repeat(63)).into())));
        assert!(of_text(&["a", &"z".repeat(64)]).exact);
    }

    #[test]
    fn text_without_an_upper_bound_has_none() {
        let stats = of_text(&[&char::MAX.to_string().repeat(40)]);
        assert!(stats.min.is_some() && stats.max.is_none() && !stats.exact);
    }

    proptest! {
        #[test]
        fn text_bounds_enclose_every_value(
            values in prop::collection::vec("[a-c\u{D7FF}\u{10FFFF}é]{0,90}", 1..5)
        ) {
            let stats = of_text(&values.iter().map(String::as_str).collect::<Vec<_>>());
            for value in &values {
                if let Some(StatValue::Str(min)) = &stats.min {
                    prop_assert!(**min <= **value && min.len() <= TEXT_BOUND_BYTES_MAX);
                }
                if let Some(StatValue::Str(max)) = &stats.max {
                    prop_assert!(**max >= **value);
                }
            }
        }
    }
}
