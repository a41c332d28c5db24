//! Requests that have an answer each, and heads that are none.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::json;

use super::fuzzing::{SPEC, mutate_text};

/// The user of a guarded server, and their password.
pub(super) const USER: (&str, &str) = ("ada", "right");
/// The dashboard that is there.
pub(super) const BOARD: &str = "board";
const AUTHORIZATION: &str = "Basic YWRhOnJpZ2h0";

/// A request, over either protocol.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: &'static str,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    /// Of its answer.
    pub(super) status: u16,
}

fn request(method: &'static str, target: &str, body: impl ToString, status: u16) -> Request {
    let headers = vec![("authorization", AUTHORIZATION.to_owned())];
    Request { method, target: target.to_owned(), headers, body: body.to_string().into_bytes(), status }
}

impl Request {
    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn head(&self, method: &str, target: &str, version: &str) -> String {
        let headers: String =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{method} {target} {version}\r\nhost: localhost:8099\r\n{headers}")
    }
}

/// A document that a dashboard can be made of.
pub(super) fn board() -> serde_json::Value {
    json!({
        "title": "Orders",
        "refresh_ms": 1000,
        "time": {"last": "1h"},
        "variables": [{
            "name": "city", "label": "City", "kind": "list", "default": "",
            "sql": "SELECT city FROM orders GROUP BY city ORDER BY city LIMIT 5",
        }],
        "panels": [{
            "id": "count", "title": "All", "kind": "number", "at": {"x": 0, "y": 0, "w": 4, "h": 3},
            "sql": "SELECT count(*) AS n FROM orders WHERE at >= $time_from AND ($city = '' OR city = $city)",
        }],
    })
}

