//! The Postgres wire protocol, version 3.0: `psql`, drivers and BI tools connect as to a PostgreSQL server that only reads.
//!
//! ```text
//! listener ─▶ connection: TLS, password ─▶ session: one message after the other ─▶ statements: which kind is it?
//!                │ reads ahead, and notices                                           ├─ command: answered from the session
//!                ▼ at once that the client is gone                                    ├─ catalog: planned by `catalog`
//!             frames                                                                  └─ query: the engine, text unchanged
//!                                     outgoing ◀── values: rows in text or binary ◀── portals: answers, as far as fetched
//! ```
//!
//! `pgwire` has the messages to the client, `arrow-pg` and `datafusion-pg-catalog` the catalog. The loop, the frames from the client
//! and the values are ours: a client that goes away ends its query at once, every length is checked before it is believed, and
//! a value is written exactly or not at all ([`values`]).
//!
//! **Invariants:** every query goes through the engine, with its admission, deadline, budget and cut; an answer of any size
//! passes in the memory of a few batches, also when it is fetched in pieces; no bytes from a client make the process panic.
//! What is *not* here: COPY from a client, LISTEN, statements that write, and transactions: `BEGIN` is understood, and every statement
//! still reads its own cut.

mod arguments;
mod calendar;
mod cancel;
mod catalog;
mod connection;
mod copy;
mod errors;
mod frames;
mod listener;
mod numeric;
mod outgoing;
mod portal;
mod session;
mod settings;
mod statements;
mod texts;
mod types;
mod values;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::cancel::Cancels;
use self::catalog::SharedCatalog;
use crate::access::AccessControl;
use crate::engine::QueryEngine;

pub use self::listener::serve;
/// The engine knows the type that a place wants, and what a text means as a value of it is known here.
pub(crate) use self::texts::{array_items, read_untyped};
pub(crate) use self::types::type_name;
pub(crate) use self::values::texts_of;

/// Bounds on what a client may hold and how slow it may be.
#[derive(Clone, Debug, Serialize)]
pub struct PostgresLimits {
    /// Connections at once. Default 200.
    pub connections_max: usize,
    /// Bytes of one message. Default 8 MiB. What a client sends ahead is bounded by twice that.
    pub message_bytes_max: usize,
    /// Prepared statements of one connection. Default 1,000; their texts and types together: twice `message_bytes_max`.
    pub statements_max: usize,
    /// Portals and cursors of one connection. Default 100; their statements and values together: four times
    /// `message_bytes_max`.
    pub portals_max: usize,
    /// Time to get in: TLS, the first message, the password. Default 10 s.
    pub startup_ms_max: u64,
    /// So long a connection may send nothing. Default 1 h.
    pub idle_ms_max: u64,
    /// So long a client may leave an answer unread before its connection is closed. Default 60 s.
    pub stall_ms_max: u64,
}

impl Default for PostgresLimits {
    fn default() -> Self {
        Self {
            connections_max: 200,
            message_bytes_max: 8 << 20,
            statements_max: 1000,
            portals_max: 100,
            startup_ms_max: 10_000,
            idle_ms_max: 3_600_000,
            stall_ms_max: 60_000,
        }
    }
}

/// What the listener works with.
pub struct PostgresState {
    /// Runs queries.
    pub engine: QueryEngine,
    /// Decides who is let in.
    pub access: Arc<dyn AccessControl>,
    /// For clients that ask for TLS; `None`: they are told that there is none.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Bounds.
    pub limits: PostgresLimits,
}

/// What all connections share.
struct Server {
    state: PostgresState,
    cancels: Arc<Cancels>,
    catalog: Arc<SharedCatalog>,
    /// Places of sessions.
    sessions: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Server {
    fn new(state: PostgresState, stop: CancellationToken) -> Self {
        let sessions = Arc::new(Semaphore::new(state.limits.connections_max));
        Self { state, cancels: Arc::default(), catalog: Arc::default(), sessions, stop }
    }

    fn limits(&self) -> &PostgresLimits {
        &self.state.limits
    }

    fn stall(&self) -> Duration {
        Duration::from_millis(self.limits().stall_ms_max)
    }
}

#[cfg(test)]
mod tests;
