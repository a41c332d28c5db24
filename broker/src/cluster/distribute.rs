//! From a plan to a plan on several nodes: every leaf goes to the nodes that have its rows, with what above it works partition
//! by partition; what needs rows of equal keys together goes there too, behind a shuffle, if that is worth it; the rest stays here.
//!
//! ```text
//! few groups                 many groups, joins of large tables, windows            a small side of a join
//!
//! Final aggregate            NetworkCoalesce ──────── stage 3 ─┐                     NetworkCoalesce ──── stage 2 ─┐      this node
//!   NetworkCoalesce ─────┐     Partitioned join     (every node)│                      Join                        │
//!     Partial aggregate  │       NetworkShuffle ───── stage 1 ─┐│                        CoalescePartitions         │
//!       Projection       │         Repartition (hash)          ││                          NetworkBroadcast ─ stage 1 │
//!         SegmentScan    │           Projection                ││ data nodes                 Broadcast              │ data nodes
//!              (stage 1) │             SegmentScan             ││                              SegmentScan         │
//!                        │       NetworkShuffle ───── stage 2 ─┘│                        SegmentScan               │
//!                        ┘         Repartition, SegmentScan     ┘                                                  ┘
//! ```
//!
//! What the broker reads of a stage that reads no other it [fetches](super::direct) from each task, without a boundary of the
//! distributed plan; plans that are to be looked at have one all the same.
//!
//! A stage with a leaf runs on the leaf's nodes, a task on each, with another assignment in each task; one without a leaf runs on
//! all nodes that answered for the query's cuts. Rows *are by keys* once they have gone through a shuffle: those of equal keys are
//! in one partition of one task, and operators that want no more than that follow. A shuffle costs a hop and the start of another
//! stage on every node, so there is one only where [enough rows](ExecuteOptions::exchange_rows_min) would come here otherwise.
//!
//! Invariants: the assignments of a leaf are disjoint and together are the query's cut; no leaf stays above a boundary, where
//! it would read what happens to be here; the inputs of a join come from the same tasks in the same partitions, or it stays here,
//! and they are brought together here; nothing that is unknown leads to a shuffle; the answer does not depend on the nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::internal_datafusion_err;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, Partitioning, ReplaceChildrenOptions,
};
use datafusion_distributed::{
    BroadcastExec, DistributedExec, DistributedLeafExec, NetworkBoundary, NetworkBoundaryExt,
    NetworkBroadcastExec, NetworkCoalesceExec, NetworkShuffleExec, RouteTasksEvent, RouteTasksEventResponse,
    Stage,
};
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use super::attempt::Attempt;
use super::direct::FetchExec;
use super::learned::{GroupKey, LearnedGroups, rows_of};
use super::reach::{
    broadcasts, final_over_exchange, goes_below, inherits_keys, is_exchange, is_of_equal_keys, reaches,
    wants_keys, wants_one_partition,
};
use super::subqueries::reads_subqueries;
use crate::catalog::QueryCatalog;
use crate::engine::interrupt::interruptible;
use crate::execute::options::ExecuteOptions;
use crate::execute::scan::SegmentScanExec;

/// `plan` as it runs on the nodes that the cuts of the query of `context` name, until `cancel`. Its subqueries have run. To be
/// run once.
pub(crate) fn distribute(
    plan: Arc<dyn ExecutionPlan>,
    context: &TaskContext,
    cancel: &CancellationToken,
    ways: Ways,
) -> Result<Arc<dyn ExecutionPlan>> {
    let (catalog, attempt) = (QueryCatalog::of(context)?, Attempt::of(context)?);
    let mut stages = Stages {
        catalog: &catalog,
        options: *catalog.options(),
        learned: attempt.learned(),
        nodes: catalog.data_nodes().len(),
        query: Uuid::new_v4(),
        inputs: BTreeMap::new(),
        groups: BTreeMap::new(),
        ways,
        boundaries: 0,
    };
    let placed = stages.place(plan, Wanted::Chosen)?;
    let head = stages.closed(placed)?;
    attempt.begin(stages.query, stages.inputs, stages.groups);
    let head = interruptible(head, cancel)?;
    if stages.boundaries == 0 {
        return Ok(head);
    }
    let head = match head.output_partitioning().partition_count() {
        1 => head,
        _ => Arc::new(CoalescePartitionsExec::new(head)),
    };
    Ok(Arc::new(DistributedExec::new(head)))
}

