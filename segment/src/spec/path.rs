//! Where in a message a column's value stands, and how that is written.
//!
//! ```text
//! path  = "$"                                   the whole message
//!       | [ "$" ( "." | &"[" ) ] step { step }  into the JSON payload; the "." before the first bare step falls away
//!       | "$key"                                the message key
//!       | "$headers" step                       one header
//! step  = "." bare | "[" digits "]" | "[" JSON string "]"
//! bare  = one or more characters but `.`, `[`, `]`, `"`, `\`, blanks and controls
//! ```
//! A field whose name begins with `$` is written `$.$name` at the top of the message.

use std::fmt;

use serde::{Serialize, Serializer};

use super::faults::quoted;

/// How deep a path may reach.
const STEPS_MAX: usize = 64;

/// Where in a message a column's value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldPath {
    /// Steps into the JSON payload; none means the whole message.
    Payload(Vec<PathStep>),
    /// The message key.
    Key,
    /// One message header.
    Header(String),
}

/// One step into a JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathStep {
    /// A field of an object.
    Field(String),
    /// An element of an array, from 0.
    Index(usize),
}

impl FieldPath {
    /// The path of a top-level field.
    pub fn field(name: &str) -> Self {
        Self::Payload(vec![PathStep::Field(name.to_string())])
    }

    /// Reads a path: `a.b`, `$.a[0].b`, `a["odd name.x"]`, `$`, `$key`, `$headers.name`. The error says what is wrong and
    /// what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = |reason: String| format!("the path {}: {reason}", quoted(text));
        let Some(rest) = text.strip_prefix('$') else {
            return match text.starts_with('[') {
                true => parse_steps(text),
                false => parse_steps(&format!(".{text}")),
            }
            .map(Self::Payload)
            .map_err(fault);
        };
        if rest.is_empty() || rest.starts_with(['.', '[']) {
            return parse_steps(rest).map(Self::Payload).map_err(fault);
        }
        if rest == "key" {
            return Ok(Self::Key);
        }
        match rest.strip_prefix("headers").filter(|header| header.starts_with(['.', '['])) {
            Some(header) => parse_header(header).map_err(fault),
            None => Err(fault(format!(
                "after `$` comes nothing, `.field`, `[...]`, `key` or `headers.name`; a field of this name is written $[{}]",
                quoted(text)
            ))),
        }
    }
}

fn parse_header(text: &str) -> Result<FieldPath, String> {
    match parse_steps(text)?.as_slice() {
        [PathStep::Field(name)] => Ok(FieldPath::Header(name.clone())),
        _ => Err("a header has one name; one with dots is written $headers[\"a.b\"]".into()),
    }
}

fn parse_steps(mut rest: &str) -> Result<Vec<PathStep>, String> {
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if steps.len() == STEPS_MAX {
            return Err(format!("more than {STEPS_MAX} steps"));
        }
        let (step, after) = match rest.strip_prefix('.') {
            Some(bare) => parse_bare(bare)?,
            None => match rest.strip_prefix('[') {
                Some(bracket) => parse_bracket(bracket)?,
                None => return Err(format!("`.` or `[` expected before {}", quoted(rest))),
            },
        };
        steps.push(step);
        rest = after;
    }
    Ok(steps)
}

fn parse_bare(text: &str) -> Result<(PathStep, &str), String> {
    let (name, after) = text.split_at(text.find(|c| !is_bare_char(c)).unwrap_or(text.len()));
    if name.is_empty() {
        return Err(
            "a field name is missing; an odd one is written in brackets and quotes, [\"like this\"]".into()
        );
    }
    Ok((PathStep::Field(name.to_string()), after))
}

fn parse_bracket(text: &str) -> Result<(PathStep, &str), String> {
    let expected = || "brackets hold an index, [0], or a name in double quotes, [\"name\"]".to_string();
    let (step, after) = if text.starts_with('"') {
        let mut names = serde_json::Deserializer::from_str(text).into_iter::<String>();
        let name = names.next().and_then(|name| name.ok()).ok_or_else(expected)?;
        (PathStep::Field(name), &text[names.byte_offset()..])
    } else {
        let (digits, after) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        (PathStep::Index(digits.parse().map_err(|_| expected())?), after)
    };
    after.strip_prefix(']').map(|after| (step, after)).ok_or_else(expected)
}

