//! Random messages for a table: mostly rows, some with values missing or mistyped, some that are no JSON at all.
//!
//! Nothing here decides what a message means; texts that may or may not fit are welcome.

use std::fmt::Write;

use headwater_ingest::decode::HeaderSource;
use headwater_segment::spec::{FieldPath, PathStep, TableSpec};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use crate::values::{Profile, any_text, fitting_text};

/// One message as Kafka delivers it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    /// `None` is a tombstone.
    pub(crate) payload: Option<Vec<u8>>,
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().rev().find(|(known, value)| known == name && value.is_some())?.1.as_deref()
    }

    /// The `$headers` column, as the consumer hands it on.
    pub(crate) fn headers_json(&self) -> Option<String> {
        let text =
            |value: &Option<Vec<u8>>| value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned());
        let object: serde_json::Map<_, _> =
            self.headers.iter().map(|(name, value)| (name.clone(), text(value).into())).collect();
        (!object.is_empty()).then(|| serde_json::Value::Object(object).to_string())
    }
}

impl HeaderSource for Message {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.header(name)
    }
}

/// A message while it is put together.
enum Document {
    Object(Vec<(String, Document)>),
    Array(Vec<Document>),
    Text(String),
}

/// The messages of one partition, offsets ascending, with holes. `profiles` are those of the spec's columns.
pub(crate) fn messages(
    random: &mut StdRng,
    spec: &TableSpec,
    profiles: &[Profile],
    first_offset: i64,
    count: usize,
) -> Vec<Message> {
    let mut offset = first_offset;
    let mut messages = Vec::with_capacity(count);
    for _ in 0..count {
        if random.random_ratio(1, 9) {
            offset += random.random_range(1..6);
        }
        messages.push(message(random, spec, profiles, offset));
        offset += 1;
    }
    messages
}

fn message(random: &mut StdRng, spec: &TableSpec, profiles: &[Profile], offset: i64) -> Message {
    let timestamp_ms = match random.random_range(0..20) {
        0 => None,
        1 => Some(*[0, -1, 253_402_300_799_999, -62_135_596_800_000].choose(random).unwrap()),
        _ => Some(1_700_000_000_000 + offset * 60_000 - random.random_range(0..600_000)),
    };
    let mut message = Message { offset, timestamp_ms, ..Message::default() };
    let mut columns: Vec<_> = spec.columns.iter().zip(profiles).collect();
    columns.shuffle(random);
    let mut root = Document::Object(Vec::new());
    for (column, profile) in columns {
        let mistyped = match column.on_error {
            headwater_segment::spec::OnError::Null => 8,
            headwater_segment::spec::OnError::DeadLetter => 120,
        };
        let text = match random.random_range(0..mistyped) {
            _ if profile.is_null() => "null".to_owned(),
            0 => any_text(random),
            _ if column.nullable && random.random_ratio(1, 9) => "null".to_owned(),
            _ if column.nullable && random.random_ratio(1, 9) => continue,
            _ => profile
                .text(random, &column.data_type, offset)
                .unwrap_or_else(|| fitting_text(random, &column.data_type)),
        };
        match &column.path {
            FieldPath::Payload(steps) => put(&mut root, steps, text),
            FieldPath::Key => message.key = Some(envelope_bytes(random, text)),
            FieldPath::Header(name) => {
                let value = (!random.random_ratio(1, 10)).then(|| envelope_bytes(random, text));
                message.headers.push((name.clone(), value));
            }
        }
    }
    if message.key.is_none() && random.random_bool(0.7) {
        let keys: [&[u8]; 6] = [b"a", b"b", "\u{e5}".as_bytes(), b"", b"\xff\x00", b"long key"];
        message.key = Some(keys.choose(random).unwrap().to_vec());
    }
    if random.random_ratio(1, 5) {
        message.headers.push(("trace".into(), Some(b"x\"y".to_vec())));
    }
    let text = render(random, &root);
    message.payload = match random.random_range(0..40) {
        0 => None,
        1 => Some(broken(random, &text)),
        _ => Some(text.into_bytes()),
    };
    message
}

