//! Functions of Apache Pinot that are other names, or other shapes, of ours: they are rewritten before the statement is planned,
//! so that nothing behind the parser knows of them and every optimization holds for them.
//!
//! What depends on the types of its arguments is not here but in [`functions`](crate::functions); calls with underscores
//! (`TO_EPOCH_SECONDS`) get the name under which such a function is registered. Names are known with and without underscores, in
//! any case. A name that SQL has with another meaning (`substr`, `strpos`, `concat` with a separator, `log`) stays SQL's; of
//! those that are spelled with an underscore in SQL (`split_part`, `regexp_replace`, `to_timestamp`) only the spelling without
//! one is Pinot's. NULL in is NULL out, and what overflows is an error.
//!
//! | Pinot | ours |
//! |---|---|
//! | `DISTINCTCOUNT`, `…BITMAP`, `…OFFHEAP`, `…THETASKETCH`, `SEGMENTPARTITIONEDDISTINCTCOUNT` | `count(DISTINCT x)` |
//! | `DISTINCTCOUNTHLL`, `…HLLPLUS`, `…ULL`, `…SMARTHLL`, `…SMARTHLLPLUS`, `…SMARTULL`, `…CPCSKETCH` | `approx_distinct(x)` |
//! | `DISTINCTSUM(x)`, `DISTINCTAVG(x)` | `sum(DISTINCT x)`, `avg(DISTINCT x)` |
//! | `PERCENTILE(x, p)`, `PERCENTILE95(x)` | `percentile_cont(x, p / 100)`, between two values |
//! | `PERCENTILEEST`, `…TDIGEST`, `…KLL`, `…SMARTTDIGEST`, also with the number in the name | `approx_percentile_cont(x, p / 100)` |
//! | `MODE(x [, 'MIN' \| 'MAX' \| 'AVG'])` | the most frequent number; the smallest of several, or as the text says |
//! | `MINMAXRANGE(x)` | `max(x) - min(x)` |
//! | `FIRSTWITHTIME(x, t, 'T')`, `LASTWITHTIME(x, t, 'T')` | the `x` of the row with the first, or last, `t` that is not NULL |
//! | `HISTOGRAM(x, low, high, n)`, `HISTOGRAM(x, ARRAY[a, b, …])` | how many values each bin has; the last one has its upper end |
//! | `COUNTMV`, `SUMMV`, `MINMV`, `MAXMV`, `AVGMV`, `MINMAXRANGEMV` | over all elements of arrays |
//! | `MINLONG`, `MAXLONG`, `MINSTRING`, `MAXSTRING`, `SUMINT`, `SUMLONG`, `ANYVALUE` | `min`, `max`, `sum`, `any_value` |
//! | `SUMPRECISION(x)` | the sum as a DECIMAL with ten digits behind the point, exact |
//! | `BOOLAND`, `BOOLOR`, `STDDEVPOP`, `VARSAMP`, …, `ARRAYAGG(x, 'T')`, `LISTAGG` | with an underscore, `array_agg(x)`, `string_agg` |
//! | `JSONEXTRACTSCALAR(doc, '$.a[0]', 'T', default)`, `JSONEXTRACTINDEX` | the value as a `T`; NULL, or the default, where there is none |
//! | `JSONEXTRACTSCALAR(doc, '$.a[*].b', 'T_ARRAY', default)` | the values as an array of `T`; the default for each `null` among them |
//! | `JSONPATHSTRING(doc, path [, default])`, `JSONPATHEXISTS(doc, path)` | the value as a text; whether there is one |
//! | `JSON_MATCH(doc, '"$.a" = ''x'' AND …')` | what the condition says of places of the document |
//! | `AGO('PT3H')` | milliseconds since the epoch, three hours ago |
//! | `ARRAYTOMV(array)` | the array |
//! | `VALUEIN(array, a, b, …)` | the elements that are among the others, in their order and number |
//! | `ARRAYLENGTH`, `ARRAYMIN`, `ARRAYMAX`, `ARRAYSUM`, `ARRAYAVERAGE` | `cardinality`, `array_min`, … |
//! | `ARRAYCONTAINSINT`, `ARRAYCONCAT…`, `ARRAYDISTINCT…`, `ARRAYREMOVE…`, `ARRAYREVERSE…`, `ARRAYSORT…`, also `…STRING` | `array_has`, … |
//! | `ARRAYINDEXOFINT(array, x)`, `ARRAYINDEXOFSTRING` | where the first `x` is, counted from 0; -1 if it is nowhere |
//! | `STRCMP(a, b)` | -1, 0 or 1 |
//! | `TEXT_MATCH(s, 'word AND "a phrase" AND stream*')` | whether the text has these words |
//! | `ADD(a, b, …)`, `SUB(a, b)`, `MULT(a, b, …)`, `MOD(a, b)` (also `PLUS`, `MINUS`, `TIMES`) | `a + b`, … |
//! | `DIV(a, b [, default])`, `DIVIDE` | the quotient as a DOUBLE; the default where `b` is 0 |
//! | `ROUNDDECIMAL(x [, n])` | `round`, whose whole numbers are cut to multiples where Pinot's clients ask |
//! | `TRUNCATE`, `CEILING`, `SIGN` | `trunc`, `ceil`, `signum` |
//! | `REGEXPEXTRACT(s, 'p' [, group [, default]])` | the part of `s` that the group of the first match has; group 0 is all of it |
//! | `REGEXPREPLACE(s, p, r [, 0 [, n [, 'i']]])` | every match replaced, or the first one (`n` = 0); `$1` in `r` is a group |
//! | `REGEXPLIKE`, `REGEXPCOUNT` | with an underscore |
//! | `SPLIT(s, d)` | the fields of `s` between delimiters, of which several in a row are one |
//! | `SPLITPART(s, d, i)` | one of these, counted from 0, or from the end if `i < 0`; `'null'` if it is not there |
//! | `LEFTSUBSTR`, `RIGHTSUBSTR`, `SUBSTRINGINDEX`, `REMOVE`, `SPACE`, `CODEPOINT`, `STARTSWITH`, `ENDSWITH`, `…LENGTH` | `left`, … |
//! | `TOUTF8`, `FROMUTF8`, `TOBASE64`, `FROMBASE64`, `BYTESTOHEX`, `HEXTOBYTES` | casts, `encode`, `decode` |
//! | `DATETRUNC(…)`, `ROUND(DATETRUNC(…), ms)`, `TIMESTAMPADD(…)`, … | see [`functions`](crate::functions) |

