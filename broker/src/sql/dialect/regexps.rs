//! Pinot's functions of regular expressions, by those of SQL.

use datafusion::sql::sqlparser::ast::{Expr, UnaryOperator};

use super::{Call, Rewritten, fault, filled};
use crate::sql::template::{number_of, text, text_of};

/// `regexpExtract(s, 'p' [, group [, default]])`: what the group of the first match has; the default where nothing matches, or
/// the pattern has no such group.
///
/// The whole text is replaced by the group. A group that took no part in the match is the empty text, where Java has none.
pub(super) fn extract(call: &Call<'_>) -> Rewritten {
    let ([value, pattern] | [value, pattern, _] | [value, pattern, _, _]) = call.arguments else {
        return Ok(None);
    };
    let pattern = text_of(pattern).ok_or_else(|| fault("regexpExtract wants its pattern in quotes"))?;
    let group = match call.arguments.get(2) {
        None => 0,
        Some(group) => whole_number(group)
            .and_then(|group| usize::try_from(group).ok())
            .ok_or_else(|| fault("regexpExtract wants the number of a group, 0 for all of the match"))?,
    };
    let empty = text("");
    let default = call.arguments.get(3).copied().unwrap_or(&empty);
    if group > groups_of(pattern) {
        return filled("CASE WHEN $1 IS NOT NULL THEN $2 END", &[*value, default], None);
    }
    // The match is a group of its own, so that all others count one more.
    let whole = text(&format!(r"\A(?s:.*?)({pattern})(?s:.*)\z"));
    let replacement = text(&format!("${{{}}}", group + 1));
    let pattern = text(pattern);
    let template =
        "CASE WHEN regexp_like($1, $2) THEN regexp_replace($1, $3, $4) WHEN $1 IS NOT NULL THEN $5 END";
    filled(template, &[*value, &pattern, &whole, &replacement, default], None)
}

/// How many groups a pattern captures.
fn groups_of(pattern: &str) -> usize {
    let (mut groups, mut classes) = (0, 0_usize);
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        match letter {
            '\\' => rest = rest.get(rest.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default(),
            '[' => {
                classes += 1;
                // A bracket that comes first stands for itself.
                let first = rest.strip_prefix('^').unwrap_or(rest);
                rest = first.strip_prefix(']').unwrap_or(first);
            }
            ']' => classes = classes.saturating_sub(1),
            '(' if classes == 0 => {
                let is_named = rest.starts_with("?P<")
                    || rest.starts_with("?<") && !rest.starts_with("?<=") && !rest.starts_with("?<!");
                groups += usize::from(is_named || !rest.starts_with('?'));
            }
            _ => {}
        }
    }
    groups
}

/// `regexpReplace(s, p, r [, 0 [, n [, 'i']]])`, in one word: every match is replaced, or with `n` = 0 the first one. SQL's own,
/// with an underscore, replaces the first, and counts groups with a backslash.
pub(super) fn replace(call: &Call<'_>) -> Rewritten {
    if !call.is_in_one_word() {
        return Ok(None);
    }
    let [value, pattern, replacement, rest @ ..] = call.arguments else { return Ok(None) };
    let all =
        match (rest.first().map(|from| whole_number(from)), rest.get(1).map(|which| whole_number(which))) {
            (None | Some(Some(0)), None | Some(Some(-1))) => true,
            (Some(Some(0)), Some(Some(0))) => false,
            _ => {
                return Err(fault(
                    "regexpReplace replaces from position 0 on, every match (-1) or the first one (0)",
                ));
            }
        };
    let ignores_case = match rest.get(2) {
        None => false,
        Some(flag) => text_of(flag) == Some("i"),
    };
    let flags = match (all, ignores_case) {
        (true, true) => "gi",
        (true, false) => "g",
        (false, true) => "i",
        (false, false) => "",
    };
    let java = text_of(replacement).ok_or_else(|| fault("regexpReplace wants its replacement in quotes"))?;
    // Pinot puts it in as it is where it replaces one match.
    let ours = if all { replacement_of(java) } else { Some(java.replace('$', "$$")) };
    let replacement = ours.filter(|ours| !names_group(ours)).ok_or_else(|| {
        fault(format!(
            "{java:?} is no replacement: $ is followed by the number of a group, and no backslash by a number"
        ))
    })?;
    let arguments = [*value, *pattern, &text(&replacement), &text(flags)];
    match flags {
        "" => filled("regexp_replace($1, $2, $3)", &arguments, None),
        _ => filled("regexp_replace($1, $2, $3, $4)", &arguments, None),
    }
}

/// Java's replacement (`$1`, `\$`) as ours (`${1}`, `$$`). `None` if a `$` has no number.
fn replacement_of(java: &str) -> Option<String> {
    let mut ours = String::new();
    let mut letters = java.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '$' => {
                let group = letters.next().filter(char::is_ascii_digit)?;
                ours.push_str("${");
                ours.push(group);
                ours.push('}');
            }
            '\\' => match letters.next()? {
                '$' => ours.push_str("$$"),
                other => ours.push(other),
            },
            other => ours.push(other),
        }
    }
    Some(ours)
}

/// Whether SQL's function would find the number of a group behind a backslash.
fn names_group(replacement: &str) -> bool {
    replacement.as_bytes().windows(2).any(|pair| pair[0] == b'\\' && pair[1].is_ascii_digit())
}

fn whole_number(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => whole_number(expr)?.checked_neg(),
        other => number_of(other)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_counted() {
        let cases = [
            ("", 0),
            ("abc", 0),
            ("(a)(b(c))", 3),
            (r"\(a\)(b)", 1),
            ("(?:a)(?i)(?i:b)(?P<n>c)(?<m>d)", 2),
            ("[(]([)(]+)[]()]", 1),
            ("[^](](a)", 1),
            ("[[:alpha:](]()", 1),
            ("(?=a)(?<!b)(?<=c)", 0),
            (r"\", 0),
            ("(ü)", 1),
        ];
        for (pattern, groups) in cases {
            assert_eq!(groups_of(pattern), groups, "{pattern}");
        }
    }

    #[test]
    fn replacements() {
        let cases = [
            ("", Some("")),
            ("$1-$2x", Some("${1}-${2}x")),
            (r"\$1\\", Some(r"$$1\")),
            ("$", None),
            ("$x", None),
            (r"\", None),
        ];
        assert!(names_group(r"a\1") && !names_group(r"\a1\"));
        for (java, ours) in cases {
            assert_eq!(replacement_of(java).as_deref(), ours, "{java}");
        }
    }
}
