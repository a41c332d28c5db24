//! The names that PostgreSQL gives columns for which a query has none: clients look them up, and DataFusion refuses two columns
//! without one.

use std::collections::HashSet;
use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, DataType, Expr, Ident, Query, Select, SelectItem, SetExpr, Statement, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::dialect::last_of;

const NAMELESS: &str = "?column?";
/// Registers that are written as a column is.
const REGISTERS: &[&str] = &["current_catalog", "current_role", "current_schema", "user"];

/// Names what has no name in every `SELECT`.
pub(super) fn give_names(statement: &mut Statement) {
    let ControlFlow::Continue(()) = statement.visit(&mut Names);
}

/// The names of the columns of an answer as PostgreSQL gives them, several of which may be the same; empty if they cannot be told.
pub(in crate::postgres) fn of_answer(sql: &str) -> Vec<String> {
    let statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap_or_default();
    let [Statement::Query(query)] = statements.as_slice() else { return Vec::new() };
    let select = first_select(&query.body);
    let name = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) => Some(match plain_column(expr) {
            Some(column) => column.value.clone(),
            None => name_of(expr),
        }),
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        // How many it stands for is not known here.
        _ => None,
    };
    select.and_then(|select| select.projection.iter().map(name).collect()).unwrap_or_default()
}

/// The select whose columns name those of the answer.
fn first_select(body: &SetExpr) -> Option<&Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => first_select(&query.body),
        SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}

struct Names;

impl VisitorMut for Names {
    type Break = Infallible;

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Infallible> {
        let mut taken: HashSet<String> = select.projection.iter().filter_map(own_name).collect();
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && plain_column(expr).is_none()
            {
                let alias = Ident::with_quote('"', free(name_of(expr), &mut taken));
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
        ControlFlow::Continue(())
    }
}

/// The name that a column has already.
fn own_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(expr) => plain_column(expr).map(value_of),
        SelectItem::ExprWithAlias { alias, .. } => Some(value_of(alias)),
        _ => None,
    }
}

fn plain_column(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Identifier(name) if !REGISTERS.contains(&value_of(name).as_str()) => Some(name),
        Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    }
}

fn value_of(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

/// The name, or if another column has it, the name with a number.
fn free(name: String, taken: &mut HashSet<String>) -> String {
    let numbered = (1_u32..).map(|number| format!("{name}_{number}"));
    let found = std::iter::once(name.clone()).chain(numbered).find(|name| !taken.contains(name));
    let found = found.unwrap_or(name);
    taken.insert(found.clone());
    found
}

fn name_of(expr: &Expr) -> String {
    named(expr).unwrap_or_else(|| NAMELESS.to_owned())
}

fn named(expr: &Expr) -> Option<String> {
    Some(match expr {
        Expr::Identifier(name) => value_of(name),
        Expr::CompoundIdentifier(parts) => value_of(parts.last()?),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => return named(inner),
        Expr::Function(function) => last_of(&function.name),
        Expr::Cast { expr, data_type, .. } => return named(expr).or_else(|| Some(type_name(data_type))),
        Expr::Case { else_result, .. } => {
            let last = else_result.as_deref().and_then(named);
            last.unwrap_or_else(|| "case".to_owned())
        }
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(name)) => Some(value_of(name)),
                _ => None,
            });
            return field.or_else(|| named(root));
        }
        Expr::Subquery(query) => return name_of_query(query),
        Expr::Exists { .. } => "exists".to_owned(),
        Expr::Array(_) => "array".to_owned(),
        Expr::Extract { .. } => "extract".to_owned(),
        Expr::Substring { .. } => "substring".to_owned(),
        Expr::Trim { .. } => "btrim".to_owned(),
        Expr::Position { .. } => "position".to_owned(),
        _ => return None,
    })
}

fn name_of_query(query: &Query) -> Option<String> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    match select.projection.as_slice() {
        [item] => own_name(item),
        _ => None,
    }
}

fn type_name(data_type: &DataType) -> String {
    let name = data_type.to_string().to_lowercase();
    name.rsplit('.').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_an_answer_are_named_too() {
        for (sql, expected) in [
            (
                "SELECT count(*), sum(t.x), 1, placedAt, t.city AS c, x::text FROM t",
                &["count", "sum", "?column?", "placedAt", "c", "x"][..],
            ),
            (
                "WITH a AS (SELECT 1) (SELECT count(*), count(*) FROM a) UNION ALL SELECT 1, 2",
                &["count", "count"],
            ),
            ("SELECT *, 1 FROM t", &[]),
            ("EXPLAIN SELECT 1", &[]),
            ("no SQL", &[]),
        ] {
            assert_eq!(of_answer(sql), expected, "{sql}");
        }
    }

    #[test]
    fn columns_are_named_as_postgresql_names_them() {
        for (given, expected) in [
            ("SELECT a.x, y, z AS w, *", "SELECT a.x, y, z AS w, *"),
            (
                "SELECT 1, NULL, a.x = 2",
                "SELECT 1 AS \"?column?\", NULL AS \"?column?_1\", a.x = 2 AS \"?column?_2\"",
            ),
            ("SELECT pg_catalog.version()", "SELECT pg_catalog.version() AS \"version\""),
            ("SELECT a.x::TEXT, '1'::INT", "SELECT a.x::TEXT AS \"x\", '1'::INT AS \"int\""),
            ("SELECT x, x::TEXT", "SELECT x, x::TEXT AS \"x_1\""),
            ("SELECT (SELECT max(x) FROM t)", "SELECT (SELECT max(x) AS \"max\" FROM t) AS \"max\""),
            ("SELECT EXISTS (SELECT 1)", "SELECT EXISTS (SELECT 1 AS \"?column?\") AS \"exists\""),
            (
                "SELECT current_schema, (f(x)).n",
                "SELECT current_schema AS \"current_schema\", (f(x)).n AS \"n\"",
            ),
        ] {
            let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, given).unwrap();
            give_names(&mut statements[0]);
            assert_eq!(statements[0].to_string(), expected);
        }
    }
}
