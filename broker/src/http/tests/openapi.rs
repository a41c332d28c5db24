//! The document has what the router has, and nothing else.

use std::collections::BTreeSet;

use super::*;
use crate::http::shapes::SqlAnswer;

const METHODS: [&str; 5] = ["get", "post", "put", "delete", "patch"];

/// The paths and methods of the document.
fn documented_operations(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = METHODS.into_iter().filter(|method| item.get(method).is_some());
        methods.map(move |method| (path.clone(), method.to_uppercase()))
    });
    operations.collect()
}

/// The paths of the router, as its debug form shows them.
fn paths_of_router() -> BTreeSet<String> {
    let (router, _) = documented().split_for_parts();
    let text = format!("{router:?}");
    let quoted = text.split('"').skip(1).step_by(2);
    // axum has paths of its own for what no route takes.
    quoted
        .filter(|text| text.starts_with('/') && *text != "/" && !text.contains("__private"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn every_route_is_documented_and_every_document_routed() {
    let fixture = fixture();
    let document = fixture.get("/openapi.json").await.json();
    let operations = documented_operations(&document);
    let paths: BTreeSet<String> = operations.iter().map(|(path, _)| path.clone()).collect();
    assert_eq!(paths, paths_of_router());
    for path in &paths {
        let concrete = path.replace("{table}", "t").replace("{id}", "q-1").replace("{tenant}", "x");
        for method in METHODS.map(str::to_uppercase) {
            let request = Request::builder().method(method.as_str()).uri(&concrete).body(Body::empty());
            let answer = fixture.send(request.unwrap()).await;
            let is_taken = answer.status != StatusCode::METHOD_NOT_ALLOWED;
            let is_documented = operations.contains(&(path.clone(), method.clone()));
            assert_eq!(is_taken, is_documented, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn every_reference_has_its_schema() {
    let document = fixture().get("/openapi.json").await.text();
    let references = document.split("#/components/schemas/").skip(1);
    let names: BTreeSet<&str> = references.map(|rest| rest.split('"').next().unwrap()).collect();
    let document: Value = serde_json::from_str(&document).unwrap();
    assert!(names.len() > 5);
    for name in names {
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
    }
}

#[tokio::test]
async fn answers_have_the_documented_shape() {
    let fixture = fixture();
    for sql in ["SELECT city, n FROM t", "late"] {
        let answer = fixture.post("/sql", json!({"sql": sql})).await;
        serde_json::from_slice::<SqlAnswer>(&answer.body).unwrap_or_else(|error| panic!("{error}"));
    }
}
