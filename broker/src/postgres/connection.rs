//! From a socket to a session: TLS, the first message, the password; and the reader that runs ahead of the session.
//!
//! Invariant: a client that has not been let in holds one connection for at most `startup_ms_max`, and 10,000 bytes.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::{ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::{
    Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::Server;
use super::errors::{Failure, NOT_SUPPORTED, PROTOCOL_VIOLATION};
use super::frames::{self, Frame, FrameError, Opening};
use super::outgoing::Outgoing;
use super::session::Session;
use super::settings::Settings;
use crate::access::{Admitted, Credentials};
use crate::catalog::CATALOG;

/// Version 3.0, as clients read it.
const VERSION_3_0: i32 = 3 << 16;
/// Longest password message.
const PASSWORD_BYTES_MAX: usize = 10_000;
/// So many bytes of what is read ahead count for a message, however short it is.
const FRAME_BYTES_MIN: usize = 256;

/// A connection, with TLS or without.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

/// A message, and its share of what may be read ahead.
pub(super) struct Incoming {
    pub(super) frame: Result<Frame, FrameError>,
    /// Whether an error in it is followed by a Sync.
    pub(super) is_extended: bool,
    _share: Option<OwnedSemaphorePermit>,
}

/// Why no session began.
enum Refusal {
    /// The client is told.
    Told(Failure),
    /// It is gone, or has said what it wanted.
    Ended,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Told(failure)
    }
}

impl From<FrameError> for Refusal {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Io(_) => Self::Ended,
            other => Self::Told(Failure::new(PROTOCOL_VIOLATION, other.to_string())),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(_: io::Error) -> Self {
        Self::Ended
    }
}

type Input = BufReader<ReadHalf<Box<dyn Socket>>>;
type Output = Outgoing<WriteHalf<Box<dyn Socket>>>;

/// Serves one client until it ends, or is ended.
pub(super) async fn serve(server: Arc<Server>, socket: Box<dyn Socket>, from: IpAddr) {
    let within = Duration::from_millis(server.limits().startup_ms_max);
    let until = tokio::time::Instant::now() + within;
    let opened = tokio::time::timeout_at(until, open(&server, socket, from)).await;
    let (socket, is_secure, (minor, parameters)) = match opened {
        Ok(Ok(Some(opened))) => opened,
        Ok(Ok(None) | Err(_)) | Err(_) => return,
    };
    let (input, output) = tokio::io::split(socket);
    let mut input = BufReader::new(input);
    let mut output = Outgoing::new(output, server.stall());
    let peer = Peer { from, is_private: is_secure || from.is_loopback() };
    let starting = start(&server, &mut input, &mut output, (minor, parameters), peer);
    let started = tokio::time::timeout_at(until, starting).await.unwrap_or(Err(Refusal::Ended));
    let (user, admitted, settings, _place) = match started {
        Ok(started) => started,
        Err(Refusal::Ended) => return,
        Err(Refusal::Told(failure)) => {
            tracing::info!(
                code = failure.code,
                message = failure.message,
                "a Postgres client was not let in"
            );
            let message = PgWireBackendMessage::ErrorResponse(failure.info("FATAL").into());
            if output.put(&message).is_ok() {
                let _ = output.close().await;
            }
            return;
        }
    };
    run(server, input, output, from, (user, admitted, settings)).await;
}

/// Who is at the other end.
#[derive(Clone, Copy)]
struct Peer {
    from: IpAddr,
    /// Whether nobody else can read what it sends.
    is_private: bool,
}

type Opened = (Box<dyn Socket>, bool, (u16, Vec<(String, String)>));

