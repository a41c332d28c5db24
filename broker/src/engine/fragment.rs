//! Fragments: the part of a plan that another node runs.
//!
//! ```text
//! plan, leaves not fused ─bind─▶ leaves with names of what they read ─encode─▶ bytes
//!                                                     bytes ─decode─▶ checked for overflow ─▶ fused ─▶ connected ─▶ runs
//! ```
//!
//! What is encoded is plain: the receiving node makes arithmetic fail on overflow again, fuses aggregates with the scans beneath
//! them, and connects what narrows leaves while it runs, by the same rules that a plan made there goes through.
//!
//! Invariant: a fragment gives the rows that its plan would give where it was made.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};

use super::overflow;
use super::session::Sessions;
use crate::catalog::QueryCatalog;
use crate::cluster::codec::LeafCodec;
use crate::execute::rule::FuseAggregates;
use crate::execute::scan::SegmentScanExec;

/// `plan` with the names of what its leaves read in the query of `catalog`, and without what connects operators that run.
pub(super) fn bind(plan: Arc<dyn ExecutionPlan>, catalog: &QueryCatalog) -> Result<Arc<dyn ExecutionPlan>> {
    let bound = plan.transform_up(|node| match node.downcast_ref::<SegmentScanExec>() {
        Some(scan) => Ok(Transformed::yes(Arc::new(scan.without_dynamic_conjuncts().bound(catalog)?) as _)),
        None => Ok(Transformed::no(node)),
    });
    bound.data()
}

/// A bound plan on the wire.
pub(super) fn encode(plan: Arc<dyn ExecutionPlan>) -> Result<Vec<u8>> {
    physical_plan_to_bytes_with_extension_codec(plan, &LeafCodec).map(|bytes| bytes.to_vec())
}

impl Sessions {
    /// A fragment from the wire, ready to run. `context` is of a session with the planner's functions.
    pub(super) fn fragment(&self, bytes: &[u8], context: &TaskContext) -> Result<Arc<dyn ExecutionPlan>> {
        let options = context.session_config().options();
        let plan = physical_plan_from_bytes_with_extension_codec(bytes, context, &LeafCodec)?;
        let plan = overflow::checked_plan(plan, options)?;
        let plan = match self.sources().options.aggregate {
            true => FuseAggregates.optimize(plan, options)?,
            false => plan,
        };
        self.connect(plan)
    }
}

#[cfg(test)]
mod tests;
