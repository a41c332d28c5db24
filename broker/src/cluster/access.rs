//! How a node reaches the others: one HTTP client, one gRPC channel per node, the secret that all requests carry, and TLS.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Uri};
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use reqwest::header::AUTHORIZATION;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;
use url::Url;

/// A host that does not take a connection within this time counts as gone.
const CONNECT_WAIT: Duration = Duration::from_millis(500);
/// A connection on which nothing comes is asked so often whether it is there.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(1);
/// A connection that does not answer that within this time is closed.
const KEEP_ALIVE_WAIT: Duration = Duration::from_secs(2);
/// Bytes that one fragment may have sent which nobody has read yet.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// The same for all fragments of a connection, which HTTP/2 bounds as well: as much as it can say, so that answers whose clients
/// stopped reading do not hold up the others.
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;
/// Requests to a node that take longer than this fail, whatever they are.
const REQUEST_WAIT: Duration = Duration::from_secs(60);

/// What all nodes of a cluster share and nobody else knows. Not shown by `Debug`.
#[derive(Clone)]
pub struct SharedSecret(HeaderValue);

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret")
    }
}

impl SharedSecret {
    /// From the digest of the secret, so that the secret itself is never sent.
    pub fn new(secret: &[u8]) -> Self {
        use sha2::{Digest, Sha256};
        let mut hasher = Sha256::new();
        hasher.update(b"headwater node requests");
        hasher.update((secret.len() as u64).to_le_bytes());
        hasher.update(secret);
        let digest = hasher.finalize();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let value = HeaderValue::try_from(format!("Bearer {hex}"));
        let mut value = value.expect("hexadecimal digits are a header's value");
        value.set_sensitive(true);
        Self(value)
    }

    /// Whether a request carries it. Takes the same time whatever the request carries.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).map_or(&[][..], HeaderValue::as_bytes);
        let own = self.0.as_bytes();
        let differing = given.iter().zip(own).fold(0, |differing, (a, b)| differing | (a ^ b));
        given.len() == own.len() && differing == 0
    }
}

/// See the module. Clones share connections.
#[derive(Clone)]
pub struct ClusterAccess {
    http: reqwest::Client,
    secret: Option<SharedSecret>,
    tls: Option<Arc<ClientConfig>>,
    channels: Arc<Mutex<HashMap<Url, Channel>>>,
    io: Handle,
}

impl fmt::Debug for ClusterAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterAccess")
    }
}

impl ClusterAccess {
    /// Access with `secret`, on the runtime `io`.
    ///
    /// # Errors
    /// If there can be no HTTP client at all.
    pub fn new(secret: Option<SharedSecret>, io: Handle) -> Result<Self, reqwest::Error> {
        Self::over(secret, None, io)
    }

    /// As [`new`](Self::new), over TLS: `tls` says whom to trust, and what to show.
    ///
    /// # Errors
    /// If there can be no HTTP client at all.
    pub fn with_tls(
        secret: Option<SharedSecret>,
        tls: Arc<ClientConfig>,
        io: Handle,
    ) -> Result<Self, reqwest::Error> {
        Self::over(secret, Some(tls), io)
    }

    /// What its connections are made with, if that is TLS.
    pub(crate) fn tls(&self) -> Option<Arc<ClientConfig>> {
        self.tls.clone()
    }

    pub(crate) fn over(
        secret: Option<SharedSecret>,
        tls: Option<Arc<ClientConfig>>,
        io: Handle,
    ) -> Result<Self, reqwest::Error> {
        let mut http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_WAIT)
            .timeout(REQUEST_WAIT)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(64);
        if let Some(tls) = &tls {
            http = http.use_preconfigured_tls(ClientConfig::clone(tls));
        }
        Ok(Self { http: http.build()?, secret, tls, channels: Arc::default(), io })
    }

    /// The runtime that does network and store I/O.
    pub(crate) fn io(&self) -> &Handle {
        &self.io
    }

    /// What every request carries.
    pub(crate) fn headers(&self) -> HeaderMap {
        let secret = self.secret.iter().map(|secret| (AUTHORIZATION, secret.0.clone()));
        secret.collect()
    }

    /// Sends `body` to a path of the listener of the node at `node` and waits for the answer's body.
    ///
    /// # Errors
    /// If the node is not reached, or answers with another status than 200.
    pub async fn post(&self, node: &Url, path: &str, body: Bytes) -> Result<Bytes, String> {
        let failed = |error: reqwest::Error| error.without_url().to_string();
        let mut url = node.join(path).map_err(|error| error.to_string())?;
        if self.tls.is_some() && url.set_scheme("https").is_err() {
            return Err(format!("{url} cannot be asked over TLS"));
        }
        let sent = self.http.post(url).headers(self.headers()).body(body).send().await.map_err(failed)?;
        let status = sent.status();
        let bytes = sent.bytes().await.map_err(failed)?;
        match status.is_success() {
            true => Ok(bytes),
            false => Err(String::from_utf8_lossy(&bytes[..bytes.len().min(1 << 10)]).into_owned()),
        }
    }

    /// The connection for fragments; made when it is first used, and again when it broke.
    pub(super) fn channel(&self, url: &Url) -> Result<Channel, tonic::transport::Error> {
        if let Some(channel) = self.channels.lock().get(url) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(url.to_string())?
            .connect_timeout(CONNECT_WAIT)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
            .keep_alive_timeout(KEEP_ALIVE_WAIT)
            .keep_alive_while_idle(true);
        let _io = self.io.enter();
        let channel = match &self.tls {
            None => endpoint.connect_lazy(),
            Some(tls) => {
                let tls = TlsConnector::from(Arc::clone(tls));
                endpoint.connect_with_connector_lazy(service_fn(move |uri| connect(uri, tls.clone())))
            }
        };
        self.channels.lock().insert(url.clone(), channel.clone());
        Ok(channel)
    }
}

/// A connection for a channel, over TLS.
async fn connect(uri: Uri, tls: TlsConnector) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let connection = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
    connection.set_nodelay(true)?;
    Ok(TokioIo::new(tls.connect(name, connection).await?))
}
