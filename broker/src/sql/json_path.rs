//! `$.a['b c'][0]`: the paths of `jsonExtractScalar`, as arguments of our JSON functions.

use std::fmt::Write;

/// Steps of one path at most.
const STEPS_MAX: usize = 64;

/// The steps as SQL, each with a comma in front: `, 'a', 'b c', 0`. `None` if it is no plain path: wildcards and filters are not.
pub(super) fn read_json_path(path: &str) -> Option<String> {
    let mut rest = path.strip_prefix('$')?;
    let mut sql = String::new();
    let mut steps = 0;
    while !rest.is_empty() {
        steps += 1;
        if steps > STEPS_MAX {
            return None;
        }
        if let Some(named) = rest.strip_prefix('.') {
            let end = named.find(['.', '[']).unwrap_or(named.len());
            push_name(&mut sql, named.get(..end).filter(|name| is_name(name))?);
            rest = &named[end..];
            continue;
        }
        let bracketed = rest.strip_prefix('[')?;
        if let Some(quote) = bracketed.chars().next().filter(|first| matches!(first, '\'' | '"')) {
            let (name, after) = bracketed[1..].split_once(quote)?;
            push_name(&mut sql, name);
            rest = after.strip_prefix(']')?;
        } else {
            let (index, after) = bracketed.split_once(']')?;
            let index: u32 = index.trim().parse().ok()?;
            write!(sql, ", {index}").ok()?;
            rest = after;
        }
    }
    Some(sql)
}

/// Whether a name may stand without quotes.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['*', '?', '@', '(', ')', '\'', '"'])
}

fn push_name(sql: &mut String, name: &str) {
    sql.push_str(", '");
    sql.push_str(&name.replace('\'', "''"));
    sql.push('\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let cases = [
            ("$", Some("")),
            ("$.a", Some(", 'a'")),
            ("$.a.b-c[0].d", Some(", 'a', 'b-c', 0, 'd'")),
            ("$['a b'][\"it's\"]", Some(", 'a b', 'it''s'")),
            ("$[2][3]", Some(", 2, 3")),
            ("a.b", None),
            ("$..a", None),
            ("$.a[*]", None),
            ("$.a[-1]", None),
            ("$.a[?(@.b)]", None),
            ("$.*", None),
            ("$.a[", None),
            ("$['a", None),
            ("$.", None),
            ("", None),
        ];
        for (path, expected) in cases {
            assert_eq!(read_json_path(path).as_deref(), expected, "{path}");
        }
        assert_eq!(read_json_path(&format!("${}", ".a".repeat(65))), None);
    }
}
