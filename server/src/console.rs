//! The web console at `/`: the files that `build.rs` made of `server/console/`, as they are served.
//!
//! Everything is in the binary and nothing is loaded from outside, which the gate of all answers enforces
//! (`broker/src/access/headers.rs`). Names under `/assets/` carry a hash of their content and are kept by browsers for good;
//! everything else is asked for again each time, and costs a 304. The console's own addresses (`/query`, `/tables/t`, …) all
//! answer with the same page, but only to someone who asks for HTML: `/tables` and others are JSON endpoints as well.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

const PAGE: &str = "index.html";
const FOR_GOOD: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";

/// What a server answers that was built without the console.
const WITHOUT_CONSOLE: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Headwater</title></head><body>\n\
    <h1>Headwater is up</h1>\n\
    <p>This binary was built without the web console. Install Node 20 or newer with npm, or set HEADWATER_CONSOLE_DIST to a \
    console that is built already, and build again.</p>\n\
    <p>SQL works: <code>headwater sql</code>, or POST it to <code>/sql</code>.</p>\n</body></html>\n";

#[derive(RustEmbed)]
#[folder = "$OUT_DIR/console-dist"]
struct Files;

/// Finds a file of a console by its path.
type Find = fn(&str) -> Option<EmbeddedFile>;

/// What the console has for a request; `None` if the request is not for it.
pub(crate) fn answer(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
    answer_from(Files::get, method, uri, headers)
}

fn answer_from(find: Find, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let path = uri.path().trim_start_matches('/');
    let is_asset = !path.is_empty() && path != PAGE && !path.ends_with(".gz");
    if is_asset && let Some(file) = find(path) {
        return Some(file_answer(find, path, &file, headers));
    }
    if !is_view(path, headers) {
        return None;
    }
    Some(match find(PAGE) {
        Some(file) => file_answer(find, PAGE, &file, headers),
        None => described(WITHOUT_CONSOLE.into_response(), PAGE),
    })
}

/// Whether a path is an address of the console, asked for by something that shows pages.
fn is_view(path: &str, headers: &HeaderMap) -> bool {
    let mut parts = path.trim_end_matches('/').splitn(3, '/');
    let (first, rest) = (parts.next().unwrap_or_default(), parts.nth(1));
    let is_ours = match first {
        // Below a table are endpoints only.
        "tables" => rest.is_none(),
        "" | "query" | "dashboards" | "d" | "cluster" => true,
        _ => false,
    };
    let wants_page = headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|accept| accept.to_str().is_ok_and(|accept| accept.to_ascii_lowercase().contains("text/html")));
    // The address itself shows the page to everybody, curl for one.
    is_ours && (wants_page || path.is_empty())
}

