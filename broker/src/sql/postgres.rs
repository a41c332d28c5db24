//! What PostgreSQL's users write, and SQL has, that the planner does not know or takes for something else.
//!
//! | written | becomes |
//! |---|---|
//! | `x SIMILAR TO 'a%\|b_'` | `x ~ '^(?s:a.*\|b.)$'`; the planner would take the pattern for a regular expression |
//! | `x = ANY('{a,b}')`, `x <> ALL(ARRAY['a', 'b'])` | `x IN ('a', 'b')`, `x NOT IN ('a', 'b')` |
//! | `x LIKE ANY (ARRAY['a%', 'b%'])` | `x LIKE 'a%' OR x LIKE 'b%'` |
//! | `doc #> '{a,0}'`, `doc #>> '{a,0}'` | `doc -> 'a' -> 0`, `doc -> 'a' ->> 0` |
//! | `x::UUID` | `to_uuid(x)` |
//! | `json_agg(x)`, `mode() WITHIN GROUP (ORDER BY x)`, `variance(x)`, … | functions that are there ([`calls`]) |
//! | `FETCH FIRST n ROWS ONLY` | `LIMIT n` |
//! | `FROM generate_series(1, 3) AS n`, `FROM unnest(a) AS n` | their column has the name of the table, if no `value` is asked for |
//! | `TABLESAMPLE` | an error: the planner would overlook it and read all rows |

mod calls;
mod patterns;
mod tables;

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Query, TableFactor, UnaryOperator, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::budget::Budget;
use super::json_path::STEPS_MAX;
use super::template::{text, text_of};
use crate::postgres::array_items;
use crate::{QueryError, QueryErrorKind};

/// Words that stand before something of the table above. Most statements have none, and need not be walked through.
const WORDS: [Keyword; 9] = [
    Keyword::SIMILAR,
    Keyword::ANY,
    Keyword::SOME,
    Keyword::ALL,
    Keyword::FETCH,
    Keyword::TABLESAMPLE,
    Keyword::SAMPLE,
    Keyword::UNNEST,
    Keyword::UUID,
];

/// Rewrites the statement, if `tokens` show that there is anything to rewrite.
///
/// # Errors
/// `Plan` if something is not written as it must be.
pub(super) fn rewrite(statement: &mut Statement, tokens: &[TokenWithSpan]) -> Result<(), QueryError> {
    if !tokens.iter().any(|token| is_ours(&token.token)) {
        return Ok(());
    }
    let Some(statement) = super::statement_of(statement) else { return Ok(()) };
    let names_value = tokens.iter().any(|token| match &token.token {
        Token::Word(word) => word.value.eq_ignore_ascii_case(tables::VALUE),
        _ => false,
    });
    match statement.visit(&mut Rewrites { budget: Budget::default(), names_value }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn is_ours(token: &Token) -> bool {
    match token {
        Token::HashArrow | Token::HashLongArrow => true,
        Token::Word(word) => {
            let is_plain = word.quote_style.is_none();
            is_plain
                && (WORDS.contains(&word.keyword)
                    || calls::is_known(&word.value)
                    || word.value.eq_ignore_ascii_case(tables::SERIES))
        }
        _ => false,
    }
}

fn fault(message: impl Into<String>) -> QueryError {
    QueryError::new(QueryErrorKind::Plan, message)
}

struct Rewrites {
    budget: Budget,
    /// Whether the statement asks for the name that such columns have otherwise.
    names_value: bool,
}

impl VisitorMut for Rewrites {
    type Break = QueryError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<QueryError> {
        stop_at(tables::limit(query))
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<QueryError> {
        stop_at(tables::check_sample(table))?;
        tables::read_bounds(table);
        if !self.names_value {
            tables::name_column(table);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<QueryError> {
        match rewritten(expr) {
            Ok(Some(other)) => {
                stop_at(self.budget.take(&other))?;
                *expr = other;
                ControlFlow::Continue(())
            }
            other => stop_at(other.map(drop)),
        }
    }
}

fn stop_at(done: Result<(), QueryError>) -> ControlFlow<QueryError> {
    match done {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

fn rewritten(expr: &Expr) -> Result<Option<Expr>, QueryError> {
    Ok(match expr {
        Expr::SimilarTo { negated, expr, pattern, escape_char } => {
            Some(patterns::similar(expr, pattern, escape_char.as_ref(), *negated)?)
        }
        Expr::Like { any: true, .. } | Expr::ILike { any: true, .. } => patterns::like_any(expr)?,
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => among(left, right, false),
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => among(left, right, true),
        Expr::BinaryOp { left, op: BinaryOperator::HashArrow, right } => {
            at_path(left, right, BinaryOperator::Arrow)?
        }
        Expr::BinaryOp { left, op: BinaryOperator::HashLongArrow, right } => {
            at_path(left, right, BinaryOperator::LongArrow)?
        }
        Expr::Cast {
            kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type: DataType::Uuid, ..
        } => Some(calls::of("to_uuid", vec![*expr.clone()])),
        Expr::Function(function) => calls::rewritten(function)?,
        _ => None,
    })
}

/// Whether the value is one of those of an array that is written out, as a text or by itself; `None` if it is not.
fn among(value: &Expr, array: &Expr, negated: bool) -> Option<Expr> {
    let item = |item: Option<String>| item.map_or(Expr::value(Value::Null), |item| text(&item));
    let list = match array {
        Expr::Nested(inner) => return among(value, inner, negated),
        Expr::Array(array) => array.elem.clone(),
        other => array_items(text_of(other)?)?.into_iter().map(item).collect(),
    };
    Some(match list.is_empty() {
        true => Expr::value(Value::Boolean(negated)),
        false => Expr::InList { expr: Box::new(value.clone()), list, negated },
    })
}

/// What stands at a path that is written as the text of an array: numbers count the elements of a list. `None` if it is not.
///
/// # Errors
/// `Plan` if the path is longer than any other may be.
fn at_path(document: &Expr, path: &Expr, last: BinaryOperator) -> Result<Option<Expr>, QueryError> {
    let steps = text_of(path).and_then(array_items);
    let Some(mut steps) = steps.and_then(|steps| steps.into_iter().collect::<Option<Vec<_>>>()) else {
        return Ok(None);
    };
    if steps.len() > STEPS_MAX {
        return Err(fault(format!("a path has at most {STEPS_MAX} steps")));
    }
    let Some(end) = steps.pop() else { return Ok(None) };
    let step = |left: Expr, op: BinaryOperator, step: &str| {
        let digits = step.strip_prefix('-').unwrap_or(step);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = || Expr::value(Value::Number(digits.to_owned(), false));
        let right = match is_number {
            true if digits.len() == step.len() => number(),
            true => Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(number()) },
            false => text(step),
        };
        Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
    };
    let inner = steps.iter().fold(document.clone(), |left, name| step(left, BinaryOperator::Arrow, name));
    Ok(Some(Expr::Nested(Box::new(step(inner, last, &end)))))
}

#[cfg(test)]
mod tests;
