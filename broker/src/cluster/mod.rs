//! One query on several nodes: what of it goes over the wire, and which node reads what.

pub(crate) mod assignment;
pub(crate) mod codec;
mod node_id;
pub mod placement;

pub use node_id::{NodeId, NodeIdError};

/// What the nodes of a cluster say to each other, as a number: raised with every change that an older node would
/// misread, in plan fragments, node requests and the keys of the gossip alike.
pub const WIRE_VERSION: u32 = 1;
