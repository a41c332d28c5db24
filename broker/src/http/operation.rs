//! Health, readiness, metrics and the page.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::HttpState;

const TEXT: &str = "text/plain; charset=utf-8";

/// The page and all that it loads come from this binary; its script and style stand in the page itself.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
                           connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The process lives.
pub(super) async fn healthz() -> Response {
    ([(header::CONTENT_TYPE, TEXT)], "ok").into_response()
}

/// Every table is open and its consumer connected; otherwise what is missing.
pub(super) async fn readyz(State(state): State<HttpState>) -> Response {
    let (status, text) = match state.admin.ready().await {
        Ok(()) => (StatusCode::OK, "ok".to_string()),
        Err(missing) => (StatusCode::SERVICE_UNAVAILABLE, missing),
    };
    (status, [(header::CONTENT_TYPE, TEXT)], text).into_response()
}

/// Metrics in Prometheus' text format.
pub(super) async fn metrics(State(state): State<HttpState>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (state.metrics)()).into_response()
}

/// The page.
pub(super) async fn page(State(state): State<HttpState>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, state.page).into_response()
}
