//! A broker and two data nodes in one process, with real connections between them, beside one process that has it all.

use std::collections::BTreeMap;

use arc_swap::ArcSwap;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::{LiveTable, PartitionStage, Tables};
use headwater_segment::log::{Change, Commit, TableLog};
use headwater_segment::mutable::MutableSegment;
use headwater_segment::sealed::{SealRequest, encode as seal};
use headwater_segment::spec::parse_spec;
use headwater_segment::value::{RowSink, Value};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use ulid::Ulid;

mod cuts;
mod hosted;
mod queries;
mod shuffles;
mod stalled;
mod system;

use super::*;
use crate::QueryErrorKind;
use crate::cluster::placement::{MemberState, PlacementMember};
use crate::cluster::{Cluster, ClusterAccess, ClusterView, DataNode, MemberRow, SharedSecret};
use crate::engine::{EngineConfig, QueryEngine};
use crate::request::{ClientKind, QueryRequest};

const SPEC: &str = "{name: sales, columns: [{name: id, type: LONG, nullable: false}, {name: city, type: STRING}, \
     {name: amount, type: LONG}, {name: price, type: 'DECIMAL(38,2)'}, {name: share, type: DOUBLE}], \
     stream: {brokers: 'localhost:9092', topic: sales}}";

/// The table's log with 100 sealed rows in each of two partitions.
async fn sealed_sales() -> Arc<dyn ObjectStore> {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let root = root();
    let log = TableLog::create(Arc::clone(&store), root.clone(), &parse_spec(SPEC).unwrap()).await.unwrap();
    let commit = |change| Commit { id: Ulid::new(), at_ms: 0, change };
    let starts = BTreeMap::from([(0, 0), (1, 0)]);
    log.commit(&commit(Change::FirstStart { epoch: 0, starts, topic_id: None })).await.unwrap();
    let table = LiveTable::new(log, Arc::clone(&store), root.clone());
    let schema = table.schema();
    for partition in 0..2 {
        let (segment, rows) = (filled(&table, partition, 0..100), 0..schema.columns().len());
        let columns: Vec<usize> = rows.collect();
        let sealed = seal(SealRequest {
            schema: &schema,
            table: "sales",
            partition,
            from: 0,
            to: 100,
            id: Ulid::new(),
            dead_letters: 0,
            rows: segment.batches(0..100, &columns).map(Result::unwrap).collect(),
            keep: Vec::new(),
        });
        let sealed = sealed.unwrap();
        store.put(&sealed.meta.location(&root), sealed.bytes.into()).await.unwrap();
        let change = Change::Segment { epoch: 0, meta: Arc::new(sealed.meta), schema: Arc::clone(&schema) };
        table.adopt(table.log().commit(&commit(change)).await.unwrap(), None);
    }
    store
}

fn root() -> object_store::path::Path {
    object_store::path::Path::from("tables/sales")
}

/// The table as a process sees it that has open rows, 100 to 150, of `partitions`.
async fn opened(store: &Arc<dyn ObjectStore>, partitions: &[i32]) -> Arc<LiveTable> {
    let log = TableLog::open(Arc::clone(store), root()).await.unwrap().unwrap();
    let table = LiveTable::new(log, Arc::clone(store), root());
    for partition in partitions {
        table.open_segment(filled(&table, *partition, 100..150));
        table.partition_progress(*partition).stage(PartitionStage::Live);
    }
    table
}

fn filled(table: &LiveTable, partition: i32, offsets: std::ops::Range<i64>) -> Arc<MutableSegment> {
    let budget = MemoryBudget::new(1 << 30);
    let (mut writer, segment) = MutableSegment::create(table.schema(), partition, offsets.start, budget);
    for offset in offsets.clone() {
        let id = offset * 2 + i64::from(partition);
        let city = ["Oslo", "Rome", "Bonn", "Lima", "Kyiv"][id as usize % 5];
        writer.set(0, Value::I64(id));
        writer.set(1, if id % 11 == 0 { Value::Null } else { Value::Str(city) });
        writer.set(2, Value::I64(id * id % 97));
        writer.set(3, Value::I128(i128::from(id) * 25));
        writer.set(4, Value::F64(id as f64 / 7.0));
        writer.finish_row(offset, Some(1_700_000_000_000 + id), None, None);
    }
    writer.publish(offsets.end);
    segment
}

