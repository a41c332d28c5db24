//! Names of tables as Pinot has them: `default.trips`, `trips_REALTIME`, `trips_OFFLINE`.
//!
//! `default` is the database of every table that is in no other, and a table is a pair of a REALTIME and an OFFLINE one. Both are
//! taken off where a table is named, and where a column is named by such a table; everywhere else they are somebody's own names.

use std::cell::OnceCell;
use std::collections::HashSet;

use super::tokens::{Edits, Kind, Token, blanks};

/// What Pinot appends to a table's name for its two halves.
const HALVES: [&str; 2] = ["_REALTIME", "_OFFLINE"];

/// What ends a list of tables.
const ENDS: [&str; 12] = [
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "FETCH",
    "QUALIFY",
    "WINDOW",
    "UNION",
    "EXCEPT",
    "INTERSECT",
];

/// The name without the half that it names, if it does and there is no table of that very name.
pub(in super::super) fn logical_name(name: &str, has_table: impl Fn(&str) -> bool) -> Option<&str> {
    let logical = HALVES.into_iter().find_map(|half| name.strip_suffix(half))?;
    (has_table(logical) && !has_table(name)).then_some(logical)
}

/// Takes databases and halves out of a statement's `words`, its tokens without blanks. `tables` says which there are.
pub(super) fn plain_names(words: &[Token<'_>], tables: &dyn Fn() -> Vec<String>, edits: &mut Edits) {
    let known: OnceCell<(HashSet<String>, HashSet<String>)> = OnceCell::new();
    let has_table = |name: &str, is_folded: bool| {
        // A name without quotes is found whatever its case.
        let known = known.get_or_init(|| {
            let names = tables();
            (names.iter().map(|name| name.to_lowercase()).collect::<HashSet<_>>(), HashSet::from_iter(names))
        });
        if is_folded { known.0.contains(&name.to_lowercase()) } else { known.1.contains(name) }
    };
    // As they are spelled in the text: those with a database, those with a half.
    let (mut qualified, mut halves) = (HashSet::new(), HashSet::new());
    let places = table_places(words);
    let given = given_names(words);
    for place in &places {
        let name = after_default(words, *place);
        let word = &words[name];
        if name > *place {
            words[*place..name].iter().for_each(|word| edits.blank(word));
            qualified.insert(word.text);
        }
        let is_logical = |name: &str| has_table(name, word.kind == Kind::Word);
        let is_whole = !is_before_dot(words, name) && !given.contains(word.text);
        if is_whole && logical_name(&word.name().unwrap_or_default(), is_logical).is_some() {
            cut_half(word, edits);
            halves.insert(word.text);
        }
    }
    let places: HashSet<usize> = places.into_iter().collect();
    for (index, word) in words.iter().enumerate() {
        let is_first = word.name().is_some() && (index == 0 || !words[index - 1].is_mark("."));
        let name = after_default(words, index);
        let table = words[name].text;
        let is_column = is_first && is_before_dot(words, name) && !places.contains(&index);
        if !is_column || (name > index && !qualified.contains(table)) {
            continue;
        }
        words[index..name].iter().for_each(|word| edits.blank(word));
        if halves.contains(table) {
            cut_half(&words[name], edits);
        }
    }
}

/// Where the name that starts at `index` goes on behind `default .`; `index` itself if it does not start so.
fn after_default(words: &[Token<'_>], index: usize) -> usize {
    let is_default = words[index].is("default") || words[index].text == "\"default\"";
    match words.get(index + 1..index + 3) {
        Some([dot, name]) if is_default && dot.is_mark(".") && name.name().is_some() => index + 2,
        _ => index,
    }
}

fn is_before_dot(words: &[Token<'_>], index: usize) -> bool {
    words.get(index + 1).is_some_and(|next| next.is_mark("."))
}

/// The names that the statement gives to queries of its own: `WITH name AS (…)`.
fn given_names<'a>(words: &[Token<'a>]) -> HashSet<&'a str> {
    words.windows(3).filter(|at| at[1].is("as") && at[2].is_mark("(")).map(|at| at[0].text).collect()
}

/// `trips_REALTIME` becomes `trips` and blanks.
fn cut_half(word: &Token<'_>, edits: &mut Edits) {
    let quote = if word.kind == Kind::QuotedName { "\"" } else { "" };
    let spelled = word.text.strip_suffix(quote).unwrap_or(word.text);
    for half in HALVES {
        if let Some(logical) = spelled.strip_suffix(half) {
            return edits.replace(word, format!("{logical}{quote}{}", blanks(half)));
        }
    }
}

/// What a pair of brackets is about.
#[derive(Clone, Copy, Default)]
struct Brackets {
    /// A query, whose `FROM` is followed by tables; the one of `EXTRACT(day FROM at)` is not.
    is_query: bool,
    /// Whether what stands after a comma is a table.
    is_table_list: bool,
}

