//! Functions of PostgreSQL that are other names, or other shapes, of ours.

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName,
};

use super::fault;
use crate::QueryError;
use crate::sql::budget::check_repeated;
use crate::sql::template::{arguments, fill, plain_name, renamed};

/// Other names. The times of a statement and of a transaction are those of its query.
const NAMES: [(&str, &str); 9] = [
    // Every one that is like the value, not the first of them.
    ("array_remove", "array_remove_all"),
    ("array_to_json", "to_json"),
    ("clock_timestamp", "now"),
    ("every", "bool_and"),
    ("gen_random_uuid", "uuid"),
    ("statement_timestamp", "now"),
    ("to_jsonb", "to_json"),
    ("transaction_timestamp", "now"),
    ("variance", "var_samp"),
];

/// Looked at, and left as it is.
const COUNT: &str = "count";

/// Those with another shape.
const SHAPES: [&str; 8] = [
    "age",
    "json_agg",
    "jsonb_agg",
    "jsonb_build_object",
    "localtimestamp",
    "mode",
    "percentile_cont",
    "percentile_disc",
];

/// How often a percentile's order is written in the place of one fraction.
const REPEATED: usize = 4;

pub(super) fn is_known(name: &str) -> bool {
    let is = |known: &str| known.eq_ignore_ascii_case(name);
    is(COUNT) || NAMES.iter().any(|(known, _)| is(known)) || SHAPES.iter().any(|known| is(known))
}

/// What becomes of a call; `None` if it is none of these.
///
/// # Errors
/// `Plan` if that becomes too large.
pub(super) fn rewritten(function: &Function) -> Result<Option<Expr>, QueryError> {
    if counts_all_distinct(function) {
        let message =
            "not supported: count(DISTINCT *); write SELECT count(*) FROM (SELECT DISTINCT * FROM …)";
        return Err(fault(message));
    }
    if let [order] = function.within_group.as_slice() {
        check_repeated(&order.expr, REPEATED * fractions(function), "what WITHIN GROUP orders by")?;
    }
    Ok(shaped(function))
}

/// The planner would count the DISTINCT ones of a constant.
fn counts_all_distinct(function: &Function) -> bool {
    let FunctionArguments::List(list) = &function.args else { return false };
    plain_name(function).is_some_and(|name| name.value.eq_ignore_ascii_case(COUNT))
        && list.duplicate_treatment == Some(DuplicateTreatment::Distinct)
        && list.args.iter().any(|arg| {
            matches!(
                arg,
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard | FunctionArgExpr::QualifiedWildcard(_))
            )
        })
}

/// How many fractions a percentile is asked for.
fn fractions(function: &Function) -> usize {
    match arguments(function).as_deref() {
        Some([Expr::Array(fractions)]) => fractions.elem.len(),
        _ => 1,
    }
}

fn shaped(function: &Function) -> Option<Expr> {
    let name = plain_name(function)?.value.to_lowercase();
    if let Some((_, ours)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some(renamed(function, ours));
    }
    match name.as_str() {
        "age" => match arguments(function)?.as_slice() {
            [from] => Some(fill("age(CAST(current_date() AS TIMESTAMP), $1)", &[from], None)),
            _ => None,
        },
        "json_agg" | "jsonb_agg" => aggregated(function),
        "jsonb_build_object" => Some(renamed(function, "json_build_object")),
        "localtimestamp" => Some(fill("CAST(now() AS TIMESTAMP)", &[], None)),
        "mode" => most_frequent(function),
        "percentile_cont" => several(function, &|one| Some(Expr::Function(one.clone()))),
        "percentile_disc" => match arguments(function)?.as_slice() {
            [Expr::Array(_)] => several(function, &at_fraction),
            _ => at_fraction(function),
        },
        _ => None,
    }
}

/// Each value as JSON, and all of them as an array: `json_agg(x ORDER BY y) FILTER (WHERE z)`.
fn aggregated(function: &Function) -> Option<Expr> {
    let mut inner = function.clone();
    let FunctionArguments::List(list) = &mut inner.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(value))] = list.args.as_mut_slice() else { return None };
    *value = of("to_json", vec![value.clone()]);
    Some(of("json_array_of", vec![renamed(&inner, "array_agg")]))
}

/// `mode() WITHIN GROUP (ORDER BY x)`
fn most_frequent(function: &Function) -> Option<Expr> {
    let [order] = function.within_group.as_slice() else { return None };
    let mut call = function.clone();
    call.within_group = Vec::new();
    call.args = of_arguments(vec![order.expr.clone()]);
    // Of several that are as frequent the first in the order.
    let name = if order.options.asc == Some(false) { "mode_max" } else { "mode" };
    Some(renamed(&call, name))
}

/// `percentile_cont(ARRAY[x, y])`: what the function gives for each of them; `None` if it is asked for one alone.
fn several(function: &Function, each: &dyn Fn(&Function) -> Option<Expr>) -> Option<Expr> {
    let arguments = arguments(function)?;
    let [Expr::Array(fractions)] = arguments.as_slice() else { return None };
    let one = |fraction: &Expr| {
        let mut one = function.clone();
        one.args = of_arguments(vec![fraction.clone()]);
        each(&one)
    };
    Some(of("make_array", fractions.elem.iter().map(one).collect::<Option<_>>()?))
}

/// `percentile_disc(x) WITHIN GROUP (ORDER BY y)`: the first value in the order that at least such a share is up to.
fn at_fraction(function: &Function) -> Option<Expr> {
    let arguments = arguments(function)?;
    let ([fraction], [order]) = (arguments.as_slice(), function.within_group.as_slice()) else { return None };
    if function.filter.is_some() || function.over.is_some() {
        return None;
    }
    let direction = if order.options.asc == Some(false) { "DESC" } else { "ASC" };
    let template = format!(
        "array_element(array_agg($1 ORDER BY $1 {direction}) FILTER (WHERE $1 IS NOT NULL), \
         greatest(CAST(ceil($2 * count($1)) AS BIGINT), 1))"
    );
    Some(fill(&template, &[&order.expr, fraction], None))
}

/// `name(arguments…)`
pub(super) fn of(name: &str, arguments: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: of_arguments(arguments),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn of_arguments(arguments: Vec<Expr>) -> FunctionArguments {
    let args = arguments.into_iter().map(|value| FunctionArg::Unnamed(FunctionArgExpr::Expr(value)));
    FunctionArguments::List(FunctionArgumentList {
        duplicate_treatment: None,
        args: args.collect(),
        clauses: Vec::new(),
    })
}

/// `CAST(value AS data_type)`
pub(super) fn cast(value: &Expr, data_type: &str) -> Expr {
    fill(&format!("CAST($1 AS {data_type})"), &[value], None)
}
