//! From a topic to a table before there is one: what the HTTP side needs from whoever reads the topics.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use serde_json::Value;

use crate::admin::{AdminError, Applied};

/// What `apply` would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DryRun {
    /// What it would answer.
    pub applied: Applied,
    /// What of the present spec would change, a line each; empty for a new table.
    pub changes: Vec<String>,
}

/// Which topic to look at.
#[derive(Clone, Debug)]
pub struct InferRequest {
    /// Bootstrap servers, `host:port`.
    pub brokers: Vec<String>,
    /// Topic.
    pub topic: String,
    /// librdkafka properties.
    pub properties: BTreeMap<String, Value>,
    /// How many of the newest messages to look at; `None` for the default.
    pub messages_max: Option<usize>,
}

/// A spec guessed from messages.
#[derive(Clone, Debug)]
pub struct Inferred {
    /// Commented YAML.
    pub spec: String,
    /// Name, type and path of each column.
    pub columns: Vec<(String, String, String)>,
    /// How many messages were looked at.
    pub messages_read: usize,
    /// How many of them are no JSON objects.
    pub undecodable: usize,
}

/// What a spec makes of the newest messages of its topic.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The spec's columns.
    pub schema: SchemaRef,
    /// Rows of that schema.
    pub batches: Vec<RecordBatch>,
    /// Messages that do not fit: partition, offset and reason.
    pub dead_letters: Vec<(i32, i64, String)>,
    /// How many messages were looked at.
    pub messages_read: usize,
}

/// Why a look at a topic failed.
#[derive(Debug, thiserror::Error)]
pub enum WizardError {
    /// The spec or the request is wrong, or the store does not answer.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Kafka does not answer, or not in time.
    #[error(
        "Kafka at {brokers} does not answer: {reason}; check the addresses, and whether the brokers want properties such as \
         security.protocol"
    )]
    Unreachable {
        /// The brokers that were asked.
        brokers: String,
        /// What Kafka's client said.
        reason: String,
    },
    /// The topic is not there.
    #[error("topic {topic} does not exist on these brokers")]
    NoSuchTopic {
        /// The topic.
        topic: String,
        /// The topics that there are.
        known: Vec<String>,
    },
    /// The topic has no messages.
    #[error("topic {topic} has no messages to look at; produce some first, or write the spec by hand")]
    EmptyTopic {
        /// The topic.
        topic: String,
    },
    /// The messages are not what this engine reads.
    #[error(
        "none of the {messages} newest messages of topic {topic} is a JSON object; only JSON is decoded as yet"
    )]
    Undecodable {
        /// The topic.
        topic: String,
        /// How many were looked at.
        messages: usize,
    },
    /// Too many look at topics at once.
    #[error("as many looks at topics as are allowed at once are under way; try again in a few seconds")]
    Busy,
}

/// Looks at topics and specs without changing anything.
#[async_trait]
pub trait TableWizard: Send + Sync + 'static {
    /// What `apply` with this spec would do.
    async fn dry_run(&self, name: &str, spec_text: &str) -> Result<DryRun, AdminError>;
    /// Guesses a spec from the newest messages of a topic.
    async fn infer(&self, request: InferRequest) -> Result<Inferred, WizardError>;
    /// Decodes the newest messages of a spec's topic.
    async fn preview(&self, spec_text: &str, rows_max: Option<usize>) -> Result<Preview, WizardError>;
}
