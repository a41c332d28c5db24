//! `[flight]`: Arrow Flight SQL. Off unless it is told where to listen.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The listener of Arrow Flight SQL.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlightConfig {
    /// Address and port, such as `127.0.0.1:8098`. Empty: none. Beyond loopback it needs users or
    /// tokens, and TLS.
    #[serde(with = "super::cluster::empty_is_none")]
    pub listen: Option<SocketAddr>,
    /// Something before it ends TLS, so passwords and tokens may come in clear.
    pub plaintext_public: bool,
}
