//! `SIMILAR TO` as a regular expression, and `LIKE ANY`.

use datafusion::sql::sqlparser::ast::{Array, BinaryOperator, Expr, Value, ValueWithSpan};

use super::{fault, text, text_of};
use crate::QueryError;
use crate::postgres::array_items;
use crate::sql::budget::check_repeated;

/// Patterns of LIKE ANY at most: the OR between them is as deep as they are many.
const PATTERNS_MAX: usize = 1_000;

/// `value SIMILAR TO 'pattern' ESCAPE 'c'`
pub(super) fn similar(
    value: &Expr,
    pattern: &Expr,
    escape: Option<&ValueWithSpan>,
    negated: bool,
) -> Result<Expr, QueryError> {
    let pattern = text_of(pattern).ok_or_else(|| fault("SIMILAR TO wants its pattern in quotes"))?;
    let escape = match escape.map(|value| &value.value) {
        None => Some('\\'),
        Some(Value::SingleQuotedString(text)) if text.chars().count() <= 1 => text.chars().next(),
        Some(_) => return Err(fault("ESCAPE wants one character in quotes")),
    };
    let regex = regex_of(pattern, escape).ok_or_else(|| {
        fault(format!("{pattern:?} is no pattern for SIMILAR TO: a bracket or an escape is left open"))
    })?;
    let op = if negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
    Ok(Expr::Nested(Box::new(Expr::BinaryOp {
        left: Box::new(value.clone()),
        op,
        right: Box::new(text(&regex)),
    })))
}

/// The regular expression that the whole text must match; `None` if the pattern ends too early.
fn regex_of(pattern: &str, escape: Option<char>) -> Option<String> {
    let mut regex = "^(?s:".to_owned();
    let mut letters = pattern.chars().peekable();
    let mut is_in_class = false;
    while let Some(letter) = letters.next() {
        match letter {
            letter if Some(letter) == escape => push_literal(&mut regex, letters.next()?),
            ']' if is_in_class => {
                is_in_class = false;
                regex.push(']');
            }
            // Only a class with a name, such as `[:alpha:]`, is one within brackets.
            '[' if is_in_class && letters.peek() == Some(&':') => {
                regex.push('[');
                loop {
                    let inner = letters.next()?;
                    regex.push(inner);
                    if inner == ']' {
                        break;
                    }
                }
            }
            '^' | '-' if is_in_class => regex.push(letter),
            letter if is_in_class => push_literal(&mut regex, letter),
            '[' => {
                is_in_class = true;
                regex.push('[');
            }
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            '(' => regex.push_str("(?:"),
            ')' | '|' | '*' | '+' | '?' | '{' | '}' => regex.push(letter),
            literal => push_literal(&mut regex, literal),
        }
    }
    regex.push_str(")$");
    (!is_in_class).then_some(regex)
}

fn push_literal(regex: &mut String, letter: char) {
    // A comma means nothing by itself, and stands between the bounds of `{2,3}`.
    if letter.is_ascii_punctuation() && letter != ',' {
        regex.push('\\');
    }
    regex.push(letter);
}

/// `value LIKE ANY (ARRAY['a%', 'b%'])`; `None` if the patterns are not written out.
///
/// # Errors
/// `Plan` if that becomes too large.
pub(super) fn like_any(like: &Expr) -> Result<Option<Expr>, QueryError> {
    let (Expr::Like { expr: value, pattern, .. } | Expr::ILike { expr: value, pattern, .. }) = like else {
        return Ok(None);
    };
    let Some(patterns) = written_out(pattern) else { return Ok(None) };
    if patterns.len() > PATTERNS_MAX {
        return Err(fault(format!("LIKE ANY takes at most {PATTERNS_MAX} patterns")));
    }
    check_repeated(value, patterns.len(), "the text of LIKE ANY")?;
    // Without its list: that is not to be copied with each of its patterns.
    let mut bare = like.clone();
    if let Expr::Like { pattern, .. } | Expr::ILike { pattern, .. } = &mut bare {
        **pattern = Expr::value(Value::Null);
    }
    let one = |own: Expr| {
        let mut one = bare.clone();
        if let Expr::Like { any, pattern, .. } | Expr::ILike { any, pattern, .. } = &mut one {
            (*any, **pattern) = (false, own);
        }
        one
    };
    let either = |left: Expr, right: Expr| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::Or,
        right: Box::new(right),
    };
    Ok(patterns.into_iter().map(one).reduce(either).map(|either| Expr::Nested(Box::new(either))))
}

fn written_out(patterns: &Expr) -> Option<Vec<Expr>> {
    match unnested(patterns) {
        Expr::Array(Array { elem, .. }) => Some(elem.clone()),
        Expr::Tuple(patterns) => Some(patterns.clone()),
        other => array_items(text_of(other)?)?.iter().map(|item| item.as_deref().map(text)).collect(),
    }
}

fn unnested(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => unnested(inner),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_regular_expressions() {
        for (pattern, escape, expected) in [
            ("a%|b_", Some('\\'), Some("^(?s:a.*|b.)$")),
            ("(a|b)+c{2,3}", Some('\\'), Some("^(?s:(?:a|b)+c{2,3})$")),
            ("1.5^$", Some('\\'), Some("^(?s:1\\.5\\^\\$)$")),
            ("[a-z%&][^[:digit:]]", Some('\\'), Some("^(?s:[a-z\\%\\&][^[:digit:]])$")),
            ("\\%!%", Some('\\'), Some("^(?s:\\%\\!.*)$")),
            ("!%\\", Some('!'), Some("^(?s:\\%\\\\)$")),
            ("\\", None, Some("^(?s:\\\\)$")),
            ("\\", Some('\\'), None),
            ("[a", Some('\\'), None),
            ("[[:a", Some('\\'), None),
            ("", Some('\\'), Some("^(?s:)$")),
        ] {
            assert_eq!(regex_of(pattern, escape).as_deref(), expected, "{pattern}");
        }
    }
}
