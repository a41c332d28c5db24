//! Reads request bodies within a bound on bytes and on time, names in paths, and query strings.

use axum::body::Body;
use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use futures::StreamExt;
use serde_json::{Map, Value};

use super::HttpLimits;
use super::error::ApiError;

/// The one name in a path.
pub(super) struct Name(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let name = Path::<String>::from_request_parts(parts, state).await;
        name.map(|Path(name)| Self(name))
            .map_err(|error| ApiError::bad_request(format!("the path: {}", error.body_text())))
    }
}

/// The whole body as text.
pub(crate) async fn read_text(body: Body, limits: &HttpLimits) -> Result<String, ApiError> {
    let bytes = match tokio::time::timeout(limits.body_time(), read(body, limits.body_bytes_max)).await {
        Ok(read) => read?,
        Err(_) => {
            let message = format!("the body did not arrive within {} ms", limits.body_ms_max);
            return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "bad_request", message));
        }
    };
    String::from_utf8(bytes).map_err(|error| {
        ApiError::bad_request(format!(
            "the body is not UTF-8 (byte {} is not part of a character)",
            error.utf8_error().valid_up_to()
        ))
    })
}

async fn read(body: Body, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| ApiError::bad_request(format!("the body broke off: {error}")))?;
        if bytes.len() + chunk.len() > bytes_max {
            let message = format!("the body has more than {bytes_max} bytes");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "bad_request", message));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Whether the parameter `name`, the only one that the endpoint takes, says yes.
pub(super) fn flag(query: Option<&str>, name: &str) -> Result<bool, ApiError> {
    match only_parameter(query, name)?.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(ApiError::bad_request(format!("{name}={other}: use true or false"))),
    }
}

/// The value of the one parameter that the endpoint takes.
pub(super) fn only_parameter(query: Option<&str>, name: &str) -> Result<Option<String>, ApiError> {
    let mut parameters: Map<String, Value> = query_parameters(query)?;
    let value = parameters.remove(name).and_then(|value| value.as_str().map(str::to_string));
    match parameters.keys().next() {
        Some(unknown) => {
            Err(ApiError::bad_request(format!("unknown parameter {unknown}; this takes {name}")))
        }
        None => Ok(value),
    }
}

/// The parameters of a query string, in order. A name given twice is refused.
pub(super) fn query_parameters(query: Option<&str>) -> Result<Map<String, Value>, ApiError> {
    let mut parameters = Map::new();
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if parameters.insert(name.to_string(), Value::String(value.into_owned())).is_some() {
            return Err(ApiError::bad_request(format!("the parameter {name} is given twice")));
        }
    }
    Ok(parameters)
}