mod aggregates;
mod json;
mod json_match;
mod regexps;
mod scalars;
mod text_match;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, Ident, Select, SelectItem, Statement as SqlStatement, VisitMut, visit_expressions_mut,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::budget::{Budget, check_repeated};
use super::template::{arguments, fill, plain_name, renamed};
use super::twins::first_select;
use crate::functions::{TIME_FUNCTIONS, TO_TIMESTAMP};
use crate::{QueryError, QueryErrorKind};

/// What becomes of a call.
#[derive(Clone, Copy)]
enum Rewrite {
    /// The same with another name.
    Name(&'static str),
    /// A template for each number of arguments; others are none of ours.
    Templates(&'static [(usize, &'static str)]),
    /// Whatever the function says; `None` leaves the call as it is.
    Shape(fn(&Call<'_>) -> Rewritten),
}

type Rewritten = Result<Option<Expr>, QueryError>;

/// A call that may be one of Pinot's.
struct Call<'a> {
    function: &'a Function,
    /// In lower case, without underscores.
    name: &'a str,
    /// As it stands in the text.
    written: &'a Ident,
    arguments: &'a [&'a Expr],
}

impl Call<'_> {
    /// Whether the name has no underscore, unlike SQL's own.
    fn is_in_one_word(&self) -> bool {
        self.written.value.len() == self.name.len()
    }

    /// The template with the arguments of the call.
    fn filled(&self, template: &str) -> Rewritten {
        filled(template, self.arguments, Some(self.function))
    }

    fn renamed(&self, name: &str) -> Rewritten {
        Ok(Some(renamed(self.function, name)))
    }
}

static REWRITES: LazyLock<HashMap<&'static str, Rewrite>> = LazyLock::new(|| {
    let times = TIME_FUNCTIONS.iter().map(|function| (function.name, Rewrite::Name(function.name)));
    times.chain(aggregates::REWRITES).chain(scalars::REWRITES).chain(json::REWRITES).collect()
});

/// What becomes of calls of the function, by its name in lower case without underscores.
fn rewrite_of(name: &str) -> Option<Rewrite> {
    let found = REWRITES.get(name).copied();
    found.or_else(|| aggregates::is_percentile(name).then_some(Rewrite::Shape(aggregates::percentile)))
}

