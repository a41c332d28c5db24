//! From a topic to a table before there is one: infers a spec, previews its rows, says what a change would do.
//!
//! **Invariants:** nothing is written, neither to Kafka nor to the store; a look at a topic is bounded in messages, bytes,
//! partitions and time, and only a few are under way at once, since each holds a thread and a connection.

use std::time::Duration;

use async_trait::async_trait;
use headwater_broker::admin::{AdminError, Applied};
use headwater_broker::wizard::{DryRun, InferRequest, Inferred, Preview, TableWizard, WizardError};
use headwater_ingest::IngestError;
use headwater_ingest::infer::infer_spec;
use headwater_ingest::kafka::topic::{SampleLimits, TopicClient};
use headwater_ingest::preview::{SampledMessage, preview};
use headwater_ingest::table::check_stream;
use headwater_segment::log::TableLog;
use headwater_segment::schema::TableSchema;
use headwater_segment::spec::{StreamSpec, TableSpec, parse_spec};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::admin::{from_ingest, from_segment, named_spec};
use crate::node_tables::NodeTables;

/// Longest time of a look at a topic, with everything.
const LOOK_WAIT: Duration = Duration::from_secs(10);
/// How long one question to Kafka may take.
const ASK_WAIT: Duration = Duration::from_secs(4);
/// How long messages are read.
const READ_WAIT: Duration = Duration::from_secs(4);
const MESSAGES_MAX: usize = 10_000;
const MESSAGES: usize = 1_000;
const ROWS_MAX: usize = 1_000;
const ROWS: usize = 100;
const BYTES_MAX: usize = 16 << 20;
/// Partitions that are looked at: each one of a preview has memory for rows of its own.
const PARTITIONS_MAX: usize = 16;
const CHANGES_MAX: usize = 200;
/// Properties that say how much librdkafka holds, or takes in one answer. A look goes without the spec's.
const MEMORY_PROPERTIES: [&str; 6] = [
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "max.partition.fetch.bytes",
    "message.copy.max.bytes",
    "queued.max.messages.kbytes",
    "receive.message.max.bytes",
];

static LOOKS: Semaphore = Semaphore::const_new(4);

#[async_trait]
impl TableWizard for NodeTables {
    async fn dry_run(&self, name: &str, spec_text: &str) -> Result<DryRun, AdminError> {
        let spec = named_spec(name, spec_text)?;
        check_stream(&spec).map_err(from_ingest)?;
        let present =
            TableLog::open(self.store.clone(), self.table_root(name)).await.map_err(from_segment)?;
        let Some(present) = present.map(|log| log.snapshot()) else {
            return Ok(DryRun { applied: Applied::Created, changes: Vec::new() });
        };
        if *present.spec == spec {
            return Ok(DryRun { applied: Applied::Unchanged, changes: Vec::new() });
        }
        present.check_spec(&spec).map_err(from_segment)?;
        Ok(DryRun { applied: Applied::Updated, changes: changes_of(&present.spec, &spec) })
    }

    async fn infer(&self, request: InferRequest) -> Result<Inferred, WizardError> {
        let stream = stream_of(&request)?;
        let count = request.messages_max.unwrap_or(MESSAGES).clamp(1, MESSAGES_MAX);
        let messages = look(stream.clone(), count).await?;
        let samples: Vec<Vec<u8>> = messages.into_iter().filter_map(|message| message.payload).collect();
        let topic = stream.topic.clone();
        if samples.is_empty() {
            return Err(WizardError::EmptyTopic { topic });
        }
        let inferred = infer_spec(&topic, &stream.brokers.join(","), &topic, &samples);
        if inferred.undecodable == samples.len() {
            return Err(WizardError::Undecodable { topic, messages: samples.len() });
        }
        let text = with_properties(inferred.text, &request);
        let spec = parse_spec(&text).map_err(from_segment)?;
        let columns = spec
            .columns
            .iter()
            .map(|column| (column.name.clone(), column.data_type.to_string(), column.path.to_string()))
            .collect();
        Ok(Inferred { spec: text, columns, messages_read: samples.len(), undecodable: inferred.undecodable })
    }

