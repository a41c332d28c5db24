//! `headwater table infer`: reads messages of a topic and prints a spec for them.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use clap::Args;
use headwater_ingest::infer::infer_spec;
use headwater_ingest::kafka::topic::TopicClient;
use headwater_segment::spec::{OnGap, PropertyValue, StartPosition, StreamSpec};

use super::CliError;

/// Arguments of `headwater table infer`.
#[derive(Debug, Args)]
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

pub(crate) fn run(arguments: &InferArguments) -> Result<(), CliError> {
    let stream = StreamSpec {
        brokers: arguments.brokers.split(',').map(|broker| broker.trim().to_string()).collect(),
        topic: arguments.topic.clone(),
        start: StartPosition::Earliest,
        on_gap: OnGap::Fail,
        properties: properties(&arguments.property)?,
    };
    let failed = |error: headwater_ingest::IngestError| CliError::Answer(error.to_string());
    let client = TopicClient::connect(&stream).map_err(failed)?;
    let samples = client
        .sample(&stream, arguments.messages.clamp(1, 100_000), Duration::from_secs(15))
        .map_err(failed)?;
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
    write!(std::io::stdout(), "{}", inferred.text)?;
    Ok(())
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
