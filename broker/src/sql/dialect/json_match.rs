//! `JSON_MATCH(doc, '"$.a" = ''x'' AND "$.n" > 5')`: a condition over places of a document, which is SQL itself.
//!
//! What stands at a place is compared as Pinot's index does it: by its text with `=`, `!=` and `IN`, by its number where a range has a
//! number as its bound; a pattern of `REGEXP_LIKE` matches all of the text. A condition that says what is not (`!=`, `NOT IN`, `IS
//! NULL`, `NOT`) holds where there is nothing at the place. A document that is NULL matches neither way: the answer is NULL.
//!
//! Not there: paths over all elements of an array (`$.a[*].b`), which say something of each of them together.

use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, Ident, UnaryOperator, Value, visit_expressions,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{Call, Rewritten, fault};
use crate::QueryError;
use crate::sql::budget::check_repeated;
use crate::sql::check_bounds;
use crate::sql::json_path::read_json_path;
use crate::sql::template::{arguments, fill, number_of, plain_name, text, text_of};

pub(super) fn json_match(call: &Call<'_>) -> Rewritten {
    let [document, condition] = call.arguments else { return Ok(None) };
    let condition = text_of(condition).ok_or_else(|| fault("JSON_MATCH wants its condition in quotes"))?;
    let condition = parsed(condition)?;
    check_repeated(document, 1 + places(&condition), "the document of JSON_MATCH")?;
    let matched = matched(document, &condition)?;
    Ok(Some(fill("CASE WHEN $1 IS NOT NULL THEN $2 END", &[*document, &matched], None)))
}

/// The condition as it is written.
fn parsed(condition: &str) -> Result<Expr, QueryError> {
    check_bounds(condition, &GenericDialect {})?;
    let read = Parser::new(&GenericDialect {}).try_with_sql(condition).and_then(|mut parser| {
        let read = parser.parse_expr()?;
        parser.expect_token(&Token::EOF).map(|_| read)
    });
    read.map_err(|error| {
        fault(format!(
            "{condition:?} is no condition of JSON_MATCH ({error}); write it as '\"$.name\" = ''text'''"
        ))
    })
}

/// How often the condition looks into the document, or more.
fn places(condition: &Expr) -> usize {
    let mut places = 0;
    let ControlFlow::Continue(()) = visit_expressions(condition, |part| {
        if matches!(part, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
            places += 2; // BETWEEN looks twice.
        }
        ControlFlow::<Infallible>::Continue(())
    });
    places
}

/// What the condition asks of the document: true or false.
fn matched(document: &Expr, condition: &Expr) -> Result<Expr, QueryError> {
    Ok(match condition {
        Expr::Nested(inner) => Expr::Nested(Box::new(matched(document, inner)?)),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => negated(true, matched(document, expr)?),
        Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } => {
            let (left, right) = (matched(document, left)?, matched(document, right)?);
            Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) }
        }
        Expr::BinaryOp { left, op, right } => compared(&place(document, left)?, op, right)?,
        Expr::IsNull(path) => fill("$1 IS NULL", &[&place(document, path)?], None),
        Expr::IsNotNull(path) => fill("$1 IS NOT NULL", &[&place(document, path)?], None),
        Expr::InList { expr, list, negated: is_negated } => {
            let list = list.iter().map(text_written).collect::<Result<Vec<_>, _>>()?;
            let among = Expr::InList { expr: Box::new(place(document, expr)?), list, negated: false };
            negated(*is_negated, is_true(&among))
        }
        Expr::Between { expr, negated: is_negated, low, high } => {
            let place = place(document, expr)?;
            let low = compared(&place, &BinaryOperator::GtEq, low)?;
            let high = compared(&place, &BinaryOperator::LtEq, high)?;
            negated(*is_negated, fill("($1 AND $2)", &[&low, &high], None))
        }
        Expr::Function(function) => like(document, function)?,
        other => return Err(unreadable(other)),
    })
}

fn compared(place: &Expr, operator: &BinaryOperator, other: &Expr) -> Result<Expr, QueryError> {
    let template = match operator {
        BinaryOperator::Eq | BinaryOperator::NotEq => {
            let equal = fill("$1 = $2", &[place, &text_written(other)?], None);
            return Ok(negated(*operator == BinaryOperator::NotEq, is_true(&equal)));
        }
        BinaryOperator::Lt => "$1 < $2",
        BinaryOperator::LtEq => "$1 <= $2",
        BinaryOperator::Gt => "$1 > $2",
        BinaryOperator::GtEq => "$1 >= $2",
        _ => return Err(fault(format!("JSON_MATCH has no operator {operator}"))),
    };
    let ranged = match text_of(other) {
        Some(_) => fill(template, &[place, other], None),
        None => {
            // Checks that it is a number.
            text_written(other)?;
            fill(template, &[&fill("try_cast($1 AS DOUBLE)", &[place], None), other], None)
        }
    };
    Ok(is_true(&ranged))
}

/// `REGEXP_LIKE("$.a", 'pattern')`
fn like(document: &Expr, function: &Function) -> Result<Expr, QueryError> {
    let is_like = plain_name(function).is_some_and(|name| super::canonical(&name.value) == "regexplike");
    let pattern = match arguments(function).as_deref() {
        Some([path, pattern]) if is_like => text_of(pattern).map(|pattern| (*path, pattern)),
        _ => None,
    };
    let Some((path, pattern)) = pattern else { return Err(unreadable(&Expr::Function(function.clone()))) };
    let pattern = text(&format!(r"\A(?:{pattern})\z"));
    Ok(is_true(&fill("regexp_like($1, $2)", &[&place(document, path)?, &pattern], None)))
}

