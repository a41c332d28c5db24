//! `/session`: signing in to the console, who is signed in, and signing out.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::gate::{Asker, Doors, not_ours, now_s, refuse};
use super::{AccessError, Credentials, Peer};
use crate::http::body::read_text;
use crate::http::error::ApiError;
use crate::http::openapi::BodyFailures;
use crate::http::{HttpLimits, HttpState};

/// A name and a password need no more.
const BODY_BYTES_MAX: usize = 8 << 10;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignIn {
    user: String,
    password: String,
}

/// Who asks.
#[derive(Serialize, ToSchema)]
struct SessionAnswer {
    /// Name of the user, or of the token.
    user: String,
    /// `reader` or `administrator`.
    role: String,
    /// What a request that changes something carries as `x-headwater-csrf`; null without a session.
    csrf: Option<String>,
    /// Whether everybody is let in.
    open: bool,
}

/// The routes.
pub(crate) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(show, sign_in, sign_out))
}

fn describe(doors: &Doors, asker: &Asker) -> SessionAnswer {
    SessionAnswer {
        user: asker.principal.name.clone(),
        role: asker.principal.role.name().to_owned(),
        csrf: asker.session.as_ref().map(|session| doors.sessions.csrf(session)),
        open: doors.is_open(),
    }
}

/// Who asks
#[utoipa::path(get, path = "/session", tag = "operation",
    responses((status = 200, description = "Who it is", body = SessionAnswer)))]
async fn show(State(state): State<HttpState>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let from = parts.extensions.get::<Peer>().map(|peer| peer.0.ip());
    match state.doors.identify(&parts.headers, from).await {
        Ok(asker) => Json(describe(&state.doors, &asker)).into_response(),
        Err(error) => refuse(&error, "/session", &parts.headers),
    }
}

/// Sign in: a name and a password become a cookie
#[utoipa::path(post, path = "/session", tag = "operation", request_body = SignIn,
    responses((status = 200, description = "Signed in", body = SessionAnswer), BodyFailures))]
async fn sign_in(State(state): State<HttpState>, request: Request) -> Result<Response, ApiError> {
    let doors = &state.doors;
    let (parts, body) = request.into_parts();
    let limits = HttpLimits { body_bytes_max: BODY_BYTES_MAX, ..state.limits.clone() };
    let text = read_text(body, &limits).await?;
    // The text is not repeated in the message: it holds a password.
    let SignIn { user, password } = serde_json::from_str(&text)
        .map_err(|_| ApiError::bad_request("the body is not {\"user\": \"…\", \"password\": \"…\"}"))?;
    let from = parts.extensions.get::<Peer>().map(|peer| peer.0.ip());
    let principal = match doors.access.authenticate_from(Credentials::Password { user, password }, from).await
    {
        Ok(principal) => principal,
        Err(error) => return Ok(refuse(&error, "/session", &parts.headers)),
    };
    if doors.is_open() {
        return Ok(Json(describe(doors, &Asker { principal, session: None })).into_response());
    }
    // Gone since, as the configuration was read again.
    let Some(known) = doors.access.user(&principal.name) else {
        return Ok(refuse(&AccessError::Wrong, "/session", &parts.headers));
    };
    let session = doors.sessions.begin(&known, now_s());
    let cookie = doors.set_cookie(Some(&session));
    tracing::info!(user = principal.name, "signed in");
    let asker = Asker { principal: known.principal, session: Some(session) };
    Ok(([(header::SET_COOKIE, cookie)], Json(describe(doors, &asker))).into_response())
}

/// Sign out: the cookie is worth nothing any more
#[utoipa::path(delete, path = "/session", tag = "operation",
    responses((status = 204, description = "Signed out")))]
async fn sign_out(State(state): State<HttpState>, request: Request) -> Response {
    let doors = &state.doors;
    let from = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let (parts, _) = request.into_parts();
    if let Ok(Asker { session: Some(session), principal }) = doors.identify(&parts.headers, from).await {
        if !doors.is_ours(&parts.headers, &session) {
            return not_ours().into_response();
        }
        doors.sessions.end(&session, now_s());
        tracing::info!(user = principal.name, "signed out");
    }
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, doors.set_cookie(None))]).into_response()
}
