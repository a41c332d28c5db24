//! A node's way to its S3 server: one request after the other meets the fate that the [`Sky`] draws for it.
//!
//! Requests are passed on as they are, signature and `Host` included, so what S3 promises stays S3's promise: a proxy
//! creates nothing and repeats nothing. What is added is doubt: after [`Fate::LostAfter`] and [`Fate::DeniedAfter`] a
//! writer cannot know whether it has created an object.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::gate::{Gate, Way};
use super::weather::{Fate, Sky};
use crate::chaos::error::{ChaosError, Result};

const BUSY: &[u8] =
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
const BROKEN: &[u8] =
    b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>";

/// Listens until it is dropped.
pub(crate) struct StoreProxy(JoinHandle<()>);

/// What all requests of a node have in common.
#[derive(Clone)]
struct Passage {
    endpoint: Arc<str>,
    http: reqwest::Client,
    sky: Arc<Sky>,
    gate: Gate,
}

impl StoreProxy {
    /// Requests to `listen` go on to `endpoint`, such as `http://127.0.0.1:9000`.
    pub(crate) fn start(listen: SocketAddr, endpoint: &str, sky: Arc<Sky>, gate: Gate) -> Result<Self> {
        let failed = || ChaosError::at(format!("listen on {listen} for requests to {endpoint}"));
        let listener = std::net::TcpListener::bind(listen).map_err(failed())?;
        listener.set_nonblocking(true).map_err(failed())?;
        let listener = TcpListener::from_std(listener).map_err(failed())?;
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let http = http.build().map_err(ChaosError::at("build an HTTP client"))?;
        let passage = Passage { endpoint: endpoint.trim_end_matches('/').into(), http, sky, gate };
        Ok(Self(tokio::spawn(async move {
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(serve(client, passage.clone()));
                }
            }
        })))
    }
}

impl Drop for StoreProxy {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn serve(client: TcpStream, passage: Passage) {
    let service = service_fn(|request| passage.pass(request));
    // An error is a connection that ended, by ours or by the client's will.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(client), service).await;
}

impl Passage {
    /// An error ends the connection without an answer.
    async fn pass(&self, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        self.gate.pass(Way::In).await;
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let (wait, fate) = self.sky.draw();
        tokio::time::sleep(wait).await;
        let lost = || io::Error::from(io::ErrorKind::ConnectionReset);
        match fate {
            Fate::Refused => return answer(StatusCode::SERVICE_UNAVAILABLE, BUSY),
            Fate::LostBefore => return Err(lost()),
            Fate::Hangs => {
                self.sky.cleared().await;
                return Err(lost());
            }
            Fate::Pass | Fate::LostAfter | Fate::DeniedAfter => {}
        }
        let carried_out = self.carry_out(Request::from_parts(parts, body)).await.map_err(io::Error::other)?;
        self.gate.pass(Way::Out).await;
        match fate {
            Fate::LostAfter => Err(lost()),
            Fate::DeniedAfter => answer(StatusCode::INTERNAL_SERVER_ERROR, BROKEN),
            _ => Ok(carried_out),
        }
    }

    async fn carry_out(&self, request: Request<Bytes>) -> reqwest::Result<Response<Full<Bytes>>> {
        let (mut parts, body) = request.into_parts();
        // The body is whole by now; its length says so.
        parts.headers.remove(TRANSFER_ENCODING);
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = format!("{}{path}", self.endpoint);
        let answered = self.http.request(parts.method, url).headers(parts.headers).body(body).send().await?;
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = answered.status();
        *answer.headers_mut() = answered.headers().clone();
        // Those are the connection's own.
        answer.headers_mut().remove(TRANSFER_ENCODING);
        answer.headers_mut().remove(CONNECTION);
        *answer.body_mut() = Full::new(answered.bytes().await?);
        Ok(answer)
    }
}

fn answer(status: StatusCode, body: &'static [u8]) -> io::Result<Response<Full<Bytes>>> {
    Response::builder().status(status).body(Full::new(Bytes::from_static(body))).map_err(io::Error::other)
}
