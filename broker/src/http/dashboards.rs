//! `/dashboards`: list, read, write, delete, try a panel, and watch.
//!
//! | call | answer |
//! |---|---|
//! | `GET /dashboards` | `{"dashboards": [{"id", "title", "version", "etag", "updated_at"}]}` |
//! | `GET /dashboards/{id}` | the document; the `ETag` says which version it is, `headwater-dashboard-version` has its number |
//! | `PUT /dashboards/{id}` | writes it. `If-Match: "<etag>"` changes that version, `If-None-Match: *` makes a new one; 412 if it is otherwise there, 428 without either |
//! | `DELETE /dashboards/{id}` | deletes it; `If-Match` as above |
//! | `POST /dashboards/-/preview` | one run of a panel: `{"sql", "values": {name: value}, "last": "15m"}` |
//! | `GET /dashboards/{id}/values/{name}` | `{"values": […], "more": false}`: what a variable is chosen from, with one run a minute for all who ask |
//! | `GET /dashboards/{id}/live?var.NAME=value&last=15m` | server-sent events |
//!
//! The events of a live dashboard: `panel` with `{"panel", "version", "columns", "rows", "cuts", "freshness_ms", "ran_at_ms", "error"?}`,
//! first what is known of each panel, then whatever changed it; `beat` with the `version` and the `etag` of what is shown, and by
//! panel how old its newest row is by now (`freshness_ms`), every few seconds, so that a client knows a lost server; `dashboard` with the `version` and the `etag` of a newer one (`null`: deleted) as the last
//! event. After about ten minutes a stream ends without a word: a browser comes back by itself, and its rights are looked at again.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat};
use futures::stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::HttpState;
use super::body::{query_parameters, read_text};
use super::error::ApiError;
use super::openapi::{BodyFailures, NotFound, QueryFailures, StoreFailures, WriteFailures};
use super::shapes::LiveEvent;
use super::sql::{check_sql, user_of};
use crate::dashboards::document::{SQL_BYTES_MAX, VALUE_BYTES_MAX, VARIABLES_MAX};
use crate::dashboards::live::{Chosen, ValuesError};
use crate::dashboards::{
    DashboardError, DashboardSummary, Expected, Revision, check_id, read_dashboard, read_last,
};

/// The number of a version that is answered; which version it is, of this life or another, the `ETag` says.
const VERSION: HeaderName = HeaderName::from_static("headwater-dashboard-version");
/// Characters of an `If-Match`: tags are much shorter.
const TAG_CHARS_MAX: usize = 200;
/// What the names of variables begin with in a query string.
const VARIABLE_PREFIX: &str = "var.";

/// The routes. No dashboard is called "-".
pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read, write, delete))
        .routes(routes!(live))
        .routes(routes!(values))
        .routes(routes!(preview))
}

/// All dashboards.
#[derive(Serialize, ToSchema)]
struct Dashboards {
    dashboards: Vec<Listed>,
}

/// A dashboard in the list.
#[derive(Serialize, ToSchema)]
struct Listed {
    id: String,
    title: String,
    version: u64,
    /// Its ETag, without quotes.
    etag: String,
    /// When this version was written, RFC 3339.
    updated_at: String,
}

/// What a write left.
#[derive(Serialize, ToSchema)]
struct Written {
    id: String,
    version: u64,
    /// Its ETag, without quotes.
    etag: String,
}

impl From<ValuesError> for ApiError {
    fn from(error: ValuesError) -> Self {
        match error {
            ValuesError::Dashboard(error) => Self::from(error),
            ValuesError::NoList(_) => Self::not_found(error.to_string()),
            ValuesError::Query(error) => Self::from(error),
        }
    }
}

/// All dashboards
#[utoipa::path(get, path = "/dashboards", tag = "dashboards",
    responses((status = 200, description = "The dashboards", body = Dashboards), StoreFailures))]
async fn list(State(state): State<HttpState>) -> Result<Json<Dashboards>, ApiError> {
    let dashboards = state.dashboards.store().list().await?;
    let entry = |summary: DashboardSummary| Listed {
        id: summary.id,
        title: summary.title,
        version: summary.revision.version,
        etag: summary.revision.tag.to_string(),
        updated_at: instant(summary.updated_at_ms),
    };
    Ok(Json(Dashboards { dashboards: dashboards.into_iter().map(entry).collect() }))
}

