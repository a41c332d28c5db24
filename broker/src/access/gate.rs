//! The gate of the HTTP listener: every request passes it before any route sees it.
//!
//! ```text
//! host known? -> sent by a page of another site? -> body encoded? -> what does the route need? -> who is it? -> may they?
//! ```
//!
//! Probes are answered under any host: under one that is not ours with their status alone.
//!
//! The [`Principal`] goes on as an extension of the request. A browser that asks for a page and is nobody gets the console,
//! which asks for a password; what it asked for is not run.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use subtle::ConstantTimeEq;
use tower::Layer;

use super::origin::{self, Hosts, host_of};
use super::routes::{Need, is_probe, is_read, need};
use super::session::{LIFE_S, Session};
use super::{
    AccessControl, AccessError, Credentials, OpenAccess, Peer, Principal, Role, SessionKey, Sessions, headers,
};
use crate::http::error::ApiError;

/// Carries the proof that a page of ours sends the request.
const CSRF: &str = "x-headwater-csrf";
/// What Pinot's clients know a refusal by.
const PINOT_CODE: i32 = 180;

/// How requests are let in.
pub struct Doors {
    pub(super) access: Arc<dyn AccessControl>,
    pub(super) sessions: Sessions,
    hosts: Hosts,
    /// Whether browsers come over TLS, here or at a proxy: cookies are for TLS then, and answers ask for it.
    tls: bool,
}

/// Who asks, and by what.
pub(super) struct Asker {
    pub(super) principal: Principal,
    pub(super) session: Option<Session>,
}

impl Doors {
    /// Lets in whom `access` lets in, for requests to `hosts`. `tls`: browsers come over TLS, here or at a proxy.
    pub fn new(access: Arc<dyn AccessControl>, key: SessionKey, hosts: Hosts, tls: bool) -> Self {
        Self { access, sessions: Sessions::new(key), hosts, tls }
    }

    /// Lets everybody in who asks for loopback.
    pub fn open() -> Self {
        Self::new(Arc::new(OpenAccess), SessionKey::random(), Hosts::only([], false), false)
    }

    /// Whether the request is for a host that is this server. One that names none is from no browser.
    fn is_for_us(&self, request: &Request) -> bool {
        host_of(request).is_none_or(|host| self.hosts.allows(host))
    }

    /// Whether nobody has to say who they are.
    pub(crate) fn is_open(&self) -> bool {
        self.access.is_open()
    }

    /// Name of the session's cookie. The prefix keeps other hosts of the domain from setting one.
    fn cookie_name(&self) -> &'static str {
        if self.tls { "__Host-headwater" } else { "headwater_session" }
    }

    /// The header that sets the session's cookie, or with `None` takes it away.
    pub(super) fn set_cookie(&self, session: Option<&Session>) -> HeaderValue {
        let (name, secure) = (self.cookie_name(), if self.tls { "; Secure" } else { "" });
        let (value, age_s) =
            session.map_or((String::new(), 0), |session| (self.sessions.cookie(session), LIFE_S));
        let text = format!("{name}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}");
        HeaderValue::try_from(text).expect("names, numbers and base64 are a header's value")
    }

    /// Who sends a request with these headers.
    pub(super) async fn identify(
        &self,
        headers: &HeaderMap,
        from: Option<IpAddr>,
    ) -> Result<Asker, AccessError> {
        if !headers.contains_key(header::AUTHORIZATION)
            && let Some(session) = self.session_of(headers)
        {
            return Ok(Asker { principal: self.user_of(&session)?, session: Some(session) });
        }
        let credentials = if self.is_open() { Credentials::None } else { credentials_of(headers)? };
        let principal = self.access.authenticate_from(credentials, from).await?;
        Ok(Asker { principal, session: None })
    }

    /// The user of a session, with the role of now, if it began with the password of now.
    fn user_of(&self, session: &Session) -> Result<Principal, AccessError> {
        let known = self.access.user(&session.user).filter(|user| session.is_of(user));
        Ok(known.ok_or(AccessError::Wrong)?.principal)
    }

    /// Decides who is let in.
    pub(crate) fn access(&self) -> &Arc<dyn AccessControl> {
        &self.access
    }

    /// A session of a user who has just shown their password, for a client that keeps no cookies.
    pub(crate) fn begin_session(&self, user: &str) -> Result<String, AccessError> {
        // Gone since, if the configuration was read again.
        let known = self.access.user(user).ok_or(AccessError::Wrong)?;
        Ok(self.sessions.cookie(&self.sessions.begin(&known, now_s())))
    }

    /// Whoever [has begun](Self::begin_session) the session.
    pub(crate) fn user_of_session(&self, session: &str) -> Result<Principal, AccessError> {
        self.user_of(&self.sessions.read(session, now_s()).ok_or(AccessError::Wrong)?)
    }

    fn session_of(&self, headers: &HeaderMap) -> Option<Session> {
        let texts = headers.get_all(header::COOKIE).iter().filter_map(|cookie| cookie.to_str().ok());
        let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(name, _)| *name == self.cookie_name())?;
        self.sessions.read(value, now_s())
    }

    /// Whether a page of ours sends the request: it knows what other pages cannot read.
    pub(super) fn is_ours(&self, headers: &HeaderMap, session: &Session) -> bool {
        let given = headers.get(CSRF).map_or(&[][..], HeaderValue::as_bytes);
        bool::from(self.sessions.csrf(session).as_bytes().ct_eq(given))
    }
}

