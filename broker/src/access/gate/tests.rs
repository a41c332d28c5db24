//! The gate, before routes that say who came through.

use std::net::SocketAddr;

use async_trait::async_trait;
use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::routing::{any, get};
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::access::KnownUser;

/// `ada`, an administrator, and `bob`, a reader; their passwords are their names twice. One token of each role.
struct Two {
    /// Where attempts came from.
    seen: Mutex<Vec<Option<IpAddr>>>,
    stamp: Mutex<[u8; 16]>,
}

fn of(name: &str, role: Role) -> Result<Principal, AccessError> {
    Ok(Principal { name: name.into(), role })
}

#[async_trait]
impl AccessControl for Two {
    fn is_open(&self) -> bool {
        false
    }

    async fn authenticate(&self, credentials: Credentials) -> Result<Principal, AccessError> {
        match credentials {
            Credentials::None => Err(AccessError::Missing),
            Credentials::Password { user, password } => match (user.as_str(), password.as_str()) {
                ("ada", "adaada") => of("ada", Role::Administrator),
                ("bob", "bobbob") => of("bob", Role::Reader),
                ("slow", _) => Err(AccessError::Throttled { retry_after_s: 7 }),
                _ => Err(AccessError::Wrong),
            },
            Credentials::Token(token) => match token.as_str() {
                "hw_admin" => of("deploy", Role::Administrator),
                "hw_read" => of("grafana", Role::Reader),
                _ => Err(AccessError::Wrong),
            },
        }
    }

    async fn authenticate_from(
        &self,
        credentials: Credentials,
        address: Option<IpAddr>,
    ) -> Result<Principal, AccessError> {
        self.seen.lock().push(address);
        self.authenticate(credentials).await
    }

    fn user(&self, name: &str) -> Option<KnownUser> {
        let role = match name {
            "ada" => Role::Administrator,
            "bob" => Role::Reader,
            _ => return None,
        };
        Some(KnownUser { principal: of(name, role).unwrap(), stamp: *self.stamp.lock() })
    }
}

struct Fixture {
    access: Arc<Two>,
    doors: Arc<Doors>,
    router: Router,
}

fn behind(doors: Doors) -> (Arc<Doors>, Router) {
    let whoami = |principal: Option<Extension<Principal>>| async move {
        principal.map_or("nobody".into(), |Extension(principal)| principal.name)
    };
    let doors = Arc::new(doors);
    let routes = Router::new()
        .route("/", get(|| async { "console" }))
        .route("/readyz", get(whoami))
        .route("/healthz", get(|| async { "ok" }))
        .route("/sql", any(whoami))
        .route("/query/sql", any(whoami))
        .route("/query", any(whoami))
        .route("/tables/{t}/pause", any(whoami))
        .route("/tables", get(whoami));
    (doors.clone(), guard(doors, routes))
}

fn fixture() -> Fixture {
    let access = Arc::new(Two { seen: Mutex::default(), stamp: Mutex::default() });
    let doors = Doors::new(access.clone(), SessionKey::random(), Hosts::any(), false);
    let (doors, router) = behind(doors);
    Fixture { access, doors, router }
}

