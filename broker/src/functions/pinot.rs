//! What Pinot's clients mean where SQL means something else, or nothing: only sessions of theirs have it.
//!
//! | written | means |
//! |---|---|
//! | `raw = '00ff'`, `raw IN ('00ff', …)`, also `!=`, `<`, `BETWEEN`, … | the bytes that are written in hex |
//! | `tags = 'x'`, `tags LIKE 'x%'`, also `<`, `IN`, `BETWEEN`, `regexp_like` | any element of the array is so |
//! | `tags != 'x'`, `tags NOT IN ('x', 'y')` | no element equals |
//! | `doc['a']['b']`, `doc.a.b` | the text at a path of a JSON document, as a MAP column has it in Pinot |
//!
//! Arrays are Pinot's columns of several values. That `!=` and `NOT IN` say something of all values, and everything else of any,
//! is `isExclusive` of its `Predicate.Type` and `applyMV` of its `BaseRawValueBasedPredicateEvaluator`. `NOT BETWEEN` and `NOT LIKE`
//! are the opposites of what they negate. NULL has no elements that could be compared, so the answer is NULL; a NULL within an
//! array equals nothing.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, ExprSchema, ScalarValue, TableReference, plan_err};
use datafusion::error::Result;
use datafusion::functions_nested::array_any_match::array_any_match_higher_order_function;
use datafusion::logical_expr::expr::{
    Between, HigherOrderFunction, InList, Lambda, LambdaVariable, Like, ScalarFunction,
};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, Operator, binary_expr, lit};
use datafusion_functions_json::udfs::json_as_text_udf;
use headwater_segment::schema::ColumnType;

use super::compare::{Compare, Said, Side};
use super::days::midnights;
use super::millis::instants;
use super::mixed::{bytes_of_hex, mixed, text_of};
use super::postgres::literals::literals;
use crate::render::types::declared;

/// How elements of arrays are compared.
const ELEMENTS: Compare = Compare(&[midnights, bytes, instants, mixed, literals]);

/// A text beside bytes is their hex. It comes before what would read it as PostgreSQL's.
pub(super) fn bytes(subject: &Side<'_>, operator: Operator, text: &Side<'_>) -> Result<Option<Said>> {
    if !is_bytes(subject.data_type()) || !text.data_type().is_string() {
        return Ok(None);
    }
    let hex = text_of(text.expr).map(|text| text.strip_prefix("\\x").unwrap_or(text));
    match hex.and_then(bytes_of_hex) {
        Some(bytes) => Ok(Some(Said::Beside(operator, lit(ScalarValue::BinaryView(Some(bytes)))))),
        None => plan_err!(
            "{} is no hex: BYTES are compared with two digits for each byte, such as '00ff'; for those of a text write \
             toUtf8('text')",
            text.expr
        ),
    }
}

/// Whether any element of the array compares so; with `!=`, whether none is equal.
pub(super) fn arrays(array: &Side<'_>, operator: Operator, other: &Side<'_>) -> Result<Option<Said>> {
    let Some(element) = element_of(array.data_type()) else { return Ok(None) };
    if element_of(other.data_type()).is_some() || other.data_type().is_null() {
        return Ok(None);
    }
    let (is_exclusive, operator) = match operator {
        Operator::NotEq => (true, Operator::Eq),
        Operator::IsDistinctFrom | Operator::IsNotDistinctFrom => return Ok(None),
        other => (false, other),
    };
    let any = any_element(array.expr.clone(), element, &|value| {
        // An element has a type of its own, whatever columns there are.
        let columns = DFSchema::empty();
        let compared = match Side::of(&value, &columns) {
            Some(element) => ELEMENTS.compared(&element, operator, other)?,
            None => None,
        };
        Ok(compared.unwrap_or_else(|| binary_expr(value, operator, other.expr.clone())))
    })?;
    Ok(Some(Said::Whole(if is_exclusive { !any } else { any })))
}

/// Paths of documents when they are planned, and predicates of arrays when they are analyzed: before [`Compare`] reads their
/// items and bounds.
#[derive(Debug)]
pub(super) struct MeaningsOfPinot;

impl ExprPlanner for MeaningsOfPinot {
    fn plan_field_access(
        &self,
        expr: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let GetFieldAccess::NamedStructField { name } = &expr.field_access else {
            return Ok(PlannerResult::Original(expr));
        };
        let json_as_text = json_as_text_udf();
        match &expr.expr {
            Expr::ScalarFunction(ScalarFunction { func, args }) if *func == json_as_text => {
                let deeper = args.iter().cloned().chain([lit(name.clone())]);
                Ok(PlannerResult::Planned(json_as_text.call(deeper.collect())))
            }
            Expr::Column(column) if schema.field_from_column(column).is_ok_and(|field| is_json(field)) => {
                Ok(PlannerResult::Planned(json_as_text.call(vec![expr.expr, lit(name.clone())])))
            }
            _ => Ok(PlannerResult::Original(expr)),
        }
    }

