//! The server's HTTP interface, as far as the harness uses it.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::error::{ChaosError, Result};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AskError {
    /// No connection, or it broke off: the process was killed, or does not listen yet.
    Connection(&'static str),
    /// The server answered with an error.
    Status {
        /// HTTP status.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// The server answered with something else than was asked for.
    Unreadable(String),
}

impl AskError {
    /// What it is counted under.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Connection(kind) => (*kind).to_string(),
            Self::Status { status, .. } => format!("status {status}"),
            Self::Unreadable(_) => "unreadable".to_string(),
        }
    }
}

impl From<reqwest::Error> for AskError {
    fn from(error: reqwest::Error) -> Self {
        Self::Connection(match () {
            () if error.is_connect() => "not listening",
            () if error.is_timeout() => "timeout",
            () => "connection broke off",
        })
    }
}

/// A client for any number of processes.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
}

impl Client {
    pub(crate) fn new() -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build();
        Ok(Self { http: http.map_err(ChaosError::at("HTTP client"))? })
    }

    pub(crate) async fn healthy(&self, url: &str) -> bool {
        let asked = self.http.get(format!("{url}/healthz")).timeout(Duration::from_secs(5)).send().await;
        asked.is_ok_and(|answer| answer.status().is_success())
    }

    /// The JSON document of a query.
    pub(crate) async fn sql(&self, url: &str, sql: &str) -> std::result::Result<Value, AskError> {
        self.send(self.http.post(format!("{url}/sql")).json(&json!({"sql": sql}))).await
    }

    /// The same over the sealed part of the tables only.
    pub(crate) async fn sealed_sql(&self, url: &str, sql: &str) -> std::result::Result<Value, AskError> {
        self.send(self.http.post(format!("{url}/sql")).json(&json!({"sql": sql, "sealed_only": true}))).await
    }

    /// Creates or changes a table.
    pub(crate) async fn apply(
        &self,
        url: &str,
        table: &str,
        spec: &Value,
    ) -> std::result::Result<Value, AskError> {
        self.send(self.http.put(format!("{url}/tables/{table}")).body(spec.to_string())).await
    }

    /// Drops a table and its objects.
    pub(crate) async fn purge(&self, url: &str, table: &str) -> std::result::Result<Value, AskError> {
        self.send(self.http.request(Method::DELETE, format!("{url}/tables/{table}?purge=true"))).await
    }

    /// Seals all partitions of a table; answers when they are committed.
    pub(crate) async fn seal(&self, url: &str, table: &str) -> std::result::Result<Value, AskError> {
        self.send(self.http.post(format!("{url}/tables/{table}/seal"))).await
    }

    async fn send(&self, request: RequestBuilder) -> std::result::Result<Value, AskError> {
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        if status >= 300 {
            return Err(AskError::Status { status, message: text });
        }
        let document: Value = serde_json::from_str(&text).map_err(|error| {
            AskError::Unreadable(format!("{error}: {}", text.chars().take(300).collect::<String>()))
        })?;
        match document.get("error") {
            Some(error) => Err(AskError::Status { status, message: error.to_string() }),
            None => Ok(document),
        }
    }
}
