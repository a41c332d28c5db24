//! Health, readiness and metrics.

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::HttpState;
use crate::access::Principal;

const TEXT: &str = "text/plain; charset=utf-8";

/// The routes.
pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz)).routes(routes!(metrics))
}

/// The process lives
#[utoipa::path(get, path = "/healthz", tag = "operation",
    responses((status = 200, description = "ok", content_type = "text/plain", body = String)))]
async fn healthz() -> Response {
    ([(header::CONTENT_TYPE, TEXT)], "ok").into_response()
}

/// Every table is open and its consumer connected; otherwise what is missing
#[utoipa::path(get, path = "/readyz", tag = "operation",
    responses(
        (status = 200, description = "ok", content_type = "text/plain", body = String),
        (status = 503, description = "What is missing, a line each", content_type = "text/plain", body = String),
    ))]
async fn readyz(State(state): State<HttpState>, principal: Option<Extension<Principal>>) -> Response {
    let (status, text) = match state.admin.ready().await {
        Ok(()) => (StatusCode::OK, "ok".to_string()),
        // What is missing names tables and brokers.
        Err(_) if principal.is_none() => (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready; ask with a user or a token for what is missing".into(),
        ),
        Err(missing) => (StatusCode::SERVICE_UNAVAILABLE, missing),
    };
    (status, [(header::CONTENT_TYPE, TEXT)], text).into_response()
}

/// Metrics in Prometheus' text format
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "Metrics", content_type = "text/plain", body = String)))]
async fn metrics(State(state): State<HttpState>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (state.metrics)()).into_response()
}
