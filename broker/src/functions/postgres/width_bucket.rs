//! `width_bucket(x, low, high, n)`: which of `n` buckets of equal width between two bounds has `x`.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int32Array};
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type};
use datafusion::common::exec_err;
use datafusion::error::Result;

use super::Columns;

pub(super) fn function() -> Columns {
    let name = "width_bucket";
    let types = vec![DataType::Float64, DataType::Float64, DataType::Float64, DataType::Int32];
    Columns::new(name, types, Arc::new(Field::new(name, DataType::Int32, true)), |arguments| {
        let [values, lows, highs, counts] = arguments else {
            return exec_err!("width_bucket wants four arguments");
        };
        let (values, counts) = (values.as_primitive::<Float64Type>(), counts.as_primitive::<Int32Type>());
        let (lows, highs) = (lows.as_primitive::<Float64Type>(), highs.as_primitive::<Float64Type>());
        let bucket = |row: usize| {
            let is_null =
                values.is_null(row) || lows.is_null(row) || highs.is_null(row) || counts.is_null(row);
            match is_null {
                true => Ok(None),
                false => bucket_of(values.value(row), lows.value(row), highs.value(row), counts.value(row))
                    .map(Some),
            }
        };
        Ok(Arc::new((0..values.len()).map(bucket).collect::<Result<Int32Array>>()?))
    })
}

/// Bounds that fall count downwards. Source: `width_bucket_float8` in PostgreSQL's `src/backend/utils/adt/float.c`.
fn bucket_of(value: f64, low: f64, high: f64, count: i32) -> Result<i32> {
    let Some(above) = count.checked_add(1).filter(|above| *above > 1) else {
        return exec_err!("count must be greater than zero, and less than {}", i32::MAX);
    };
    if value.is_nan() || !low.is_finite() || !high.is_finite() || low == high {
        return exec_err!("width_bucket wants a number, and two bounds that are finite and not the same");
    }
    let (value, low, high) = if low < high { (value, low, high) } else { (-value, -low, -high) };
    Ok(if value < low {
        0
    } else if value >= high {
        above
    } else {
        // Below `high`, and rounded up to it all the same.
        ((f64::from(count) * ((value - low) / (high - low))).floor() as i32).min(count - 1) + 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets() {
        for (value, low, high, count, expected) in [
            (5.35, 0.024, 10.06, 5, Some(3)),
            (0.0, 1.0, 10.0, 5, Some(0)),
            (10.0, 1.0, 10.0, 5, Some(6)),
            (3.0, 10.0, 0.0, 5, Some(4)),
            (10.0, 10.0, 0.0, 5, Some(1)),
            (0.0, 10.0, 0.0, 5, Some(6)),
            (f64::INFINITY, 0.0, 1.0, 2, Some(3)),
            (0.999_999_999_999_999_9, 0.0, 1.0, 3, Some(3)),
            (1.0, 1.0, 1.0, 5, None),
            (1.0, 0.0, 2.0, 0, None),
            (1.0, 0.0, 2.0, i32::MAX, None),
            (f64::NAN, 0.0, 2.0, 1, None),
        ] {
            assert_eq!(bucket_of(value, low, high, count).ok(), expected, "{value} {low} {high} {count}");
        }
    }
}
