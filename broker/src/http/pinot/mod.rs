//! What Apache Pinot's clients (pinotdb, JDBC, the Grafana plugin) send, answered so that they work unmodified.

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::HttpState;

mod answer;
mod metadata;
mod names;
mod query;
mod statement;

pub(super) use metadata::{logical_name, table_config};

/// The routes that only Pinot's clients call; they share `/tables` and `/tables/{t}` with ours.
pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(query::get_query, query::post_query))
        .routes(routes!(query::get_multistage_query, query::post_multistage_query))
        .routes(routes!(metadata::health))
        .routes(routes!(metadata::databases))
        .routes(routes!(metadata::schema))
        .routes(routes!(metadata::sizes))
        .routes(routes!(metadata::brokers))
        .routes(routes!(metadata::brokers_of_tenant))
}
