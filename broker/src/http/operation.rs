//! Health, readiness, metrics and the page.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ulid::Ulid;

use super::HttpState;

const TEXT: &str = "text/plain; charset=utf-8";

/// The page loads nothing: its one script and its one style stand in it, and only they run, by this answer's nonce.
fn page_policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

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
    let nonce = Ulid::new().to_string();
    let html = state
        .page
        .replace("<script>", &format!("<script nonce=\"{nonce}\">"))
        .replace("<style>", &format!("<style nonce=\"{nonce}\">"));
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_string()),
        (header::CONTENT_SECURITY_POLICY, page_policy(&nonce)),
        (header::CACHE_CONTROL, "no-store".to_string()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_string()),
        (header::REFERRER_POLICY, "no-referrer".to_string()),
    ];
    (headers, html).into_response()
}