/// Reads the first packets, up to the one that starts a session; `None` if it was a request to cancel.
async fn open(
    server: &Server,
    mut socket: Box<dyn Socket>,
    from: IpAddr,
) -> Result<Option<Opened>, FrameError> {
    let mut is_secure = false;
    // One request for each kind of encryption may stand before the first message.
    for _ in 0..3 {
        match frames::read_opening(&mut socket).await? {
            Opening::Ssl if !is_secure && server.state.tls.is_some() => {
                let Some(tls) = &server.state.tls else { continue };
                socket.write_all(b"S").await?;
                socket.flush().await?;
                // Nothing was read ahead: what comes before the handshake is not taken for a part of what comes after it.
                socket = Box::new(TlsAcceptor::from(Arc::clone(tls)).accept(socket).await?);
                is_secure = true;
            }
            Opening::Ssl | Opening::Gss => {
                socket.write_all(b"N").await?;
                socket.flush().await?;
            }
            Opening::Cancel { process, secret } => {
                server.cancels.cancel(process, &secret);
                socket.shutdown().await?;
                return Ok(None);
            }
            Opening::Startup { minor, parameters } => {
                tracing::debug!(is_secure, %from, "a Postgres client starts");
                return Ok(Some((socket, is_secure, (minor, parameters))));
            }
            Opening::Version { major, minor } => {
                let message =
                    format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0");
                let failure = Failure::new(NOT_SUPPORTED, message);
                let mut output = Outgoing::new(socket, server.stall());
                output.put(&PgWireBackendMessage::ErrorResponse(failure.info("FATAL").into()))?;
                output.close().await?;
                return Ok(None);
            }
        }
    }
    Err(FrameError::Malformed("too many requests for encryption"))
}

/// Lets the client in, and tells it what it needs to know.
async fn start(
    server: &Server,
    input: &mut Input,
    output: &mut Output,
    (minor, parameters): (u16, Vec<(String, String)>),
    peer: Peer,
) -> Result<(String, Admitted, Settings, OwnedSemaphorePermit), Refusal> {
    let place = Arc::clone(&server.sessions).try_acquire_owned();
    let place = place.map_err(|_| Failure::new("53300", "sorry, too many clients already"))?;
    let options: Vec<String> =
        parameters.iter().map(|(name, _)| name).filter(|name| name.starts_with("_pq_.")).cloned().collect();
    if minor > 0 || !options.is_empty() {
        let message = NegotiateProtocolVersion::new(VERSION_3_0, options);
        output.put(&PgWireBackendMessage::NegotiateProtocolVersion(message))?;
    }
    let (user, settings) = settings_of(&parameters)?;
    let credentials = match server.state.access.is_open() {
        true => Credentials::None,
        false if !peer.is_private => {
            let message = "passwords are taken over TLS only";
            return Err(Failure::new("28000", message).with_hint("connect with sslmode=require").into());
        }
        false => {
            output.put(&PgWireBackendMessage::Authentication(Authentication::CleartextPassword))?;
            output.flush().await?;
            let password = read_password(input).await?;
            Credentials::shown(user.clone(), password)
        }
    };
    let admitted = server.state.access.admit(credentials, Some(peer.from)).await;
    let admitted = admitted.map_err(|error| Failure::of_access(&error))?;
    // On a server that is open everybody is who they say they are.
    let user = if server.state.access.is_open() { user } else { admitted.principal.name.clone() };
    output.put(&PgWireBackendMessage::Authentication(Authentication::Ok))?;
    for (name, value) in settings.reported() {
        let status = ParameterStatus::new(name.to_owned(), value.to_owned());
        output.put(&PgWireBackendMessage::ParameterStatus(status))?;
    }
    Ok((user, admitted, settings, place))
}

async fn read_password(input: &mut Input) -> Result<String, Refusal> {
    let Some((kind, length)) = frames::read_head(input, PASSWORD_BYTES_MAX).await? else {
        return Err(Refusal::Ended);
    };
    let body = frames::read_body(input, length).await?;
    match frames::parse(kind, &body)? {
        Frame::Password(password) => Ok(password),
        _ => Err(Failure::new(PROTOCOL_VIOLATION, "expected a password").into()),
    }
}

