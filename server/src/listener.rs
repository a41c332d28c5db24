//! Listeners that serve until they are told to stop: with bounds on what a client may do to a [connection], and with
//! [TLS](tls).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use self::connection::{Caller, FIRST_REQUEST_WAIT};

mod connection;
#[cfg(test)]
mod fuzz;
pub mod tls;

/// Connections of other nodes at once: of a hundred brokers some for each.
const NODE_CONNECTIONS_MAX: usize = 4096;
/// How long a listener that cannot accept waits before it tries again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What stands before a router that is for clients.
pub(crate) struct Front {
    /// TLS, if clients speak it.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// Connections at once; further ones wait until one ends.
    pub(crate) connections_max: usize,
}

/// Serves `router` to clients until `stop`; requests that run by then finish.
pub(crate) fn serve(
    listener: TcpListener,
    front: Front,
    router: Router,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(accept_all(listener, front, Caller::Client, router, stop))
}

/// Serves `router` to other nodes until `stop`; requests that run by then finish. The connection of a node that has vanished
/// without a word is closed, which ends what runs here for it.
pub(crate) fn serve_nodes(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    stop: CancellationToken,
) -> JoinHandle<()> {
    let front = Front { tls, connections_max: NODE_CONNECTIONS_MAX };
    tokio::spawn(accept_all(listener, front, Caller::Node, router, stop))
}

async fn accept_all(
    listener: TcpListener,
    front: Front,
    caller: Caller,
    router: Router,
    stop: CancellationToken,
) {
    let tls = front.tls.map(TlsAcceptor::from);
    let places = Arc::new(Semaphore::new(front.connections_max.max(1)));
    let mut connections = JoinSet::new();
    loop {
        let (connection, peer, place) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        at_once(&connection);
        let (tls, router, stop) = (tls.clone(), router.clone(), stop.clone());
        connections.spawn(async move {
            let _place = place;
            let Some(tls) = tls else {
                return connection::serve(connection, peer, caller, router, stop).await;
            };
            match tokio::time::timeout(FIRST_REQUEST_WAIT, tls.accept(connection)).await {
                Ok(Ok(connection)) => connection::serve(connection, peer, caller, router, stop).await,
                Ok(Err(error)) => tracing::debug!(%error, %peer, ?caller, "no TLS came about"),
                Err(_) => tracing::debug!(%peer, ?caller, "TLS did not come about in time"),
            }
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The next connection that there is a place for.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((connection, peer)) => return (connection, peer, place),
            Err(error) => {
                // Such as that the process has no file handle left.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// An answer is written in several pieces; held back until the other side acknowledges, each would cost 40 ms.
fn at_once(connection: &TcpStream) {
    if let Err(error) = connection.set_nodelay(true) {
        tracing::debug!(%error, "a connection stays with delayed writes");
    }
}
