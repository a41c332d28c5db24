//! The short way: a stage that reads no other stage is one request per task, and its rows are the answer.
//!
//! ```text
//! broker                                                    data node
//!   FetchExec ── POST /node/fragment: plan ──────────────►   decode, check overflow, fuse, run
//!             ◄── parts: schema, batches, end with counts ──
//! ```
//!
//! `datafusion-distributed` asks a task in two requests, one of which stays open until all rows are through and then brings what
//! was counted: right where stages wait for each other, and milliseconds too many where a dashboard asks for a hundred rows. So
//! stages that are read by the broker alone, and read nothing but segments, go this way. Plans, headers, admission, budgets,
//! errors and the order of rows are the same either way.
//!
//! | message | what |
//! |---|---|
//! | request | the plan in DataFusion's encoding, with our [leaf](super::codec); headers as [`run`](super::run) and the engine's fragments have them |
//! | answer | [`Part`]s, each behind its length as a varint: Flight data, and at the end either what was counted or what went wrong |
//!
//! Invariants: an answer without its last part is an error; who hangs up ends the work.

mod fetch;
mod serve;

use arrow_flight::FlightData;
use prost::Message;

pub(super) use fetch::FetchExec;
pub(crate) use serve::{Counted, Prepared, RunsFragments};
pub(super) use serve::{FRAGMENT_PATH, fragment};

/// A piece of an answer: one of its fields is there.
#[derive(Clone, PartialEq, Message)]
struct Part {
    /// The schema, a dictionary or a batch.
    #[prost(message, optional, tag = "1")]
    data: Option<FlightData>,
    /// There is no more.
    #[prost(message, optional, tag = "2")]
    end: Option<Counted>,
    /// There is no more, because of this.
    #[prost(message, optional, tag = "3")]
    failed: Option<Failure>,
}

/// What a fragment ended with, packed as [`node_error`](super::node_error) says.
#[derive(Clone, PartialEq, Message)]
struct Failure {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    message: String,
}
