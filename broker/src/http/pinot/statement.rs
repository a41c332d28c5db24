//! Pinot's additions to SQL, taken out of the text before it is planned.
//!
//! - `SET name = value;` statements before or after the query, and `OPTION(name = value, …)` at its end, become options.
//! - `AS 'alias'` becomes `AS "alias"`, `COUNT("*")` becomes `COUNT(*)`, `EXPLAIN PLAN FOR` becomes `EXPLAIN`.
//! - `DATE_TRUNC(…)` becomes `DATETRUNC (…)`: in one word it takes milliseconds, too, where SQL's own takes none.
//! - `default.trips` and `trips_REALTIME` become `trips` ([`tables`]).
//!
//! The text is cut into tokens first, so nothing inside a string, a quoted name or a comment is ever touched. What is taken out
//! is replaced by blanks: lines and columns in error messages stay those of the client's text.

use std::collections::{BTreeMap, BTreeSet};

use self::tokens::{Edits, Kind, Token, tokens, unquote};

mod tables;
mod tokens;

pub(super) use self::tables::logical_name;

/// A text without Pinot's additions, and the options that were in it (names in lower case; the last one wins).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// The SQL text.
    pub(super) sql: String,
    /// The options.
    pub(super) options: BTreeMap<String, String>,
    /// Every name that stands in quotes, aliases among them.
    pub(super) quoted: BTreeSet<String>,
}

/// Takes Pinot's additions out of `text`; `tables` is asked for the tables' names if it must be known which there are.
pub(super) fn read_statement(text: &str, tables: &dyn Fn() -> Vec<String>) -> Statement {
    let tokens = tokens(text);
    let (mut options, mut quoted) = (BTreeMap::new(), BTreeSet::new());
    let mut edits = Edits::default();
    // Each slice is one statement with the semicolon that ends it, if any.
    for statement in tokens.split_inclusive(|token| token.kind == Kind::Semicolon) {
        let is_word = |token: &&Token<'_>| !matches!(token.kind, Kind::Blank | Kind::Semicolon);
        let words: Vec<Token<'_>> = statement.iter().filter(is_word).copied().collect();
        if let Some((name, value)) = set_option(&words) {
            options.insert(name.to_lowercase(), value);
            statement.iter().for_each(|token| edits.blank(token));
            continue;
        }
        let words = after_explain(&words, &mut edits);
        let words = before_options(words, &mut options, &mut edits);
        quoted
            .extend(words.iter().filter(|word| word.kind == Kind::QuotedName).map(|word| unquote(word.text)));
        name_aliases(words, &mut quoted, &mut edits);
        count_rows(words, &mut edits);
        truncate_numbers(words, &mut edits);
        tables::plain_names(words, tables, &mut edits);
    }
    Statement { sql: edits.applied(text), options, quoted }
}

/// The name and value of `SET name = value`, if the statement is one.
fn set_option(words: &[Token<'_>]) -> Option<(String, String)> {
    match words.split_first()? {
        (set, option) if set.is("set") => assignment(option),
        _ => None,
    }
}

/// `name = value`; numbers with a sign or a fraction are several tokens.
fn assignment(words: &[Token<'_>]) -> Option<(String, String)> {
    let [name, equals, value @ ..] = words else { return None };
    let name = match name.kind {
        Kind::Text => unquote(name.text),
        _ => name.name()?,
    };
    match value {
        _ if !equals.is_mark("=") => None,
        [] => None,
        [Token { kind: Kind::Text | Kind::QuotedName, text, .. }, ..] => Some((name, unquote(text))),
        value => Some((name, value.iter().map(|word| word.text).collect())),
    }
}

/// What `EXPLAIN PLAN FOR` can have between its first and its last word.
const EXPLAIN: [&str; 10] = [
    "plan",
    "implementation",
    "without",
    "with",
    "excluding",
    "including",
    "all",
    "attributes",
    "type",
    "physical",
];

/// Leaves of `EXPLAIN PLAN FOR` the first word. What is behind it is the query.
fn after_explain<'t, 'a>(words: &'t [Token<'a>], edits: &mut Edits) -> &'t [Token<'a>] {
    let [explain, rest @ ..] = words else { return words };
    let known = rest.iter().take_while(|word| EXPLAIN.iter().any(|known| word.is(known))).count();
    let has_plan = rest[..known].iter().any(|word| word.is("plan"));
    if !explain.is("explain") || !has_plan || !rest.get(known).is_some_and(|word| word.is("for")) {
        return words;
    }
    let (removed, query) = rest.split_at(known + 1);
    removed.iter().for_each(|word| edits.blank(word));
    query
}

