//! Reads request bodies within a bound on bytes and on time, and query strings.

use axum::body::Body;
use axum::http::StatusCode;
use futures::StreamExt;
use serde_json::{Map, Value};

use super::HttpLimits;
use super::error::ApiError;

/// The whole body as text.
pub(super) async fn read_text(body: Body, limits: &HttpLimits) -> Result<String, ApiError> {
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
