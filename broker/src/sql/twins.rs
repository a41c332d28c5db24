//! Columns of an answer that have the same name, told apart: DataFusion plans no such thing, and clients take values by position.

use std::collections::BTreeSet;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, Ident, Select, SelectItem, SetExpr};

use super::{casts, statement_of};

/// The statement whose answer's columns all have names of their own: the second `city` is `city_2`. What differs by a cast has
/// another name to the planner, too. `None` if it is no query.
pub(crate) fn told_apart(statement: &Statement) -> Option<Statement> {
    let mut statement = statement.clone();
    let datafusion::sql::sqlparser::ast::Statement::Query(query) = statement_of(&mut statement)? else {
        return None;
    };
    casts::name_all(first_select(&mut query.body)?);
    casts::tell_apart(query);
    let select = first_select(&mut query.body)?;
    let has_wildcard = select
        .projection
        .iter()
        .any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
    let mut names: BTreeSet<String> = select.projection.iter().filter_map(written).collect();
    let mut seen = BTreeSet::new();
    for item in &mut select.projection {
        let Some(name) = name_of(item) else { continue };
        // What a wildcard stands for is not known here.
        let is_twin = !seen.insert(name.clone()) || (has_wildcard && written(item).is_none());
        if is_twin {
            let other =
                (2..).map(|number| format!("{name}_{number}")).find(|other| !names.contains(other))?;
            names.insert(other.clone());
            rename(item, Ident::with_quote('"', other));
        }
    }
    Some(statement)
}

/// The select whose columns name those of the answer.
pub(super) fn first_select(body: &mut SetExpr) -> Option<&mut Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => first_select(&mut query.body),
        SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}

fn written(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        _ => None,
    }
}

fn name_of(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(expr) => Some(name_of_expr(expr)),
        other => written(other),
    }
}

fn name_of_expr(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => name.value.clone(),
        Expr::CompoundIdentifier(parts) => parts.last().map(|name| name.value.clone()).unwrap_or_default(),
        Expr::Nested(expr) => name_of_expr(expr),
        other => other.to_string(),
    }
}

fn rename(item: &mut SelectItem, alias: Ident) {
    let expr = match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr.clone(),
        _ => return,
    };
    *item = SelectItem::ExprWithAlias { expr, alias };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{KnownNames, prepare};

    #[test]
    fn the_second_of_a_name_gets_another_one() {
        let cases = [
            ("SELECT city, city, n FROM t", r#"SELECT city, city AS "city_2", n FROM t"#),
            ("SELECT 1, 1, 1", r#"SELECT 1, 1 AS "1_2", 1 AS "1_3""#),
            ("SELECT a AS x, b AS x, c AS x_2 FROM t", r#"SELECT a AS x, b AS "x_3", c AS x_2 FROM t"#),
            (
                "SELECT CAST(n AS INT), n, CAST(n AS INT) FROM t",
                r#"SELECT coalesce(CAST(n AS INT)) AS "CAST(n AS INT)", n, coalesce(CAST(n AS INT)) AS "CAST(n AS INT)_2" FROM t"#,
            ),
            (
                "SELECT sum(n), sum(n::INT), n::TEXT FROM t GROUP BY n::TEXT",
                r#"SELECT sum(n), sum(coalesce(n::INT)) AS "sum(n::INT)", coalesce(coalesce(n::TEXT)) AS "n::TEXT" FROM t GROUP BY coalesce(coalesce(n::TEXT))"#,
            ),
            ("SELECT *, city FROM t", r#"SELECT *, city AS "city_2" FROM t"#),
            (
                "SELECT a, a FROM t UNION ALL SELECT b, b FROM t",
                r#"SELECT a, a AS "a_2" FROM t UNION ALL SELECT b, b FROM t"#,
            ),
            ("SELECT a, b FROM t", "SELECT a, b FROM t"),
        ];
        for (sql, expected) in cases {
            let prepared = prepare(sql, &KnownNames::default()).unwrap();
            assert_eq!(told_apart(&prepared.statement).unwrap().to_string(), expected);
        }
        let prepared = prepare("SHOW TABLES", &KnownNames::default()).unwrap();
        assert!(told_apart(&prepared.statement).is_none());
    }
}
