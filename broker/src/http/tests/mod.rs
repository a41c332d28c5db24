//! The endpoints over a fake engine (plain DataFusion on in-memory tables) and a fake table administration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::IntoResponse;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionContext;
use futures::{Stream, StreamExt, stream};
use headwater_segment::schema::{ColumnType, TableSchema};
use headwater_segment::spec::*;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt;

use super::*;
use crate::QueryErrorKind;
use crate::admin::{AdminError, Applied, TableAdmin};
use crate::dashboards::live::LiveLimits;
use crate::request::{QueryStats, TableCut};

mod dashboards;
mod openapi;
mod pinot;
mod sql;
mod tables;
mod wizard;

/// Answers real SQL, and a few words that stand for what is hard to provoke.
struct FakeEngine {
    context: SessionContext,
    /// The last request.
    seen: Mutex<Option<QueryRequest>>,
    /// How many endless streams are alive.
    alive: watch::Sender<usize>,
}

/// Counts a stream as alive until it is dropped.
struct Alive(watch::Sender<usize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.send_modify(|alive| *alive -= 1);
    }
}

fn numbers(count: i64) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
    RecordBatch::try_from_iter([("n", column)]).unwrap()
}

fn late_error() -> DataFusionError {
    let error = QueryError::new(QueryErrorKind::Execution, "divided by zero");
    DataFusionError::Context("outer".into(), Box::new(DataFusionError::External(Box::new(error))))
}

impl FakeEngine {
    fn answer(
        schema: SchemaRef,
        batches: impl Stream<Item = Result<RecordBatch, DataFusionError>> + Send + 'static,
    ) -> QueryAnswer {
        let stats = QueryStats::default();
        stats.rows_scanned.store(5, std::sync::atomic::Ordering::Relaxed);
        stats.segments_total.store(3, std::sync::atomic::Ordering::Relaxed);
        stats.segments_scanned.store(2, std::sync::atomic::Ordering::Relaxed);
        let cut = TableCut {
            log_version: 7,
            offsets: BTreeMap::from([(0, 10), (1, 20)]),
            freshness_ms: Some(12),
            missing: Vec::new(),
        };
        QueryAnswer {
            id: "q-1".into(),
            schema: schema.clone(),
            stream: Box::pin(RecordBatchStreamAdapter::new(schema, batches)),
            cuts: BTreeMap::from([("t".to_string(), cut)]),
            stats: Arc::new(stats),
        }
    }

    fn endless(&self) -> QueryAnswer {
        self.alive.send_modify(|alive| *alive += 1);
        let alive = Alive(self.alive.clone());
        let batches = stream::unfold(alive, |alive| async move { Some((Ok(numbers(1000)), alive)) });
        Self::answer(numbers(0).schema(), batches)
    }
}

#[async_trait]
impl QueryRunner for FakeEngine {
    async fn other_rows(&self, _: &BTreeMap<String, TableCut>) {
        std::future::pending().await
    }

    async fn run(&self, request: QueryRequest) -> Result<QueryAnswer, QueryError> {
        *self.seen.lock() = Some(request.clone());
        let one = numbers(2000);
        match request.sql.as_str() {
            "late" => return Ok(Self::answer(one.schema(), stream::iter([Ok(one), Err(late_error())]))),
            "early" => return Ok(Self::answer(one.schema(), stream::iter([Err(late_error())]))),
            "endless" => return Ok(self.endless()),
            "silent" => {
                self.alive.send_modify(|alive| *alive += 1);
                let alive = Alive(self.alive.clone());
                let never = stream::once(async move {
                    let _alive = alive;
                    std::future::pending().await
                });
                return Ok(Self::answer(one.schema(), stream::iter([Ok(one)]).chain(never)));
            }
            "overloaded" => return Err(QueryError::new(QueryErrorKind::Overloaded, "try again")),
            "typo" => {
                return Err(QueryError {
                    kind: QueryErrorKind::Plan,
                    message: "no column citi".into(),
                    position: Some((2, 8)),
                    suggestion: Some("city".into()),
                });
            }
            _ => {}
        }
        let failed = |error: DataFusionError| QueryError::new(QueryErrorKind::Plan, error.strip_backtrace());
        let frame = self.context.sql(&request.sql).await.map_err(failed)?;
        let stream = frame.execute_stream().await.map_err(failed)?;
        Ok(Self::answer(stream.schema(), stream))
    }

