//! `/sql`: formats, options, errors early and late, clients that go away.

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::request::ClientKind;

const QUERY: &str = "SELECT city, n FROM t ORDER BY n";

#[tokio::test]
async fn json_document() {
    let answer = fixture().post("/sql", json!({"sql": QUERY})).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("headwater-query-id"), "q-1");
    let mut document = answer.json();
    assert!(document["stats"].as_object_mut().unwrap().remove("elapsed_ms").unwrap().is_f64());
    let expected = json!({
        "query_id": "q-1",
        "columns": [{"name": "city", "type": "STRING"}, {"name": "n", "type": "LONG"}],
        "rows": [["Ulm", 1], ["Bonn", 2], [null, 3]],
        "row_count": 3,
        "cut": {"t": {"log_version": 7, "offsets": {"0": 10, "1": 20}, "freshness_ms": 12}},
        "stats": {"rows_scanned": 5, "rows_total": 0, "segments_total": 3, "segments_scanned": 2},
    });
    assert_eq!(document, expected);
    let order: Vec<&String> = document.as_object().unwrap().keys().collect();
    assert_eq!(order, ["query_id", "columns", "rows", "row_count", "cut", "stats"]);
}

#[tokio::test]
async fn other_formats_by_option_and_by_accept() {
    let fixture = fixture();
    let ndjson = fixture.post("/sql", json!({"sql": QUERY, "format": "ndjson"})).await;
    assert_eq!(
        ndjson.text(),
        "{\"city\":\"Ulm\",\"n\":1}\n{\"city\":\"Bonn\",\"n\":2}\n{\"city\":null,\"n\":3}\n"
    );
    assert_eq!(ndjson.header("headwater-freshness-ms"), "12");
    let cut: Value = serde_json::from_str(ndjson.header("headwater-cut")).unwrap();
    assert_eq!(cut["t"]["offsets"]["1"], 20);

    let request = Request::post("/sql").header("accept", "text/html, text/csv;q=0.9");
    let csv = fixture.send(request.body(Body::from(json!({"sql": QUERY}).to_string())).unwrap()).await;
    assert_eq!(csv.text(), "city,n\r\nUlm,1\r\nBonn,2\r\n,3\r\n");

    let arrow = fixture.post("/sql", json!({"sql": QUERY, "format": "arrow"})).await;
    assert_eq!(arrow.header("content-type"), "application/vnd.apache.arrow.stream");
    let reader = arrow::ipc::reader::StreamReader::try_new(arrow.body.as_slice(), None).unwrap();
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 3);

    let request = Request::post("/sql").header("accept", "application/vnd.apache.parquet");
    let parquet = fixture.send(request.body(Body::from(json!({"sql": QUERY}).to_string())).unwrap()).await;
    assert_eq!(parquet.header("content-type"), "application/vnd.apache.parquet");
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(parquet.body)).unwrap();
    assert_eq!(reader.metadata().file_metadata().num_rows(), 3);
}

#[tokio::test]
async fn text_is_compressed_and_nothing_else() {
    let fixture = fixture();
    let sql = "SELECT value AS n FROM range(100000)";
    let cases = [
        ("json", "gzip", "gzip"),
        ("json", "zstd, gzip", "zstd"),
        ("csv", "gzip", "gzip"),
        ("ndjson", "zstd", "zstd"),
        ("ndjson", "identity", ""),
        ("ndjson", "br", ""),
        ("arrow", "gzip, zstd", ""),
        ("parquet", "gzip, zstd", ""),
    ];
    for (format, accepted, used) in cases {
        let request = Request::post("/sql").header("accept-encoding", accepted);
        let body = json!({"sql": sql, "format": format}).to_string();
        let answer = fixture.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!((answer.status, answer.header("content-encoding")), (StatusCode::OK, used), "{format}");
        let is_json = format == "json" && serde_json::from_slice::<Value>(&answer.body).is_ok();
        assert!(!is_json, "{format} was not compressed");
    }
    // A body that is known to be small.
    let request = Request::post("/sql").header("accept-encoding", "gzip");
    let small = fixture.send(request.body(Body::from("{}")).unwrap()).await;
    assert_eq!((small.status.as_u16(), small.header("content-encoding")), (400, ""));
}

