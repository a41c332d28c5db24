//! `LIKE pattern ESCAPE 'c'`: the planner knows the backslash only, so patterns with another escape are rewritten to it.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Value, ValueWithSpan, VisitMut, visit_expressions_mut};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

/// Stands for an escaped escape while the others are replaced; no text has it.
const ESCAPED: &str = "chr(1)";

/// Rewrites every LIKE and ILIKE within.
pub(crate) fn rewrite_escapes(within: &mut impl VisitMut) {
    let ControlFlow::Continue(()) = visit_expressions_mut(within, |expr| {
        if let Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } = expr
            && let Some(escape) = escape_char.as_ref().and_then(escape_of)
        {
            if escape != '\\' {
                **pattern = with_backslashes(pattern, escape);
            }
            *escape_char = None;
        }
        ControlFlow::<std::convert::Infallible>::Continue(())
    });
}

/// The one character of an ESCAPE; anything else is left to the planner, which refuses it.
fn escape_of(value: &ValueWithSpan) -> Option<char> {
    let Value::SingleQuotedString(text) = &value.value else { return None };
    let mut letters = text.chars();
    letters.next().filter(|_| letters.next().is_none())
}

/// `pattern` with a backslash where it has the escape.
fn with_backslashes(pattern: &Expr, escape: char) -> Expr {
    let escape = if escape == '\'' { "''".to_owned() } else { escape.to_string() };
    let template = format!(
        "replace(replace(replace(replace($1, '\\', '\\\\'), '{escape}{escape}', {ESCAPED}), '{escape}', '\\'), {ESCAPED}, '{escape}')"
    );
    let parsed =
        Parser::new(&GenericDialect {}).try_with_sql(&template).and_then(|mut parser| parser.parse_expr());
    let mut expr = parsed.expect("the template is SQL");
    let ControlFlow::Continue(()) = visit_expressions_mut(&mut expr, |part| {
        if matches!(part, Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) if name == "$1")
        {
            *part = pattern.clone();
            // What is inside of it is not looked at: visiting goes from the inside out.
        }
        ControlFlow::<std::convert::Infallible>::Continue(())
    });
    expr
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(sql: &str) -> String {
        let mut parser = Parser::new(&GenericDialect {}).try_with_sql(sql).unwrap();
        let mut statement = parser.parse_statement().unwrap();
        rewrite_escapes(&mut statement);
        statement.to_string()
    }

    #[test]
    fn escapes_become_backslashes() {
        assert_eq!(rewritten(r"SELECT a LIKE 'x' ESCAPE '\'"), "SELECT a LIKE 'x'");
        assert_eq!(rewritten("SELECT a LIKE 'x'"), "SELECT a LIKE 'x'");
        let slash = rewritten("SELECT a NOT ILIKE $1 || '%' ESCAPE '/'");
        assert_eq!(
            slash,
            r"SELECT a NOT ILIKE replace(replace(replace(replace($1 || '%', '\', '\\'), '//', chr(1)), '/', '\'), chr(1), '/')"
        );
        assert!(rewritten("SELECT a LIKE 'x' ESCAPE ''").ends_with("ESCAPE ''"), "the planner refuses it");
        assert!(!rewritten("SELECT a LIKE 'x' ESCAPE ''''").contains("ESCAPE"));
    }
}
