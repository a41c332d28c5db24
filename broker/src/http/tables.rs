//! `/tables`: list, describe, apply, drop, pause, resume, seal.

use axum::Json;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::body::{query_parameters, read_text};
use super::error::ApiError;
use super::{HttpState, pinot};
use crate::admin::Applied;

/// `GET /tables`.
pub(super) async fn list(State(state): State<HttpState>) -> Json<Value> {
    Json(json!({"tables": state.runner.table_names()}))
}

/// `GET /tables/{t}`: our description, and beside it the key under which Pinot's clients look.
pub(super) async fn describe(
    State(state): State<HttpState>,
    Path(table): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let mut document = state.admin.describe(&table).await?;
    if let Some(object) = document.as_object_mut() {
        object.insert("REALTIME".into(), pinot::table_config(&state, &table));
    }
    Ok(Json(document))
}

/// `PUT /tables/{t}`: the body is a table spec in YAML or JSON.
pub(super) async fn apply(
    State(state): State<HttpState>,
    Path(table): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let spec = read_text(request.into_body(), &state.limits).await?;
    let applied = state.admin.apply(&table, &spec).await?;
    let status = match applied {
        Applied::Created => StatusCode::CREATED,
        Applied::Updated | Applied::Unchanged => StatusCode::OK,
    };
    Ok((status, Json(json!({"table": table, "applied": applied}))))
}

/// `DELETE /tables/{t}?purge=true`.
pub(super) async fn drop_table(
    State(state): State<HttpState>,
    Path(table): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, ApiError> {
    let purge = match only_parameter(query.as_deref(), "purge")?.as_deref() {
        None | Some("false") => false,
        Some("true" | "") => true,
        Some(other) => return Err(ApiError::bad_request(format!("purge={other}: use true or false"))),
    };
    state.admin.drop_table(&table, purge).await?;
    Ok(Json(json!({"table": table, "dropped": true, "purged": purge})))
}

/// `POST /tables/{t}/pause?partition=n`.
pub(super) async fn pause(
    State(state): State<HttpState>,
    Path(table): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, ApiError> {
    let partition = partition(query.as_deref())?;
    state.admin.pause(&table, partition).await?;
    Ok(Json(json!({"table": table, "partition": partition, "paused": true})))
}

/// `POST /tables/{t}/resume?partition=n`.
pub(super) async fn resume(
    State(state): State<HttpState>,
    Path(table): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, ApiError> {
    let partition = partition(query.as_deref())?;
    state.admin.resume(&table, partition).await?;
    Ok(Json(json!({"table": table, "partition": partition, "paused": false})))
}

/// `POST /tables/{t}/seal?partition=n`: answers when the segments are committed.
pub(super) async fn seal(
    State(state): State<HttpState>,
    Path(table): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, ApiError> {
    let partition = partition(query.as_deref())?;
    let segments = state.admin.seal(&table, partition).await?;
    Ok(Json(json!({"table": table, "partition": partition, "segments": segments})))
}

fn partition(query: Option<&str>) -> Result<Option<i32>, ApiError> {
    let Some(text) = only_parameter(query, "partition")? else { return Ok(None) };
    match text.parse::<i32>() {
        Ok(partition) if partition >= 0 => Ok(Some(partition)),
        _ => Err(ApiError::bad_request(format!("partition={text}: use a partition number, 0 or more"))),
    }
}

/// The value of the one parameter that the endpoint takes.
fn only_parameter(query: Option<&str>, name: &str) -> Result<Option<String>, ApiError> {
    let mut parameters: Map<String, Value> = query_parameters(query)?;
    let value = parameters.remove(name).and_then(|value| value.as_str().map(str::to_string));
    match parameters.keys().next() {
        Some(unknown) => {
            Err(ApiError::bad_request(format!("unknown parameter {unknown}; this takes {name}")))
        }
        None => Ok(value),
    }
}
