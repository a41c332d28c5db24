//! `TEXT_MATCH(s, 'distributed AND "real time" AND stream*')`: a search for words, by regular expressions.
//!
//! | written | found where the text has |
//! |---|---|
//! | `word` | the word, capital or small |
//! | `"several words"` | the words one after the other |
//! | `stream*`, `*ing`, `te?t` | a word with any letters, or with one, in that place |
//! | `a OR b`, `a b` | either |
//! | `a AND b`, `a AND NOT b` | both; the one without the other |
//!
//! A word is as many letters, digits and underscores as stand together; there are no stop words and no stems. Every row is looked at.
//! The rest of Lucene's syntax is refused, and so is AND beside OR without brackets, to which Lucene gives a meaning of its own.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr};

use super::{Call, Rewritten, fault};
use crate::QueryError;
use crate::sql::budget::check_repeated;
use crate::sql::template::{fill, text, text_of};

/// Words and phrases at most.
const OPERANDS_MAX: usize = 100;

pub(super) fn text_match(call: &Call<'_>) -> Rewritten {
    let [value, search] = call.arguments else {
        return Err(fault("TEXT_MATCH wants a column and a search in quotes, and takes no options"));
    };
    let search = text_of(search).ok_or_else(|| fault("TEXT_MATCH wants its search in quotes"))?;
    let tokens = tokens(search).map_err(|reason| unreadable(search, &reason))?;
    let operands = tokens.iter().filter(|token| matches!(token, Token::Pattern(_))).count();
    if operands > OPERANDS_MAX || tokens.len() > 2 * OPERANDS_MAX {
        return Err(fault(format!(
            "TEXT_MATCH searches for at most {OPERANDS_MAX} words, with as many AND, OR and brackets"
        )));
    }
    check_repeated(value, operands, "the text of TEXT_MATCH")?;
    let mut rest = tokens.as_slice();
    let found = clauses(value, &mut rest).map_err(|reason| unreadable(search, &reason))?;
    match rest {
        [] => Ok(Some(Expr::Nested(Box::new(found)))),
        _ => Err(unreadable(search, "a bracket closes that was not opened")),
    }
}

fn unreadable(search: &str, reason: &str) -> QueryError {
    fault(format!(
        "TEXT_MATCH does not read {search:?}: {reason}. It has words, phrases in double quotes, *, ?, AND, OR, NOT and brackets; \
         regexp_like(text, 'pattern') has the rest"
    ))
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    /// The regular expression of a word or a phrase.
    Pattern(String),
}

fn tokens(search: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = search.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '"' => {
                let end = rest[1..].find('"').ok_or("a phrase does not end")?;
                (Token::Pattern(phrase(&rest[1..=end])?), end + 2)
            }
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"'));
                let term = &rest[..end.unwrap_or(rest.len())];
                (token(term)?, term.len())
            }
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn token(term: &str) -> Result<Token, String> {
    Ok(match term {
        "AND" => Token::And,
        "OR" => Token::Or,
        "NOT" => Token::Not,
        _ => Token::Pattern(word(term)?),
    })
}

/// As `\w` and `\b` of the patterns have it: `²` is none, and the accent behind a letter is one.
fn is_word(c: char) -> bool {
    regex_syntax::is_word_character(c)
}

/// `stream*` as a pattern. Punctuation at its ends is no part of a word: `c++` is the word `c`.
fn word(term: &str) -> Result<String, String> {
    let is_special =
        |c: char| matches!(c, '~' | '^' | ':' | '[' | ']' | '{' | '}' | '/' | '\\' | '!' | '&' | '|');
    if term.contains(is_special) || term.starts_with(['+', '-']) {
        return Err(format!("{term} is more than a word"));
    }
    let is_part = |c: char| is_word(c) || matches!(c, '*' | '?');
    let word = term.trim_matches(|c: char| !is_part(c));
    if !word.contains(is_word) {
        return Err(format!("{term} has no letters"));
    }
    if !word.chars().all(is_part) {
        return Err(format!("{term} is several words; put them into double quotes"));
    }
    Ok(word.replace('*', r"\w*").replace('?', r"\w"))
}

fn phrase(words: &str) -> Result<String, String> {
    let words: Vec<&str> = words.split(|c: char| !is_word(c)).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return Err("a phrase has no words".into());
    }
    Ok(words.join(r"\W+"))
}

