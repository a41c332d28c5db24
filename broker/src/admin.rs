//! What the HTTP side needs from whoever runs the tables.

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::wizard::TableWizard;

/// Why a management call failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The spec or the request is wrong; `faults` lists every fault with its path.
    #[error("{message}")]
    Invalid {
        /// Summary.
        message: String,
        /// Each fault as `{path, message}`.
        faults: Vec<headwater_segment::spec::SpecFault>,
    },
    /// No such table or partition.
    #[error("{0}")]
    NotFound(String),
    /// The table's state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// Kafka or the object store could not be reached.
    #[error("{0}")]
    Unavailable(String),
}

/// What `apply` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// The table is new.
    Created,
    /// The table existed and its spec changed.
    Updated,
    /// The table existed with this very spec.
    Unchanged,
}

/// Table management, implemented by the server.
#[async_trait]
pub trait TableAdmin: TableWizard {
    /// Creates or updates the table `name` from a spec in YAML or JSON.
    async fn apply(&self, name: &str, spec_text: &str) -> Result<Applied, AdminError>;
    /// Stops consuming and removes the table; with `purge` its objects too.
    async fn drop_table(&self, name: &str, purge: bool) -> Result<(), AdminError>;
    /// Stops consuming; `partition` or all.
    async fn pause(&self, name: &str, partition: Option<i32>) -> Result<(), AdminError>;
    /// Goes on consuming.
    async fn resume(&self, name: &str, partition: Option<i32>) -> Result<(), AdminError>;
    /// Seals what is open now and waits for the commit. Answers with the segments committed.
    async fn seal(&self, name: &str, partition: Option<i32>) -> Result<Vec<Value>, AdminError>;
    /// The table's spec, schema and state as JSON.
    async fn describe(&self, name: &str) -> Result<Value, AdminError>;
    /// Ready to serve: every table open and its consumer connected. The error says what is missing.
    async fn ready(&self) -> Result<(), String>;
}
