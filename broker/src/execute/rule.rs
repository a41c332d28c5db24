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

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use super::scan::SegmentScanExec;

/// Makes the fused form of an aggregate over a scan; `None` if it has none. Between the two are projections at most.
pub(crate) type Fuse = fn(&AggregateExec, &SegmentScanExec) -> Result<Option<Arc<dyn ExecutionPlan>>>;

/// See the module.
pub(crate) struct FuseAggregates {
    fuse: Fuse,
}

impl fmt::Debug for FuseAggregates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FuseAggregates")
    }
}

impl FuseAggregates {
    /// A rule that fuses by `fuse`.
    pub(crate) fn new(fuse: Fuse) -> Self {
        Self { fuse }
    }

    fn fused(&self, aggregate: &AggregateExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(scan) = scan_beneath(aggregate.input()) else { return Ok(None) };
        match aggregate.mode() {
            AggregateMode::Partial => (self.fuse)(aggregate, scan),
            AggregateMode::Single if aggregate.input().output_partitioning().partition_count() == 1 => {
                self.split(aggregate, scan)
            }
            _ => Ok(None),
        }
    }

    /// The aggregate in two steps, of which the first is fused.
    fn split(
        &self,
        aggregate: &AggregateExec,
        scan: &SegmentScanExec,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let aggregates = aggregate.aggr_expr().to_vec();
        let partial = AggregateExec::try_new(
            AggregateMode::Partial,
            aggregate.group_expr().clone(),
            aggregates.clone(),
            aggregate.filter_expr().to_vec(),
            Arc::clone(aggregate.input()),
            aggregate.input_schema(),
        )?;
        let Some(fused) = (self.fuse)(&partial, scan)? else { return Ok(None) };
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
}

impl PhysicalOptimizerRule for FuseAggregates {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let fused = plan.transform_up(|node| {
            let fused = node.downcast_ref::<AggregateExec>().map(|aggregate| self.fused(aggregate));
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

/// The scan that a node reads through projections at most. One with a limit is none: its rows must be counted first.
fn scan_beneath(node: &Arc<dyn ExecutionPlan>) -> Option<&SegmentScanExec> {
    let mut node = node;
    while let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        node = projection.input();
    }
    node.downcast_ref::<SegmentScanExec>().filter(|scan| scan.limit().is_none())
}
