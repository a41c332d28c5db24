//! What a node asks of the others about tables, and what it answers them: on the listener that is for nodes only.
//!
//! | path | what |
//! |---|---|
//! | `POST /node/tables/{table}/seal`, `pause`, `resume`, with `?partition=` | as the public routes, for what this node consumes |
//! | `POST /node/tables/{table}/partitions` | how far each partition is here, as JSON |

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use futures::future::join_all;
use headwater_broker::admin::AdminError;
use headwater_broker::cluster::{Cluster, ClusterAccess, DataNode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::NodeId;
use crate::admin::partitions_json;
use crate::node_tables::NodeTables;

/// Why nothing can be done.
pub(crate) const NO_DATA_NODES: &str = "there is no data node in the cluster";

/// The other nodes.
pub(crate) struct Peers {
    pub(crate) this: NodeId,
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) access: ClusterAccess,
}

impl Peers {
    /// Whether there is a node that holds data, this one included.
    pub(crate) fn has_data_nodes(&self) -> bool {
        !self.cluster.view().nodes().is_empty()
    }

    /// Asks all other data nodes the same, at once. A table's name needs no escapes in a path.
    pub(crate) async fn ask(&self, path: &str) -> Vec<(Arc<DataNode>, Result<Value, String>)> {
        let view = self.cluster.view();
        let others = view.nodes().iter().filter(|node| node.member.id != self.this);
        let asked = others.map(|node| async move {
            let answer = self.access.post(&node.url, path, Bytes::new()).await;
            let answer = answer.and_then(|body| {
                serde_json::from_slice(&body).map_err(|error| format!("an answer that is no JSON: {error}"))
            });
            (Arc::clone(node), answer)
        });
        join_all(asked).await
    }

    /// As [`ask`](Self::ask), where each node must do its part.
    pub(crate) async fn ask_all(&self, path: &str) -> Result<Vec<Value>, AdminError> {
        if !self.has_data_nodes() {
            return Err(AdminError::Unavailable(NO_DATA_NODES.into()));
        }
        let answers = self.ask(path).await.into_iter().map(|(node, answer)| {
            answer.map_err(|error| {
                AdminError::Unavailable(format!("node {} did not do its part: {error}", node.member.id))
            })
        });
        answers.collect()
    }
}

#[derive(Deserialize)]
struct Which {
    partition: Option<i32>,
}

/// The routes for what this node consumes.
pub(crate) fn router(node: Arc<NodeTables>) -> Router {
    Router::new().route("/node/tables/{table}/{action}", post(act)).with_state(node)
}

async fn act(
    State(node): State<Arc<NodeTables>>,
    Path((table, action)): Path<(String, String)>,
    Query(Which { partition }): Query<Which>,
) -> Response {
    let done = match action.as_str() {
        "seal" => node.seal_here(&table, partition).await.map(Value::Array),
        "pause" => node.pause_here(&table, partition, true).await.map(|()| json!({})),
        "resume" => node.pause_here(&table, partition, false).await.map(|()| json!({})),
        "partitions" => {
            Ok(node.tables.get(&table).map_or_else(|| json!([]), |live| partitions_json(&live, node.this())))
        }
        _ => return (StatusCode::NOT_FOUND, "no such action").into_response(),
    };
    match done {
        Ok(value) => Json(value).into_response(),
        Err(error) => (StatusCode::CONFLICT, error.to_string()).into_response(),
    }
}

/// One entry per partition: that of the node which is furthest with it.
pub(crate) fn furthest(entries: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let rank = |entry: &Value| match entry["state"].as_str() {
        Some("live") => 5,
        Some("catching_up") => 4,
        Some("paused") => 3,
        Some("failed") => 2,
        Some("starting") => 1,
        _ => 0,
    };
    let mut best: BTreeMap<i64, Value> = BTreeMap::new();
    for entry in entries {
        let Some(partition) = entry["partition"].as_i64() else { continue };
        let is_better = best.get(&partition).is_none_or(|known| {
            (rank(&entry), entry["visible_offset"].as_i64()) > (rank(known), known["visible_offset"].as_i64())
        });
        if is_better {
            best.insert(partition, entry);
        }
    }
    best.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_furthest_of_each_partition_counts() {
        let entry = |partition: i64, state: &str, visible: i64, node: &str| json!({"partition": partition, "state": state, "visible_offset": visible, "node": node});
        let found = furthest([
            entry(0, "elsewhere", 900, "a"),
            entry(0, "live", 100, "b"),
            entry(0, "live", 120, "c"),
            entry(1, "catching_up", 5, "a"),
        ]);
        let nodes: Vec<_> = found.iter().filter_map(|entry| entry["node"].as_str()).collect();
        assert_eq!(nodes, ["c", "a"]);
    }
}
