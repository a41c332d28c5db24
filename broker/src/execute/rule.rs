//! The optimizer rule that fuses an aggregate with the scan beneath it.
//!
//! ```text
//! AggregateExec(Partial)                    AggregateExec(Single)
//!   ProjectionExec*         ─▶ fused          ProjectionExec*        ─▶ AggregateExec(Final)
//!     SegmentScanExec                           SegmentScanExec             fused
//! ```
//!
//! What is fused produces the partial states of the aggregate that it replaces, so everything above stays as it is. An
//! aggregate that cannot be fused stays too.
//!
//! Then final aggregates with keys are replaced, where nothing above depends on which partition a group is in:
//!
//! ```text
//! SortExec(fetch)                               SortExec(fetch)
//!   ProjectionExec*                               ProjectionExec*
//!     AggregateExec(FinalPartitioned)   ─▶          SegmentMergeExec
//!       RepartitionExec(Hash)                         fused
//!         fused
//! ```
//!
//! Those without keys are replaced only where distinct values are counted: their partial states are long, all else's are
//! a row.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{
    Distribution, ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary,
};

use super::aggregate::{SegmentAggregateExec, SegmentMergeExec};
use super::scan::SegmentScanExec;

/// See the module.
#[derive(Debug)]
pub(crate) struct FuseAggregates;

fn fused(aggregate: &AggregateExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if !reads_a_scan(aggregate) {
        return Ok(None);
    }
    match aggregate.mode() {
        AggregateMode::Partial => fused_partial(aggregate),
        AggregateMode::Single if aggregate.input().output_partitioning().partition_count() == 1 => {
            split(aggregate)
        }
        _ => Ok(None),
    }
}

fn fused_partial(aggregate: &AggregateExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    Ok(SegmentAggregateExec::try_new(aggregate)?.map(|fused| Arc::new(fused) as _))
}

/// The aggregate in two steps, of which the first is fused.
fn split(aggregate: &AggregateExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let aggregates = aggregate.aggr_expr().to_vec();
    let partial = AggregateExec::try_new(
        AggregateMode::Partial,
        aggregate.group_expr().clone(),
        aggregates.clone(),
        aggregate.filter_expr().to_vec(),
        Arc::clone(aggregate.input()),
        aggregate.input_schema(),
    )?;
    let Some(fused) = fused_partial(&partial)? else { return Ok(None) };
    let unfiltered = vec![None; aggregates.len()];
    let last = AggregateExec::try_new(
        AggregateMode::Final,
        aggregate.group_expr().as_final(),
        aggregates,
        unfiltered,
        fused,
        aggregate.input_schema(),
    )?;
    Ok(Some(Arc::new(last.with_limit_options(aggregate.limit_options()))))
}

impl PhysicalOptimizerRule for FuseAggregates {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let fused = plan.transform_up(|node| {
            let fused = node.downcast_ref::<AggregateExec>().map(fused);
            Ok(match fused.transpose()?.flatten() {
                Some(fused) => Transformed::yes(fused),
                None => Transformed::no(node),
            })
        });
        merging(fused.data()?, false)
    }

    fn name(&self) -> &str {
        "FuseAggregates"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The plan with its final aggregates replaced; `is_placed` if something above depends on which partition a group is in.
fn merging(node: Arc<dyn ExecutionPlan>, is_placed: bool) -> Result<Arc<dyn ExecutionPlan>> {
    if !is_placed && let Some(merge) = merge_of(&node)? {
        return Ok(merge);
    }
    let required = node.input_distribution_requirements();
    let gathers = node.downcast_ref::<RepartitionExec>().is_some();
    let children = node.children();
    let mut changed = false;
    let mut replaced = Vec::with_capacity(children.len());
    for (child, required) in children.into_iter().zip(required.into_per_child()) {
        let is_placed = match required {
            Distribution::UnspecifiedDistribution => is_placed && !gathers,
            Distribution::SinglePartition => false,
            _ => true,
        };
        let new = merging(Arc::clone(child), is_placed)?;
        changed |= !Arc::ptr_eq(&new, child);
        replaced.push(new);
    }
    let node = if changed { replace_children_if_necessary(node, replaced)? } else { node };
    Ok(bounded(&node)?.unwrap_or(node))
}

/// The operator for a final aggregate over a fused one.
fn merge_of(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(last) = node.downcast_ref::<AggregateExec>() else { return Ok(None) };
    let is_final = matches!(last.mode(), AggregateMode::Final | AggregateMode::FinalPartitioned)
        && last.group_expr().is_single()
        && last.limit_options().is_none();
    if !is_final {
        return Ok(None);
    }
    let mut input = last.input();
    loop {
        if let Some(partial) = input.downcast_ref::<SegmentAggregateExec>() {
            let partitions = |plan: &Arc<dyn ExecutionPlan>| plan.output_partitioning().partition_count();
            let has_keys = !last.group_expr().expr().is_empty();
            let same = partitions(node) == partitions(input);
            if has_keys && !same || !has_keys && !partial.counts_distinct() {
                return Ok(None);
            }
            let merge: Arc<dyn ExecutionPlan> = Arc::new(SegmentMergeExec::new(node, input)?);
            return Ok(Some(if same { merge } else { Arc::new(CoalescePartitionsExec::new(merge)) }));
        }
        let passes = input.downcast_ref::<RepartitionExec>().is_some()
            || input.downcast_ref::<CoalescePartitionsExec>().is_some();
        match input.children().as_slice() {
            [child] if passes => input = child,
            _ => return Ok(None),
        }
    }
}

/// A sort with a limit over a merge of groups, where this is told which groups are wanted.
fn bounded(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(sort) = node.downcast_ref::<SortExec>() else { return Ok(None) };
    let (Some(fetch), first) = (sort.fetch(), sort.expr().first()) else { return Ok(None) };
    let Some(mut column) = first.expr.downcast_ref::<Column>().map(Column::index) else { return Ok(None) };
    let mut above = Vec::new();
    let mut input = sort.input();
    while let Some(projection) = input.downcast_ref::<ProjectionExec>() {
        let from = projection.expr().get(column).and_then(|part| part.expr.downcast_ref::<Column>());
        match from {
            Some(from) => column = from.index(),
            None => return Ok(None),
        }
        above.push(input);
        input = projection.input();
    }
    let merge = input.downcast_ref::<SegmentMergeExec>();
    let ties = sort.expr().len() > 1;
    let Some(top) = merge.and_then(|merge| merge.with_top(column, first.options.descending, fetch, ties))
    else {
        return Ok(None);
    };
    let mut plan: Arc<dyn ExecutionPlan> = Arc::new(top);
    for projection in above.into_iter().rev() {
        plan = replace_children_if_necessary(Arc::clone(projection), vec![plan])?;
    }
    replace_children_if_necessary(Arc::clone(node), vec![plan]).map(Some)
}

/// Whether there are projections at most between an aggregate and a scan.
fn reads_a_scan(aggregate: &AggregateExec) -> bool {
    let mut node = aggregate.input();
    while let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        node = projection.input();
    }
    node.downcast_ref::<SegmentScanExec>().is_some()
}
