//! Values of JSON documents.

use datafusion::sql::sqlparser::ast::Expr;

use super::{Call, Rewrite, Rewritten, fault, filled};
use crate::QueryError;
use crate::sql::json_path::read_json_path;
use crate::sql::template::text_of;

pub(super) const REWRITES: [(&str, Rewrite); 4] = [
    ("jsonextractscalar", Rewrite::Shape(extract_scalar)),
    // Pinot's, where the column has an index; ours needs none.
    ("jsonextractindex", Rewrite::Shape(extract_scalar)),
    ("jsonpathstring", Rewrite::Shape(path_string)),
    ("jsonpathexists", Rewrite::Shape(path_exists)),
];

fn extract_scalar(call: &Call<'_>) -> Rewritten {
    let [_, path, kind, default @ ..] = call.arguments else { return Ok(None) };
    let text = text_at(call, path)?;
    let kind = text_of(kind).ok_or_else(|| fault(format!("{} wants its type in quotes", call.written)))?;
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
                "{} has no type {other}; it has INT, LONG, FLOAT, DOUBLE, BIG_DECIMAL, BOOLEAN, TIMESTAMP, STRING \
                 and JSON",
                call.written
            )));
        }
    };
    with_default(call, &value, default)
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

/// The text of the first argument at a path, as a template.
fn text_at(call: &Call<'_>, path: &Expr) -> Result<String, QueryError> {
    let path = text_of(path).ok_or_else(|| fault(format!("{} wants its path in quotes", call.written)))?;
    let steps = read_json_path(path).ok_or_else(|| {
        fault(format!("{path:?} is not a path that {} reads; write it as $.name[0].name", call.written))
    })?;
    Ok(format!("json_as_text($1{steps})"))
}
