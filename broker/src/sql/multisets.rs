//! `EXCEPT ALL` and `INTERSECT ALL`: the planner makes semi-joins of them, which know whether a row is on the other side and not how
//! often. With a number for each of the rows that are alike they are the same without ALL.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, Select, SelectItem, SetExpr, SetOperator, SetQuantifier, Statement as SqlStatement,
    VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::arrows::HeadwaterDialect;
use super::statement_of;
use crate::{QueryError, QueryErrorKind};

const DIFFERENCES: [Keyword; 3] = [Keyword::EXCEPT, Keyword::INTERSECT, Keyword::MINUS];
/// Each is written out with all that stands before it.
const DIFFERENCES_MAX: usize = 50;

/// Rewrites all of them in the statement.
///
/// # Errors
/// `Plan` if the columns of one are not written out.
pub(super) fn number_rows(statement: &mut Statement, tokens: &[TokenWithSpan]) -> Result<(), QueryError> {
    let keywords = || {
        tokens.iter().filter_map(|token| match &token.token {
            Token::Word(word) => Some(word.keyword),
            _ => None,
        })
    };
    let differences = keywords().filter(|keyword| DIFFERENCES.contains(keyword)).count();
    if differences == 0 || !keywords().any(|keyword| keyword == Keyword::ALL) {
        return Ok(());
    }
    if differences > DIFFERENCES_MAX {
        return Err(fault(format!(
            "a statement with ALL has at most {DIFFERENCES_MAX} of EXCEPT and INTERSECT"
        )));
    }
    let Some(statement) = statement_of(statement) else { return Ok(()) };
    match statement.visit(&mut Multisets) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => {
            Err(fault("EXCEPT ALL and INTERSECT ALL want their columns written out, in place of *".into()))
        }
    }
}

fn fault(message: String) -> QueryError {
    QueryError::new(QueryErrorKind::Plan, message)
}

struct Multisets;

impl VisitorMut for Multisets {
    type Break = ();

    /// Behind what stands in it, which is then written out already.
    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        rewrite(&mut query.body)
    }
}

fn rewrite(body: &mut SetExpr) -> ControlFlow<()> {
    // Chains are left-deep: they are walked to their end, and rewritten from there.
    let mut depth = 0;
    let mut next = &*body;
    while let SetExpr::SetOperation { left, .. } = next {
        (depth, next) = (depth + 1, left);
    }
    for depth in (0..depth).rev() {
        let mut place = &mut *body;
        for _ in 0..depth {
            if let SetExpr::SetOperation { left, .. } = place {
                place = left;
            }
        }
        if let SetExpr::SetOperation { right, .. } = place {
            rewrite(right)?;
        }
        if is_multiset(place) {
            match numbered(place) {
                Some(select) => *place = select,
                None => return ControlFlow::Break(()),
            }
        }
    }
    ControlFlow::Continue(())
}

fn is_multiset(body: &SetExpr) -> bool {
    match body {
        SetExpr::SetOperation {
            op, set_quantifier: SetQuantifier::All | SetQuantifier::AllByName, ..
        } => {
            matches!(op, SetOperator::Except | SetOperator::Intersect | SetOperator::Minus)
        }
        _ => false,
    }
}

fn numbered(body: &SetExpr) -> Option<SetExpr> {
    let SetExpr::SetOperation { op, left, right, .. } = body else { return None };
    let names = names_of(left)?;
    let columns: Vec<String> = (0..names.len()).map(|column| format!("c{column}")).collect();
    let columns = columns.join(", ");
    let side = |side: &SetExpr| {
        format!(
            "SELECT {columns}, row_number() OVER (PARTITION BY {columns}) AS n FROM ({side}) AS side ({columns})"
        )
    };
    let shown: Vec<String> =
        names.iter().enumerate().map(|(column, name)| format!("c{column} AS {name}")).collect();
    let sql = format!("SELECT {} FROM ({} {op} {}) AS sides", shown.join(", "), side(left), side(right));
    let parsed =
        Parser::new(&HeadwaterDialect).try_with_sql(&sql).and_then(|mut parser| parser.parse_statement());
    match parsed.ok()? {
        SqlStatement::Query(query) => Some(*query.body),
        _ => None,
    }
}