/// How the broker gets at the rows of its stages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ways {
    /// By the distributed plan, which knows all of its stages and what each counts.
    Stages,
    /// [Directly](super::direct), where a stage reads no other.
    Shortest,
}

/// A subtree on its way.
enum Placed {
    /// It is on data nodes as far as it goes, and may go further.
    Below(Below),
    /// It is here.
    Here(Arc<dyn ExecutionPlan>),
}

struct Below {
    plan: Arc<dyn ExecutionPlan>,
    tasks: usize,
    /// Whether its rows are by keys; then its tasks are on all nodes of the query.
    by_keys: bool,
}

/// What is to become of the exchanges that a subtree reaches first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Each is as its own rows say.
    Chosen,
    /// They are between data nodes, and those below them too.
    Shuffles,
    /// They are here.
    Gathered,
}

struct Stages<'a> {
    catalog: &'a QueryCatalog,
    options: ExecuteOptions,
    learned: &'a LearnedGroups,
    /// Data nodes of the query.
    nodes: usize,
    query: Uuid,
    /// The stages made so far, each with those that it reads.
    inputs: BTreeMap<usize, Vec<usize>>,
    /// Stages with partial groups.
    groups: BTreeMap<usize, GroupKey>,
    ways: Ways,
    /// Boundaries of the distributed plan.
    boundaries: usize,
}

