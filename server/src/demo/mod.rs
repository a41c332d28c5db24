//! What `headwater demo` runs beside the engine: a Kafka broker in the process and a stream of events.

pub mod broker;
