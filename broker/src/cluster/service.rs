//! What a data node answers to brokers, on the listener that is for nodes only.
//!
//! | path | what |
//! |---|---|
//! | `POST /node/offers` | how far it can answer, per table and partition |
//! | `POST /node/system/{table}` | the rows of a system table that only it has, as a stream of Arrow |
//! | `POST /node/queries/…`, `/node/progress/…` | [queries](super::queries) that run here, and what was done for those of others |
//! | `POST /node/fragment` | a fragment that reads nothing but segments, [directly](super::direct) |
//! | `/worker.WorkerService/*` | other fragments, by gRPC |
//!
//! Fragments run when their query is [admitted](super::hosted). Whoever lacks the cluster's secret is told 401 and nothing else.
//! What is asked for is small, so bodies are bounded; fragments are bounded by the size of a message.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use datafusion_distributed::Worker;
use headwater_segment::live::Tables;
use prost::Message;
use tokio::runtime::Handle;

use super::SharedSecret;
use super::direct::{FRAGMENT_PATH, RunsFragments, fragment};
use super::gather::{SYSTEM_PATH, encode};
use super::hosted::{HostedQueries, admit};
use super::messages::{OfferedPartition, OffersAnswer, OffersRequest};
use super::queries;
use super::spawned::Spawned;
use crate::catalog::{CatalogSources, rows_of_this_node};

/// Where a node is asked how far it can answer.
pub(crate) const OFFERS_PATH: &str = "/node/offers";
/// Bytes of a request that is no fragment: 100,000 partitions fit.
const BODY_BYTES_MAX: usize = 4 << 20;
/// Bytes of a message with a fragment: a plan over a million segments fits.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// What runs fragments.
pub(crate) struct Workers {
    /// Runs them.
    pub(crate) worker: Worker,
    /// Where, so that they delay no answer about what is visible.
    pub(crate) queries: Handle,
    /// Whose they are.
    pub(crate) hosted: Arc<HostedQueries>,
    /// Runs those that are asked for directly.
    pub(crate) direct: Arc<dyn RunsFragments>,
}

/// The routes for nodes, and `also`.
pub(crate) fn router(
    sources: Arc<CatalogSources>,
    workers: Workers,
    secret: Option<SharedSecret>,
    also: Router,
) -> Router {
    let Workers { worker, queries, hosted, direct: runner } = workers;
    let worker = worker.into_worker_server().max_decoding_message_size(MESSAGE_BYTES_MAX);
    let direct = post(fragment).layer(DefaultBodyLimit::max(MESSAGE_BYTES_MAX));
    let queries_here = queries::router(Arc::clone(&sources.registry), Arc::clone(&hosted));
    let fragments = Router::new()
        .route(FRAGMENT_PATH, direct.with_state((runner, queries.clone())))
        .route_service("/worker.WorkerService/{*method}", Spawned::new(worker, queries))
        .layer(middleware::from_fn_with_state(hosted, admit));
    Router::new()
        .route(OFFERS_PATH, post(offers))
        .route(&format!("{SYSTEM_PATH}{{table}}"), post(system_rows))
        .with_state(sources)
        .merge(queries_here)
        .merge(fragments)
        .merge(also)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(secret, only_nodes))
}

async fn only_nodes(State(secret): State<Option<SharedSecret>>, request: Request, next: Next) -> Response {
    let is_one = secret.is_none_or(|secret| secret.is_in(request.headers()));
    if is_one {
        return next.run(request).await;
    }
    (
        StatusCode::UNAUTHORIZED,
        "this listener is for nodes of the cluster; cluster.secret is another one there\n",
    )
        .into_response()
}

async fn offers(State(sources): State<Arc<CatalogSources>>, body: Bytes) -> Response {
    let Ok(request) = OffersRequest::decode(body) else {
        return (StatusCode::BAD_REQUEST, "no such message; do both nodes run the same version?\n")
            .into_response();
    };
    let answer = offer(&sources.tables, &request);
    let kind = HeaderValue::from_static("application/x-protobuf");
    ([(header::CONTENT_TYPE, kind)], answer.encode_to_vec()).into_response()
}

async fn system_rows(State(sources): State<Arc<CatalogSources>>, Path(table): Path<String>) -> Response {
    let Some(listed) = rows_of_this_node(&table, &sources).await else {
        return (StatusCode::NOT_FOUND, "no such system table; do both nodes run the same version?\n")
            .into_response();
    };
    match listed.and_then(|(schema, batches)| encode(&table, &schema, &batches)) {
        Ok(bytes) => {
            let kind = HeaderValue::from_static("application/vnd.apache.arrow.stream");
            ([(header::CONTENT_TYPE, kind)], bytes).into_response()
        }
        Err(error) => {
            tracing::error!(table, %error, "the rows of a system table could not be listed");
            (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}

/// What this node has of a table. It need not know the broker's version of the log: offsets mean the same in all of one epoch.
fn offer(tables: &Tables, wanted: &OffersRequest) -> OffersAnswer {
    let Some(table) = tables.get(&wanted.table) else { return OffersAnswer::default() };
    match table.offer(wanted.epoch, &wanted.from) {
        Ok((log_version, offered)) => {
            let partitions = offered.into_iter().map(|offered| OfferedPartition {
                partition: offered.partition,
                to: offered.to,
                rows: offered.rows,
                newest_timestamp_ms: offered.newest_timestamp_ms,
                is_consumed: offered.is_consumed,
            });
            OffersAnswer { log_version, epoch: wanted.epoch, partitions: partitions.collect() }
        }
        Err(_other_epoch) => {
            let log = table.snapshot();
            OffersAnswer { log_version: log.version, epoch: log.stream.epoch, partitions: Vec::new() }
        }
    }
}
