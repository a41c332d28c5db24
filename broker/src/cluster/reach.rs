//! Which operators may run on data nodes, and what each wants of its input there. Pure.
//!
//! | operator | wants |
//! |---|---|
//! | projection, filter, local limit, sort of each partition, partial aggregate | nothing: it follows its input |
//! | final aggregate with keys, partitioned join, window with keys | rows of equal keys together: a shuffle beneath it |
//! | join that collects its left side | that side in every task: a broadcast; only if no row of it is put out for having no match, which every task would do |
//! | everything else, `NOT IN`, and whatever reads the result of a subquery | all rows: it stays on the broker |

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::error::Result;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::limit::LocalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::union::InterleaveExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{Distribution, ExecutionPlan, ExecutionPlanProperties, Partitioning};

use super::subqueries::reads_subqueries;
use crate::execute::scan::SegmentScanExec;

/// Whether an operator may work on the rows of each task by themselves, if they are distributed as it wants.
pub(super) fn goes_below(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        return sort.preserve_partitioning();
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return *join.partition_mode() == PartitionMode::Partitioned && !join.null_aware;
    }
    plan.downcast_ref::<AggregateExec>().is_some()
        || plan.downcast_ref::<BoundedWindowAggExec>().is_some()
        || plan.downcast_ref::<WindowAggExec>().is_some()
        || plan.downcast_ref::<ProjectionExec>().is_some()
        || plan.downcast_ref::<FilterExec>().is_some()
        || plan.downcast_ref::<LocalLimitExec>().is_some()
        || plan.downcast_ref::<CooperativeExec>().is_some()
}

/// Whether an operator wants all rows of an input in one partition.
pub(super) fn wants_one_partition(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let wanted = plan.input_distribution_requirements();
    wanted.per_child_distributions().any(|wanted| matches!(wanted, Distribution::SinglePartition))
}

/// Whether an operator wants rows of equal keys of an input in one partition.
pub(super) fn wants_keys(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let wanted = plan.input_distribution_requirements();
    wanted.per_child_distributions().any(is_of_keys)
}

/// Whether an operator wants rows of equal keys of all its inputs in the same partition.
pub(super) fn is_of_equal_keys(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let wanted = plan.input_distribution_requirements();
    plan.children().len() > 1 && wanted.per_child_distributions().all(is_of_keys)
}

fn is_of_keys(wanted: &Distribution) -> bool {
    !matches!(wanted, Distribution::UnspecifiedDistribution | Distribution::SinglePartition)
}

/// Whether an operator relies, for itself or for those above it, on the keys by which its input at `place` is partitioned.
pub(super) fn inherits_keys(plan: &Arc<dyn ExecutionPlan>, place: usize) -> bool {
    let wanted = plan.input_distribution_requirements();
    let is_wanted = wanted.per_child_distributions().nth(place).is_some_and(is_of_keys);
    let hands_on = matches!(plan.output_partitioning(), Partitioning::Hash(..)) && !is_exchange(plan);
    is_wanted || hands_on || plan.downcast_ref::<InterleaveExec>().is_some()
}

/// Whether it is an exchange of rows by the hash of keys.
pub(super) fn is_exchange(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let exchange = plan.downcast_ref::<RepartitionExec>();
    exchange.is_some_and(|exchange| matches!(exchange.partitioning(), Partitioning::Hash(..)))
}

/// An aggregate that merges partial groups right after their exchange.
pub(super) fn final_over_exchange(plan: &Arc<dyn ExecutionPlan>) -> Option<&AggregateExec> {
    let aggregate = plan.downcast_ref::<AggregateExec>()?;
    let merges = *aggregate.mode() == AggregateMode::FinalPartitioned;
    (merges && is_exchange(aggregate.input())).then_some(aggregate)
}

/// A join whose left side may be sent to every task of its right side.
pub(super) fn broadcasts(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<&HashJoinExec>> {
    let Some(join) = plan.downcast_ref::<HashJoinExec>() else { return Ok(None) };
    let puts_out_no_left_row = matches!(
        join.join_type(),
        JoinType::Inner | JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark
    );
    let collected = join.left().downcast_ref::<CoalescePartitionsExec>();
    let may = *join.partition_mode() == PartitionMode::CollectLeft
        && puts_out_no_left_row
        && !join.null_aware
        && collected.is_some_and(|collected| collected.fetch().is_none())
        && !reads_subqueries(plan)?;
    Ok(may.then_some(join))
}

/// Whether all of a subtree can be on data nodes, if its exchanges are between them. What turns out not to be (an empty
/// table is nowhere) is brought here; this only keeps most plans from being shuffled for nothing.
pub(super) fn reaches(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    if plan.downcast_ref::<SegmentScanExec>().is_some() {
        return Ok(true);
    }
    if let Some(join) = broadcasts(plan)? {
        return Ok(reaches(join.left().children()[0])? && reaches(join.right())?);
    }
    let goes = is_exchange(plan) || (goes_below(plan) && !wants_one_partition(plan));
    if !goes || plan.children().is_empty() || reads_subqueries(plan)? {
        return Ok(false);
    }
    for child in plan.children() {
        if !reaches(child)? {
            return Ok(false);
        }
    }
    Ok(true)
}