impl Stages<'_> {
    fn place(&mut self, plan: Arc<dyn ExecutionPlan>, wanted: Wanted) -> Result<Placed> {
        if let Some(scan) = plan.downcast_ref::<SegmentScanExec>() {
            return self.leaf(scan);
        }
        if is_exchange(&plan) {
            return Ok(self.exchange(plan, wanted)?.0);
        }
        if let Some(join) = broadcasts(&plan)?
            && (wanted == Wanted::Shuffles || self.is_worth(rows_of(join.right())))
            && reaches(&plan)?
        {
            return self.broadcast(&plan, wanted);
        }
        let originals: Vec<_> = plan.children().into_iter().map(Arc::clone).collect();
        let mut placed = Vec::with_capacity(originals.len());
        if let Some(aggregate) = final_over_exchange(&plan) {
            let key = GroupKey::of(aggregate);
            let wanted = match wanted == Wanted::Shuffles || self.has_many_groups(&originals[0], &key) {
                true => Wanted::Shuffles,
                false => Wanted::Gathered,
            };
            let (exchanged, stage) = self.exchange(Arc::clone(&originals[0]), wanted)?;
            self.groups.extend(stage.map(|stage| (stage, key)));
            placed.push(exchanged);
        } else {
            let wanted = self.wanted_below(&plan, wanted)?;
            for child in &originals {
                placed.push(self.place(Arc::clone(child), wanted)?);
            }
        }
        self.finished(plan, &originals, placed)
    }

    /// An operator over its placed children: where they are, if it may go there.
    fn finished(
        &mut self,
        plan: Arc<dyn ExecutionPlan>,
        originals: &[Arc<dyn ExecutionPlan>],
        placed: Vec<Placed>,
    ) -> Result<Placed> {
        if placed.is_empty() {
            return Ok(Placed::Here(plan));
        }
        if let Some((tasks, by_keys)) = together(&plan, &placed)? {
            let children = placed.into_iter().map(Placed::into_plan).collect();
            return Ok(Placed::Below(Below { plan: with_children(plan, children)?, tasks, by_keys }));
        }
        let placed = merged_below(&plan, placed)?;
        let mut children = Vec::with_capacity(placed.len());
        for ((place, placed), original) in placed.into_iter().enumerate().zip(originals) {
            let is_spread = matches!(&placed, Placed::Below(below) if below.by_keys && below.tasks > 1);
            let child = self.closed(placed)?;
            children.push(match is_spread && inherits_keys(&plan, place) {
                true => as_before(child, original)?,
                false => child,
            });
        }
        Ok(Placed::Here(with_children(plan, children)?))
    }

    /// What the exchanges under `plan` are to be, if `wanted` is what is asked of it.
    fn wanted_below(&self, plan: &Arc<dyn ExecutionPlan>, wanted: Wanted) -> Result<Wanted> {
        if wanted == Wanted::Shuffles || (plan.children().len() == 1 && goes_below(plan)) {
            return Ok(wanted);
        }
        if !is_of_equal_keys(plan) {
            return Ok(Wanted::Chosen);
        }
        // All inputs, or none.
        let rows = plan.children().into_iter().map(rows_of).sum::<Option<u64>>();
        Ok(if self.is_worth(rows) && reaches(plan)? { Wanted::Shuffles } else { Wanted::Gathered })
    }

    fn is_worth(&self, rows: Option<u64>) -> bool {
        self.options.exchange_rows_min == 0 || rows.is_some_and(|rows| rows >= self.options.exchange_rows_min)
    }

    /// Whether so many partial groups would come here that it is worth a shuffle. Not unless they were counted before.
    fn has_many_groups(&self, exchange: &Arc<dyn ExecutionPlan>, key: &GroupKey) -> bool {
        let known = self.learned.groups(key).filter(|groups| self.is_worth(Some(*groups)));
        self.is_worth(known.and_then(|groups| Some(groups.min(rows_of(exchange)?))))
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
        Ok(Placed::Below(Below { plan: Arc::new(leaf), tasks, by_keys: false }))
    }

    /// An exchange of rows by the hash of keys, between data nodes or here; and the stage that it reads.
    fn exchange(&mut self, plan: Arc<dyn ExecutionPlan>, wanted: Wanted) -> Result<(Placed, Option<usize>)> {
        let input = Arc::clone(plan.children()[0]);
        let is_wanted = match wanted {
            Wanted::Shuffles => true,
            Wanted::Gathered => false,
            Wanted::Chosen => self.is_worth(rows_of(&input)),
        };
        // An exchange that keeps an order would merge its inputs, of which there are some in every task.
        let is_wanted = is_wanted && plan.output_ordering().is_none();
        let below = match wanted {
            Wanted::Shuffles => wanted,
            _ => Wanted::Chosen,
        };
        match self.place(Arc::clone(&input), below)? {
            Placed::Below(below) if is_wanted => {
                let plan = with_children(plan, vec![below.plan])?;
                if self.nodes == 1 && below.tasks == 1 {
                    // It is all on one node.
                    return Ok((Placed::Below(Below { plan, tasks: 1, by_keys: true }), None));
                }
                let (plan, stage) = self.stamped(&NetworkShuffleExec::try_new(plan, below.tasks)?)?;
                Ok((Placed::Below(Below { plan, tasks: self.nodes, by_keys: true }), Some(stage)))
            }
            placed => {
                let is_below = matches!(placed, Placed::Below(_));
                let finished = self.finished(plan, &[input], vec![placed])?;
                Ok((finished, is_below.then_some(self.inputs.len())))
            }
        }
    }

    /// A join whose small side goes to every node that has rows of the large one.
    fn broadcast(&mut self, plan: &Arc<dyn ExecutionPlan>, wanted: Wanted) -> Result<Placed> {
        let [collected, probe] = plan.children()[..] else {
            return Err(internal_datafusion_err!("a join has two inputs"));
        };
        let build = Arc::clone(collected.children()[0]);
        let placed_probe = self.place(Arc::clone(probe), wanted)?;
        let placed_build = self.place(Arc::clone(&build), Wanted::Chosen)?;
        let (build, probe) = match (placed_build, placed_probe) {
            (Placed::Below(build), Placed::Below(probe)) => (build, probe),
            (placed_build, placed_probe) => {
                let collected = Arc::clone(collected);
                let originals = [Arc::clone(&collected), Arc::clone(probe)];
                let collected = self.finished(collected, &[build], vec![placed_build])?;
                return self.finished(Arc::clone(plan), &originals, vec![collected, placed_probe]);
            }
        };
        let sent = match self.nodes == 1 && build.tasks == 1 {
            true => build.plan,
            // The tasks that read say how many they are.
            false => {
                let sent = Arc::new(BroadcastExec::new(build.plan, 1));
                self.stamped(&NetworkBroadcastExec::try_new(sent, build.tasks)?)?.0
            }
        };
        let collected = Arc::new(CoalescePartitionsExec::new(sent));
        let plan = with_children(Arc::clone(plan), vec![collected, probe.plan])?;
        Ok(Placed::Below(Below { plan, ..probe }))
    }

    /// Puts a boundary above what is below.
    fn closed(&mut self, placed: Placed) -> Result<Arc<dyn ExecutionPlan>> {
        match placed {
            Placed::Here(plan) => Ok(plan),
            // Whoever reads a stage puts in place of an exchange at its top what hands out rows: to have its rows by keys here,
            // they are exchanged here.
            Placed::Below(Below { plan, tasks, .. }) if is_exchange(&plan) => {
                let input = self.gathered(Arc::clone(plan.children()[0]), tasks)?;
                with_children(plan, vec![input])
            }
            Placed::Below(below) => self.gathered(below.plan, below.tasks),
        }
    }

    /// The rows of a stage, here.
    fn gathered(&mut self, plan: Arc<dyn ExecutionPlan>, tasks: usize) -> Result<Arc<dyn ExecutionPlan>> {
        let partitions = plan.output_partitioning().partition_count();
        // The rows of a task come in one order or in none.
        let is_simple = partitions == 1 || plan.output_ordering().is_none();
        if self.ways == Ways::Stages || !is_simple || !stages_read(&plan)?.is_empty() {
            return Ok(self.stamped(&NetworkCoalesceExec::try_new(plan, tasks, 1)?)?.0);
        }
        let plan = match partitions {
            1 => plan,
            _ => Arc::new(CoalescePartitionsExec::new(plan)),
        };
        let number = self.inputs.len() + 1;
        self.inputs.insert(number, Vec::new());
        Ok(Arc::new(FetchExec::try_new(plan, (self.query, number))?))
    }

    /// A boundary as one of this query, and the number of its stage.
    fn stamped(&mut self, boundary: &dyn NetworkBoundary) -> Result<(Arc<dyn ExecutionPlan>, usize)> {
        let Stage::Local(mut stage) = boundary.input_stage().clone() else {
            return Err(internal_datafusion_err!("a new boundary has a stage that is elsewhere"));
        };
        // Tasks are known by these two: queries that run at once must not share them.
        stage.query_id = self.query;
        stage.num = self.inputs.len() + 1;
        self.boundaries += 1;
        self.inputs.insert(stage.num, stages_read(&stage.plan)?);
        let number = stage.num;
        let boundary = boundary.with_input_stage(Stage::Local(stage))?;
        Ok((boundary as Arc<dyn ExecutionPlan>, number))
    }
}