#[tokio::test]
async fn a_compressed_answer_is_sent_as_far_as_it_is() {
    let fixture = fixture();
    let body = json!({"sql": "silent", "format": "ndjson"}).to_string();
    let request = Request::post("/sql").header("accept-encoding", "zstd").body(Body::from(body)).unwrap();
    let response = fixture.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "zstd");
    // The query will never give another row, and the first ones are here.
    let mut chunks = response.into_body().into_data_stream();
    let first = tokio::time::timeout(Duration::from_secs(5), chunks.next()).await.unwrap();
    assert!(!first.unwrap().unwrap().is_empty());
}

#[tokio::test]
async fn a_late_failure_breaks_a_compressed_answer_off() {
    let body = json!({"sql": "late", "format": "csv"}).to_string();
    let request = Request::post("/sql").header("accept-encoding", "gzip").body(Body::from(body)).unwrap();
    let answer = fixture().send(request).await;
    assert_eq!((answer.header("content-encoding"), answer.aborted), ("gzip", true));
}

#[tokio::test]
async fn encoded_bodies_are_not_read() {
    let fixture = fixture();
    for (encoding, status) in [("gzip", 415), ("zstd, identity", 415), ("identity", 200)] {
        let request = Request::post("/sql").header("content-encoding", encoding);
        let answer = fixture.send(request.body(Body::from(json!({"sql": QUERY}).to_string())).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{encoding}");
    }
}

#[tokio::test]
async fn queries_are_followed_and_ended() {
    let fixture = fixture();
    let progress = fixture.get("/queries/q-1").await.json();
    let expected = json!({
        "id": "q-1", "state": "running", "user": "ada", "elapsed_ms": 1.5, "segments_total": 3, "segments_done": 2,
        "rows_scanned": 5, "rows_total": 7, "rows_returned": 0,
    });
    assert_eq!(progress, expected);
    assert_eq!(fixture.get("/queries/q-1?plan=true").await.json()["plan"], "SegmentScanExec");
    for (path, status) in [("/queries/q-2", 404), ("/queries/q-1?plan=yes", 400), ("/queries/q-1?x=1", 400)] {
        assert_eq!(fixture.get(path).await.status.as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn the_query_says_through_which_door_it_came_and_for_whom() {
    let fixture = fixture();
    let body = || Body::from(json!({"sql": QUERY}).to_string());
    let console = Request::post("/sql").header("sec-fetch-site", "same-origin");
    fixture.send(console.body(body()).unwrap()).await;
    let seen = fixture.engine.seen.lock().take().unwrap();
    assert_eq!((seen.client, seen.user.as_deref()), (ClientKind::Console, Some("anonymous")));
    fixture.send(Request::post("/sql").body(body()).unwrap()).await;
    let seen = fixture.engine.seen.lock().take().unwrap();
    assert_eq!(seen.client, ClientKind::Http);
    fixture.send(Request::post("/query/sql").body(body()).unwrap()).await;
    assert_eq!(fixture.engine.seen.lock().take().unwrap().client, ClientKind::Pinot);
}

#[tokio::test]
async fn empty_answers_are_whole_in_every_format() {
    let fixture = fixture();
    for (format, text) in [("ndjson", ""), ("csv", "city,n\r\n")] {
        let answer =
            fixture.post("/sql", json!({"sql": "SELECT * FROM t WHERE n > 9", "format": format})).await;
        assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, text));
    }
    let document = fixture.post("/sql", json!({"sql": "SELECT * FROM t WHERE n > 9"})).await.json();
    assert_eq!((&document["rows"], &document["row_count"]), (&json!([]), &json!(0)));
    let arrow = fixture.post("/sql", json!({"sql": "SELECT * FROM t WHERE n > 9", "format": "arrow"})).await;
    let reader = arrow::ipc::reader::StreamReader::try_new(arrow.body.as_slice(), None).unwrap();
    assert_eq!((reader.schema().fields().len(), reader.count()), (2, 0));
}

#[tokio::test]
async fn options_reach_the_engine() {
    let fixture = fixture();
    let body = json!({
        "sql": "SELECT 1", "query_id": "12", "parameters": [1, "x", null], "deadline_ms": 250, "memory_bytes_max": 1024, "rows_max": 9,
        "min_offsets": {"t": {"0": 123}}, "sealed_only": true,
    });
    assert_eq!(fixture.post("/sql", body).await.status, StatusCode::OK);
    let by_body = fixture.engine.seen.lock().take().unwrap();

    let query = "query_id=12&parameters=%5B1,%22x%22,null%5D&deadline_ms=250&memory_bytes_max=1024&rows_max=9\
                 &min_offsets=%7B%22t%22:%7B%220%22:123%7D%7D&sealed_only=true";
    assert_eq!(fixture.get(&format!("/sql?q=SELECT%201&{query}")).await.status, StatusCode::OK);
    let by_query = fixture.engine.seen.lock().take().unwrap();

    let request = Request::post(format!("/sql?{query}")).header("content-type", "text/plain; charset=utf-8");
    assert_eq!(fixture.send(request.body(Body::from("SELECT 1")).unwrap()).await.status, StatusCode::OK);
    let by_text = fixture.engine.seen.lock().take().unwrap();

    assert_eq!(by_body.deadline, Some(Duration::from_millis(250)));
    assert_eq!(by_body.min_offsets["t"][&0], 123);
    assert_eq!(by_body.parameters, [json!(1), json!("x"), json!(null)]);
    for other in [by_query, by_text] {
        assert_eq!(format!("{by_body:?}"), format!("{other:?}"));
    }
}

#[tokio::test]
async fn malformed_requests() {
    let limits = HttpLimits { body_bytes_max: 2000, sql_bytes_max: 1000, ..HttpLimits::default() };
    let fixture = fixture_with(limits);
    let long_sql = json!({"sql": "x".repeat(1001)}).to_string();
    // (body, status, part of the message)
    let cases = [
        ("", 400, "the body: EOF"),
        ("SELECT 1", 400, "or SQL as text/plain"),
        ("{\"sql\": 1}", 400, "expected a string"),
        ("{}", 400, "missing field `sql`"),
        ("{\"sql\": \"  \"}", 400, "empty"),
        (
            "{\"sql\": \"SELECT 1\", \"limit\": 3}",
            400,
            "unknown field `limit`, expected one of `sql`, `query_id`, `parameters`",
        ),
        (
            "{\"sql\": \"SELECT 1\", \"format\": \"xml\"}",
            400,
            "expected one of `json`, `ndjson`, `csv`, `arrow`, `parquet`",
        ),
        ("{\"sql\": \"SELECT 1\", \"deadline_ms\": -1}", 400, "u64"),
        ("{\"sql\": \"SELECT 1\", \"deadline_ms\": 0}", 400, "deadline_ms is 0"),
        (&long_sql, 400, "1001 bytes"),
        (&"x".repeat(2001), 413, "more than 2000 bytes"),
    ];
    for (body, status, message) in cases {
        let answer = fixture.post("/sql", body).await;
        let document = answer.json();
        assert_eq!(answer.status.as_u16(), status, "{body}: {document}");
        assert_eq!(document["error"]["kind"], "bad_request");
        assert!(document["error"]["message"].as_str().unwrap().contains(message), "{document}");
    }
    for path in ["/sql", "/sql?q=1&q=2", "/sql?q=1&sql=2", "/sql?q=1&rows_max=many", "/sql?q=1&colour=red"] {
        assert_eq!(fixture.get(path).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
    assert_eq!(
        fixture.post("/sql?rows_max=1", json!({"sql": "SELECT 1"})).await.status,
        StatusCode::BAD_REQUEST
    );
    let request = Request::post("/sql").header("content-type", "text/xml").body(Body::empty()).unwrap();
    assert_eq!(fixture.send(request).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let request = Request::post("/sql").body(Body::from(vec![b'{', 0xff])).unwrap();
    assert_eq!(fixture.send(request).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn slow_bodies_are_given_up() {
    let fixture = fixture_with(HttpLimits { body_ms_max: 20, ..HttpLimits::default() });
    let never = stream::pending::<Result<Bytes, std::io::Error>>();
    let answer = fixture.send(Request::post("/sql").body(Body::from_stream(never)).unwrap()).await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn early_failures_have_their_status() {
    let fixture = fixture();
    for format in ["json", "ndjson", "csv", "arrow"] {
        let early = fixture.post("/sql", json!({"sql": "early", "format": format})).await;
        assert_eq!(early.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(early.json(), json!({"error": {"kind": "execution", "message": "divided by zero"}}));
    }
    let overloaded = fixture.post("/sql", json!({"sql": "overloaded"})).await;
    assert_eq!((overloaded.status.as_u16(), overloaded.header("retry-after")), (429, "1"));
    let typo = fixture.post("/sql", json!({"sql": "typo"})).await;
    let expected = json!({"error": {
        "kind": "plan", "message": "no column citi", "position": {"line": 2, "column": 8}, "suggestion": "city",
    }});
    assert_eq!((typo.status.as_u16(), typo.json()), (400, expected));
}

#[tokio::test]
async fn late_failures_are_never_taken_for_whole_answers() {
    let fixture = fixture();
    let document = fixture.post("/sql", json!({"sql": "late"})).await.json();
    assert_eq!(document["row_count"], 2000);
    assert_eq!(document["rows"].as_array().unwrap().len(), 2000);
    assert_eq!(document["error"], json!({"kind": "execution", "message": "divided by zero"}));

    let ndjson = fixture.post("/sql", json!({"sql": "late", "format": "ndjson"})).await;
    let last: Value = serde_json::from_str(ndjson.text().lines().last().unwrap()).unwrap();
    assert_eq!(last["error"]["kind"], "execution");
    assert!(!ndjson.aborted);

    for format in ["csv", "arrow"] {
        assert!(fixture.post("/sql", json!({"sql": "late", "format": format})).await.aborted, "{format}");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_cancels() {
    let fixture = fixture();
    for sql in ["endless", "silent"] {
        let request = Request::post("/sql").body(Body::from(json!({"sql": sql}).to_string())).unwrap();
        let response = fixture.router.clone().oneshot(request).await.unwrap();
        let mut body = response.into_body().into_data_stream();
        for _ in 0..2 {
            assert!(body.next().await.unwrap().is_ok());
        }
        fixture.wait_alive(1).await;
        drop(body);
        fixture.wait_alive(0).await;
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_is_given_up() {
    let fixture = fixture_with(HttpLimits { stall_ms_max: 20, ..HttpLimits::default() });
    let request = Request::post("/sql").body(Body::from(json!({"sql": "endless"}).to_string())).unwrap();
    let response = fixture.router.clone().oneshot(request).await.unwrap();
    fixture.wait_alive(0).await;
    // One that reads on later does not take what was sent for the whole.
    let chunks: Vec<_> = response.into_body().into_data_stream().collect().await;
    let (last, before) = chunks.split_last().unwrap();
    assert!(before.iter().all(Result::is_ok) && !before.is_empty());
    assert!(last.as_ref().unwrap_err().to_string().contains("left unread"), "{last:?}");
}

#[tokio::test]
async fn cancel_by_id() {
    let fixture = fixture();
    for (id, status) in [("q-1", StatusCode::NO_CONTENT), ("q-2", StatusCode::NOT_FOUND)] {
        let request = Request::delete(format!("/queries/{id}")).body(Body::empty()).unwrap();
        assert_eq!(fixture.send(request).await.status, status);
    }
}
