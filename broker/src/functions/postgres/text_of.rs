//! `text_of(x)`: the value as PostgreSQL casts it to text, which is how it sends it: `\x00ff`, `2026-01-02 10:00:00+00`, `{a,b}`, `44`.
//!
//! Casts of its clients become this function where what runs would write something else; casts of others stay, so that their
//! texts are those of the answers in JSON.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue, exec_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, cast, lit,
};

use crate::postgres::texts_of;
use crate::render::types::list_element;

/// The function.
pub(in crate::functions) fn function() -> ScalarUDF {
    ScalarUDF::from(TextOf { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextOf {
    signature: Signature,
}

impl ScalarUDFImpl for TextOf {
    fn name(&self) -> &str {
        "text_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ([value], [field]) = (args.args.as_slice(), args.arg_fields.as_slice()) else {
            return exec_err!("text_of wants a value");
        };
        let texts = |rows| {
            let array = value.to_array(rows)?;
            texts_of(field, &array).map_err(|error| DataFusionError::External(Box::new(error)))
        };
        Ok(match value {
            ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from_array(&texts(1)?, 0)?),
            ColumnarValue::Array(_) => ColumnarValue::Array(texts(args.number_rows)?),
        })
    }
}

/// What PostgreSQL's clients mean by a cast to text, and by a whole number of more than 63 bits, which is a `numeric` to them.
#[derive(Debug)]
pub(in crate::functions) struct MeaningsOfPostgres {
    pub(in crate::functions) text_of: Arc<ScalarUDF>,
}

impl FunctionRewrite for MeaningsOfPostgres {
    fn name(&self) -> &str {
        "read_as_clients_of_postgres"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        Ok(match expr {
            Expr::Cast(Cast { expr, field }) if field.data_type().is_string() && is_other(&expr, schema) => {
                Transformed::yes(self.text(*expr, &field))
            }
            Expr::Literal(ScalarValue::UInt64(Some(number)), _) if i64::try_from(number).is_err() => {
                Transformed::yes(lit(ScalarValue::Decimal128(Some(number.into()), 20, 0)))
            }
            other => Transformed::no(other),
        })
    }
}

impl MeaningsOfPostgres {
    fn text(&self, value: Expr, field: &FieldRef) -> Expr {
        let text = self.text_of.call(vec![value]);
        match field.data_type() {
            DataType::Utf8View => text,
            other => cast(text, other.clone()),
        }
    }
}

/// Whether PostgreSQL writes values of the type in another way.
fn is_other(value: &Expr, schema: &DFSchema) -> bool {
    // What has no type here will be told so elsewhere.
    let Ok(data_type) = value.get_type(schema) else { return false };
    list_element(&data_type).is_some()
        || matches!(
            data_type,
            DataType::Binary
                | DataType::BinaryView
                | DataType::LargeBinary
                | DataType::Float32
                | DataType::Float64
                | DataType::Interval(_)
                | DataType::Timestamp(..)
        )
}
