//! The rows of a system table on all nodes: what they share is listed here, what only they have is asked of them.
//!
//! ```text
//! other nodes ── own rows ──► named ──┐
//! this node: own rows + what is shared ──► one after the other ──► each row once
//! ```
//!
//! Other nodes are asked before what is shared is looked at: a row that moves from one to the other meanwhile (a dead letter
//! that is stored) is met twice and kept once, instead of being missed.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::error::Result;

use super::CatalogSources;
use super::system::{Holders, Listing, Part, Spread, SystemTable, Wanted, find};
use super::system_nodes::LOAD;
use crate::cluster::gather::{Asked, gather};
use crate::cluster::nodes::Nodes;
use crate::cluster::{DataNode, NodeId, node_url};

/// All rows of `table`, each once.
pub(super) async fn rows_of_all_nodes(
    table: &SystemTable,
    sources: &Arc<CatalogSources>,
    wanted: Wanted,
) -> Result<Vec<RecordBatch>> {
    let (Some(spread), Some(nodes)) = (&table.spread, &sources.nodes) else {
        let listing = Listing { wanted, part: Part::All, node: None };
        let rows = (table.rows)(Arc::clone(sources), listing).await?;
        return distinct(table.batches(rows)?, table);
    };
    let schema = table.schema();
    let (listing, asked) = holders(nodes, spread, wanted);
    let mut others = Vec::new();
    for (node, answer) in gather(nodes.access(), asked, table.name, &schema).await {
        // Those that did not answer are in the log.
        for batch in answer.unwrap_or_default() {
            others.push(named(&batch, &schema, &node)?);
        }
    }
    let mut batches = table.batches((table.rows)(Arc::clone(sources), listing).await?)?;
    batches.append(&mut others);
    distinct(batches, table)
}

/// The rows of a system table, or of [`LOAD`], that only this node has; `None`: there is no such table.
pub(crate) async fn rows_of_this_node(
    name: &str,
    sources: &Arc<CatalogSources>,
) -> Option<Result<(SchemaRef, Vec<RecordBatch>)>> {
    let table = if name == LOAD.name { &LOAD } else { find(name)? };
    if table.spread.is_none() {
        return Some(Ok((table.schema(), Vec::new())));
    }
    // Whoever asks knows this node's name.
    let listing = Listing { wanted: Wanted::default(), part: Part::Own, node: None };
    let rows = (table.rows)(Arc::clone(sources), listing).await;
    Some(rows.and_then(|rows| Ok((table.schema(), table.batches(rows)?))))
}

/// What is listed here, and who is asked for the rest.
fn holders(nodes: &Nodes, spread: &Spread, wanted: Wanted) -> (Listing, Vec<Asked>) {
    let members = nodes.members();
    let this = members.iter().find(|member| member.is_this).map(|member| member.id.clone());
    let holders: Vec<Asked> = match spread.holders {
        Holders::All => {
            let usable = members.into_iter().filter(|member| member.refused.is_none());
            usable.filter_map(|member| Some(Asked { url: node_url(&member.rpc)?, node: member.id })).collect()
        }
        Holders::Data => {
            let view = nodes.view(&BTreeSet::new());
            let asked = |node: &Arc<DataNode>| Asked { node: node.member.id.clone(), url: node.url.clone() };
            view.nodes().iter().map(asked).collect()
        }
    };
    let (own, others): (Vec<Asked>, Vec<Asked>) =
        holders.into_iter().partition(|holder| Some(&holder.node) == this.as_ref());
    let has_own = spread.holders == Holders::All || !own.is_empty();
    (Listing { wanted, part: if has_own { Part::All } else { Part::Shared }, node: this }, others)
}

/// The rows of another node, with its name in the last column.
fn named(batch: &RecordBatch, schema: &SchemaRef, node: &NodeId) -> Result<RecordBatch> {
    let name: ArrayRef =
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(node.as_str(), batch.num_rows())));
    let mut columns = batch.columns().to_vec();
    columns.pop();
    columns.push(name);
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// The first of the rows that the table's leading columns name alike.
fn distinct(batches: Vec<RecordBatch>, table: &SystemTable) -> Result<Vec<RecordBatch>> {
    let names = table.spread.as_ref().map_or(0, |spread| spread.named_by);
    if names == 0 {
        return Ok(batches);
    }
    let naming = table.columns.iter().take(names).map(|(_, kind)| SortField::new(kind.data_type()));
    let converter = RowConverter::new(naming.collect())?;
    let mut seen: HashSet<OwnedRow> = HashSet::new();
    let kept = batches.into_iter().map(|batch| {
        let rows = converter.convert_columns(&batch.columns()[..names])?;
        let is_new: BooleanArray = rows.iter().map(|row| Some(seen.insert(row.owned()))).collect();
        Ok(filter_record_batch(&batch, &is_new)?)
    });
    kept.collect()
}
