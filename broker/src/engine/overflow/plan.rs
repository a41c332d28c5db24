//! Marks the arithmetic of a physical plan: [`BinaryExpr`] can fail on overflow, but is planned to wrap around.
//!
//! Invariant: it runs before every other physical rule. Those hand expressions on, they make no arithmetic. The conditions
//! that a scan is made with are marked already.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::{BinaryExpr, Literal, NegativeExpr};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, PhysicalGroupBy};
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::sorts::sort::SortExec;

use super::digits::DigitsChecked;

/// The physical rule.
#[derive(Debug)]
pub(super) struct CheckPlan;

impl PhysicalOptimizerRule for CheckPlan {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(check_node).data()
    }

    fn name(&self) -> &str {
        "check_overflow"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

type Expr = Arc<dyn PhysicalExpr>;
type Node = Arc<dyn ExecutionPlan>;

/// `expression` over rows of `schema`, with arithmetic that fails instead of wrapping around.
pub(super) fn checked(expression: Expr, schema: &Schema) -> Result<Transformed<Expr>> {
    expression.transform_up(|part| {
        if let Some(binary) = part.downcast_ref::<BinaryExpr>()
            && matches!(binary.op(), Operator::Plus | Operator::Minus | Operator::Multiply)
        {
            let (left, right) = (Arc::clone(binary.left()), Arc::clone(binary.right()));
            let checked = BinaryExpr::new(left, *binary.op(), right).with_fail_on_overflow(true);
            let data_type = checked.data_type(schema).unwrap_or(DataType::Null);
            return Ok(Transformed::yes(DigitsChecked::around(Arc::new(checked), &data_type)));
        }
        if let Some(negative) = part.downcast_ref::<NegativeExpr>()
            && let Ok(data_type) = negative.arg().data_type(schema)
            && data_type.is_signed_integer()
        {
            // The sign of an array wraps around and cannot be told not to.
            let zero = Arc::new(Literal::new(ScalarValue::new_zero(&data_type)?));
            let checked = BinaryExpr::new(zero, Operator::Minus, Arc::clone(negative.arg()));
            return Ok(Transformed::yes(Arc::new(checked.with_fail_on_overflow(true))));
        }
        Ok(Transformed::no(part))
    })
}

/// Checks several expressions of one node, and knows whether any was changed.
struct Checker<'s> {
    schema: &'s Schema,
    changed: bool,
}

impl<'s> Checker<'s> {
    fn new(schema: &'s Schema) -> Self {
        Self { schema, changed: false }
    }

    fn check(&mut self, expression: &Expr) -> Result<Expr> {
        let checked = checked(Arc::clone(expression), self.schema)?;
        self.changed |= checked.transformed;
        Ok(checked.data)
    }

    fn check_named(&mut self, expressions: &[(Expr, String)]) -> Result<Vec<(Expr, String)>> {
        expressions.iter().map(|(expression, name)| Ok((self.check(expression)?, name.clone()))).collect()
    }

    fn check_sort(&mut self, keys: &[PhysicalSortExpr]) -> Result<Vec<PhysicalSortExpr>> {
        keys.iter().map(|key| Ok(PhysicalSortExpr::new(self.check(&key.expr)?, key.options))).collect()
    }
}

fn check_node(node: Node) -> Result<Transformed<Node>> {
    let checked = if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        check_projection(projection)?
    } else if let Some(filter) = node.downcast_ref::<FilterExec>() {
        check_filter(filter)?
    } else if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
        check_aggregate(aggregate)?
    } else if let Some(sort) = node.downcast_ref::<SortExec>() {
        check_sort(sort)?
    } else if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        check_hash_join(join)?
    } else if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
        check_loop_join(join)?
    } else {
        None
    };
    Ok(checked.map_or_else(|| Transformed::no(node), Transformed::yes))
}

fn check_projection(projection: &ProjectionExec) -> Result<Option<Node>> {
    let input = projection.input();
    let schema = input.schema();
    let mut checker = Checker::new(&schema);
    let expressions = projection
        .expr()
        .iter()
        .map(|item| Ok(ProjectionExpr { expr: checker.check(&item.expr)?, alias: item.alias.clone() }));
    let expressions = expressions.collect::<Result<Vec<_>>>()?;
    if !checker.changed {
        return Ok(None);
    }
    let output = projection.schema();
    let checked =
        ProjectionExec::try_new_with_schema_metadata(expressions, Arc::clone(input), output.as_ref())?;
    Ok(Some(Arc::new(checked)))
}

fn check_filter(filter: &FilterExec) -> Result<Option<Node>> {
    let checked = checked(Arc::clone(filter.predicate()), &filter.input().schema())?;
    if !checked.transformed {
        return Ok(None);
    }
    let checked = FilterExecBuilder::from(filter).with_predicate(checked.data).build()?;
    Ok(Some(Arc::new(checked)))
}

