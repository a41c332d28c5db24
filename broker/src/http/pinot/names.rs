//! Names of an answer's columns, as Pinot's clients expect them.
//!
//! The planner names an expression by what it has made of it: `avg(trips.score)`, `Int64(1)`, `date_trunc(Utf8("DAY"),trips.at)`.
//! Pinot says `avg(score)`, `1`, `date_trunc('DAY',at)`. A name that the client has chosen stays as it is.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

/// The names to show for `names`. `chosen` are those that the statement has in quotes.
///
/// Two expressions that would get the same name (`avg(a.x)` and `avg(b.x)`) keep those that tell them apart.
pub(super) fn shown_names<'a>(names: &[&'a str], chosen: &BTreeSet<String>) -> Vec<Cow<'a, str>> {
    let shown = |name: &'a str| match is_expression(name) && !chosen.contains(name) {
        true => Cow::Owned(plain(name)),
        false => Cow::Borrowed(name),
    };
    let plain: Vec<Cow<'a, str>> = names.iter().map(|name| shown(name)).collect();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for name in &plain {
        *counts.entry(name).or_default() += 1;
    }
    let is_only = |name: &str| counts.get(name).is_some_and(|count| *count == 1);
    let pairs = names.iter().zip(&plain);
    pairs.map(|(name, plain)| if is_only(plain) { plain.clone() } else { Cow::Borrowed(*name) }).collect()
}

/// Whether it can be what the planner calls an expression: a column keeps its name, and that is a word, as a rule.
fn is_expression(name: &str) -> bool {
    name.contains(|c: char| !is_word(c) && c != '.')
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// The expression without the tables of its columns and the types of its literals.
fn plain(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        if !is_word(first) {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let is_number = first.is_ascii_digit();
        let length = rest.find(|c: char| !(is_word(c) || (is_number && c == '.'))).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(length);
        let literal = behind.strip_prefix('(').and_then(|behind| literal(word, behind));
        rest = match literal {
            Some((text, behind)) => {
                out.push_str(&text);
                behind
            }
            None if !is_number && is_qualifier(behind) => &behind[1..],
            None => {
                out.push_str(word);
                behind
            }
        };
    }
    out
}

/// Whether a word followed by `behind` is the table of the column that comes next.
fn is_qualifier(behind: &str) -> bool {
    let mut behind = behind.chars();
    behind.next() == Some('.')
        && behind.next().is_some_and(|c| c == '"' || (is_word(c) && !c.is_ascii_digit()))
}

/// The literal that is written `wrapper(content)…`, where `text` starts with its content, and what is behind it.
fn literal<'a>(wrapper: &str, text: &'a str) -> Option<(String, &'a str)> {
    let (content, behind) = match text.strip_prefix('"') {
        Some(quoted) => {
            let (content, behind) = quoted.split_once("\")")?;
            return match wrapper {
                "Utf8" | "LargeUtf8" | "Utf8View" | "Date32" | "Date64" => {
                    Some((format!("'{}'", content.replace('\'', "''")), behind))
                }
                _ => None,
            };
        }
        None => bracketed(text)?,
    };
    let shown = match wrapper {
        "Int8" | "Int16" | "Int32" | "Int64" | "UInt8" | "UInt16" | "UInt32" | "UInt64" | "Float16"
        | "Float32" | "Float64" | "Boolean" | "Utf8" | "LargeUtf8" | "Utf8View" | "Date32" | "Date64" => {
            content.to_string()
        }
        "TimestampSecond" | "TimestampMillisecond" | "TimestampMicrosecond" | "TimestampNanosecond" => {
            content.split_once(',').map_or(content, |(instant, _)| instant).to_string()
        }
        "Decimal32" | "Decimal64" | "Decimal128" | "Decimal256" => decimal(content)?,
        _ => return None,
    };
    Some((shown, behind))
}

/// What stands before the bracket that closes, and behind it.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return Some((&text[..at], &text[at + 1..])),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// `Some(150),3,2` is 1.50.
fn decimal(content: &str) -> Option<String> {
    let (value, kind) = content.rsplit_once(',').and_then(|(rest, scale)| {
        let (value, _) = rest.rsplit_once(',')?;
        Some((value, scale.trim().parse::<usize>().ok()?))
    })?;
    let Some(digits) = value.strip_prefix("Some(").and_then(|value| value.strip_suffix(')')) else {
        return Some("NULL".into());
    };
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    if kind == 0 || kind > 100 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Some(format!("{sign}{digits}"));
    }
    let digits = format!("{digits:0>width$}", width = kind + 1);
    let (whole, fraction) = digits.split_at(digits.len() - kind);
    Some(format!("{sign}{whole}.{fraction}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn expressions_lose_tables_and_types() {
        for (name, expected) in [
            ("avg(trips.score)", "avg(score)"),
            ("Int64(1)", "1"),
            ("count(*)", "count(*)"),
            ("count(Int64(1))", "count(1)"),
            ("date_trunc(Utf8(\"DAY\"),trips.at)", "date_trunc('DAY',at)"),
            ("Utf8(\"it's\")", "'it''s'"),
            ("Utf8(\"\")", "''"),
            ("max(trips.score) - min(trips.score)", "max(score) - min(score)"),
            ("CASE WHEN t.a > Float64(1.5) THEN Boolean(true) END", "CASE WHEN a > 1.5 THEN true END"),
            ("t.at >= TimestampMillisecond(17, Some(\"UTC\")) AND Int64(-2) < t.n", "at >= 17 AND -2 < n"),
            ("TimestampSecond(5, None)", "5"),
            ("t.p * Decimal128(Some(150),3,2)", "p * 1.50"),
            ("Decimal128(Some(-5),3,2) + Decimal128(None,3,2)", "-0.05 + NULL"),
            ("a.b.trips.x + trips.$offset", "x + $offset"),
            (
                "count(DISTINCT trips.city) FILTER (WHERE größe.é = Utf8(\"ü\"))",
                "count(DISTINCT city) FILTER (WHERE é = 'ü')",
            ),
            ("round(x,Int64(2)) + 1.5", "round(x,2) + 1.5"),
            ("f(Utf8(\"open", "f(Utf8(\"open"),
            ("Int64(1", "Int64(1"),
        ] {
            assert_eq!(plain(name), expected);
        }
    }

    #[test]
    fn names_that_are_somebodys_own_stay() {
        let chosen = BTreeSet::from(["avg(trips.score)".to_string()]);
        let names = ["avg(trips.score)", "a.b", "city", "sum(a.x)", "sum(b.x)", "max(t.x)"];
        let expected = ["avg(trips.score)", "a.b", "city", "sum(a.x)", "sum(b.x)", "max(x)"];
        assert_eq!(shown_names(&names, &chosen), expected);
    }

    proptest! {
        #[test]
        fn any_name_is_read(name in "(Int64|Utf8|Decimal128|t\\.|[().,\"'a1ß-]|Some){0,20}") {
            plain(&name);
        }
    }
}
