//! What every request gets: an id, one line in the log, a span, and none of them read encoded; the console has the first word.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::{Instrument, Span, field};
use ulid::Ulid;

use super::Console;
use super::error::ApiError;
use crate::trace::{self, TARGET};

const REQUEST_ID: HeaderName = HeaderName::from_static("headwater-request-id");
const SLOW: Duration = Duration::from_secs(1);

/// Wraps every route.
pub(super) async fn frame(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = Ulid::new().to_string();
    let method = request.method().clone();
    let path = request.uri().path().to_string();
    // The pattern: paths are the clients', and would be without number.
    let route =
        request.extensions().get::<MatchedPath>().map_or("none".into(), |path| path.as_str().to_owned());
    let span = span_of(&method, &route, request.headers());
    let mut response = match is_encoded(&request) {
        true => {
            let message = "the body has a content-encoding; send it as it is";
            ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_request", message).into_response()
        }
        false => next.run(request).instrument(span.clone()).await,
    };
    // The time up to the status line: for a query that is its first rows, not the end of its body.
    span.record("http.response.status_code", response.status().as_u16());
    trace::put(&span, response.headers_mut());
    count(&method, route, response.status(), started.elapsed());
    let (status, ms) = (response.status().as_u16(), started.elapsed().as_millis() as u64);
    if started.elapsed() > SLOW {
        tracing::info!(request = %id, %method, path, status, ms, "slow request");
    } else {
        tracing::debug!(request = %id, %method, path, status, ms, "request");
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Lets the web console answer what is its own.
pub(super) async fn console(State(console): State<Console>, request: Request, next: Next) -> Response {
    match console(request.method(), request.uri(), request.headers()) {
        Some(response) => response,
        None => next.run(request).await,
    }
}

/// The span of a request; none of those that machines send all the time.
fn span_of(method: &Method, route: &str, headers: &HeaderMap) -> Span {
    if matches!(route, "/healthz" | "/readyz" | "/metrics" | "/health") {
        return Span::none();
    }
    let span = tracing::info_span!(
        target: TARGET,
        "http",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = %method,
        http.route = route,
        http.response.status_code = field::Empty,
    );
    trace::continue_from(&span, headers);
    span
}

fn count(method: &Method, route: String, status: StatusCode, elapsed: Duration) {
    let method = match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        // Clients may make them up.
        _ => "other",
    };
    let labels =
        [("method", method.into()), ("route", route.clone()), ("status", status.as_u16().to_string())];
    metrics::counter!("headwater_http_requests_total", &labels).increment(1);
    metrics::histogram!("headwater_http_request_duration_seconds", "route" => route)
        .record(elapsed.as_secs_f64());
}

/// Whether the body would have to be unpacked: its size would say nothing about the memory that it takes.
fn is_encoded(request: &Request) -> bool {
    let encodings = request.headers().get_all(header::CONTENT_ENCODING);
    encodings.iter().any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}
