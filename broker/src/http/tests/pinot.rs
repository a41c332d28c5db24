//! `/query/sql` and the metadata reads of Pinot's clients.

use super::*;

async fn query(fixture: &Fixture, body: Value, use_status: bool) -> Answer {
    let mut request = Request::post("/query/sql").header("content-type", "application/json");
    if use_status {
        request = request.header("Pinot-Use-Http-Status-For-Errors", "true");
    }
    fixture.send(request.body(Body::from(body.to_string())).unwrap()).await
}

#[tokio::test]
async fn answer_document() {
    let fixture = fixture();
    let sql = "SELECT city AS 'the city', n, CAST(n AS DECIMAL(9,2)) AS d, [n] AS a FROM t ORDER BY n LIMIT 2;\nSET x=1;";
    let answer = query(&fixture, json!({"sql": sql, "trace": false}), false).await;
    assert_eq!((answer.status, answer.header("x-pinot-error-code")), (StatusCode::OK, "-1"));
    let document = answer.json();
    let expected = json!({
        "dataSchema": {
            "columnNames": ["the city", "n", "d", "a"],
            "columnDataTypes": ["STRING", "LONG", "BIG_DECIMAL", "LONG_ARRAY"],
        },
        "rows": [["Ulm", 1, "1.00", [1]], ["Bonn", 2, "2.00", [2]]],
    });
    assert_eq!(document["resultTable"], expected);
    for (field, value) in [
        ("exceptions", json!([])),
        ("partialResult", json!(false)),
        ("requestId", json!("q-1")),
        ("numDocsScanned", json!(5)),
        ("numServersQueried", json!(1)),
        ("numServersResponded", json!(1)),
        ("numSegmentsQueried", json!(3)),
        ("numSegmentsProcessed", json!(2)),
        ("numSegmentsPrunedByBroker", json!(1)),
        ("numGroupsLimitReached", json!(false)),
        ("numRowsResultSet", json!(2)),
        ("tablesQueried", json!(["t"])),
        ("traceInfo", json!({})),
    ] {
        assert_eq!(document[field], value, "{field}");
    }
    for number in ["timeUsedMs", "totalDocs", "minConsumingFreshnessTimeMs", "numConsumingSegmentsQueried"] {
        assert!(document[number].is_u64(), "{number}");
    }
}

#[tokio::test]
async fn timeouts_are_honoured_wherever_they_stand() {
    let fixture = fixture();
    let cases = [
        json!({"sql": "SELECT 1", "queryOptions": "timeoutMs=500;groupByMode=sql"}),
        json!({"sql": "SET timeoutMs=500; SELECT 1"}),
        json!({"sql": "SELECT 1; SET timeoutMs=500;", "queryOptions": "timeoutMs=900"}),
    ];
    for body in cases {
        assert_eq!(query(&fixture, body, false).await.json()["exceptions"], json!([]));
        let seen = fixture.engine.seen.lock().take().unwrap();
        assert_eq!(seen.deadline, Some(Duration::from_millis(500)));
    }
    let by_get = fixture.get("/query/sql?sql=SELECT%201&queryOptions=timeoutMs%3D500").await.json();
    assert_eq!(by_get["resultTable"]["rows"], json!([[1]]));
    assert_eq!(fixture.engine.seen.lock().take().unwrap().deadline, Some(Duration::from_millis(500)));
}

#[tokio::test]
async fn failures_are_200_unless_asked_otherwise() {
    let fixture = fixture();
    for (sql, status, code) in
        [("typo", 400, 710), ("overloaded", 429, 429), ("early", 422, 200), ("late", 422, 200)]
    {
        for use_status in [false, true] {
            let answer = query(&fixture, json!({"sql": sql}), use_status).await;
            assert_eq!(answer.status.as_u16(), if use_status { status } else { 200 }, "{sql}");
            assert_eq!(answer.header("x-pinot-error-code"), code.to_string());
            let document = answer.json();
            assert_eq!(document["exceptions"][0]["errorCode"], code);
            assert!(document.get("resultTable").is_none());
            assert_eq!(document["numServersResponded"], 1);
        }
    }
    let typo = query(&fixture, json!({"sql": "typo"}), false).await.json();
    let message = "no column citi (line 2, column 8); did you mean city?";
    assert_eq!(typo["exceptions"][0]["message"], message);
    let timeout = query(&fixture, json!({"sql": "SET timeoutMs=soon; SELECT 1"}), false).await.json();
    assert_eq!(timeout["exceptions"][0]["errorCode"], 700);
}

#[tokio::test]
async fn malformed_requests_are_400() {
    let fixture = fixture();
    for body in ["", "{", "{}", "{\"sql\": null}"] {
        assert_eq!(fixture.post("/query/sql", body).await.status, StatusCode::BAD_REQUEST, "{body}");
    }
    assert_eq!(fixture.get("/query/sql").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn large_answers_are_streamed() {
    let fixture = fixture();
    let sql = "SELECT value FROM generate_series(1, 300000)";
    let document = query(&fixture, json!({"sql": sql}), false).await.json();
    assert_eq!(document["numRowsResultSet"], 300_000);
    assert_eq!(document["resultTable"]["rows"].as_array().unwrap().len(), 300_000);
}

#[tokio::test]
async fn metadata_reads() {
    let fixture = fixture();
    let sizes = fixture.get("/tables/t/metadata").await.json();
    assert_eq!(sizes, json!({"tableName": "t", "diskSizeInBytes": 4096, "numSegments": 3, "numRows": 100}));
    let schema = fixture.get("/tables/t/schema").await.json();
    let expected = json!({
        "schemaName": "t",
        "dimensionFieldSpecs": [
            {"name": "city", "dataType": "STRING", "notNull": false},
            {"name": "id", "dataType": "STRING", "notNull": false},
            {"name": "tags", "dataType": "STRING", "notNull": false, "singleValueField": false},
        ],
        "metricFieldSpecs": [{"name": "price", "dataType": "BIG_DECIMAL", "notNull": false}],
        "dateTimeFieldSpecs": [{
            "name": "at", "dataType": "TIMESTAMP", "notNull": false,
            "format": "TIMESTAMP", "granularity": "1:MILLISECONDS",
        }],
    });
    assert_eq!(schema, expected);
    assert_eq!(fixture.get("/tables/missing/schema").await.status, StatusCode::NOT_FOUND);
    let request =
        Request::get("/v2/brokers/tables").header("host", "localhost:8099").body(Body::empty()).unwrap();
    let brokers = fixture.send(request).await.json();
    assert_eq!((&brokers["t"][0]["host"], &brokers["t"][0]["port"]), (&json!("localhost"), &json!(8099)));
}
