//! `/dashboards`: what the calls answer, and what they refuse.

use axum::http::Method;
use parking_lot::Mutex as Lock;

use super::*;
use crate::dashboards::{
    Dashboard, DashboardError, DashboardStore, DashboardSummary, Expected, Revision, StoredDashboard,
};

/// Keeps dashboards in memory.
#[derive(Default)]
pub(super) struct FakeStore(Lock<BTreeMap<String, StoredDashboard>>);

#[async_trait]
impl DashboardStore for FakeStore {
    async fn list(&self) -> Result<Vec<DashboardSummary>, DashboardError> {
        let all = self.0.lock();
        let summary = |(id, stored): (&String, &StoredDashboard)| DashboardSummary {
            id: id.clone(),
            title: stored.dashboard.title.clone(),
            revision: stored.revision.clone(),
            updated_at_ms: stored.updated_at_ms,
        };
        Ok(all.iter().map(summary).collect())
    }

    async fn get(&self, id: &str) -> Result<StoredDashboard, DashboardError> {
        self.0.lock().get(id).cloned().ok_or_else(|| DashboardError::NotFound(id.into()))
    }

    async fn revision(&self, id: &str) -> Result<Option<Revision>, DashboardError> {
        Ok(self.0.lock().get(id).map(|stored| stored.revision.clone()))
    }

    async fn put(
        &self,
        id: &str,
        dashboard: &Dashboard,
        expected: Expected,
    ) -> Result<Revision, DashboardError> {
        let mut all = self.0.lock();
        let present = all.get(id).map(|stored| stored.revision.clone());
        expected.check(id, present.as_ref())?;
        let version = present.map(|present| present.version);
        let revision = Revision::new(version.unwrap_or_default() + 1, "w");
        let stored = StoredDashboard {
            dashboard: dashboard.clone(),
            revision: revision.clone(),
            updated_at_ms: 1_000,
        };
        all.insert(id.into(), stored);
        Ok(revision)
    }

    async fn delete(&self, id: &str, expected: Expected) -> Result<(), DashboardError> {
        let mut all = self.0.lock();
        expected.check(id, all.get(id).map(|stored| &stored.revision))?;
        all.remove(id);
        Ok(())
    }
}

fn document() -> Value {
    json!({
        "title": "Cities",
        "refresh_ms": 1000,
        "time": {"last": "1h"},
        "variables": [
            {"name": "city", "label": "City", "kind": "text", "default": "Ulm"},
            {"name": "cities", "label": "Cities", "kind": "list", "sql": "SELECT city FROM t ORDER BY n", "default": ""},
        ],
        "panels": [
            {"id": "all", "title": "All", "sql": "SELECT city, n FROM t ORDER BY n", "kind": "table", "at": {"x": 0, "y": 0, "w": 6, "h": 3}},
        ],
    })
}

impl Fixture {
    async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }
}

const NEW: &[(&str, &str)] = &[("if-none-match", "*")];

#[tokio::test]
async fn from_new_to_deleted() {
    let fixture = fixture();
    assert_eq!(fixture.get("/dashboards").await.json(), json!({"dashboards": []}));
    let made = fixture.call(Method::PUT, "/dashboards/cities", NEW, &document()).await;
    assert_eq!(
        (made.status.as_u16(), made.json()),
        (201, json!({"id": "cities", "version": 1, "etag": "1-w"}))
    );
    let read = fixture.get("/dashboards/cities").await;
    assert_eq!((read.header("etag"), read.json()), ("\"1-w\"", document()));
    assert_eq!(read.header("headwater-dashboard-version"), "1");
    // What was read can be written as it is.
    let matching = [("if-match", read.header("etag"))];
    let changed = fixture.call(Method::PUT, "/dashboards/cities", &matching, &read.json()).await;
    assert_eq!((changed.status.as_u16(), changed.header("etag")), (200, "\"2-w\""));
    let list = json!([
        {"id": "cities", "title": "Cities", "version": 2, "etag": "2-w", "updated_at": "1970-01-01T00:00:01.000Z"}
    ]);
    assert_eq!(fixture.get("/dashboards").await.json()["dashboards"], list);
    let deleted =
        fixture.call(Method::DELETE, "/dashboards/cities", &[("if-match", "*")], &json!(null)).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    assert_eq!(fixture.get("/dashboards/cities").await.status, StatusCode::NOT_FOUND);
}

