//! The OpenAPI document at `GET /openapi.json`: what all routes take and answer, collected where they are declared.
//!
//! What stands here are the answers that many routes share. Each is a type to name in `responses(…)` of a handler.

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use axum::{Extension, http::header};
use bytes::Bytes;
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::{Response as Documented, ResponseBuilder};
use utoipa::openapi::{ContentBuilder, HeaderBuilder, Ref, RefOr};
use utoipa::{IntoResponses, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::HttpState;
use super::shapes::PinotFailureBody;
use crate::render::Format;
use crate::render::failure::{Failure, Position};

/// What the document says besides the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Headwater",
        description = "SQL over Kafka topics: every answer is exact and names the offsets that it contains.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(FailureBody, Failure, PinotFailureBody, Position, Format)),
    tags(
        (name = "queries", description = "SQL, and the queries that run"),
        (name = "tables", description = "Tables and their consumption"),
        (name = "dashboards", description = "Dashboards, and watching them"),
        (name = "operation", description = "Health, metrics and this document"),
        (name = "pinot", description = "What clients of Apache Pinot send"),
    )
)]
struct Document;

/// The document before any route is in it.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// Every failure of our own interface.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a shape of the document; ApiError writes it")]
pub(super) struct FailureBody {
    error: Failure,
}

/// Adds to every route how the gate may answer in its place.
pub(super) fn guarded(document: &mut utoipa::openapi::OpenApi) {
    let refusals = failures(&[
        (401, "It needs a user and a password, or a token; or what was shown is wrong or has expired"),
        (403, "It needs an administrator, a page of another site sends it, or it is for another host"),
        (415, "The body is of a type, or has an encoding, that is not read"),
        (429, "Too many wrong attempts, or too many queries"),
    ]);
    for (path, item) in &mut document.paths.paths {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.head];
        for operation in operations.into_iter().flatten() {
            for (status, refusal) in &refusals {
                operation.responses.responses.entry(status.clone()).or_insert_with(|| refusal.clone());
            }
            if path == "/query" || path.starts_with("/query/") {
                fail_as_pinot(operation);
            }
        }
    }
}

/// Where Pinot's clients ask, failures have the fields that they read.
fn fail_as_pinot(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        if let (false, RefOr::T(response)) = (status.starts_with('2'), response) {
            let body = RefOr::Ref(Ref::from_schema_name("PinotFailureBody"));
            let content = ContentBuilder::new().schema(Some(body)).build();
            response.content.insert("application/json".into(), content);
        }
    }
}

/// `GET /openapi.json`.
pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(openapi))
}

/// The document as it is served.
#[derive(Clone)]
pub(super) struct Rendered(pub(super) Bytes);

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "operation",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object)))]
async fn openapi(Extension(Rendered(document)): Extension<Rendered>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}

/// A failure with the body of all failures.
fn failure(description: &str) -> ResponseBuilder {
    let body = RefOr::Ref(Ref::from_schema_name("FailureBody"));
    let content = ContentBuilder::new().schema(Some(body)).build();
    ResponseBuilder::new().description(description).content("application/json", content)
}

fn failures(of: &[(u16, &str)]) -> BTreeMap<String, RefOr<Documented>> {
    let documented = of.iter().map(|(status, description)| {
        let response = match status {
            429 | 503 => failure(description)
                .header("retry-after", HeaderBuilder::new().description(Some("Seconds")).build()),
            _ => failure(description),
        };
        (status.to_string(), RefOr::T(response.build()))
    });
    documented.collect()
}

/// How a query can fail before the first of its rows.
pub(super) enum QueryFailures {}

impl IntoResponses for QueryFailures {
    fn responses() -> BTreeMap<String, RefOr<Documented>> {
        failures(&[
            (400, "The request or the statement is wrong: its error says where, and names what is nearest"),
            (409, "A query with this query_id runs already"),
            (422, "The statement failed while it ran, or needs more memory or rows than it may have"),
            (429, "Too many queries are running and waiting"),
            (499, "The query was cancelled"),
            (500, "A bug"),
            (503, "Rows of the answer are on no node that can be reached"),
            (504, "The deadline passed"),
        ])
    }
}

/// How a request with a body can fail before anybody looks at what it says.
pub(crate) enum BodyFailures {}

impl IntoResponses for BodyFailures {
    fn responses() -> BTreeMap<String, RefOr<Documented>> {
        failures(&[
            (400, "The body cannot be read"),
            (403, "A page of another site sends this"),
            (408, "The body did not arrive in time"),
            (413, "The body is too large"),
            (415, "The body is of a type, or has an encoding, that is not read"),
        ])
    }
}

/// How a change can fail that has no body.
pub(super) enum ChangeFailures {}

impl IntoResponses for ChangeFailures {
    fn responses() -> BTreeMap<String, RefOr<Documented>> {
        failures(&[
            (400, "A parameter is wrong"),
            (403, "A page of another site sends this"),
            (404, "There is no such table or partition"),
            (409, "The table's state does not allow it"),
            (415, "The body has an encoding; none is read"),
            (503, "Kafka, the object store or another node cannot be reached"),
        ])
    }
}

/// How a change of a document can fail.
pub(super) enum WriteFailures {}

impl IntoResponses for WriteFailures {
    fn responses() -> BTreeMap<String, RefOr<Documented>> {
        failures(&[
            (404, "There is no such dashboard"),
            (412, "Another version is there than the one that was to be changed"),
            (428, "It does not say which version it changes"),
            (507, "There are as many dashboards as there may be"),
        ])
    }
}

/// The object store is away, or too much is asked at once.
pub(super) enum StoreFailures {}

impl IntoResponses for StoreFailures {
    fn responses() -> BTreeMap<String, RefOr<Documented>> {
        failures(&[
            (429, "There are as many viewers or panels as there may be"),
            (503, "The object store cannot be reached"),
        ])
    }
}

/// What is asked for is not there.
pub(super) enum NotFound {}

impl IntoResponses for NotFound {
    fn responses() -> BTreeMap<String, RefOr<Documented>> {
        failures(&[(400, "A name or a parameter is wrong"), (404, "There is no such thing")])
    }
}
