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

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use super::aggregate::SegmentAggregateExec;
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
        fused.data()
    }

    fn name(&self) -> &str {
        "FuseAggregates"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Whether there are projections at most between an aggregate and a scan.
fn reads_a_scan(aggregate: &AggregateExec) -> bool {
    let mut node = aggregate.input();
    while let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        node = projection.input();
    }
    node.downcast_ref::<SegmentScanExec>().is_some()
}
