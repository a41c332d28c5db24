//! Reads the `stream` section of a spec: brokers, topic, first start, gaps and librdkafka properties.

use std::collections::BTreeMap;

use serde_json::Value;

use super::faults::{Faults, Section, kind, quoted, suggestion, text};
use super::names::check_topic;
use super::property::{check_property, check_secrecy};
use super::units::{check_instant, parse_instant};
use super::{OnGap, PropertyValue, StartPosition, StreamSpec};

const STREAM_KEYS: [&str; 5] = ["brokers", "topic", "start", "on_gap", "properties"];

/// Reads the section at `stream`.
pub(super) fn read_stream(value: &Value, faults: &mut Faults) -> Option<StreamSpec> {
    let section = faults.section("stream", value, &STREAM_KEYS)?;
    let brokers = section.present("brokers", faults).and_then(|value| read_brokers(value, faults));
    let topic = section.required("topic", faults, read_topic);
    let start =
        section.get("start").map_or(Some(StartPosition::default()), |value| read_start(value, faults));
    let on_gap = section.optional("on_gap", OnGap::default(), faults, |value| match text(value)? {
        "fail" => Ok(OnGap::Fail),
        "skip" => Ok(OnGap::Skip),
        other => Err(format!(
            "{} is not an answer to a gap; {}",
            quoted(other),
            suggestion(other, &["fail", "skip"])
        )),
    });
    let properties =
        section.get("properties").map_or(Some(BTreeMap::new()), |value| read_properties(value, faults));
    Some(StreamSpec {
        brokers: brokers?,
        topic: topic?,
        start: start?,
        on_gap: on_gap?,
        properties: properties?,
    })
}

/// Reads a topic's name.
pub(super) fn read_topic(value: &Value) -> Result<String, String> {
    let topic = text(value)?;
    check_topic(topic).map(|()| topic.to_string())
}

fn read_brokers(value: &Value, faults: &mut Faults) -> Option<Vec<String>> {
    const PATH: &str = "stream.brokers";
    let read: Vec<Option<String>> = match value {
        Value::String(text) => {
            text.split(',').map(|broker| faults.note(PATH, read_broker(broker.trim()))).collect()
        }
        Value::Array(items) => {
            let read =
                |(index, item)| faults.note(format!("{PATH}[{index}]"), text(item).and_then(read_broker));
            items.iter().enumerate().map(read).collect()
        }
        other => {
            faults.add(PATH, format!("must be a list of host:port, not {}", kind(other)));
            return None;
        }
    };
    if read.is_empty() {
        faults.add(PATH, "must name at least one broker, host:port");
        return None;
    }
    read.into_iter().collect()
}

fn read_broker(broker: &str) -> Result<String, String> {
    if broker.contains("://") {
        return Err(format!(
            "{}: leave the scheme away and set `security.protocol` in the properties",
            quoted(broker)
        ));
    }
    let host_fits = |host: &str| {
        // A host with colons is an IPv6 address and stands in brackets.
        let name = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        !name.is_empty()
            && (!host.contains(':') || name.len() < host.len())
            && !name.contains(|c: char| c.is_whitespace() || c.is_control() || ",/[]".contains(c))
    };
    match broker.rsplit_once(':') {
        Some((host, port)) if host_fits(host) && port.parse::<u16>().is_ok_and(|port| port > 0) => {
            Ok(broker.to_string())
        }
        _ => Err(format!("{} is not host:port, such as kafka-1:9092", quoted(broker))),
    }
}

fn read_start(value: &Value, faults: &mut Faults) -> Option<StartPosition> {
    const PATH: &str = "stream.start";
    match value {
        Value::String(text) if text == "earliest" => Some(StartPosition::Earliest),
        Value::String(text) if text == "latest" => Some(StartPosition::Latest),
        Value::Object(_) => {
            let section = faults.section(PATH, value, &["timestamp"])?;
            section.required("timestamp", faults, read_instant).map(StartPosition::Timestamp)
        }
        other => {
            let expected = "must be earliest, latest or {timestamp: 2026-01-01T00:00:00Z}";
            faults.add(PATH, format!("{expected}, not {}", kind(other)));
            None
        }
    }
}

fn read_instant(value: &Value) -> Result<i64, String> {
    match value {
        Value::String(text) => parse_instant(text),
        Value::Number(number) => number
            .as_i64()
            .ok_or_else(|| format!("{number} is not a whole number of milliseconds"))
            .and_then(check_instant),
        other => Err(format!("must be an instant like 2026-01-01T00:00:00Z, not {}", kind(other))),
    }
}

fn read_properties(value: &Value, faults: &mut Faults) -> Option<BTreeMap<String, PropertyValue>> {
    const PATH: &str = "stream.properties";
    let Value::Object(fields) = value else {
        faults.add(PATH, format!("must be a mapping of librdkafka properties, not {}", kind(value)));
        return None;
    };
    let section = Section::new(PATH, fields);
    let mut properties = Some(BTreeMap::new());
    for (name, value) in fields {
        let path = section.path_of(name);
        let allowed = faults.note(path.as_str(), check_property(name));
        let read = read_property(&path, value, faults)
            .and_then(|read| faults.note(path.as_str(), check_secrecy(name, &read)).map(|()| read));
        match (allowed, read) {
            (Some(()), Some(read)) => {
                properties = properties.map(|mut properties| {
                    properties.insert(name.clone(), read);
                    properties
                });
            }
            _ => properties = None,
        }
    }
    properties
}

fn read_property(path: &str, value: &Value, faults: &mut Faults) -> Option<PropertyValue> {
    match value {
        Value::String(text) => Some(PropertyValue::Literal(text.clone())),
        Value::Bool(flag) => Some(PropertyValue::Literal(flag.to_string())),
        Value::Number(number) if !number.is_f64() => Some(PropertyValue::Literal(number.to_string())),
        Value::Object(_) => {
            let section = faults.section(path, value, &["env", "file"])?;
            let mut name = |key| {
                let name = section.optional(key, None, faults, |value| match text(value)? {
                    "" => Err("must not be empty".to_string()),
                    name => Ok(Some(name.to_string())),
                });
                name.flatten()
            };
            match (name("env"), name("file")) {
                (Some(env), None) => Some(PropertyValue::Env { env }),
                (None, Some(file)) => Some(PropertyValue::File { file }),
                _ => {
                    faults.add(path, "must be {env: VARIABLE} or {file: /path}, one of the two");
                    None
                }
            }
        }
        other => {
            let expected = "must be text, a whole number, true, false, {env: VARIABLE} or {file: /path}";
            faults.add(path, format!("{expected}, not {}", kind(other)));
            None
        }
    }
}