/// Members that stay as they are.
struct Fixed {
    view: ArcSwap<ClusterView>,
    members: Vec<MemberRow>,
}

impl Fixed {
    /// Data nodes, and another member that is asked if it is none of them.
    fn new(nodes: &[&Node], this: &str) -> Self {
        let view = ClusterView::new(nodes.iter().map(|node| node.node.clone()));
        let data = view.nodes().iter().map(|node| MemberRow {
            is_this: node.member.id.as_str() == this,
            ..member(node.member.id.as_str(), "data", node.url.authority())
        });
        let mut members: Vec<_> = data.collect();
        if !members.iter().any(|member| member.is_this) {
            members.push(MemberRow { is_this: true, ..member(this, "broker", "127.0.0.1:1") });
        }
        Self { view: ArcSwap::from_pointee(view), members }
    }
}

impl Cluster for Fixed {
    fn view(&self) -> Arc<ClusterView> {
        self.view.load_full()
    }

    fn members(&self) -> Vec<MemberRow> {
        self.members.clone()
    }
}

fn member(id: &str, role: &'static str, rpc: &str) -> MemberRow {
    MemberRow {
        id: NodeId::new(id).unwrap(),
        role,
        state: "serving",
        rpc: rpc.into(),
        http: "127.0.0.1:2".into(),
        zone: None,
        weight: 1,
        build: "1.2.3".into(),
        started_at_us: 1_700_000_000_000_000,
        is_this: false,
        refused: None,
    }
}

/// A data node that serves a table.
struct Node {
    table: Arc<LiveTable>,
    node: DataNode,
    serving: JoinHandle<()>,
    engine: QueryEngine,
}

fn config() -> EngineConfig {
    EngineConfig { threads: 2, ..EngineConfig::default() }
}

fn serving(table: &Arc<LiveTable>) -> Arc<Tables> {
    let tables = Arc::new(Tables::default());
    tables.insert(Arc::clone(table));
    tables
}

impl Node {
    async fn start(name: &str, table: Arc<LiveTable>, secret: Option<SharedSecret>) -> Self {
        Self::with(name, table, secret, config()).await
    }

