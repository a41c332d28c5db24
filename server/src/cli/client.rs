//! Talking to a running server.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::CliError;

/// A connection to one server.
pub(crate) struct Client {
    url: String,
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    pub(crate) fn new(url: &str) -> Result<Self, CliError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // A proxy of the environment is for the outside; the server is named by its own address.
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .build()
            .map_err(|error| CliError::Usage(error.to_string()))?;
        Ok(Self { url: url.trim_end_matches('/').to_string(), http, runtime })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request and reads the whole answer as text; an error status becomes the server's own message.
    pub(crate) fn text(&self, method: Method, path: &str, body: Option<String>) -> Result<String, CliError> {
        let unreachable = |error: reqwest::Error| CliError::Unreachable {
            url: self.url.clone(),
            reason: root_cause(&error),
        };
        self.runtime.block_on(async {
            let mut request = self.http.request(method, format!("{}{path}", self.url));
            if let Some(body) = body {
                request = request.header("content-type", "application/json").body(body);
            }
            let answer = request.send().await.map_err(unreachable)?;
            let status = answer.status();
            let text = answer.text().await.map_err(unreachable)?;
            if status.is_success() {
                Ok(text)
            } else {
                Err(CliError::Answer(error_text(&text, status.as_u16())))
            }
        })
    }

    /// Sends a request and reads the answer as JSON.
    pub(crate) fn json(&self, method: Method, path: &str, body: Option<String>) -> Result<Value, CliError> {
        let text = self.text(method, path, body)?;
        serde_json::from_str(&text).map_err(|error| {
            CliError::Answer(format!("{} answered with something that is not JSON: {error}", self.url))
        })
    }
}

/// The last cause of an error is the one that says something ("connection refused").
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// The server's error document as a person reads it.
fn error_text(body: &str, status: u16) -> String {
    let document: Value = serde_json::from_str(body).unwrap_or_default();
    let error = &document["error"];
    let Some(message) = error["message"].as_str() else {
        return format!("the server answered {status}: {}", body.trim());
    };
    let mut text = message.to_string();
    if let (Some(line), Some(column)) =
        (error["position"]["line"].as_u64(), error["position"]["column"].as_u64())
    {
        text.push_str(&format!(" (line {line}, column {column})"));
    }
    if let Some(suggestion) = error["suggestion"].as_str() {
        text.push_str(&format!("; did you mean {suggestion}?"));
    }
    text
}
