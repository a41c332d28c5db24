//! `/tables`: what reaches the administration, and how its failures look.

use super::*;

async fn put(fixture: &Fixture, table: &str, spec: &str) -> Answer {
    fixture.send(Request::put(format!("/tables/{table}")).body(Body::from(spec.to_string())).unwrap()).await
}

#[tokio::test]
async fn calls_reach_the_administration() {
    let fixture = fixture();
    let applied = put(&fixture, "t", "name: t").await;
    assert_eq!(
        (applied.status, applied.json()),
        (StatusCode::CREATED, json!({"table": "t", "applied": "created"}))
    );
    fixture.post("/tables/t/pause?partition=3", "").await;
    fixture.post("/tables/t/resume", "").await;
    let sealed = fixture.post("/tables/t/seal", "").await.json();
    assert_eq!(sealed["segments"], json!([{"from": 0, "to": 5}]));
    for query in ["", "?purge=true", "?purge=false"] {
        let request = Request::delete(format!("/tables/t{query}")).body(Body::empty()).unwrap();
        assert_eq!(fixture.send(request).await.status, StatusCode::OK);
    }
    let expected = [
        "apply name: t",
        "pause Some(3)",
        "resume None",
        "seal None",
        "drop false",
        "drop true",
        "drop false",
    ];
    assert_eq!(*fixture.admin.calls.lock(), expected);
}

#[tokio::test]
async fn failures() {
    let fixture = fixture();
    let refused = put(&fixture, "t", "bad").await;
    let expected = json!({"error": {
        "kind": "invalid", "message": "1 fault",
        "faults": [{"path": "columns[3].type", "message": "not a type"}],
    }});
    assert_eq!((refused.status.as_u16(), refused.json()), (400, expected));
    for (table, status) in [("missing", 404), ("busy", 409), ("offline", 503)] {
        assert_eq!(fixture.post(&format!("/tables/{table}/seal"), "").await.status.as_u16(), status);
    }
    let nameless = fixture.get("/tables/%ff").await;
    assert_eq!((nameless.status.as_u16(), &nameless.json()["error"]["kind"]), (400, &json!("bad_request")));
    for path in ["/tables/t/pause?partition=-1", "/tables/t/pause?partition=x", "/tables/t/pause?part=1"] {
        assert_eq!(fixture.post(path, "").await.status, StatusCode::BAD_REQUEST, "{path}");
    }
    let request = Request::delete("/tables/t?purge=maybe").body(Body::empty()).unwrap();
    assert_eq!(fixture.send(request).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn one_document_for_our_clients_and_for_pinots() {
    let fixture = fixture();
    assert_eq!(fixture.get("/tables").await.json(), json!({"tables": ["t"]}));
    // Pinot's clients ask for a half of a table, too.
    for path in ["/tables/t", "/tables/t_REALTIME", "/tables/t_OFFLINE"] {
        let document = fixture.get(path).await.json();
        assert_eq!(document["table"]["name"], "t");
        assert_eq!(document["REALTIME"]["tableName"], "t_REALTIME");
        assert_eq!(document["REALTIME"]["tableType"], "REALTIME");
        assert_eq!(document["REALTIME"]["segmentsConfig"]["timeColumnName"], "at");
        // Grafana reads it as a map to objects, and fails on anything else.
        let values = document.as_object().unwrap();
        assert!(values.values().all(Value::is_object), "{document}");
    }
    assert_eq!(fixture.get("/tables/missing").await.status, StatusCode::NOT_FOUND);
}
