//! Listeners that serve until they are told to stop.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::serve::{Listener, ListenerExt};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// A node that sends nothing is asked so often whether it is there.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(2);
/// A node that does not answer that within this time is gone, and with it whatever it has asked for.
const KEEP_ALIVE_WAIT: Duration = Duration::from_secs(3);

/// Serves `router` to clients until `until`; requests that run by then finish.
pub(crate) fn serve(
    listener: TcpListener,
    router: Router,
    until: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let listener = listener.tap_io(|connection| at_once(connection));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(until).await {
            tracing::error!(%error, "the listener for clients ended");
        }
    })
}

/// Serves `router` to other nodes until `stop`; requests that run by then finish. The connection of a node that has vanished
/// without a word is closed, which ends what runs here for it.
pub(crate) fn serve_nodes(
    mut listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let connection = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                // It tries again by itself.
                (connection, _) = Listener::accept(&mut listener) => connection,
            };
            at_once(&connection);
            connections.spawn(serve_node(connection, router.clone(), stop.clone()));
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    })
}

async fn serve_node(connection: TcpStream, router: Router, stop: CancellationToken) {
    let mut builder = Builder::new(TokioExecutor::new());
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new());
    http2.keep_alive_interval(KEEP_ALIVE_EVERY).keep_alive_timeout(KEEP_ALIVE_WAIT);
    let service = TowerToHyperService::new(router);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(connection), service));
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(error, "a connection of another node ended");
    }
}

/// An answer is written in several pieces; held back until the other side acknowledges, each would cost 40 ms.
fn at_once(connection: &TcpStream) {
    if let Err(error) = connection.set_nodelay(true) {
        tracing::debug!(%error, "a connection stays with delayed writes");
    }
}
