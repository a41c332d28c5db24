//! `POST /infer` and `POST /preview`: a look at a topic, and at what a spec makes of it. Nothing is changed.
//!
//! Both have the server connect to brokers that the request names, so they are for administrators, as everything that is not
//! a read.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::HttpState;
use super::body::read_text;
use super::error::ApiError;
use super::openapi::{BodyFailures, ChangeFailures};
use crate::render::types::sql_type;
use crate::render::value::{Dialect, RowEncoder};
use crate::render::write_json;
use crate::wizard::{InferRequest, Preview, WizardError};

/// How many names of topics are offered for one that is not there.
const NEAR_MAX: usize = 3;
/// How alike a name must be to be offered (Jaro-Winkler).
const NEAR_MIN: f64 = 0.8;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(infer)).routes(routes!(preview))
}

/// Which topic to look at.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct InferBody {
    brokers: Vec<String>,
    topic: String,
    #[serde(default)]
    #[schema(value_type = Object)]
    properties: BTreeMap<String, Value>,
    messages_max: Option<usize>,
}

/// What to make of a topic.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PreviewBody {
    spec: String,
    rows_max: Option<usize>,
}

async fn body_of<T: DeserializeOwned>(request: Request, state: &HttpState) -> Result<T, ApiError> {
    let text = read_text(request.into_body(), &state.limits).await?;
    serde_json::from_str(&text).map_err(|error| ApiError::bad_request(format!("the body: {error}")))
}

/// Infer a spec from a topic's messages
#[utoipa::path(post, path = "/infer", tag = "tables", request_body = InferBody,
    responses((status = 200, description = "A spec that applies as it is", body = Object), BodyFailures, ChangeFailures))]
async fn infer(State(state): State<HttpState>, request: Request) -> Result<Json<Value>, ApiError> {
    let InferBody { brokers, topic, properties, messages_max } = body_of(request, &state).await?;
    let inferred = state.admin.infer(InferRequest { brokers, topic, properties, messages_max }).await?;
    let column = |(name, data_type, path): &(String, String, String)| json!({"name": name, "type": data_type, "path": path});
    Ok(Json(json!({
        "spec": inferred.spec,
        "columns": inferred.columns.iter().map(column).collect::<Vec<_>>(),
        "messages_read": inferred.messages_read,
        "undecodable": inferred.undecodable,
    })))
}

/// What a spec makes of its topic's newest messages
#[utoipa::path(post, path = "/preview", tag = "tables", request_body = PreviewBody,
    responses((status = 200, description = "Rows and dead letters", body = Object), BodyFailures, ChangeFailures))]
async fn preview(State(state): State<HttpState>, request: Request) -> Result<Response, ApiError> {
    let PreviewBody { spec, rows_max } = body_of(request, &state).await?;
    let preview = state.admin.preview(&spec, rows_max).await?;
    let text = rendered(&preview).map_err(|error| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            format!("the rows cannot be written: {error}"),
        )
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from(text)).into_response())
}

/// The preview in the shapes of `POST /sql`.
fn rendered(preview: &Preview) -> Result<Vec<u8>, arrow::error::ArrowError> {
    let columns: Vec<Value> = preview
        .schema
        .fields()
        .iter()
        .map(|field| json!({"name": field.name(), "type": sql_type(field)}))
        .collect();
    let letters: Vec<Value> = preview
        .dead_letters
        .iter()
        .map(
            |(partition, offset, reason)| json!({"partition": partition, "offset": offset, "reason": reason}),
        )
        .collect();
    let mut out = b"{\"columns\":".to_vec();
    write_json(&mut out, &columns);
    out.extend_from_slice(b",\"rows\":[");
    let mut is_first = true;
    for batch in &preview.batches {
        let mut encoder = RowEncoder::new(batch, Dialect::Headwater)?;
        for row in 0..batch.num_rows() {
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            encoder.array(row, &mut out);
        }
    }
    out.extend_from_slice(b"],\"dead_letters\":");
    write_json(&mut out, &letters);
    out.extend_from_slice(b",\"messages_read\":");
    write_json(&mut out, &preview.messages_read);
    out.push(b'}');
    Ok(out)
}

impl From<WizardError> for ApiError {
    fn from(error: WizardError) -> Self {
        let message = error.to_string();
        match error {
            WizardError::Admin(error) => error.into(),
            WizardError::Unreachable { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "kafka_unreachable", message)
            }
            WizardError::NoSuchTopic { topic, known } => {
                let near = near(&topic, &known);
                let advice = match (near.as_slice(), known.is_empty()) {
                    ([], true) => "there are no topics; create it, or check the brokers".to_string(),
                    ([], false) => {
                        format!("there are {} others; correct its name, or create it", known.len())
                    }
                    (near, _) => format!("did you mean {}?", near.join(", ")),
                };
                Self::new(StatusCode::NOT_FOUND, "unknown_topic", format!("{message}; {advice}"))
            }
            WizardError::EmptyTopic { .. } => Self::new(StatusCode::CONFLICT, "empty_topic", message),
            WizardError::Undecodable { .. } => Self::new(StatusCode::CONFLICT, "undecodable", message),
            WizardError::Busy => Self::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", message),
        }
    }
}

/// The names that are most like `wanted`.
fn near<'a>(wanted: &str, known: &'a [String]) -> Vec<&'a str> {
    let wanted = wanted.to_lowercase();
    let mut rated: Vec<(f64, &str)> = known
        .iter()
        .map(|name| (strsim::jaro_winkler(&wanted, &name.to_lowercase()), name.as_str()))
        .filter(|(likeness, _)| *likeness >= NEAR_MIN)
        .collect();
    rated.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    rated.into_iter().take(NEAR_MAX).map(|(_, name)| name).collect()
}