/// Where in `words` names of tables start.
fn table_places(words: &[Token<'_>]) -> Vec<usize> {
    let mut places = Vec::new();
    let is_told =
        words.first().is_some_and(|first| ["SHOW", "DESCRIBE", "DESC"].iter().any(|word| first.is(word)));
    let mut around = Vec::new();
    let mut here = Brackets { is_query: is_told, is_table_list: false };
    let mut is_expected = false;
    for (index, word) in words.iter().enumerate() {
        let was_expected = std::mem::take(&mut is_expected);
        let before = index.checked_sub(1).map(|before| &words[before]);
        let is_after = |mark: &str| before.is_some_and(|before| before.is_mark(mark));
        match word.kind {
            Kind::Other if word.is_mark("(") => {
                around.push(here);
                here = Brackets { is_query: false, is_table_list: was_expected };
                is_expected = was_expected;
            }
            Kind::Other if word.is_mark(")") => here = around.pop().unwrap_or(here),
            Kind::Other if word.is_mark(",") => is_expected = here.is_table_list,
            Kind::QuotedName if was_expected => places.push(index),
            Kind::Word if is_after(".") => {}
            Kind::Word if word.is("SELECT") => here = Brackets { is_query: true, is_table_list: false },
            Kind::Word if word.is("FROM") => {
                let is_distinct = before.is_some_and(|before| before.is("DISTINCT"));
                let is_first = before.is_none() || is_after("(");
                is_expected = (here.is_query || is_first) && !is_distinct;
                here.is_table_list |= is_expected;
            }
            Kind::Word if word.is("JOIN") => is_expected = here.is_table_list,
            Kind::Word if word.is("LATERAL") => is_expected = was_expected,
            Kind::Word if is_told && index == 0 || word.is("TABLE") && (is_told || index == 0) => {
                is_expected = true
            }
            Kind::Word if ENDS.iter().any(|end| word.is(end)) => here.is_table_list = false,
            Kind::Word if was_expected => places.push(index),
            _ => {}
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::super::tokens::tokens;
    use super::*;

    fn plain(text: &str) -> String {
        let tokens = tokens(text);
        let words: Vec<Token<'_>> = tokens.into_iter().filter(|token| token.kind != Kind::Blank).collect();
        let mut edits = Edits::default();
        let tables = || ["trips", "Rides", "both", "both_OFFLINE", "default"].map(String::from).to_vec();
        plain_names(&words, &tables, &mut edits);
        edits.applied(text)
    }

    #[test]
    fn databases_and_halves_are_taken_off() {
        // What is left, with one blank for many.
        let cases = [
            ("SELECT * FROM \"default\".trips LIMIT 1", "SELECT * FROM trips LIMIT 1"),
            ("SELECT * FROM DEFAULT . trips", "SELECT * FROM trips"),
            ("SELECT * FROM default.\"trips\" AS t", "SELECT * FROM \"trips\" AS t"),
            (
                "SELECT 1 FROM a JOIN default.b ON a.x = b.x, default.c",
                "SELECT 1 FROM a JOIN b ON a.x = b.x, c",
            ),
            (
                "SELECT 1 FROM (default.a JOIN default.b USING (x, y))",
                "SELECT 1 FROM ( a JOIN b USING (x, y))",
            ),
            ("SELECT (SELECT max(x) FROM default.a) FROM b", "SELECT (SELECT max(x) FROM a) FROM b"),
            (
                "WITH w AS (SELECT 1 FROM default.a) SELECT 1 FROM w",
                "WITH w AS (SELECT 1 FROM a) SELECT 1 FROM w",
            ),
            ("SELECT default.trips.city FROM default.trips", "SELECT trips.city FROM trips"),
            ("SELECT 1 FROM a UNION SELECT 1 FROM default.b", "SELECT 1 FROM a UNION SELECT 1 FROM b"),
            ("DESCRIBE default.trips", "DESCRIBE trips"),
            ("SHOW COLUMNS FROM default.trips", "SHOW COLUMNS FROM trips"),
            ("SELECT * FROM trips_REALTIME", "SELECT * FROM trips "),
            ("SELECT * FROM \"trips_OFFLINE\" t", "SELECT * FROM \"trips\" t"),
            ("SELECT * FROM default.rides_OFFLINE", "SELECT * FROM rides "),
            ("SELECT trips_REALTIME.x FROM trips_REALTIME", "SELECT trips .x FROM trips "),
            ("SELECT default.trips_REALTIME.x FROM default.trips_REALTIME", "SELECT trips .x FROM trips "),
        ];
        for (text, expected) in cases {
            let read = plain(text);
            assert_eq!(
                read.split_whitespace().collect::<Vec<_>>(),
                expected.split_whitespace().collect::<Vec<_>>()
            );
            assert_eq!(read.chars().count(), text.chars().count(), "{text}");
        }
    }

    #[test]
    fn other_names_are_left_alone() {
        for text in [
            "SELECT default.city FROM default",
            "SELECT \"default\".city, 'FROM default.trips' FROM \"default\" WHERE default.n > 1",
            "SELECT EXTRACT(day FROM default.at), trim(BOTH 'x' FROM default.city) FROM default",
            "SELECT 1 FROM default WHERE default.a IS DISTINCT FROM default.b",
            "SELECT max(default.a, default.b) FROM default ORDER BY default.a, default.b",
            "SELECT 1 FROM default JOIN x ON f(default.a, default.b)",
            "SELECT 1 FROM x GROUP BY a, default.b",
            "SELECT * FROM both_OFFLINE",
            "SELECT * FROM nowhere_REALTIME, \"rides_REALTIME\"",
            "SELECT trips_REALTIME FROM trips",
            "SELECT x AS trips_REALTIME FROM trips ORDER BY trips_REALTIME",
            "WITH trips_REALTIME AS (SELECT 1 AS x) SELECT x FROM trips_REALTIME",
            "SELECT * FROM system.segments, trips_REALTIME.x",
            "SELECT * FROM default.",
            "SELECT t.from FROM t",
            ")))) FROM ((((",
        ] {
            assert_eq!(plain(text), text);
        }
    }
}
