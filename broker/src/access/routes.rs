//! The one table of what each request needs. What is not in it needs the most that its method can do, so that a route which
//! nobody thought of is closed and not open.

use axum::http::Method;

use super::Role;

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: nobody is asked who they are.
    Nothing,
    /// Nothing; whoever shows who they are learns more.
    Optional,
    /// The role.
    Role(Role),
}

/// Paths that are open to reads, because the sign-in page needs them or a load balancer does.
const OPEN: [&str; 7] =
    ["/", "/favicon.ico", "/favicon.svg", "/healthz", "/health", "/icon.svg", "/theme.js"];
/// Sessions check by themselves whom they belong to.
const SESSION: &str = "/session";
/// Below it are the console's scripts and styles, the same for everybody.
const ASSETS: &str = "/assets/";
/// Paths whose `POST` asks and changes nothing.
const QUERIES: [&str; 4] = ["/sql", "/query/sql", "/query", "/dashboards/-/preview"];
/// `DELETE` below it ends a query; the route lets a reader end their own only.
const RUNNING: &str = "/queries/";

/// What `method` on `path` needs.
pub(super) fn need(method: &Method, path: &str) -> Need {
    let reads = is_read(method);
    match path {
        SESSION => Need::Nothing,
        "/readyz" if reads => Need::Optional,
        _ if reads && (OPEN.contains(&path) || path.starts_with(ASSETS)) => Need::Nothing,
        _ if reads => Need::Role(Role::Reader),
        _ if method == Method::POST && QUERIES.contains(&path) => Need::Role(Role::Reader),
        _ if method == Method::DELETE && path.starts_with(RUNNING) => Need::Role(Role::Reader),
        _ => Need::Role(Role::Administrator),
    }
}

/// Whether the method only reads, as HTTP defines it.
pub(super) fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether the path is for load balancers, which name hosts as they like.
pub(super) fn is_probe(path: &str) -> bool {
    matches!(path, "/healthz" | "/health" | "/readyz")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_its_need() {
        use Need::{Nothing, Optional};
        let reader = Need::Role(Role::Reader);
        let administrator = Need::Role(Role::Administrator);
        let cases = [
            ("GET", "/", Nothing),
            ("GET", "/assets/index-1a2b.js", Nothing),
            ("GET", "/theme.js", Nothing),
            ("GET", "/icon.svg", Nothing),
            ("HEAD", "/healthz", Nothing),
            ("GET", "/readyz", Optional),
            ("GET", "/session", Nothing),
            ("POST", "/session", Nothing),
            ("DELETE", "/session", Nothing),
            ("GET", "/metrics", reader),
            ("GET", "/sql", reader),
            ("POST", "/sql", reader),
            ("POST", "/query/sql", reader),
            ("POST", "/query", reader),
            ("GET", "/query", reader),
            ("DELETE", "/queries/1", reader),
            ("GET", "/tables", reader),
            ("GET", "/tables/t", reader),
            ("GET", "/dashboards/d/live", reader),
            ("PUT", "/dashboards/d", administrator),
            ("PUT", "/tables/t", administrator),
            ("DELETE", "/tables/t", administrator),
            ("POST", "/tables/t/pause", administrator),
            ("POST", "/infer", administrator),
            ("POST", "/preview", administrator),
            // What nobody thought of.
            ("GET", "/new", reader),
            ("POST", "/new", administrator),
            ("PATCH", "/sql", administrator),
            ("TRACE", "/", administrator),
            ("POST", "/", administrator),
            ("POST", "/assets/x", administrator),
            // A path is what its bytes are: none of these is another spelling of an open one.
            ("GET", "/assets", reader),
            ("GET", "//healthz", reader),
            ("GET", "/healthz/", reader),
            ("POST", "/sql/", administrator),
            ("POST", "/query/", administrator),
            ("POST", "/%73ql", administrator),
        ];
        for (method, path, expected) in cases {
            assert_eq!(need(&method.parse().unwrap(), path), expected, "{method} {path}");
        }
    }
}
