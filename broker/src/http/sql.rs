//! `/sql`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::HttpState;
use super::body::{query_parameters, read_text};
use super::error::ApiError;
use super::openapi::{BodyFailures, QueryFailures};
use super::shapes::SqlAnswer;
use super::stream::AnswerChunks;
use crate::access::Principal;
use crate::render::{AnswerFacts, Format};
use crate::request::{ClientKind, QueryRequest};
use crate::{QueryError, QueryErrorKind};

/// Clients bound the size of all headers together, many at 8 KiB: a longer cut travels without its offsets.
const CUT_HEADER_BYTES_MAX: usize = 4096;

/// The body of `POST /sql`, and the options of its query string.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SqlBody {
    /// One statement, read-only.
    sql: String,
    /// Identity of the query, to follow and to end it by. One that runs already is refused.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    query_id: Option<String>,
    /// Values for `$1`, `$2`, …: text, numbers, booleans and null.
    #[serde(default)]
    parameters: Vec<Value>,
    /// Without it the `Accept` header decides.
    format: Option<Format>,
    /// Give up after so many milliseconds.
    #[schema(minimum = 1)]
    deadline_ms: Option<u64>,
    /// Memory budget, in bytes.
    memory_bytes_max: Option<u64>,
    /// More rows than this are an error.
    rows_max: Option<u64>,
    /// Per table and partition: wait until this offset (exclusive) is visible.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, BTreeMap<String, i64>>)]
    min_offsets: BTreeMap<String, BTreeMap<i32, i64>>,
    /// Answer from what is sealed only.
    #[serde(default)]
    sealed_only: bool,
    /// Rather answer without rows that no node has at the moment than wait for them.
    #[serde(default)]
    allow_partial: bool,
}

/// The routes.
pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(get_sql, post_sql))
}

/// Ask a question
///
/// With SQL as the body the options stand in the query string, as for `GET`; with JSON they stand in the body.
#[utoipa::path(post, path = "/sql", tag = "queries",
    request_body(content((SqlBody = "application/json"), (String = "text/plain"), (String = "application/sql"))),
    responses(
        (status = 200, description = "The answer, streamed. One that fails on its way says so at its end, or breaks off",
            headers(("headwater-query-id" = String, description = "Identity of the query")),
            content(
                (SqlAnswer = "application/json"),
                (String = "application/x-ndjson"),
                (String = "text/csv"),
                (String = "application/vnd.apache.arrow.stream"),
                (String = "application/vnd.apache.parquet"),
            )),
        BodyFailures,
        QueryFailures,
    ))]
async fn post_sql(State(state): State<HttpState>, request: Request) -> Result<Response, ApiError> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let is_text = is_sql_text(&parts.headers)?;
    let text = read_text(body, &state.limits).await?;
    let mut options = query_parameters(parts.uri.query())?;
    let body = if is_text {
        if options.insert("sql".into(), Value::String(text)).is_some() {
            return Err(ApiError::bad_request("the SQL text is both in the body and in the query string"));
        }
        from_query_string(options)?
    } else {
        if let Some(name) = options.keys().next() {
            let message =
                format!("with a JSON body, {name} belongs into the body and not into the query string");
            return Err(ApiError::bad_request(message));
        }
        read_body(&text)?
    };
    answer(&state, body, &parts, started).await
}

fn read_body(text: &str) -> Result<SqlBody, ApiError> {
    serde_json::from_str(text).map_err(|error| {
        let hint = match text.trim_start().starts_with('{') {
            true => "",
            false => "; send {\"sql\": \"…\"}, or SQL as text/plain",
        };
        ApiError::bad_request(format!("the body: {error}{hint}"))
    })
}

/// Ask a question
#[utoipa::path(get, path = "/sql", tag = "queries",
    params(
        ("q" = String, Query, description = "One statement, read-only"),
        ("format" = Option<Format>, Query, description = "Without it the Accept header decides"),
        ("query_id" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "Identity of the query"),
        ("parameters" = Option<String>, Query, description = "Values for $1, $2, … as a JSON list"),
        ("deadline_ms" = Option<u64>, Query, minimum = 1, description = "Give up after so many milliseconds"),
        ("memory_bytes_max" = Option<u64>, Query, description = "Memory budget"),
        ("rows_max" = Option<u64>, Query, description = "More rows than this are an error"),
        ("min_offsets" = Option<String>, Query, description = "Wait for these offsets: {\"table\": {\"0\": 123}}"),
        ("sealed_only" = Option<bool>, Query, description = "Only what is sealed"),
        ("allow_partial" = Option<bool>, Query, description = "Rather without rows that no node has than wait for them"),
    ),
    responses(
        (status = 200, description = "The answer, streamed. One that fails on its way says so at its end, or breaks off",
            headers(("headwater-query-id" = String, description = "Identity of the query")),
            content(
                (SqlAnswer = "application/json"),
                (String = "application/x-ndjson"),
                (String = "text/csv"),
                (String = "application/vnd.apache.arrow.stream"),
                (String = "application/vnd.apache.parquet"),
            )),
        QueryFailures,
    ))]