/// Rewrites the calls of the statement, if `tokens` show that there is any.
///
/// # Errors
/// `Plan` if a call is not written as it must be.
pub(super) fn rewrite(statement: &mut Statement, tokens: &[TokenWithSpan]) -> Result<(), QueryError> {
    if !mentions_ours(tokens) {
        return Ok(());
    }
    let Some(statement) = super::statement_of(statement) else { return Ok(()) };
    let mut budget = Budget::default();
    let visited = match statement {
        SqlStatement::Query(query) => name_columns(first_select(&mut query.body), &mut budget),
        _ => ControlFlow::Continue(()),
    };
    let visited = match visited {
        ControlFlow::Continue(()) => rewrite_all(statement, &mut budget),
        stopped => stopped,
    };
    match visited {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Whether a word of ours stands before a bracket.
fn mentions_ours(tokens: &[TokenWithSpan]) -> bool {
    let mut before = None;
    for token in tokens {
        match &token.token {
            Token::Whitespace(_) => continue,
            Token::Word(word) if word.quote_style.is_none() => before = Some(word),
            Token::LParen if before.is_some_and(|word| rewrite_of(&canonical(&word.value)).is_some()) => {
                return true;
            }
            _ => before = None,
        }
    }
    false
}

fn rewrite_all(within: &mut impl VisitMut, budget: &mut Budget) -> ControlFlow<QueryError> {
    let mut rewrite = |expr: &mut Expr| {
        if let Some(other) = rewritten(expr)? {
            budget.take(&other)?;
            *expr = other;
        }
        Ok(())
    };
    visit_expressions_mut(within, |expr| match rewrite(expr) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    })
}

/// Rewrites the columns of the answer, which keep the names that they are asked for by: two calls may be one of ours.
fn name_columns(select: Option<&mut Select>, budget: &mut Budget) -> ControlFlow<QueryError> {
    for item in select.into_iter().flat_map(|select| &mut select.projection) {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let written = expr.to_string();
        rewrite_all(expr, budget)?;
        if expr.to_string() != written {
            let alias = Ident::with_quote('"', written);
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
    ControlFlow::Continue(())
}

/// Pinot's functions are known with and without underscores, in any case.
fn canonical(name: &str) -> String {
    let mut name = name.to_lowercase();
    name.retain(|letter| letter != '_');
    name
}

fn rewritten(expr: &Expr) -> Rewritten {
    match expr {
        Expr::Function(function) => call(function),
        _ => Ok(None),
    }
}

fn call(function: &Function) -> Rewritten {
    let Some(written) = plain_name(function) else { return Ok(None) };
    let name = canonical(&written.value);
    let Some(rewrite) = rewrite_of(&name) else { return Ok(None) };
    let Some(arguments) = arguments(function) else { return Ok(None) };
    let call = Call { function, name: &name, written, arguments: &arguments };
    match rewrite {
        Rewrite::Name(_) if scalars::begins_with_unit(&name) => scalars::with_unit_in_quotes(&call),
        Rewrite::Name(TO_TIMESTAMP) if !call.is_in_one_word() => Ok(None),
        Rewrite::Name(ours) => call.renamed(ours),
        Rewrite::Templates(templates) => {
            match templates.iter().find(|(count, _)| *count == arguments.len()) {
                Some((_, template)) => call.filled(template),
                None => Ok(None),
            }
        }
        Rewrite::Shape(shape) => shape(&call),
    }
}

/// The template with its places filled.
///
/// # Errors
/// `Plan` if it repeats an argument that is too large for that.
fn filled(template: &str, arguments: &[&Expr], original: Option<&Function>) -> Rewritten {
    for (index, argument) in arguments.iter().enumerate() {
        let place = index + 1;
        check_repeated(argument, times(template, place), &format!("the argument {place}"))?;
    }
    Ok(Some(fill(template, arguments, original)))
}

/// How often the template has a place; `$1` is none of `$10`.
fn times(template: &str, place: usize) -> usize {
    let written = format!("${place}");
    let behind = template.split(&written).skip(1);
    behind.filter(|behind| !behind.starts_with(|letter: char| letter.is_ascii_digit())).count()
}

fn fault(message: impl Into<String>) -> QueryError {
    QueryError::new(QueryErrorKind::Plan, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::tokens::tokenize;

    #[test]
    fn only_calls_are_looked_at() {
        let ours = |sql: &str| mentions_ours(&tokenize(sql).unwrap());
        for sql in ["SELECT Year (a)", "SELECT TO_EPOCH_DAYS(a)", "SELECT percentile99(a)"] {
            assert!(ours(sql), "{sql}");
        }
        for sql in
            ["SELECT year, mode FROM t", "SELECT \"year\"(a)", "SELECT 'year('", "SELECT count(year), (mode)"]
        {
            assert!(!ours(sql), "{sql}");
        }
    }

    #[test]
    fn names_are_listed_once() {
        let listed = aggregates::REWRITES.iter().chain(&scalars::REWRITES).chain(&json::REWRITES);
        let count = listed.clone().count() + TIME_FUNCTIONS.len();
        assert_eq!(REWRITES.len(), count);
        for (name, _) in listed {
            assert_eq!(canonical(name), *name);
        }
    }
}