impl Placed {
    fn into_plan(self) -> Arc<dyn ExecutionPlan> {
        match self {
            Self::Below(below) => below.plan,
            Self::Here(plan) => plan,
        }
    }
}

/// The stages that a stage with this plan reads, in the order in which it has them.
pub(super) fn stages_read(plan: &Arc<dyn ExecutionPlan>) -> Result<Vec<usize>> {
    let mut stages = Vec::new();
    plan.apply(|node| {
        let Some(boundary) = node.as_network_boundary() else { return Ok(TreeNodeRecursion::Continue) };
        stages.push(boundary.input_stage().num());
        Ok(TreeNodeRecursion::Jump)
    })?;
    Ok(stages)
}

/// The input of an operator that merges sorted partitions, merged in each task already. All partitions of a task come here through
/// one connection, which takes a bounded number of bytes: were the merge to wait for one partition while another one fills it,
/// nothing would ever move.
fn merged_below(plan: &Arc<dyn ExecutionPlan>, placed: Vec<Placed>) -> Result<Vec<Placed>> {
    if plan.downcast_ref::<SortPreservingMergeExec>().is_none() || reads_subqueries(plan)? {
        return Ok(placed);
    }
    let merge = |placed: Placed| match placed {
        Placed::Below(Below { plan: sorted, tasks, .. }) => {
            let plan = with_children(Arc::clone(plan), vec![sorted])?;
            Ok(Placed::Below(Below { plan, tasks, by_keys: false }))
        }
        here => Ok(here),
    };
    placed.into_iter().map(merge).collect()
}