/// A dashboard's document; the ETag says which version it is
#[utoipa::path(get, path = "/dashboards/{id}", tag = "dashboards",
    params(("id" = String, Path, description = "The dashboard's id")),
    responses(
        (status = 200, description = "The document", body = Object, headers(
            ("etag" = String, description = "Which version this is: what If-Match takes"),
            ("headwater-dashboard-version" = u64, description = "The number of this version"),
        )),
        NotFound, StoreFailures,
    ))]
async fn read(State(state): State<HttpState>, Path(id): Path<String>) -> Result<Response, ApiError> {
    check_id(&id)?;
    let document = state.dashboards.document(&id).await?;
    let headers = [
        (header::ETAG, etag(&document.revision)),
        (VERSION, document.revision.version.to_string()),
        // Whoever reads it again wants the newest.
        (header::CACHE_CONTROL, "no-cache".into()),
    ];
    Ok((headers, Json(&document.dashboard)).into_response())
}

/// Write a dashboard: If-Match changes that version, If-None-Match: * makes a new one
#[utoipa::path(put, path = "/dashboards/{id}", tag = "dashboards", request_body = Object,
    params(
        ("id" = String, Path, description = "The dashboard's id"),
        ("if-match" = Option<String>, Header, description = "ETag of the version that is changed"),
        ("if-none-match" = Option<String>, Header, description = "*: there must be none yet"),
    ),
    responses(
        (status = 200, description = "Changed", body = Written),
        (status = 201, description = "New", body = Written),
        BodyFailures, WriteFailures, StoreFailures,
    ))]
async fn write(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    check_id(&id)?;
    let (parts, body) = request.into_parts();
    let expected = expected(&parts.headers)?;
    let text = read_text(body, &state.limits).await?;
    let document: Value =
        serde_json::from_str(&text).map_err(|error| ApiError::bad_request(format!("the body: {error}")))?;
    let dashboard = read_dashboard(&document).map_err(DashboardError::Invalid)?;
    let status = if expected == Expected::Absent { StatusCode::CREATED } else { StatusCode::OK };
    let written = state.dashboards.store().put(&id, &dashboard, expected).await;
    // Even a write that is reported as failed may have happened.
    state.dashboards.changed(&id);
    let revision = written?;
    let headers = [(header::ETAG, etag(&revision))];
    let written = Written { id, version: revision.version, etag: revision.tag.to_string() };
    Ok((status, headers, Json(written)).into_response())
}

/// Delete a dashboard
#[utoipa::path(delete, path = "/dashboards/{id}", tag = "dashboards",
    params(
        ("id" = String, Path, description = "The dashboard's id"),
        ("if-match" = Option<String>, Header, description = "ETag of the version that is deleted"),
    ),
    responses((status = 204, description = "Deleted"), BodyFailures, WriteFailures, StoreFailures))]
async fn delete(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    check_id(&id)?;
    let expected = expected(&headers)?;
    if expected == Expected::Absent {
        return Err(ApiError::bad_request(
            "If-None-Match is for making a dashboard; to delete one, send If-Match",
        ));
    }
    let deleted = state.dashboards.store().delete(&id, expected).await;
    state.dashboards.changed(&id);
    deleted?;
    Ok(StatusCode::NO_CONTENT)
}

/// The body of a preview.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Preview {
    sql: String,
    #[serde(default)]
    values: BTreeMap<String, String>,
    last: String,
}

/// One run of a panel
#[utoipa::path(post, path = "/dashboards/-/preview", tag = "dashboards", request_body = Preview,
    responses((status = 200, description = "The event that a viewer would get", body = Object), BodyFailures, QueryFailures))]
async fn preview(State(state): State<HttpState>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let text = read_text(body, &state.limits).await?;
    let body: Preview =
        serde_json::from_str(&text).map_err(|error| ApiError::bad_request(format!("the body: {error}")))?;
    check_sql(&body.sql, SQL_BYTES_MAX)?;
    check_values(&body.values)?;
    let last = last(&body.last)?;
    let answer = state.dashboards.preview(&body.sql, &body.values, last, user_of(&parts)).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from(answer.to_json())).into_response())
}

