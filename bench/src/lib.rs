//! Side-by-side benchmarks, and what they share: events, data sets, engines, a node under test, a Kafka topic, the report.
//!
//! Everything runs against real processes: `headwater start` as a child, Kafka over the network. A benchmark cleans up
//! after itself: children are killed and directories removed when their handles are dropped.
//!
//! ```text
//! headwater-bench freshness --kafka 127.0.0.1:19092 --binary target/release/headwater
//! headwater-bench ingest    --kafka 127.0.0.1:19092 --binary target/release/headwater
//! headwater-bench ssb --scale 10
//! headwater-bench hits --rows 10000000
//! headwater-bench limit --scale 10
//! headwater-bench dashboard --binary target/release/headwater
//! headwater-bench live --kafka 127.0.0.1:19092 --binary target/release/headwater
//! headwater-bench viewers --kafka 127.0.0.1:19092 --binary target/release/headwater
//! headwater-bench log --store s3://headwater/bench
//! headwater-bench planning
//! headwater-bench cancel
//! cargo bench -p headwater-bench
//! ```

pub mod cancel;
pub mod contest;
pub mod dashboard;
pub mod data;
pub mod engines;
pub mod events;
pub mod freshness;
pub mod hits;
pub mod ingest;
pub mod limit;
pub mod live;
pub mod log;
pub mod node;
mod placement;
pub mod planning;
pub mod process;
pub mod report;
pub mod ssb;
pub mod topic;
pub mod viewers;

/// A benchmark either runs or says why not; nobody handles its errors by kind.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
