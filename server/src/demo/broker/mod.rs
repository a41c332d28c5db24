//! A small Kafka broker inside the process: one node, for the demo and for tests.
//!
//! It speaks enough of the protocol for librdkafka's producers (idempotent ones too) and for consumers that
//! assign partitions themselves: ApiVersions, Metadata with topic ids, Produce, Fetch with long polling,
//! ListOffsets, InitProducerId. Deliberately absent: consumer groups, transactions, authentication, TLS,
//! replication, topic creation by clients. A write is safe from the end of the process, not from a power
//! cut: nothing is fsynced.
//!
//! ```text
//! connection -> requests (bytes in) -> answers / fetch -> topics -> partition -> block -> batch
//! ```

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

mod answers;
mod batch;
mod block;
mod connection;
mod fetch;
mod partition;
mod producers;
mod requests;
#[cfg(test)]
mod tests;
mod topics;

use topics::Topics;

/// Further connections wait until one closes.
const CONNECTIONS_MAX: usize = 256;
/// After a failed accept (no file descriptors, say) the listener rests this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A topic to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// Name, by Kafka's rules.
    pub name: String,
    /// Number of partitions, 1 to 1024. A topic that has more already keeps them.
    pub partitions: i32,
    /// The newest batches of each partition are kept up to this many bytes, and up to an eighth more.
    pub retention_bytes: u64,
}

/// What every connection shares.
#[derive(Debug)]
struct Shared {
    topics: Topics,
    next_producer_id: AtomicI64,
}

/// A running broker. It stops when dropped; [`shutdown`](Self::shutdown) also waits for its connections.
#[derive(Debug)]
pub struct EmbeddedBroker {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    acceptor: Option<JoinHandle<()>>,
}

impl EmbeddedBroker {
    /// Listens on `listen` (port 0: any free one) and serves `topics`, with their records in files under `dir`
    /// (those that are there are served again), or in memory.
    ///
    /// # Errors
    /// If the address or the directory cannot be used, or a topic's name or partition count is not allowed.
    pub async fn start(
        listen: SocketAddr,
        dir: Option<PathBuf>,
        topics: Vec<TopicConfig>,
    ) -> io::Result<Self> {
        let opened = tokio::task::spawn_blocking(move || Topics::open(dir, &topics));
        let topics = opened.await.map_err(io::Error::other)??;
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        // Ids of an earlier run are in the stored batches: the clock keeps the new ones apart from them.
        let micros = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_micros());
        let next_producer_id = AtomicI64::new(i64::try_from(micros).unwrap_or(0));
        let shared = Arc::new(Shared { topics, next_producer_id });
        let stop = CancellationToken::new();
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&shared), stop.clone()));
        Ok(Self { address, shared, stop, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener and every connection. Records in files stay for the next start.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Some(acceptor) = self.acceptor.take()
            && let Err(error) = acceptor.await
        {
            tracing::error!(%error, "the embedded broker's listener failed");
        }
    }

    /// Adds a topic to the running broker.
    ///
    /// # Errors
    /// If it exists, or its name or partition count is not allowed.
    pub fn create_topic(&self, config: &TopicConfig) -> io::Result<()> {
        self.shared.topics.create(config)
    }

    /// Grows a topic to `total` partitions.
    ///
    /// # Errors
    /// If there is no such topic, or it has more.
    pub fn add_partitions(&self, topic: &str, total: i32) -> io::Result<()> {
        self.shared.topics.add_partitions(topic, total)
    }

    /// Drops the records of a partition before `offset`, as retention would: the log start moves there.
    ///
    /// # Errors
    /// If there is no such partition, or its files cannot be changed.
    pub fn truncate_before(&self, topic: &str, partition: i32, offset: i64) -> io::Result<()> {
        let found = self.shared.topics.partition(topic, partition).ok_or_else(|| topics::unknown(topic))?;
        found.truncate_before(offset)
    }

    /// Deletes a topic and creates it again, empty, with a new topic id.
    ///
    /// # Errors
    /// If there is no such topic, or its files cannot be changed.
    pub fn recreate_topic(&self, topic: &str) -> io::Result<()> {
        self.shared.topics.recreate(topic)
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            next = next => next,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    let _place = place;
                    if let Err(error) = connection::serve(&shared, stream).await {
                        tracing::warn!(%peer, %error, "the embedded broker closed a connection");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the embedded broker could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.shutdown().await;
}