/// What stands between two brackets.
fn clauses(value: &Expr, rest: &mut &[Token]) -> Result<Expr, String> {
    let mut found = operand(value, rest)?;
    let mut between = None;
    loop {
        let operator = match rest.first() {
            None | Some(Token::Close) => return Ok(found),
            Some(Token::And) => BinaryOperator::And,
            Some(Token::Or | Token::Open | Token::Pattern(_)) => BinaryOperator::Or,
            Some(Token::Not) => return Err("NOT follows AND".into()),
        };
        if *between.get_or_insert_with(|| operator.clone()) != operator {
            return Err("AND and OR stand side by side; put one of them into brackets".into());
        }
        if let [Token::And | Token::Or, behind @ ..] = *rest {
            *rest = behind;
        }
        let is_negated = operator == BinaryOperator::And && rest.first() == Some(&Token::Not);
        if is_negated {
            *rest = &rest[1..];
        }
        let other = operand(value, rest)?;
        let other = if is_negated { fill("NOT $1", &[&other], None) } else { other };
        found = Expr::BinaryOp { left: Box::new(found), op: operator, right: Box::new(other) };
    }
}

fn operand(value: &Expr, rest: &mut &[Token]) -> Result<Expr, String> {
    match *rest {
        [Token::Pattern(pattern), behind @ ..] => {
            *rest = behind;
            let pattern = text(&format!(r"(?i)\b{pattern}\b"));
            Ok(fill("regexp_like($1, $2)", &[value, &pattern], None))
        }
        [Token::Open, behind @ ..] => {
            *rest = behind;
            let inner = clauses(value, rest)?;
            match *rest {
                [Token::Close, behind @ ..] => {
                    *rest = behind;
                    Ok(Expr::Nested(Box::new(inner)))
                }
                _ => Err("a bracket is not closed".into()),
            }
        }
        [Token::Not, ..] => Err("NOT follows AND".into()),
        _ => Err("a word is missing".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{KnownNames, prepare};

    fn rewritten(search: &str) -> Result<String, QueryError> {
        let search = search.replace('\'', "''");
        let prepared = prepare(&format!("SELECT TEXT_MATCH(s, '{search}') AS f"), &KnownNames::default())?;
        let text =
            prepared.statement.to_string().replace("regexp_like(s, '(?i)\\b", "<").replace("\\b')", ">");
        Ok(text.trim_start_matches("SELECT (").trim_end_matches(") AS f").to_owned())
    }

    #[test]
    fn searches() {
        let cases = [
            ("Java", "<Java>"),
            ("Java AND c++", "<Java> AND <c>"),
            ("real time", "<real> OR <time>"),
            ("\"real-time  Analytics\"", r"<real\W+time\W+Analytics>"),
            ("stream* OR *ing OR te?t", r"<stream\w*> OR <\w*ing> OR <te\wt>"),
            ("(a OR b) AND NOT \"c d\"", r"(<a> OR <b>) AND NOT <c\W+d>"),
            ("a AND NOT (b c)", "<a> AND NOT (<b> OR <c>)"),
            ("Ålesund, and", "<Ålesund> OR <and>"),
            ("\"50 m² cafe\u{301}\"", "<50\\W+m\\W+cafe\u{301}>"),
        ];
        for (search, expected) in cases {
            let found = rewritten(search).unwrap_or_else(|error| panic!("{search}: {error}"));
            assert_eq!(found, expected, "{search}");
        }
    }

    #[test]
    fn what_is_not_read_is_refused() {
        let long = "a ".repeat(101);
        let nested = format!("{}a{}", "(".repeat(150), ")".repeat(150));
        for search in [
            "",
            "*",
            "+a",
            "-a b",
            "a~1",
            "title:a",
            "/a.*b/",
            "a^2",
            "[a TO b]",
            "NOT a",
            "a NOT b",
            "a AND",
            "OR",
            "(a",
            "a)",
            "\"a",
            "\"--\"",
            "foo-bar",
            "a AND b OR c",
            "a b AND c",
            "a OR NOT b",
            "a && b",
            &long,
            &nested,
        ] {
            assert!(rewritten(search).is_err(), "{search:.50}");
        }
    }
}
