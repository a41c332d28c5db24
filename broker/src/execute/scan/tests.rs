use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::AtomicUsize;
use std::task::Poll;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNode;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{ColumnarValue, Operator, ScalarUDF, Volatility, create_udf};
use datafusion::physical_expr::expressions::{BinaryExpr, DynamicFilterPhysicalExpr, lit};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use headwater_segment::budget::MemoryBudget;
use headwater_segment::column::BLOCK_ROWS;
use headwater_segment::live::{LiveTable, Tables};
use headwater_segment::log::{Change, Commit, TableLog};
use headwater_segment::mutable::{MutableSegment, SegmentWriter};
use headwater_segment::resident::{ResidentConfig, ResidentStore};
use headwater_segment::sealed::FooterCache;
use headwater_segment::spec::parse_spec;
use headwater_segment::value::{RowSink, Value};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use tokio::runtime::Handle;
use ulid::Ulid;

use super::*;
use crate::catalog::{CATALOG, CatalogSources, PUBLIC};
use crate::execute::aggregate::ResultCache;
use crate::execute::rule::FuseAggregates;

/// A table `t` with a column `n` of numbers and `rows` open rows.
async fn table(rows: i64) -> Arc<LiveTable> {
    table_of("LONG", rows, |writer, row| writer.set(0, Value::I64(row))).await
}

/// A table `t` with a column `n` of a type and `rows` open rows, which `write` fills.
async fn table_of(
    data_type: &str,
    rows: i64,
    mut write: impl FnMut(&mut SegmentWriter, i64),
) -> Arc<LiveTable> {
    let spec = format!(
        "{{name: t, columns: [{{name: n, type: {data_type}}}], stream: {{brokers: 'localhost:9092', topic: t}}}}"
    );
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let root = object_store::path::Path::from("tables/t");
    let log = TableLog::create(Arc::clone(&store), root.clone(), &parse_spec(&spec).unwrap()).await.unwrap();
    let change = Change::FirstStart { epoch: 0, starts: BTreeMap::from([(0, 0)]), topic_id: None };
    log.commit(&Commit { id: Ulid::new(), at_ms: 0, change }).await.unwrap();
    let table = LiveTable::new(log, store, root);
    let (mut writer, segment) = MutableSegment::create(table.schema(), 0, 0, MemoryBudget::new(1 << 30));
    table.open_segment(segment);
    for offset in 0..rows {
        write(&mut writer, offset);
        writer.finish_row(offset, None, None, None);
    }
    writer.publish(rows);
    table
}

/// The catalog of one query over a table.
fn catalog(table: Arc<LiveTable>, stats: &Arc<QueryStats>) -> Arc<QueryCatalog> {
    let tables = Tables::default();
    tables.insert(table);
    let config = ResidentConfig { dir: None, disk_bytes_max: 0, memory_bytes_max: 1 << 20 };
    let sources = CatalogSources {
        tables: Arc::new(tables),
        registry: Arc::default(),
        footers: FooterCache::new(1 << 20),
        residents: ResidentStore::open(config).unwrap(),
        key_values: Arc::default(),
        results: Arc::new(ResultCache::new(0)),
        options: ExecuteOptions::default(),
        nodes: None,
        started_at_us: 0,
    };
    let stats = Arc::clone(stats);
    QueryCatalog::new(
        Arc::new(sources),
        Default::default(),
        false,
        stats,
        (Handle::current(), tracing::Span::none()),
        None,
    )
}

fn session(catalog: &Arc<QueryCatalog>) -> SessionContext {
    let config = SessionConfig::new()
        .with_target_partitions(2)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, PUBLIC)
        .with_extension(Arc::clone(catalog));
    let state = SessionStateBuilder::new_with_default_features()
        .with_config(config)
        .with_catalog_list(QueryCatalog::list(catalog).unwrap())
        .with_physical_optimizer_rule(Arc::new(FuseAggregates))
        .build();
    SessionContext::new_with_state(state)
}

