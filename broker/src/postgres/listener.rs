//! Accepts connections, as many as there is room for, until told to stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{PostgresState, Server, connection};

/// Connections beyond those of sessions: to say that there are too many, and to cancel queries even then.
const OPENINGS_BESIDE: usize = 32;
/// After an error of accepting, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves clients until `stop`; sessions that are idle then end at once, the others after the message that they work on.
pub fn serve(listener: TcpListener, state: PostgresState, stop: CancellationToken) -> JoinHandle<()> {
    let openings = Arc::new(Semaphore::new(state.limits.connections_max + OPENINGS_BESIDE));
    let server = Arc::new(Server::new(state, stop.clone()));
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a Postgres client could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Beyond that it is closed without a word.
            let Ok(place) = Arc::clone(&openings).try_acquire_owned() else { continue };
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(%error, "a connection stays with delayed writes");
            }
            let server = Arc::clone(&server);
            connections.spawn(async move {
                let _place = place;
                connection::serve(server, Box::new(socket), peer.ip()).await;
            });
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    })
}
