//! `/query/sql`, and `/query`, which is where Pinot's clients ask its other engine: both are the same here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::super::HttpState;
use super::super::body::{query_parameters, read_text};
use super::super::error::{ApiError, status_of};
use super::super::openapi::{BodyFailures, QueryFailures};
use super::super::sql::{check_sql, user_of};
use super::super::stream::AnswerChunks;
use super::answer::{PinotEncoder, failure};
use super::statement::read_statement;
use crate::render::AnswerFacts;
use crate::request::{ClientKind, QueryRequest};
use crate::{QueryError, QueryErrorKind};

/// An answer up to this size is held back until it is whole, so that a query that fails half way is reported as Pinot does it:
/// without a result, and with the code in the header. A larger one is streamed and reports a late failure at its end only.
const HELD_BYTES_MAX: usize = 1 << 20;

/// The body of `POST /query/sql` and of `POST /query`. Keys that we have no use for are ignored, as Pinot does.
#[derive(Debug, Deserialize, ToSchema)]
struct PinotBody {
    sql: String,
    /// `k1=v1;k2=v2`, of which `timeoutMs` and `enableNullHandling=false` count.
    #[serde(default, rename = "queryOptions")]
    query_options: Option<String>,
}

/// A query of a client of Pinot
///
/// A query that fails is answered with 200 and `exceptions`, as Pinot does, unless the header `pinot-use-http-status-for-errors:
/// true` asks for a status.
#[utoipa::path(post, path = "/query/sql", tag = "pinot",
    request_body = PinotBody,
    responses((status = 200, description = "A Pinot answer", body = Object), QueryFailures, BodyFailures))]
pub(in super::super) async fn post_query(
    State(state): State<HttpState>,
    request: Request,
) -> Result<Response, ApiError> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let text = read_text(body, &state.limits).await.map_err(malformed)?;
    let body: PinotBody = serde_json::from_str(&text)
        .map_err(|error| malformed(ApiError::bad_request(format!("the body: {error}"))))?;
    Ok(respond(&state, body, &parts, started).await)
}

/// A query of a client of Pinot
#[utoipa::path(get, path = "/query/sql", tag = "pinot",
    params(
        ("sql" = String, Query, description = "The statement"),
        ("queryOptions" = Option<String>, Query, description = "k1=v1;k2=v2"),
    ),
    responses((status = 200, description = "A Pinot answer", body = Object), QueryFailures))]
pub(in super::super) async fn get_query(
    State(state): State<HttpState>,
    request: Request,
) -> Result<Response, ApiError> {
    let started = Instant::now();
    let (parts, _) = request.into_parts();
    let parameters = query_parameters(parts.uri.query()).map_err(malformed)?;
    let text = |name: &str| parameters.get(name).and_then(|value| value.as_str()).map(str::to_string);
    let Some(sql) = text("sql") else {
        return Err(malformed(ApiError::bad_request("the parameter sql is missing")));
    };
    Ok(respond(&state, PinotBody { sql, query_options: text("queryOptions") }, &parts, started).await)
}

/// A query of a client of Pinot that asks for its multi-stage engine
///
/// The same as at `/query/sql`.
#[utoipa::path(post, path = "/query", tag = "pinot",
    request_body = PinotBody,
    responses((status = 200, description = "A Pinot answer", body = Object), QueryFailures, BodyFailures))]
pub(in super::super) async fn post_multistage_query(
    state: State<HttpState>,
    request: Request,
) -> Result<Response, ApiError> {
    post_query(state, request).await
}

/// A query of a client of Pinot that asks for its multi-stage engine
///
/// The same as at `/query/sql`.
#[utoipa::path(get, path = "/query", tag = "pinot",
    params(
        ("sql" = String, Query, description = "The statement"),
        ("queryOptions" = Option<String>, Query, description = "k1=v1;k2=v2"),
    ),
    responses((status = 200, description = "A Pinot answer", body = Object), QueryFailures))]
pub(in super::super) async fn get_multistage_query(
    state: State<HttpState>,
    request: Request,
) -> Result<Response, ApiError> {
    get_query(state, request).await
}

