//! Functions of Apache Pinot that are other names, or other shapes, of ours: they are rewritten before the statement is planned,
//! so that nothing behind the parser knows of them and every optimization holds for them.
//!
//! What depends on the types of its arguments is not here but in [`functions`](crate::functions); calls with underscores
//! (`TO_EPOCH_SECONDS`) get the name under which such a function is registered. Functions of the same name and another meaning
//! (`substr`, `strpos`, `concat` with a separator) stay SQL's.
//!
//! | Pinot | ours |
//! |---|---|
//! | `DISTINCTCOUNT`, `DISTINCTCOUNTBITMAP`, `SEGMENTPARTITIONEDDISTINCTCOUNT` | `count(DISTINCT x)` |
//! | `DISTINCTCOUNTHLL`, `…HLLPLUS`, `…ULL`, `…SMARTHLL`, `…THETASKETCH`, `…CPCSKETCH` | `approx_distinct(x)` |
//! | `PERCENTILE(x, p)`, `PERCENTILE95(x)` | `percentile_cont(x, p / 100)`, between two values |
//! | `PERCENTILEEST`, `…TDIGEST`, `…KLL`, `…SMARTTDIGEST`, also with the number in the name | `approx_percentile_cont(x, p / 100)` |
//! | `MINMAXRANGE(x)` | `max(x) - min(x)` |
//! | `FIRSTWITHTIME(x, t, 'T')`, `LASTWITHTIME(x, t, 'T')` | `first_value(x ORDER BY t)`, `last_value(x ORDER BY t)` |
//! | `BOOLAND`, `BOOLOR`, `STDDEVPOP`, `VARSAMP`, …, `ARRAYAGG(x, 'T')`, `LISTAGG` | with an underscore, `array_agg(x)`, `string_agg` |
//! | `JSONEXTRACTSCALAR(doc, '$.a[0]', 'T', default)` | the value as a `T`; NULL, or the default, where there is none |
//! | `AGO('PT3H')` | milliseconds since the epoch, three hours ago |
//! | `ARRAYLENGTH`, `ARRAYMIN`, `ARRAYMAX`, `ARRAYSUM`, `ARRAYAVERAGE` | `array_length`, … |
//! | `SPLITPART(s, d, i)`, `MOD(a, b)`, `TRUNCATE`, `STARTSWITH`, `ENDSWITH`, `REGEXPLIKE` | `split_part(s, d, i + 1)`, `a % b`, … |
//! | `DATETRUNC(…)`, `ROUND(DATETRUNC(…), ms)` | see [`functions`](crate::functions) |

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    ObjectNamePart, SelectItem, SetExpr, Statement as SqlStatement, Value, VisitMut, visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::json_path::read_json_path;
use crate::functions::{TIME_FUNCTIONS, TIME_ROUND, TIME_TRUNC, TO_EPOCH_MILLIS, period_ms};
use crate::{QueryError, QueryErrorKind};

/// Names that are only spelled in another way, without underscores; and ours.
const SPELLINGS: [(&str, &str); 19] = [
    ("booland", "bool_and"),
    ("boolor", "bool_or"),
    ("stddevpop", "stddev_pop"),
    ("stddevsamp", "stddev_samp"),
    ("varpop", "var_pop"),
    ("varsamp", "var_samp"),
    ("covarpop", "covar_pop"),
    ("covarsamp", "covar_samp"),
    ("listagg", "string_agg"),
    ("arraylength", "array_length"),
    ("arraymin", "array_min"),
    ("arraymax", "array_max"),
    ("arraysum", "array_sum"),
    ("arrayaverage", "array_avg"),
    ("truncate", "trunc"),
    ("startswith", "starts_with"),
    ("endswith", "ends_with"),
    ("regexplike", "regexp_like"),
    ("regexpreplace", "regexp_replace"),
];

/// The functions that are rewritten to others, besides those with a percentile in their name.
const SHAPES: [&str; 18] = [
    "distinctcount",
    "distinctcountbitmap",
    "segmentpartitioneddistinctcount",
    "distinctcounthll",
    "distinctcounthllplus",
    "distinctcountull",
    "distinctcountsmarthll",
    "distinctcountthetasketch",
    "distinctcountcpcsketch",
    "minmaxrange",
    "firstwithtime",
    "lastwithtime",
    "arrayagg",
    "jsonextractscalar",
    "ago",
    "splitpart",
    "mod",
    "round",
];