/// Takes `OPTION(name = value, …)` from the end of a statement, as often as it is there.
fn before_options<'t, 'a>(
    mut words: &'t [Token<'a>],
    options: &mut BTreeMap<String, String>,
    edits: &mut Edits,
) -> &'t [Token<'a>] {
    let mut found = Vec::new();
    while let [statement @ .., end] = words
        && end.is_mark(")")
        && let Some(open) = statement.iter().rposition(|word| word.is_mark("(") || word.is_mark(")"))
        && open > 1
        && words[open].is_mark("(")
        && words[open - 1].is("option")
        && let Some(read) = assignments(&statement[open + 1..])
    {
        found.push(read);
        words[open - 1..].iter().for_each(|word| edits.blank(word));
        words = &words[..open - 1];
    }
    // The last one wins, and it was found first.
    options.extend(found.into_iter().rev().flatten().map(|(name, value)| (name.to_lowercase(), value)));
    words
}

fn assignments(words: &[Token<'_>]) -> Option<Vec<(String, String)>> {
    words.split(|word| word.is_mark(",")).map(assignment).collect()
}

/// `AS 'alias'` gets the quotes of a name.
fn name_aliases(words: &[Token<'_>], quoted: &mut BTreeSet<String>, edits: &mut Edits) {
    for pair in words.windows(2) {
        if pair[0].is("as") && pair[1].kind == Kind::Text {
            let alias = unquote(pair[1].text);
            edits.replace(&pair[1], format!("\"{}\"", alias.replace('"', "\"\"")));
            quoted.insert(alias);
        }
    }
}

/// `COUNT("*")`, as Grafana's builder quotes everything, counts rows.
fn count_rows(words: &[Token<'_>], edits: &mut Edits) {
    for at in words.windows(4) {
        if at[0].is("count") && at[1].is_mark("(") && at[2].text == "\"*\"" && at[3].is_mark(")") {
            edits.replace(&at[2], " * ".into());
        }
    }
}

/// `DATE_TRUNC(` is spelled as the function of Pinot.
fn truncate_numbers(words: &[Token<'_>], edits: &mut Edits) {
    for at in words.windows(2) {
        if at[0].is("date_trunc") && at[1].is_mark("(") {
            edits.replace(&at[0], "DATETRUNC ".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Statement {
        read_statement(text, &|| vec!["trips".into()])
    }

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
            ("SELECT 1 FROM t OPTION(timeoutMs=100)", "SELECT 1 FROM t", &[("timeoutms", "100")]),
            (
                "SELECT 1 OPTION (a = 'x', b=-1.5) option(a=2);",
                "SELECT 1                                     ;",
                &[("a", "2"), ("b", "-1.5")],
            ),
            ("SELECT 'OPTION(a=1)'", "SELECT 'OPTION(a=1)'", &[]),
            ("SELECT option(a) FROM t", "SELECT option(a) FROM t", &[]),
            ("SELECT f(option(a = 1))", "SELECT f(option(a = 1))", &[]),
            ("OPTION(a=1)", "OPTION(a=1)", &[]),
            ("SELECT 1 OPTION()", "SELECT 1 OPTION()", &[]),
            ("EXPLAIN PLAN FOR SELECT 1", "EXPLAIN          SELECT 1", &[]),
            (
                "explain plan /* why */ without implementation for SELECT 1",
                "explain      /* why */                            SELECT 1",
                &[],
            ),
            ("EXPLAIN SELECT 1", "EXPLAIN SELECT 1", &[]),
            ("EXPLAIN PLAN", "EXPLAIN PLAN", &[]),
            ("SELECT COUNT(\"*\") FROM t", "SELECT COUNT( * ) FROM t", &[]),
            ("SELECT date_trunc ('day', date_trunc)", "SELECT DATETRUNC  ('day', date_trunc)", &[]),
            ("SELECT \"date_trunc\"('day', x)", "SELECT \"date_trunc\"('day', x)", &[]),
            ("SELECT sum(\"*\"), '(\"*\")'", "SELECT sum(\"*\"), '(\"*\")'", &[]),
            ("SELECT 1 FROM \"default\".trips_REALTIME", "SELECT 1 FROM           trips", &[]),
            ("", "", &[]),
        ];
        for (text, sql, options) in cases {
            let read = read(text);
            let expected: BTreeMap<_, _> =
                options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            assert_eq!((read.sql.trim(), &read.options), (*sql, &expected), "{text}");
            // What is left stands where it stood, so that positions in error messages are true.
            assert!(!text.contains(sql) || read.sql.find(sql) == text.find(sql), "{text}");
        }
    }

    #[test]
    fn quoted_names_are_told() {
        let read = read("SELECT a AS 'it''s', \"b\"\"c\", 'd' AS e FROM \"t\"; SET \"k\" = 1");
        assert_eq!(read.quoted.iter().map(String::as_str).collect::<Vec<_>>(), ["b\"c", "it's", "t"]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_strings_survive(text in "[ -~\n;'\"/*äß日-]{0,60}", value in "[^']{0,20}") {
            let read = read_statement(&text, &Vec::new);
            prop_assert_eq!(read.sql.lines().count(), text.lines().count());
            let quoted = format!("SELECT '{value}' FROM t; SET k = '{value}'");
            let read = read_statement(&quoted, &Vec::new);
            let query = format!("SELECT '{value}' FROM t;");
            prop_assert!(read.sql.starts_with(&query));
            prop_assert_eq!(read.options.get("k"), Some(&value));
        }
    }
}
