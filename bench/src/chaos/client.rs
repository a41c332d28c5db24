//! The server's HTTP interface, as far as the harness uses it.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::error::{ChaosError, Result};

/// Characters of a message that tell one class of errors from another.
const CLASS_CHARS: usize = 100;
/// How much longer than its deadline a question may take before it counts as not answered.
const DEADLINE_SLACK: Duration = Duration::from_secs(5);

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
            Self::Status { status, message } => match server_error(message)["kind"].as_str() {
                Some(kind) => format!("status {status} {kind}"),
                None => format!("status {status}"),
            },
            Self::Unreadable(_) => "unreadable".to_string(),
        }
    }

    /// The kind, and the first words of the message without its numbers and names of nodes.
    pub(crate) fn class(&self) -> String {
        let (Self::Status { message: text, .. } | Self::Unreadable(text)) = self else { return self.kind() };
        let error = server_error(text);
        let words = error["message"].as_str().unwrap_or(text);
        let mut class = String::new();
        for c in words.chars().take(CLASS_CHARS) {
            match c {
                '0'..='9' if class.ends_with('#') => {}
                '0'..='9' => class.push('#'),
                _ => class.push(c),
            }
        }
        format!("{}: {class}", self.kind())
    }
}

/// The error of an answer's document, whether it is the whole of the document or a part of it.
fn server_error(text: &str) -> Value {
    let mut document: Value = serde_json::from_str(text).unwrap_or_default();
    match document.get_mut("error") {
        Some(error) => error.take(),
        None => document,
    }
}

/// Nobody listens at the address.
pub(crate) const NOT_LISTENING: &str = "not listening";

impl From<reqwest::Error> for AskError {
    fn from(error: reqwest::Error) -> Self {
        Self::Connection(match () {
            () if error.is_connect() => NOT_LISTENING,
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

    /// The same with a deadline for the server.
    pub(crate) async fn sql_within(
        &self,
        url: &str,
        sql: &str,
        deadline: Duration,
    ) -> std::result::Result<Value, AskError> {
        let body = json!({"sql": sql, "deadline_ms": deadline.as_millis() as u64});
        self.send(self.http.post(format!("{url}/sql")).timeout(deadline + DEADLINE_SLACK).json(&body)).await
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

    /// Stops consumption of a table, or lets it go on.
    pub(crate) async fn pause(
        &self,
        url: &str,
        table: &str,
        paused: bool,
    ) -> std::result::Result<Value, AskError> {
        let what = if paused { "pause" } else { "resume" };
        self.send(self.http.post(format!("{url}/tables/{table}/{what}"))).await
    }

    /// What is not ready at a node; `None` if everything is.
    pub(crate) async fn not_ready(&self, url: &str) -> Option<String> {
        let asked = self.http.get(format!("{url}/readyz")).timeout(Duration::from_secs(5)).send().await;
        match asked {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(answer.text().await.unwrap_or_default()),
            Err(error) => Some(error.to_string()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_classed_by_what_they_say() {
        let whole =
            r#"{"error":{"kind":"segment_unavailable","message":"partition 12, offset 34567: nobody"}}"#;
        let error = AskError::Status { status: 503, message: whole.into() };
        assert_eq!(error.kind(), "status 503 segment_unavailable");
        assert_eq!(error.class(), "status 503 segment_unavailable: partition #, offset #: nobody");
        let part =
            AskError::Status { status: 200, message: r#"{"kind":"deadline","message":"late"}"#.into() };
        assert_eq!(part.class(), "status 200 deadline: late");
        let other = AskError::Status { status: 404, message: "no such page".into() };
        assert_eq!(other.class(), "status 404: no such page");
        assert_eq!(AskError::Connection("timeout").class(), "timeout");
    }
}