/// Percentiles, longest first; and whether they are approximate.
const PERCENTILES: [(&str, bool); 5] = [
    ("percentilesmarttdigest", true),
    ("percentiletdigest", true),
    ("percentilekll", true),
    ("percentileest", true),
    ("percentile", false),
];

/// Rewrites the calls of the statement, if `tokens` show that there is any.
///
/// # Errors
/// `Plan` if a call is not written as it must be.
pub(super) fn rewrite(statement: &mut Statement, tokens: &[TokenWithSpan]) -> Result<(), QueryError> {
    let mut words = tokens.iter().filter_map(|token| match &token.token {
        Token::Word(word) => Some(word),
        _ => None,
    });
    let is_ours = |name: &str| is_call(name) || name == "between";
    if !words.any(|word| word.quote_style.is_none() && is_ours(&canonical(&word.value))) {
        return Ok(());
    }
    let Some(statement) = super::statement_of(statement) else { return Ok(()) };
    let visited = match statement {
        SqlStatement::Query(query) => name_columns(&mut query.body),
        _ => ControlFlow::Continue(()),
    };
    let visited = match visited {
        ControlFlow::Continue(()) => rewrite_all(statement),
        stopped => stopped,
    };
    match visited {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn rewrite_all(within: &mut impl VisitMut) -> ControlFlow<QueryError> {
    visit_expressions_mut(within, |expr| match rewritten(expr) {
        Ok(Some(other)) => {
            *expr = other;
            ControlFlow::Continue(())
        }
        Ok(None) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    })
}

/// Rewrites the columns of the answer, which keep the names that they are asked for by: two calls may be one of ours.
fn name_columns(body: &mut SetExpr) -> ControlFlow<QueryError> {
    match body {
        SetExpr::Select(select) => {
            for item in &mut select.projection {
                let SelectItem::UnnamedExpr(expr) = item else { continue };
                let written = expr.to_string();
                rewrite_all(expr)?;
                if expr.to_string() != written {
                    let alias = Ident::with_quote('"', written);
                    *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
                }
            }
            ControlFlow::Continue(())
        }
        SetExpr::Query(query) => name_columns(&mut query.body),
        SetExpr::SetOperation { left, .. } => name_columns(left),
        _ => ControlFlow::Continue(()),
    }
}

/// Pinot's functions are known with and without underscores, in any case.
fn canonical(name: &str) -> String {
    name.to_lowercase().replace('_', "")
}

/// Pinot's `dateTrunc` without its underscore; SQL's own function is spelled like it otherwise.
const DATE_TRUNC: &str = "datetrunc";

fn is_call(name: &str) -> bool {
    name == DATE_TRUNC
        || SHAPES.contains(&name)
        || TIME_FUNCTIONS.iter().any(|function| function.name == name)
        || SPELLINGS.iter().any(|(theirs, _)| *theirs == name)
        || PERCENTILES.iter().any(|(theirs, _)| name.starts_with(theirs))
}

fn rewritten(expr: &Expr) -> Result<Option<Expr>, QueryError> {
    match expr {
        // Of a column: as two comparisons, which know what a number of milliseconds is to a timestamp.
        Expr::Between { expr, negated, low, high }
            if is_column(expr) && (is_number(low) || is_number(high)) =>
        {
            let template = if *negated { "($1 < $2 OR $1 > $3)" } else { "($1 >= $2 AND $1 <= $3)" };
            Ok(Some(fill(template, &[expr.as_ref(), low.as_ref(), high.as_ref()], None)))
        }
        Expr::Function(function) => call(function),
        _ => Ok(None),
    }
}

fn call(function: &Function) -> Result<Option<Expr>, QueryError> {
    let [ObjectNamePart::Identifier(written)] = function.name.0.as_slice() else { return Ok(None) };
    let name = canonical(&written.value);
    if written.quote_style.is_some() || !is_call(&name) {
        return Ok(None);
    }
    let Some(arguments) = arguments(function) else { return Ok(None) };
    if let Some((_, ours)) = SPELLINGS.iter().find(|(theirs, _)| *theirs == name) {
        return Ok(Some(renamed(function, ours)));
    }
    if TIME_FUNCTIONS.iter().any(|known| known.name == name) {
        return Ok(Some(renamed(function, &name)));
    }
    if let Some((kind, approximate)) = PERCENTILES.iter().find(|(kind, _)| name.starts_with(kind)) {
        return percentile(function, &arguments, &name[kind.len()..], *approximate);
    }
    shape(function, &name, written, &arguments)
}

fn shape(
    function: &Function,
    name: &str,
    written: &Ident,
    arguments: &[&Expr],
) -> Result<Option<Expr>, QueryError> {
    let filled = |template: &str| Ok(Some(fill(template, arguments, Some(function))));
    match (name, arguments) {
        ("distinctcount" | "distinctcountbitmap" | "segmentpartitioneddistinctcount", [_]) => {
            filled("count(DISTINCT $1)")
        }
        (_, [_, ..]) if name.starts_with("distinctcount") => filled("approx_distinct($1)"),
        ("minmaxrange", [_]) => filled("(max($1) - min($1))"),
        ("firstwithtime", [_, _, _]) => filled("first_value($1 ORDER BY $2)"),
        ("lastwithtime", [_, _, _]) => filled("last_value($1 ORDER BY $2)"),
        ("arrayagg", [_, kind]) if text_of(kind).is_some() => filled("array_agg($1)"),
        ("arrayagg", [_, _, distinct]) => match **distinct {
            Expr::Value(ref value) if value.value == Value::Boolean(true) => filled("array_agg(DISTINCT $1)"),
            _ => filled("array_agg($1)"),
        },
        ("jsonextractscalar", [_, path, kind, default @ ..]) if default.len() <= 1 => {
            json_scalar(arguments, path, kind).map(Some)
        }
        ("ago", [period]) => {
            let ms = text_of(period).ok_or_else(|| fault("ago wants a period in quotes, such as 'PT3H'"))?;
            let ms = period_ms(ms)
                .ok_or_else(|| fault(format!("{ms:?} is not a period such as 'PT3H' or 'P1D'")))?;
            filled(&format!("({TO_EPOCH_MILLIS}(now()) - {ms})"))
        }
        ("splitpart", [_, _, _]) if written.value.len() == name.len() => filled("split_part($1, $2, $3 + 1)"),
        ("mod", [_, _]) => filled("($1 % $2)"),
        // Spelled as Pinot does it, it takes numbers, too.
        (DATE_TRUNC, [_, _]) if written.value.len() == name.len() => Ok(Some(renamed(function, TIME_TRUNC))),
        (DATE_TRUNC, [_, _, _, ..]) => Ok(Some(renamed(function, TIME_TRUNC))),
        ("round", [inner, _]) if is_truncated_time(inner) => Ok(Some(renamed(function, TIME_ROUND))),
        _ => Ok(None),
    }
}

/// Whether the expression is a time that was cut to a unit: rounding one means to cut it to a number of milliseconds.
fn is_truncated_time(expr: &Expr) -> bool {
    match expr {
        Expr::Function(function) => match function.name.0.as_slice() {
            [ObjectNamePart::Identifier(name)] => {
                matches!(name.value.to_lowercase().as_str(), "date_trunc" | DATE_TRUNC | TIME_TRUNC)
            }
            _ => false,
        },
        Expr::Nested(inner) => is_truncated_time(inner),
        _ => false,
    }
}

/// `suffix` is what stands in the name behind the kind: nothing, or the number.
fn percentile(
    function: &Function,
    arguments: &[&Expr],
    suffix: &str,
    approximate: bool,
) -> Result<Option<Expr>, QueryError> {
    let (value, number) = match (arguments, suffix) {
        ([value], digits) if !digits.is_empty() => (value, digits.to_owned()),
        // A compression or a size of the sketch may follow.
        ([value, number, ..], "") => match number_of(number) {
            Some(number) => (value, number),
            None => return Err(fault("a percentile wants a number from 0 to 100")),
        },
        _ => return Ok(None),
    };
    // Another function, whose name begins alike: percentile_cont.
    let Ok(number) = number.parse::<f64>() else { return Ok(None) };
    if !(0.0..=100.0).contains(&number) {
        return Err(fault(format!("a percentile is a number from 0 to 100, not {number}")));
    }
    // Without the digits that division leaves behind: 99.9 becomes 0.999.
    let share = (number * 1e10).round() / 1e12;
    let ours = if approximate { "approx_percentile_cont" } else { "percentile_cont" };
    Ok(Some(fill(&format!("{ours}($1, {share:?})"), &[*value], Some(function))))
}

/// The value of a JSON document at a path.
fn json_scalar(arguments: &[&Expr], path: &Expr, kind: &Expr) -> Result<Expr, QueryError> {
    let path = text_of(path).ok_or_else(|| fault("jsonExtractScalar wants its path in quotes"))?;
    let steps = read_json_path(path).ok_or_else(|| {
        fault(format!("{path:?} is not a path that jsonExtractScalar reads; write it as $.name[0].name"))
    })?;
    let kind = text_of(kind).ok_or_else(|| fault("jsonExtractScalar wants its type in quotes"))?;
    let text = format!("json_as_text($1{steps})");
    let value = match kind.to_uppercase().as_str() {
        // Whole numbers are read exactly, others lose their fraction.
        "INT" => format!("coalesce(try_cast({text} AS INT), CAST(trunc(CAST({text} AS DOUBLE)) AS INT))"),
        "LONG" => {
            format!("coalesce(try_cast({text} AS BIGINT), CAST(trunc(CAST({text} AS DOUBLE)) AS BIGINT))")
        }
        "FLOAT" => format!("CAST({text} AS REAL)"),
        "DOUBLE" => format!("CAST({text} AS DOUBLE)"),
        "BIG_DECIMAL" => format!("CAST({text} AS DECIMAL(38, 10))"),
        "BOOLEAN" => format!("CAST({text} AS BOOLEAN)"),
        "STRING" | "JSON" => text,
        "TIMESTAMP" => format!("to_timestamp_millis(CAST({text} AS BIGINT))"),
        other => {
            return Err(fault(format!(
                "jsonExtractScalar has no type {other}; it has INT, LONG, FLOAT, DOUBLE, BIG_DECIMAL, BOOLEAN, \
                 TIMESTAMP, STRING and JSON"
            )));
        }
    };
    Ok(match arguments {
        [document, _, _, default] => fill(&format!("coalesce({value}, $2)"), &[*document, *default], None),
        [document, ..] => fill(&value, &[*document], None),
        [] => return Err(fault("jsonExtractScalar wants a document")),
    })
}

fn fault(message: impl Into<String>) -> QueryError {
    QueryError::new(QueryErrorKind::Plan, message)
}

/// The arguments, if each is a plain expression.
fn arguments(function: &Function) -> Option<Vec<&Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    fn plain(argument: &FunctionArg) -> Option<&Expr> {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        }
    }
    list.args.iter().map(plain).collect()
}

fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

fn number_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => Some(number.to_string()),
            _ => None,
        },
        _ => None,
    }
}

fn is_number(expr: &Expr) -> bool {
    match expr {
        Expr::UnaryOp { expr, .. } | Expr::Nested(expr) => is_number(expr),
        // What `ago` has become by now.
        Expr::BinaryOp { left, op: BinaryOperator::Minus | BinaryOperator::Plus, right } => {
            is_number(left) || is_number(right)
        }
        other => number_of(other).is_some(),
    }
}

/// Whether the expression may stand twice for once.
fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

fn renamed(function: &Function, name: &str) -> Expr {
    let mut function = function.clone();
    function.name = ObjectName::from(vec![Ident::new(name)]);
    Expr::Function(function)
}

/// The template with its `$1`, `$2`, … replaced by `arguments`; its functions get the FILTER and OVER of `original`.
fn fill(template: &str, arguments: &[&Expr], original: Option<&Function>) -> Expr {
    let parsed =
        Parser::new(&GenericDialect {}).try_with_sql(template).and_then(|mut parser| parser.parse_expr());
    let mut expr = parsed.expect("the templates of this file are SQL");
    let filled: ControlFlow<()> = visit_expressions_mut(&mut expr, |part| {
        match part {
            Expr::Value(value) => {
                if let Value::Placeholder(name) = &value.value
                    && let Some(argument) = place(name).and_then(|place| arguments.get(place))
                {
                    *part = (*argument).clone();
                }
            }
            Expr::Function(function) => {
                if let Some(original) = original {
                    function.filter.clone_from(&original.filter);
                    function.over.clone_from(&original.over);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
    match filled {
        ControlFlow::Continue(()) | ControlFlow::Break(()) => expr,
    }
}

fn place(name: &str) -> Option<usize> {
    name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}