/// The user, and what the first message sets.
fn settings_of(parameters: &[(String, String)]) -> Result<(String, Settings), Failure> {
    let value = |wanted: &str| {
        parameters
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value)
            .filter(|value| !value.is_empty())
    };
    let user = value("user")
        .ok_or_else(|| Failure::new("28000", "no PostgreSQL user name specified in startup packet"))?;
    let database = value("database").unwrap_or(user);
    // `postgres` is where tools look first, and the user's name is what `psql` takes when none is given.
    if ![CATALOG, "postgres", user.as_str()].contains(&database.as_str()) {
        let message = format!("database \"{database}\" does not exist");
        return Err(Failure::new("3D000", message).with_hint(format!("The only one is \"{CATALOG}\".")));
    }
    let mut settings = Settings::of(user);
    for (name, value) in parameters {
        match name.as_str() {
            "user" | "database" => {}
            "replication" if !matches!(value.as_str(), "off" | "false" | "no" | "0") => {
                return Err(Failure::new(NOT_SUPPORTED, "replication is not supported"));
            }
            "replication" => {}
            "options" => {
                for (name, value) in options(value) {
                    settings.set(&name.to_lowercase(), Some(value))?;
                }
            }
            name if name.starts_with("_pq_.") => {}
            name => {
                settings.set(&name.to_lowercase(), Some(value))?;
            }
        }
    }
    Ok((user.clone(), settings))
}

/// `-c name=value` and `--name=value`.
fn options(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let words = text
        .split_whitespace()
        .map(|word| word.strip_prefix("--").or(word.strip_prefix("-c")).unwrap_or(word));
    words.filter_map(|word| word.split_once('='))
}

/// Reads ahead while the session works.
async fn run(
    server: Arc<Server>,
    input: Input,
    mut output: Output,
    from: IpAddr,
    who: (String, Admitted, Settings),
) {
    let application_name = who.2.get("application_name").unwrap_or_default().to_owned();
    let cancel = server.cancels.register(&who.0, from, application_name);
    let (process, secret) = (cancel.process.cast_signed(), SecretKey::I32(cancel.secret.cast_signed()));
    let ready = ReadyForQuery::new(TransactionStatus::Idle);
    let told = output
        .put(&PgWireBackendMessage::BackendKeyData(BackendKeyData::new(process, secret)))
        .and_then(|()| output.put(&PgWireBackendMessage::ReadyForQuery(ready)));
    if told.is_err() || output.flush().await.is_err() {
        return;
    }
    let (gone, bytes_max) = (CancellationToken::new(), server.limits().message_bytes_max);
    let (sender, frames) = mpsc::unbounded_channel();
    let reading = tokio::spawn(read(input, sender, bytes_max, gone.clone()));
    Session::new(server, output, frames, (gone, cancel), who).serve().await;
    reading.abort();
}

/// Hands frames to the session, and says when the client is gone, also while the session works.
async fn read(
    mut input: Input,
    sender: mpsc::UnboundedSender<Incoming>,
    bytes_max: usize,
    gone: CancellationToken,
) {
    // One message is worked on while the next one is read.
    let ahead = Arc::new(Semaphore::new(2 * bytes_max + FRAME_BYTES_MIN));
    let error = loop {
        let (kind, length) = match frames::read_head(&mut input, bytes_max).await {
            Ok(Some(head)) => head,
            Ok(None) | Err(FrameError::Io(_)) => break None,
            Err(error) => break Some(error),
        };
        let bytes = u32::try_from(length.max(FRAME_BYTES_MIN)).unwrap_or(u32::MAX);
        let Ok(share) = Arc::clone(&ahead).acquire_many_owned(bytes).await else { break None };
        let Ok(body) = frames::read_body(&mut input, length).await else { break None };
        let frame = frames::parse(kind, &body);
        if sender.send(Incoming { frame, is_extended: kind != b'Q', _share: Some(share) }).is_err() {
            return;
        }
    };
    match error {
        None => gone.cancel(),
        // The session has an answer to that.
        Some(error) => {
            if sender.send(Incoming { frame: Err(error), is_extended: false, _share: None }).is_ok() {
                sender.closed().await;
            }
        }
    }
}
