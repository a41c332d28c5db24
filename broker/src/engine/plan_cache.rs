//! Physical plans, kept for the next query with the same text: a dashboard asks the same thing again and again.
//!
//! A kept plan holds no rows, no cut and no state of a run: leaves take the cut of the query that runs them, and every run
//! gets fresh operators. What may differ from one run to the next must therefore not be in a plan, or the plan is not kept:
//!
//! | not kept | because |
//! |---|---|
//! | now(), random(), uuid(), … | folded into the plan, or another value each time |
//! | system tables, information_schema, table functions | their rows are taken while planning |
//! | EXPLAIN | its answer is the plan of the moment |
//! | operators not in [`REPEATABLE`] | they might share state between runs |
//! | bounds of `min` and `max` that filter the scan | the operator shares them between runs |
//!
//! Conditions that a top-k or a join connects while it runs are taken off the kept plan, and put on afresh for every run.
//!
//! Invariant: a plan is used, and kept, only while every table of the process is the one that it was made with, with the
//! same columns: the text could mean something else otherwise, and a plan keeps its tables in memory.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use headwater_segment::live::Tables;
use parking_lot::Mutex;

use crate::catalog::{CutTable, QueryCatalog};
use crate::execute::scan::SegmentScanExec;
use crate::execute::source::Source;
use crate::request::{Argument, Meaning, QueryRequest};

/// Plans kept: some 20 KB each.
const PLANS_MAX: usize = 1024;
/// Longer statements are not kept, in bytes with their parameters.
const SQL_BYTES_MAX: usize = 64 << 10;
/// A plan is made anew when a table has this many times as many rows as it had, or this many times fewer.
const GROWTH_MAX: u64 = 4;
/// Up to so many rows no plan is worse than another.
const ROWS_SMALL: u64 = 100_000;

/// Operators of which every run gets its own state.
const REPEATABLE: &[&str] = &[
    "AggregateExec",
    "BoundedWindowAggExec",
    "CoalesceBatchesExec",
    "CoalescePartitionsExec",
    "CooperativeExec",
    "CrossJoinExec",
    "EmptyExec",
    "FilterExec",
    "GlobalLimitExec",
    "HashJoinExec",
    "LocalLimitExec",
    "PlaceholderRowExec",
    "ProjectionExec",
    "RepartitionExec",
    "SegmentAggregateExec",
    "SegmentMergeExec",
    "SegmentScanExec",
    "SortExec",
    "SortExec(TopK)",
    "SortPreservingMergeExec",
    "UnionExec",
    "WindowAggExec",
];

/// What a plan depends on besides the tables' rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PlanKey {
    sql: String,
    meaning: Meaning,
    parameters: String,
    arguments: Vec<Argument>,
    /// Which tables there are, with which columns.
    names: u64,
}

/// The plans of one engine, those used last.
pub(super) struct PlanCache {
    plans: Mutex<Plans>,
    hasher: RandomState,
}

#[derive(Default)]
struct Plans {
    /// [`PlanKey::names`] of the plans.
    names: u64,
    kept: HashMap<PlanKey, (Arc<KeptPlan>, u64)>,
    uses: u64,
}

/// A plan that can be run again.
pub(super) struct KeptPlan {
    plan: Arc<dyn ExecutionPlan>,
    /// The tables, and the rows that they had.
    tables: Vec<(Arc<Source>, u64)>,
    /// The stream columns that the statement mentions.
    pub(super) stream_columns: BTreeSet<String>,
    /// Whether it has operators that are to be connected with their leaves, or with their query, for each run.
    pub(super) connects: bool,
}

impl PlanCache {
    pub(super) fn new() -> Self {
        Self { plans: Mutex::default(), hasher: RandomState::new() }
    }

