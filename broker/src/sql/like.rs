//! `LIKE pattern ESCAPE 'c'`: the planner takes every character, but what runs knows the backslash only and fails at another, so
//! patterns with another escape are rewritten to it.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Value, ValueWithSpan, VisitMut, visit_expressions_mut};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::template::fill;

/// Stands for an escaped escape while the others are replaced; no text has it.
const ESCAPED: &str = "chr(1)";

/// Whether the text has an ESCAPE at all: most have none, and need not be walked through.
pub(super) fn has_escapes(tokens: &[TokenWithSpan]) -> bool {
    tokens.iter().any(|token| matches!(&token.token, Token::Word(word) if word.keyword == Keyword::ESCAPE))
}

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
    fill(&template, &[pattern], None)
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

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

    #[test]
    fn texts_without_an_escape_are_known() {
        let has = |sql: &str| has_escapes(&crate::sql::tokens::tokenize(sql).unwrap());
        assert!(has("SELECT a LIKE 'x' escape '/'"));
        assert!(!has("SELECT a LIKE 'x', 'escape', \"escape\" -- ESCAPE"));
    }
}
