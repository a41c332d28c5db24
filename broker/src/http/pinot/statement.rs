//! Pinot's additions to SQL, taken out of the text before it is planned.
//!
//! - `SET name = value;` statements before or after the query become options.
//! - `AS 'alias'` becomes `AS "alias"`.
//!
//! The text is cut into tokens first, so nothing inside a string, a quoted name or a comment is ever touched. What is taken out
//! is replaced by blanks: lines and columns in error messages stay those of the client's text.

use std::collections::BTreeMap;
use std::ops::Range;

/// A text without Pinot's additions, and the options that were in it (names in lower case; the last one wins).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// The SQL text.
    pub(super) sql: String,
    /// The options.
    pub(super) options: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// White space and comments.
    Blank,
    Word,
    /// `'…'`
    Text,
    /// `"…"`
    QuotedName,
    Semicolon,
    /// Any other single character.
    Other,
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    range: Range<usize>,
}

/// Takes Pinot's additions out of `text`.
pub(super) fn read_statement(text: &str) -> Statement {
    let tokens = tokens(text);
    let mut options = BTreeMap::new();
    let mut sql = String::with_capacity(text.len());
    // Each slice is one statement with the semicolon that ends it, if any.
    for statement in tokens.split_inclusive(|token| token.kind == Kind::Semicolon) {
        match set_option(text, statement) {
            Some((name, value)) => {
                options.insert(name.to_lowercase(), value);
                for token in statement {
                    push_blanks(&mut sql, &text[token.range.clone()]);
                }
            }
            None => push_with_aliases(&mut sql, text, statement),
        }
    }
    Statement { sql, options }
}

/// The name and value of `SET name = value`, if the statement is one.
fn set_option(text: &str, statement: &[Token]) -> Option<(String, String)> {
    let mut words = statement.iter().filter(|token| !matches!(token.kind, Kind::Blank | Kind::Semicolon));
    let mut next = || words.next().map(|token| (token.kind, &text[token.range.clone()]));
    let (Kind::Word, set) = next()? else { return None };
    if !set.eq_ignore_ascii_case("set") {
        return None;
    }
    let name = match next()? {
        (Kind::Word, name) => name.to_string(),
        (Kind::QuotedName | Kind::Text, name) => unquote(name),
        _ => return None,
    };
    let (Kind::Other, "=") = next()? else { return None };
    let mut value = match next()? {
        (Kind::Text | Kind::QuotedName, text) => return Some((name, unquote(text))),
        (_, text) => text.to_string(),
    };
    // Numbers with a sign or a fraction are several tokens.
    value.extend(std::iter::from_fn(next).map(|(_, text)| text));
    Some((name, value))
}

/// Blanks of the same length, line breaks kept.
fn push_blanks(sql: &mut String, removed: &str) {
    sql.extend(removed.chars().map(|c| if c == '\n' || c == '\r' { c } else { ' ' }));
}

fn push_with_aliases(sql: &mut String, text: &str, statement: &[Token]) {
    let mut after_as = false;
    for token in statement {
        let piece = &text[token.range.clone()];
        match token.kind {
            Kind::Text if after_as => {
                sql.push('"');
                sql.push_str(&unquote(piece).replace('"', "\"\""));
                sql.push('"');
            }
            _ => sql.push_str(piece),
        }
        if token.kind != Kind::Blank {
            after_as = token.kind == Kind::Word && piece.eq_ignore_ascii_case("as");
        }
    }
}

/// The content of `'…'` or `"…"`, doubled quotes undone; an end that is missing is not missed.
fn unquote(quoted: &str) -> String {
    let Some(quote) = quoted.chars().next() else { return String::new() };
    let content = &quoted[quote.len_utf8()..];
    let content = content.strip_suffix(quote).unwrap_or(content);
    content.replace(&format!("{quote}{quote}"), &quote.to_string())
}

/// Cuts the whole text into tokens; every byte belongs to exactly one.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while let Some(first) = text[start..].chars().next() {
        let rest = &text[start..];
        let (kind, length) = match first {
            '\'' => (Kind::Text, quoted_length(rest, '\'')),
            '"' => (Kind::QuotedName, quoted_length(rest, '"')),
            ';' => (Kind::Semicolon, 1),
            '-' if rest.starts_with("--") => (Kind::Blank, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => (Kind::Blank, comment_length(rest)),
            c if c.is_whitespace() => (Kind::Blank, length_while(rest, char::is_whitespace)),
            c if is_word(c) => (Kind::Word, length_while(rest, is_word)),
            other => (Kind::Other, other.len_utf8()),
        };
        tokens.push(Token { kind, range: start..start + length });
        start += length;
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn length_while(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c: char| !belongs(c)).unwrap_or(text.len())
}

