//! `system.nodes`: who is a member, who of them answers, and what they take of their machines.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use futures::FutureExt;
use futures::future::BoxFuture;
use headwater_segment::machine;

use super::CatalogSources;
use super::system::Kind::{Bool, Double, Long, Text, Time};
use super::system::{Holders, Listing, Row, Spread, SystemTable, count, text, time_of_us};
use crate::cluster::gather::{Asked, gather};
use crate::cluster::nodes::Nodes;
use crate::cluster::{MemberRow, NodeId, machine_name, node_url};

pub(super) const NODES: SystemTable = SystemTable {
    name: "nodes",
    columns: &[
        ("node", Text),
        ("role", Text),
        ("state", Text),
        ("address", Text),
        ("http", Text),
        ("zone", Text),
        ("weight", Long),
        ("version", Text),
        ("started_at", Time),
        ("this", Bool),
        ("cpus_used", Double),
        ("cpus", Long),
        ("memory_bytes", Long),
        ("memory_limit_bytes", Long),
        ("queries", Long),
        ("error", Text),
    ],
    rows: nodes,
    spread: None,
};

/// What each node says of itself to whoever lists the nodes: its processors and its memory, and queries of its clients. Not a table
/// for queries.
pub(super) const LOAD: SystemTable = SystemTable {
    name: "load",
    columns: &[
        ("cpus_used", Double),
        ("cpus", Long),
        ("memory_bytes", Long),
        ("memory_limit_bytes", Long),
        ("queries", Long),
        ("node", Text),
    ],
    rows: |sources, _| async move { Ok(vec![load(&sources).await]) }.boxed(),
    spread: Some(Spread { holders: Holders::All, named_by: 0 }),
};

fn nodes(sources: Arc<CatalogSources>, _: Listing) -> BoxFuture<'static, Result<Vec<Row>>> {
    async move {
        let Some(nodes) = &sources.nodes else { return Ok(vec![alone(&sources).await]) };
        let members = nodes.members();
        let mut answers = answers(&sources, nodes, &members).await;
        let row = |member: MemberRow| {
            let answer = answers.remove(&member.id).unwrap_or_else(|| Err("it was not asked".to_owned()));
            row(member, answer)
        };
        Ok(members.into_iter().map(row).collect())
    }
    .boxed()
}

/// What members say of themselves ([`LOAD`]), or why they are given no work or did not answer.
async fn answers(
    sources: &CatalogSources,
    nodes: &Nodes,
    members: &[MemberRow],
) -> BTreeMap<NodeId, Result<Row, String>> {
    let (mut answers, mut asked) = (BTreeMap::new(), Vec::new());
    for member in members {
        let node = member.id.clone();
        match (&member.refused, node_url(&member.rpc)) {
            (Some(refused), _) => {
                answers.insert(node, Err(refused.clone()));
            }
            (None, _) if member.is_this => {
                answers.insert(node, Ok(load(sources).await));
            }
            (None, Some(url)) => asked.push(Asked { node, url }),
            (None, None) => {
                let error = format!("{:?} is no address; set cluster.advertise there", member.rpc);
                answers.insert(node, Err(error));
            }
        }
    }
    let others = gather(nodes.access(), asked, LOAD.name, &LOAD.schema()).await;
    answers
        .extend(others.into_iter().map(|(node, answer)| (node, answer.map(|batches| first_row(&batches)))));
    answers
}

/// What a node has said; NULLs if it has said nothing.
fn first_row(batches: &[RecordBatch]) -> Row {
    let row = batches.iter().find(|batch| batch.num_rows() > 0).and_then(|batch| {
        let cells = batch.columns().iter().map(|column| ScalarValue::try_from_array(column, 0));
        cells.collect::<Result<Row>>().ok()
    });
    row.unwrap_or_else(unknown)
}

fn unknown() -> Row {
    let nulls = LOAD.columns.iter().map(|(_, kind)| ScalarValue::try_new_null(&kind.data_type()));
    nulls.map(|null| null.unwrap_or(ScalarValue::Null)).collect()
}

/// The row of [`LOAD`] of this node; whoever asks knows its name.
async fn load(sources: &CatalogSources) -> Row {
    let taken = machine::process_use().await;
    vec![
        ScalarValue::Float64(taken.map(|taken| taken.cpus)),
        count(machine::cpus() as u64),
        ScalarValue::Int64(taken.and_then(|taken| i64::try_from(taken.memory_bytes).ok())),
        count(machine::memory_bytes()),
        count(sources.registry.running() as u64),
        text(None::<String>),
    ]
}

/// `about` without the name at its end, and then the error.
fn with_load(mut row: Row, mut about: Row, error: Option<String>) -> Row {
    about.pop();
    row.append(&mut about);
    row.push(text(error));
    row
}

fn row(member: MemberRow, answer: Result<Row, String>) -> Row {
    let (about, error) = match answer {
        Ok(about) => (about, None),
        Err(error) => (unknown(), Some(error)),
    };
    let row = vec![
        text(Some(member.id.as_str())),
        text(Some(member.role)),
        text(Some(member.state)),
        text(Some(member.rpc)),
        text(Some(member.http)),
        text(member.zone),
        ScalarValue::Int64(Some(i64::from(member.weight))),
        text(Some(member.build)),
        time_of_us(Some(member.started_at_us)),
        ScalarValue::Boolean(Some(member.is_this)),
    ];
    with_load(row, about, error)
}

/// The only row of a process that is in no cluster.
async fn alone(sources: &CatalogSources) -> Row {
    let row = vec![
        text(Some(machine_name().unwrap_or_else(|| "local".to_owned()))),
        text(Some("all")),
        text(Some("serving")),
        text(None::<String>),
        text(None::<String>),
        text(None::<String>),
        ScalarValue::Int64(None),
        text(Some(env!("CARGO_PKG_VERSION"))),
        time_of_us(Some(sources.started_at_us)),
        ScalarValue::Boolean(Some(true)),
    ];
    with_load(row, load(sources).await, None)
}
