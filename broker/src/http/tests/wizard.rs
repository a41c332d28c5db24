//! `/infer`, `/preview` and dry runs: what reaches the wizard, and how its answers and failures look.

use super::*;
use crate::wizard::{DryRun, InferRequest, Inferred, Preview, TableWizard, WizardError};

#[async_trait]
impl TableWizard for FakeAdmin {
    async fn dry_run(&self, name: &str, spec_text: &str) -> Result<DryRun, AdminError> {
        self.call(format!("dry run {spec_text}"), name)?;
        Ok(DryRun { applied: Applied::Updated, changes: vec!["retention: 7 days".into()] })
    }

    async fn infer(&self, request: InferRequest) -> Result<Inferred, WizardError> {
        let InferRequest { brokers, topic, properties, messages_max } = request;
        let known = vec!["orders".to_string(), "orders-eu".into(), "clicks".into()];
        match topic.as_str() {
            "oders" | "zebra" => return Err(WizardError::NoSuchTopic { topic, known }),
            "empty" => return Err(WizardError::EmptyTopic { topic }),
            "away" => {
                return Err(WizardError::Unreachable { brokers: "b:1".into(), reason: "timed out".into() });
            }
            "busy" => return Err(WizardError::Busy),
            _ => {}
        }
        self.calls.lock().push(format!("infer {brokers:?} {topic} {properties:?} {messages_max:?}"));
        let columns = vec![("n".into(), "LONG".into(), "n".into())];
        Ok(Inferred { spec: "name: t\n".into(), columns, messages_read: 3, undecodable: 1 })
    }

    async fn preview(&self, spec_text: &str, rows_max: Option<usize>) -> Result<Preview, WizardError> {
        self.calls.lock().push(format!("preview {spec_text} {rows_max:?}"));
        if spec_text == "bad" {
            let faults = vec![SpecFault { path: "name".into(), message: "missing".into() }];
            return Err(AdminError::Invalid { message: "1 fault".into(), faults }.into());
        }
        let batches = vec![numbers(2), numbers(1)];
        let dead_letters = vec![(1, 9, "n: not a number".into())];
        Ok(Preview { schema: numbers(0).schema(), batches, dead_letters, messages_read: 4 })
    }
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let fixture = fixture();
    let request = Request::put("/tables/t?dry_run=true").body(Body::from("name: t")).unwrap();
    let expected =
        json!({"table": "t", "applied": "updated", "changes": ["retention: 7 days"], "dry_run": true});
    let answer = fixture.send(request).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, expected));
    assert_eq!(*fixture.admin.calls.lock(), ["dry run name: t"]);
    // What is not understood must not be taken for a real run.
    for query in ["dry_run=maybe", "dryrun=true"] {
        let request = Request::put(format!("/tables/t?{query}")).body(Body::from("name: t")).unwrap();
        assert_eq!(fixture.send(request).await.status, StatusCode::BAD_REQUEST, "{query}");
    }
    assert_eq!(fixture.admin.calls.lock().len(), 1);
}

#[tokio::test]
async fn a_spec_is_inferred_and_its_rows_are_previewed() {
    let fixture = fixture();
    let body = r#"{"brokers": ["a:1"], "topic": "x", "properties": {"security.protocol": "SSL"}, "messages_max": 5}"#;
    let expected = json!({
        "spec": "name: t\n", "columns": [{"name": "n", "type": "LONG", "path": "n"}], "messages_read": 3, "undecodable": 1,
    });
    assert_eq!(fixture.post("/infer", body).await.json(), expected);
    let preview = fixture.post("/preview", r#"{"spec": "name: t", "rows_max": 3}"#).await;
    let expected = json!({
        "columns": [{"name": "n", "type": "LONG"}], "rows": [[0], [1], [0]],
        "dead_letters": [{"partition": 1, "offset": 9, "reason": "n: not a number"}], "messages_read": 4,
    });
    assert_eq!(preview.json(), expected);
    let calls = fixture.admin.calls.lock().clone();
    assert_eq!(calls[0], r#"infer ["a:1"] x {"security.protocol": String("SSL")} Some(5)"#);
    assert_eq!(calls[1], "preview name: t Some(3)");
}

#[tokio::test]
async fn failures_say_what_to_do() {
    let fixture = fixture();
    for (topic, status, kind, advice) in [
        ("oders", 404, "unknown_topic", "did you mean orders, orders-eu?"),
        ("zebra", 404, "unknown_topic", "there are 3 others"),
        ("empty", 409, "empty_topic", "produce some first"),
        ("away", 503, "kafka_unreachable", "security.protocol"),
        ("busy", 429, "overloaded", "try again"),
    ] {
        let body = json!({"brokers": ["a:1"], "topic": topic}).to_string();
        let answer = fixture.post("/infer", &body).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status.as_u16(), error["kind"].as_str().unwrap()), (status, kind), "{topic}");
        assert!(error["message"].as_str().unwrap().contains(advice), "{error}");
    }
    let refused = fixture.post("/preview", r#"{"spec": "bad"}"#).await;
    assert_eq!(refused.json()["error"]["faults"], json!([{"path": "name", "message": "missing"}]));
    for body in ["", "[]", r#"{"brokers": "a:1", "topic": "t"}"#, r#"{"brokers": [], "topic": "t", "x": 1}"#]
    {
        assert_eq!(fixture.post("/infer", body).await.status, StatusCode::BAD_REQUEST, "{body}");
    }
}