/// Length of the quoted piece that `text` starts with; a doubled quote does not end it.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut at = 1;
    while let Some(end) = text[at..].find(quote) {
        at += end + 1;
        if !text[at..].starts_with(quote) {
            return at;
        }
        at += 1;
    }
    text.len()
}

/// Length of the comment that `text` starts with; comments nest, as they do in the engine's dialect.
fn comment_length(text: &str) -> usize {
    let (mut at, mut depth) = (2, 1);
    while depth > 0 {
        let rest = &text[at..];
        let Some(mark) = rest.find("/*").into_iter().chain(rest.find("*/")).min() else { return text.len() };
        depth = if rest[mark..].starts_with("/*") { depth + 1 } else { depth - 1 };
        at += mark + 2;
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn options_and_aliases() {
        // (text, SQL left without the blanks around it, options)
        type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)]);
        let cases: &[Case] = &[
            ("SELECT 1", "SELECT 1", &[]),
            ("SET timeoutMs=100; SELECT 1", "SELECT 1", &[("timeoutms", "100")]),
            ("SELECT 1;\nset a = 'x;y';", "SELECT 1;", &[("a", "x;y")]),
            ("SELECT 1;\nSET a = true", "SELECT 1;", &[("a", "true")]),
            ("SET a=-1.5;SET a=2;SELECT 1", "SELECT 1", &[("a", "2")]),
            ("SET x='it''s'; SELECT 1;", "SELECT 1;", &[("x", "it's")]),
            ("SET \"b\" = -1.5; SELECT 1", "SELECT 1", &[("b", "-1.5")]),
            ("/* c; */ SET a=1; SELECT 1", "SELECT 1", &[("a", "1")]),
            ("-- SET a=1;\nSELECT 1", "-- SET a=1;\nSELECT 1", &[]),
            ("SELECT 'SET a=1; ' FROM t", "SELECT 'SET a=1; ' FROM t", &[]),
            ("SELECT ';SET a=1;'", "SELECT ';SET a=1;'", &[]),
            ("SELECT 1 /* ; /* SET a=1; */ */ ; SET b=2", "SELECT 1 /* ; /* SET a=1; */ */ ;", &[("b", "2")]),
            ("SELECT x AS 'y z' FROM t", "SELECT x AS \"y z\" FROM t", &[]),
            ("SELECT x as\n'it''s' FROM t", "SELECT x as\n\"it's\" FROM t", &[]),
            ("SELECT x AS /* n */ 'a\"b'", "SELECT x AS /* n */ \"a\"\"b\"", &[]),
            ("SELECT ' AS ', 'q'", "SELECT ' AS ', 'q'", &[]),
            ("SELECT CAST('1' AS INT)", "SELECT CAST('1' AS INT)", &[]),
            ("SELECT \"AS\" 'x'", "SELECT \"AS\" 'x'", &[]),
            ("SET nonsense; SELECT 1", "SET nonsense; SELECT 1", &[]),
            ("SELECT 'open", "SELECT 'open", &[]),
            ("SELECT 1 /* open", "SELECT 1 /* open", &[]),
            ("", "", &[]),
        ];
        for (text, sql, options) in cases {
            let read = read_statement(text);
            let expected: BTreeMap<_, _> =
                options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            assert_eq!((read.sql.trim(), &read.options), (*sql, &expected), "{text}");
            // What is left stands where it stood, so that positions in error messages are true.
            assert!(!text.contains(sql) || read.sql.find(sql) == text.find(sql), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_strings_survive(text in "[ -~\n;'\"/*äß日-]{0,60}", value in "[^']{0,20}") {
            let read = read_statement(&text);
            prop_assert_eq!(read.sql.lines().count(), text.lines().count());
            let quoted = format!("SELECT '{value}' FROM t; SET k = '{value}'");
            let read = read_statement(&quoted);
            let query = format!("SELECT '{value}' FROM t;");
            prop_assert!(read.sql.starts_with(&query));
            prop_assert_eq!(read.options.get("k"), Some(&value));
        }
    }
}
