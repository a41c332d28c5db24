//! Metrics that are read when somebody asks for `/metrics`: of tables, of the cluster, of the engine and of the process.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use headwater_broker::cluster::Cluster;
use headwater_broker::engine::QueryEngine;
use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::{LiveTable, PartitionStage};
use headwater_segment::machine;

/// When the process started, in seconds since the epoch: when this was first looked at, which is at its start.
static STARTED_AT: LazyLock<f64> = LazyLock::new(|| chrono::Utc::now().timestamp_millis() as f64 / 1000.0);

/// Notes that the process has started.
pub(crate) fn process_started() {
    LazyLock::force(&STARTED_AT);
    metrics::gauge!("headwater_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// What belongs to no table.
pub(crate) fn record_node(engine: &QueryEngine, budget: &MemoryBudget, cluster: Option<&dyn Cluster>) {
    metrics::gauge!("headwater_process_start_time_seconds").set(*STARTED_AT);
    if let Some(bytes) = machine::process_memory_bytes() {
        metrics::gauge!("headwater_process_memory_bytes").set(bytes as f64);
    }
    metrics::gauge!("headwater_ingest_memory_bytes").set(budget.used() as f64);
    metrics::gauge!("headwater_ingest_memory_limit_bytes").set(budget.limit() as f64);
    metrics::gauge!("headwater_queries_queued").set(engine.queued() as f64);
    metrics::gauge!("headwater_fragments_running").set(engine.hosted() as f64);
    let mut members: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    // A role and a state that nobody has any more is to be 0, not what it was.
    for role in ["broker", "data", "all"] {
        for state in ["joining", "serving", "leaving"] {
            members.insert((role, state), 0);
        }
    }
    for member in cluster.map(Cluster::members).unwrap_or_default() {
        *members.entry((member.role, member.state)).or_default() += 1;
    }
    for ((role, state), count) in members.into_iter().filter(|_| cluster.is_some()) {
        metrics::gauge!("headwater_cluster_members", "role" => role, "state" => state).set(f64::from(count));
    }
}

/// Sets every gauge of one table.
pub(crate) fn record(table: &LiveTable) {
    let name = table.name().to_string();
    let snapshot = table.snapshot();
    let bytes = snapshot.segments.size_bytes();
    metrics::gauge!("headwater_segments", "table" => name.clone()).set(snapshot.segments.len() as f64);
    metrics::gauge!("headwater_segments_bytes", "table" => name.clone()).set(bytes as f64);
    for progress in table.progress() {
        let labels = [("table", name.clone()), ("partition", progress.partition.to_string())];
        let set = |gauge: &'static str, value: Option<f64>| {
            if let Some(value) = value {
                metrics::gauge!(gauge, &labels).set(value);
            }
        };
        set("headwater_partition_committed_offset", progress.committed.map(|offset| offset as f64));
        set("headwater_partition_visible_offset", progress.visible.map(|offset| offset as f64));
        // What is not known, or is late elsewhere or nowhere, is no number: a gauge would otherwise keep its last value, and 0
        // here would hide from a `min` over the nodes what another one says.
        set("headwater_partition_lag", Some(progress.lag.map_or(f64::NAN, |lag| lag as f64)));
        let age = progress.freshness_ms.map_or(f64::NAN, |age| age as f64 / 1000.0);
        set("headwater_partition_freshness_seconds", Some(age));
        set("headwater_partition_rows_per_second", Some(progress.rows_per_second));
        metrics::counter!("headwater_ingest_rows_total", &labels).absolute(progress.rows);
        metrics::counter!("headwater_ingest_dead_letters_total", &labels).absolute(progress.dead_letters);
        metrics::counter!("headwater_ingest_tombstones_total", &labels).absolute(progress.tombstones);
        let failed = progress.stage == PartitionStage::Failed;
        set("headwater_partition_failed", Some(f64::from(u8::from(failed))));
    }
}
