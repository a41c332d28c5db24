//! What is known of a predicate before any segment: a tree of AND and OR over leaves, and which leaves can be answered by
//! searching sorted codes.
//!
//! Only TRUE selects, so AND and OR of "is true" are right for the tree; NOT stays within a leaf, where NULL matters.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_common::physical_expr::is_volatile;

use super::columns::{column_indexes, with_column_indexes};

/// A predicate as a tree.
#[derive(Debug)]
pub(super) enum Shape {
    And(Vec<Shape>),
    Or(Vec<Shape>),
    Leaf(Arc<Leaf>),
}

/// A part of a predicate that is not taken apart.
#[derive(Debug)]
pub(super) struct Leaf {
    /// The part, over `schema`.
    pub(super) expr: Arc<dyn PhysicalExpr>,
    /// Which columns it reads, as places in the filter's schema, ascending.
    pub(super) columns: Vec<usize>,
    /// The fields of those columns.
    pub(super) schema: SchemaRef,
    /// Whether it may differ from call to call: then it must see each row exactly once.
    pub(super) volatile: bool,
    /// How sorted codes answer it, if they do.
    pub(super) search: Option<Search>,
}

/// A predicate over one column that a search of its sorted values answers. Expressions read column 0.
#[derive(Debug)]
pub(super) enum Search {
    /// The column is NULL.
    IsNull,
    /// The column is not NULL.
    IsNotNull,
    /// From some value on (`rising`) or up to some value.
    Monotone { expr: Arc<dyn PhysicalExpr>, rising: bool },
    /// Equal to any of some literals, or (`negated`) to none. Each as "at least" and "at most".
    Equal { at: Vec<[Arc<dyn PhysicalExpr>; 2]>, negated: bool },
    /// LIKE with a literal prefix: at least the prefix, and as long as the pattern matches.
    Prefix { at_least: Arc<dyn PhysicalExpr>, like: Arc<dyn PhysicalExpr> },
    /// Never true: compared with NULL.
    Never,
}

impl Shape {
    /// The tree of a predicate over `schema`.
    pub(super) fn new(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Self> {
        if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
            let operator = *binary.op();
            if matches!(operator, Operator::And | Operator::Or) {
                let mut parts = Vec::new();
                flatten(expr, operator, &mut parts);
                let parts = parts.into_iter().map(|part| Self::new(part, schema)).collect::<Result<_>>()?;
                return Ok(if operator == Operator::And { Self::And(parts) } else { Self::Or(parts) });
            }
        }
        let columns = column_indexes(expr);
        let leaf_schema = Arc::new(schema.project(&columns)?);
        let expr = with_column_indexes(expr, &columns)?;
        let volatile = is_volatile(&expr);
        let search = if columns.len() == 1 && !volatile { search(&expr, &leaf_schema)? } else { None };
        Ok(Self::Leaf(Arc::new(Leaf { expr, columns, schema: leaf_schema, volatile, search })))
    }
}

fn flatten<'a>(
    expr: &'a Arc<dyn PhysicalExpr>,
    operator: Operator,
    parts: &mut Vec<&'a Arc<dyn PhysicalExpr>>,
) {
    match expr.downcast_ref::<BinaryExpr>() {
        Some(binary) if *binary.op() == operator => {
            flatten(binary.left(), operator, parts);
            flatten(binary.right(), operator, parts);
        }
        _ => parts.push(expr),
    }
}

fn search(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Option<Search>> {
    if let Some(null) = expr.downcast_ref::<IsNullExpr>() {
        return Ok(null.arg().downcast_ref::<Column>().map(|_| Search::IsNull));
    }
    if let Some(null) = expr.downcast_ref::<IsNotNullExpr>() {
        return Ok(null.arg().downcast_ref::<Column>().map(|_| Search::IsNotNull));
    }
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        return compare(expr, binary, schema);
    }
    if let Some(list) = expr.downcast_ref::<InListExpr>() {
        return in_list(list, schema);
    }
    Ok(expr.downcast_ref::<LikeExpr>().and_then(prefix))
}

fn compare(expr: &Arc<dyn PhysicalExpr>, binary: &BinaryExpr, schema: &Schema) -> Result<Option<Search>> {
    let (value, literal, operator) = if binary.right().downcast_ref::<Literal>().is_some() {
        (binary.left(), binary.right(), *binary.op())
    } else if let (Some(_), Some(operator)) = (binary.left().downcast_ref::<Literal>(), binary.op().swap()) {
        (binary.right(), binary.left(), operator)
    } else {
        return Ok(None);
    };
    let comparison = matches!(
        operator,
        Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
    );
    if !comparison || !keeps_order(value, schema)? {
        return Ok(None);
    }
    if is_null_literal(literal) {
        return Ok(Some(Search::Never));
    }
    Ok(Some(match operator {
        Operator::Eq | Operator::NotEq => {
            Search::Equal { at: vec![bounds(value, literal)], negated: operator == Operator::NotEq }
        }
        _ => Search::Monotone {
            expr: Arc::clone(expr),
            rising: matches!(operator, Operator::Gt | Operator::GtEq),
        },
    }))
}

