//! What every answer says to browsers.

use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The one policy of all answers. The console loads its own scripts, styles and fonts, and asks its own server.
///
/// Styles may stand in the page, as scripts may not: the editor (CodeMirror) writes its rules into a `style` element, and the charts
/// (ECharts) show tooltips that are markup with `style` attributes. A nonce would serve the first and not the second, which
/// knows only `'unsafe-inline'`, and a hash neither, since both are written as the page runs. What a style could fetch is bounded by the
/// other sources.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Half a year. Without subdomains: they are not ours to speak for.
const TRANSPORT: &str = "max-age=15552000";

const ALWAYS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Puts them on an answer. `strict_transport`: it goes over TLS, to a name that is not this machine's own.
pub(super) fn put(headers: &mut HeaderMap, strict_transport: bool) {
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let unless_there = [(header::CONTENT_SECURITY_POLICY, POLICY), (header::CACHE_CONTROL, "no-store")];
    for (name, value) in unless_there {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if strict_transport {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(TRANSPORT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_brings_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=31536000, immutable"));
        put(&mut headers, false);
        assert_eq!(headers[header::CACHE_CONTROL], "max-age=31536000, immutable");
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], POLICY);
        assert!(!headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
        assert!(
            POLICY.contains("default-src 'none'; script-src 'self'; ") && !POLICY.contains("unsafe-eval")
        );
        put(&mut headers, true);
        assert_eq!(headers[header::STRICT_TRANSPORT_SECURITY], TRANSPORT);
    }
}
