//! What can be wrong with a node's place in a cluster.

use std::net::SocketAddr;

use headwater_broker::cluster::NodeIdError;

use crate::listener::tls::TlsError;

/// Why a node cannot take part, or cannot say what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No usable identity.
    #[error(transparent)]
    NodeId(#[from] NodeIdError),
    /// The shared secret.
    #[error("cluster.secret: {0}")]
    Secret(String),
    /// The address under which others are to reach this node.
    #[error("{setting}: {reason}")]
    Advertise {
        /// The setting's dotted path.
        setting: &'static str,
        /// What is wrong, and what to write.
        reason: String,
    },
    /// The gossip cannot listen.
    #[error("gossip on {address}/UDP: {reason}")]
    Listen {
        /// Address.
        address: SocketAddr,
        /// The system's error.
        reason: String,
    },
    /// TLS between nodes.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Other nodes cannot be listened to, or asked.
    #[error("cluster.listen on {address}: {reason}")]
    ListenNodes {
        /// Address.
        address: SocketAddr,
        /// The system's error.
        reason: String,
    },
    /// A fact that is too large to be gossiped.
    #[error("gossip: {key}: {reason}")]
    Fact {
        /// The fact's key, cut if it is long.
        key: String,
        /// Which limit it passes.
        reason: String,
    },
}
