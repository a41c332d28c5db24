use std::collections::BTreeMap;
use std::pin::pin;

use datafusion::common::tree_node::TreeNode;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, DynamicFilterPhysicalExpr, lit};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use headwater_segment::budget::MemoryBudget;
use headwater_segment::column::BLOCK_ROWS;
use headwater_segment::live::{LiveTable, Tables};
use headwater_segment::log::{Change, Commit, TableLog};
use headwater_segment::mutable::MutableSegment;
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

/// A table `t` with a column `n` and `rows` open rows.
async fn table(rows: i64) -> Arc<LiveTable> {
    let spec = "{name: t, columns: [{name: n, type: LONG}], stream: {brokers: 'localhost:9092', topic: t}}";
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let root = object_store::path::Path::from("tables/t");
    let log = TableLog::create(Arc::clone(&store), root.clone(), &parse_spec(spec).unwrap()).await.unwrap();
    let change = Change::FirstStart { epoch: 0, starts: BTreeMap::from([(0, 0)]), topic_id: None };
    log.commit(&Commit { id: Ulid::new(), at_ms: 0, change }).await.unwrap();
    let table = LiveTable::new(log, store, root);
    let (mut writer, segment) = MutableSegment::create(table.schema(), 0, 0, MemoryBudget::new(1 << 30));
    table.open_segment(segment);
    for offset in 0..rows {
        writer.set(0, Value::I64(offset));
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
    };
    let stats = Arc::clone(stats);
    QueryCatalog::new(Arc::new(sources), Default::default(), false, stats, Handle::current())
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
        let prepare: Prepare<()> = Box::new(|_| Ok(Some(())));
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
        let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let mut leaf = None;
        plan.apply(|node| {
            leaf = (node.name() == leaf_name).then(|| Arc::clone(node)).or(leaf.take());
            Ok(TreeNodeRecursion::Continue)
        })
        .unwrap();
        let leaf = leaf.unwrap_or_else(|| panic!("{sql} has no {leaf_name}"));
        let mut batches = pin!(leaf.execute(0, session.task_ctx()).unwrap());
        let (mut turns, mut before) = (0, 0);
        loop {
            let turn = futures::poll!(batches.next());
            let scanned = QueryStats::get(&stats.rows_scanned);
            // 16 blocks are a morsel.
            assert!(scanned - before <= 16 * BLOCK_ROWS as u64, "{sql}: {} rows at once", scanned - before);
            (turns, before) = (turns + 1, scanned);
            if let std::task::Poll::Ready(batch) = turn
                && batch.transpose().unwrap().is_none()
            {
                break;
            }
        }
        assert_eq!(before, rows as u64, "{sql}");
        assert!(turns > 3, "{sql}: {turns} turns");
    }
}
