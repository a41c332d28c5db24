//! `system.nodes`: who is a member, and who of them answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::error::Result;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::CatalogSources;
use super::system::Kind::{Bool, Long, Text, Time};
use super::system::{Listing, Row, SystemTable, text, time_of_us};
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
        ("error", Text),
    ],
    rows: nodes,
    spread: None,
};

fn nodes(sources: Arc<CatalogSources>, _: Listing) -> BoxFuture<'static, Result<Vec<Row>>> {
    async move {
        let Some(nodes) = &sources.nodes else { return Ok(vec![alone(&sources)]) };
        let members = nodes.members();
        let errors = errors(nodes, &members).await;
        Ok(members.into_iter().map(|member| row(member, &errors)).collect())
    }
    .boxed()
}

/// Why members are given no work, or did not answer.
async fn errors(nodes: &Nodes, members: &[MemberRow]) -> BTreeMap<NodeId, String> {
    let (mut errors, mut asked) = (BTreeMap::new(), Vec::new());
    for member in members {
        let node = member.id.clone();
        match (&member.refused, node_url(&member.rpc)) {
            (Some(refused), _) => {
                errors.insert(node, refused.clone());
            }
            (None, _) if member.is_this => {}
            (None, Some(url)) => asked.push(Asked { node, url }),
            (None, None) => {
                errors.insert(node, format!("{:?} is no address; set cluster.advertise there", member.rpc));
            }
        }
    }
    // Nobody has rows of this table that others lack: what counts is that there is an answer.
    let answers = gather(nodes.access(), asked, NODES.name, &NODES.schema()).await;
    errors.extend(answers.into_iter().filter_map(|(node, answer)| Some((node, answer.err()?))));
    errors
}

fn row(member: MemberRow, errors: &BTreeMap<NodeId, String>) -> Row {
    vec![
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
        text(errors.get(&member.id).cloned()),
    ]
}

/// The only row of a process that is in no cluster.
fn alone(sources: &CatalogSources) -> Row {
    vec![
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
        text(None::<String>),
    ]
}