    async fn preview(&self, spec_text: &str, rows_max: Option<usize>) -> Result<Preview, WizardError> {
        let spec = parse_spec(spec_text).map_err(from_segment)?;
        let messages = look(spec.stream.clone(), rows_max.unwrap_or(ROWS).clamp(1, ROWS_MAX)).await?;
        if messages.is_empty() {
            return Err(WizardError::EmptyTopic { topic: spec.stream.topic });
        }
        // Decoding 16 MiB is not for a thread that serves others.
        let decoded = tokio::task::spawn_blocking(move || decoded(&spec, &messages)).await;
        decoded.map_err(|error| AdminError::Unavailable(format!("the preview ended: {error}")))?
    }
}

fn decoded(spec: &TableSpec, messages: &[SampledMessage]) -> Result<Preview, WizardError> {
    let made = preview(spec, messages);
    let columns: Vec<usize> = (0..spec.columns.len()).collect();
    let unusable =
        |error: &dyn std::fmt::Display| AdminError::Unavailable(format!("the preview's rows: {error}"));
    let schema = TableSchema::new(spec).arrow().project(&columns).map_err(|error| unusable(&error))?;
    let batches =
        made.rows.into_iter().flatten().collect::<Result<Vec<_>, _>>().map_err(|error| unusable(&error))?;
    let dead_letters = made
        .dead_letters
        .into_iter()
        .map(|letter| (letter.partition, letter.offset, letter.reason))
        .collect();
    Ok(Preview { schema: schema.into(), batches, dead_letters, messages_read: messages.len() })
}

/// The stream of a request, checked as that of a spec is.
fn stream_of(request: &InferRequest) -> Result<StreamSpec, AdminError> {
    let spec = json!({
        "name": "t",
        "columns": [{"name": "message", "type": "JSON", "path": "$"}],
        "stream": {"brokers": request.brokers, "topic": request.topic, "properties": request.properties},
    });
    Ok(parse_spec(&spec.to_string()).map_err(from_segment)?.stream)
}

/// The inferred text with the properties that its topic was read with. JSON is YAML.
fn with_properties(text: String, request: &InferRequest) -> String {
    if request.properties.is_empty() {
        return text;
    }
    let properties = format!("\nstream:\n  properties: {}\n", json!(request.properties));
    text.replacen("\nstream:\n", &properties, 1)
}

/// The newest messages of a topic.
async fn look(stream: StreamSpec, messages_max: usize) -> Result<Vec<SampledMessage>, WizardError> {
    let permit = LOOKS.try_acquire().map_err(|_| WizardError::Busy)?;
    let unreachable = |stream: &StreamSpec, reason: String| WizardError::Unreachable {
        brokers: stream.brokers.join(", "),
        reason,
    };
    let asked = bounded(stream.clone());
    let looking = tokio::task::spawn_blocking(move || {
        // Held by the thread: it may go on for a moment after its asker was told that it took too long.
        let _permit = permit;
        read(&asked, messages_max)
    });
    match tokio::time::timeout(LOOK_WAIT, looking).await {
        Ok(Ok(Ok(messages))) => Ok(messages),
        Ok(Ok(Err(Failure::NoSuchTopic(known)))) => {
            Err(WizardError::NoSuchTopic { topic: stream.topic, known })
        }
        Ok(Ok(Err(Failure::Ingest(IngestError::Kafka { reason, .. })))) => Err(unreachable(&stream, reason)),
        Ok(Ok(Err(Failure::Ingest(error)))) => Err(from_ingest(error).into()),
        Ok(Err(error)) => {
            Err(AdminError::Unavailable(format!("the look at the topic ended: {error}")).into())
        }
        Err(_) => Err(unreachable(&stream, format!("no answer within {} s", LOOK_WAIT.as_secs()))),
    }
}

/// The stream as a look reads it: the client who sent it does not say how much memory that takes.
fn bounded(mut stream: StreamSpec) -> StreamSpec {
    stream.properties.retain(|name, _| !MEMORY_PROPERTIES.contains(&name.as_str()));
    stream
}

enum Failure {
    NoSuchTopic(Vec<String>),
    Ingest(IngestError),
}

/// Blocks.
fn read(stream: &StreamSpec, messages_max: usize) -> Result<Vec<SampledMessage>, Failure> {
    let client = TopicClient::connect_asking(stream, ASK_WAIT).map_err(Failure::Ingest)?;
    let limits = SampleLimits {
        messages_max,
        bytes_max: BYTES_MAX,
        partitions_max: PARTITIONS_MAX,
        within: READ_WAIT,
    };
    client.newest(stream, limits).map_err(|error| match error {
        // Without the list of topics the error is still true.
        IngestError::NoSuchTopic(_) => Failure::NoSuchTopic(client.topic_names().unwrap_or_default()),
        error => Failure::Ingest(error),
    })
}

