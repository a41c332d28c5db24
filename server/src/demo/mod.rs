//! What `headwater demo` runs beside the engine: a Kafka broker in the process, a stream of events for it,
//! and the spec of the table that they fill.

pub mod broker;
mod cities;
pub mod generator;
pub mod producer;
pub mod spec;
