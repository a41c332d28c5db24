//! `ROUND(x, n)` of whole numbers, as Pinot's clients mean it: `x` cut to a multiple of `n`, towards 0. It is how they put times into
//! buckets (`round` of Pinot's `DateTimeFunctions`). Digits are what `ROUNDDECIMAL` counts, which is SQL's `round` under another name;
//! fractional numbers keep SQL's meaning in both.

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::functions::math::round::RoundFunc;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, cast,
};

/// Rounds to digits, whoever asks.
pub(crate) const ROUND_DIGITS: &str = "rounddecimal";

/// The function that rounds to digits.
pub(super) fn to_digits() -> ScalarUDF {
    ScalarUDF::from(RoundDigits { stock: RoundFunc::new() })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RoundDigits {
    stock: RoundFunc,
}

impl ScalarUDFImpl for RoundDigits {
    fn name(&self) -> &str {
        ROUND_DIGITS
    }

    fn signature(&self) -> &Signature {
        self.stock.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.stock.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.stock.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.stock.invoke_with_args(args)
    }
}

/// Reads `round` as Pinot does.
#[derive(Debug)]
pub(super) struct RoundToMultiples;

impl FunctionRewrite for RoundToMultiples {
    fn name(&self) -> &str {
        "round_to_multiples"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let is_whole = |expr: &Expr| expr.get_type(schema).is_ok_and(|kind| kind.is_integer());
        let whole = |expr: &Expr| match expr.get_type(schema) {
            Ok(DataType::Int64) => expr.clone(),
            _ => cast(expr.clone(), DataType::Int64),
        };
        let multiple_of = match &expr {
            Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "round" => {
                match args.as_slice() {
                    [number, multiple] if is_whole(number) && is_whole(multiple) => Some((number, multiple)),
                    _ => None,
                }
            }
            _ => None,
        };
        Ok(match multiple_of {
            // Not (x / n) * n, of which an optimizer makes 0 where n is 0: that is an error.
            Some((number, multiple)) => Transformed::yes(whole(number) - whole(number) % whole(multiple)),
            None => Transformed::no(expr),
        })
    }
}
