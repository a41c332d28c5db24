//! A JSON text as a tree, read slowly and with serde_json alone.
//!
//! Every node keeps its text exactly as in the message: STRING and JSON columns store it. `serde_json::Value` would
//! not do: it rounds numbers and refuses `1e999`, which is valid JSON.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Most containers around a value.
const NESTING_MAX: usize = 128;

pub(crate) struct Tree {
    /// The text as in the message.
    pub(crate) raw: String,
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number,
    /// What the escapes mean.
    Text(String),
    Array(Vec<Tree>),
    /// Of several fields of one name only the last is here.
    Object(Vec<(String, Tree)>),
}

impl Tree {
    /// Reads a whole message or nothing.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Tree> {
        let text = std::str::from_utf8(bytes).ok()?;
        Self::build(serde_json::from_str::<&RawValue>(text).ok()?, 0)
    }

    fn build(value: &RawValue, depth: usize) -> Option<Tree> {
        let raw = value.get();
        let kind = match raw.as_bytes()[0] {
            b'{' | b'[' if depth == NESTING_MAX => return None,
            b'{' => {
                let Members(members) = serde_json::from_str(raw).ok()?;
                let mut fields: Vec<(String, Tree)> = Vec::new();
                for (name, member) in members {
                    fields.retain(|(known, _)| *known != name);
                    fields.push((name, Self::build(member, depth + 1)?));
                }
                Kind::Object(fields)
            }
            b'[' => {
                let Elements(elements) = serde_json::from_str(raw).ok()?;
                let trees = elements.into_iter().map(|element| Self::build(element, depth + 1));
                Kind::Array(trees.collect::<Option<_>>()?)
            }
            b'"' => Kind::Text(serde_json::from_str(raw).ok()?),
            b'n' => Kind::Null,
            b't' | b'f' => Kind::Bool(raw == "true"),
            _ => Kind::Number,
        };
        Some(Tree { raw: raw.to_owned(), kind })
    }
}

struct Members<'m>(Vec<(String, &'m RawValue)>);
struct Elements<'m>(Vec<&'m RawValue>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Elements<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = items.next_element()? {
                    elements.push(element);
                }
                Ok(Elements(elements))
            }
        }
        deserializer.deserialize_seq(Read)
    }
}
