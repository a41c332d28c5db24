//! A listener that serves until it is told to stop.

use std::future::Future;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Serves `router` to `whom` until `until`; requests that run by then finish.
pub(crate) fn serve(
    listener: TcpListener,
    router: Router,
    until: impl Future<Output = ()> + Send + 'static,
    whom: &'static str,
) -> JoinHandle<()> {
    // An answer is written in several pieces; held back until the other side acknowledges, each would cost 40 ms.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection stays with delayed writes");
        }
    });
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(until).await {
            tracing::error!(%error, "the listener for {whom} ended");
        }
    })
}
