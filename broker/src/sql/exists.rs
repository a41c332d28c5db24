//! `SELECT EXISTS (SELECT … FROM b WHERE …)`: the planner makes joins of those in WHERE and HAVING and cannot plan those among the
//! columns, so each of these becomes the number of its rows, compared with 0.

use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::statement_of;
use super::template::{fill, subquery_of};

/// Rewrites the columns of every query of the statement.
pub(super) fn count_rows(statement: &mut Statement, tokens: &[TokenWithSpan]) {
    let is_exists =
        |token: &TokenWithSpan| matches!(&token.token, Token::Word(word) if word.keyword == Keyword::EXISTS);
    if tokens.iter().any(is_exists)
        && let Some(statement) = statement_of(statement)
    {
        let ControlFlow::Continue(()) = statement.visit(&mut Queries);
    }
}

struct Queries;

impl VisitorMut for Queries {
    type Break = Infallible;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Infallible> {
        let mut next = &mut *query.body;
        loop {
            match next {
                SetExpr::Select(select) => return in_columns(select),
                // Chains are left-deep: they are walked, not descended.
                SetExpr::SetOperation { left, right, .. } => {
                    if let SetExpr::Select(select) = &mut **right {
                        in_columns(select)?;
                    }
                    next = left;
                }
                _ => return ControlFlow::Continue(()),
            }
        }
    }
}

fn in_columns(select: &mut Select) -> ControlFlow<Infallible> {
    for item in &mut select.projection {
        match item {
            SelectItem::ExprWithAlias { expr, .. } => expr.visit(&mut Columns::default())?,
            SelectItem::UnnamedExpr(expr) => {
                let (written, mut columns) = (expr.to_string(), Columns::default());
                expr.visit(&mut columns)?;
                if columns.found {
                    // The planner calls every subquery the same.
                    let alias = Ident::with_quote('"', written);
                    *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
                }
            }
            _ => {}
        }
    }
    ControlFlow::Continue(())
}

/// Looks at what stands in no subquery.
#[derive(Default)]
struct Columns {
    depth: usize,
    found: bool,
}

impl VisitorMut for Columns {
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
        if self.depth == 0
            && let Expr::Exists { subquery, negated } = expr
        {
            *expr = counted(subquery, *negated);
            self.found = true;
        }
        ControlFlow::Continue(())
    }
}

/// Whether the subquery has rows, or has none.
fn counted(subquery: &Query, negated: bool) -> Expr {
    let count = fill(if negated { "count(*) = 0" } else { "count(*) > 0" }, &[], None);
    let mut subquery = subquery.clone();
    match &mut *subquery.body {
        // Conditions that look outside are understood only in the query that counts.
        SetExpr::Select(select)
            if is_plain(select) && subquery.limit_clause.is_none() && subquery.fetch.is_none() =>
        {
            select.projection = vec![SelectItem::UnnamedExpr(count)];
            select.distinct = None;
            subquery.order_by = None;
            Expr::Subquery(Box::new(subquery))
        }
        _ => subquery_of(count, subquery),
    }
}

/// Whether the rows of the select are those of its FROM and WHERE.
fn is_plain(select: &Select) -> bool {
    let is_value = |item: &SelectItem| match item {
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => true,
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            matches!(expr, Expr::Value(_) | Expr::Identifier(_) | Expr::CompoundIdentifier(_))
        }
        SelectItem::ExprWithAliases { .. } => false,
    };
    let is_grouped = !matches!(&select.group_by, GroupByExpr::Expressions(groups, _) if groups.is_empty());
    let is_cut = select.having.is_some() || select.qualify.is_some() || select.top.is_some();
    select.projection.iter().all(is_value) && !is_grouped && !is_cut
}

#[cfg(test)]
mod tests {
    use crate::sql::{KnownNames, prepare};

    #[test]
    fn columns_count_and_conditions_stay() {
        for (sql, expected) in [
            (
                "SELECT a, EXISTS (SELECT 1 FROM b WHERE b.x = t.x) AS e FROM t",
                "SELECT a, (SELECT count(*) > 0 FROM b WHERE b.x = t.x) AS e FROM t",
            ),
            (
                "SELECT NOT EXISTS (SELECT DISTINCT * FROM b) FROM t",
                r#"SELECT (SELECT count(*) = 0 FROM b) AS "NOT EXISTS (SELECT DISTINCT * FROM b)" FROM t"#,
            ),
            (
                "SELECT EXISTS (SELECT max(x) FROM b) AS e",
                "SELECT (SELECT count(*) > 0 FROM (SELECT max(x) FROM b) AS counted) AS e",
            ),
            (
                "SELECT EXISTS (SELECT 1 FROM b LIMIT 0) AS e",
                "SELECT (SELECT count(*) > 0 FROM (SELECT 1 FROM b LIMIT 0) AS counted) AS e",
            ),
            (
                "SELECT (SELECT max(a) FROM b WHERE EXISTS (SELECT 1 FROM c)) FROM t WHERE EXISTS (SELECT 1 FROM b)",
                "SELECT (SELECT max(a) FROM b WHERE EXISTS (SELECT 1 FROM c)) FROM t WHERE EXISTS (SELECT 1 FROM b)",
            ),
            (
                "SELECT 1 UNION ALL SELECT CASE WHEN EXISTS (SELECT 1 FROM b) THEN 2 END AS e",
                "SELECT 1 UNION ALL SELECT CASE WHEN (SELECT count(*) > 0 FROM b) THEN 2 END AS e",
            ),
        ] {
            let prepared = prepare(sql, &KnownNames::default()).unwrap();
            assert_eq!(prepared.statement.to_string(), expected);
        }
    }
}