/// `router` behind the gate. It stands around all of it, so that it may send a request to another route.
pub(crate) fn guard(doors: Arc<Doors>, router: Router) -> Router {
    Router::new().fallback_service(middleware::from_fn_with_state(doors, pass).layer(router))
}

async fn pass(State(doors): State<Arc<Doors>>, mut request: Request, next: Next) -> Response {
    let strict = doors.tls && host_of(&request).is_some_and(|host| !origin::is_local(host));
    let mut response = match let_in(&doors, &mut request).await {
        Ok(renewed) => {
            let mut response = next.run(request).await;
            if let Some(session) = renewed {
                let headers = response.headers_mut();
                headers.entry(header::SET_COOKIE).or_insert_with(|| doors.set_cookie(Some(&session)));
            }
            response
        }
        Err(Refused::Page) => {
            *request.uri_mut() = Uri::from_static("/");
            next.run(request).await
        }
        Err(Refused::Request(error)) => error.into_response(),
        Err(Refused::Access(error)) => refuse(&error, request.uri().path(), request.headers()),
    };
    headers::put(response.headers_mut(), strict);
    response
}

enum Refused {
    /// Whoever it is, this is not answered.
    Request(ApiError),
    /// They are not let in, or not for this.
    Access(AccessError),
    /// A browser that shall show a page, in the place of an answer to nobody.
    Page,
}

impl From<AccessError> for Refused {
    fn from(error: AccessError) -> Self {
        Self::Access(error)
    }
}

/// Puts the principal on the request, or says why not. A session that is to be renewed comes back.
async fn let_in(doors: &Doors, request: &mut Request) -> Result<Option<Session>, Refused> {
    check_request(doors, request).map_err(Refused::Request)?;
    let (method, path) = (request.method().clone(), request.uri().path().to_string());
    let role = match need(&method, &path) {
        Need::Nothing => return Ok(None),
        // It may be a page of another site, whose name turned into this address.
        Need::Optional if !doors.is_for_us(request) => return Ok(None),
        Need::Optional if !doors.is_open() && !shows_something(request.headers()) => return Ok(None),
        Need::Optional => Role::Reader,
        Need::Role(role) => role,
    };
    let from = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let asker = match doors.identify(request.headers(), from).await {
        Ok(asker) => asker,
        Err(AccessError::Missing | AccessError::Wrong) if wants_page(request) => return Err(Refused::Page),
        Err(error) => return Err(error.into()),
    };
    if let Some(session) = &asker.session
        && !is_read(&method)
        && !doors.is_ours(request.headers(), session)
    {
        return Err(Refused::Request(not_ours()));
    }
    if !asker.principal.may(role) {
        return Err(AccessError::Forbidden { name: asker.principal.name }.into());
    }
    if role == Role::Administrator {
        tracing::info!(user = asker.principal.name, %method, path, "an administrator's request");
    }
    request.extensions_mut().insert(asker.principal);
    Ok(asker.session.and_then(|session| doors.sessions.renewed(&session, now_s())))
}

