//! Failures as HTTP answers: `{"error": {"kind", "message", …}}` and the status that belongs to the kind.

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::admin::AdminError;
use crate::render::error_json;
use crate::{QueryError, QueryErrorKind};

/// A failure, ready to be sent.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    error: Value,
}

impl ApiError {
    /// A failure of the request itself.
    pub(super) fn new(status: StatusCode, kind: &str, message: impl Into<String>) -> Self {
        Self { status, error: json!({"kind": kind, "message": message.into()}) }
    }

    /// A malformed request: 400.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::from(QueryError::new(QueryErrorKind::BadRequest, message))
    }

    /// No such thing: 404.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        Self { status: status_of(error.kind), error: error_json(&error) }
    }
}

impl From<AdminError> for ApiError {
    fn from(error: AdminError) -> Self {
        let message = error.to_string();
        match error {
            AdminError::Invalid { faults, .. } => Self {
                status: StatusCode::BAD_REQUEST,
                error: json!({"kind": "invalid", "message": message, "faults": faults}),
            },
            AdminError::NotFound(_) => Self::not_found(message),
            AdminError::Conflict(_) => Self::new(StatusCode::CONFLICT, "conflict", message),
            AdminError::Unavailable(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({"error": self.error}))).into_response();
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The HTTP status of a kind of failure.
pub(super) fn status_of(kind: QueryErrorKind) -> StatusCode {
    StatusCode::from_u16(kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Answers a path that no route has.
pub(super) async fn not_found(uri: Uri) -> ApiError {
    ApiError::not_found(format!("there is nothing at {}", uri.path()))
}

/// Answers a method that the path's route does not take.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} does not take {method}", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}