/// What differs between two specs, a line each: `retention: 7 days instead of nothing`.
fn changes_of(before: &TableSpec, after: &TableSpec) -> Vec<String> {
    let json_of = |spec: &TableSpec| -> Value { serde_json::from_str(&spec.to_json()).unwrap_or_default() };
    let mut changes = Vec::new();
    compare("", &json_of(before), &json_of(after), &mut changes);
    if changes.len() > CHANGES_MAX {
        let left = changes.len() - CHANGES_MAX;
        changes.truncate(CHANGES_MAX);
        changes.push(format!("and {left} more"));
    }
    changes
}

fn compare(path: &str, before: &Value, after: &Value, changes: &mut Vec<String>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Value::Object(old), Value::Object(new)) => {
            let inside = |key: &String| if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                let part = |of: &serde_json::Map<String, Value>| of.get(key).cloned().unwrap_or_default();
                compare(&inside(key), &part(old), &part(new), changes);
            }
        }
        (Value::Array(old), Value::Array(new)) if path == "columns" => {
            let named =
                |list: &[Value], name: &Value| list.iter().find(|column| column["name"] == *name).cloned();
            for column in old {
                let place = format!("column {}", column["name"].as_str().unwrap_or_default());
                compare(&place, column, &named(new, &column["name"]).unwrap_or_default(), changes);
            }
            for column in new.iter().filter(|column| named(old, &column["name"]).is_none()) {
                changes
                    .push(format!("column {}: new, {column}", column["name"].as_str().unwrap_or_default()));
            }
        }
        (_, Value::Null) => changes.push(format!("{path}: removed, it was {before}")),
        (Value::Null, _) => changes.push(format!("{path}: {after}, which is new")),
        _ => changes.push(format!("{path}: {after} instead of {before}")),
    }
}

#[cfg(test)]
mod tests {
    use headwater_segment::spec::PropertyValue;

    use super::*;

    fn spec(columns: &str, rest: &str) -> TableSpec {
        let text = format!("name: t\ncolumns: [{columns}]\nstream: {{brokers: ['a:1'], topic: t}}\n{rest}");
        parse_spec(&text).unwrap()
    }

    #[test]
    fn changes_name_what_differs() {
        let before = spec("{name: a, type: LONG}, {name: b, type: STRING}", "retention: 7d\n");
        let after = spec("{name: b, type: JSON}, {name: c, type: LONG}", "seal: {rows_max: 1000}\n");
        let changes = changes_of(&before, &after);
        let starts = ["column a: removed", "column b.type: \"JSON\" instead of \"STRING\"", "column c: new"];
        for start in starts.into_iter().chain(["retention: removed", "seal.rows_max: 1000 instead of"]) {
            assert!(changes.iter().any(|change| change.starts_with(start)), "{start}: {changes:?}");
        }
        assert_eq!(changes.len(), 5, "{changes:?}");
        assert!(changes_of(&before, &before).is_empty());
    }

    #[test]
    fn a_look_has_its_own_bounds_on_memory() {
        let mut spec = spec("{name: a, type: LONG}", "");
        let value = |text: &str| PropertyValue::Literal(text.into());
        for name in MEMORY_PROPERTIES {
            spec.stream.properties.insert(name.into(), value("2000000000"));
        }
        spec.stream.properties.insert("client.rack".into(), value("a"));
        let left: Vec<String> = bounded(spec.stream).properties.into_keys().collect();
        assert_eq!(left, ["client.rack"]);
    }

    #[test]
    fn the_stream_of_a_request_is_checked_as_a_specs_is() {
        let mut request = InferRequest {
            brokers: vec!["a:1".into()],
            topic: "t".into(),
            properties: [("security.protocol".to_string(), json!("SSL"))].into(),
            messages_max: None,
        };
        assert_eq!(stream_of(&request).unwrap().properties.len(), 1);
        let text = infer_spec("t", "a:1", "t", &[br#"{"n": 1}"#.to_vec()]).text;
        let written = parse_spec(&with_properties(text, &request)).unwrap();
        assert_eq!(written.stream.properties, stream_of(&request).unwrap().properties);
        request.brokers.clear();
        let Err(AdminError::Invalid { faults, .. }) = stream_of(&request) else { panic!("no brokers") };
        assert!(faults.iter().any(|fault| fault.path.starts_with("stream.brokers")), "{faults:?}");
    }
}
