//! `skewness(x)` and `kurtosis(x)`: how lopsided numbers lie around their mean, and how heavy the tails are beyond those of a normal
//! distribution.
//!
//! Both are the estimates from a sample that Pinot takes over from Apache Commons Math: NaN for less than three or four
//! numbers, 0 where they are all the same; NULL where there are none. The moments are updated one number at a time and merged as in
//! P. Pébay, "Formulas for Robust, One-Pass Parallel Computation of Covariances and Arbitrary-Order Statistical Moments", 2008: sums
//! of powers would cancel each other out.

use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{ScalarValue, exec_err, not_impl_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

/// Below this a variance is none.
const VARIANCE_MIN: f64 = 1e-19;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shape {
    Skewness,
    Kurtosis,
}

/// The functions.
pub(super) fn functions() -> [AggregateUDF; 2] {
    let function = |name, shape| {
        let signature = Signature::exact(vec![DataType::Float64], Volatility::Immutable);
        AggregateUDF::from(OfShape { name, shape, signature })
    };
    [function("skewness", Shape::Skewness), function("kurtosis", Shape::Kurtosis)]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfShape {
    name: &'static str,
    shape: Shape,
    signature: Signature,
}

impl AggregateUDFImpl for OfShape {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return not_impl_err!("{} of distinct values", self.name);
        }
        Ok(Box::new(Counted { moments: Moments::default(), shape: self.shape }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let field = |name| Arc::new(Field::new(format_state_name(args.name, name), DataType::Float64, false));
        Ok(["count", "mean", "second", "third", "fourth"].map(field).to_vec())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Count, mean, and the sums of the second to fourth powers of the distances from the mean.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: f64,
    mean: f64,
    second: f64,
    third: f64,
    fourth: f64,
}

impl Moments {
    fn of(value: f64) -> Self {
        Self { count: 1.0, mean: value, ..Self::default() }
    }

    /// Of the numbers of both.
    fn merged(self, other: Self) -> Self {
        if self.count == 0.0 || other.count == 0.0 {
            return if self.count == 0.0 { other } else { self };
        }
        let (a, b, count) = (self.count, other.count, self.count + other.count);
        let delta = other.mean - self.mean;
        // As shares, so that no power of a count can grow large.
        let (share_a, share_b, step) = (a / count, b / count, delta * delta);
        Self {
            count,
            mean: self.mean + delta * share_b,
            second: self.second + other.second + step * a * share_b,
            third: self.third
                + other.third
                + step * delta * a * share_b * (share_a - share_b)
                + 3.0 * delta * (share_a * other.second - share_b * self.second),
            fourth: self.fourth
                + other.fourth
                + step * step * a * share_b * (share_a * share_a - share_a * share_b + share_b * share_b)
                + 6.0 * step * (share_a * share_a * other.second + share_b * share_b * self.second)
                + 4.0 * delta * (share_a * other.third - share_b * self.third),
        }
    }

    fn shape(&self, shape: Shape) -> Option<f64> {
        let n = self.count;
        let least = match shape {
            Shape::Skewness => 3.0,
            Shape::Kurtosis => 4.0,
        };
        if n < least {
            return (n > 0.0).then_some(f64::NAN);
        }
        let variance = self.second / (n - 1.0);
        if variance < VARIANCE_MIN {
            return Some(0.0);
        }
        Some(match shape {
            Shape::Skewness => n * self.third / ((n - 1.0) * (n - 2.0) * variance * variance.sqrt()),
            Shape::Kurtosis => {
                let tails = n * (n + 1.0) * self.fourth / ((n - 1.0) * variance * variance);
                (tails - 3.0 * (n - 1.0) * (n - 1.0)) / ((n - 2.0) * (n - 3.0))
            }
        })
    }
}

#[derive(Debug)]
struct Counted {
    moments: Moments,
    shape: Shape,
}

impl Accumulator for Counted {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [values] = values else { return exec_err!("skewness and kurtosis want one argument") };
        let values = values.as_primitive::<Float64Type>().iter().flatten();
        self.moments = values.fold(self.moments, |moments, value| moments.merged(Moments::of(value)));
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.moments.shape(self.shape)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let Moments { count, mean, second, third, fourth } = self.moments;
        Ok([count, mean, second, third, fourth].map(|part| ScalarValue::Float64(Some(part))).to_vec())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [count, mean, second, third, fourth] = states else {
            return exec_err!("skewness and kurtosis have five states");
        };
        let part = |states: &ArrayRef, row: usize| states.as_primitive::<Float64Type>().value(row);
        for row in 0..count.len() {
            let other = Moments {
                count: part(count, row),
                mean: part(mean, row),
                second: part(second, row),
                third: part(third, row),
                fourth: part(fourth, row),
            };
            self.moments = self.moments.merged(other);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f64]) -> Moments {
        values.iter().fold(Moments::default(), |moments, value| moments.merged(Moments::of(*value)))
    }

    #[test]
    fn shapes_of_samples() {
        // By their definitions, over exact fractions.
        let cases: [(&[f64], Option<f64>, Option<f64>); 5] = [
            (&[], None, None),
            (&[1.0, 2.0], Some(f64::NAN), Some(f64::NAN)),
            (&[1.0, 2.0, 4.0], Some(0.935_219_529_582_824_6), Some(f64::NAN)),
            (&[5.0, 5.0, 5.0, 5.0], Some(0.0), Some(0.0)),
            (&[2.0, 8.0, 0.0, 4.0, 1.0, 9.0, 9.0, 0.0], Some(0.330_582_180_4), Some(-2.098_602_258_1)),
        ];
        for (values, skewness, kurtosis) in cases {
            for (shape, expected) in [(Shape::Skewness, skewness), (Shape::Kurtosis, kurtosis)] {
                let found = moments(values).shape(shape);
                let is_same = match (found, expected) {
                    (Some(found), Some(expected)) if expected.is_nan() => found.is_nan(),
                    (Some(found), Some(expected)) => (found - expected).abs() < 1e-6,
                    (found, expected) => found == expected,
                };
                assert!(is_same, "{shape:?} of {values:?} is {found:?}");
            }
        }
    }

    #[test]
    fn halves_answer_like_the_whole() {
        // Far from 0, where sums of powers would have no digits left.
        let values: Vec<f64> = (0..1000).map(|i| 1e9 + f64::from(i * i % 997)).collect();
        let whole = moments(&values);
        let merged = moments(&values[..1]).merged(moments(&values[1..700]).merged(moments(&values[700..])));
        for shape in [Shape::Skewness, Shape::Kurtosis] {
            let (whole, merged) = (whole.shape(shape).unwrap(), merged.shape(shape).unwrap());
            assert!((whole - merged).abs() < 1e-9, "{shape:?}: {whole} and {merged}");
        }
    }
}
