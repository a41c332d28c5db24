//! `approx_distinct` of FLOAT and DOUBLE, which DataFusion's own has no hash for: it counts the bits of the numbers, of which every
//! NaN has the same, and 0 has those of -0.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};

/// The function of the bits.
pub(super) fn function() -> ScalarUDF {
    let kinds = [DataType::Float32, DataType::Float64].map(|kind| TypeSignature::Exact(vec![kind]));
    ScalarUDF::from(FloatBits { signature: Signature::one_of(kinds.into(), Volatility::Immutable) })
}

/// Puts the bits in the place of the numbers.
#[derive(Debug)]
pub(super) struct CountBits {
    pub(super) float_bits: Arc<ScalarUDF>,
}

impl FunctionRewrite for CountBits {
    fn name(&self) -> &str {
        "count_float_bits"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let Expr::AggregateFunction(AggregateFunction { func, mut params }) = expr else {
            return Ok(Transformed::no(expr));
        };
        let is_float =
            |value: &Expr| matches!(value.get_type(schema), Ok(DataType::Float32 | DataType::Float64));
        let counted =
            params.args.first_mut().filter(|value| func.name() == "approx_distinct" && is_float(value));
        let is_counted = counted.is_some();
        if let Some(value) = counted {
            *value = self.float_bits.call(vec![value.clone()]);
        }
        let count = Expr::AggregateFunction(AggregateFunction { func, params });
        Ok(if is_counted { Transformed::yes(count) } else { Transformed::no(count) })
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FloatBits {
    signature: Signature,
}

impl ScalarUDFImpl for FloatBits {
    fn name(&self) -> &str {
        "float_bits"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [numbers] = arrays.as_slice() else { return exec_err!("float_bits wants one argument") };
        let bits: ArrayRef = match numbers.data_type() {
            DataType::Float32 => {
                let numbers = numbers.as_primitive::<Float32Type>();
                Arc::new(numbers.unary::<_, Int64Type>(|number| bits(number.into())))
            }
            _ => Arc::new(numbers.as_primitive::<Float64Type>().unary::<_, Int64Type>(bits)),
        };
        Ok(ColumnarValue::Array(bits))
    }
}

/// The same for numbers that are equal, and for all that are none.
fn bits(number: f64) -> i64 {
    let one_of_its_kind = match number {
        _ if number.is_nan() => f64::NAN,
        _ if number == 0.0 => 0.0,
        other => other,
    };
    one_of_its_kind.to_bits().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_have_the_same_bits() {
        let other_nan = f64::from_bits(f64::NAN.to_bits() | 1 << 63 | 1);
        assert!(other_nan.is_nan());
        for (one, other, are_one) in [
            (0.0, -0.0, true),
            (f64::NAN, other_nan, true),
            (f64::INFINITY, f64::NEG_INFINITY, false),
            (1.0, 1.0 + f64::EPSILON, false),
            (0.0, f64::from_bits(1), false),
            (f64::from(0.1_f32), 0.1, false),
        ] {
            assert_eq!(bits(one) == bits(other), are_one, "{one} {other}");
        }
    }
}