fn file_answer(find: Find, path: &str, file: &EmbeddedFile, headers: &HeaderMap) -> Response {
    let tag = tag_of(file);
    let seen = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let mut response = if seen.is_some_and(|tags| tags.split(',').any(|seen| seen.trim() == tag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let packed = takes_gzip(headers).then(|| find(&format!("{path}.gz"))).flatten();
        let is_packed = packed.is_some();
        let mut response =
            Body::from(packed.map_or_else(|| file.data.to_vec(), |file| file.data.to_vec())).into_response();
        if is_packed {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    described(response, path)
}

/// Says of an answer what it is, and how long it may be kept.
fn described(mut response: Response, path: &str) -> Response {
    let caching = if path.starts_with("assets/") { FOR_GOOD } else { ASK_AGAIN };
    let fixed = [
        (header::CONTENT_TYPE, media_type(path)),
        (header::CACHE_CONTROL, caching),
        (header::VARY, "accept, accept-encoding"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Half of the content's hash: a chance meeting of two contents under one name needs no more.
fn tag_of(file: &EmbeddedFile) -> String {
    let hash = file.metadata.sha256_hash();
    let digits: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}\"")
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').map(str::trim).any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            parts.next() == Some("gzip")
                && !parts.any(|weight| {
                    weight.starts_with("q=0") && !weight.contains(|digit: char| ('1'..='9').contains(&digit))
                })
        })
    })
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" => "application/json",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(path: &str, sent: &[(header::HeaderName, &'static str)]) -> Option<Response> {
        let headers =
            sent.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        answer(&Method::GET, &path.parse().unwrap(), &headers)
    }

    fn header_of(response: &Response, name: header::HeaderName) -> &str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    const HTML: (header::HeaderName, &str) =
        (header::ACCEPT, "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");

    #[test]
    fn views_are_for_those_who_ask_for_a_page() {
        for path in ["/", "/query", "/tables", "/tables/rides", "/dashboards/a", "/d/a", "/cluster"] {
            let page = ask(path, &[HTML]).unwrap();
            assert_eq!(header_of(&page, header::CONTENT_TYPE), "text/html; charset=utf-8", "{path}");
            assert_eq!(header_of(&page, header::CACHE_CONTROL), ASK_AGAIN);
            assert_eq!(ask(path, &[(header::ACCEPT, "application/json")]).is_some(), path == "/", "{path}");
        }
        for path in
            ["/sql", "/metrics", "/tables/rides/schema", "/queries/q", "/nothing", "/index.html.gz", "/../x"]
        {
            assert!(ask(path, &[HTML]).is_none(), "{path}");
        }
    }

    #[test]
    fn only_reading_is_answered() {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("text/html"))]);
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            assert!(answer(&method, &Uri::from_static("/tables"), &headers).is_none());
        }
    }

    #[tokio::test]
    async fn a_build_without_node_says_how_to_get_the_console() {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("text/html"))]);
        let nothing: Find = |_| None;
        for path in ["/", "/tables", "/d/rides"] {
            let page = answer_from(nothing, &Method::GET, &path.parse().unwrap(), &headers).unwrap();
            assert_eq!(page.status(), StatusCode::OK);
            assert_eq!(header_of(&page, header::CONTENT_TYPE), "text/html; charset=utf-8");
            // A build with Node may stand in its place tomorrow.
            assert_eq!(header_of(&page, header::CACHE_CONTROL), ASK_AGAIN);
            let text = axum::body::to_bytes(page.into_body(), 1 << 16).await.unwrap();
            let text = std::str::from_utf8(&text).unwrap();
            for expected in
                ["without the web console", "Node 20", "HEADWATER_CONSOLE_DIST", "headwater sql", "/sql"]
            {
                assert!(text.contains(expected), "{path}: {expected}");
            }
            // It loads nothing, which would not be there.
            assert!(!text.contains("src=") && !text.contains("href="));
        }
        for path in ["/assets/index.js", "/icon.svg", "/sql"] {
            assert!(answer_from(nothing, &Method::GET, &path.parse().unwrap(), &headers).is_none(), "{path}");
        }
    }

    #[test]
    fn the_page_and_its_files_are_there_together() {
        let Some(page) = Files::get(PAGE) else {
            return assert_eq!(Files::iter().count(), 0, "files without the page that loads them");
        };
        let page = std::str::from_utf8(&page.data).unwrap();
        let loaded: Vec<&str> =
            page.split('"').filter(|text| text.starts_with('/') && text.contains('.')).collect();
        assert!(
            loaded.iter().any(|path| path.ends_with(".js"))
                && loaded.iter().any(|path| path.ends_with(".css"))
        );
        for path in loaded {
            assert!(ask(path, &[]).is_some(), "{path}");
        }
    }

    #[test]
    fn every_asset_says_what_it_is_and_is_not_sent_twice() {
        for path in Files::iter().filter(|path| path != PAGE && !path.ends_with(".gz")) {
            let address = format!("/{path}");
            let whole = ask(&address, &[]).unwrap();
            assert_ne!(header_of(&whole, header::CONTENT_TYPE), "application/octet-stream", "{path}");
            let caching = if path.starts_with("assets/") { FOR_GOOD } else { ASK_AGAIN };
            assert_eq!(header_of(&whole, header::CACHE_CONTROL), caching);
            let tag = whole.headers()[header::ETAG].clone();
            let again = answer(
                &Method::GET,
                &address.parse().unwrap(),
                &HeaderMap::from_iter([(header::IF_NONE_MATCH, tag)]),
            );
            assert_eq!(again.unwrap().status(), StatusCode::NOT_MODIFIED);
        }
    }

    #[test]
    fn gzip_only_for_those_who_take_it() {
        let takes = |value: &'static str| {
            takes_gzip(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]))
        };
        assert!(takes("gzip") && takes("deflate, gzip;q=0.5, br"));
        assert!(!takes("br") && !takes("gzip;q=0") && !takes("gzip; q=0.0") && !takes("identity"));
    }
}