/// The text at a place of the document, which is a name in quotes: `"$.a[0].b"`, or as Pinot had it earlier, `"a[0].b"`.
fn place(document: &Expr, path: &Expr) -> Result<Expr, QueryError> {
    let name = match path {
        Expr::Identifier(Ident { value, .. }) => value.clone(),
        Expr::CompoundIdentifier(parts) => {
            parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".")
        }
        other => return Err(unreadable(other)),
    };
    let path = if name.starts_with('$') { name } else { format!("$.{name}") };
    let steps = read_json_path(&path).ok_or_else(|| {
        fault(format!(
            "{path:?} is not a path that JSON_MATCH reads, which is one place of the document such as \"$.name[0].name\"; \
             for an element of an array write array_has(json_get_array(doc, 'name'), 'its JSON')"
        ))
    })?;
    Ok(fill(&format!("json_as_text($1{steps})"), &[document], None))
}

/// The literal as the text that a document has in its place.
fn text_written(literal: &Expr) -> Result<Expr, QueryError> {
    match literal {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match number_of(expr) {
            Some(number) => Ok(text(&format!("-{number}"))),
            None => Err(unreadable(literal)),
        },
        Expr::Value(value) => match (&value.value, number_of(literal)) {
            (_, Some(number)) => Ok(text(&number)),
            (Value::Boolean(value), None) => Ok(text(if *value { "true" } else { "false" })),
            (Value::SingleQuotedString(value), None) => Ok(text(value)),
            _ => Err(unreadable(literal)),
        },
        other => Err(unreadable(other)),
    }
}

/// Where there is nothing, nothing is said of it.
fn is_true(said: &Expr) -> Expr {
    fill("($1) IS TRUE", &[said], None)
}

fn negated(is_negated: bool, said: Expr) -> Expr {
    if is_negated { fill("NOT ($1)", &[&said], None) } else { said }
}

fn unreadable(part: &Expr) -> QueryError {
    fault(format!(
        "JSON_MATCH does not read {part}: it has places in double quotes and values in single ones or as numbers, with =, !=, <, \
         <=, >, >=, IN, BETWEEN, IS NULL, REGEXP_LIKE, AND, OR and NOT"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{KnownNames, prepare};

    fn rewritten(condition: &str) -> Result<String, QueryError> {
        let condition = condition.replace('\'', "''");
        let prepared =
            prepare(&format!("SELECT 1 FROM t WHERE JSON_MATCH(d, '{condition}')"), &KnownNames::default());
        let text = prepared?.statement.to_string();
        let text = text.trim_start_matches("SELECT 1 FROM t WHERE CASE WHEN d IS NOT NULL THEN ");
        Ok(text.trim_end_matches(" END").replace("json_as_text", "at"))
    }

    #[test]
    fn conditions() {
        let cases = [
            (r#""$.a" = 'it''s'"#, "(at(d, 'a') = 'it''s') IS TRUE"),
            (r#""$.a[0]['b c']" = 5"#, "(at(d, 'a', 0, 'b c') = '5') IS TRUE"),
            (r#""a.b" <> -1.50"#, "NOT ((at(d, 'a', 'b') = '-1.50') IS TRUE)"),
            (r#"a.b = TRUE"#, "(at(d, 'a', 'b') = 'true') IS TRUE"),
            (r#""$.n" >= -5"#, "(TRY_CAST(at(d, 'n') AS DOUBLE) >= -5) IS TRUE"),
            (r#""$.Ab" = 'Xy'"#, "(at(d, 'Ab') = 'Xy') IS TRUE"),
            (r#""$.n" < 'x'"#, "(at(d, 'n') < 'x') IS TRUE"),
            (r#""$.a" IN ('x', 2)"#, "(at(d, 'a') IN ('x', '2')) IS TRUE"),
            (r#""$.a" NOT IN ('x')"#, "NOT ((at(d, 'a') IN ('x')) IS TRUE)"),
            (r#""$.a" IS NULL OR "$.b" IS NOT NULL"#, "at(d, 'a') IS NULL OR at(d, 'b') IS NOT NULL"),
            (
                r#""$.a" = 'x' AND (NOT "$.b" = 'y')"#,
                "(at(d, 'a') = 'x') IS TRUE AND (NOT ((at(d, 'b') = 'y') IS TRUE))",
            ),
            (
                r#""$.n" BETWEEN 1 AND 2"#,
                "((TRY_CAST(at(d, 'n') AS DOUBLE) >= 1) IS TRUE AND (TRY_CAST(at(d, 'n') AS DOUBLE) <= 2) IS TRUE)",
            ),
            (r#"REGEXP_LIKE("$.a", 'x.*')"#, r"(regexp_like(at(d, 'a'), '\A(?:x.*)\z')) IS TRUE"),
        ];
        for (condition, expected) in cases {
            let found = rewritten(condition).unwrap_or_else(|error| panic!("{condition}: {error}"));
            assert_eq!(found, expected, "{condition}");
        }
    }

    #[test]
    fn what_is_not_read_is_refused() {
        let nested = format!("{}\"$.a\" = 1{}", "(".repeat(200), ")".repeat(200));
        let chained = format!("\"$.a\" = 1{}", " OR \"$.a\" = 1".repeat(50_000));
        for condition in [
            "",
            "\"$.a\" =",
            "\"$.a\" = 1 2",
            "\"$.a\"",
            "1 = \"$.a\"",
            "\"$.a\" = \"$.b\"",
            "\"$.a[*].b\" = 1",
            "\"$..a\" = 1",
            "f(\"$.a\", 'x')",
            "\"$.a\" + 1 = 2",
            "\"$.a\" > NULL",
            &nested,
            &chained,
        ] {
            assert!(rewritten(condition).is_err(), "{condition:.50}");
        }
    }
}