async fn get_sql(State(state): State<HttpState>, request: Request) -> Result<Response, ApiError> {
    let started = Instant::now();
    let (parts, _) = request.into_parts();
    let mut options = query_parameters(parts.uri.query())?;
    let Some(sql) = options.remove("q") else {
        return Err(ApiError::bad_request("the SQL text is missing: GET /sql?q=SELECT%201"));
    };
    if options.insert("sql".into(), sql).is_some() {
        return Err(ApiError::bad_request("the SQL text is given twice, as q and as sql"));
    }
    answer(&state, from_query_string(options)?, &parts, started).await
}

/// Whether the body is SQL. Without a known type it is taken for JSON, which is what `curl -d` sends under a form's name.
fn is_sql_text(headers: &HeaderMap) -> Result<bool, ApiError> {
    let declared = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let essence =
        declared.map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    match essence.as_deref() {
        None | Some("application/json" | "application/x-www-form-urlencoded") => Ok(false),
        Some("text/plain" | "application/sql") => Ok(true),
        Some(other) => {
            let message =
                format!("a body of type {other:?} is not read; send application/json or text/plain");
            Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_request", message))
        }
    }
}

/// Options of a query string are JSON values, except those that are text.
fn from_query_string(options: Map<String, Value>) -> Result<SqlBody, ApiError> {
    let mut typed = Map::new();
    for (name, value) in options {
        let value = match (name.as_str(), &value) {
            ("sql" | "format" | "query_id", _) => value,
            // What is not there is left out, and not null.
            (_, Value::String(text)) if text == "null" => value,
            (_, Value::String(text)) => serde_json::from_str(text).unwrap_or(value),
            _ => value,
        };
        typed.insert(name, value);
    }
    serde_json::from_value(Value::Object(typed))
        .map_err(|error| ApiError::bad_request(format!("the query string: {error}")))
}

async fn answer(
    state: &HttpState,
    body: SqlBody,
    parts: &Parts,
    started: Instant,
) -> Result<Response, ApiError> {
    check_sql(&body.sql, state.limits.sql_bytes_max)?;
    if body.deadline_ms == Some(0) {
        let message = "deadline_ms is 0: use a number of milliseconds above 0, or leave it out";
        return Err(ApiError::bad_request(message));
    }
    let accepted =
        parts.headers.get(header::ACCEPT).and_then(|accept| Format::from_accept(accept.to_str().ok()?));
    let format = body.format.or(accepted).unwrap_or_default();
    let request = QueryRequest {
        sql: body.sql,
        query_id: body.query_id,
        client: client_of(&parts.headers),
        user: user_of(parts),
        parameters: body.parameters,
        deadline: body.deadline_ms.map(Duration::from_millis),
        memory_bytes_max: body.memory_bytes_max,
        rows_max: body.rows_max,
        min_offsets: body.min_offsets,
        sealed_only: body.sealed_only,
        allow_partial: body.allow_partial,
        ..QueryRequest::default()
    };
    let answer = state.runner.run(request).await?;
    let facts = AnswerFacts::of(&answer, started);
    let encoder = format.encoder(&answer.schema, facts.clone()).map_err(|error| {
        let message =
            format!("the answer cannot be rendered in this format: {error}; cast the column to TEXT");
        QueryError::new(QueryErrorKind::Execution, message)
    })?;
    let mut chunks = AnswerChunks::new(answer.stream, encoder);
    let first = chunks.next().await.transpose()?.unwrap_or_default();
    let body = chunks.into_body(first, facts.id.clone(), state.limits.stall_time());
    let mut response = body.into_response();
    set_headers(response.headers_mut(), format, &facts);
    Ok(response)
}

/// Who asks, if the request has passed a door that knows.
pub(super) fn user_of(parts: &Parts) -> Option<String> {
    parts.extensions.get::<Principal>().map(|principal| principal.name.clone())
}

/// Only a page of this very server asks as a browser does for its own site, and that is the console.
fn client_of(headers: &HeaderMap) -> ClientKind {
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        Some(b"same-origin") => ClientKind::Console,
        _ => ClientKind::Http,
    }
}

/// Refuses an empty and an oversized SQL text.
pub(super) fn check_sql(sql: &str, bytes_max: usize) -> Result<(), QueryError> {
    let fault = match sql.len() {
        _ if sql.trim().is_empty() => "the SQL text is empty".to_string(),
        bytes if bytes > bytes_max => {
            format!("the SQL text has {bytes} bytes, more than the {bytes_max} allowed")
        }
        _ => return Ok(()),
    };
    Err(QueryError::new(QueryErrorKind::BadRequest, fault))
}

fn set_headers(headers: &mut HeaderMap, format: Format, facts: &AnswerFacts) {
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.insert(name, value);
        }
    };
    set("content-type", format.content_type());
    set("headwater-query-id", &facts.id);
    if format == Format::Json {
        return;
    }
    let cut = facts.cut_json(true).to_string();
    match cut.len() <= CUT_HEADER_BYTES_MAX {
        true => set("headwater-cut", &cut),
        false => set("headwater-cut", &facts.cut_json(false).to_string()),
    }
    if let Some(freshness_ms) = facts.freshness_ms() {
        set("headwater-freshness-ms", &freshness_ms.to_string());
    }
}
