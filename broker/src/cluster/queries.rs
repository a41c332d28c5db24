//! Queries across nodes: one that runs on any broker is found and ended from every other one, and a broker asks the data nodes
//! how far they are with a query while it runs.
//!
//! | path | answer |
//! |---|---|
//! | `POST /node/queries/{id}` | how far the query of this identity that is [`Sought`] is, if it runs there or has just ended; `null` otherwise |
//! | `POST /node/queries/{id}/cancel` | whether it ran there and was ended |
//! | `POST /node/progress/{query}/{run}` | what the node has done for a broker's query; `null` if it has none such |
//!
//! Whose a query is, is looked at where it runs: an identity is the client's choice, and may be used on several nodes.
//!
//! Nothing is sent while nobody asks: progress costs the nodes a request for each look that a client takes at a query. A
//! node that does not answer in time is done without.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use futures::future::join_all;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::gather::Asked;
use super::hosted::HostedQueries;
use super::nodes::Nodes;
use super::{NodeId, node_url};
use crate::engine::registry::{DoneElsewhere, QueryEntry, Registry};
use crate::request::{QueryProgress, QueryStats, is_query_id};

/// A node that has not said within this time how far it is, is left out: the client looks again.
const PROGRESS_WAIT: Duration = Duration::from_millis(300);
/// A node that has not answered within this time is taken to have no such query.
const FIND_WAIT: Duration = Duration::from_secs(2);

/// What a node has done for a run of a query.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Done {
    segments: u64,
    rows: u64,
}

/// What the routes know.
#[derive(Clone)]
struct Queries {
    registry: Arc<Registry>,
    hosted: Arc<HostedQueries>,
}

/// Which query is asked about.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sought {
    /// Whose it must be, if not anybody's.
    only_of: Option<String>,
    with_plan: bool,
}

/// The routes of the table above.
pub(super) fn router(registry: Arc<Registry>, hosted: Arc<HostedQueries>) -> Router {
    Router::new()
        .route("/node/queries/{id}", post(progress))
        .route("/node/queries/{id}/cancel", post(cancel))
        .route("/node/progress/{query}/{run}", post(done))
        .with_state(Queries { registry, hosted })
}

async fn progress(
    State(queries): State<Queries>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Option<QueryProgress>>, JsonRejection> {
    let Json(sought) = Json::<Sought>::from_bytes(&body)?;
    let found = queries.registry.find(&id, sought.only_of.as_deref());
    Ok(Json(found.map(|entry| entry.progress(sought.with_plan))))
}

async fn cancel(
    State(queries): State<Queries>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<bool>, JsonRejection> {
    let Json(sought) = Json::<Sought>::from_bytes(&body)?;
    Ok(Json(queries.registry.cancel(&id, sought.only_of.as_deref())))
}

async fn done(State(queries): State<Queries>, Path((query, run)): Path<(String, u32)>) -> Json<Option<Done>> {
    let stats = Ulid::from_string(&query).ok().and_then(|query| queries.hosted.stats(query, run));
    Json(stats.map(|stats| Done {
        segments: QueryStats::get(&stats.segments_done),
        rows: QueryStats::get(&stats.rows_scanned),
    }))
}

/// Asks the data nodes how far they are with a query of this node, and notes it there.
pub(crate) async fn note_progress(nodes: &Nodes, entry: &QueryEntry) {
    let run = entry.run();
    let view = nodes.view(&Default::default());
    let asked = view.nodes().iter();
    let asked = asked.map(|node| Asked { node: node.member.id.clone(), url: node.url.clone() }).collect();
    let path = format!("/node/progress/{}/{run}", entry.number);
    for (node, done) in ask::<Option<Done>>(nodes, asked, &path, Bytes::new(), PROGRESS_WAIT).await {
        if let Some(Done { segments, rows }) = done {
            entry.note_elsewhere(run, node, DoneElsewhere { segments, rows });
        }
    }
}

/// How far a query is that runs, or has just ended, on another node; with `only_of` one of that user.
pub(crate) async fn find_elsewhere(
    nodes: &Nodes,
    id: &str,
    only_of: Option<&str>,
    with_plan: bool,
) -> Option<QueryProgress> {
    let sought = Sought { only_of: only_of.map(str::to_owned), with_plan };
    let found = ask_others::<Option<QueryProgress>>(nodes, id, "", sought).await.into_iter().flatten();
    // An identity that a client has chosen may have been used on several.
    found.min_by_key(|progress| progress.state.has_ended())
}

/// Ends the queries of this identity on all other nodes, with `only_of` those of that user; whether there were any.
pub(crate) async fn cancel_elsewhere(nodes: &Nodes, id: &str, only_of: Option<&str>) -> bool {
    let sought = Sought { only_of: only_of.map(str::to_owned), with_plan: false };
    ask_others(nodes, id, "/cancel", sought).await.contains(&true)
}

async fn ask_others<T: DeserializeOwned + Send + 'static>(
    nodes: &Nodes,
    id: &str,
    what: &str,
    sought: Sought,
) -> Vec<T> {
    // What is no identity names no query, and has no place in a path.
    if !is_query_id(id) {
        return Vec::new();
    }
    let path = format!("/node/queries/{id}{what}");
    let body = serde_json::to_vec(&sought).unwrap_or_default().into();
    let others = nodes.members().into_iter().filter(|member| !member.is_this && member.refused.is_none());
    let others = others.filter_map(|member| Some(Asked { url: node_url(&member.rpc)?, node: member.id }));
    ask(nodes, others.collect(), &path, body, FIND_WAIT).await.into_iter().map(|(_, answer)| answer).collect()
}

/// What those nodes answer that answer in time.
async fn ask<T: DeserializeOwned + Send + 'static>(
    nodes: &Nodes,
    asked: Vec<Asked>,
    path: &str,
    body: Bytes,
    within: Duration,
) -> Vec<(NodeId, T)> {
    let answers = asked.into_iter().map(|Asked { node, url }| {
        let (access, path, body) = (nodes.access().clone(), path.to_owned(), body.clone());
        async move {
            let asked = access.post(&url, &path, body);
            let answer = tokio::time::timeout(within, asked).await.map_err(|elapsed| elapsed.to_string());
            let answer = answer.and_then(|answer| answer).and_then(|body| {
                serde_json::from_slice::<T>(&body)
                    .map_err(|error| format!("an answer of another kind: {error}"))
            });
            if let Err(error) = &answer {
                tracing::debug!(%node, path, error, "a node did not answer about a query");
            }
            Some((node, answer.ok()?))
        }
    });
    join_all(answers).await.into_iter().flatten().collect()
}