/// What a variable is chosen from: with one run of its statement a minute, however many ask
#[utoipa::path(get, path = "/dashboards/{id}/values/{name}", tag = "dashboards",
    params(
        ("id" = String, Path, description = "The dashboard's id"),
        ("name" = String, Path, description = "The variable's name"),
    ),
    responses(
        (status = 200, body = Object,
            description = "values: at most 1,000, as the statement answers them; more: whether there are others"),
        StoreFailures, QueryFailures, NotFound,
    ))]
async fn values(
    State(state): State<HttpState>,
    Path((id, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    check_id(&id)?;
    let values = state.dashboards.values(&id, &name).await?;
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from(values)).into_response())
}

/// Watch a dashboard: server-sent events, one for each new answer of a panel
#[utoipa::path(get, path = "/dashboards/{id}/live", tag = "dashboards",
    params(
        ("id" = String, Path, description = "The dashboard's id"),
        ("last" = Option<String>, Query, description = "Another time range, such as 15m; values of variables are var.NAME"),
    ),
    responses((status = 200, description = "Events", content_type = "text/event-stream", body = LiveEvent), NotFound, StoreFailures))]
async fn live(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    check_id(&id)?;
    let chosen = chosen(query.as_deref())?;
    let viewer = state.dashboards.watch(&id, &chosen).await?;
    // Room for one: see `Viewer::run`.
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    tokio::spawn(viewer.run(sender));
    let events = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|event| (Ok::<_, Infallible>(event), receiver))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that would collect events are asked not to.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

fn chosen(query: Option<&str>) -> Result<Chosen, ApiError> {
    let mut chosen = Chosen::default();
    for (name, value) in query_parameters(query)? {
        let value = value.as_str().unwrap_or_default();
        match name.strip_prefix(VARIABLE_PREFIX) {
            Some(variable) => {
                chosen.values.insert(variable.to_string(), value.to_string());
            }
            None if name == "last" => chosen.last = Some(last(value)?),
            None => {
                let message = format!("unknown parameter {name}; this takes last and {VARIABLE_PREFIX}NAME");
                return Err(ApiError::bad_request(message));
            }
        }
    }
    check_values(&chosen.values)?;
    Ok(chosen)
}

fn check_values(values: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if values.len() > VARIABLES_MAX {
        return Err(ApiError::bad_request(format!("more than {VARIABLES_MAX} variables are given")));
    }
    match values.iter().find(|(_, value)| value.len() > VALUE_BYTES_MAX) {
        Some((name, _)) => {
            Err(ApiError::bad_request(format!("the value of {name} has more than {VALUE_BYTES_MAX} bytes")))
        }
        None => Ok(()),
    }
}

fn last(text: &str) -> Result<Duration, ApiError> {
    read_last(text).map_err(|reason| ApiError::bad_request(format!("last: {reason}")))
}

/// What the request says must be there.
fn expected(headers: &HeaderMap) -> Result<Expected, ApiError> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (None, Some("*")) => Ok(Expected::Absent),
        (Some("*"), None) => Ok(Expected::Present),
        (Some(tag), None) => tag_of(tag).map(|tag| Expected::Tag(tag.into())).ok_or_else(|| {
            ApiError::bad_request(format!(
                "If-Match: {tag}: use the ETag of one version, without W/ before it"
            ))
        }),
        (None, None) => Err(ApiError::new(
            StatusCode::PRECONDITION_REQUIRED,
            "precondition_required",
            "say what you change: If-Match: \"<etag>\" for one that is there, If-None-Match: * for a new one",
        )),
        _ => Err(ApiError::bad_request("send either If-Match: \"<etag>\" or If-None-Match: *")),
    }
}

/// The one strong tag of a header, without its quotes; also if they were left away.
fn tag_of(text: &str) -> Option<&str> {
    let tag = text.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(text);
    let is_tag = (1..=TAG_CHARS_MAX).contains(&tag.len())
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_tag.then_some(tag)
}

fn etag(revision: &Revision) -> String {
    format!("\"{}\"", revision.tag)
}

fn instant(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}