    async fn with(
        name: &str,
        table: Arc<LiveTable>,
        secret: Option<SharedSecret>,
        config: EngineConfig,
    ) -> Self {
        let engine = QueryEngine::new(config, serving(&table)).unwrap();
        let router = engine.node_router(Handle::current(), secret, axum::Router::new()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let member = PlacementMember {
            id: NodeId::new(name).unwrap(),
            weight: 1,
            zone: None,
            state: MemberState::Serving,
        };
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { table, node: DataNode { member, url }, serving, engine }
    }
}

fn secret(text: &str) -> Option<SharedSecret> {
    Some(SharedSecret::new(text.as_bytes()))
}

/// A broker of these nodes; it has no open rows itself.
async fn broker(store: &Arc<dyn ObjectStore>, nodes: &[&Node]) -> (QueryEngine, Arc<LiveTable>) {
    let table = opened(store, &[]).await;
    (clustered(&table, Fixed::new(nodes, "broker")), table)
}

fn clustered(table: &Arc<LiveTable>, cluster: Fixed) -> QueryEngine {
    let access = ClusterAccess::new(secret("one"), Handle::current()).unwrap();
    QueryEngine::clustered(config(), serving(table), Arc::new(cluster), access).unwrap()
}

/// Whether a statement runs with the plan of an earlier query.
async fn is_plan_kept(engine: &QueryEngine, sql: &str) -> bool {
    let request = QueryRequest { sql: sql.into(), ..QueryRequest::default() };
    engine.run(request).await.unwrap().stats.plan_kept.load(std::sync::atomic::Ordering::Relaxed)
}

async fn ask(engine: &QueryEngine, sql: &str) -> Result<Vec<String>, QueryError> {
    let deadline = Some(Duration::from_secs(20));
    ask_with(engine, QueryRequest { sql: sql.into(), deadline, ..QueryRequest::default() }).await
}

async fn ask_with(engine: &QueryEngine, request: QueryRequest) -> Result<Vec<String>, QueryError> {
    let answer = engine.run(request).await?;
    let batches: Vec<RecordBatch> =
        answer.stream.try_collect().await.map_err(|error| crate::engine::error_of(&error))?;
    let mut lines: Vec<String> = batches.iter().flat_map(lines).collect();
    lines.sort();
    Ok(lines)
}

fn lines(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    let line = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(line).collect()
}

const STATEMENTS: &[&str] = &[
    "SELECT * FROM sales",
    "SELECT count(*), sum(amount), min(id), max(share), avg(amount) FROM sales",
    "SELECT city, count(*), sum(amount * 2 - 1), count(DISTINCT amount) FROM sales GROUP BY city",
    "SELECT city, \"$offset\", \"$partition\" FROM sales WHERE amount > 50 AND city LIKE '%o%' ORDER BY share LIMIT 7",
    "SELECT city, avg(price), sum(price) FILTER (WHERE id % 3 = 0) FROM sales WHERE id BETWEEN 10 AND 260 GROUP BY city",
    "SELECT a.id, b.city FROM sales a JOIN sales b ON a.id = b.amount WHERE a.share < 20",
    "SELECT id, sum(amount) OVER (PARTITION BY city ORDER BY id) FROM sales WHERE id < 60",
    "SELECT upper(city) || '!', date_trunc('minute', \"$timestamp\") FROM sales WHERE city IN ('Oslo', 'Lima')",
    "SELECT city, max(amount) FROM sales GROUP BY city HAVING max(amount) > 90 ORDER BY 2 DESC, 1 LIMIT 3",
    "SELECT -amount + 3, price * 2, CASE WHEN city IS NULL THEN 0 ELSE length(city) END FROM sales",
    "SELECT id FROM sales WHERE id NOT IN (SELECT amount FROM sales)",
    "SELECT city FROM sales WHERE id < 20 UNION ALL SELECT 'x' FROM sales WHERE id > 290",
    "SELECT round(stddev(amount), 6), round(corr(amount, share), 6) FROM sales",
    "SELECT city, median(amount) FROM sales WHERE regexp_like(city, '^[OR]') GROUP BY city",
    "SELECT id, city FROM sales WHERE amount > (SELECT avg(amount) FROM sales) ORDER BY id DESC",
    "SELECT id, amount - (SELECT min(amount) FROM sales WHERE city = 'Rome') FROM sales WHERE id < 250",
    "SELECT sum(amount - (SELECT max(id) FROM sales WHERE amount = (SELECT min(amount) FROM sales))) FROM sales",
    "SELECT city, count(*) FROM sales GROUP BY city HAVING count(*) >= (SELECT count(*) / 6 FROM sales)",
    "SELECT count(*) FROM sales WHERE amount < (SELECT amount FROM sales WHERE id = -1)",
    "SELECT city, sum(amount > 50), round(avg(share < 20), 6), round(kurtosis(amount), 6) FROM sales GROUP BY city",
    "SELECT id, city FROM sales WHERE text_match(city, 'oslo OR r*')",
];

/// A broker with two data nodes, of which each has the open rows of one partition.
async fn three() -> (Arc<dyn ObjectStore>, QueryEngine, Vec<Node>) {
    let store = sealed_sales().await;
    let mut nodes = Vec::new();
    for partition in 0..2 {
        let table = opened(&store, &[partition]).await;
        nodes.push(Node::start(&format!("data-{partition}"), table, secret("one")).await);
    }
    let (engine, _) = broker(&store, &nodes.iter().collect::<Vec<_>>()).await;
    (store, engine, nodes)
}

#[tokio::test(flavor = "multi_thread")]
async fn several_nodes_answer_as_one_process_does() {
    let (store, broker, _nodes) = three().await;
    let alone = QueryEngine::new(config(), serving(&opened(&store, &[0, 1]).await)).unwrap();
    for statement in STATEMENTS {
        let expected = ask(&alone, statement).await.unwrap();
        // Twice: the second time with the plan that was kept.
        for run in 0..2 {
            let found = ask(&broker, statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
            assert_eq!(found, expected, "{statement}, run {run}");
        }
    }
    assert!(is_plan_kept(&broker, STATEMENTS[1]).await);
}

/// What only Pinot's clients mean becomes expressions that the nodes can read.
#[tokio::test(flavor = "multi_thread")]
async fn elements_of_arrays_are_compared_across() {
    let (store, broker, _nodes) = three().await;
    let alone = QueryEngine::new(config(), serving(&opened(&store, &[0, 1]).await)).unwrap();
    let sql = "SELECT id, city FROM sales WHERE make_array(amount, id) BETWEEN 10 AND 20 AND make_array(city) != 'Rome'";
    let request = QueryRequest { sql: sql.into(), client: ClientKind::Pinot, ..QueryRequest::default() };
    let expected = ask_with(&alone, request.clone()).await.unwrap();
    assert!(expected.len() > 10);
    assert_eq!(ask_with(&broker, request).await.unwrap(), expected);
}

/// The states of its accumulators for groups and of the one for no groups are not alike.
#[tokio::test(flavor = "multi_thread")]
async fn a_correlation_without_groups_is_right_here_and_across() {
    let (store, broker, _nodes) = three().await;
    let alone = QueryEngine::new(config(), serving(&opened(&store, &[0, 1]).await)).unwrap();
    for engine in [&alone, &broker] {
        let found = ask(engine, "SELECT round(corr(amount, share), 6) FROM sales").await.unwrap();
        assert_eq!(found, ["-0.032539"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_nodes_scanned_is_counted() {
    let (_store, broker, _nodes) = three().await;
    let sql = "SELECT id FROM sales WHERE amount >= 0 ORDER BY id".to_owned();
    let answer = broker.run(QueryRequest { sql, ..QueryRequest::default() }).await.unwrap();
    let stats = Arc::clone(&answer.stats);
    let batches: Vec<RecordBatch> = answer.stream.try_collect().await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 300);
    assert_eq!(crate::request::QueryStats::get(&stats.rows_scanned), 300);
    assert_eq!(crate::request::QueryStats::get(&stats.rows_total), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn overflow_is_an_error_on_other_nodes_too() {
    let (store, broker, _nodes) = three().await;
    let alone = QueryEngine::new(config(), serving(&opened(&store, &[0, 1]).await)).unwrap();
    for statement in [
        "SELECT id + 9223372036854775600 FROM sales",
        "SELECT count(*) FROM sales WHERE id * 92233720368547758 > 0",
        "SELECT sum(id + 9223372036854775600) FROM sales",
        "SELECT sum(id * 90000000000000000) FROM sales",
        "SELECT price * CAST('90000000000000000000000000000000000' AS DECIMAL(38,0)) FROM sales",
        "SELECT 1 / (id - id) FROM sales",
        "SELECT count(*) FROM sales WHERE amount > (SELECT sum(id * 90000000000000000) FROM sales)",
        "SELECT count(*) FROM sales WHERE amount > (SELECT id FROM sales)",
    ] {
        let expected = ask(&alone, statement).await.unwrap_err();
        let found = ask(&broker, statement).await.unwrap_err();
        assert_eq!(found.kind, expected.kind, "{statement}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_sealed_since_answers_at_the_old_cut_and_at_the_new_one() {
    let (store, broker, nodes) = three().await;
    let count = "SELECT count(*), sum(id) FROM sales";
    let before = ask(&broker, count).await.unwrap();
    // Another node seals what it has, and the broker's log is behind.
    let table = &nodes[1].table;
    let schema = table.schema();
    let segment = &table.segments(1)[0];
    let columns: Vec<usize> = (0..schema.columns().len()).collect();
    let sealed = seal(SealRequest {
        schema: &schema,
        table: "sales",
        partition: 1,
        from: 100,
        to: 150,
        id: Ulid::new(),
        dead_letters: 0,
        rows: segment.batches(0..50, &columns).map(Result::unwrap).collect(),
        keep: Vec::new(),
    });
    let sealed = sealed.unwrap();
    store.put(&sealed.meta.location(&root()), sealed.bytes.into()).await.unwrap();
    let change = Change::Segment { epoch: 0, meta: Arc::new(sealed.meta), schema: Arc::clone(&schema) };
    let commit = Commit { id: Ulid::new(), at_ms: 0, change };
    table.adopt(table.log().commit(&commit).await.unwrap(), Some(segment));
    table.open_segment(filled(table, 1, 150..150));
    let newest = table.snapshot().version;
    let began = std::time::Instant::now();
    loop {
        let request = QueryRequest { sql: count.into(), ..QueryRequest::default() };
        let answer = broker.run(request).await.unwrap();
        let version = answer.cuts["sales"].log_version;
        let batches: Vec<RecordBatch> = answer.stream.try_collect().await.unwrap();
        assert_eq!(batches.iter().flat_map(lines).collect::<Vec<_>>(), before);
        if version == newest {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "the broker stays at version {version}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_node_is_done_without_if_another_has_its_rows() {
    let store = sealed_sales().await;
    let mut nodes = Vec::new();
    for name in ["data-0", "data-1"] {
        nodes.push(Node::start(name, opened(&store, &[0, 1]).await, secret("one")).await);
    }
    let (broker, _) = broker(&store, &nodes.iter().collect::<Vec<_>>()).await;
    let count = "SELECT city, count(*) FROM sales GROUP BY city";
    let before = ask(&broker, count).await.unwrap();
    nodes[0].serving.abort();
    for _ in 0..5 {
        assert_eq!(ask(&broker, count).await.unwrap(), before);
    }
    // With the last one gone there is an error, and it names what is missing; a cut never goes back.
    nodes[1].serving.abort();
    let request = QueryRequest {
        sql: count.into(),
        deadline: Some(Duration::from_millis(800)),
        ..QueryRequest::default()
    };
    let error = ask_with(&broker, request).await.unwrap_err();
    assert_eq!(error.kind, QueryErrorKind::SegmentUnavailable, "{error}");
    assert!(error.message.contains("table sales: partition 0: offsets below 150"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_another_process_dropped_is_unknown_at_once() {
    let (store, broker, nodes) = three().await;
    let count = "SELECT count(*) FROM sales";
    assert_eq!(ask(&broker, count).await.unwrap(), ["300"]);
    TableLog::open(Arc::clone(&store), root()).await.unwrap().unwrap().drop_table().await.unwrap();
    // The nodes have seen it, the broker has not.
    nodes.iter().for_each(|node| node.table.close());
    let begun = Instant::now();
    let error = ask(&broker, count).await.unwrap_err();
    assert_eq!(error.kind, QueryErrorKind::UnknownTable, "{error}");
    assert!(error.message.contains("there is no table sales"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_answered_without_the_secret() {
    let store = sealed_sales().await;
    let node = Node::start("data-0", opened(&store, &[0, 1]).await, secret("another")).await;
    let (broker, _) = broker(&store, &[&node]).await;
    let error = ask(&broker, "SELECT count(*) FROM sales").await.unwrap_err();
    assert_eq!(error.kind, QueryErrorKind::SegmentUnavailable);
    let answer =
        reqwest::Client::new().post(node.node.url.join("node/offers").unwrap()).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    for path in ["worker.WorkerService/ExecuteTask", "node/system/queries"] {
        let answer = reqwest::Client::new().post(node.node.url.join(path).unwrap()).send().await.unwrap();
        assert_eq!(answer.status(), 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_names_stages_and_nodes() {
    let (_store, broker, _nodes) = three().await;
    let lines = ask(&broker, "EXPLAIN SELECT city, count(*) FROM sales GROUP BY city").await.unwrap();
    let plan = lines.iter().find(|line| line.starts_with("physical_plan|")).unwrap();
    assert!(plan.contains("NetworkCoalesceExec") && plan.contains("mode=Partial"), "{plan}");
    let nodes = lines.iter().find(|line| line.starts_with("nodes|")).unwrap();
    assert!(nodes.contains("stage 1 to this node: gather"), "{nodes}");
    for node in ["stage 1, data-0: sales at version", "stage 1, data-1: sales at version"] {
        assert!(nodes.contains(node), "{nodes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn system_tables_and_constants_stay_on_the_broker() {
    let (_store, broker, _nodes) = three().await;
    assert_eq!(ask(&broker, "SELECT 1 + 1").await.unwrap(), ["2"]);
    assert_eq!(ask(&broker, "SELECT count(*) FROM system.gaps").await.unwrap(), ["0"]);
    let explained = ask(&broker, "EXPLAIN SELECT count(*) FROM system.gaps").await.unwrap();
    assert!(explained.contains(&"nodes|this node only".to_owned()), "{explained:?}");
    let joined = "SELECT count(*) FROM sales JOIN (VALUES (1)) AS one(x) ON true";
    assert_eq!(ask(&broker, joined).await.unwrap(), ["300"]);
    assert_eq!(ask(&broker, "SELECT count(*) FROM sales WHERE id < 0").await.unwrap(), ["0"]);
}
