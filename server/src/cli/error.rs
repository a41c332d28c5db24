//! Why a command failed: what a person reads, what a program reads, and the exit code.

use serde_json::{Value, json};

use super::exit::Exit;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// It was understood, and did not work out.
    #[error("{0}")]
    Answer(String),
    /// The server's own error.
    #[error("{0}")]
    Server(Box<ServerError>),
    /// What was given is faulty: found here, as the server would find it.
    #[error("{message}")]
    Refused {
        /// All faults.
        message: String,
        /// Each fault as `{path, message}`.
        faults: Value,
    },
    /// Wrong usage or configuration.
    #[error("{0}")]
    Usage(String),
    /// The server could not be reached.
    #[error("{url} could not be reached ({reason}); {hint}")]
    Unreachable {
        /// Address.
        url: String,
        /// Why.
        reason: String,
        /// What to look at or to say instead.
        hint: String,
    },
    /// Kafka could not be reached.
    #[error("{0}")]
    NoKafka(String),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// Whoever read our output has gone.
    #[error("output closed")]
    BrokenPipe,
}

impl CliError {
    /// How the process ends over it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Answer(_) => Exit::Failed,
            Self::Server(error) => error.exit(),
            Self::Refused { .. } => Exit::Refused,
            Self::Usage(_) => Exit::Usage,
            Self::Unreachable { .. } | Self::NoKafka(_) => Exit::Unreachable,
            Self::Interrupted => Exit::Interrupted,
            Self::BrokenPipe => Exit::Done,
        }
    }

    fn kind(&self) -> &str {
        match self {
            Self::Answer(_) => "failed",
            Self::Server(error) => &error.kind,
            Self::Refused { .. } => "invalid",
            Self::Usage(_) => "usage",
            Self::Unreachable { .. } | Self::NoKafka(_) => "unreachable",
            Self::Interrupted => "interrupted",
            Self::BrokenPipe => "output_closed",
        }
    }

    /// The error as `--output json` prints it to standard error.
    pub(crate) fn to_json(&self) -> Value {
        let mut error = match self {
            Self::Server(error) => error.document.clone(),
            Self::Refused { faults, .. } => json!({ "faults": faults }),
            _ => json!({}),
        };
        let message = match self {
            Self::Server(error) => error.message.clone(),
            other => other.to_string(),
        };
        error["kind"] = self.kind().into();
        error["message"] = message.into();
        error["exit_code"] = self.exit().code().into();
        json!({ "error": error })
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::BrokenPipe;
        }
        Self::Answer(error.to_string())
    }
}

impl From<ServerError> for CliError {
    fn from(error: ServerError) -> Self {
        Self::Server(Box::new(error))
    }
}

/// An error that a server answered with.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct ServerError {
    /// HTTP status.
    pub(crate) status: u16,
    /// `unknown_table`, `deadline`, … as the server names it.
    pub(crate) kind: String,
    /// What the server says.
    pub(crate) message: String,
    /// For a person: the message, its place in the SQL text, and what may have been meant.
    text: String,
    /// Everything that the server says, as an object.
    document: Value,
}

impl ServerError {
    /// Reads the body of an answer with that status.
    pub(crate) fn read(status: u16, body: &str) -> Self {
        let document: Value = serde_json::from_str(body).unwrap_or_default();
        match document["error"]["message"].as_str() {
            Some(_) => Self::of(status, document["error"].clone()),
            None => {
                let message = format!("the server answered {status}: {}", body.trim());
                Self { status, kind: "http".into(), text: message.clone(), message, document: json!({}) }
            }
        }
    }

    /// From the object that stands under `error`.
    pub(crate) fn of(status: u16, document: Value) -> Self {
        let text_of = |key: &str| document[key].as_str().unwrap_or_default().to_string();
        let message = text_of("message");
        let mut text = message.clone();
        if let (Some(line), Some(column)) =
            (document["position"]["line"].as_u64(), document["position"]["column"].as_u64())
        {
            text.push_str(&format!(" (line {line}, column {column})"));
        }
        let kind = text_of("kind");
        let mut error = Self { status, kind, message, text, document };
        if let Some(suggestion) = error.document["suggestion"].as_str().map(str::to_string) {
            error.suggest(suggestion);
        }
        error
    }

    /// Says what may have been meant.
    pub(crate) fn suggest(&mut self, name: String) {
        self.text.push_str(&format!("; did you mean {name}?"));
        self.document["suggestion"] = name.into();
    }

    fn exit(&self) -> Exit {
        match (self.kind.as_str(), self.status) {
            ("deadline", _) | (_, 408 | 504) => Exit::TimedOut,
            (_, 401 | 403) => Exit::Denied,
            (_, 400 | 404 | 409 | 413) => Exit::Refused,
            _ => Exit::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_s_error_keeps_all_that_it_says() {
        let body = r#"{"error": {"kind": "unknown_table", "message": "there is no table ordrs",
                       "position": {"line": 1, "column": 22}, "suggestion": "orders"}}"#;
        let error = CliError::from(ServerError::read(400, body));
        assert_eq!(error.to_string(), "there is no table ordrs (line 1, column 22); did you mean orders?");
        assert_eq!(error.exit(), Exit::Refused);
        let document = error.to_json();
        assert_eq!(document["error"]["kind"], "unknown_table");
        assert_eq!(document["error"]["message"], "there is no table ordrs");
        assert_eq!(document["error"]["suggestion"], "orders");
        assert_eq!(document["error"]["position"]["column"], 22);
        assert_eq!(document["error"]["exit_code"], 4);
    }

    #[test]
    fn each_status_has_its_exit_code() {
        let exit = |status, kind: &str| {
            let body = json!({"error": {"kind": kind, "message": "why"}}).to_string();
            CliError::from(ServerError::read(status, &body)).exit()
        };
        for (status, kind, expected) in [
            (400, "parse", Exit::Refused),
            (400, "invalid", Exit::Refused),
            (404, "not_found", Exit::Refused),
            (409, "conflict", Exit::Refused),
            (401, "unauthenticated", Exit::Denied),
            (403, "forbidden", Exit::Denied),
            (422, "execution", Exit::Failed),
            (429, "overloaded", Exit::Failed),
            (504, "deadline", Exit::TimedOut),
            (200, "deadline", Exit::TimedOut),
            (503, "unavailable", Exit::Failed),
            (500, "internal", Exit::Failed),
        ] {
            assert_eq!(exit(status, kind), expected, "{status} {kind}");
        }
    }

    #[test]
    fn what_is_no_error_document_is_shown_as_it_is() {
        let error = ServerError::read(502, "<html>bad gateway</html>\n");
        assert_eq!(error.to_string(), "the server answered 502: <html>bad gateway</html>");
    }
}