/// What the columns of a side are called; `None` if it does not say which they are.
fn names_of(body: &SetExpr) -> Option<Vec<Ident>> {
    match body {
        SetExpr::Select(select) => names_of_select(select),
        SetExpr::Query(query) => names_of(&query.body),
        SetExpr::SetOperation { left, .. } => names_of(left),
        SetExpr::Values(values) => {
            let columns = values.rows.first()?.content.len();
            Some((1..=columns).map(|column| Ident::new(format!("column{column}"))).collect())
        }
        _ => None,
    }
}

fn names_of_select(select: &Select) -> Option<Vec<Ident>> {
    let name = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(Expr::Identifier(name)) | SelectItem::ExprWithAlias { alias: name, .. } => {
            Some(name.clone())
        }
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().cloned(),
        SelectItem::UnnamedExpr(expr) => Some(Ident::with_quote('"', expr.to_string())),
        _ => None,
    };
    select.projection.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use crate::QueryErrorKind;
    use crate::sql::{KnownNames, prepare};

    #[test]
    fn rows_that_are_alike_are_numbered() {
        let side = |side: &str| {
            format!(
                "SELECT c0, c1, row_number() OVER (PARTITION BY c0, c1) AS n FROM ({side}) AS side (c0, c1)"
            )
        };
        let both = |left: &str, op: &str, right: &str, names: [&str; 2]| {
            let [first, second] = names;
            let (left, right) = (side(left), side(right));
            format!("SELECT c0 AS {first}, c1 AS {second} FROM ({left} {op} {right}) AS sides")
        };
        let first = both("SELECT a, t.b FROM t", "EXCEPT", "SELECT 1, 2", ["a", "b"]);
        let cases = [
            ("SELECT a, t.b FROM t EXCEPT ALL SELECT 1, 2".to_owned(), first.clone()),
            (
                "SELECT a, t.b FROM t EXCEPT ALL SELECT 1, 2 INTERSECT ALL SELECT 3, 4".to_owned(),
                both(
                    "SELECT a, t.b FROM t",
                    "EXCEPT",
                    &both("SELECT 1, 2", "INTERSECT", "SELECT 3, 4", ["\"1\"", "\"2\""]),
                    ["a", "b"],
                ),
            ),
            (
                "SELECT a, t.b FROM t EXCEPT ALL SELECT 1, 2 EXCEPT ALL SELECT 3, 4".to_owned(),
                both(&first, "EXCEPT", "SELECT 3, 4", ["a", "b"]),
            ),
            (format!("SELECT 1, 2 UNION ALL ({first})"), format!("SELECT 1, 2 UNION ALL ({first})")),
            (
                "SELECT * FROM (VALUES (1, 2) INTERSECT ALL SELECT 1, 2) AS x".to_owned(),
                format!(
                    "SELECT * FROM ({}) AS x",
                    both("VALUES (1, 2)", "INTERSECT", "SELECT 1, 2", ["column1", "column2"])
                ),
            ),
            (
                "SELECT * FROM t EXCEPT SELECT * FROM s".to_owned(),
                "SELECT * FROM t EXCEPT SELECT * FROM s".to_owned(),
            ),
        ];
        for (sql, expected) in cases {
            let prepared =
                prepare(&sql, &KnownNames::default()).unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert_eq!(prepared.statement.to_string(), expected);
        }
        let refused =
            prepare("SELECT * FROM t EXCEPT ALL SELECT * FROM s", &KnownNames::default()).unwrap_err();
        assert_eq!(refused.kind, QueryErrorKind::Plan);
    }
}
