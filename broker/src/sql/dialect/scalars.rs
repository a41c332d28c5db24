//! Pinot's functions of single values and of arrays.

use datafusion::sql::sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::text_match::text_match;
use super::{Call, Rewrite, Rewritten, fault, filled, regexps};
use crate::functions::{ROUND_DIGITS, TIME_ROUND, TIME_TRUNC, TO_EPOCH_MILLIS, period_ms};
use crate::sql::template::{plain_name, text, text_of};

/// `dateTrunc` without its underscore; SQL's own function is spelled like it otherwise.
const DATE_TRUNC: &str = "datetrunc";

/// Fields between delimiters: several in a row are one, none at the beginning counts, and one at the end is followed by an empty
/// field.
const FIELDS: &str = "CASE WHEN ends_with($1, $2) \
                      THEN array_append(array_remove_all(string_to_array($1, $2), ''), '') \
                      ELSE array_remove_all(string_to_array($1, $2), '') END";

pub(super) const REWRITES: [(&str, Rewrite); 63] = [
    ("arraylength", Rewrite::Templates(&[(1, "CAST(cardinality($1) AS INT)")])),
    ("arraymin", Rewrite::Name("array_min")),
    ("arraymax", Rewrite::Name("array_max")),
    ("arraysum", Rewrite::Name("array_sum")),
    ("arrayaverage", Rewrite::Name("array_avg")),
    ("valuein", Rewrite::Name("value_in")),
    // Every array is what Pinot calls a column of several values.
    ("arraytomv", Rewrite::Templates(&[(1, "$1")])),
    ("add", Rewrite::Shape(|call| chained(call, '+'))),
    ("plus", Rewrite::Shape(|call| chained(call, '+'))),
    ("mult", Rewrite::Shape(|call| chained(call, '*'))),
    ("times", Rewrite::Shape(|call| chained(call, '*'))),
    ("sub", Rewrite::Templates(&[(2, "($1 - $2)")])),
    ("minus", Rewrite::Templates(&[(2, "($1 - $2)")])),
    ("mod", Rewrite::Templates(&[(2, "($1 % $2)")])),
    ("div", QUOTIENT),
    ("divide", QUOTIENT),
    (ROUND_DIGITS, Rewrite::Name(ROUND_DIGITS)),
    ("truncate", Rewrite::Name("trunc")),
    ("ceiling", Rewrite::Name("ceil")),
    ("sign", Rewrite::Name("signum")),
    ("round", Rewrite::Shape(round)),
    (DATE_TRUNC, Rewrite::Shape(date_trunc)),
    ("ago", Rewrite::Shape(ago)),
    ("startswith", Rewrite::Name("starts_with")),
    ("endswith", Rewrite::Name("ends_with")),
    ("leftsubstr", Rewrite::Name("left")),
    ("rightsubstr", Rewrite::Name("right")),
    ("substringindex", Rewrite::Name("substr_index")),
    ("codepoint", Rewrite::Name("ascii")),
    ("octetlength", Rewrite::Name("octet_length")),
    ("bitlength", Rewrite::Name("bit_length")),
    ("charlength", Rewrite::Name("char_length")),
    ("characterlength", Rewrite::Name("char_length")),
    ("remove", Rewrite::Templates(&[(2, "CASE WHEN $2 = '' THEN $1 ELSE replace($1, $2, '') END")])),
    ("space", Rewrite::Templates(&[(1, "repeat(' ', $1)")])),
    ("split", Rewrite::Templates(&[(2, FIELDS)])),
    ("splitpart", Rewrite::Shape(split_part)),
    ("regexplike", Rewrite::Name("regexp_like")),
    ("regexpcount", Rewrite::Name("regexp_count")),
    ("regexpextract", Rewrite::Shape(regexps::extract)),
    ("regexpreplace", Rewrite::Shape(regexps::replace)),
    ("textmatch", Rewrite::Shape(text_match)),
    ("arraycontainsint", Rewrite::Name("array_has")),
    ("arraycontainsstring", Rewrite::Name("array_has")),
    ("arrayindexofint", INDEX_OF),
    ("arrayindexofstring", INDEX_OF),
    ("arrayconcatint", Rewrite::Name("array_concat")),
    ("arrayconcatstring", Rewrite::Name("array_concat")),
    ("arraydistinctint", Rewrite::Name("array_distinct")),
    ("arraydistinctstring", Rewrite::Name("array_distinct")),
    ("arrayremoveint", Rewrite::Name("array_remove")),
    ("arrayremovestring", Rewrite::Name("array_remove")),
    ("arrayreverseint", Rewrite::Name("array_reverse")),
    ("arrayreversestring", Rewrite::Name("array_reverse")),
    ("arraysortint", Rewrite::Name("array_sort")),
    ("arraysortstring", Rewrite::Name("array_sort")),
    (
        "strcmp",
        Rewrite::Templates(&[(2, "CASE WHEN $1 < $2 THEN -1 WHEN $1 > $2 THEN 1 WHEN $1 = $2 THEN 0 END")]),
    ),
    ("toutf8", Rewrite::Templates(&[(1, "CAST($1 AS BYTEA)")])),
    ("fromutf8", Rewrite::Templates(&[(1, "CAST($1 AS VARCHAR)")])),
    ("tobase64", Rewrite::Templates(&[(1, "encode($1, 'base64pad')")])),
    ("frombase64", Rewrite::Templates(&[(1, "decode($1, 'base64')")])),
    ("bytestohex", Rewrite::Templates(&[(1, "encode($1, 'hex')")])),
    ("hextobytes", Rewrite::Templates(&[(1, "decode($1, 'hex')")])),
];

