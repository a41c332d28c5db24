//! From spec text to one value tree, within limits that no text can break.
//!
//! YAML and JSON are both read; a key that stands twice is refused. The tree is charged as it grows, aliases included,
//! so a small text can't unfold into a large tree. Depth is limited by both parsers (128).

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::faults::{Faults, quoted};

/// Longest spec text in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// What a tree may weigh: one per node, and its text in bytes. Text without aliases always stays below it.
const TREE_WEIGHT_MAX: usize = 4 * TEXT_BYTES_MAX;
/// How long the YAML scanner may take: 2 seconds or so at worst. 2,000 columns in one `{}` each come to a tenth of it.
const SCAN_STEPS_MAX: u64 = 1 << 31;

/// The tree of `text`, or a fault with line and column.
pub(super) fn read_document(text: &str, faults: &mut Faults) -> Option<Value> {
    if text.len() > TEXT_BYTES_MAX {
        faults.add("spec", format!("{} bytes of text; a spec has at most {TEXT_BYTES_MAX}", text.len()));
        return None;
    }
    // JSON is YAML but for surrogate pairs (`\ud83d\ude00`), so text that looks like JSON is tried as such first.
    if text.trim_start().starts_with('{')
        && let Some(value) = read_json(text)
    {
        return Some(value);
    }
    if scan_steps(text) > SCAN_STEPS_MAX {
        let advice =
            "too many brackets; write lists and mappings indented, one item per line, or all of it as JSON";
        faults.add("spec", advice);
        return None;
    }
    let left = Cell::new(TREE_WEIGHT_MAX);
    match (Node { left: &left }).deserialize(serde_yaml_ng::Deserializer::from_str(text)) {
        Ok(value) => Some(value),
        Err(error) => {
            let place = match error.location() {
                Some(at) => format!("line {}, column {}", at.line(), at.column()),
                None => "spec".to_string(),
            };
            faults.add(place, error.to_string());
            None
        }
    }
}

/// An upper bound of the steps that libyaml's scanner takes: for every token it walks all brackets that are open, so a
/// text of nothing but `[` would keep it busy for minutes.
fn scan_steps(text: &str) -> u64 {
    let mut brackets = 0;
    text.bytes()
        .map(|byte| {
            brackets += u64::from(matches!(byte, b'[' | b'{'));
            brackets
        })
        .sum()
}

fn read_json(text: &str) -> Option<Value> {
    let left = Cell::new(TREE_WEIGHT_MAX);
    let mut parser = serde_json::Deserializer::from_str(text);
    let value = Node { left: &left }.deserialize(&mut parser).ok()?;
    parser.end().ok().map(|()| value)
}

/// Builds one node of the tree and charges it.
struct Node<'b> {
    left: &'b Cell<usize>,
}

impl Node<'_> {
    fn charge<E: Error>(&self, text: &str) -> Result<(), E> {
        match self.left.get().checked_sub(text.len() + 1) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(E::custom("the aliases of this text unfold into too much for a spec")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping, a list, text, a number, true, false or null")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.charge("").map(|()| Value::Null)
    }

    /// A text without anything in it.
    fn visit_none<E: Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.charge("").map(|()| Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.charge("").map(|()| Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.charge("").map(|()| Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.charge("")?;
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom(format!("{value} is not a number that a spec can hold")))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.charge(value).map(|()| Value::String(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.charge("")?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Node { left: self.left })? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.charge("")?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.charge(&key)?;
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("the key {} stands here twice", quoted(&key))));
            }
            let value = entries.next_value_seed(Node { left: self.left })?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
