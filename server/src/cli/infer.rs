//! `headwater table infer`: reads messages of a topic and prints a spec for them.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use headwater_ingest::IngestError;
use headwater_ingest::infer::infer_spec;
use headwater_ingest::kafka::topic::TopicClient;
use headwater_segment::spec::{OnGap, PropertyValue, StartPosition, StreamSpec};
use serde_json::json;

use super::CliError;
use super::progress::while_blocking;
use super::screen::Screen;

const EXAMPLES: &str = "\
Examples:
  headwater table infer --brokers localhost:9092 --topic orders > orders.yaml
  headwater table infer --brokers broker:9093 --topic orders --property security.protocol=SASL_SSL \\
    --property sasl.mechanism=PLAIN --property sasl.username=me --property sasl.password=env:KAFKA_PASSWORD";
/// So long messages are waited for.
const SAMPLE_WAIT: Duration = Duration::from_secs(15);

/// Arguments of `headwater table infer`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InferArguments {
    /// Bootstrap servers, host:port, separated by commas.
    #[arg(long, value_name = "HOST:PORT")]
    brokers: String,
    /// Topic.
    #[arg(long)]
    topic: String,
    /// Name of the table. Default: the topic's name, made fit.
    #[arg(long)]
    table: Option<String>,
    /// How many of the newest messages to look at.
    #[arg(long, default_value_t = 1000)]
    messages: usize,
    /// librdkafka property, as in security.protocol=SASL_SSL; may be repeated. A value env:NAME or file:PATH is read
    /// from there.
    #[arg(long, value_name = "KEY=VALUE")]
    property: Vec<String>,
}

pub(crate) fn run(arguments: &InferArguments, screen: Screen) -> Result<(), CliError> {
    let stream = stream_of(&StreamArguments {
        brokers: &arguments.brokers,
        topic: arguments.topic.clone(),
        properties: &arguments.property,
    })?;
    let label = format!("reading messages of topic {}", arguments.topic);
    let count = arguments.messages.clamp(1, 100_000);
    let sampled =
        while_blocking(&label, || TopicClient::connect(&stream)?.sample(&stream, count, SAMPLE_WAIT));
    let samples = sampled
        .map_err(|_| CliError::Answer("reading messages ended in a panic; please report it".into()))?
        .map_err(|error| failed(error, arguments))?;
    if samples.is_empty() {
        return Err(CliError::Answer(format!(
            "topic {} has no messages to look at; produce some first, or write the spec by hand",
            arguments.topic
        )));
    }
    let table = arguments.table.clone().unwrap_or_else(|| table_name(&arguments.topic));
    let inferred = infer_spec(&table, &arguments.brokers, &arguments.topic, &samples);
    if inferred.undecodable == samples.len() {
        return Err(CliError::Answer(format!("none of {} messages is a JSON object", samples.len())));
    }
    let document = json!({
        "table": table,
        "spec": inferred.text,
        "messages": samples.len(),
        "undecodable": inferred.undecodable,
    });
    screen.answer(&document, |out| write!(out, "{}", inferred.text))
}

/// A stream as flags name it.
pub(crate) struct StreamArguments<'a> {
    pub(crate) brokers: &'a str,
    pub(crate) topic: String,
    pub(crate) properties: &'a [String],
}

/// A stream that is read from the beginning.
pub(crate) fn stream_of(arguments: &StreamArguments<'_>) -> Result<StreamSpec, CliError> {
    Ok(StreamSpec {
        brokers: arguments.brokers.split(',').map(|broker| broker.trim().to_string()).collect(),
        topic: arguments.topic.clone(),
        start: StartPosition::Earliest,
        on_gap: OnGap::Fail,
        properties: properties(arguments.properties)?,
    })
}

fn failed(error: IngestError, arguments: &InferArguments) -> CliError {
    match error {
        IngestError::Kafka { .. } => CliError::NoKafka(format!(
            "{error}; does Kafka listen on {}, with these properties?",
            arguments.brokers
        )),
        IngestError::NoSuchTopic(_) | IngestError::TopicRefused { .. } => {
            CliError::Refused { message: error.to_string(), faults: json!([]) }
        }
        // A property that does not exist, or a secret that is not there.
        IngestError::Config { .. } => CliError::Usage(error.to_string()),
        error => CliError::Answer(error.to_string()),
    }
}

fn properties(settings: &[String]) -> Result<BTreeMap<String, PropertyValue>, CliError> {
    let parse = |setting: &String| {
        let (key, value) = setting
            .split_once('=')
            .ok_or_else(|| CliError::Usage(format!("--property {setting}: write it as key=value")))?;
        let value = match (value.strip_prefix("env:"), value.strip_prefix("file:")) {
            (Some(env), _) => PropertyValue::Env { env: env.to_string() },
            (_, Some(file)) => PropertyValue::File { file: file.to_string() },
            _ => PropertyValue::Literal(value.to_string()),
        };
        Ok((key.to_string(), value))
    };
    settings.iter().map(parse).collect()
}

/// A topic's name with everything replaced that a table's name cannot have.
fn table_name(topic: &str) -> String {
    let fit = |character: char| {
        if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '_' }
    };
    let name: String = topic.chars().map(fit).collect();
    if name.starts_with(|character: char| character.is_ascii_digit()) { format!("t_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;

    #[test]
    fn a_property_that_does_not_exist_is_a_wrong_argument() {
        let arguments = InferArguments {
            brokers: "127.0.0.1:1".into(),
            topic: "rides".into(),
            table: None,
            messages: 1,
            property: vec!["securiy.protocol=SSL".into()],
        };
        let error = run(&arguments, Screen::plain()).unwrap_err();
        assert!(error.exit() == Exit::Usage && error.to_string().contains("securiy.protocol"), "{error}");
        let refused = IngestError::TopicRefused { topic: "bad/name".into(), reason: "Invalid topic".into() };
        let error = failed(refused, &arguments);
        assert!(error.exit() == Exit::Refused && !error.to_string().contains("listen"), "{error}");
    }
}
