//! Failures as HTTP answers: `{"error": {"kind", "message", …}}` and the status that belongs to the kind.

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::admin::AdminError;
use crate::dashboards::DashboardError;
use crate::dashboards::live::WatchError;
use crate::render::failure::Failure;
use crate::{QueryError, QueryErrorKind};

/// A failure, ready to be sent.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    error: Box<Failure>,
    /// The code that Pinot's clients look for.
    pinot: Option<i32>,
}

impl ApiError {
    /// A failure of the request itself.
    pub(crate) fn new(status: StatusCode, kind: &str, message: impl Into<String>) -> Self {
        Self { status, error: Box::new(Failure::new(kind, message)), pinot: None }
    }

    /// With the fields that Pinot's clients read, beside ours.
    pub(crate) fn for_pinot(self, code: i32) -> Self {
        Self { pinot: Some(code), ..self }
    }

    /// A malformed request: 400.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::from(QueryError::new(QueryErrorKind::BadRequest, message))
    }

    /// No such thing: 404.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        Self { status: status_of(error.kind), error: Box::new(Failure::of(&error)), pinot: None }
    }
}

impl From<AdminError> for ApiError {
    fn from(error: AdminError) -> Self {
        let message = error.to_string();
        match error {
            AdminError::Invalid { faults, .. } => Self {
                status: StatusCode::BAD_REQUEST,
                error: Box::new(Failure { faults: Some(faults), ..Failure::new("invalid", message) }),
                pinot: None,
            },
            AdminError::NotFound(_) => Self::not_found(message),
            AdminError::Conflict(_) => Self::new(StatusCode::CONFLICT, "conflict", message),
            AdminError::Unavailable(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message),
        }
    }
}

impl From<DashboardError> for ApiError {
    fn from(error: DashboardError) -> Self {
        let message = error.to_string();
        match error {
            DashboardError::Invalid(faults) => Self {
                status: StatusCode::BAD_REQUEST,
                error: Box::new(Failure { faults: Some(faults), ..Failure::new("invalid", message) }),
                pinot: None,
            },
            DashboardError::NotFound(_) => Self::not_found(message),
            DashboardError::Conflict { version, .. } => Self {
                status: StatusCode::PRECONDITION_FAILED,
                error: Box::new(Failure { version, ..Failure::new("conflict", message) }),
                pinot: None,
            },
            DashboardError::Full(_) => Self::new(StatusCode::INSUFFICIENT_STORAGE, "full", message),
            DashboardError::Unavailable(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
            }
        }
    }
}

impl From<WatchError> for ApiError {
    fn from(error: WatchError) -> Self {
        match error {
            WatchError::Dashboard(error) => Self::from(error),
            WatchError::Values(message) => Self::bad_request(message),
            WatchError::Busy(message) => Self::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", message),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut document = json!({"error": self.error});
        if let Some(code) = self.pinot {
            let message = document["error"]["message"].clone();
            document["exceptions"] = json!([{"errorCode": code, "message": message}]);
            // Without these pinotdb reports that too few servers have answered, and not what is wrong.
            document["numServersQueried"] = json!(0);
            document["numServersResponded"] = json!(0);
        }
        let mut response = (self.status, Json(document)).into_response();
        if let Some(code) = self.pinot {
            response.headers_mut().insert("x-pinot-error-code", HeaderValue::from(code));
        }
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
