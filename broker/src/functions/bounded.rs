//! Functions of DataFusion whose result is as large as an argument says, or as the product of two: `repeat('x', 2000000000)`.
//!
//! A query's memory is accounted for by its operators, between batches. What one call makes of one batch is seen by nobody, and a
//! single statement could take all memory of the machine. So these functions are asked what they would make ([`sizes`]) before they
//! make it, and refuse what is too large. They are DataFusion's own in everything else: names, types, documentation.
//!
//! A call whose arguments are all constants is folded when the statement is planned; a refusal then leaves the call as it is, and is
//! said again when it runs.

mod sizes;

use std::sync::Arc;

use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};

use sizes::{Size, letters};

/// Bytes that a call makes of one batch: 64 KiB for each of 8,192 rows.
const BATCH_BYTES_MAX: u64 = 512 << 20;

/// Bytes of a constant. Operators repeat one for each row of a batch, which they do without asking: 8,192 times.
const CONSTANT_BYTES_MAX: u64 = 1 << 20;

const LIMITS: Limits = Limits { batch: BATCH_BYTES_MAX, constant: CONSTANT_BYTES_MAX };

/// Puts the bounds around those that `registry` has.
pub(super) fn register(registry: &mut impl FunctionRegistry) -> Result<()> {
    let sizes = [
        ("repeat", Size::Repeat),
        ("lpad", Size::Pad),
        ("rpad", Size::Pad),
        ("replace", Size::Replace),
        ("regexp_replace", Size::RegexpReplace),
        ("array_repeat", Size::ArrayRepeat),
        ("array_resize", Size::ArrayResize),
        ("array_to_string", Size::ArrayToString),
        ("range", Size::Range),
        ("generate_series", Size::Range),
    ];
    for (name, size) in sizes {
        let inner = registry.udf(name)?;
        registry.register_udf(Arc::new(ScalarUDF::from(Bounded { inner, size, limits: LIMITS })))?;
    }
    Ok(())
}

/// In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Limits {
    batch: u64,
    constant: u64,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    size: Size,
    limits: Limits,
}

impl Bounded {
    fn refused(&self, bytes: u128, max: u64) -> DataFusionError {
        DataFusionError::ResourcesExhausted(format!(
            "{} would make {bytes} bytes at once, and more than {max} are refused: ask for less",
            self.name()
        ))
    }

    /// Both halves of the batch, as what is known beforehand is only the most that a call can make.
    fn in_halves(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let middle = args.number_rows / 2;
        let half = |start: usize, rows: usize| {
            let values = args.args.iter().map(|value| match value {
                ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(start, rows)),
                ColumnarValue::Scalar(_) => value.clone(),
            });
            let values = values.collect();
            let args = ScalarFunctionArgs { args: values, number_rows: rows, ..args.clone() };
            self.invoke_with_args(args)?.into_array(rows)
        };
        let halves = [half(0, middle)?, half(middle, args.number_rows - middle)?];
        let bytes = halves.iter().map(letters).sum();
        if bytes > u128::from(self.limits.batch) {
            return Err(self.refused(bytes, self.limits.batch));
        }
        Ok(ColumnarValue::Array(concat(&[halves[0].as_ref(), halves[1].as_ref()])?))
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(args, context)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let (rows, max) = match is_constant {
            true => (1, self.limits.constant),
            false => (args.number_rows, self.limits.batch),
        };
        let bytes = self.size.bytes(&args.args, rows)?;
        if bytes <= u128::from(max) {
            return self.inner.invoke_with_args(args);
        }
        // One row that may be too large is refused: it cannot be told without making it.
        match self.size.is_at_most() && rows > 1 {
            true => self.in_halves(args),
            false => Err(self.refused(bytes, max)),
        }
    }
}

#[cfg(test)]
mod tests;
