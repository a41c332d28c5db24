//! Traces: what a query does on its way, as spans, and how a trace goes from process to process.
//!
//! ```text
//! HTTP request ─▶ query ─▶ admission, plan ─▶ cut ─▶ execute ─▶ segment…        (in one process)
//!                                                      └─ fragment ─▶ segment…  (on data nodes)
//!              ─▶ render
//! ```
//!
//! Spans are made with `tracing`, all with the target [`TARGET`]: logs leave them out, and without an exporter nobody wants
//! them, so that a span costs a look at a flag. Between processes a trace travels in the header `traceparent`
//! (<https://www.w3.org/TR/trace-context/>).

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

pub(crate) use headwater_segment::trace::TARGET;

/// Segments of one operator that have a span: a scan may have a hundred thousand.
pub(crate) const SEGMENT_SPANS_MAX: usize = 32;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Makes `span`, which has not begun, a part of the trace that a request names, if it names one.
pub(crate) fn continue_from(span: &Span, headers: &HeaderMap) {
    if span.is_disabled() {
        return;
    }
    let named = headers.get(TRACEPARENT).and_then(|value| parse(value.to_str().ok()?));
    if let Some(named) = named {
        // It fails for a span that nobody exports.
        let _ = span.set_parent(Context::new().with_remote_span_context(named));
    }
}

/// Names the trace of `span` in the headers of a request or of an answer.
pub(crate) fn put(span: &Span, headers: &mut HeaderMap) {
    if span.is_disabled() {
        return;
    }
    let context = span.context();
    let context = context.span();
    let named = context.span_context();
    if !named.is_valid() {
        return;
    }
    let (trace, span, flags) = (named.trace_id(), named.span_id(), named.trace_flags());
    if let Ok(value) = HeaderValue::try_from(format!("00-{trace}-{span}-{:02x}", flags.to_u8())) {
        headers.insert(TRACEPARENT, value);
    }
}

/// `version-trace-span-flags`. Versions to come may append to it.
fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let mut hex = |digits: usize| {
        let part = parts.next()?;
        let is_hex = part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        (part.len() == digits && is_hex).then_some(part)
    };
    let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    if version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let named = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    named.is_valid().then_some(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_the_specification_says() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let named = parse(&format!("00-{trace}-00f067aa0ba902b7-01")).unwrap();
        assert_eq!((named.trace_id().to_string().as_str(), named.is_sampled()), (trace, true));
        assert!(!parse(&format!("00-{trace}-00f067aa0ba902b7-02")).unwrap().is_sampled());
        assert!(parse(&format!("01-{trace}-00f067aa0ba902b7-01-more")).is_some());
        for wrong in [
            String::new(),
            format!("ff-{trace}-00f067aa0ba902b7-01"),
            format!("00-{trace}-00f067aa0ba902b7-01-more"),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            format!("00-{trace}-00f067aa0ba902b7"),
            format!("00-{trace}-00f067aa0ba902b7-1"),
            "é".repeat(30),
        ] {
            assert!(parse(&wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn without_an_exporter_there_is_nothing_to_name() {
        let span = tracing::info_span!(target: TARGET, "nothing");
        let mut headers = HeaderMap::new();
        put(&span, &mut headers);
        assert!(span.is_disabled() && headers.is_empty());
    }
}
