//! Who calls, and how. Each call shows `authorization: Basic …` or `Bearer …`; a handshake makes of a user and a password, whose check
//! takes tens of milliseconds, a bearer token for the calls that follow: a session as the console has one, which every broker
//! of the cluster knows. An API token is its own bearer token.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, Version};
use axum::middleware::Next;
use axum::response::Response;
use tonic::Status;

use super::Shared;
use super::status::refused;
use crate::access::gate::credentials_of;
use crate::access::{AccessError, Credentials, Peer, Principal};

/// What the tokens of sessions begin with, so that they are not taken for API tokens.
const SESSION_PREFIX: &str = "flight-session-";

/// Lets a call in, with its [`Principal`] beside it. A handshake is asked by its handler.
pub(super) async fn let_in(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    // gRPC knows nothing else. Pages of browsers do: a site whose name turns into this address could ask over HTTP/1.1, and hosts
    // are not looked at here.
    if request.version() != Version::HTTP_2 {
        return Status::unimplemented("Flight is spoken over HTTP/2 only").into_http();
    }
    if !request.uri().path().ends_with("/Handshake") {
        match principal_of(&shared, request.headers(), address_of(request.extensions())).await {
            Ok(principal) => request.extensions_mut().insert(principal),
            Err(error) => return refused(&error).into_http(),
        };
    }
    next.run(request).await
}

/// Where a call comes from.
pub(super) fn address_of(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<Peer>().map(|peer| peer.0.ip())
}

async fn principal_of(
    shared: &Shared,
    headers: &HeaderMap,
    from: Option<IpAddr>,
) -> Result<Principal, AccessError> {
    let access = shared.doors.access();
    match credentials_of(headers)? {
        Credentials::Token(token) if token.starts_with(SESSION_PREFIX) => {
            if shared.doors.is_open() {
                return access.authenticate(Credentials::None).await;
            }
            shared.doors.user_of_session(&token[SESSION_PREFIX.len()..])
        }
        credentials => access.authenticate_from(credentials, from).await,
    }
}

/// The bearer token for whoever `credentials` let in.
pub(super) async fn open_session(
    shared: &Shared,
    credentials: Credentials,
    from: Option<IpAddr>,
) -> Result<String, Status> {
    let own = match &credentials {
        Credentials::Token(token) => Some(token.clone()),
        Credentials::Password { .. } | Credentials::None => None,
    };
    let principal = shared.doors.access().authenticate_from(credentials, from).await;
    let principal = principal.map_err(|error| refused(&error))?;
    if shared.doors.is_open() {
        return Ok(format!("{SESSION_PREFIX}open"));
    }
    if let Some(token) = own {
        return Ok(token);
    }
    let session = shared.doors.begin_session(&principal.name).map_err(|error| refused(&error))?;
    Ok(format!("{SESSION_PREFIX}{session}"))
}