    async fn kill(&self, id: &str, only_of: Option<&str>) -> bool {
        id == "q-1" && only_of.is_none_or(|user| user == "ada")
    }

    async fn progress(&self, id: &str, only_of: Option<&str>, with_plan: bool) -> Option<QueryProgress> {
        (id == "q-1" && only_of.is_none_or(|user| user == "ada")).then(|| QueryProgress {
            id: id.into(),
            state: crate::request::QueryState::Running,
            user: Some("ada".into()),
            elapsed_ms: 1.5,
            segments_total: 3,
            segments_done: 2,
            rows_scanned: 5,
            rows_total: 7,
            rows_returned: 0,
            plan: with_plan.then(|| "SegmentScanExec".into()),
        })
    }

    fn table_names(&self) -> Vec<String> {
        vec!["t".into()]
    }

    fn table_facts(&self, name: &str) -> Option<TableFacts> {
        let schema = Arc::new(TableSchema::new(&spec()));
        (name == "t").then_some(TableFacts { schema, segments: 3, rows: 100, bytes: 4096 })
    }
}

fn spec() -> TableSpec {
    let column = |name: &str, data_type: ColumnType| ColumnSpec {
        name: name.into(),
        data_type,
        nullable: true,
        path: FieldPath::Payload(vec![]),
        on_error: OnError::Null,
        index: None,
    };
    TableSpec {
        name: "t".into(),
        columns: vec![
            column("city", ColumnType::String),
            column("id", ColumnType::Uuid),
            column("tags", ColumnType::Array(Box::new(ColumnType::String))),
            column("price", ColumnType::Decimal(9, 2)),
            column("at", ColumnType::TimestampMillis),
            column("day", ColumnType::Date),
        ],
        time_column: Some("at".into()),
        sort_key: vec![],
        stream: StreamSpec {
            brokers: vec!["localhost:9092".into()],
            topic: "t".into(),
            start: StartPosition::Earliest,
            on_gap: OnGap::Fail,
            properties: BTreeMap::new(),
        },
        seal: SealSpec::default(),
        retention: None,
        replication: 1,
        dead_letters: DeadLetterTarget::Table,
    }
}

/// Knows the table `t`; other names stand for failures.
struct FakeAdmin {
    calls: Mutex<Vec<String>>,
}

impl FakeAdmin {
    fn call(&self, call: String, name: &str) -> Result<(), AdminError> {
        self.calls.lock().push(call);
        match name {
            "t" => Ok(()),
            "busy" => Err(AdminError::Conflict("busy is being dropped".into())),
            "offline" => Err(AdminError::Unavailable("Kafka does not answer".into())),
            _ => Err(AdminError::NotFound(format!("there is no table {name}"))),
        }
    }
}

#[async_trait]
impl TableAdmin for FakeAdmin {
    async fn apply(&self, name: &str, spec_text: &str) -> Result<Applied, AdminError> {
        if spec_text == "bad" {
            let faults = vec![SpecFault { path: "columns[3].type".into(), message: "not a type".into() }];
            return Err(AdminError::Invalid { message: "1 fault".into(), faults });
        }
        self.call(format!("apply {spec_text}"), name).map(|()| Applied::Created)
    }
    async fn drop_table(&self, name: &str, purge: bool) -> Result<(), AdminError> {
        self.call(format!("drop {purge}"), name)
    }
    async fn pause(&self, name: &str, partition: Option<i32>) -> Result<(), AdminError> {
        self.call(format!("pause {partition:?}"), name)
    }
    async fn resume(&self, name: &str, partition: Option<i32>) -> Result<(), AdminError> {
        self.call(format!("resume {partition:?}"), name)
    }
    async fn seal(&self, name: &str, partition: Option<i32>) -> Result<Vec<Value>, AdminError> {
        self.call(format!("seal {partition:?}"), name).map(|()| vec![json!({"from": 0, "to": 5})])
    }
    async fn describe(&self, name: &str) -> Result<Value, AdminError> {
        self.call("describe".into(), name).map(|()| json!({"name": name}))
    }
    async fn ready(&self) -> Result<(), String> {
        Err("table t: Kafka is not connected".into())
    }
}