/// More literals are looked up by evaluating the whole dictionary, where that is possible.
const LITERALS_MAX: usize = 64;

fn in_list(list: &InListExpr, schema: &Schema) -> Result<Option<Search>> {
    let literals = list.list();
    let searchable = literals.len() <= LITERALS_MAX
        && literals.iter().all(|literal| literal.downcast_ref::<Literal>().is_some())
        && keeps_order(list.expr(), schema)?;
    if !searchable {
        return Ok(None);
    }
    if list.negated() && literals.iter().any(is_null_literal) {
        return Ok(Some(Search::Never));
    }
    let value_type = list.expr().data_type(schema)?;
    let mut at = Vec::with_capacity(literals.len());
    for literal in literals.iter().filter(|literal| !is_null_literal(literal)) {
        if literal.data_type(schema)? != value_type {
            return Ok(None);
        }
        at.push(bounds(list.expr(), literal));
    }
    Ok(Some(Search::Equal { at, negated: list.negated() }))
}

/// `value >= literal` and `value <= literal`.
fn bounds(value: &Arc<dyn PhysicalExpr>, literal: &Arc<dyn PhysicalExpr>) -> [Arc<dyn PhysicalExpr>; 2] {
    let compare = |operator| {
        Arc::new(BinaryExpr::new(Arc::clone(value), operator, Arc::clone(literal))) as Arc<dyn PhysicalExpr>
    };
    [compare(Operator::GtEq), compare(Operator::LtEq)]
}

fn prefix(like: &LikeExpr) -> Option<Search> {
    let literal = like.pattern().downcast_ref::<Literal>()?;
    let pattern = literal.value().try_as_str()??;
    let prefix = pattern.strip_suffix('%')?;
    like.expr().downcast_ref::<Column>()?;
    let plain = !prefix.contains(['%', '_', '\\']);
    if like.negated() || like.case_insensitive() || !plain {
        return None;
    }
    let prefix = prefix_literal(literal, prefix)?;
    let at_least = Arc::new(BinaryExpr::new(Arc::clone(like.expr()), Operator::GtEq, prefix));
    let like = LikeExpr::new(false, false, Arc::clone(like.expr()), Arc::clone(like.pattern()));
    Some(Search::Prefix { at_least, like: Arc::new(like) })
}

/// `text` in the type of the pattern.
fn prefix_literal(pattern: &Literal, text: &str) -> Option<Arc<dyn PhysicalExpr>> {
    use datafusion::common::ScalarValue::{LargeUtf8, Utf8, Utf8View};
    let value = match pattern.value() {
        Utf8(_) => Utf8(Some(text.into())),
        Utf8View(_) => Utf8View(Some(text.into())),
        LargeUtf8(_) => LargeUtf8(Some(text.into())),
        _ => return None,
    };
    Some(Arc::new(Literal::new(value)))
}

fn is_null_literal(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.downcast_ref::<Literal>().is_some_and(|literal| literal.value().is_null())
}

/// Whether an expression over the column grows, or stays, as the column grows: the column itself, casts that keep the
/// order, and date_trunc in UTC. Where they fail, as a cast to fewer digits does, they fail from some value on.
fn keeps_order(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<bool> {
    if expr.downcast_ref::<Column>().is_some() {
        return Ok(is_ordered(&expr.data_type(schema)?));
    }
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        let from = cast.expr().data_type(schema)?;
        return Ok(cast_keeps_order(&from, cast.cast_type()) && keeps_order(cast.expr(), schema)?);
    }
    if let Some(function) = expr.downcast_ref::<ScalarFunctionExpr>() {
        let [unit, value] = function.args() else { return Ok(false) };
        let utc = match value.data_type(schema)? {
            DataType::Timestamp(_, zone) => zone.is_none_or(|zone| &*zone == "UTC"),
            DataType::Date32 => true,
            _ => false,
        };
        let unit_is_literal = unit.downcast_ref::<Literal>().is_some();
        return Ok(function.name() == "date_trunc" && utc && unit_is_literal && keeps_order(value, schema)?);
    }
    Ok(false)
}

fn is_ordered(data_type: &DataType) -> bool {
    data_type.is_numeric()
        || matches!(
            data_type,
            DataType::Boolean
                | DataType::Date32
                | DataType::Timestamp(..)
                | DataType::Utf8
                | DataType::Utf8View
                | DataType::BinaryView
        )
}

fn cast_keeps_order(from: &DataType, to: &DataType) -> bool {
    use DataType::{Date32, Decimal128, Float32, Float64, Int32, Int64, Timestamp, Utf8, Utf8View};
    matches!(
        (from, to),
        (Int32, Int64)
            | (Int32 | Int64, Float64 | Decimal128(..))
            | (Float32, Float64)
            | (Decimal128(..), Decimal128(..) | Float64)
            | (Date32, Timestamp(_, None))
            | (Timestamp(_, None), Timestamp(_, None) | Date32)
            | (Utf8View, Utf8)
            | (Utf8, Utf8View)
    ) || matches!((from, to), (Timestamp(_, Some(from)), Timestamp(_, Some(to))) if from == to)
}
