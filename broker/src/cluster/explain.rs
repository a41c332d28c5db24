//! `EXPLAIN` of a plan on several nodes: its operators, and per stage which node reads what.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::logical_plan::Explain;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion_distributed::{DistributedLeafExec, NetworkBoundaryExt};

use super::nodes::Nodes;
use crate::execute::scan::SegmentScanExec;

/// The rows of `EXPLAIN` for a plan that [`distribute`](super::distribute::distribute) has made.
pub(crate) fn rows(
    explain: &Explain,
    logical: &LogicalPlan,
    plan: &Arc<dyn ExecutionPlan>,
    nodes: &Nodes,
) -> Result<Arc<dyn ExecutionPlan>> {
    let operators = displayable(plan.as_ref()).indent(explain.verbose).to_string();
    let texts = [
        ("logical_plan", logical.display_indent().to_string()),
        ("physical_plan", operators),
        ("nodes", tasks(plan, nodes)?),
    ];
    let kinds = StringArray::from_iter_values(texts.iter().map(|(kind, _)| kind));
    let plans = StringArray::from_iter_values(texts.iter().map(|(_, text)| text.trim_end()));
    let schema = Arc::clone(explain.schema.inner());
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(kinds), Arc::new(plans)])?;
    Ok(MemorySourceConfig::try_new_exec(&[vec![batch]], schema, None)?)
}

/// One line per task: its stage, its node, and what that reads.
fn tasks(plan: &Arc<dyn ExecutionPlan>, nodes: &Nodes) -> Result<String> {
    let mut text = String::new();
    let mut stage = 0;
    plan.apply(|operator| {
        if let Some(boundary) = operator.as_network_boundary() {
            stage = boundary.input_stage().num();
        }
        let Some(leaf) = operator.downcast_ref::<DistributedLeafExec>() else {
            return Ok(TreeNodeRecursion::Continue);
        };
        for scan in leaf.variants().iter().filter_map(|variant| variant.downcast_ref::<SegmentScanExec>()) {
            let Some(assignment) = scan.assignment() else { continue };
            let node = assignment.node.as_ref().map(|url| nodes.name_of(url).to_string()).unwrap_or_default();
            // Writing to a text cannot fail.
            let _ = writeln!(
                text,
                "stage {stage}, {node}: {} at version {}, {} sealed segments, {} open partitions",
                scan.source().table.name(),
                assignment.log_version,
                assignment.sealed.len(),
                assignment.open.len(),
            );
        }
        Ok(TreeNodeRecursion::Jump)
    })?;
    Ok(if text.is_empty() { "this node only".into() } else { text })
}
