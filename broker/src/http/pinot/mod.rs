//! What Apache Pinot's clients (pinotdb, JDBC, the Grafana plugin) send, answered so that they work unmodified.

use axum::Router;
use axum::routing::get;

use super::HttpState;

mod answer;
mod metadata;
mod query;
mod statement;

pub(super) use metadata::table_config;

/// The routes that only Pinot's clients call; they share `/tables` and `/tables/{t}` with ours.
pub(super) fn routes() -> Router<HttpState> {
    Router::new()
        .route("/query/sql", get(query::get_query).post(query::post_query))
        .route("/health", get(metadata::health))
        .route("/tables/{table}/schema", get(metadata::schema))
        .route("/tables/{table}/metadata", get(metadata::sizes))
        .route("/v2/brokers/tables", get(metadata::brokers))
}
