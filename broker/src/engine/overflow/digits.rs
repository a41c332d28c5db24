//! An expression around decimal arithmetic whose type is at its most digits, so that a result may have more.
//!
//! Arrow computes `99999999999999999999999999999999999999 + 1` as DECIMAL(38,0), and shows it without its last digit.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DECIMAL32_MAX_PRECISION, DECIMAL64_MAX_PRECISION, DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION,
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, FieldRef, Schema,
};
use arrow::error::ArrowError;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::proto_encode::PhysicalExprEncodeCtx;
use datafusion_proto::protobuf::PhysicalExprNode;

/// The expression.
#[derive(Debug, Eq)]
pub(super) struct DigitsChecked(Arc<dyn PhysicalExpr>);

// Not derived: rust-lang/rust#78808.
impl PartialEq for DigitsChecked {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq(&other.0)
    }
}

impl Hash for DigitsChecked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl DigitsChecked {
    /// `arithmetic` of `data_type`, checked if that cannot hold all its results.
    pub(super) fn around(arithmetic: Arc<dyn PhysicalExpr>, data_type: &DataType) -> Arc<dyn PhysicalExpr> {
        let is_full = match *data_type {
            DataType::Decimal32(precision, _) => precision >= DECIMAL32_MAX_PRECISION,
            DataType::Decimal64(precision, _) => precision >= DECIMAL64_MAX_PRECISION,
            DataType::Decimal128(precision, _) => precision >= DECIMAL128_MAX_PRECISION,
            DataType::Decimal256(precision, _) => precision >= DECIMAL256_MAX_PRECISION,
            _ => false,
        };
        if is_full { Arc::new(Self(arithmetic)) } else { arithmetic }
    }
}

/// Fails if a decimal has more digits than its type says.
pub(super) fn check_digits(values: &ArrayRef) -> Result<(), ArrowError> {
    match *values.data_type() {
        DataType::Decimal32(precision, _) => {
            values.as_primitive::<Decimal32Type>().validate_decimal_precision(precision)
        }
        DataType::Decimal64(precision, _) => {
            values.as_primitive::<Decimal64Type>().validate_decimal_precision(precision)
        }
        DataType::Decimal128(precision, _) => {
            values.as_primitive::<Decimal128Type>().validate_decimal_precision(precision)
        }
        DataType::Decimal256(precision, _) => {
            values.as_primitive::<Decimal256Type>().validate_decimal_precision(precision)
        }
        _ => Ok(()),
    }
}

impl fmt::Display for DigitsChecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In parentheses, as an operand of further arithmetic.
        write!(f, "({})", self.0)
    }
}

impl PhysicalExpr for DigitsChecked {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.0.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.0.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.0.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let value = self.0.evaluate(batch)?;
        let checked = match &value {
            ColumnarValue::Array(values) => check_digits(values),
            ColumnarValue::Scalar(value) => check_digits(&value.to_array()?),
        };
        let overflow = |error: ArrowError| {
            let text = format!("{}; cast the operands to fewer digits or to DOUBLE", error_text(&error));
            DataFusionError::ArrowError(Box::new(ArrowError::ArithmeticOverflow(text)), None)
        };
        checked.map_err(overflow).map(|()| value)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.0]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self(children.swap_remove(0))))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_sql(f)
    }

    /// The operand alone: whoever decodes a plan puts all checks back.
    fn try_to_proto(&self, context: &PhysicalExprEncodeCtx<'_>) -> Result<Option<PhysicalExprNode>> {
        context.encode_child(&self.0).map(Some)
    }
}

fn error_text(error: &ArrowError) -> String {
    match error {
        ArrowError::InvalidArgumentError(text) => text.clone(),
        other => other.to_string(),
    }
}