    fn plan_compound_identifier(
        &self,
        field: &Field,
        qualifier: Option<&TableReference>,
        nested_names: &[String],
    ) -> Result<PlannerResult<Vec<Expr>>> {
        if !is_json(field) {
            return Ok(PlannerResult::Original(Vec::new()));
        }
        let document = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        let path = nested_names.iter().map(|name| lit(name.as_str()));
        Ok(PlannerResult::Planned(json_as_text_udf().call(std::iter::once(document).chain(path).collect())))
    }
}

impl FunctionRewrite for MeaningsOfPinot {
    fn name(&self) -> &str {
        "read_as_pinot"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let Some(Ok(data_type)) = subject(&expr).map(|subject| subject.get_type(schema)) else {
            return Ok(Transformed::no(expr));
        };
        if is_bytes(&data_type) && matches!(expr, Expr::Like(_)) {
            return plan_err!("BYTES have no letters for LIKE; write bytesToHex(x) LIKE '00%'");
        }
        let (Some(element), Some(array)) = (element_of(&data_type), subject(&expr).cloned()) else {
            return Ok(Transformed::no(expr));
        };
        let is_nested = |item: &Expr| item.get_type(schema).is_ok_and(|kind| kind.is_nested());
        let is_negated = match &expr {
            Expr::InList(among) if among.list.iter().any(is_nested) => return Ok(Transformed::no(expr)),
            Expr::InList(InList { negated, .. })
            | Expr::Between(Between { negated, .. })
            | Expr::Like(Like { negated, .. }) => *negated,
            _ => false,
        };
        let any = any_element(array, element, &|value| {
            let of_value = of_value(&expr, value);
            Ok(ELEMENTS.predicate(&of_value, schema)?.unwrap_or(of_value))
        })?;
        Ok(Transformed::yes(if is_negated { !any } else { any }))
    }
}

/// What a predicate says something of.
fn subject(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::InList(InList { expr, .. })
        | Expr::Between(Between { expr, .. })
        | Expr::Like(Like { expr, .. }) => Some(expr),
        Expr::ScalarFunction(call) if call.name() == "regexp_like" => call.args.first(),
        _ => None,
    }
}

/// What the predicate says, not negated, of another value.
fn of_value(predicate: &Expr, value: Expr) -> Expr {
    match predicate.clone() {
        Expr::InList(InList { list, .. }) => value.in_list(list, false),
        Expr::Between(Between { low, high, .. }) => value.between(*low, *high),
        Expr::Like(like) => Expr::Like(Like { negated: false, expr: Box::new(value), ..like }),
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            func.call(std::iter::once(value).chain(args.into_iter().skip(1)).collect())
        }
        other => other,
    }
}

fn element_of(data_type: &DataType) -> Option<&FieldRef> {
    match data_type {
        DataType::List(element) => Some(element),
        _ => None,
    }
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::BinaryView | DataType::LargeBinary)
}

fn is_json(field: &Field) -> bool {
    declared(field) == Some(ColumnType::Json)
}

fn any_element(array: Expr, element: &FieldRef, predicate: &dyn Fn(Expr) -> Result<Expr>) -> Result<Expr> {
    const ELEMENT: &str = "element";
    let field = Arc::new(element.as_ref().clone().with_name(ELEMENT));
    let value = Expr::LambdaVariable(LambdaVariable::new(ELEMENT.into(), Some(field)));
    // An element that is NULL must not make the whole NULL.
    let holds = Expr::IsTrue(Box::new(predicate(value)?));
    let lambda = Expr::Lambda(Lambda::new(vec![ELEMENT.into()], holds));
    let any = HigherOrderFunction::new(array_any_match_higher_order_function(), vec![array, lambda]);
    Ok(Expr::HigherOrderFunction(any))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;
    use datafusion::common::DFSchema;
    use datafusion::logical_expr::cast;

    use super::*;

    fn read(subject: &DataType, item: &Expr) -> Result<Option<Expr>> {
        let schema = DFSchema::empty();
        let subject_expr = cast(lit(ScalarValue::Null), subject.clone());
        let (subject, item) = (Side::of(&subject_expr, &schema).unwrap(), Side::of(item, &schema).unwrap());
        Ok(bytes(&subject, Operator::Eq, &item)?.map(|said| match said {
            Said::Beside(_, item) => item,
            Said::Whole(said) => said,
        }))
    }

    #[test]
    fn a_text_beside_bytes_is_hex() {
        for (hex, bytes) in [("", &b""[..]), ("00ff", b"\x00\xff"), ("\\x00FF", b"\x00\xff"), ("61", b"a")] {
            let expected = lit(ScalarValue::BinaryView(Some(bytes.to_vec())));
            assert_eq!(read(&DataType::BinaryView, &lit(hex)).unwrap(), Some(expected), "{hex}");
        }
        let no_literal = cast(lit("00"), DataType::Utf8View);
        for bad in [lit("0"), lit("abc"), lit("0x00"), lit(" 00"), lit("é"), no_literal] {
            assert!(read(&DataType::BinaryView, &bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_needs_no_reading_stays() {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let bytes = lit(ScalarValue::BinaryView(Some(Vec::new())));
        for (subject, item) in [
            (DataType::Utf8View, lit("x")),
            (DataType::BinaryView, bytes.clone()),
            (DataType::Utf8, bytes),
            (micros, lit("x")),
        ] {
            assert_eq!(read(&subject, &item).unwrap(), None);
        }
    }
}
