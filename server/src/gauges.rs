//! Gauges of `/metrics` that are read from a table when somebody asks.

use headwater_segment::live::{LiveTable, PartitionStage};

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
        // What is consumed elsewhere is late there or nowhere: a gauge would otherwise keep its last value.
        let elsewhere = (progress.stage == PartitionStage::Elsewhere).then_some(0.0);
        set("headwater_partition_lag", progress.lag.map(|lag| lag as f64).or(elsewhere));
        let age = progress.freshness_ms.map(|age| age as f64 / 1000.0);
        set("headwater_partition_freshness_seconds", age.or(elsewhere));
        set("headwater_partition_rows_per_second", Some(progress.rows_per_second));
        set("headwater_partition_rows", Some(progress.rows as f64));
        set("headwater_partition_dead_letters", Some(progress.dead_letters as f64));
        set("headwater_partition_tombstones", Some(progress.tombstones as f64));
        let failed = progress.stage == PartitionStage::Failed;
        set("headwater_partition_failed", Some(f64::from(u8::from(failed))));
    }
}