    /// What the plan of `request` is kept by; `None` if it is not to be kept.
    pub(super) fn key(&self, request: &QueryRequest, tables: &Tables) -> Option<PlanKey> {
        let parameters = match request.parameters.is_empty() {
            true => String::new(),
            false => serde_json::to_string(&request.parameters).ok()?,
        };
        let arguments: usize = request.arguments.iter().map(|argument| argument.value.size()).sum();
        if request.sql.len() + parameters.len() + arguments > SQL_BYTES_MAX {
            return None;
        }
        let mut names = self.hasher.build_hasher();
        for table in tables.list() {
            Arc::as_ptr(&table).hash(&mut names);
            Arc::as_ptr(&table.schema()).hash(&mut names);
        }
        let (sql, arguments) = (request.sql.clone(), request.arguments.clone());
        let meaning = request.client.meaning();
        Some(PlanKey { sql, meaning, parameters, arguments, names: names.finish() })
    }

    /// The plan of an earlier query. Plans of tables as they were before are dropped.
    pub(super) fn get(&self, key: &PlanKey) -> Option<Arc<KeptPlan>> {
        let mut plans = self.plans.lock();
        if plans.names != key.names {
            plans.kept.clear();
            plans.names = key.names;
        }
        plans.uses += 1;
        let uses = plans.uses;
        plans.kept.get_mut(key).map(|(plan, used)| {
            *used = uses;
            Arc::clone(plan)
        })
    }

    /// Keeps a plan, unless the tables have changed while it was made.
    pub(super) fn put(&self, key: PlanKey, plan: KeptPlan) {
        let mut plans = self.plans.lock();
        if plans.names != key.names {
            return;
        }
        plans.uses += 1;
        let uses = plans.uses;
        if plans.kept.len() >= PLANS_MAX && !plans.kept.contains_key(&key) {
            let oldest = plans.kept.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| plans.kept.remove(&oldest));
        }
        plans.kept.insert(key, (Arc::new(plan), uses));
    }
}

/// Counts a query that could have a kept plan, by whether it ran one.
pub(super) fn count_plan(is_kept: bool) {
    let outcome = if is_kept { "kept" } else { "made" };
    metrics::counter!("headwater_query_plans_total", "outcome" => outcome).increment(1);
}

