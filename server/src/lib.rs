//! The `headwater` process: configuration, the composition of its parts, the console, and the demo.
//!
//! [`node::Node`] opens a store, consumes its tables through `headwater_ingest` and answers queries through
//! `headwater_broker`; this crate is the only one that sees both.

pub mod access;
mod admin;
pub mod allocator;
pub mod cluster;
pub mod config;
mod console;
mod dashboards;
pub mod demo;
pub mod demo_run;
mod entrance;
mod gauges;
pub mod listener;
mod metrics_list;
pub mod node;
mod node_tables;
mod open_files;
mod reload;
mod residents;
pub mod store;
mod store_metrics;
pub mod telemetry;
mod warming;
mod wizard;
