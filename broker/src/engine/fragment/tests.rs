//! Plans that went over the wire, beside the same plans that did not.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::physical_plan::collect;
use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::{LiveTable, Tables};
use headwater_segment::log::{Change, Commit, TableLog};
use headwater_segment::mutable::MutableSegment;
use headwater_segment::resident::{ResidentConfig, ResidentStore};
use headwater_segment::sealed::{SealRequest, encode as seal};
use headwater_segment::spec::parse_spec;
use headwater_segment::value::{RowSink, Value};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;
use ulid::Ulid;

use super::*;
use crate::engine::config::EngineConfig;
use crate::execute::options::ExecuteOptions;
use crate::request::QueryStats;
use crate::sql;

const SPEC: &str = "{name: sales, columns: [{name: id, type: LONG, nullable: false}, {name: city, type: STRING}, \
     {name: amount, type: LONG}, {name: price, type: 'DECIMAL(38,2)'}, {name: share, type: DOUBLE}], \
     stream: {brokers: 'localhost:9092', topic: sales}}";
const MEMORY: u64 = 1 << 28;

/// 300 rows of two partitions, of which the first 100 of each are sealed.
async fn sales() -> Arc<LiveTable> {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let root = object_store::path::Path::from("tables/sales");
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
        table.open_segment(filled(&table, partition, 100..150));
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

/// One node.
struct Node {
    sessions: Sessions,
}

impl Node {
    fn new(table: &Arc<LiveTable>, fuses: bool) -> Self {
        let tables = Tables::default();
        tables.insert(Arc::clone(table));
        let execute = ExecuteOptions { aggregate: fuses, plans: false, ..ExecuteOptions::default() };
        let config = EngineConfig { threads: 2, execute, ..EngineConfig::default() };
        let residents = ResidentConfig { dir: None, disk_bytes_max: 0, memory_bytes_max: 1 << 20 };
        let residents = ResidentStore::open(residents).unwrap();
        Self { sessions: Sessions::new(&config, Arc::new(tables), Arc::default(), residents).unwrap() }
    }

    fn catalog(&self, stream_columns: &std::collections::BTreeSet<String>) -> Arc<QueryCatalog> {
        let sources = Arc::clone(self.sessions.sources());
        QueryCatalog::new(
            sources,
            stream_columns.clone(),
            false,
            Arc::<QueryStats>::default(),
            Handle::current(),
        )
    }

    async fn plan(&self, statement: &str) -> (Arc<dyn ExecutionPlan>, Arc<QueryCatalog>) {
        let names = crate::catalog::known_names(&self.sessions.sources().tables);
        let prepared = sql::prepare(statement, &names).unwrap();
        let catalog = self.catalog(&prepared.stream_columns);
        let state = self.sessions.planner(&catalog).unwrap();
        let logical = state.statement_to_plan(prepared.statement).await.unwrap();
        (state.create_physical_plan(&logical).await.unwrap(), catalog)
    }

    async fn run(&self, plan: Arc<dyn ExecutionPlan>, catalog: &Arc<QueryCatalog>) -> Result<Vec<String>> {
        let batches = collect(plan, Arc::new(self.sessions.context(MEMORY, catalog))).await?;
        let mut lines: Vec<String> = batches.iter().flat_map(lines).collect();
        lines.sort();
        Ok(lines)
    }

    /// Takes a fragment and runs it.
    async fn serve(&self, bytes: &[u8]) -> Result<(String, Vec<String>)> {
        let catalog = self.catalog(&Default::default());
        let functions = self.sessions.planner(&catalog)?.task_ctx();
        let plan = self.sessions.fragment(bytes, &functions)?;
        let shown = datafusion::physical_plan::displayable(plan.as_ref()).indent(false).to_string();
        Ok((shown, self.run(plan, &catalog).await?))
    }
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
    "SELECT approx_percentile_cont(share, 0.5), stddev(amount) FROM sales",
    "SELECT city, median(amount) FROM sales WHERE regexp_like(city, '^[OR]') GROUP BY city",
];

#[tokio::test]
async fn a_plan_gives_the_same_rows_behind_the_wire() {
    let table = sales().await;
    let (broker, data) = (Node::new(&table, false), Node::new(&table, true));
    for statement in STATEMENTS {
        let (plan, catalog) = broker.plan(statement).await;
        let bytes = encode(bind(Arc::clone(&plan), &catalog).unwrap()).unwrap();
        let (_, found) = data.serve(&bytes).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        assert_eq!(found, broker.run(plan, &catalog).await.unwrap(), "{statement}");
    }
}

#[tokio::test]
async fn aggregates_are_fused_where_they_run() {
    let table = sales().await;
    let (broker, data) = (Node::new(&table, false), Node::new(&table, true));
    let (plan, catalog) = broker.plan("SELECT city, sum(amount) FROM sales GROUP BY city").await;
    let bytes = encode(bind(plan, &catalog).unwrap()).unwrap();
    let (shown, _) = data.serve(&bytes).await.unwrap();
    assert!(shown.contains("SegmentAggregateExec"), "{shown}");
}

#[tokio::test]
async fn overflow_is_an_error_behind_the_wire_too() {
    let table = sales().await;
    let (broker, data) = (Node::new(&table, false), Node::new(&table, true));
    for statement in [
        "SELECT id + 9223372036854775600 FROM sales",
        "SELECT count(*) FROM sales WHERE id * 92233720368547758 > 0",
        "SELECT sum(id + 9223372036854775600) FROM sales",
        "SELECT sum(id * 90000000000000000) FROM sales",
        "SELECT price * CAST('9000000000000000000000000000000000' AS DECIMAL(38,0)) FROM sales",
    ] {
        let (plan, catalog) = broker.plan(statement).await;
        let bytes = encode(bind(Arc::clone(&plan), &catalog).unwrap()).unwrap();
        assert!(broker.run(plan, &catalog).await.is_err(), "{statement}");
        assert!(data.serve(&bytes).await.is_err(), "{statement} wraps around");
    }
}

/// What was sealed after the plan was made is found where it is now, or named.
#[tokio::test]
async fn rows_are_found_wherever_they_are_by_then() {
    let table = sales().await;
    let (broker, data) = (Node::new(&table, false), Node::new(&table, true));
    let (plan, catalog) = broker.plan("SELECT id FROM sales").await;
    let bytes = encode(bind(Arc::clone(&plan), &catalog).unwrap()).unwrap();
    let expected = broker.run(plan, &catalog).await.unwrap();
    // The partition's rows go on.
    table.open_segment(filled(&table, 1, 150..200));
    assert_eq!(data.serve(&bytes).await.unwrap().1, expected);
    // Nobody here has them any more.
    table.restart_partition(filled(&table, 1, 150..200));
    let error = data.serve(&bytes).await.unwrap_err().to_string();
    assert!(
        error.contains("table sales, partition 1, offsets 100 to 150") && error.contains("offset 100"),
        "{error}"
    );
}
