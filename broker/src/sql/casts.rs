//! Columns of an answer that are casts are named as they are written: `CAST(at AS LONG)`. The planner would give them the name of
//! what is cast, with its table, and take it from the column itself that stands beside them.
//!
//! The name is none that `ORDER BY` or `HAVING` could mean by accident, as that of the column would be.

use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Select, SelectItem, Statement as SqlStatement, VisitMut, visit_expressions,
    visit_expressions_mut,
};

use super::statement_of;
use super::template::fill;
use super::twins::first_select;

/// Types that are told apart in one statement at most; what more there are keep their names.
const TYPES_MAX: usize = 32;

/// Names the casts among the columns of the answer that have no name.
pub(super) fn name(statement: &mut Statement) {
    let Some(SqlStatement::Query(query)) = statement_of(statement) else { return };
    let Some(select) = first_select(&mut query.body) else { return };
    name_columns(select, is_cast);
}

/// Names what has a cast anywhere, too.
pub(super) fn name_all(select: &mut Select) {
    name_columns(select, |expr| {
        let found = visit_expressions(expr, |part| match type_of(part) {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        });
        found.is_break()
    });
}

/// What the planner casts to by the expression, as text.
fn type_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Cast { data_type, .. } => Some(data_type.to_string()),
        Expr::TypedString(typed) => Some(typed.data_type.to_string()),
        Expr::AtTimeZone { time_zone, .. } => Some(time_zone.to_string()),
        _ => None,
    }
}

/// Makes casts of one column to several types several expressions: the planner's names of them leave the type out, and neither
/// `SELECT sum(CAST(n AS INT)), sum(n)` nor `GROUP BY CAST(n AS INT), n` is planned. COALESCE of one value is that value, and
/// its name says so; each type gets its own number of them.
pub(super) fn tell_apart(within: &mut impl VisitMut) {
    let mut types: Vec<String> = Vec::new();
    let ControlFlow::Continue(()) = visit_expressions_mut(within, |expr| {
        if let Some(own) = type_of(expr) {
            let known = types.iter().position(|known| *known == own);
            let number = known.unwrap_or_else(|| {
                types.push(own);
                types.len() - 1
            });
            if number >= TYPES_MAX {
                return ControlFlow::Continue(());
            }
            let template = format!("{}$1{}", "coalesce(".repeat(number + 1), ")".repeat(number + 1));
            *expr = fill(&template, &[expr], None);
        }
        ControlFlow::<Infallible>::Continue(())
    });
}

fn name_columns(select: &mut Select, is_named: impl Fn(&Expr) -> bool) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && is_named(expr)
        {
            let alias = Ident::with_quote('"', expr.to_string());
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
}

fn is_cast(expr: &Expr) -> bool {
    match expr {
        Expr::Cast { .. } => true,
        Expr::Nested(inner) => is_cast(inner),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::sql::{KnownNames, prepare};

    #[test]
    fn casts_are_named_as_they_are_written() {
        for (sql, expected) in [
            ("SELECT CAST(n AS LONG), n FROM t", r#"SELECT CAST(n AS LONG) AS "CAST(n AS LONG)", n FROM t"#),
            ("SELECT t.n::INT FROM t", r#"SELECT t.n::INT AS "t.n::INT" FROM t"#),
            (
                "SELECT (TRY_CAST(n AS INT)) FROM t",
                r#"SELECT (TRY_CAST(n AS INT)) AS "(TRY_CAST(n AS INT))" FROM t"#,
            ),
            (
                "SELECT CAST(n AS INT) AS m, CAST(n AS INT) + 1 FROM t",
                "SELECT CAST(n AS INT) AS m, CAST(n AS INT) + 1 FROM t",
            ),
            (
                "SELECT CAST(n AS INT) FROM t UNION SELECT CAST(m AS INT) FROM t",
                r#"SELECT CAST(n AS INT) AS "CAST(n AS INT)" FROM t UNION SELECT CAST(m AS INT) FROM t"#,
            ),
        ] {
            let prepared = prepare(sql, &KnownNames::default()).unwrap();
            assert_eq!(prepared.statement.to_string(), expected);
        }
    }
}
