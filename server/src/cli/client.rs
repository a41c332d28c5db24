//! Talking to a running server.

use std::future::Future;
use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::Value;

use super::error::ServerError;
use super::progress::{EVERY, Progress};
use super::{CliError, ServerArguments, interrupt, password};

/// A connection to one server.
pub(crate) struct Client {
    url: String,
    http: reqwest::Client,
    shows: Shows,
    runtime: tokio::runtime::Runtime,
}

/// What the server is shown of who asks.
enum Shows {
    Nothing,
    Password { user: String, password: String },
    Token(String),
}

impl Shows {
    fn of(server: &ServerArguments) -> Result<Self, CliError> {
        let Some(user) = server.user.clone() else {
            return Ok(server.token.clone().map_or(Self::Nothing, Self::Token));
        };
        let password = match &server.password_file {
            Some(file) => password::from_file(file)?,
            None => password::ask(&format!("Password of {user}: "))?,
        };
        Ok(Self::Password { user, password })
    }
}

impl Client {
    pub(crate) fn new(server: &ServerArguments) -> Result<Self, CliError> {
        let url = &server.url;
        let parsed = url::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        if parsed.is_none_or(|url| url.host_str().is_none()) {
            let message = format!("--url {url}: write it as http://HOST:PORT, such as http://127.0.0.1:8099");
            return Err(CliError::Usage(message));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // A proxy of the environment is for the outside; the server is named by its own address.
        let mut http = reqwest::Client::builder().no_proxy().connect_timeout(Duration::from_secs(5));
        if let Some(file) = &server.ca {
            let fault = |reason: String| CliError::Usage(format!("--ca {}: {reason}", file.display()));
            let pem = std::fs::read(file).map_err(|error| fault(error.to_string()))?;
            let certificates =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| fault(error.to_string()))?;
            if certificates.is_empty() {
                return Err(fault("holds no certificate in PEM".into()));
            }
            http = certificates.into_iter().fold(http, reqwest::ClientBuilder::add_root_certificate);
        }
        let http = http.build().map_err(|error| CliError::Usage(error.to_string()))?;
        Ok(Self {
            url: server.url.trim_end_matches('/').to_string(),
            http,
            shows: Shows::of(server)?,
            runtime,
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request and reads the answer as JSON.
    pub(crate) fn json(&self, method: Method, path: &str, body: Option<String>) -> Result<Value, CliError> {
        self.wait(self.fetch_json(method, path, body))
    }

    /// Waits for work at the server, in the shell until Ctrl-C.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                done = work => done,
                () = interrupt::of_statement() => Err(CliError::Interrupted),
            }
        })
    }

    /// `work`, while `how_far` is asked now and then what is done, and of how much.
    pub(crate) async fn showing<T>(
        &self,
        mut progress: Progress,
        work: impl Future<Output = T>,
        how_far: impl AsyncFn() -> Option<(u64, Option<u64>)>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            let turn = async {
                tokio::time::sleep(EVERY).await;
                how_far().await.unwrap_or((0, None))
            };
            tokio::select! {
                biased;
                done = work.as_mut() => return done,
                (done, total) = turn => progress.set(done, total),
            }
        }
    }

    /// Sends a request and reads the answer as JSON.
    pub(crate) async fn fetch_json(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Value, CliError> {
        let answer = self.send(method, path, body).await?;
        let text = answer.text().await.map_err(|error| self.broke_off(&error))?;
        serde_json::from_str(&text).map_err(|error| {
            CliError::Answer(format!(
                "{} answered with something that is not JSON ({error}); is it a headwater?",
                self.url
            ))
        })
    }

    /// Sends a request; an error status becomes the server's own message.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Response, CliError> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        request = match &self.shows {
            Shows::Nothing => request,
            Shows::Password { user, password } => request.basic_auth(user, Some(password)),
            Shows::Token(token) => request.bearer_auth(token),
        };
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = request
            .send()
            .await
            .map_err(|error| CliError::Unreachable { url: self.url.clone(), reason: root_cause(&error) })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = answer.text().await.map_err(|error| self.broke_off(&error))?;
        Err(ServerError::read(status.as_u16(), &text).into())
    }

    /// An answer that ended too soon.
    pub(crate) fn broke_off(&self, error: &reqwest::Error) -> CliError {
        CliError::Answer(format!(
            "the answer of {} broke off ({}); it is not complete",
            self.url,
            root_cause(error)
        ))
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
