//! From a plan to a plan on several nodes: every leaf, and what above it works partition by partition, goes to the nodes that
//! have its rows; everything else stays here.
//!
//! ```text
//! Final aggregate                          Final aggregate                             this node
//!   CoalescePartitions                       CoalescePartitions
//!     Partial aggregate          ──►           NetworkCoalesce   ── stage 1, a task per node ──
//!       Projection                               Partial aggregate                     data nodes
//!         SegmentScan                              Projection
//!                                                    SegmentScan, another assignment in each task
//! ```
//!
//! Invariants: the assignments of a leaf are disjoint and together are the query's cut; no leaf stays above a boundary, where
//! it would read what happens to be here; the answer does not depend on the nodes.

use std::sync::Arc;

use datafusion::common::internal_datafusion_err;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::limit::LocalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, ReplaceChildrenOptions};
use datafusion_distributed::{
    DistributedExec, DistributedLeafExec, NetworkBoundary, NetworkCoalesceExec, RouteTasksEvent,
    RouteTasksEventResponse, Stage,
};
use url::Url;
use uuid::Uuid;

use super::subqueries::reads_subqueries;
use crate::catalog::QueryCatalog;
use crate::execute::scan::SegmentScanExec;

/// `plan` as it runs on the nodes that the cuts of `catalog` name. Its subqueries have run. To be run once.
pub(crate) fn distribute(
    plan: Arc<dyn ExecutionPlan>,
    catalog: &QueryCatalog,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut stages = Stages { catalog, query: Uuid::new_v4(), made: 0 };
    let placed = stages.place(plan)?;
    let head = stages.closed(placed)?;
    if stages.made == 0 {
        return Ok(head);
    }
    let head = match head.output_partitioning().partition_count() {
        1 => head,
        _ => Arc::new(CoalescePartitionsExec::new(head)),
    };
    Ok(Arc::new(DistributedExec::new(head)))
}

/// A subtree on its way.
enum Placed {
    /// It is on data nodes as far as it goes, in so many tasks, and may go further.
    Below(Arc<dyn ExecutionPlan>, usize),
    /// It is here.
    Here(Arc<dyn ExecutionPlan>),
}

struct Stages<'a> {
    catalog: &'a QueryCatalog,
    query: Uuid,
    made: usize,
}

impl Stages<'_> {
    fn place(&mut self, plan: Arc<dyn ExecutionPlan>) -> Result<Placed> {
        if let Some(scan) = plan.downcast_ref::<SegmentScanExec>() {
            return self.leaf(scan);
        }
        let children: Vec<_> = plan.children().into_iter().map(Arc::clone).collect();
        let mut placed = Vec::with_capacity(children.len());
        for child in children {
            placed.push(self.place(child)?);
        }
        if let [Placed::Below(child, tasks)] = placed.as_slice()
            && goes_below(&plan)
            && !reads_subqueries(&plan)?
        {
            return Ok(Placed::Below(with_children(plan, vec![Arc::clone(child)])?, *tasks));
        }
        if placed.is_empty() {
            return Ok(Placed::Here(plan));
        }
        let children = placed.into_iter().map(|placed| self.closed(placed)).collect::<Result<_>>()?;
        Ok(Placed::Here(with_children(plan, children)?))
    }

    fn leaf(&self, scan: &SegmentScanExec) -> Result<Placed> {
        let scan = scan.settled()?;
        let variants = scan.spread(self.catalog)?;
        let tasks = variants.len();
        if tasks == 0 {
            return Ok(Placed::Here(Arc::new(EmptyExec::new(scan.schema()))));
        }
        let variants = variants.into_iter().map(|scan| Arc::new(scan) as Arc<dyn ExecutionPlan>);
        let leaf = DistributedLeafExec::try_new(Arc::new(scan), variants)?;
        Ok(Placed::Below(Arc::new(leaf), tasks))
    }

    /// Puts a boundary above what is below.
    fn closed(&mut self, placed: Placed) -> Result<Arc<dyn ExecutionPlan>> {
        let (plan, tasks) = match placed {
            Placed::Here(plan) => return Ok(plan),
            Placed::Below(plan, tasks) => (plan, tasks),
        };
        self.made += 1;
        let boundary = NetworkCoalesceExec::try_new(plan, tasks, 1)?;
        let Stage::Local(mut stage) = boundary.input_stage().clone() else {
            return Err(internal_datafusion_err!("a new boundary has a stage that is elsewhere"));
        };
        // Tasks are known by these two: queries that run at once must not share them.
        stage.query_id = self.query;
        stage.num = self.made;
        let boundary = boundary.with_input_stage(Stage::Local(stage))?;
        Ok(boundary as Arc<dyn ExecutionPlan>)
    }
}

fn with_children(
    plan: Arc<dyn ExecutionPlan>,
    children: Vec<Arc<dyn ExecutionPlan>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}

/// Whether an operator may work on each node's rows by themselves.
fn goes_below(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        return *aggregate.mode() == AggregateMode::Partial;
    }
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        return sort.preserve_partitioning();
    }
    plan.downcast_ref::<ProjectionExec>().is_some()
        || plan.downcast_ref::<FilterExec>().is_some()
        || plan.downcast_ref::<LocalLimitExec>().is_some()
        || plan.downcast_ref::<CooperativeExec>().is_some()
}

/// Sends each task of a stage to the node that its leaf was made for.
pub(crate) fn route(event: RouteTasksEvent<'_>) -> Option<Result<RouteTasksEventResponse>> {
    let mut urls: Option<Vec<Url>> = None;
    let walked = event.plan.apply(|node| {
        let Some(leaf) = node.downcast_ref::<DistributedLeafExec>() else {
            return Ok(TreeNodeRecursion::Continue);
        };
        let url = |variant: &Arc<dyn ExecutionPlan>| {
            let assignment = variant.downcast_ref::<SegmentScanExec>().and_then(SegmentScanExec::assignment);
            let node = assignment.and_then(|assignment| assignment.node.clone());
            node.ok_or_else(|| internal_datafusion_err!("a task without a node"))
        };
        urls = Some(leaf.variants().iter().map(url).collect::<Result<_>>()?);
        Ok(TreeNodeRecursion::Stop)
    });
    match walked {
        Ok(_) => urls.map(|urls| Ok(RouteTasksEventResponse::new(urls))),
        Err(error) => Some(Err(error)),
    }
}
