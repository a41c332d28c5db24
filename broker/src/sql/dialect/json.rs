//! Values of JSON documents.

use datafusion::sql::sqlparser::ast::Expr;

use super::json_match::json_match;
use super::{Call, Rewrite, Rewritten, fault, filled};
use crate::QueryError;
use crate::sql::json_path::{read_json_path, steps_of};
use crate::sql::template::text_of;

pub(super) const REWRITES: [(&str, Rewrite); 5] = [
    ("jsonextractscalar", Rewrite::Shape(extract_scalar)),
    // Pinot's, where the column has an index; ours needs none.
    ("jsonextractindex", Rewrite::Shape(extract_scalar)),
    ("jsonpathstring", Rewrite::Shape(path_string)),
    ("jsonpathexists", Rewrite::Shape(path_exists)),
    ("jsonmatch", Rewrite::Shape(json_match)),
];

/// What Pinot's function of this name makes of values (`toInt`, `toLong`, … of its `JsonExtractScalarTransformFunction`): `true` is the
/// number 1, and a number that is not 0 is true. A value that is none of the type is the default, or without one an error.
fn extract_scalar(call: &Call<'_>) -> Rewritten {
    let [document, path, rest @ ..] = call.arguments else {
        return Err(fault(format!("{} wants a document, a path, a type, and maybe a default", call.written)));
    };
    // Tools that know the function from elsewhere leave its type away, and mean the text.
    let Some((kind, default)) = rest.split_first() else {
        return filled(&text_at(call, path)?, &[*document], None);
    };
    let kind = text_of(kind).ok_or_else(|| fault(format!("{} wants its type in quotes", call.written)))?;
    let kind = kind.to_uppercase();
    if let Some(element) = kind.strip_suffix("_ARRAY") {
        return extract_array(call, path, element, default);
    }
    let text = text_at(call, path)?;
    let (cast, default) = match default {
        [] => ("CAST", None),
        [default] => ("TRY_CAST", Some(*default)),
        _ => return Ok(None),
    };
    let number = format!("CASE {text} WHEN 'true' THEN '1' WHEN 'false' THEN '0' ELSE {text} END");
    // Exactly if it can be; others lose their fraction.
    let whole = |cast: &str, sql: &str| {
        format!("coalesce(TRY_CAST({number} AS {sql}), {cast}(trunc({cast}({number} AS DOUBLE)) AS {sql}))")
    };
    let (value, default_value) = match kind.as_str() {
        "INT" => (whole(cast, "INT"), "CAST($2 AS INT)"),
        "LONG" => (whole(cast, "BIGINT"), "CAST($2 AS BIGINT)"),
        "FLOAT" => (format!("{cast}({number} AS REAL)"), "CAST($2 AS REAL)"),
        "DOUBLE" => (format!("{cast}({number} AS DOUBLE)"), "CAST($2 AS DOUBLE)"),
        "BIG_DECIMAL" => (format!("{cast}({number} AS DECIMAL(38, 10))"), "CAST($2 AS DECIMAL(38, 10))"),
        "BOOLEAN" => (format!("({cast}({number} AS DOUBLE) <> 0)"), "CAST($2 AS BOOLEAN)"),
        "STRING" | "JSON" => (text, "CAST($2 AS VARCHAR)"),
        "TIMESTAMP" => {
            // What is a number is no text here: constants are cast before it is known whether they need be.
            let text = format!("CASE WHEN TRY_CAST({number} AS DOUBLE) IS NULL THEN {text} END");
            let written = format!("CAST({cast}({text} AS TIMESTAMP(3)) AS BIGINT)");
            let ms = format!("coalesce({}, {written})", whole("TRY_CAST", "BIGINT"));
            (
                format!("to_timestamp_millis({ms})"),
                "to_timestamp_millis(CAST(CAST($2 AS TIMESTAMP(3)) AS BIGINT))",
            )
        }
        other => return Err(unknown_type(call, other)),
    };
    match default {
        None => filled(&value, &[*document], None),
        Some(default) => filled(&format!("coalesce({value}, {default_value})"), &[*document, default], None),
    }
}

/// The elements of an array, or what is found below each of them; the default stands for a `null` among them.
fn extract_array(call: &Call<'_>, path: &Expr, element: &str, default: &[&Expr]) -> Rewritten {
    let cast = match element {
        "INT" => "CAST({} AS INT[])",
        "LONG" => "CAST({} AS BIGINT[])",
        "FLOAT" => "CAST({} AS REAL[])",
        "DOUBLE" => "CAST({} AS DOUBLE[])",
        "BIG_DECIMAL" => "CAST({} AS DECIMAL(38, 10)[])",
        "BOOLEAN" => "CAST({} AS BOOLEAN[])",
        "TIMESTAMP" => "CAST(CAST({} AS BIGINT[]) AS TIMESTAMP(3)[])",
        "STRING" => "{}",
        _ => return Err(unknown_type(call, &format!("{element}_ARRAY"))),
    };
    let written = path_of(call, path)?;
    if steps_of(written).is_none() {
        return Err(unreadable(call, written));
    }
    match (call.arguments, default) {
        ([document, ..], []) => filled(&cast.replace("{}", "json_texts($1, $2)"), &[*document, path], None),
        ([document, ..], [default]) => {
            let texts = "json_texts($1, $2, CAST($3 AS VARCHAR))";
            filled(&cast.replace("{}", texts), &[*document, path, *default], None)
        }
        _ => Ok(None),
    }
}

fn unknown_type(call: &Call<'_>, kind: &str) -> QueryError {
    fault(format!(
        "{} has no type {kind}; it has INT, LONG, FLOAT, DOUBLE, BIG_DECIMAL, BOOLEAN, TIMESTAMP and STRING, each with and \
         without _ARRAY, and JSON",
        call.written
    ))
}

fn path_string(call: &Call<'_>) -> Rewritten {
    let [_, path, default @ ..] = call.arguments else { return Ok(None) };
    with_default(call, &text_at(call, path)?, default)
}

fn path_exists(call: &Call<'_>) -> Rewritten {
    let [document, path] = call.arguments else { return Ok(None) };
    let text = text_at(call, path)?;
    filled(&format!("CASE WHEN $1 IS NOT NULL THEN {text} IS NOT NULL END"), &[*document], None)
}

/// The value, or what is taken where there is none.
fn with_default(call: &Call<'_>, value: &str, default: &[&Expr]) -> Rewritten {
    match (call.arguments, default) {
        ([document, ..], []) => filled(value, &[*document], None),
        ([document, ..], [default]) => {
            filled(&format!("coalesce({value}, $2)"), &[*document, *default], None)
        }
        _ => Ok(None),
    }
}

/// The text of the first argument at a path, as a template. All elements at the end of a path are the array that has them.
fn text_at(call: &Call<'_>, path: &Expr) -> Result<String, QueryError> {
    let path = path_of(call, path)?;
    let place = path.strip_suffix("[*]").unwrap_or(path);
    let steps = read_json_path(place).ok_or_else(|| unreadable(call, path))?;
    Ok(format!("json_as_text($1{steps})"))
}

fn path_of<'a>(call: &Call<'_>, path: &'a Expr) -> Result<&'a str, QueryError> {
    text_of(path).ok_or_else(|| fault(format!("{} wants its path in quotes", call.written)))
}

fn unreadable(call: &Call<'_>, path: &str) -> QueryError {
    fault(format!(
        "{path:?} is not a path that {} reads; write it as $.name[0].name, and where an array is asked for also as $.name[*].name",
        call.written
    ))
}
