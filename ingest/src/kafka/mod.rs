//! Kafka as this engine uses it: partitions read by explicit offset, never through a consumer group.
//!
//! [`stream`] fetches, [`topic`] asks the broker about topics and offsets, [`config`] turns a spec into librdkafka
//! properties. `native` calls librdkafka's per-partition consumer and its batch
//! fetch, which the safe wrapper does not offer, and `leaderless` keeps a fault of it from harm: the only places with `unsafe`.

pub mod config;
#[cfg(target_os = "linux")]
mod leaderless;
mod native;
pub mod stream;
pub mod topic;
