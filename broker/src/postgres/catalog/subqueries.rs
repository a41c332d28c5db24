//! Subqueries in the place of a value: PostgreSQL runs them for each row around them, and DataFusion wants to see that there is
//! one value, and to make a join of them.
//!
//! | written | planned |
//! |---|---|
//! | `(SELECT x FROM …)` | `(SELECT max(x) FROM …)`, the same where there is at most one row |
//! | `ARRAY(SELECT x FROM … ORDER BY y)` | `(SELECT array_agg(x ORDER BY y) FROM …)` |
//! | `EXISTS (SELECT … FROM …)` as a value | `(SELECT count(*) FROM …) > 0` |
//! | `x IN (SELECT y FROM …)` as a value | `array_has((SELECT array_agg(y) FROM …), x)` |
//! | a condition on the rows around alone | `CASE WHEN condition THEN (SELECT …) END` |
//! | over a table that has no rows here, or with a condition that makes no join | NULL |

use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CaseWhen, CastKind, DataType, Expr, FunctionArgumentClause,
    FunctionArguments, GroupByExpr, Ident, JoinOperator, OrderByExpr, OrderByKind, Query, Select,
    SelectFlavor, SelectItem, SetExpr, Statement, TableFactor, TableWithJoins, UnaryOperator, Value,
    VisitMut, VisitorMut, visit_expressions,
};

use super::conditions::Conditions;
use super::dialect::{call, call_with, last_of};
use super::fixed;

/// Aggregates that the queries of tools have in such places.
const AGGREGATES: [&str; 9] =
    ["array_agg", "avg", "bool_and", "bool_or", "count", "max", "min", "string_agg", "sum"];

/// Says subqueries in the place of values in DataFusion's terms.
pub(super) fn aggregate(statement: &mut Statement) {
    let ControlFlow::Continue(()) = statement.visit(&mut Subqueries);
}

