//! Talking to a running server.

use std::future::Future;
use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::Value;

use super::error::ServerError;
use super::progress::{EVERY, HowFar, Progress};
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
        how_far: impl AsyncFn() -> Option<HowFar>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            let turn = async {
                tokio::time::sleep(EVERY).await;
                how_far().await.unwrap_or_default()
            };
            tokio::select! {
                biased;
                done = work.as_mut() => return done,
                said = turn => progress.tell(said),
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
        let answer = request.send().await.map_err(|error| unreachable(&self.url, root_cause(&error)))?;
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

/// A server that does not answer as it should, and what to do about it. Neither TLS nor HTTP has an error of its own for a client
/// that speaks the other one, so it is told by what their libraries say.
fn unreachable(url: &str, reason: String) -> CliError {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let is_tls = scheme.eq_ignore_ascii_case("https");
    let hint = if is_tls && reason.contains("UnknownIssuer") {
        "this machine does not trust whoever signed its certificate; name the signer's with --ca FILE".into()
    } else if is_tls && reason.contains("invalid peer certificate") {
        "its certificate is not one to trust for this address".into()
    } else if is_tls && reason.contains("received corrupt message") {
        format!("what listens there does not speak TLS; use http://{rest}")
    } else if !is_tls && reason.contains("invalid HTTP version parsed") {
        format!("what listens there may speak TLS; use https://{rest}")
    } else {
        "is `headwater start` or `headwater demo` running there?".into()
    };
    CliError::Unreachable { url: url.to_string(), reason, hint }
}

/// The last cause of an error is the one that says something ("connection refused").
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::cli::exit::Exit;

    /// What a client says of a listener that answers with `bytes`, whatever it is asked.
    fn said_of(scheme: &str, bytes: &'static [u8]) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let answering = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let asked_bytes = connection.read(&mut [0; 4096]).unwrap();
            assert!(asked_bytes > 0);
            connection.write_all(bytes).unwrap();
        });
        let server = ServerArguments { url, user: None, password_file: None, token: None, ca: None };
        let error = Client::new(&server).unwrap().json(Method::GET, "/tables", None).unwrap_err();
        answering.join().unwrap();
        assert_eq!(error.exit(), Exit::Unreachable, "{error}");
        error.to_string()
    }

    #[test]
    fn the_other_protocol_is_named() {
        let said = said_of("https", b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        assert!(said.contains("does not speak TLS; use http://127.0.0.1:"), "{said}");
        // An alert of TLS: a message that was not expected.
        let said = said_of("http", b"\x15\x03\x03\x00\x02\x02\x0a");
        assert!(said.contains("may speak TLS; use https://127.0.0.1:"), "{said}");
    }

    #[test]
    fn each_reason_has_its_hint() {
        for (url, reason, hint) in [
            ("https://h:1", "invalid peer certificate: UnknownIssuer", "--ca FILE"),
            ("https://h:1", "invalid peer certificate: Expired", "not one to trust"),
            ("http://h:1", "Connection refused (os error 111)", "running there?"),
            ("https://h:1", "Connection refused (os error 111)", "running there?"),
        ] {
            let said = unreachable(url, reason.into()).to_string();
            assert!(said.contains(hint) && said.contains(reason), "{said}");
            assert_eq!(said.contains("running there?"), hint == "running there?", "{said}");
        }
    }
}