impl KeptPlan {
    /// `plan` as it can be kept, made from a [repeatable](is_repeatable) statement at the cut of `catalog`; `None` if it
    /// cannot.
    pub(super) fn new(
        plan: &Arc<dyn ExecutionPlan>,
        catalog: &QueryCatalog,
        stream_columns: BTreeSet<String>,
    ) -> Result<Option<Self>> {
        let mut repeatable = true;
        let mut connects = false;
        plan.apply(|node| {
            connects |= node.downcast_ref::<SortExec>().is_some_and(|sort| sort.fetch().is_some())
                || node.downcast_ref::<HashJoinExec>().is_some()
                || node.downcast_ref::<CrossJoinExec>().is_some();
            let is_bound = node.downcast_ref::<AggregateExec>().is_some()
                && !node.dynamic_expressions_produced().is_empty();
            repeatable &= REPEATABLE.contains(&node.name()) && !is_bound;
            Ok(if repeatable { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
        })?;
        if !repeatable || plan.boundedness().is_unbounded() {
            return Ok(None);
        }
        let plain = Arc::clone(plan).transform_up(|node| match node.downcast_ref::<SegmentScanExec>() {
            Some(scan) => Ok(Transformed::yes(Arc::new(scan.without_dynamic_conjuncts()) as _)),
            None => Ok(Transformed::no(node)),
        });
        let plan = reset_plan_states(plain.data()?)?;
        let tables = catalog.scanned().into_iter();
        let tables = tables.map(|table| (Arc::clone(table.source()), table.rows_total())).collect();
        Ok(Some(Self { plan, tables, stream_columns, connects }))
    }

    /// Names of the tables that it reads.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().map(|(source, _)| source.table.name())
    }

    /// Whether the plan is right, and still good, for the tables as `catalog` finds them. They are in its cut from then on.
    pub(super) fn fits(&self, catalog: &QueryCatalog) -> bool {
        self.tables.iter().all(|(source, rows)| {
            let Ok(table) = catalog.bind(source) else { return false };
            table.set_scanned();
            let (now, then) = (table.rows_total().max(ROWS_SMALL), (*rows).max(ROWS_SMALL));
            now <= then.saturating_mul(GROWTH_MAX) && then <= now.saturating_mul(GROWTH_MAX)
        })
    }

    /// The plan for one run.
    pub(super) fn fresh(&self) -> Result<Arc<dyn ExecutionPlan>> {
        reset_plan_states(Arc::clone(&self.plan))
    }
}

/// Whether the statement means the same each time, so that only the rows of its tables decide the answer. To be asked
/// before the plan is optimized: after that, now() is a value.
pub(super) fn is_repeatable(plan: &LogicalPlan) -> Result<bool> {
    let mut repeatable = true;
    plan.apply_with_subqueries(|node| {
        repeatable &= node_is_repeatable(node);
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                repeatable &= expr_is_repeatable(part);
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(if repeatable { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(repeatable)
}

fn node_is_repeatable(node: &LogicalPlan) -> bool {
    match node {
        LogicalPlan::TableScan(scan) => {
            source_as_provider(&scan.source).is_ok_and(|table| table.downcast_ref::<CutTable>().is_some())
        }
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Distinct(_) => true,
        _ => false,
    }
}

fn expr_is_repeatable(expr: &Expr) -> bool {
    let volatility = match expr {
        Expr::ScalarFunction(call) => call.func.signature().volatility,
        Expr::AggregateFunction(call) => call.func.signature().volatility,
        Expr::WindowFunction(call) => call.fun.signature().volatility,
        Expr::ScalarVariable(..) | Expr::Placeholder(_) => return false,
        _ => return !expr.is_volatile_node(),
    };
    volatility == Volatility::Immutable
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;
    use datafusion::physical_plan::empty::EmptyExec;
    use serde_json::json;

    use super::*;
    use crate::request::ClientKind;

    fn key(sql: &str, names: u64) -> PlanKey {
        let (parameters, arguments) = (String::new(), Vec::new());
        PlanKey { sql: sql.into(), meaning: Meaning::Plain, parameters, arguments, names }
    }

    fn plan() -> KeptPlan {
        KeptPlan {
            plan: Arc::new(EmptyExec::new(Arc::new(Schema::empty()))),
            tables: Vec::new(),
            stream_columns: BTreeSet::new(),
            connects: false,
        }
    }

    #[test]
    fn plans_go_with_the_tables_that_they_were_made_for() {
        let cache = PlanCache::new();
        for sql in ["a", "b"] {
            assert!(cache.get(&key(sql, 1)).is_none());
            cache.put(key(sql, 1), plan());
        }
        assert!(cache.get(&key("a", 1)).is_some() && cache.get(&key("b", 1)).is_some());
        // A table was dropped, or has another column.
        assert!(cache.get(&key("a", 2)).is_none());
        assert!(cache.plans.lock().kept.is_empty());
        // A plan that was made meanwhile comes too late.
        cache.put(key("b", 1), plan());
        assert!(cache.plans.lock().kept.is_empty());
        cache.put(key("a", 2), plan());
        assert!(cache.get(&key("a", 2)).is_some());
    }

    #[test]
    fn a_plan_is_kept_for_what_its_door_means() {
        let (cache, tables) = (PlanCache::new(), Tables::default());
        let key = |client| {
            let request = QueryRequest { sql: "SELECT 1".into(), client, ..QueryRequest::default() };
            cache.key(&request, &tables).unwrap()
        };
        assert!(key(ClientKind::Http) == key(ClientKind::Flight));
        assert!(key(ClientKind::Http) != key(ClientKind::Pinot));
        assert!(key(ClientKind::Http) != key(ClientKind::Postgres));
    }

    #[test]
    fn long_statements_are_not_kept_and_parameters_count() {
        let (cache, tables) = (PlanCache::new(), Tables::default());
        let is_kept = |sql: usize, parameter: usize| {
            let parameters = if parameter > 0 { vec![json!("x".repeat(parameter))] } else { Vec::new() };
            let request = QueryRequest { sql: " ".repeat(sql), parameters, ..QueryRequest::default() };
            cache.key(&request, &tables).is_some()
        };
        assert!(is_kept(SQL_BYTES_MAX, 0) && is_kept(100, SQL_BYTES_MAX - 200));
        assert!(!is_kept(SQL_BYTES_MAX + 1, 0) && !is_kept(100, SQL_BYTES_MAX - 50));
    }
}
