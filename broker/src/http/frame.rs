//! What every request gets: an id, one line in the log, and a guard against pages of other sites.

use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ulid::Ulid;

use super::error::ApiError;

const REQUEST_ID: HeaderName = HeaderName::from_static("headwater-request-id");
const SLOW: Duration = Duration::from_secs(1);

/// Wraps every route.
pub(super) async fn frame(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = Ulid::new().to_string();
    let method = request.method().clone();
    let path = request.uri().path().to_string();
    let mut response = match is_cross_site_write(&request) {
        true => ApiError::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "a page of another site may not call this; send the request from a client of your own",
        )
        .into_response(),
        false => next.run(request).await,
    };
    // The time up to the status line: for a query that is its first rows, not the end of its body.
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

/// Whether a browser says that a page of another site sends this. The API has no cookies and, by default, only listens on the
/// loopback interface; without this check any page that the operator visits could still pause a table there.
fn is_cross_site_write(request: &Request) -> bool {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    !reads && request.headers().get("sec-fetch-site").is_some_and(|site| site == "cross-site")
}
