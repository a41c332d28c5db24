//! The cluster: who is a member, and what belongs on whom.
//!
//! ```text
//! [cluster] ──► settings ──► membership (gossip) ──► Members ──► Placement ──► ownership
//!                            addresses, state, facts   a snapshot  owners of a key   what is consumed here
//! ```
//!
//! [`keeper`] brings in what other nodes do to tables, [`ownership`] says what of them this node consumes, and [`peers`] is
//! what nodes ask each other about tables.
//!
//! [`membership`] keeps an eye on the other nodes and hands out snapshots; [`placement`] says, as a pure function of
//! such a snapshot, which nodes own a partition, a sealed segment or a background job.
//!
//! **Architecture Invariant:** nothing here decides what is true. Two nodes with different snapshots may both believe
//! that they own a partition: that costs work, never an answer, because the table log fences commits and a node refuses
//! what it does not have. So there is no leader, no lease and no stored assignment.

mod error;
pub(crate) mod joined;
mod keeper;
mod members_view;
pub mod membership;
mod node_tls;
pub(crate) mod ownership;
pub(crate) mod peers;
mod settings;

pub use error::ClusterError;
pub use headwater_broker::cluster::{NodeId, placement};
pub use members_view::MembersView;
use settings::gossip_settings;
pub use settings::secret_fault;

pub use headwater_broker::cluster::WIRE_VERSION;

/// This build, as other nodes see it.
pub const BUILD_VERSION: &str = env!("CARGO_PKG_VERSION");
