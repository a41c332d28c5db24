//! Every public HTTP endpoint: SQL (ours and Pinot's), tables, health, metrics and the console.
//!
//! | path | what |
//! |---|---|
//! | `POST /sql`, `GET /sql?q=` | a query; JSON, NDJSON, CSV, Arrow or Parquet |
//! | `GET /queries/{id}`, `DELETE /queries/{id}` | how far a query is; its end |
//! | `POST /query/sql`, `GET /query/sql?sql=`, the same at `/query`, `/tables/{t}/schema`, … | what Pinot's clients send |
//! | `GET /tables`, `GET`/`PUT`/`DELETE /tables/{t}`, `POST /tables/{t}/pause` … | table management |
//! | `POST /infer`, `POST /preview`, `PUT /tables/{t}?dry_run=true` | from a topic to a table, without making it |
//! | `GET /dashboards`, `GET`/`PUT`/`DELETE /dashboards/{id}`, `GET /dashboards/{id}/live`, … | dashboards, and watching them |
//! | `GET`/`POST`/`DELETE /session` | who asks; signing in and out |
//! | `GET /healthz`, `/readyz`, `/metrics`, `/health`, `/`, `/openapi.json` | operation |
//!
//! # How a route gets into the document
//! A module has its handlers and a `fn routes() -> OpenApiRouter<HttpState>`, which [`documented`] merges. A handler carries
//! `#[utoipa::path(get, path = "/things/{id}", tag = "…", params(…), responses((status = 200, body = Thing), NotFound))]`; what
//! comes in and goes out derives `ToSchema` and is named as `request_body` and `body`; failures that others have too are named
//! by the types in [`openapi`]. `routes!(a, b)` takes all methods of one path at once. A plain `.route(…)` is found by the
//! test that compares the router with the document, and a status or type that is not documented by
//! `server/tests/e2e/test_openapi.py`.
//!
//! **Invariants:** the status line is sent only when the first rows are there, so a query that fails early has its real
//! status; a body is streamed in the memory of a few chunks; a client that goes away, or that stops reading, drops the
//! query's stream and so cancels it. What is *not* here: planning, limits on concurrency and deadlines (the engine's), who is let in
//! (`access`), connections and TLS (the server's).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use axum::{Extension, Router, middleware};
use bytes::Bytes;
use headwater_segment::schema::TableSchema;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;

use crate::QueryError;
use crate::access::gate::guard;
use crate::access::{Doors, session_http};
use crate::admin::TableAdmin;
use crate::dashboards::live::LiveHub;
use crate::request::{QueryAnswer, QueryProgress, QueryRequest, TableCut};

pub(crate) mod body;
mod compression;
mod dashboards;
mod engine;
pub(crate) mod error;
mod frame;
pub(crate) mod openapi;
mod operation;
mod pinot;
mod queries;
mod shapes;
mod sql;
mod stream;
mod tables;
mod wizard;

/// What the endpoints need from the query engine.
#[async_trait]
pub trait QueryRunner: Send + Sync + 'static {
    /// Starts a query. Dropping the future or the answer's stream cancels it.
    async fn run(&self, request: QueryRequest) -> Result<QueryAnswer, QueryError>;
    /// Ends a query, on whichever node it runs; false if there is none of this id. With `only_of` queries of other users are as if
    /// there were none.
    async fn kill(&self, id: &str, only_of: Option<&str>) -> bool;
    /// How far a query is, on whichever node it runs or has just ended; with its plan if that is wanted. `only_of` as above.
    async fn progress(&self, id: &str, only_of: Option<&str>, with_plan: bool) -> Option<QueryProgress>;
    /// Waits until one of the tables has other rows than in these cuts, or one is gone; never returns without tables.
    async fn other_rows(&self, cuts: &BTreeMap<String, TableCut>);
    /// Names of the tables, sorted.
    fn table_names(&self) -> Vec<String>;
    /// What Pinot's metadata reads say about a table.
    fn table_facts(&self, name: &str) -> Option<TableFacts>;
}

/// A table's schema and size at one moment.
#[derive(Clone, Debug)]
pub struct TableFacts {
    /// Columns.
    pub schema: Arc<TableSchema>,
    /// Sealed and open segments.
    pub segments: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of the sealed segments in the object store.
    pub bytes: u64,
}

/// Bounds on what a client may send and how slowly.
#[derive(Clone, Debug, Serialize)]
pub struct HttpLimits {
    /// Bytes of a request body. Default 8 MiB.
    pub body_bytes_max: usize,
    /// Bytes of an SQL text. Default 1 MiB.
    pub sql_bytes_max: usize,
    /// Milliseconds within which a request body must have arrived. Default 10 s.
    pub body_ms_max: u64,
    /// Milliseconds for which a client may leave an answer unread before its query is cancelled. Default 60 s.
    pub stall_ms_max: u64,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self { body_bytes_max: 8 << 20, sql_bytes_max: 1 << 20, body_ms_max: 10_000, stall_ms_max: 60_000 }
    }
}

impl HttpLimits {
    fn body_time(&self) -> Duration {
        Duration::from_millis(self.body_ms_max)
    }

    fn stall_time(&self) -> Duration {
        Duration::from_millis(self.stall_ms_max)
    }
}

/// Files and pages of the web console; `None` for a request that is not for it.
pub type Console = fn(&Method, &Uri, &HeaderMap) -> Option<Response>;

/// What the endpoints work with.
#[derive(Clone)]
pub struct HttpState {
    /// Runs queries.
    pub runner: Arc<dyn QueryRunner>,
    /// Manages tables.
    pub admin: Arc<dyn TableAdmin>,
    /// Dashboards and those who watch them.
    pub dashboards: Arc<LiveHub>,
    /// Renders the metrics in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Bounds on requests.
    pub limits: HttpLimits,
    /// Who is let in.
    pub doors: Arc<Doors>,
    /// Has the first word: what it answers belongs to the web console.
    pub console: Console,
}

/// All routes, and what the document says of them.
fn documented() -> OpenApiRouter<HttpState> {
    OpenApiRouter::with_openapi(openapi::document())
        .merge(sql::routes())
        .merge(queries::routes())
        .merge(tables::routes())
        .merge(wizard::routes())
        .merge(operation::routes())
        .merge(openapi::routes())
        .merge(session_http::routes())
        .merge(dashboards::routes())
        .merge(pinot::routes())
}

/// The whole interface, behind the [gate](crate::access::gate).
pub fn router(state: HttpState) -> Router {
    let doors = Arc::clone(&state.doors);
    let (router, mut document) = documented().split_for_parts();
    openapi::guarded(&mut document);
    let document = openapi::Rendered(Bytes::from(serde_json::to_vec(&document).unwrap_or_default()));
    let routes = router
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(Extension(document))
        .layer(middleware::from_fn_with_state(state.console, frame::console))
        .layer(middleware::from_fn(frame::frame))
        .layer(compression::layer())
        .with_state(state);
    guard(doors, routes)
}

#[cfg(test)]
mod tests;
