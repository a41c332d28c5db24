//! Columns of an answer that are casts are named as they are written: `CAST(at AS LONG)`. The planner would give them the name of
//! what is cast, with its table, and take it from the column itself that stands beside them.
//!
//! The name is none that `ORDER BY` or `HAVING` could mean by accident, as that of the column would be.

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, Ident, SelectItem, Statement as SqlStatement};

use super::statement_of;
use super::twins::first_select;

/// Names the casts among the columns of the answer that have no name.
pub(super) fn name(statement: &mut Statement) {
    let Some(SqlStatement::Query(query)) = statement_of(statement) else { return };
    let Some(select) = first_select(&mut query.body) else { return };
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && is_cast(expr)
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
