//! `/tables`: list, describe, apply, drop, pause, resume, seal.

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::{Name, flag, only_parameter, read_text};
use super::error::ApiError;
use super::openapi::{BodyFailures, ChangeFailures, NotFound};
use super::{HttpState, pinot};
use crate::admin::Applied;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(describe, apply, drop_table))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(seal))
}

/// All tables.
#[derive(Serialize, ToSchema)]
struct TableNames {
    /// Sorted.
    tables: Vec<String>,
}

/// A table. Pinot's clients read the document as a map from the types of tables to configurations, so every value in it is an object.
#[derive(Serialize, ToSchema)]
struct TableDocument {
    /// Its name, spec, columns, log version, segments, partitions and what is wrong with it.
    #[schema(value_type = Object)]
    table: Value,
    /// Where Pinot's clients look.
    #[serde(rename = "REALTIME")]
    #[schema(value_type = Object)]
    realtime: Value,
}

/// What a spec has done.
#[derive(Serialize, ToSchema)]
struct TableApplied {
    table: String,
    applied: Applied,
    /// What would change, a line each, if this was a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<String>>,
    /// True if nothing was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    dry_run: Option<bool>,
}

/// A table that is gone.
#[derive(Serialize, ToSchema)]
struct TableDropped {
    table: String,
    dropped: bool,
    /// Whether its objects are gone, too.
    purged: bool,
}

/// Whether a table is consumed.
#[derive(Serialize, ToSchema)]
struct TablePaused {
    table: String,
    /// Null: all of them.
    partition: Option<i32>,
    paused: bool,
}

/// What was sealed.
#[derive(Serialize, ToSchema)]
struct TableSealed {
    table: String,
    /// Null: all of them.
    partition: Option<i32>,
    /// Each with its partition, offsets, rows and path.
    #[schema(value_type = Vec<Object>)]
    segments: Vec<Value>,
}

/// All tables
#[utoipa::path(get, path = "/tables", tag = "tables", responses((status = 200, body = TableNames)))]
async fn list(State(state): State<HttpState>) -> Json<TableNames> {
    Json(TableNames { tables: state.runner.table_names() })
}

/// A table: its spec, columns, segments and partitions
///
/// Beside our description stands the key under which Pinot's clients look.
#[utoipa::path(get, path = "/tables/{table}", tag = "tables",
    params(("table" = String, Path, description = "Name of the table")),
    responses((status = 200, body = TableDocument), NotFound))]
async fn describe(
    State(state): State<HttpState>,
    Name(table): Name,
) -> Result<Json<TableDocument>, ApiError> {
    let table = pinot::logical_name(&state, table);
    let realtime = pinot::table_config(&state, &table);
    Ok(Json(TableDocument { table: state.admin.describe(&table).await?, realtime }))
}

/// Create or change a table
#[utoipa::path(put, path = "/tables/{table}", tag = "tables",
    params(
        ("table" = String, Path, description = "Name of the table"),
        ("dry_run" = Option<bool>, Query, description = "Only say what would change"),
    ),
    request_body(
        description = "A table spec in YAML or JSON",
        content((Object = "application/json"), (String = "application/yaml")),
    ),
    responses(
        (status = 200, description = "The table existed", body = TableApplied),
        (status = 201, description = "The table is new", body = TableApplied),
        ChangeFailures,
        BodyFailures,
    ))]
async fn apply(
    State(state): State<HttpState>,
    Name(table): Name,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<(StatusCode, Json<TableApplied>), ApiError> {
    let is_dry = flag(query.as_deref(), "dry_run")?;
    let spec = read_text(request.into_body(), &state.limits).await?;
    if is_dry {
        let found = state.admin.dry_run(&table, &spec).await?;
        let answer =
            TableApplied { table, applied: found.applied, changes: Some(found.changes), dry_run: Some(true) };
        return Ok((StatusCode::OK, Json(answer)));
    }
    let applied = state.admin.apply(&table, &spec).await?;
    let status = match applied {
        Applied::Created => StatusCode::CREATED,
        Applied::Updated | Applied::Unchanged => StatusCode::OK,
    };
    Ok((status, Json(TableApplied { table, applied, changes: None, dry_run: None })))
}

/// Drop a table
#[utoipa::path(delete, path = "/tables/{table}", tag = "tables",
    params(
        ("table" = String, Path, description = "Name of the table"),
        ("purge" = Option<bool>, Query, description = "Delete its objects, too"),
    ),
    responses((status = 200, body = TableDropped), ChangeFailures))]
async fn drop_table(
    State(state): State<HttpState>,
    Name(table): Name,
    RawQuery(query): RawQuery,
) -> Result<Json<TableDropped>, ApiError> {
    let purged = flag(query.as_deref(), "purge")?;
    state.admin.drop_table(&table, purged).await?;
    Ok(Json(TableDropped { table, dropped: true, purged }))
}

/// Stop consuming
#[utoipa::path(post, path = "/tables/{table}/pause", tag = "tables",
    params(
        ("table" = String, Path, description = "Name of the table"),
        ("partition" = Option<i32>, Query, minimum = 0, description = "Only this one"),
    ),
    responses((status = 200, body = TablePaused), ChangeFailures))]
async fn pause(
    State(state): State<HttpState>,
    Name(table): Name,
    RawQuery(query): RawQuery,
) -> Result<Json<TablePaused>, ApiError> {
    let partition = partition(query.as_deref())?;
    state.admin.pause(&table, partition).await?;
    Ok(Json(TablePaused { table, partition, paused: true }))
}

/// Go on consuming
#[utoipa::path(post, path = "/tables/{table}/resume", tag = "tables",
    params(
        ("table" = String, Path, description = "Name of the table"),
        ("partition" = Option<i32>, Query, minimum = 0, description = "Only this one"),
    ),
    responses((status = 200, body = TablePaused), ChangeFailures))]
async fn resume(
    State(state): State<HttpState>,
    Name(table): Name,
    RawQuery(query): RawQuery,
) -> Result<Json<TablePaused>, ApiError> {
    let partition = partition(query.as_deref())?;
    state.admin.resume(&table, partition).await?;
    Ok(Json(TablePaused { table, partition, paused: false }))
}

/// Seal what is open, and wait for the commit
#[utoipa::path(post, path = "/tables/{table}/seal", tag = "tables",
    params(
        ("table" = String, Path, description = "Name of the table"),
        ("partition" = Option<i32>, Query, minimum = 0, description = "Only this one"),
    ),
    responses((status = 200, body = TableSealed), ChangeFailures))]
async fn seal(
    State(state): State<HttpState>,
    Name(table): Name,
    RawQuery(query): RawQuery,
) -> Result<Json<TableSealed>, ApiError> {
    let partition = partition(query.as_deref())?;
    let segments = state.admin.seal(&table, partition).await?;
    Ok(Json(TableSealed { table, partition, segments }))
}

fn partition(query: Option<&str>) -> Result<Option<i32>, ApiError> {
    let Some(text) = only_parameter(query, "partition")? else { return Ok(None) };
    match text.parse::<i32>() {
        Ok(partition) if partition >= 0 => Ok(Some(partition)),
        _ => Err(ApiError::bad_request(format!("partition={text}: use a partition number, 0 or more"))),
    }
}
