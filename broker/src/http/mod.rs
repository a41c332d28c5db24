//! Every public HTTP endpoint: SQL (ours and Pinot's), tables, health, metrics and the page.
//!
//! | path | what |
//! |---|---|
//! | `POST /sql`, `GET /sql?q=` | a query; JSON, NDJSON, CSV or Arrow |
//! | `DELETE /queries/{id}` | cancel |
//! | `POST /query/sql`, `GET /query/sql?sql=`, `/tables/{t}/schema`, … | what Pinot's clients send |
//! | `GET /tables`, `GET`/`PUT`/`DELETE /tables/{t}`, `POST /tables/{t}/pause` … | table management |
//! | `GET /healthz`, `/readyz`, `/metrics`, `/health`, `/` | operation |
//!
//! **Invariants:** the status line is sent only when the first rows are there, so a query that fails early has its real
//! status; a body is streamed in the memory of a few chunks; a client that goes away, or that stops reading, drops the
//! query's stream and so cancels it. What is *not* here: planning, limits on concurrency and deadlines (the engine's), TLS.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::routing::{delete, get, post};
use axum::{Router, middleware};
use headwater_segment::schema::TableSchema;
use serde::Serialize;

use crate::QueryError;
use crate::admin::TableAdmin;
use crate::request::{QueryAnswer, QueryRequest};

mod body;
mod engine;
mod error;
mod frame;
mod operation;
mod pinot;
mod sql;
mod stream;
mod tables;

/// What the endpoints need from the query engine.
#[async_trait]
pub trait QueryRunner: Send + Sync + 'static {
    /// Starts a query. Dropping the future or the answer's stream cancels it.
    async fn run(&self, request: QueryRequest) -> Result<QueryAnswer, QueryError>;
    /// Cancels a running query; false if there is none of this id.
    fn cancel(&self, id: &str) -> bool;
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

/// What the endpoints work with.
#[derive(Clone)]
pub struct HttpState {
    /// Runs queries.
    pub runner: Arc<dyn QueryRunner>,
    /// Manages tables.
    pub admin: Arc<dyn TableAdmin>,
    /// Renders the metrics in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Bounds on requests.
    pub limits: HttpLimits,
    /// The HTML page at `/`.
    pub page: &'static str,
}

/// All routes.
pub fn router(state: HttpState) -> Router {
    Router::new()
        .route("/sql", get(sql::get_sql).post(sql::post_sql))
        .route("/queries/{id}", delete(sql::cancel))
        .route("/tables", get(tables::list))
        .route("/tables/{table}", get(tables::describe).put(tables::apply).delete(tables::drop_table))
        .route("/tables/{table}/pause", post(tables::pause))
        .route("/tables/{table}/resume", post(tables::resume))
        .route("/tables/{table}/seal", post(tables::seal))
        .route("/healthz", get(operation::healthz))
        .route("/readyz", get(operation::readyz))
        .route("/metrics", get(operation::metrics))
        .route("/", get(operation::page))
        .merge(pinot::routes())
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(middleware::from_fn(frame::frame))
        .with_state(state)
}

#[cfg(test)]
mod tests;
