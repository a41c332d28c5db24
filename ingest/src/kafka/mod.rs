//! Kafka as this engine uses it: partitions read by explicit offset, never through a consumer group.
//!
//! [`stream`] fetches, [`topic`] asks the broker about topics and offsets, [`config`] turns a spec into librdkafka
//! properties. `native` is the only place with `unsafe`: it calls librdkafka's per-partition consumer and its batch
//! fetch, which the safe wrapper does not offer.

pub mod config;
mod native;
pub mod stream;
pub mod topic;
