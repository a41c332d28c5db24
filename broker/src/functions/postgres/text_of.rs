//! `text_of(x)`: the value as PostgreSQL casts it to text, which is how it sends it: `\x00ff`, `2026-01-02 10:00:00+00`, `{a,b}`, `44`.
//!
//! Casts of its clients become this function where what runs would write something else; casts of others stay, so that their
//! texts are those of the answers in JSON. UUIDs and JSON are stored as their texts, and casting them would leave them what they
//! are declared to be: their text is told from them by this function. What compares it compares what is stored, so that an index
//! is of use.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue, exec_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{
    BinaryExpr, Cast, ColumnarValue, Expr, ExprSchemable, Like, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, cast, lit,
};
use headwater_segment::schema::ColumnType;

use crate::postgres::texts_of;
use crate::render::types::{declared, list_element};

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
            Expr::BinaryExpr(comparison) if COMPARISONS.contains(&comparison.op) => {
                let BinaryExpr { left, op, right } = comparison;
                let (left, is_left) = stored(*left, schema);
                let (right, is_right) = stored(*right, schema);
                let comparison = Expr::BinaryExpr(BinaryExpr { left, op, right });
                Transformed::new_transformed(comparison, is_left || is_right)
            }
            Expr::InList(among) => {
                let (expr, is_stored) = stored(*among.expr, schema);
                Transformed::new_transformed(Expr::InList(InList { expr, ..among }), is_stored)
            }
            Expr::Like(like) => {
                let (expr, is_stored) = stored(*like.expr, schema);
                Transformed::new_transformed(Expr::Like(Like { expr, ..like }), is_stored)
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

/// What compares texts.
const COMPARISONS: [Operator; 6] =
    [Operator::Eq, Operator::NotEq, Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq];

/// What is stored, and true, if `value` is the text of something that is stored as its text.
fn stored(value: Expr, schema: &DFSchema) -> (Box<Expr>, bool) {
    match value {
        Expr::ScalarFunction(mut call) if call.func.inner().is::<TextOf>() => match call.args.pop() {
            Some(stored) if is_declared(&stored, schema) => (Box::new(stored), true),
            argument => {
                call.args.extend(argument);
                (Box::new(Expr::ScalarFunction(call)), false)
            }
        },
        other => (Box::new(other), false),
    }
}

/// Whether values are texts that are declared to be something else.
fn is_declared(value: &Expr, schema: &DFSchema) -> bool {
    let declared = value.to_field(schema).ok().and_then(|(_, field)| declared(&field));
    matches!(declared, Some(ColumnType::Uuid | ColumnType::Json))
}

/// Whether PostgreSQL writes values of the type in another way, or has another type for them.
fn is_other(value: &Expr, schema: &DFSchema) -> bool {
    // What has no type here will be told so elsewhere.
    let Ok(data_type) = value.get_type(schema) else { return false };
    if data_type.is_string() {
        return is_declared(value, schema);
    }
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

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
    use arrow::datatypes::Schema;
    use datafusion::execution::FunctionRegistry;
    use datafusion::prelude::SessionContext;

    use super::super::declared_as;
    use super::*;

    fn session() -> SessionContext {
        let mut session = SessionContext::new();
        let text_of = Arc::new(function());
        session.register_udf(text_of.as_ref().clone());
        session.register_function_rewrite(Arc::new(MeaningsOfPostgres { text_of })).unwrap();
        let fields = [("id", ColumnType::Uuid), ("doc", ColumnType::Json), ("city", ColumnType::String)];
        let schema = Schema::new(fields.map(|(name, column_type)| declared_as(name, &column_type)).to_vec());
        let column = |text: &str| Arc::new(StringViewArray::from(vec![text])) as ArrayRef;
        let columns = vec![column("00000000-0000-0000-0000-000000000001"), column("{}"), column("Oslo")];
        session.register_batch("t", RecordBatch::try_new(Arc::new(schema), columns).unwrap()).unwrap();
        session
    }

    #[tokio::test]
    async fn the_text_of_a_uuid_is_a_text() {
        let session = session();
        let answer =
            session.sql("SELECT id, id::text AS i, doc::varchar AS d, city::text AS c FROM t").await.unwrap();
        let plan = answer.create_physical_plan().await.unwrap();
        let types: Vec<_> = plan.schema().fields().iter().map(|field| declared(field)).collect();
        assert_eq!(types, [Some(ColumnType::Uuid), None, None, Some(ColumnType::String)]);
    }

    #[tokio::test]
    async fn what_is_compared_is_what_is_stored() {
        let id = "'00000000-0000-0000-0000-000000000001'";
        for predicate in [
            format!("id::text = {id}"),
            format!("{id} <= id::varchar"),
            format!("id::text IN ({id}, 'x')"),
            "id::text LIKE '%1'".to_owned(),
        ] {
            let sql = format!("SELECT count(*) FROM t WHERE {predicate}");
            let plan = session().sql(&sql).await.unwrap().into_optimized_plan().unwrap().to_string();
            assert!(!plan.contains("text_of"), "{plan}");
        }
    }
}