/// At least one for each kind of endpoint.
pub(super) fn good_requests() -> Vec<Request> {
    let none = "";
    let sql = json!({
        "sql": "SELECT city, count(*) FROM orders WHERE id = $1 OR city = $2 GROUP BY city", "parameters": [1, "Ulm"],
        "deadline_ms": 2000, "memory_bytes_max": 16_777_216, "rows_max": 10, "sealed_only": false, "format": "json",
        "min_offsets": {"orders": {"0": 0}},
    });
    let preview = json!({"sql": "SELECT count(*) FROM orders WHERE city = $city", "values": {"city": "Ulm"}, "last": "1h"});
    let session = json!({"user": USER.0, "password": USER.1});
    vec![
        request("PUT", &format!("/dashboards/{BOARD}"), board(), 200).with("if-match", "*"),
        request("GET", "/dashboards", none, 200),
        request("GET", &format!("/dashboards/{BOARD}"), none, 200),
        request("GET", &format!("/dashboards/{BOARD}/values/city"), none, 200),
        request("GET", &format!("/dashboards/{BOARD}/live?var.city=Ulm&last=15m"), none, 200),
        request("POST", "/dashboards/-/preview", preview, 200),
        request("POST", "/sql", sql, 200).with("content-type", "application/json"),
        request("POST", "/sql?format=csv&rows_max=10", "SELECT 1, 'a'", 200)
            .with("content-type", "text/plain"),
        request("GET", "/sql?q=SELECT+$1&format=ndjson&parameters=[1]&deadline_ms=2000", none, 200)
            .with("accept", "text/csv, application/vnd.apache.arrow.stream;q=0.5"),
        request(
            "POST",
            "/query/sql",
            json!({"sql": "SELECT city FROM orders", "queryOptions": "timeoutMs=900"}),
            200,
        ),
        request("GET", "/query/sql?sql=SELECT%201", none, 200),
        request("GET", "/queries/q-1?plan=true", none, 404),
        request("DELETE", "/queries/q-1", none, 404),
        request("GET", "/tables", none, 200)
            .with("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        request("GET", "/tables/orders", none, 200),
        request("GET", "/tables/orders/schema", none, 200),
        request("PUT", "/tables/orders?dry_run=true", SPEC, 200),
        request("PUT", "/tables/orders", SPEC, 200).with("content-type", "application/yaml"),
        request("POST", "/tables/orders/seal?partition=0", none, 200),
        request("DELETE", "/tables/orders?purge=true", none, 409),
        request(
            "POST",
            "/infer",
            json!({"brokers": ["127.0.0.1:1"], "topic": "t", "properties": {"a": 1}}),
            503,
        ),
        request("POST", "/preview", json!({"spec": SPEC, "rows_max": 5}), 409),
        request("POST", "/session", session, 200),
        request("GET", "/session", none, 200).with("cookie", "headwater_session=a.b; x=y"),
        request("GET", "/", none, 200)
            .with("accept", "text/html;q=0.9, */*")
            .with("if-none-match", "\"x\", W/\"y\""),
        request("GET", "/openapi.json", none, 200),
        request("GET", "/metrics", none, 200),
        request("OPTIONS", "/sql", none, 405).with("origin", "http://localhost:8099"),
    ]
}

/// A request that asks this, at one of the endpoints that take SQL.
pub(super) fn asking(random: &mut StdRng, sql: &str) -> Request {
    let format = *["json", "ndjson", "csv", "arrow", "parquet"].choose(random).expect("there are some");
    let quoted: String = url::form_urlencoded::byte_serialize(sql.as_bytes()).collect();
    match random.random_range(0..6) {
        0 => request("GET", &format!("/sql?format={format}&deadline_ms=2000&q={quoted}"), "", 0),
        1 => request("POST", &format!("/sql?format={format}&deadline_ms=2000"), sql, 0)
            .with("content-type", "text/plain"),
        2 => request("POST", "/query/sql", json!({"sql": sql, "queryOptions": "timeoutMs=2000"}), 0),
        3 => request(
            "POST",
            "/dashboards/-/preview",
            json!({"sql": sql, "values": {"a": ""}, "last": "1h"}),
            0,
        ),
        _ => {
            let parameters = json!([1, "a", null, 1.5, true]);
            let body = json!({"sql": sql, "format": format, "deadline_ms": 2000, "parameters": parameters});
            request("POST", "/sql", body, 0)
        }
    }
}

/// One after the other on a connection, which the last one ends.
pub(super) fn http1(requests: &[Request]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        bytes.extend(request.head(request.method, &request.target, "HTTP/1.1").into_bytes());
        if index + 1 == requests.len() {
            bytes.extend_from_slice(b"connection: close\r\n");
        }
        if !request.body.is_empty() {
            bytes.extend(format!("content-length: {}\r\n", request.body.len()).into_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&request.body);
    }
    bytes
}

/// Lines that a head can have too many or the wrong ones of.
const LINES: [&str; 32] = [
    "content-length: 5",
    "content-length: 0",
    "content-length: -1",
    "content-length: 18446744073709551616",
    "transfer-encoding: chunked",
    "transfer-encoding: chunked, chunked",
    "transfer-encoding: gzip",
    "expect: 100-continue",
    "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__",
    "connection: keep-alive, close",
    "upgrade: websocket",
    "host: evil.example",
    "host:",
    "accept-encoding: gzip;q=0.5, zstd, *",
    "content-encoding: gzip",
    "cookie: headwater_session=bob.9999999999.AAAA; ; =; headwater_session",
    "authorization: Basic !!!",
    "authorization: Basic YTo=",
    "authorization: Bearer hw_nobody",
    "authorization: Negotiate",
    "traceparent: 00-00000000000000000000000000000000-0000000000000000-ff",
    "origin: null",
    "origin: http://[::1",
    "sec-fetch-site: cross-site",
    "if-match: \"1-x\"",
    "if-none-match: *",
    "accept: text/html, application/vnd.apache.parquet;q=nan",
    "content-type: text/plain; charset=\u{e4}",
    "content-type: application/xml",
    " a line that goes on",
    "no header",
    "x: \u{0}",
];

/// A body in chunks, of which some are wrong.
const CHUNKS: [&str; 6] = [
    "5\r\nabcde\r\n0\r\n\r\n",
    "11;a=b\r\n{\"sql\":\"SELECT 1\"\r\n1\r\n}\r\n0\r\na: b\r\n\r\n",
    "fffffffffffffffff\r\na",
    "-1\r\n\r\n",
    "5\r\nabcdefgh\r\n0\r\n\r\n",
    "0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
];

/// A request whose head says what it should not.
pub(super) fn mutated_head(random: &mut StdRng, good: &Request) -> Vec<u8> {
    // Not HEAD, whose answers have a length and no body.
    const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "OPTIONS", "TRACE", "get"];
    const VERSIONS: [&str; 5] = ["HTTP/1.0", "HTTP/1.1", "HTTP/1.1", "HTTP/2.0", "HTTP/0.9"];
    let method = if random.random_bool(0.3) { *METHODS.choose(random).expect("some") } else { good.method };
    let target = match random.random_range(0..5) {
        0 => good.target.clone(),
        1 => format!("{}?{}", good.target, mutate_text(random, "a=b&%20=%ff&q=SELECT+1&q=2&partition=0")),
        2 => format!("http://localhost:8099{}", good.target),
        // A space would end it.
        _ => mutate_text(random, &good.target).replace([' ', '\0'], "%20"),
    };
    let version = if random.random_bool(0.2) { *VERSIONS.choose(random).expect("some") } else { "HTTP/1.1" };
    let mut head = good.head(method, &target, version);
    for _ in 0..random.random_range(0..4) {
        head.push_str(LINES.choose(random).expect("some"));
        head.push_str("\r\n");
    }
    match random.random_range(0..30) {
        0 => head.push_str(&format!("x: {}\r\n", "a".repeat(70_000))),
        1 => (0..120).for_each(|number| head.push_str(&format!("x-{number}: y\r\n"))),
        _ => {}
    }
    head.push_str("\r\n");
    let body = match random.random_bool(0.5) {
        true => CHUNKS.choose(random).expect("some").as_bytes(),
        false => &good.body,
    };
    [head.as_bytes(), body].concat()
}
