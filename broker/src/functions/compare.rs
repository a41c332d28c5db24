//! What a comparison says where the types of its sides give it a meaning that SQL does not know.
//!
//! Each such meaning is a [`Reading`] of `subject operator item`. [`Compare`] asks its readings wherever values are compared,
//! with either side as the subject:
//!
//! | written | asked |
//! |---|---|
//! | `x = y`, also `<>`, `<`, `IS DISTINCT FROM`, … | what it says |
//! | `x BETWEEN y AND z` | what `x >= y` and `x <= z` say |
//! | `x IN (y, z)` | what `x = y` and `x = z` say; what `x` itself is still compared with stays one list |
//!
//! It does so while a statement is planned, since DataFusion refuses some of these mixes there, and again in the analyzer: lists
//! and bounds are seen there alone, and parameters have values then.
//!
//! Invariant: no reading has anything to say of what a reading made, so it does not matter how often they are asked.
//!
//! What is volatile is read as the side of an operator only: as the subject of a list or of bounds it would be written, and
//! evaluated, several times.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, BinaryExpr, InList};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, binary_expr, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use headwater_segment::schema::ColumnType;

use crate::render::types::declared;

/// Values of which a list is made.
const LISTED_MIN: usize = 32;

/// One side of a comparison, with its type.
pub(super) struct Side<'a> {
    pub(super) expr: &'a Expr,
    data_type: DataType,
    schema: &'a DFSchema,
}

impl<'a> Side<'a> {
    /// `None`: it has no type here, and will be told so elsewhere.
    pub(super) fn of(expr: &'a Expr, schema: &'a DFSchema) -> Option<Self> {
        let data_type = expr.get_type(schema).ok()?;
        Some(Self { expr, data_type, schema })
    }

    pub(super) fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// The type that Arrow has no name for. It is asked for last: its field has a name, and those of all parts of a chain of a
    /// thousand operators take minutes.
    pub(super) fn declared(&self) -> Option<ColumnType> {
        declared(&self.expr.to_field(self.schema).ok()?.1)
    }

    /// Whether it is one value for all rows.
    pub(super) fn is_constant(&self) -> bool {
        !self.expr.any_column_refs()
    }
}

/// What a comparison says.
pub(super) enum Said {
    /// The subject, compared so with that.
    Beside(Operator, Expr),
    /// Something else.
    Whole(Expr),
}

impl Said {
    fn of(self, subject: &Expr) -> Expr {
        match self {
            Self::Beside(operator, item) => binary_expr(subject.clone(), operator, item),
            Self::Whole(said) => said,
        }
    }
}

/// What `subject operator item` says; `None`: what it says in SQL.
pub(super) type Reading = fn(&Side<'_>, Operator, &Side<'_>) -> Result<Option<Said>>;

/// Readings, of which the first that answers is right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compare(pub(super) &'static [Reading]);

impl Compare {
    /// The name as a rewrite of the analyzer.
    pub(super) const NAME: &'static str = "compare";

    /// What `left operator right` says; `None`: what it says in SQL.
    pub(super) fn compared(
        self,
        left: &Side<'_>,
        operator: Operator,
        right: &Side<'_>,
    ) -> Result<Option<Expr>> {
        Ok(self.said(left, operator, right)?.map(|said| said.of(left.expr)))
    }

    fn said(self, left: &Side<'_>, operator: Operator, right: &Side<'_>) -> Result<Option<Said>> {
        for reading in self.0 {
            if let Some(said) = reading(left, operator, right)? {
                return Ok(Some(said));
            }
            if let Some(said) = reading(right, swapped(operator), left)? {
                // In the order in which it was written.
                return Ok(Some(Said::Whole(match said {
                    Said::Beside(operator, item) => binary_expr(item, swapped(operator), right.expr.clone()),
                    Said::Whole(said) => said,
                })));
            }
        }
        Ok(None)
    }

    /// What a predicate says; `None`: what it says in SQL, or it compares nothing.
    pub(super) fn predicate(self, expr: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) => {
                match (Side::of(left, schema), Side::of(right, schema)) {
                    (Some(left), Some(right)) => self.compared(&left, *op, &right),
                    _ => Ok(None),
                }
            }
            Expr::Between(between) if !between.expr.is_volatile() => self.between(between, schema),
            Expr::InList(among) if !among.expr.is_volatile() => self.among(among, schema),
            _ => Ok(None),
        }
    }

    fn between(self, between: &Between, schema: &DFSchema) -> Result<Option<Expr>> {
        let Some(subject) = Side::of(&between.expr, schema) else { return Ok(None) };
        let bound = |operator, bound| match Side::of(bound, schema) {
            Some(bound) => self.compared(&subject, operator, &bound),
            None => Ok(None),
        };
        let from = bound(Operator::GtEq, &between.low)?;
        let to = bound(Operator::LtEq, &between.high)?;
        if from.is_none() && to.is_none() {
            return Ok(None);
        }
        let written = |operator, bound: &Expr| binary_expr(subject.expr.clone(), operator, bound.clone());
        let from = from.unwrap_or_else(|| written(Operator::GtEq, &between.low));
        let to = to.unwrap_or_else(|| written(Operator::LtEq, &between.high));
        Ok(Some(negated_if(between.negated, from.and(to))))
    }

    fn among(self, among: &InList, schema: &DFSchema) -> Result<Option<Expr>> {
        let Some(subject) = Side::of(&among.expr, schema) else { return Ok(None) };
        let (mut items, mut others, mut is_new) = (Vec::with_capacity(among.list.len()), Vec::new(), false);
        for item in &among.list {
            let said = match Side::of(item, schema) {
                Some(item) => self.said(&subject, Operator::Eq, &item)?,
                None => None,
            };
            is_new |= said.is_some();
            match said {
                None => items.push(item.clone()),
                Some(Said::Beside(Operator::Eq, item)) => items.push(item),
                Some(other) => others.push(other.of(subject.expr)),
            }
        }
        if !is_new {
            return Ok(None);
        }
        let list = (!items.is_empty()).then(|| subject.expr.clone().in_list(items, false));
        let any = list.into_iter().chain(listed(others)).reduce(Expr::or);
        Ok(any.map(|any| negated_if(among.negated, any)))
    }
}