/// Status, headers and body of the answer to a request with these headers.
async fn send(
    router: &Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> (u16, HeaderMap, String) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(Peer(SocketAddr::from(([10, 0, 0, 9], 4000))));
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn who_is_let_in_and_for_what() {
    let Fixture { router, access, .. } = fixture();
    let (ada, bob) = (basic("ada", "adaada"), basic("bob", "bobbob"));
    let cases: [(&str, &str, Option<&str>, u16, &str); 20] = [
        ("POST", "/sql", None, 401, ""),
        ("POST", "/sql", Some(&bob), 200, "bob"),
        ("POST", "/sql", Some(&ada), 200, "ada"),
        ("POST", "/sql", Some("Bearer hw_read"), 200, "grafana"),
        ("GET", "/tables", Some("bearer   hw_read "), 200, "grafana"),
        // A token in the place of a password, for clients that know no tokens.
        ("POST", "/sql", Some(&basic("anything", "hw_read")), 200, "grafana"),
        ("POST", "/tables/t/pause", Some(&ada), 200, "ada"),
        ("POST", "/tables/t/pause", Some("Bearer hw_admin"), 200, "deploy"),
        ("POST", "/tables/t/pause", Some(&bob), 403, ""),
        ("POST", "/tables/t/pause", Some("Bearer hw_read"), 403, ""),
        ("POST", "/tables/t/pause", None, 401, ""),
        ("GET", "/tables", Some(&basic("bob", "wrong")), 401, ""),
        ("GET", "/tables", Some(&basic("nobody", "bobbob")), 401, ""),
        ("GET", "/tables", Some("Bearer hw_gone"), 401, ""),
        ("GET", "/tables", Some("Bearer"), 401, ""),
        ("GET", "/tables", Some("Basic %%%"), 401, ""),
        ("GET", "/tables", Some("Basic bm9jb2xvbg=="), 401, ""),
        ("GET", "/tables", Some("Negotiate abc"), 401, ""),
        ("GET", "/readyz", None, 200, "nobody"),
        ("GET", "/readyz", Some(&bob), 200, "bob"),
    ];
    for (method, path, shown, status, name) in cases {
        let headers: Vec<_> = shown.into_iter().map(|shown| ("authorization", shown)).collect();
        let (answered, headers, body) = send(&router, method, path, &headers).await;
        assert_eq!(answered, status, "{method} {path} {shown:?}: {body}");
        if status == 200 {
            assert_eq!(body, name, "{method} {path} {shown:?}");
        } else {
            let body: Value = serde_json::from_str(&body).unwrap();
            assert!(body["error"]["message"].is_string(), "{body}");
        }
        assert_eq!(headers.contains_key("www-authenticate"), status == 401, "{method} {path}");
    }
    let twice = [("authorization", "Bearer hw_read"), ("authorization", "Bearer hw_read")];
    assert_eq!(send(&router, "GET", "/tables", &twice).await.0, 401);
    assert!(access.seen.lock().iter().all(|from| from.is_some_and(|from| from.to_string() == "10.0.0.9")));
    let (status, headers, _) =
        send(&router, "GET", "/tables", &[("authorization", &basic("slow", "x"))]).await;
    assert_eq!((status, headers["retry-after"].to_str().unwrap()), (429, "7"));
}

#[tokio::test]
async fn a_refusal_fits_who_asked() {
    let Fixture { router, .. } = fixture();
    for path in ["/query/sql", "/query"] {
        let (status, headers, body) = send(&router, "POST", path, &[]).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &body["exceptions"][0]["errorCode"]), (401, &json!(180)), "{path}");
        assert_eq!(headers["x-pinot-error-code"], "180");
        assert_eq!(headers["www-authenticate"], "Basic realm=\"headwater\", charset=\"UTF-8\"");
    }
    // A script's request gets no dialog of the browser's own.
    let script = [("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")];
    assert_eq!(
        send(&router, "GET", "/tables", &script).await.1["www-authenticate"],
        "Bearer realm=\"headwater\""
    );
    // A person gets the console, whatever they asked for, and nothing else.
    let person = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    for path in ["/tables", "/sql?q=SELECT%201", "/nowhere"] {
        let (status, _, body) = send(&router, "GET", path, &person).await;
        assert_eq!((status, body.as_str()), (200, "console"), "{path}");
    }
    assert_eq!(send(&router, "POST", "/sql", &person).await.0, 401);
    let wrong = [person[0], ("authorization", "Bearer hw_gone")];
    assert_eq!(send(&router, "GET", "/tables", &wrong).await.0, 401);
}

#[tokio::test]
async fn a_cookie_alone_changes_nothing() {
    let Fixture { router, doors, access } = fixture();
    let session = doors.sessions.begin(&access.user("ada").unwrap(), now_s());
    let cookie = format!("theme=dark; headwater_session={}", doors.sessions.cookie(&session));
    let csrf = doors.sessions.csrf(&session);
    let cookie = ("cookie", cookie.as_str());
    assert_eq!(send(&router, "GET", "/tables", &[cookie]).await.2, "ada");
    assert_eq!(send(&router, "POST", "/tables/t/pause", &[cookie, (CSRF, &csrf)]).await.0, 200);
    for path in ["/sql", "/tables/t/pause"] {
        assert_eq!(send(&router, "POST", path, &[cookie]).await.0, 403, "{path}");
        assert_eq!(send(&router, "POST", path, &[cookie, (CSRF, "")]).await.0, 403, "{path}");
        assert_eq!(send(&router, "POST", path, &[cookie, (CSRF, &csrf[1..])]).await.0, 403, "{path}");
        let other = doors.sessions.csrf(&doors.sessions.begin(&access.user("ada").unwrap(), now_s()));
        assert_eq!(send(&router, "POST", path, &[cookie, (CSRF, &other)]).await.0, 403, "{path}");
        // Even with the proof, not from another site.
        let site = ("sec-fetch-site", "same-site");
        assert_eq!(send(&router, "POST", path, &[cookie, (CSRF, &csrf), site]).await.0, 403, "{path}");
    }
    // Another password, and the session is over.
    access.stamp.lock()[0] = 1;
    assert_eq!(send(&router, "GET", "/tables", &[cookie]).await.0, 401);
}

