//! A node's listener for other nodes, as the others see it: connections go through its gate, which may hold them.
//!
//! What is held is not lost: it arrives once the gate opens, as TCP would send it again. Connections that are opened while
//! it is closed hang. While the node does not run there is no proxy either, so that connections to it are refused.
//!
//! Connections that the node itself opens to others are told from nobody's: they go through the others' proxies. A node
//! that is cut off can so still ask others, but only on behalf of requests that came in before.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::gate::{Gate, Way};
use crate::chaos::report::line;

const BUFFER_BYTES: usize = 64 * 1024;
/// A port that was just given up is free a moment later.
const BIND_AGAIN: Duration = Duration::from_millis(20);
const BIND_ATTEMPTS: u32 = 250;

/// Listens until it is dropped; connections that are there live on.
pub(crate) struct TcpProxy(JoinHandle<()>);

impl TcpProxy {
    /// Connections to `listen` become connections to `upstream`.
    pub(crate) fn start(listen: SocketAddr, upstream: SocketAddr, gate: Gate) -> Self {
        Self(tokio::spawn(async move {
            let Some(listener) = bind(listen).await else { return };
            loop {
                match listener.accept().await {
                    Ok((client, _)) => drop(tokio::spawn(connect(client, upstream, gate.clone()))),
                    // Too many open files: those who wait are served when some are closed.
                    Err(_) => tokio::time::sleep(BIND_AGAIN).await,
                }
            }
        }))
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn bind(listen: SocketAddr) -> Option<TcpListener> {
    for _ in 0..BIND_ATTEMPTS {
        match TcpListener::bind(listen).await {
            Ok(listener) => return Some(listener),
            Err(_) => tokio::time::sleep(BIND_AGAIN).await,
        }
    }
    line(format_args!("nobody can reach {listen}: the port stays taken"));
    None
}

async fn connect(client: TcpStream, upstream: SocketAddr, gate: Gate) {
    gate.pass(Way::In).await;
    // A node that does not listen: the connection is closed, which is all that can be said by now.
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    // Small messages of a request must not wait for each other; if it cannot be set, they do.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // An error in either direction closes both: the connection was reset.
    let _ = tokio::try_join!(
        carry(from_client, to_server, &gate, Way::In),
        carry(from_server, to_client, &gate, Way::Out)
    );
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    gate: &Gate,
    way: Way,
) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let outcome = from.read(&mut buffer).await;
        // The end of a connection is news, too.
        gate.pass(way).await;
        match outcome? {
            0 => return to.shutdown().await,
            bytes => to.write_all(&buffer[..bytes]).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::gate::Isolation;
    use super::*;

    const SOON: Duration = Duration::from_secs(10);
    const HELD: Duration = Duration::from_millis(80);

    /// A server that sends back what it gets, a proxy before it, and its gate.
    async fn echo() -> (SocketAddr, Gate, TcpProxy) {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = server.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = server.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let gate = Gate::default();
        (free, gate.clone(), TcpProxy::start(free, upstream, gate))
    }

    async fn open(to: SocketAddr) -> TcpStream {
        loop {
            match TcpStream::connect(to).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    async fn answer(stream: &mut TcpStream, within: Duration) -> Option<u8> {
        tokio::time::timeout(within, stream.read_u8()).await.ok().map(Result::unwrap)
    }

    #[tokio::test]
    async fn what_is_held_arrives_later() {
        let (address, gate, _proxy) = echo().await;
        let mut stream = open(address).await;
        stream.write_u8(1).await.unwrap();
        assert_eq!(answer(&mut stream, SOON).await, Some(1));
        for isolation in [Isolation::Both, Isolation::Deaf, Isolation::Mute] {
            gate.set(isolation);
            stream.write_u8(2).await.unwrap();
            assert_eq!(answer(&mut stream, HELD).await, None, "{isolation:?}");
            gate.set(Isolation::None);
            assert_eq!(answer(&mut stream, SOON).await, Some(2), "{isolation:?}");
        }
    }

    #[tokio::test]
    async fn a_new_connection_hangs_while_the_gate_is_closed_and_is_refused_without_a_node() {
        let (address, gate, proxy) = echo().await;
        drop(open(address).await);
        gate.set(Isolation::Both);
        let mut stream = open(address).await;
        stream.write_u8(3).await.unwrap();
        assert_eq!(answer(&mut stream, HELD).await, None);
        gate.set(Isolation::None);
        assert_eq!(answer(&mut stream, SOON).await, Some(3));
        drop(proxy);
        let refused = async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, refused).await.unwrap();
    }
}