/// What is refused from anybody.
fn check_request(doors: &Doors, request: &Request) -> Result<(), ApiError> {
    let forbidden = |message: String| ApiError::new(StatusCode::FORBIDDEN, "forbidden", message);
    if !is_probe(request.uri().path()) && !doors.is_for_us(request) {
        let host = host_of(request).unwrap_or_default();
        return Err(forbidden(format!(
            "this server does not know itself by the host {:.100}; ask for localhost or an address, or name the host in http.hosts",
            host.escape_debug().to_string()
        )));
    }
    if let Some(reason) = origin::refusal(request) {
        return Err(forbidden(reason.to_string()));
    }
    let encoding = request.headers().get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let message = "bodies are read as they are; send this one without a content-encoding";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_request", message));
    }
    Ok(())
}

/// A cookie came without the proof that a page of ours sent it.
pub(super) fn not_ours() -> ApiError {
    let message = format!(
        "a request that changes something, with a session's cookie, carries {CSRF}; see GET /session"
    );
    ApiError::new(StatusCode::FORBIDDEN, "forbidden", message)
}

fn shows_something(headers: &HeaderMap) -> bool {
    headers.contains_key(header::AUTHORIZATION) || headers.contains_key(header::COOKIE)
}

/// Whether a person's browser asks for something to show.
fn wants_page(request: &Request) -> bool {
    let accepts = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    *request.method() == Method::GET
        && !request.headers().contains_key(header::AUTHORIZATION)
        && accepts.is_some_and(|accept| accept.contains("text/html"))
}

/// How a user and a password are written: Arrow's client in Go, which ADBC is made with, leaves the padding out.
const BASIC: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What the `Authorization` header shows.
pub(crate) fn credentials_of(headers: &HeaderMap) -> Result<Credentials, AccessError> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else {
        return if headers.contains_key(header::AUTHORIZATION) {
            Err(AccessError::Wrong)
        } else {
            Ok(Credentials::None)
        };
    };
    let text = value.to_str().map_err(|_| AccessError::Wrong)?;
    let (scheme, shown) = text.trim().split_once(' ').ok_or(AccessError::Wrong)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Credentials::Token(shown.trim().to_string()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(AccessError::Wrong);
    }
    let decoded = BASIC.decode(shown.trim()).map_err(|_| AccessError::Wrong)?;
    let decoded = String::from_utf8(decoded).map_err(|_| AccessError::Wrong)?;
    let (user, password) = decoded.split_once(':').ok_or(AccessError::Wrong)?;
    Ok(Credentials::shown(user.to_string(), password.to_string()))
}

/// A refusal as an answer. Pinot's clients look for their own fields.
pub(super) fn refuse(error: &AccessError, path: &str, headers: &HeaderMap) -> Response {
    let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::FORBIDDEN);
    let mut refusal = ApiError::new(status, error.name(), error.to_string());
    if matches!(path, "/query/sql" | "/query") {
        refusal = refusal.for_pinot(PINOT_CODE);
    }
    let mut response = refusal.into_response();
    if status == StatusCode::UNAUTHORIZED {
        // A browser would put up a dialog of its own over the page whose script asked.
        let challenge = match headers.contains_key("sec-fetch-mode") {
            true => "Bearer realm=\"headwater\"",
            false => "Basic realm=\"headwater\", charset=\"UTF-8\"",
        };
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if let AccessError::Throttled { retry_after_s } = error {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*retry_after_s));
    }
    response
}

/// Seconds since the epoch.
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