impl ExprPlanner for Compare {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let Some(operator) = operator(&expr.op).filter(|operator| compares(*operator)) else {
            return Ok(PlannerResult::Original(expr));
        };
        let said = match (Side::of(&expr.left, schema), Side::of(&expr.right, schema)) {
            (Some(left), Some(right)) => self.compared(&left, operator, &right)?,
            _ => None,
        };
        Ok(said.map_or(PlannerResult::Original(expr), PlannerResult::Planned))
    }
}

impl FunctionRewrite for Compare {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        Ok(match self.predicate(&expr, schema)? {
            Some(said) => Transformed::yes(said),
            None => Transformed::no(expr),
        })
    }
}

/// The operator, if it compares or calculates.
pub(super) fn operator(operator: &BinaryOperator) -> Option<Operator> {
    Some(match operator {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        BinaryOperator::Plus => Operator::Plus,
        BinaryOperator::Minus => Operator::Minus,
        BinaryOperator::Multiply => Operator::Multiply,
        BinaryOperator::Divide => Operator::Divide,
        BinaryOperator::Modulo => Operator::Modulo,
        _ => return None,
    })
}

fn compares(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// The operator that says the same of the sides in the other order.
pub(super) fn swapped(operator: Operator) -> Operator {
    operator.swap().unwrap_or(operator)
}

fn negated_if(is_negated: bool, said: Expr) -> Expr {
    if is_negated { !said } else { said }
}

/// Whether any of them holds. Each alone prunes best; many of one value are looked up in a list, within the bounds that prune.
fn listed(several: Vec<Expr>) -> Option<Expr> {
    let subject = several.iter().find_map(|said| Some(equal(said)?.0.clone()));
    let is_listed = |said: &Expr| equal(said).is_some_and(|(left, _)| Some(left) == subject.as_ref());
    if several.iter().filter(|said| is_listed(said)).count() < LISTED_MIN {
        return any_of(several);
    }
    let (listed, others): (Vec<_>, Vec<_>) = several.into_iter().partition(is_listed);
    let values: Vec<&ScalarValue> = listed.iter().filter_map(|said| Some(equal(said)?.1)).collect();
    let by_order =
        |one: &&&ScalarValue, other: &&&ScalarValue| one.partial_cmp(other).unwrap_or(Ordering::Equal);
    let bounds = values.iter().min_by(by_order).zip(values.iter().max_by(by_order));
    let within = subject.zip(bounds).map(|(subject, (least, most))| {
        let from = subject.clone().gt_eq(lit((*least).clone()));
        let to = subject.clone().lt_eq(lit((*most).clone()));
        from.and(to).and(subject.in_list(values.iter().map(|value| lit((*value).clone())).collect(), false))
    });
    within.into_iter().chain(any_of(others)).reduce(Expr::or)
}

/// The sides of `subject = value`.
fn equal(said: &Expr) -> Option<(&Expr, &ScalarValue)> {
    match said {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => match right.as_ref() {
            Expr::Literal(value, _) if !value.is_null() => Some((left, value)),
            _ => None,
        },
        _ => None,
    }
}

/// Whether any of them holds. Halved again and again: one behind the other, many would be nested as deeply as they are many.
fn any_of(mut several: Vec<Expr>) -> Option<Expr> {
    if several.len() < 2 {
        return several.pop();
    }
    let second = several.split_off(several.len() / 2);
    any_of(several).into_iter().chain(any_of(second)).reduce(Expr::or)
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::col;

    use super::*;

    #[test]
    fn many_alternatives_are_not_nested_deeply() {
        let many = any_of((0..100_000_i64).map(lit).collect()).unwrap();
        let (mut any, mut depth) = (&many, 0);
        while let Expr::BinaryExpr(binary) = any {
            (any, depth) = (&binary.left, depth + 1);
        }
        assert!(depth < 30, "{depth}");
        assert_eq!(any_of(Vec::new()), None);
    }

    #[test]
    fn many_values_of_one_subject_are_a_list_within_bounds() {
        let values =
            |count: i64| (0..count).map(|value| col("x").eq(lit(value * 7 % count))).collect::<Vec<_>>();
        let with_another = |count| values(count).into_iter().chain([col("y").eq(lit(1_i64))]).collect();
        let few: Vec<Expr> = with_another(31);
        assert_eq!(listed(few.clone()), any_of(few));
        let many = listed(with_another(32)).unwrap().to_string();
        assert!(
            many.starts_with("x >= Int64(0) AND x <= Int64(31) AND x IN ([Int64(0), Int64(7), "),
            "{many}"
        );
        assert!(many.ends_with("]) OR y = Int64(1)"), "{many}");
    }
}
