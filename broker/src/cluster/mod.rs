//! One query on several nodes: who is there, what each has, what goes over the wire, and what comes back.
//!
//! ```text
//! broker                                                          data nodes
//!   cut:  "how far are you, from committed(V) on?"  ── offers ──►  live tables
//!         ◄── per partition: offset, rows ──                       (memory, no store)
//!   plan (kept), distribute: leaf → assignments ── fragments ──►   decode, check overflow, fuse, run
//!                                                                 exchange rows with each other, where there are many
//!         ◄── batches of partial aggregates, groups, top-k, rows ──
//!   merge
//! ```
//!
//! | module | what |
//! |---|---|
//! | `view`, `placement` | the nodes at one moment, and which owns what |
//! | `cut`, `nodes`, `messages` | the cut across nodes |
//! | `assignment`, `codec` | what one node reads, and plans as bytes |
//! | `load`, `pace`, `waits` | which nodes are busy, when a query is late, and whom it waits for |
//! | `run` | what a node is told of the query, besides its plan |
//! | `distribute`, `reach`, `learned`, `subqueries` | a plan on several nodes, what may go there, what is worth it, and what runs before |
//! | `direct`, `channel`, `address`, `access`, `attempt` | the ways there, and what is heard from there |
//! | `service`, `hosted`, `spawned`, `edge` | the other side |
//! | `gather`, `explain` | system tables of all nodes, and what each reads for a query |
//! | `queries` | queries of other brokers, found and ended from here, and how far data nodes are with those of this one |
//! | `node_error` | errors with the node's name |
//!
//! **Invariants.** Views, placement and addresses are hints: a wrong one costs time, never an answer. A query reads one cut
//! per table, on however many nodes; a node reads exactly what it was assigned or fails; a query that fails because of a node
//! is run again, at a cut that is not lower, as long as none of its rows have left.

mod access;
pub(crate) mod address;
pub(crate) mod assignment;
pub(crate) mod attempt;
pub(crate) mod channel;
pub(crate) mod codec;
pub(crate) mod cut;
pub(crate) mod direct;
pub(crate) mod distribute;
pub(crate) mod edge;
pub(crate) mod explain;
pub(crate) mod gather;
pub(crate) mod hosted;
pub(crate) mod learned;
pub(crate) mod load;
mod messages;
pub(crate) mod node_error;
mod node_id;
pub(crate) mod nodes;
pub(crate) mod pace;
pub mod placement;
pub(crate) mod queries;
mod reach;
pub(crate) mod run;
mod seen;
pub(crate) mod service;
mod spawned;
pub(crate) mod subqueries;
mod view;
pub(crate) mod waits;

pub use access::{ClusterAccess, SharedSecret};
pub use node_id::{NodeId, NodeIdError, machine_name};
pub use view::{Cluster, ClusterView, DataNode, MemberRow, node_url};

/// What the nodes of a cluster say to each other, as a number: raised with every change that an older node would
/// misread, in plan fragments, node requests and the keys of the gossip alike.
pub const WIRE_VERSION: u32 = 3;
