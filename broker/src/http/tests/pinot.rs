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
            "columnDataTypes": ["STRING", "LONG", "DOUBLE", "LONG_ARRAY"],
        },
        "rows": [["Ulm", 1, 1.0, [1]], ["Bonn", 2, 2.0, [2]]],
    });
    assert_eq!(document["resultTable"], expected);
    assert!(answer.text().contains(r#"["Ulm",1,1.00,[1]]"#), "all digits of a decimal: {}", answer.text());
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
async fn statements_as_pinots_tools_write_them() {
    let fixture = fixture();
    for (sql, name, rows) in [
        ("SELECT COUNT(\"*\") AS 'n' FROM t", "n", json!([[3]])),
        ("SELECT max(n) FROM \"default\".t", "max(n)", json!([[3]])),
        ("SELECT max(default.t.n) FROM default.t", "max(n)", json!([[3]])),
        ("SELECT max(n) FROM t_REALTIME", "max(n)", json!([[3]])),
        ("SELECT max(n) FROM \"t_OFFLINE\" OPTION(preserveType='true')", "max(n)", json!([[3]])),
        ("SELECT avg(x.n) FROM t AS x", "avg(n)", json!([[2.0]])),
        ("SELECT max(n) AS 'max(t.n)' FROM t", "max(t.n)", json!([[3]])),
        ("SELECT 1", "1", json!([[1]])),
        ("SELECT CAST('2026-01-02' AS DATE) AS day", "day", json!([["2026-01-02 00:00:00.0"]])),
    ] {
        let document = query(&fixture, json!({"sql": sql}), false).await.json();
        assert_eq!(document["exceptions"], json!([]), "{sql}");
        let result = &document["resultTable"];
        assert_eq!((&result["dataSchema"]["columnNames"], &result["rows"]), (&json!([name]), &rows), "{sql}");
    }
    let plan = query(&fixture, json!({"sql": "EXPLAIN PLAN FOR SELECT n FROM t"}), false).await.json();
    assert_eq!(plan["exceptions"], json!([]));
    assert!(plan["resultTable"]["rows"].as_array().is_some_and(|rows| !rows.is_empty()));
    let missing = query(&fixture, json!({"sql": "SELECT 1 FROM gone_REALTIME"}), false).await.json();
    assert!(missing["exceptions"][0]["message"].as_str().unwrap().contains("gone_realtime"), "{missing}");
}

#[tokio::test]
async fn timeouts_are_honoured_wherever_they_stand() {
    let fixture = fixture();
    let cases = [
        json!({"sql": "SELECT 1", "queryOptions": "timeoutMs=500;groupByMode=sql"}),
        json!({"sql": "SET timeoutMs=500; SELECT 1"}),
        json!({"sql": "SELECT 1; SET timeoutMs=500;", "queryOptions": "timeoutMs=900"}),
        json!({"sql": "SELECT 1 OPTION(a='b', timeoutMs=500)", "queryOptions": "timeoutMs=900"}),
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
async fn both_paths_answer_alike() {
    let fixture = fixture();
    let statement = "SET useMultistageEngine=true;\nSELECT max(n) FROM t";
    let posted = fixture.post("/query", &json!({"sql": statement}).to_string()).await;
    assert_eq!((posted.status, posted.header("x-pinot-error-code")), (StatusCode::OK, "-1"));
    assert_eq!(posted.json()["resultTable"]["rows"], json!([[3]]));
    let got = fixture.get("/query?sql=SELECT%201").await;
    assert_eq!(got.json()["resultTable"]["rows"], json!([[1]]));
    let missing = fixture.get("/query").await;
    assert_eq!((missing.status, missing.header("x-pinot-error-code")), (StatusCode::BAD_REQUEST, "700"));
}

#[tokio::test]
async fn null_is_null_unless_a_client_knows_none() {
    let fixture = fixture();
    let types =
        ["INT", "BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR", "TIMESTAMP", "BYTEA", "DECIMAL(9,2)", "INT[]"];
    let columns = types.map(|name| format!("CAST(NULL AS {name}) AS \"{name}\""));
    let sql = format!("SELECT {}, 7 AS n, NULL AS nothing", columns.join(", "));
    let nulls = vec![Value::Null; 9];
    let expected = |nulls: &[Value], last: Value| {
        let row = [nulls, &[json!(7), last]].concat();
        json!([row])
    };
    for set in ["", "SET enableNullHandling=true;"] {
        let document = query(&fixture, json!({"sql": format!("{sql};{set}")}), false).await.json();
        assert_eq!(document["resultTable"]["rows"], expected(&nulls, Value::Null), "{document}");
    }
    let text = r#"[0, 0, 0, false, "null", "1970-01-01 00:00:00.0", "", 0, []]"#;
    let placeholders: Vec<Value> = serde_json::from_str(text).unwrap();
    let document =
        query(&fixture, json!({"sql": format!("{sql};\nSET enableNullHandling=false;")}), false).await.json();
    assert_eq!(document["resultTable"]["rows"], expected(&placeholders, json!("null")), "{document}");
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
    let mut answers = vec![fixture.get("/query/sql").await, fixture.get("/query/sql?sql=1&sql=2").await];
    for body in ["", "{", "{}", "{\"sql\": null}"] {
        answers.push(fixture.post("/query/sql", body).await);
    }
    for answer in answers {
        assert_eq!((answer.status, answer.header("x-pinot-error-code")), (StatusCode::BAD_REQUEST, "700"));
        let document = answer.json();
        assert_eq!(document["exceptions"][0]["message"], document["error"]["message"]);
        assert_eq!(document["exceptions"][0]["errorCode"], 700);
        // What pinotdb looks at first: it must see that nobody was asked, and not that somebody did not answer.
        assert_eq!(
            (&document["numServersQueried"], &document["numServersResponded"]),
            (&json!(0), &json!(0))
        );
    }
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
    assert_eq!(fixture.get("/databases").await.json(), json!(["default"]));
    let sizes = fixture.get("/tables/t/metadata").await.json();
    assert_eq!(
        sizes,
        json!({"tableName": "t_REALTIME", "diskSizeInBytes": 4096, "numSegments": 3, "numRows": 100})
    );
    let schema = fixture.get("/tables/t/schema").await.json();
    let expected = json!({
        "schemaName": "t",
        "dimensionFieldSpecs": [
            {"name": "city", "dataType": "STRING", "notNull": false},
            {"name": "id", "dataType": "STRING", "notNull": false},
            {"name": "tags", "dataType": "STRING", "notNull": false, "singleValueField": false},
        ],
        "metricFieldSpecs": [{"name": "price", "dataType": "DOUBLE", "notNull": false}],
        "dateTimeFieldSpecs": [{
            "name": "at", "dataType": "TIMESTAMP", "notNull": false,
            "format": "TIMESTAMP", "granularity": "1:MILLISECONDS",
        }, {
            "name": "day", "dataType": "TIMESTAMP", "notNull": false,
            "format": "TIMESTAMP", "granularity": "1:DAYS",
        }],
    });
    assert_eq!(schema, expected);
    for half in ["t_REALTIME", "t_OFFLINE"] {
        assert_eq!(fixture.get(&format!("/tables/{half}/metadata")).await.json(), sizes);
        assert_eq!(fixture.get(&format!("/tables/{half}/schema")).await.json(), schema);
    }
    assert_eq!(fixture.get("/tables/missing/schema").await.status, StatusCode::NOT_FOUND);
    let brokers = async |path: &str| {
        let request = Request::get(path).header("host", "localhost:8099").body(Body::empty()).unwrap();
        fixture.send(request).await.json()
    };
    let here = json!([{"host": "localhost", "port": 8099, "instanceName": "Broker_localhost_8099"}]);
    assert_eq!(brokers("/v2/brokers/tables").await, json!({"t": here}));
    assert_eq!(brokers("/v2/brokers/tenants/DefaultTenant").await, here);
}
