//! `$.a['b c'][0]`: the paths of `jsonExtractScalar`, as steps and as arguments of our JSON functions.

use std::fmt::Write;

/// Steps of one path at most.
pub(super) const STEPS_MAX: usize = 64;

/// One step into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// To the value of a key.
    Name(String),
    /// To an element.
    Index(u32),
    /// To every element.
    Every,
}

/// The steps of a path. `None` if it is no plain path: `..`, wildcards of keys and filters are not.
pub(crate) fn steps_of(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if steps.len() == STEPS_MAX {
            return None;
        }
        if let Some(named) = rest.strip_prefix('.') {
            let end = named.find(['.', '[']).unwrap_or(named.len());
            let name = named.get(..end).filter(|name| is_name(name))?;
            steps.push(Step::Name(name.to_owned()));
            rest = &named[end..];
            continue;
        }
        let bracketed = rest.strip_prefix('[')?;
        if let Some(quote) = bracketed.chars().next().filter(|first| matches!(first, '\'' | '"')) {
            let (name, after) = bracketed[1..].split_once(quote)?;
            steps.push(Step::Name(name.to_owned()));
            rest = after.strip_prefix(']')?;
        } else {
            let (index, after) = bracketed.split_once(']')?;
            steps.push(match index.trim() {
                "*" => Step::Every,
                index => Step::Index(index.parse().ok()?),
            });
            rest = after;
        }
    }
    Some(steps)
}

/// The steps to one place as SQL, each with a comma in front: `, 'a', 'b c', 0`. `None` if the path leads to several, or is none.
pub(super) fn read_json_path(path: &str) -> Option<String> {
    let mut sql = String::new();
    for step in steps_of(path)? {
        match step {
            Step::Name(name) => write!(sql, ", '{}'", name.replace('\'', "''")).ok()?,
            Step::Index(index) => write!(sql, ", {index}").ok()?,
            Step::Every => return None,
        }
    }
    Some(sql)
}

/// Whether a name may stand without quotes.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['*', '?', '@', '(', ')', '\'', '"'])
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
            ("$.a[*].b", None),
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
        let steps = [Step::Name("a".into()), Step::Every, Step::Index(1), Step::Name("b.c".into())];
        assert_eq!(steps_of("$.a[*][1]['b.c']").unwrap(), steps);
    }
}
