//! The `headwater` process: configuration, the composition of its parts, the page, and the demo.
//!
//! [`node::Node`] opens a store, consumes its tables through `headwater_ingest` and answers queries through
//! `headwater_broker`; this crate is the only one that sees both.

mod admin;
pub mod allocator;
pub mod cluster;
pub mod config;
pub mod demo;
pub mod demo_run;
mod gauges;
mod listener;
pub mod node;
mod node_tables;
pub mod page;
mod residents;
pub mod store;
pub mod telemetry;
mod warming;