fn check_sort(sort: &SortExec) -> Result<Option<Node>> {
    let schema = sort.input().schema();
    let mut checker = Checker::new(&schema);
    let keys = checker.check_sort(sort.expr())?;
    let Some(keys) = LexOrdering::new(keys).filter(|_| checker.changed) else { return Ok(None) };
    let checked = SortExec::new(keys, Arc::clone(sort.input()))
        .with_fetch(sort.fetch())
        .with_preserve_partitioning(sort.preserve_partitioning());
    Ok(Some(Arc::new(checked)))
}

fn check_aggregate(aggregate: &AggregateExec) -> Result<Option<Node>> {
    // Arguments and filters are over the rows that the first of the stages reads, keys over those of this stage.
    let rows = aggregate.input_schema();
    let mut arguments = Checker::new(&rows);
    let functions = aggregate.aggr_expr().iter().map(|function| check_function(&mut arguments, function));
    let functions = functions.collect::<Result<Vec<_>>>()?;
    let filters = aggregate.filter_expr().iter();
    let filters = filters.map(|filter| filter.as_ref().map(|filter| arguments.check(filter)).transpose());
    let filters = filters.collect::<Result<Vec<_>>>()?;
    let input = aggregate.input();
    let schema = input.schema();
    let mut keys = Checker::new(&schema);
    let group_by = aggregate.group_expr();
    let expressions = keys.check_named(group_by.expr())?;
    if !arguments.changed && !keys.changed {
        return Ok(None);
    }
    let nulls = group_by.null_expr().to_vec();
    let group_by =
        PhysicalGroupBy::new(expressions, nulls, group_by.groups().to_vec(), group_by.has_grouping_set());
    let checked =
        AggregateExec::try_new(*aggregate.mode(), group_by, functions, filters, Arc::clone(input), rows)?;
    Ok(Some(Arc::new(checked.with_limit_options(aggregate.limit_options()))))
}

fn check_function(
    checker: &mut Checker,
    function: &Arc<AggregateFunctionExpr>,
) -> Result<Arc<AggregateFunctionExpr>> {
    let arguments = function.expressions();
    let arguments = arguments.iter().map(|argument| checker.check(argument)).collect::<Result<Vec<_>>>()?;
    let order_by = checker.check_sort(function.order_bys())?;
    if !checker.changed {
        return Ok(Arc::clone(function));
    }
    let mut builder = AggregateExprBuilder::new(Arc::new(function.fun().clone()), arguments)
        .schema(Arc::new(checker.schema.clone()))
        .alias(function.name())
        .order_by(order_by)
        .with_ignore_nulls(function.ignore_nulls())
        .with_distinct(function.is_distinct())
        .with_reversed(function.is_reversed());
    if let Some(text) = function.human_display() {
        builder = builder.human_display(text);
    }
    if let Some(alias) = function.human_display_alias() {
        builder = builder.human_display_alias(alias);
    }
    builder.build().map(Arc::new)
}

fn check_hash_join(join: &HashJoinExec) -> Result<Option<Node>> {
    let (left, right) = (join.left().schema(), join.right().schema());
    let (mut lefts, mut rights) = (Checker::new(&left), Checker::new(&right));
    let on = join.on().iter().map(|(left, right)| Ok((lefts.check(left)?, rights.check(right)?)));
    let on = on.collect::<Result<Vec<_>>>()?;
    let filter = join.filter().map(check_join_filter).transpose()?;
    let filter_changed = filter.as_ref().is_some_and(|(_, changed)| *changed);
    if !lefts.changed && !rights.changed && !filter_changed {
        return Ok(None);
    }
    let filter = filter.map(|(filter, _)| filter);
    join.builder().with_on(on).with_filter(filter).recompute_properties().build_exec().map(Some)
}

fn check_loop_join(join: &NestedLoopJoinExec) -> Result<Option<Node>> {
    let Some((filter, true)) = join.filter().map(check_join_filter).transpose()? else { return Ok(None) };
    let (left, right) = (Arc::clone(join.left()), Arc::clone(join.right()));
    let checked = NestedLoopJoinExecBuilder::new(left, right, *join.join_type())
        .with_projection_ref(join.projection().clone())
        .with_filter(Some(filter))
        .build()?;
    Ok(Some(Arc::new(checked)))
}

/// The filter, and whether it was changed.
fn check_join_filter(filter: &JoinFilter) -> Result<(JoinFilter, bool)> {
    let checked = checked(Arc::clone(filter.expression()), filter.schema())?;
    let columns = filter.column_indices().to_vec();
    Ok((JoinFilter::new(checked.data, columns, Arc::clone(filter.schema())), checked.transformed))
}