/// The failure of a request that no query could be read from.
fn malformed(error: ApiError) -> ApiError {
    error.for_pinot(QueryErrorKind::BadRequest.pinot_code())
}

async fn respond(state: &HttpState, body: PinotBody, parts: &Parts, started: Instant) -> Response {
    let use_status = parts
        .headers
        .get("pinot-use-http-status-for-errors")
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    let (status, code, body) = match run(state, body, parts, started).await {
        Ok(body) => (StatusCode::OK, -1, body),
        Err(Failed { error, facts }) => {
            let status = if use_status { status_of(error.kind) } else { StatusCode::OK };
            (status, error.kind.pinot_code(), failure(&error, facts.as_deref(), started).into())
        }
    };
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    response.headers_mut().insert("x-pinot-error-code", HeaderValue::from(code));
    response
}

struct Failed {
    error: QueryError,
    facts: Option<Arc<AnswerFacts>>,
}

impl From<QueryError> for Failed {
    fn from(error: QueryError) -> Self {
        Self { error, facts: None }
    }
}

async fn run(
    state: &HttpState,
    body: PinotBody,
    parts: &Parts,
    started: Instant,
) -> Result<axum::body::Body, Failed> {
    check_sql(&body.sql, state.limits.sql_bytes_max)?;
    let statement = read_statement(&body.sql, &|| state.runner.table_names());
    let mut options = read_options(body.query_options.as_deref().unwrap_or_default());
    options.extend(statement.options);
    let request = QueryRequest {
        sql: statement.sql,
        client: ClientKind::Pinot,
        user: user_of(parts),
        deadline: timeout(&options)?,
        ..QueryRequest::default()
    };
    let answer = state.runner.run(request).await?;
    let facts = AnswerFacts::of(&answer, started);
    let encoder = PinotEncoder::new(answer.schema.clone(), statement.quoted, facts.clone());
    let encoder = if knows_no_nulls(&options) { encoder.without_nulls() } else { encoder };
    let mut chunks = AnswerChunks::new(answer.stream, Box::new(encoder));
    let mut held = Vec::new();
    while held.len() <= HELD_BYTES_MAX {
        match chunks.next().await {
            Some(Ok(chunk)) => held.extend_from_slice(&chunk),
            Some(Err(error)) => return Err(Failed { error, facts: Some(facts) }),
            None => return Ok(Bytes::from(held).into()),
        }
    }
    Ok(chunks.into_body(held, facts.id.clone(), state.limits.stall_time()))
}

/// `k1=v1;k2=v2`; names in lower case.
fn read_options(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(';').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_string())).collect()
}

/// The deadline that `timeoutMs` asks for.
fn timeout(options: &BTreeMap<String, String>) -> Result<Option<Duration>, QueryError> {
    let Some(text) = options.get("timeoutms") else { return Ok(None) };
    match text.parse::<u64>() {
        Ok(ms) if ms > 0 => Ok(Some(Duration::from_millis(ms))),
        _ => Err(QueryError::new(
            QueryErrorKind::BadRequest,
            format!("timeoutMs={text}: use a number of milliseconds above 0"),
        )),
    }
}

/// Whether the client says that it cannot read NULL. One that says nothing gets what is true, unlike from Pinot.
fn knows_no_nulls(options: &BTreeMap<String, String>) -> bool {
    options.get("enablenullhandling").is_some_and(|value| value.eq_ignore_ascii_case("false"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_options() {
        let options = read_options("timeoutMs=500; useMultistageEngine=true;;broken");
        assert_eq!(timeout(&options).unwrap(), Some(Duration::from_millis(500)));
        assert_eq!(options.len(), 2);
        assert_eq!(timeout(&read_options("")).unwrap(), None);
        for bad in ["timeoutMs=0", "timeoutMs=-1", "timeoutMs=soon"] {
            assert!(timeout(&read_options(bad)).is_err(), "{bad}");
        }
        for (text, expected) in [
            ("enableNullHandling=false", true),
            ("enableNullHandling= False", true),
            ("enableNullHandling=true", false),
            ("", false),
        ] {
            assert_eq!(knows_no_nulls(&read_options(text)), expected, "{text}");
        }
    }
}