#[tokio::test]
async fn an_old_cookie_is_renewed() {
    let Fixture { router, doors, access } = fixture();
    let before = doors.sessions.begin(&access.user("bob").unwrap(), now_s() - 3600);
    let cookie = format!("headwater_session={}", doors.sessions.cookie(&before));
    let (_, headers, body) = send(&router, "GET", "/tables", &[("cookie", &cookie)]).await;
    assert_eq!(body, "bob");
    let set = headers["set-cookie"].to_str().unwrap();
    assert!(set.starts_with("headwater_session=") && set.contains("; HttpOnly; SameSite=Strict"), "{set}");
    assert!(!set.contains(cookie.as_str()) && !set.contains("Secure"));
    let (_, headers, _) =
        send(&router, "GET", "/tables", &[("cookie", set.split(';').next().unwrap())]).await;
    assert!(!headers.contains_key("set-cookie"));
    let expired = doors.sessions.begin(&access.user("bob").unwrap(), now_s() - 13 * 3600);
    let cookie = format!("headwater_session={}", doors.sessions.cookie(&expired));
    assert_eq!(send(&router, "GET", "/tables", &[("cookie", &cookie)]).await.0, 401);
}

#[tokio::test]
async fn over_tls_the_cookie_is_for_tls_only() {
    let access = Arc::new(Two { seen: Mutex::default(), stamp: Mutex::default() });
    let (doors, router) = behind(Doors::new(access, SessionKey::random(), Hosts::any(), true));
    let set = doors.set_cookie(None);
    let set = set.to_str().unwrap();
    assert!(set.starts_with("__Host-headwater=; Path=/; Max-Age=0;") && set.ends_with("; Secure"), "{set}");
    for (host, strict) in [("olap.example", true), ("localhost:8099", false), ("127.0.0.1", false)] {
        let (_, headers, _) = send(&router, "GET", "/healthz", &[("host", host)]).await;
        assert_eq!(headers.contains_key("strict-transport-security"), strict, "{host}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
    }
}

#[tokio::test]
async fn an_open_server_answers_its_own_hosts_only() {
    let (_, router) = behind(Doors::open());
    for host in ["localhost:8099", "127.0.0.1:8099", "[::1]:8099"] {
        assert_eq!(send(&router, "POST", "/sql", &[("host", host)]).await.2, "anonymous", "{host}");
    }
    for host in ["evil.example", "evil.example:8099", "x"] {
        for (method, path) in
            [("POST", "/sql"), ("GET", "/tables"), ("GET", "/"), ("POST", "/tables/t/pause")]
        {
            let (status, _, body) = send(&router, method, path, &[("host", host)]).await;
            assert_eq!(status, 403, "{method} {path} {host}");
            assert!(body.contains("http.hosts"), "{body}");
        }
        assert_eq!(send(&router, "GET", "/healthz", &[("host", host)]).await.0, 200);
        // Nobody asks: only somebody is told reasons.
        let (status, _, body) = send(&router, "GET", "/readyz", &[("host", host)]).await;
        assert_eq!((status, body.as_str()), (200, "nobody"), "{host}");
    }
    assert_eq!(send(&router, "GET", "/readyz", &[("host", "localhost")]).await.2, "anonymous");
    assert_eq!(send(&router, "GET", "/readyz", &[]).await.2, "anonymous");
    // Nothing that a client shows is looked at.
    let shown = [("host", "localhost"), ("authorization", "Basic %%%")];
    assert_eq!(send(&router, "POST", "/sql", &shown).await.2, "anonymous");
}

#[tokio::test]
async fn encoded_bodies_are_refused() {
    let (_, router) = behind(Doors::open());
    for encoding in ["gzip", "zstd", "br", "gzip, gzip", "identity, gzip"] {
        assert_eq!(
            send(&router, "POST", "/sql", &[("content-encoding", encoding)]).await.0,
            415,
            "{encoding}"
        );
    }
    assert_eq!(send(&router, "POST", "/sql", &[("content-encoding", "Identity")]).await.0, 200);
}