#[tokio::test]
async fn a_leaf_that_another_operator_starts_counts_in_the_metrics_of_that_operator() {
    let catalog = catalog(table(1).await, &Arc::default());
    let public = QueryCatalog::list(&catalog).unwrap().catalog(CATALOG).unwrap().schema(PUBLIC).unwrap();
    let table = public.table("t").await.unwrap().unwrap();
    let session = session(&catalog);
    let leaf = table.scan(&session.state(), None, &[], None).await.unwrap();
    let leaf = leaf.downcast_ref::<SegmentScanExec>().unwrap();
    for _ in 0..3 {
        let metrics = ExecutionPlanMetricsSet::new();
        let prepare: Prepare<()> = Box::new(|_| Box::pin(async { Ok(Some(())) }));
        leaf.start(&session.task_ctx(), vec![0], prepare, &metrics, |_| ()).unwrap();
        assert_eq!(metrics.clone_inner().iter().count(), 2);
    }
    // A leaf in a kept plan would gather more with every run.
    assert_eq!(leaf.metrics().unwrap().iter().count(), 0);
}

/// Ten divided by 0 is an error.
#[tokio::test]
async fn a_condition_that_is_narrowed_asks_only_rows_that_the_others_leave() {
    let catalog = catalog(table(10).await, &Arc::default());
    let public = QueryCatalog::list(&catalog).unwrap().catalog(CATALOG).unwrap().schema(PUBLIC).unwrap();
    let table = public.table("t").await.unwrap().unwrap();
    let session = session(&catalog);
    let leaf = table.scan(&session.state(), None, &[], None).await.unwrap();
    let leaf = leaf.downcast_ref::<SegmentScanExec>().unwrap();
    let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new("n", 0));
    let binary = |left: &Arc<dyn PhysicalExpr>, operator, right: &Arc<dyn PhysicalExpr>| {
        Arc::new(BinaryExpr::new(Arc::clone(left), operator, Arc::clone(right))) as Arc<dyn PhysicalExpr>
    };
    let dynamic = DynamicFilterPhysicalExpr::new(vec![Arc::clone(&column)], lit(true));
    let quotient = binary(&lit(10_i64), Operator::Divide, &column);
    dynamic.update(binary(&quotient, Operator::Gt, &lit(2_i64))).unwrap();
    let not_0 = binary(&column, Operator::NotEq, &lit(0_i64));
    let conjuncts: Vec<Arc<dyn PhysicalExpr>> = vec![not_0, Arc::new(dynamic)];
    let scan = SegmentScanExec { conjuncts, ..leaf.fresh() };
    let batches = scan.execute(0, session.task_ctx()).unwrap().collect::<Vec<_>>().await;
    let rows = batches.into_iter().map(|batch| batch.unwrap().num_rows());
    assert_eq!(rows.sum::<usize>(), 3);
}