/// The router and what stands behind it.
struct Fixture {
    engine: Arc<FakeEngine>,
    admin: Arc<FakeAdmin>,
    router: Router,
}

fn fixture() -> Fixture {
    fixture_with(HttpLimits::default())
}

fn fixture_with(limits: HttpLimits) -> Fixture {
    let context = SessionContext::new();
    let cities: ArrayRef = Arc::new(StringArray::from(vec![Some("Ulm"), Some("Bonn"), None]));
    let counts: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let batch = RecordBatch::try_from_iter([("city", cities), ("n", counts)]).unwrap();
    context.register_batch("t", batch).unwrap();
    let engine = Arc::new(FakeEngine { context, seen: Mutex::new(None), alive: watch::Sender::new(0) });
    let admin = Arc::new(FakeAdmin { calls: Mutex::new(vec![]) });
    let dashboards = Arc::new(LiveHub::new(
        engine.clone(),
        Arc::new(dashboards::FakeStore::default()),
        LiveLimits::default(),
    ));
    let router = router(HttpState {
        runner: engine.clone(),
        admin: admin.clone(),
        dashboards,
        metrics: Arc::new(|| "headwater_up 1\n".into()),
        limits,
        doors: Arc::new(Doors::open()),
        console: |method, uri, _| {
            (method == Method::GET && uri.path() == "/").then(|| "the console".into_response())
        },
    });
    Fixture { engine, admin, router }
}

/// A whole answer.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    /// The chunks that arrived, and whether the body broke off.
    body: Vec<u8>,
    aborted: bool,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Fixture {
    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let chunks: Vec<Result<Bytes, _>> = response.into_body().into_data_stream().collect().await;
        let aborted = chunks.iter().any(Result::is_err);
        let body = chunks.into_iter().filter_map(Result::ok).flatten().collect();
        Answer { status, headers, body, aborted }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, body: impl ToString) -> Answer {
        self.send(Request::post(path).body(Body::from(body.to_string())).unwrap()).await
    }

    /// Waits until so many endless streams are alive.
    async fn wait_alive(&self, expected: usize) {
        let mut alive = self.engine.alive.subscribe();
        let reached = alive.wait_for(|alive| *alive == expected);
        tokio::time::timeout(Duration::from_secs(5), reached).await.expect("the stream lives on").unwrap();
    }
}

#[tokio::test]
async fn operation() {
    let fixture = fixture();
    assert_eq!(fixture.get("/healthz").await.text(), "ok");
    assert_eq!(fixture.get("/health").await.text(), "OK");
    let ready = fixture.get("/readyz").await;
    assert_eq!(
        (ready.status, ready.text().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "table t: Kafka is not connected")
    );
    assert_eq!(fixture.get("/metrics").await.text(), "headwater_up 1\n");
    let page = fixture.get("/").await;
    assert_eq!(page.text(), "the console");
    assert_eq!(page.header("headwater-request-id").len(), 26);
}

#[tokio::test]
async fn unknown_routes_and_methods_are_json() {
    let fixture = fixture();
    let missing = fixture.get("/nothing").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert_eq!(missing.json()["error"]["kind"], "not_found");
    for path in ["/databases/default", "/mytables"] {
        assert_eq!(fixture.get(path).await.status, StatusCode::NOT_FOUND);
    }
    let wrong = fixture.send(Request::delete("/sql").body(Body::empty()).unwrap()).await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.json()["error"]["kind"], "method_not_allowed");
    assert!(wrong.header("allow").contains("POST"));
}

#[tokio::test]
async fn pages_of_other_sites_may_not_write() {
    let fixture = fixture();
    for (site, status) in [("cross-site", StatusCode::FORBIDDEN), ("same-origin", StatusCode::OK)] {
        let request = Request::post("/tables/t/pause").header("sec-fetch-site", site);
        assert_eq!(fixture.send(request.body(Body::empty()).unwrap()).await.status, status);
    }
    assert_eq!(fixture.admin.calls.lock().len(), 1);
}