/// Headers of a request.
type Headers = &'static [(&'static str, &'static str)];

#[tokio::test]
async fn writers_say_what_they_change() {
    let fixture = fixture();
    fixture.call(Method::PUT, "/dashboards/a", NEW, &document()).await;
    let cases: [(Headers, u16, &str); 10] = [
        (NEW, 412, "conflict"),
        (&[("if-match", "\"7-w\"")], 412, "conflict"),
        // The same number, of another life.
        (&[("if-match", "\"1-v\"")], 412, "conflict"),
        (&[("if-match", "\"1\"")], 412, "conflict"),
        (&[("if-match", "\"1-w\", \"2-w\"")], 400, "bad_request"),
        (&[("if-match", "\"\"")], 400, "bad_request"),
        (&[], 428, "precondition_required"),
        (&[("if-match", "W/\"1-w\"")], 400, "bad_request"),
        (&[("if-match", "1-w"), ("if-none-match", "*")], 400, "bad_request"),
        (&[("if-none-match", "\"1\"")], 400, "bad_request"),
    ];
    for (headers, status, kind) in cases {
        let refused = fixture.call(Method::PUT, "/dashboards/a", headers, &document()).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.json()["error"]["kind"]),
            (status, &json!(kind)),
            "{headers:?}"
        );
    }
    let refused = fixture.call(Method::PUT, "/dashboards/a", NEW, &document()).await;
    assert_eq!(refused.json()["error"]["version"], 1);
    // Also without the quotes, as it stands in answers.
    let changed = fixture.call(Method::PUT, "/dashboards/a", &[("if-match", "1-w")], &document()).await;
    assert_eq!((changed.status, &changed.json()["etag"]), (StatusCode::OK, &json!("2-w")));
    let delete = fixture.call(Method::DELETE, "/dashboards/a", NEW, &json!(null)).await;
    assert_eq!(delete.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_bad_document_is_refused_with_all_its_faults() {
    let fixture = fixture();
    let bad = json!({"title": "", "panels": [{"id": "a", "kind": "pie", "sql": "SELECT $x", "at": {"x": 0, "y": 0, "w": 1, "h": 1}}]});
    let refused = fixture.call(Method::PUT, "/dashboards/a", NEW, &bad).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let faults: Vec<Value> = refused.json()["error"]["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["path"].clone())
        .collect();
    assert_eq!(faults, ["title", "panels[0].sql", "panels[0].kind"]);
    for id in ["A", "-", "a.b", "a%2fb", "%C3%BC"] {
        let refused = fixture.call(Method::PUT, &format!("/dashboards/{id}"), NEW, &document()).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{id}");
        assert_eq!(
            fixture.get(&format!("/dashboards/{id}/live")).await.status,
            StatusCode::BAD_REQUEST,
            "{id}"
        );
    }
    let text =
        fixture.send(Request::put("/dashboards/a").header("if-none-match", "*").body("nope".into()).unwrap());
    assert_eq!(text.await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_preview_runs_once() {
    let fixture = fixture();
    let body = json!({"sql": "SELECT n FROM t WHERE n > 1 ORDER BY n -- $city", "values": {"city": "Ulm"}, "last": "5m"});
    let answer = fixture.post("/dashboards/-/preview", &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.json()["rows"], json!([[2], [3]]));
    let user = fixture.engine.seen.lock().as_ref().unwrap().user.clone();
    assert_eq!(user.as_deref(), Some("anonymous"), "it runs for whoever asks");
    assert_eq!(answer.json()["columns"], json!([{"name": "n", "type": "LONG"}]));
    assert_eq!(answer.json()["cuts"]["t"]["offsets"], json!({"0": 10, "1": 20}));
    let cases = [
        json!({"sql": "SELECT $no", "last": "5m"}),
        json!({"sql": "SELECT 1", "last": "soon"}),
        json!({"sql": " ", "last": "5m"}),
        json!({"sql": "SELECT 1"}),
        json!({"sql": "SELECT 1", "last": "5m", "values": {"a": "x".repeat(2_000)}}),
        json!({"sql": "x".repeat(20_000), "last": "5m"}),
    ];
    for body in cases {
        let refused = fixture.post("/dashboards/-/preview", &body).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body}");
    }
}

#[tokio::test]
async fn the_values_of_a_variable() {
    let fixture = fixture();
    fixture.call(Method::PUT, "/dashboards/a", NEW, &document()).await;
    let values = fixture.get("/dashboards/a/values/cities").await;
    assert_eq!((values.status, values.header("content-type")), (StatusCode::OK, "application/json"));
    assert_eq!(values.json(), json!({"values": ["Ulm", "Bonn", null], "more": false}));
    for path in ["/dashboards/a/values/city", "/dashboards/a/values/x", "/dashboards/b/values/cities"] {
        assert_eq!(fixture.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(fixture.get("/dashboards/A/values/cities").await.status, StatusCode::BAD_REQUEST);
    let mut failing = document();
    failing["variables"][1]["sql"] = json!("typo");
    fixture.call(Method::PUT, "/dashboards/a", &[("if-match", "1-w")], &failing).await;
    let failed = fixture.get("/dashboards/a/values/cities").await;
    assert_eq!((failed.status.as_u16(), &failed.json()["error"]["kind"]), (400, &json!("plan")));
    // It ends where nobody could choose from it, and the statement with it.
    failing["variables"][1]["sql"] = json!("endless");
    fixture.call(Method::PUT, "/dashboards/a", &[("if-match", "2-w")], &failing).await;
    let endless = fixture.get("/dashboards/a/values/cities").await.json();
    assert_eq!((endless["values"].as_array().unwrap().len(), &endless["more"]), (1_000, &json!(true)));
    fixture.wait_alive(0).await;
}

/// Reads a body until it has what is wanted.
async fn read_until(body: &mut axum::body::BodyDataStream, wanted: &str) -> String {
    let mut text = String::new();
    let read = async {
        while !text.contains(wanted) {
            text.push_str(std::str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap());
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(5), read).await;
    assert!(outcome.is_ok(), "no {wanted} in {text}");
    text
}

#[tokio::test]
async fn watching_is_a_stream_of_events() {
    let fixture = fixture();
    fixture.call(Method::PUT, "/dashboards/a", NEW, &document()).await;
    let request = Request::get("/dashboards/a/live?var.city=Bonn&last=5m").body(Body::empty()).unwrap();
    let response = fixture.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let mut body = response.into_body().into_data_stream();
    let text = read_until(&mut body, "event: panel").await;
    assert!(text.starts_with("retry: 1000\nevent: beat\n"), "{text}");
    assert!(text.contains(r#""rows":[["Ulm",1],["Bonn",2],[null,3]]"#), "{text}");
    fixture.call(Method::PUT, "/dashboards/a", &[("if-match", "\"1-w\"")], &document()).await;
    read_until(&mut body, "event: dashboard\ndata: {\"version\":2,\"etag\":\"2-w\"}\n\n").await;
    assert!(body.next().await.is_none());

    for path in [
        "/dashboards/b/live",
        "/dashboards/a/live?var.town=x",
        "/dashboards/a/live?vra.city=x",
        "/dashboards/a/live?last=0s",
    ] {
        assert!(fixture.get(path).await.status.is_client_error(), "{path}");
    }
}