/// `SELECT value [AS alias]`
pub(super) fn select_of(value: Expr, alias: Option<Ident>) -> Query {
    let item = match alias {
        Some(alias) => SelectItem::ExprWithAlias { expr: value, alias },
        None => SelectItem::UnnamedExpr(value),
    };
    let select = Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: vec![item],
        exclude: None,
        into: None,
        from: Vec::new(),
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    };
    Query {
        with: None,
        body: Box::new(SetExpr::Select(Box::new(select))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

struct Subqueries;

impl VisitorMut for Subqueries {
    type Break = Infallible;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Infallible> {
        if select.from.iter().any(is_empty) {
            for expr in select.projection.iter_mut().filter_map(value_of) {
                let ControlFlow::Continue(()) = expr.visit(&mut Uncomputed);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Infallible> {
        for expr in select.projection.iter_mut().filter_map(value_of) {
            let ControlFlow::Continue(()) = expr.visit(&mut Truths { depth: 0 });
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Infallible> {
        for by in orders_of(query) {
            let ControlFlow::Continue(()) = by.expr.visit(&mut Truths { depth: 0 });
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        if let Some(condition) = membership(expr) {
            *expr = condition;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        match expr {
            Expr::Subquery(query) => {
                if let Some(value) = value_by(query, As::One) {
                    *expr = value;
                }
            }
            Expr::Function(function) if last_of(&function.name) == "array" => {
                if let FunctionArguments::Subquery(query) = &mut function.args
                    && let Some(value) = value_by(query, As::List)
                {
                    *expr = value;
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// In what is never computed, as it would be for no row, subqueries are NULL.
struct Uncomputed;

impl VisitorMut for Uncomputed {
    type Break = Infallible;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        match expr {
            Expr::Function(function) if matches!(function.args, FunctionArguments::Subquery(_)) => {
                *expr = no_texts();
            }
            Expr::Function(function)
                if last_of(&function.name) == "unnest" && has_subquery(&function.args) =>
            {
                *expr = call("unnest", vec![no_texts()]);
            }
            Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => *expr = null(),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// `EXISTS` and `IN` in the place of a value; those within subqueries are conditions of theirs.
struct Truths {
    depth: usize,
}

impl VisitorMut for Truths {
    type Break = Infallible;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Infallible> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Infallible> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        let (found, negated) = match expr {
            Expr::Exists { subquery, negated } => (value_by(subquery, As::Truth), *negated),
            Expr::InSubquery { expr, subquery, negated } => {
                let list = value_by(subquery, As::List);
                (list.map(|list| call("array_has", vec![list, expr.as_ref().clone()])), *negated)
            }
            _ => (None, false),
        };
        if let Some(found) = found {
            let no = Expr::Value(Value::Boolean(false).into());
            let truth = call("coalesce", vec![found, no]);
            *expr = match negated {
                true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(truth) },
                false => truth,
            };
        }
        ControlFlow::Continue(())
    }
}

/// `x = ANY (SELECT …)` is `x IN (SELECT …)`, and `x <> ALL (SELECT …)` is not.
fn membership(expr: &Expr) -> Option<Expr> {
    let (left, right, negated) = match expr {
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => (left, right, false),
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => (left, right, true),
        _ => return None,
    };
    let Expr::Subquery(subquery) = right.as_ref() else { return None };
    Some(Expr::InSubquery { expr: left.clone(), subquery: subquery.clone(), negated })
}

/// What is made of the rows of a subquery.
#[derive(Clone, Copy, PartialEq, Eq)]
enum As {
    /// The one value.
    One,
    /// All values.
    List,
    /// Whether there are rows.
    Truth,
}

impl As {
    fn of_nothing(self) -> Expr {
        match self {
            Self::One => null(),
            Self::List => no_texts(),
            Self::Truth => Expr::Value(Value::Boolean(false).into()),
        }
    }

    fn of_rows(self, value: Expr, orders: Vec<OrderByExpr>) -> Expr {
        match self {
            Self::One => call("max", vec![value]),
            Self::List if orders.is_empty() => call("array_agg", vec![value]),
            Self::List => {
                let by = |mut order: OrderByExpr| {
                    // `ORDER BY 1` is by the value.
                    if matches!(order.expr, Expr::Value(_)) {
                        order.expr = value.clone();
                    }
                    order
                };
                let orders = orders.into_iter().map(by).collect();
                call_with("array_agg", vec![value.clone()], vec![FunctionArgumentClause::OrderBy(orders)])
            }
            Self::Truth => call("count", vec![number(1)]),
        }
    }

    fn of_subquery(self, query: Query) -> Expr {
        let subquery = Expr::Subquery(Box::new(query));
        match self {
            Self::One | Self::List => subquery,
            Self::Truth => Expr::BinaryOp {
                left: Box::new(subquery),
                op: BinaryOperator::Gt,
                right: Box::new(number(0)),
            },
        }
    }
}

/// The value of a subquery; `None`: it stays as it is.
fn value_by(query: &mut Query, kind: As) -> Option<Expr> {
    let is_limited = query.limit_clause.is_some() || query.fetch.is_some();
    let orders: Vec<OrderByExpr> = orders_of(query).map(|order| order.clone()).collect();
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let is_grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    if select.from.is_empty() || is_grouped || query.with.is_some() {
        return None;
    }
    if select.from.iter().any(is_empty) && !has_aggregate(&select.projection) {
        return Some(kind.of_nothing());
    }
    let conditions = Conditions::of(select);
    let has_aggregate = has_aggregate(&select.projection);
    if (is_limited && !conditions.is_correlated) || (has_aggregate && kind != As::One) {
        return None;
    }
    if !conditions.make_a_join {
        return Some(kind.of_nothing());
    }
    select.selection = conditions.within;
    if !has_aggregate {
        let [item] = select.projection.as_mut_slice() else { return None };
        let value = value_of(item);
        let value = value.map_or_else(|| number(1), |value| value.clone());
        *item = SelectItem::UnnamedExpr(kind.of_rows(value, orders));
        (select.distinct, query.order_by, query.limit_clause, query.fetch) = (None, None, None, None);
    }
    let value = kind.of_subquery(query.clone());
    Some(match conditions.around {
        None => value,
        Some(condition) => when(condition, value),
    })
}

fn orders_of(query: &mut Query) -> impl Iterator<Item = &mut OrderByExpr> {
    let kind = query.order_by.as_mut().map(|order| &mut order.kind);
    let orders = match kind {
        Some(OrderByKind::Expressions(orders)) => orders.as_mut_slice(),
        _ => &mut [],
    };
    orders.iter_mut()
}

fn value_of(item: &mut SelectItem) -> Option<&mut Expr> {
    match item {
        SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. } => Some(value),
        _ => None,
    }
}

fn has_aggregate(items: &impl ast::Visit) -> bool {
    visit_expressions(items, |expr| match expr {
        Expr::Function(function) if AGGREGATES.contains(&last_of(&function.name).as_str()) => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

fn has_subquery(within: &impl ast::Visit) -> bool {
    let found = |expr: &Expr| matches!(expr, Expr::Subquery(_));
    visit_expressions(
        within,
        |expr| if found(expr) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) },
    )
    .is_break()
}

/// Whether a part of a FROM clause has no rows: it is, or is joined with, a table without any.
fn is_empty(part: &TableWithJoins) -> bool {
    let inner = part.joins.iter().filter(|join| {
        matches!(
            join.join_operator,
            JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_)
        )
    });
    std::iter::once(&part.relation).chain(inner.map(|join| &join.relation)).any(
        |table| matches!(table, TableFactor::Table { name, args: None, .. } if fixed::EMPTY.contains(&last_of(name).as_str())),
    )
}

fn null() -> Expr {
    Expr::Value(Value::Null.into())
}

fn number(value: u8) -> Expr {
    Expr::Value(Value::Number(value.to_string(), false).into())
}

/// A list of texts with none in it.
fn no_texts() -> Expr {
    let text = ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None);
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(call("make_array", Vec::new())),
        data_type: DataType::Array(text),
        array: false,
        format: None,
    }
}

/// `CASE WHEN condition THEN result END`
fn when(condition: Expr, result: Expr) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result }],
        else_result: None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn subqueries_become_values() {
        for (given, expected) in [
            (
                "SELECT (SELECT b.x AS y FROM b WHERE b.i = a.i) FROM a",
                "SELECT (SELECT max(b.x) FROM b WHERE b.i = a.i) FROM a",
            ),
            (
                "SELECT (SELECT b.x FROM b WHERE b.i = a.i LIMIT 1) FROM a",
                "SELECT (SELECT max(b.x) FROM b WHERE b.i = a.i) FROM a",
            ),
            (
                "SELECT (SELECT b.x FROM b WHERE b.i = a.i AND b.j > 1 AND a.k) FROM a",
                "SELECT CASE WHEN a.k THEN (SELECT max(b.x) FROM b WHERE b.i = a.i AND b.j > 1) END FROM a",
            ),
            ("SELECT (SELECT b.x FROM b WHERE b.i <> a.i) FROM a", "SELECT NULL FROM a"),
            (
                "SELECT (SELECT d.x FROM pg_catalog.pg_attrdef AS d WHERE d.i <> a.i) FROM a",
                "SELECT NULL FROM a",
            ),
            ("SELECT (SELECT x FROM b) FROM pg_index", "SELECT NULL FROM pg_index"),
            (
                "SELECT ARRAY(SELECT b.x FROM b WHERE b.i = a.i ORDER BY 1 DESC) FROM a",
                "SELECT (SELECT array_agg(b.x ORDER BY b.x DESC) FROM b WHERE b.i = a.i) FROM a",
            ),
            ("SELECT ARRAY(SELECT x FROM pg_policy)", "SELECT CAST(make_array() AS TEXT[])"),
            (
                "SELECT NOT EXISTS (SELECT * FROM b WHERE b.i = a.i) FROM a",
                "SELECT NOT coalesce((SELECT count(1) FROM b WHERE b.i = a.i) > 0, false) FROM a",
            ),
            (
                "SELECT x NOT IN (SELECT y FROM b) FROM a",
                "SELECT NOT coalesce(array_has((SELECT array_agg(y) FROM b), x), false) FROM a",
            ),
            (
                "SELECT x FROM a WHERE x = ANY (SELECT y FROM b)",
                "SELECT x FROM a WHERE x IN (SELECT y FROM b)",
            ),
        ] {
            assert_eq!(rewritten(given), expected);
        }
    }

    #[test]
    fn other_subqueries_stay() {
        for same in [
            "SELECT (SELECT count(*) FROM b WHERE b.i = a.i) FROM a",
            "SELECT (SELECT 1) FROM a",
            "SELECT (SELECT b.x FROM b LIMIT 1) FROM a",
            "SELECT (SELECT x FROM b GROUP BY x) FROM a",
            "SELECT x FROM a WHERE x IN (SELECT b.x FROM b)",
            "SELECT x FROM a WHERE EXISTS (SELECT b.x FROM b WHERE b.i <> a.i)",
        ] {
            assert_eq!(rewritten(same), same);
        }
    }

    fn rewritten(sql: &str) -> String {
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
        aggregate(&mut statements[0]);
        statements[0].to_string()
    }
}