/// A JSON text as the key or a header carries it: strings mostly without their quotes.
fn envelope_bytes(random: &mut StdRng, text: String) -> Vec<u8> {
    if random.random_ratio(1, 30) {
        return vec![0xC3, 0x28, 0x00];
    }
    match serde_json::from_str::<String>(&text) {
        Ok(content) if random.random_bool(0.8) => content.into_bytes(),
        _ => text.into_bytes(),
    }
}

fn put(place: &mut Document, steps: &[PathStep], text: String) {
    let Some((step, rest)) = steps.split_first() else {
        // Only a place that holds nothing yet: the column of the whole message takes what the others make of it.
        if matches!(place, Document::Text(_)) {
            *place = Document::Text(text);
        }
        return;
    };
    let null = || Document::Text("null".into());
    match step {
        PathStep::Field(name) => {
            if !matches!(place, Document::Object(_)) {
                *place = Document::Object(Vec::new());
            }
            let Document::Object(fields) = place else { unreachable!() };
            let at = fields.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                fields.push((name.clone(), null()));
                fields.len() - 1
            });
            put(&mut fields[at].1, rest, text);
        }
        PathStep::Index(index) => {
            if !matches!(place, Document::Array(_)) {
                *place = Document::Array(Vec::new());
            }
            let Document::Array(elements) = place else { unreachable!() };
            while elements.len() <= *index {
                elements.push(null());
            }
            put(&mut elements[*index], rest, text);
        }
    }
}

fn render(random: &mut StdRng, document: &Document) -> String {
    let mut out = blank(random).to_owned();
    write_document(random, document, &mut out);
    out.push_str(blank(random));
    out
}

fn blank(random: &mut StdRng) -> &'static str {
    if random.random_ratio(9, 10) { "" } else { ["\n", " ", "\t", " \r\n "].choose(random).unwrap() }
}

fn write_document(random: &mut StdRng, document: &Document, out: &mut String) {
    match document {
        Document::Text(text) => out.push_str(text),
        Document::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                out.push_str(blank(random));
                write_document(random, element, out);
            }
            out.push(']');
        }
        Document::Object(fields) => {
            let mut members: Vec<String> = Vec::new();
            for (name, field) in fields {
                // An earlier field of the same name counts for nothing.
                if random.random_ratio(1, 40) {
                    members.push(format!("{}:{}", name_text(random, name), any_text(random)));
                }
                let mut value = String::new();
                write_document(random, field, &mut value);
                let (before, behind) = (blank(random), blank(random));
                members.push(format!("{}{before}:{behind}{value}", name_text(random, name)));
            }
            if random.random_ratio(1, 10) {
                members.insert(0, format!("\"unknown\":{}", any_text(random)));
            }
            let _ = write!(out, "{{{}}}", members.join([",", ", ", " ,"].choose(random).unwrap()));
        }
    }
}

fn name_text(random: &mut StdRng, name: &str) -> String {
    match name.chars().next() {
        Some(first) if random.random_ratio(1, 30) && (first as u32) < 0x1_0000 => {
            let rest = serde_json::Value::from(&name[first.len_utf8()..]).to_string();
            format!("\"\\u{:04x}{}", first as u32, &rest[1..])
        }
        _ => serde_json::Value::from(name).to_string(),
    }
}

/// Something that is hardly a message.
fn broken(random: &mut StdRng, text: &str) -> Vec<u8> {
    let deep = |levels: usize| format!("{{\"deep\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    match random.random_range(0..12) {
        0 => Vec::new(),
        1 => text.as_bytes()[..random.random_range(0..text.len().max(1))].to_vec(),
        2 => format!("{text}}}").into_bytes(),
        3 => [text.as_bytes(), &[0xFF]].concat(),
        4 => br#"{"bad": "\ud800"}"#.to_vec(),
        5 => b"{\"bad\": \"a\x01\"}".to_vec(),
        6 => deep(200).into_bytes(),
        7 => deep(127).into_bytes(),
        8 => any_text(random).into_bytes(),
        9 => format!("[{text}]").into_bytes(),
        10 => format!("\u{feff}{text}").into_bytes(),
        _ => {
            let mut bytes = text.as_bytes().to_vec();
            let at = random.random_range(0..bytes.len().max(1));
            if let Some(byte) = bytes.get_mut(at) {
                *byte = *b"{}[]\",:0x\\\x80 ".choose(random).unwrap();
            }
            bytes
        }
    }
}