fn is_bare_char(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !".[]\"\\".contains(c)
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str("$key"),
            Self::Header(name) => {
                f.write_str("$headers")?;
                write_field(f, name)
            }
            Self::Payload(steps) => {
                let rest = match steps.split_first() {
                    Some((PathStep::Field(name), rest)) if is_bare(name) && !name.starts_with('$') => {
                        f.write_str(name)?;
                        rest
                    }
                    _ => {
                        f.write_str("$")?;
                        steps
                    }
                };
                rest.iter().try_for_each(|step| match step {
                    PathStep::Field(name) => write_field(f, name),
                    PathStep::Index(index) => write!(f, "[{index}]"),
                })
            }
        }
    }
}

fn is_bare(name: &str) -> bool {
    !name.is_empty() && name.chars().all(is_bare_char)
}

fn write_field(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    match is_bare(name) {
        true => write!(f, ".{name}"),
        false => write!(f, "[{}]", serde_json::Value::from(name)),
    }
}

impl Serialize for FieldPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn payload(steps: &[&str]) -> FieldPath {
        let step = |text: &&str| match text.parse() {
            Ok(index) => PathStep::Index(index),
            Err(_) => PathStep::Field(text.to_string()),
        };
        FieldPath::Payload(steps.iter().map(step).collect())
    }

    #[test]
    fn paths_are_read_and_written() {
        for (text, path, written) in [
            ("a", payload(&["a"]), "a"),
            ("a.b", payload(&["a", "b"]), "a.b"),
            ("$.a.b", payload(&["a", "b"]), "a.b"),
            ("a[0].b", payload(&["a", "0", "b"]), "a[0].b"),
            ("[0].b", payload(&["0", "b"]), "$[0].b"),
            ("a[\"odd name.x\"]", payload(&["a", "odd name.x"]), "a[\"odd name.x\"]"),
            ("_id.$oid", payload(&["_id", "$oid"]), "_id.$oid"),
            ("$.$oid", payload(&["$oid"]), "$.$oid"),
            ("$[\"\\u00fc\\n\"]", payload(&["ü\n"]), "$[\"ü\\n\"]"),
            ("$", payload(&[]), "$"),
            ("key", payload(&["key"]), "key"),
            ("$key", FieldPath::Key, "$key"),
            ("$headers.trace-id", FieldPath::Header("trace-id".into()), "$headers.trace-id"),
            ("$headers[\"a.b\"]", FieldPath::Header("a.b".into()), "$headers[\"a.b\"]"),
        ] {
            assert_eq!(FieldPath::parse(text), Ok(path.clone()), "{text}");
            assert_eq!(path.to_string(), written);
        }
    }

    #[test]
    fn bad_paths_are_refused() {
        for text in [
            "",
            ".",
            "a.",
            "a..b",
            "a b",
            "a[",
            "a[]",
            "a[-1]",
            "a[x]",
            "a['b']",
            "a[\"b\"",
            "a[\"b]",
            "a[0]b",
            "a]",
            "$headers",
            "$headers.a.b",
            "$headers[0]",
            "$offset",
            "$keys",
            "$headersx",
            "a[99999999999999999999]",
        ] {
            assert!(FieldPath::parse(text).is_err(), "{text}");
        }
        assert!(FieldPath::parse(&"a.".repeat(1_000)).is_err());
    }

    proptest! {
        #[test]
        fn written_paths_are_read_back(path in super::super::tests::any_path()) {
            prop_assert_eq!(FieldPath::parse(&path.to_string()), Ok(path));
        }

        #[test]
        fn no_text_panics(text in "[$.\\[\\]\"a0\\\\ ü]{0,12}") {
            if let Ok(path) = FieldPath::parse(&text) {
                prop_assert_eq!(FieldPath::parse(&path.to_string()), Ok(path));
            }
        }
    }
}
