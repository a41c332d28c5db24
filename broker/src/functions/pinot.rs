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
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, Operator, binary_expr, lit};
use datafusion_functions_json::udfs::json_as_text_udf;
use headwater_segment::schema::ColumnType;

use super::compare::{instant, operator};
use super::mixed::{bytes_of_hex, text_of};
use crate::render::types::declared;

/// See the module. It comes before all other planners: those would compare bytes with the letters of a text.
#[derive(Debug)]
pub(super) struct MeaningsOfPinot;

impl ExprPlanner for MeaningsOfPinot {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let compares = operator(&expr.op).filter(|operator| !operator.is_numerical_operators());
        // What has no type here will be told so elsewhere.
        let (Some(operator), Ok(left), Ok(right)) =
            (compares, expr.left.get_type(schema), expr.right.get_type(schema))
        else {
            return Ok(PlannerResult::Original(expr));
        };
        Ok(PlannerResult::Planned(match (element_of(&left), element_of(&right)) {
            (Some(element), None) if right != DataType::Null => {
                compared(expr.left, element, operator, &expr.right, &right)?
            }
            (None, Some(element)) if left != DataType::Null => {
                let swapped = operator.swap().unwrap_or(operator);
                compared(expr.right, element, swapped, &expr.left, &left)?
            }
            (None, None) if is_bytes(&left) || is_bytes(&right) => {
                let (of_left, of_right) =
                    (beside(expr.left, &left, &right)?, beside(expr.right, &right, &left)?);
                binary_expr(of_left, operator, of_right)
            }
            _ => return Ok(PlannerResult::Original(expr)),
        }))
    }

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
        let Some(data_type) = subject(&expr).and_then(|subject| subject.get_type(schema).ok()) else {
            return Ok(Transformed::no(expr));
        };
        let element = element_of(&data_type).cloned();
        if element.is_none() && !is_bytes(&data_type) {
            return Ok(Transformed::no(expr));
        }
        let said_of = |subject: Expr, predicate: &dyn Fn(Expr, &DataType) -> Result<Expr>| match &element {
            Some(element) => any_element(subject, element, predicate),
            None => predicate(subject, &data_type),
        };
        let (said, negated) = match expr {
            Expr::InList(InList { expr, list, negated }) => {
                if list.iter().any(|item| item.get_type(schema).is_ok_and(|kind| kind.is_nested())) {
                    return Ok(Transformed::no(Expr::InList(InList { expr, list, negated })));
                }
                let among = |value: Expr, kind: &DataType| {
                    let items = list.iter().map(|item| beside(item.clone(), &item.get_type(schema)?, kind));
                    Ok(Expr::InList(InList::new(Box::new(value), items.collect::<Result<_>>()?, false)))
                };
                (said_of(*expr, &among)?, negated)
            }
            Expr::Between(Between { expr, negated, low, high }) => {
                let between = |value: Expr, kind: &DataType| {
                    let bound = |bound: &Expr| beside(bound.clone(), &bound.get_type(schema)?, kind);
                    let (low, high) = (Box::new(bound(&low)?), Box::new(bound(&high)?));
                    Ok(Expr::Between(Between { expr: Box::new(value), negated: false, low, high }))
                };
                (said_of(*expr, &between)?, negated)
            }
            Expr::Like(Like { negated, expr, pattern, escape_char, case_insensitive }) => {
                let like = |value: Expr, kind: &DataType| match is_bytes(kind) {
                    true => plan_err!("BYTES have no letters for LIKE; write bytesToHex(x) LIKE '00%'"),
                    false => {
                        let (value, pattern) = (Box::new(value), pattern.clone());
                        Ok(Expr::Like(Like::new(false, value, pattern, escape_char, case_insensitive)))
                    }
                };
                (said_of(*expr, &like)?, negated)
            }
            Expr::ScalarFunction(ScalarFunction { func, args }) => {
                let matches = |value: Expr, _: &DataType| {
                    Ok(func.call(std::iter::once(value).chain(args.iter().skip(1).cloned()).collect()))
                };
                let Some(subject) = args.first().filter(|_| element.is_some()) else {
                    return Ok(Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })));
                };
                (said_of(subject.clone(), &matches)?, false)
            }
            other => return Ok(Transformed::no(other)),
        };
        Ok(Transformed::yes(if negated { !said } else { said }))
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

/// Whether any element of the array compares so; with `!=`, whether none is equal.
fn compared(
    array: Expr,
    element: &FieldRef,
    operator: Operator,
    other: &Expr,
    kind: &DataType,
) -> Result<Expr> {
    let (is_exclusive, operator) = match operator {
        Operator::NotEq => (true, Operator::Eq),
        other => (false, other),
    };
    let any = any_element(array, element, &|value, own| {
        Ok(binary_expr(value, operator, beside(other.clone(), kind, own)?))
    })?;
    Ok(if is_exclusive { !any } else { any })
}

fn any_element(
    array: Expr,
    element: &FieldRef,
    predicate: &dyn Fn(Expr, &DataType) -> Result<Expr>,
) -> Result<Expr> {
    const ELEMENT: &str = "element";
    let field = Arc::new(element.as_ref().clone().with_name(ELEMENT));
    let value = Expr::LambdaVariable(LambdaVariable::new(ELEMENT.into(), Some(field)));
    // An element that is NULL must not make the whole NULL.
    let holds = Expr::IsTrue(Box::new(predicate(value, element.data_type())?));
    let lambda = Expr::Lambda(Lambda::new(vec![ELEMENT.into()], holds));
    let any = HigherOrderFunction::new(array_any_match_higher_order_function(), vec![array, lambda]);
    Ok(Expr::HigherOrderFunction(any))
}

/// `expr`, of the type `own`, as it is compared with a value of the type `other`.
fn beside(expr: Expr, own: &DataType, other: &DataType) -> Result<Expr> {
    match other {
        DataType::Timestamp(_, zone) if own.is_integer() => Ok(instant(expr, zone.as_ref())),
        bytes if is_bytes(bytes) && own.is_string() => {
            let hex = text_of(&expr).map(|text| text.strip_prefix("\\x").unwrap_or(text));
            match hex.and_then(bytes_of_hex) {
                Some(bytes) => Ok(lit(ScalarValue::BinaryView(Some(bytes)))),
                None => plan_err!(
                    "{expr} is no hex: BYTES are compared with two digits for each byte, such as '00ff'; for those of a \
                     text write toUtf8('text')"
                ),
            }
        }
        _ => Ok(expr),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::col;

    use super::*;

    #[test]
    fn a_text_beside_bytes_is_hex() {
        let read = |expr| beside(expr, &DataType::Utf8, &DataType::BinaryView);
        for (hex, bytes) in [("", &b""[..]), ("00ff", b"\x00\xff"), ("\\x00FF", b"\x00\xff"), ("61", b"a")] {
            let expected = lit(ScalarValue::BinaryView(Some(bytes.to_vec())));
            assert_eq!(read(lit(hex)).unwrap(), expected, "{hex}");
        }
        for bad in [lit("0"), lit("abc"), lit("0x00"), lit(" 00"), lit("é"), col("city")] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_needs_no_reading_stays() {
        let zone = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
        for (own, other) in [
            (DataType::Utf8, DataType::Utf8View),
            (DataType::BinaryView, DataType::BinaryView),
            (DataType::BinaryView, DataType::Utf8),
            (DataType::Utf8, zone),
        ] {
            assert_eq!(beside(lit("x"), &own, &other).unwrap(), lit("x"));
        }
    }
}