/// Counted from 0; -1 if the array does not have it.
const INDEX_OF: Rewrite = Rewrite::Templates(&[(
    2,
    "CASE WHEN $1 IS NOT NULL THEN CAST(coalesce(CAST(array_position($1, $2) AS BIGINT), 0) - 1 AS INT) END",
)]);

/// Arguments of ADD and the like at most: a tree of operators is as deep as it is long.
const CHAINED_MAX: usize = 100;

const QUOTIENT: Rewrite = Rewrite::Templates(&[
    (2, "(CAST($1 AS DOUBLE) / $2)"),
    (3, "CASE WHEN $2 = 0 THEN CAST($3 AS DOUBLE) ELSE CAST($1 AS DOUBLE) / $2 END"),
]);

/// The operator between all arguments.
fn chained(call: &Call<'_>, operator: char) -> Rewritten {
    if call.arguments.len() < 2 {
        return Ok(None);
    }
    if call.arguments.len() > CHAINED_MAX {
        return Err(fault(format!("{} takes at most {CHAINED_MAX} arguments", call.written)));
    }
    let places = (1..=call.arguments.len()).map(|place| format!("${place}"));
    call.filled(&format!("({})", places.collect::<Vec<_>>().join(&format!(" {operator} "))))
}

fn ago(call: &Call<'_>) -> Rewritten {
    let [period] = call.arguments else { return Ok(None) };
    let period = text_of(period).ok_or_else(|| fault("ago wants a period in quotes, such as 'PT3H'"))?;
    let ms = period_ms(period)
        .ok_or_else(|| fault(format!("{period:?} is not a period such as 'PT3H' or 'P1D'")))?;
    call.filled(&format!("({TO_EPOCH_MILLIS}(now()) - {ms})"))
}

fn split_part(call: &Call<'_>) -> Rewritten {
    let [value, delimiter, index] = call.arguments else { return Ok(None) };
    if !call.is_in_one_word() {
        return Ok(None);
    }
    let Some(fields) = filled(FIELDS, &[*value, *delimiter], None)? else { return Ok(None) };
    // An array counts from 1, and from its end likewise.
    let template = "CASE WHEN $1 IS NOT NULL AND $2 IS NOT NULL AND $3 IS NOT NULL \
                    THEN coalesce(array_element($4, CASE WHEN $3 < 0 THEN $3 ELSE $3 + 1 END), 'null') END";
    filled(template, &[*value, *delimiter, *index, &fields], None)
}

fn date_trunc(call: &Call<'_>) -> Rewritten {
    match call.arguments {
        // Spelled as Pinot does it, it takes numbers, too.
        [_, _] if call.is_in_one_word() => call.renamed(TIME_TRUNC),
        [_, _, _, ..] => call.renamed(TIME_TRUNC),
        _ => Ok(None),
    }
}

fn round(call: &Call<'_>) -> Rewritten {
    match call.arguments {
        [inner, _] if is_truncated_time(inner) => call.renamed(TIME_ROUND),
        _ => Ok(None),
    }
}

/// Whether the expression is a time that was cut to a unit: rounding one means to cut it to a number of milliseconds.
fn is_truncated_time(expr: &Expr) -> bool {
    match expr {
        Expr::Function(function) => plain_name(function).is_some_and(|name| {
            matches!(name.value.to_lowercase().as_str(), "date_trunc" | DATE_TRUNC | TIME_TRUNC)
        }),
        Expr::Nested(inner) => is_truncated_time(inner),
        _ => false,
    }
}

/// Whether the first argument is a unit, which may stand without quotes.
pub(super) fn begins_with_unit(name: &str) -> bool {
    matches!(name, "timestampadd" | "dateadd" | "timestampdiff" | "datediff")
}

/// The call with its name and its unit as the planner knows them.
pub(super) fn with_unit_in_quotes(call: &Call<'_>) -> Rewritten {
    let Some(Expr::Function(mut function)) = call.renamed(call.name)? else { return Ok(None) };
    if let Some(Expr::Identifier(unit)) = call.arguments.first() {
        put_first(&mut function, text(&unit.value));
    }
    Ok(Some(Expr::Function(function)))
}

fn put_first(function: &mut Function, argument: Expr) {
    if let FunctionArguments::List(list) = &mut function.args
        && let Some(first) = list.args.first_mut()
    {
        *first = FunctionArg::Unnamed(FunctionArgExpr::Expr(argument));
    }
}
