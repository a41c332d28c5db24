//! `/queries/{id}`: how far a query is, and its end, on whichever node it runs.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::HttpState;
use super::body::{Name, flag};
use super::error::ApiError;
use super::openapi::{ChangeFailures, NotFound};
use crate::access::{Principal, Role};
use crate::request::QueryProgress;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(progress, cancel))
}

/// How far a query is
///
/// On several nodes the counts are what the data nodes have said of it so far. A query is known for a minute after its end. An
/// administrator sees any, a reader their own.
#[utoipa::path(get, path = "/queries/{id}", tag = "queries",
    params(
        ("id" = String, Path, description = "The query's identity"),
        ("plan" = Option<bool>, Query, description = "Also its plan, with what its operators have counted"),
    ),
    responses(
        (status = 200, description = "How far it is", body = QueryProgress),
        NotFound,
    ))]
async fn progress(
    State(state): State<HttpState>,
    Extension(principal): Extension<Principal>,
    Name(id): Name,
    RawQuery(query): RawQuery,
) -> Result<Json<QueryProgress>, ApiError> {
    let with_plan = flag(query.as_deref(), "plan")?;
    let progress = state.runner.progress(&id, only_of(&principal), with_plan).await;
    progress
        .map(Json)
        .ok_or_else(|| ApiError::not_found(format!("there is no query {id}, or it ended long ago")))
}

/// End a query
///
/// On whichever node it runs: an administrator any, a reader their own.
#[utoipa::path(delete, path = "/queries/{id}", tag = "queries",
    params(("id" = String, Path, description = "The query's identity")),
    responses((status = 204, description = "It was told to stop"), ChangeFailures))]
async fn cancel(
    State(state): State<HttpState>,
    Extension(principal): Extension<Principal>,
    Name(id): Name,
) -> Result<StatusCode, ApiError> {
    match state.runner.kill(&id, only_of(&principal)).await {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::not_found(format!("no query {id} is running"))),
    }
}

/// Whose queries they may see and end; `None`: everybody's.
fn only_of(principal: &Principal) -> Option<&str> {
    (!principal.may(Role::Administrator)).then_some(principal.name.as_str())
}