/// The operator `name` in the plan of `sql`.
async fn leaf(session: &SessionContext, sql: &str, name: &str) -> Arc<dyn ExecutionPlan> {
    let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let mut leaf = None;
    plan.apply(|node| {
        leaf = (node.name() == name).then(|| Arc::clone(node)).or(leaf.take());
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    leaf.unwrap_or_else(|| panic!("{sql} has no {name}"))
}

/// A query is cancelled by dropping its tasks, which takes effect where they give way: so what is done after that is what
/// is done within one turn.
#[tokio::test]
async fn operators_give_way_after_every_morsel() {
    let rows = 40 * BLOCK_ROWS;
    let table = table(rows as i64).await;
    for (leaf_name, sql) in [
        ("SegmentScanExec", "SELECT n FROM t WHERE n % 7 = 8"),
        ("SegmentAggregateExec", "SELECT count(*), sum(n % 7) FROM t WHERE n % 7 < 6"),
        ("SegmentAggregateExec", "SELECT n % 1000, max(n) FROM t GROUP BY 1"),
    ] {
        let stats: Arc<QueryStats> = Arc::default();
        let session = session(&catalog(Arc::clone(&table), &stats));
        let leaf = leaf(&session, sql, leaf_name).await;
        let mut batches = pin!(leaf.execute(0, session.task_ctx()).unwrap());
        let (mut turns, mut before) = (0, 0);
        loop {
            let turn = futures::poll!(batches.next());
            let scanned = QueryStats::get(&stats.rows_scanned);
            // 16 blocks are a morsel.
            assert!(scanned - before <= 16 * BLOCK_ROWS as u64, "{sql}: {} rows at once", scanned - before);
            (turns, before) = (turns + 1, scanned);
            if let Poll::Ready(batch) = turn
                && batch.transpose().unwrap().is_none()
            {
                break;
            }
        }
        assert_eq!(before, rows as u64, "{sql}");
        assert!(turns > 3, "{sql}: {turns} turns");
    }
}

/// A function that counts in `asked` for how many values it is evaluated.
fn ends_in_7(asked: &Arc<AtomicUsize>) -> ScalarUDF {
    let asked = Arc::clone(asked);
    let function = move |arguments: &[ColumnarValue]| {
        let arguments = ColumnarValue::values_to_arrays(arguments)?;
        let values = arguments[0].as_string_view();
        asked.fetch_add(values.len(), Ordering::Relaxed);
        let ends = values.iter().map(|value| value.map(|value| value.ends_with('7')));
        Ok(ColumnarValue::Array(Arc::new(ends.collect::<BooleanArray>())))
    };
    let arguments = vec![DataType::Utf8View];
    create_udf("ends_in_7", arguments, DataType::Boolean, Volatility::Immutable, Arc::new(function))
}

/// The same for what is evaluated once per value of a dictionary.
#[tokio::test]
async fn operators_give_way_while_they_evaluate_a_dictionary() {
    let values = 5 * BLOCK_ROWS + 10;
    // One row in four has a new value: the column keeps its dictionary.
    let table = table_of("STRING", 4 * values as i64, |writer, row| {
        writer.set(0, Value::Str(&format!("value {}", row / 4)));
    })
    .await;
    for (leaf_name, sql) in [
        ("SegmentScanExec", "SELECT n FROM t WHERE ends_in_7(n)"),
        ("SegmentAggregateExec", "SELECT count(*) FROM t WHERE ends_in_7(n)"),
        ("SegmentAggregateExec", "SELECT count(*) FILTER (WHERE ends_in_7(n)) FROM t"),
        ("SegmentAggregateExec", "SELECT count(ends_in_7(n)) FROM t"),
        ("SegmentAggregateExec", "SELECT max(CAST(ends_in_7(n) AS INT)) FROM t"),
        ("SegmentAggregateExec", "SELECT avg(CAST(ends_in_7(n) AS DOUBLE)) FROM t"),
        ("SegmentAggregateExec", "SELECT ends_in_7(n), count(*) FROM t GROUP BY 1"),
    ] {
        let asked = Arc::new(AtomicUsize::new(0));
        let session = session(&catalog(Arc::clone(&table), &Arc::default()));
        session.register_udf(ends_in_7(&asked));
        let leaf = leaf(&session, sql, leaf_name).await;
        // Once gone after the first turn that evaluates, once to the end.
        for is_cancelled in [true, false] {
            let leaf = Arc::clone(&leaf).reset_state().unwrap();
            let mut batches = leaf.execute(0, session.task_ctx()).unwrap();
            asked.store(0, Ordering::Relaxed);
            let mut before = 0;
            loop {
                let turn = futures::poll!(batches.next());
                let evaluated = asked.load(Ordering::Relaxed);
                assert!(evaluated - before <= BLOCK_ROWS, "{sql}: {} values at once", evaluated - before);
                before = evaluated;
                let has_ended = matches!(turn, Poll::Ready(None));
                if let Poll::Ready(Some(batch)) = turn {
                    batch.unwrap();
                }
                if has_ended || (is_cancelled && evaluated > 0) {
                    break;
                }
            }
            drop(batches);
            let total = asked.load(Ordering::Relaxed);
            assert_eq!(total, before, "{sql}");
            // The dictionary, in which an entry may stand for NULL.
            let whole = values..=values + 1;
            assert!(is_cancelled || whole.contains(&total), "{sql}: {total} values");
        }
    }
}
