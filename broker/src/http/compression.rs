//! Which answers are compressed: text that is worth it, by gzip or zstd, as the client says that it can read.
//!
//! What waits for more rows is sent as far as it is: the encoder is flushed whenever the body has nothing to give for the
//! moment. Events are left alone, since whoever passes them on may not; Arrow's and Parquet's bytes are compressed, or
//! read in place.

use axum::http::{Extensions, HeaderMap, StatusCode, Version, header};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{And, Predicate, SizeAbove};

/// Below this a body is not worth an encoder.
const BYTES_MIN: u16 = 1024;

type IsText = fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool;

/// The layer around all routes.
pub(super) fn layer() -> CompressionLayer<And<SizeAbove, IsText>> {
    let is_text: IsText = |_, _, headers, _| is_text(headers);
    // An answer is made faster than a better level compresses it.
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(BYTES_MIN).and(is_text))
}

fn is_text(headers: &HeaderMap) -> bool {
    let declared =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match declared.split(';').next().unwrap_or_default().trim() {
        "text/event-stream" => false,
        "application/json" | "application/x-ndjson" | "application/javascript" | "image/svg+xml" => true,
        other => other.starts_with("text/"),
    }
}
