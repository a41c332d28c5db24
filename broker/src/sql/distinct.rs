//! `SELECT DISTINCT upper(city) … ORDER BY upper(city)`: behind the DISTINCT the planner has the column `upper(city)` and no `city`
//! to make it of once more, so such an expression of `ORDER BY` becomes the number of its column.

use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, OrderByKind, Query, Select, SelectItem, SetExpr, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::statement_of;

/// Numbers the columns that `ORDER BY` repeats, in every query of the statement that is DISTINCT.
pub(super) fn number_order(statement: &mut Statement, tokens: &[TokenWithSpan]) {
    let is_distinct = |token: &TokenWithSpan| matches!(&token.token, Token::Word(word) if word.keyword == Keyword::DISTINCT);
    if tokens.iter().any(is_distinct)
        && let Some(statement) = statement_of(statement)
    {
        let ControlFlow::Continue(()) = statement.visit(&mut Numbers);
    }
}

struct Numbers;

impl VisitorMut for Numbers {
    type Break = Infallible;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Infallible> {
        if let (SetExpr::Select(select), Some(order)) = (&*query.body, &mut query.order_by)
            && matches!(select.distinct, Some(Distinct::Distinct))
            && let OrderByKind::Expressions(sorts) = &mut order.kind
        {
            for sort in sorts {
                if let Some(number) = number_of(select, &sort.expr) {
                    sort.expr = Expr::value(Value::Number(number.to_string(), false));
                }
            }
        }
        ControlFlow::Continue(())
    }
}

/// Which column of the list an expression is, from 1. Names and numbers are found by the planner itself; how many columns a
/// wildcard stands for is not known here.
fn number_of(select: &Select, sorted: &Expr) -> Option<usize> {
    if matches!(sorted, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_)) {
        return None;
    }
    for (index, item) in select.projection.iter().enumerate() {
        match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } if expr == sorted => {
                return Some(index + 1);
            }
            SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } => {}
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::sql::{KnownNames, prepare};

    #[test]
    fn a_repeated_column_is_numbered() {
        for (sql, order) in [
            ("SELECT DISTINCT upper(a) FROM t ORDER BY upper(a) DESC", "ORDER BY 1 DESC"),
            ("SELECT DISTINCT b, a + 1 AS c FROM t ORDER BY b, a + 1", "ORDER BY b, 2"),
            ("SELECT DISTINCT a FROM t ORDER BY a", "ORDER BY a"),
            ("SELECT DISTINCT a FROM t ORDER BY upper(a)", "ORDER BY upper(a)"),
            ("SELECT DISTINCT *, upper(a) FROM t ORDER BY upper(a)", "ORDER BY upper(a)"),
            ("SELECT upper(a), count(DISTINCT b) FROM t GROUP BY 1 ORDER BY upper(a)", "ORDER BY upper(a)"),
            ("SELECT * FROM (SELECT DISTINCT a || b FROM t ORDER BY a || b)", "ORDER BY 1)"),
        ] {
            let prepared = prepare(sql, &KnownNames::default()).unwrap();
            assert!(prepared.statement.to_string().ends_with(order), "{}", prepared.statement);
        }
    }
}
