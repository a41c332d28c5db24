//! `EXPLAIN` of a plan on several nodes: its operators, and per stage where it sends its rows, which node runs it, and what that
//! reads. `EXPLAIN ANALYZE` says besides how much crossed.
//!
//! ```text
//! stage 1 to stage 3: shuffle, 120000 rows, 1920000 bytes
//! stage 1, data-0: sales at version 7, 12 sealed segments, 1 open partitions
//! stage 3 to this node: gather, 4000 rows, 64000 bytes
//! stage 3, data-0: reads stages 1, 2
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::logical_plan::Explain;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion_distributed::{
    DistributedLeafExec, NetworkBoundaryExt, NetworkBroadcastExec, NetworkShuffleExec, Stage,
};
use url::Url;

use super::address::name_of;
use super::attempt::Attempt;
use super::distribute::{stages_read, urls_of_leaf};
use crate::catalog::QueryCatalog;
use crate::execute::scan::SegmentScanExec;

/// The rows of `EXPLAIN` for a plan that [`distribute`](super::distribute::distribute) has made.
pub(crate) fn rows(
    explain: &Explain,
    logical: &LogicalPlan,
    plan: &Arc<dyn ExecutionPlan>,
    context: &TaskContext,
) -> Result<Arc<dyn ExecutionPlan>> {
    let operators = displayable(plan.as_ref()).indent(explain.verbose).to_string();
    let texts = [
        ("logical_plan", logical.display_indent().to_string()),
        ("physical_plan", operators),
        ("nodes", stages(plan, context)?),
    ];
    let schema = Arc::clone(explain.schema.inner());
    let batch = batch(&schema, &texts)?;
    Ok(MemorySourceConfig::try_new_exec(&[vec![batch]], schema, None)?)
}

/// What `EXPLAIN ANALYZE` has to say besides, once `plan` has run to its end in `context`.
pub(crate) fn analyzed(plan: &Arc<dyn ExecutionPlan>, context: &TaskContext) -> Result<RecordBatch> {
    let operators = displayable(plan.as_ref()).indent(false).to_string();
    let texts = [("physical_plan", operators), ("nodes", stages(plan, context)?)];
    batch(&plan.schema(), &texts)
}

fn batch(schema: &SchemaRef, texts: &[(&str, String)]) -> Result<RecordBatch> {
    let kinds = StringArray::from_iter_values(texts.iter().map(|(kind, _)| kind));
    let plans = StringArray::from_iter_values(texts.iter().map(|(_, text)| text.trim_end()));
    Ok(RecordBatch::try_new(Arc::clone(schema), vec![Arc::new(kinds), Arc::new(plans)])?)
}

/// All stages, each with its tasks.
fn stages(plan: &Arc<dyn ExecutionPlan>, context: &TaskContext) -> Result<String> {
    let (nodes, attempt) = (QueryCatalog::of(context)?.data_nodes(), Attempt::of(context)?);
    let mut texts = BTreeMap::new();
    let mut readers = BTreeMap::new();
    plan.apply(|operator| {
        let Some(boundary) = operator.as_network_boundary() else { return Ok(TreeNodeRecursion::Continue) };
        let Stage::Local(stage) = boundary.input_stage() else { return Ok(TreeNodeRecursion::Jump) };
        let inputs = stages_read(&stage.plan)?;
        readers.extend(inputs.iter().map(|input| (*input, stage.num)));
        let reader =
            readers.get(&stage.num).map_or("this node".to_owned(), |reader| format!("stage {reader}"));
        let mut text = format!("stage {} to {reader}: {}", stage.num, kind_of(operator));
        if let Some(crossed) = attempt.crossed(stage.query_id, stage.num) {
            // Writing to a text cannot fail.
            let _ = write!(text, ", {} rows, {} bytes", crossed.rows, crossed.bytes);
        }
        text.push('\n');
        tasks(&mut text, &stage.plan, (stage.num, &inputs), &nodes)?;
        texts.insert(stage.num, text);
        Ok(TreeNodeRecursion::Continue)
    })?;
    let text: String = texts.into_values().collect();
    Ok(if text.is_empty() { "this node only".into() } else { text })
}

fn kind_of(boundary: &Arc<dyn ExecutionPlan>) -> &'static str {
    if boundary.downcast_ref::<NetworkShuffleExec>().is_some() {
        return "shuffle";
    }
    let is_broadcast = boundary.downcast_ref::<NetworkBroadcastExec>().is_some();
    if is_broadcast { "broadcast" } else { "gather" }
}

/// One line per task and what it reads.
fn tasks(
    text: &mut String,
    plan: &Arc<dyn ExecutionPlan>,
    (number, inputs): (usize, &[usize]),
    nodes: &[Url],
) -> Result<()> {
    if !inputs.is_empty() {
        let leaf = urls_of_leaf(plan)?;
        let inputs: Vec<_> = inputs.iter().map(usize::to_string).collect();
        for node in leaf.as_deref().unwrap_or(nodes) {
            let _ = writeln!(text, "stage {number}, {}: reads stages {}", name_of(node), inputs.join(", "));
        }
    }
    plan.apply(|operator| {
        if operator.is_network_boundary() {
            return Ok(TreeNodeRecursion::Jump);
        }
        let Some(leaf) = operator.downcast_ref::<DistributedLeafExec>() else {
            return Ok(TreeNodeRecursion::Continue);
        };
        for scan in leaf.variants().iter().filter_map(|variant| variant.downcast_ref::<SegmentScanExec>()) {
            let Some(assignment) = scan.assignment() else { continue };
            let node = assignment.node.as_ref().map(|url| name_of(url).to_string()).unwrap_or_default();
            let _ = writeln!(
                text,
                "stage {number}, {node}: {} at version {}, {} sealed segments, {} open partitions",
                scan.source().table.name(),
                assignment.log_version,
                assignment.sealed.len(),
                assignment.open.len(),
            );
        }
        Ok(TreeNodeRecursion::Jump)
    })?;
    Ok(())
}