/// In how many tasks an operator runs where its children are, and whether its rows are by keys; `None` if it cannot.
fn together(plan: &Arc<dyn ExecutionPlan>, placed: &[Placed]) -> Result<Option<(usize, bool)>> {
    let below = placed.iter().map(|placed| match placed {
        Placed::Below(below) => Some(below),
        Placed::Here(_) => None,
    });
    let Some(below) = below.collect::<Option<Vec<_>>>() else { return Ok(None) };
    let Some((first, others)) = below.split_first() else { return Ok(None) };
    if !goes_below(plan) || wants_one_partition(plan) || reads_subqueries(plan)? {
        return Ok(None);
    }
    let has_keys = below.iter().all(|below| below.by_keys);
    if wants_keys(plan) && !has_keys {
        return Ok(None);
    }
    let partitions = |below: &Below| below.plan.output_partitioning().partition_count();
    let is_like_first = |other: &&Below| other.tasks == first.tasks && partitions(other) == partitions(first);
    let fit = others.is_empty() || (is_of_equal_keys(plan) && others.iter().all(is_like_first));
    Ok(fit.then_some((first.tasks, has_keys)))
}

/// `child`, whose rows come from the partitions of several tasks, partitioned as its plan was before it was placed.
fn as_before(
    child: Arc<dyn ExecutionPlan>,
    original: &Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let partitioning = original.output_partitioning();
    let Partitioning::Hash(..) = partitioning else { return Ok(child) };
    let exchange = RepartitionExec::try_new(child, partitioning.clone())?;
    Ok(Arc::new(match original.output_ordering() {
        Some(_) => exchange.with_preserve_order(),
        None => exchange,
    }))
}

fn with_children(
    plan: Arc<dyn ExecutionPlan>,
    children: Vec<Arc<dyn ExecutionPlan>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}

/// Sends each task of a stage to the node that its leaf was made for, and the tasks of one without a leaf to all nodes.
pub(crate) fn route(event: RouteTasksEvent<'_>) -> Option<Result<RouteTasksEventResponse>> {
    let routed = match urls_of_leaf(event.plan) {
        Ok(Some(urls)) => Ok(urls),
        Ok(None) => QueryCatalog::of(&event.task_ctx).map(|catalog| catalog.data_nodes()),
        Err(error) => Err(error),
    };
    Some(routed.map(RouteTasksEventResponse::new))
}

/// Where the tasks of a stage with a leaf run; `None` if it has none.
pub(super) fn urls_of_leaf(stage: &Arc<dyn ExecutionPlan>) -> Result<Option<Vec<Url>>> {
    let mut urls: Option<Vec<Url>> = None;
    stage.apply(|node| {
        if node.is_network_boundary() {
            return Ok(TreeNodeRecursion::Jump);
        }
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
    })?;
    Ok(urls)
}
