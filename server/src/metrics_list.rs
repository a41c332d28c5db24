//! Every metric of `/metrics`: its name, its kind, its labels and what it says. Names are stable: dashboards and alerts of others
//! stand on them.
//!
//! Tests hold the list, the code, `deploy/prometheus/README.md`, the alert rules and the dashboard of operation together.

use Kind::{Counter, Gauge, Histogram};

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// Name, kind, labels, meaning.
type Metric = (&'static str, Kind, &'static str, &'static str);

/// Labels have few values, whatever clients send; `table` and `partition` have as many as there are.
const METRICS: &[Metric] = &[
    // The process.
    ("headwater_build_info", Gauge, "version", "1, for the version that runs"),
    ("headwater_process_memory_bytes", Gauge, "", "Resident memory of the process"),
    ("headwater_process_start_time_seconds", Gauge, "", "When the process started, since the epoch"),
    // The doors.
    (
        "headwater_certificate_expiry_time_seconds",
        Gauge,
        "listeners",
        "When the certificate ends that listeners for clients, or for nodes, show, since the epoch",
    ),
    (
        "headwater_token_expiry_time_seconds",
        Gauge,
        "",
        "When the first API token ends, or has ended, since the epoch; 0 if none does",
    ),
    // Dashboards.
    ("headwater_dashboard_viewers", Gauge, "", "Connections that watch a dashboard"),
    ("headwater_dashboard_runners", Gauge, "", "Panels that are watched, each once for all its viewers"),
    ("headwater_dashboard_panel_runs_total", Counter, "outcome", "Runs of panels"),
    ("headwater_dashboard_panel_run_seconds", Histogram, "", "Time that they took"),
    // HTTP.
    (
        "headwater_http_requests_total",
        Counter,
        "method, route, status",
        "Requests of clients, by the route's pattern",
    ),
    ("headwater_http_request_duration_seconds", Histogram, "route", "Time to the head of the answer"),
    // Queries.
    ("headwater_queries_running", Gauge, "", "Queries of clients that run or wait here"),
    ("headwater_queries_queued", Gauge, "", "Queries of clients that wait for a place among the running"),
    (
        "headwater_queries_total",
        Counter,
        "client, outcome",
        "Queries that have ended, by door; ok or the kind of error",
    ),
    (
        "headwater_query_duration_seconds",
        Histogram,
        "client, state",
        "From the request to the end of the answer",
    ),
    ("headwater_query_plans_total", Counter, "outcome", "Plans that were kept or made anew"),
    ("headwater_query_attempts_failed_total", Counter, "why", "Runs of queries that a node has failed"),
    ("headwater_queries_hedged_total", Counter, "won", "Late queries that were run twice, by which run won"),
    ("headwater_fragments_running", Gauge, "", "Queries of brokers that run here"),
    (
        "headwater_fragments_refused_total",
        Counter,
        "",
        "Fragments that were refused because this node is full",
    ),
    // Ingestion.
    ("headwater_ingest_rows_total", Counter, "table, partition", "Rows appended"),
    (
        "headwater_ingest_dead_letters_total",
        Counter,
        "table, partition",
        "Messages that could not be decoded",
    ),
    ("headwater_ingest_tombstones_total", Counter, "table, partition", "Messages without a payload"),
    ("headwater_ingest_memory_bytes", Gauge, "", "Memory of rows that are not sealed yet"),
    ("headwater_ingest_memory_limit_bytes", Gauge, "", "Most memory of such rows"),
    ("headwater_backpressure_total", Counter, "table", "Times that fetching was paused for want of memory"),
    (
        "headwater_partition_committed_offset",
        Gauge,
        "table, partition",
        "Offset up to which the log has the partition",
    ),
    ("headwater_partition_visible_offset", Gauge, "table, partition", "Offset up to which queries see it"),
    (
        "headwater_partition_lag",
        Gauge,
        "table, partition",
        "Messages in Kafka that are not visible yet; NaN if Kafka does not say, or another node consumes them",
    ),
    (
        "headwater_partition_freshness_seconds",
        Gauge,
        "table, partition",
        "The longest that anything can have waited to become visible; 0 if nothing waits",
    ),
    ("headwater_partition_rows_per_second", Gauge, "table, partition", "Rows appended of late"),
    ("headwater_partition_failed", Gauge, "table, partition", "1 if consumption has stopped with an error"),
    (
        "headwater_gaps_total",
        Counter,
        "table, reason",
        "Ranges of offsets that were lost, and recorded as such",
    ),
    // Segments and the log.
    ("headwater_segments", Gauge, "table", "Sealed segments"),
    ("headwater_segments_bytes", Gauge, "table", "Their bytes in the store"),
    ("headwater_seals_total", Counter, "table, reason", "Open segments that were closed"),
    ("headwater_seal_seconds", Histogram, "table", "Encoding, uploading and committing a segment"),
    ("headwater_seal_retries_total", Counter, "table", "Seals that failed and are tried again"),
    ("headwater_sealed_bytes_total", Counter, "table", "Bytes of segments that were committed"),
    (
        "headwater_commit_duration_seconds",
        Histogram,
        "",
        "Committing to a table's log, for all that share an entry",
    ),
    ("headwater_compactions_total", Counter, "table, outcome", "Compactions"),
    ("headwater_compaction_seconds", Histogram, "table", "Time that they took"),
    ("headwater_compacted_segments_total", Counter, "table", "Segments that were merged"),
    ("headwater_compacted_bytes_total", Counter, "table", "Bytes of segments that merging made"),
    ("headwater_garbage_sweeps_total", Counter, "table, outcome", "Looks for objects that nobody needs"),
    ("headwater_garbage_deleted_total", Counter, "table", "Objects that were deleted"),
    // Resident columns.
    ("headwater_resident_memory_bytes", Gauge, "", "Columns of sealed segments in memory"),
    ("headwater_resident_disk_bytes", Gauge, "", "Columns of sealed segments in local files"),
    (
        "headwater_resident_columns_loaded_total",
        Counter,
        "source",
        "Columns that were made ready, by where they came from",
    ),
    ("headwater_resident_evictions_total", Counter, "from", "Columns that had to go, from memory or disk"),
    (
        "headwater_resident_files_damaged_total",
        Counter,
        "",
        "Local files that were found damaged, and made anew",
    ),
    // The object store.
    ("headwater_store_request_duration_seconds", Histogram, "operation", "Requests to the object store"),
    ("headwater_store_errors_total", Counter, "operation", "Requests to it that failed"),
    // The cluster.
    ("headwater_cluster_members", Gauge, "role, state", "Members of the cluster, as this node sees them"),
    ("headwater_gossip_refused_total", Counter, "", "Packets of gossip that were not authentic"),
    ("headwater_gossip_restarts_total", Counter, "", "Times that gossip ended and was started anew"),
    (
        "headwater_gossip_detection_seconds",
        Gauge,
        "",
        "How long a member may be silent before it counts as gone",
    ),
];

/// Tells the recorder what each metric means.
pub(crate) fn describe() {
    for (name, kind, _, meaning) in METRICS {
        match kind {
            Counter => metrics::describe_counter!(*name, *meaning),
            Gauge => metrics::describe_gauge!(*name, *meaning),
            Histogram => metrics::describe_histogram!(*name, *meaning),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
    }

    fn read(path: &str) -> String {
        fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    /// Words that begin like a metric, wherever they stand in `text`.
    fn words(text: &str) -> BTreeSet<String> {
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let words = text.split(|c: char| !is_part(c));
        words.filter(|word| word.starts_with("headwater_")).map(str::to_owned).collect()
    }

    /// What the code records: text that is the name of a metric and nothing else.
    fn recorded() -> BTreeSet<String> {
        let mut files = Vec::new();
        for part in ["segment", "ingest", "broker", "server"] {
            sources(&repository().join(part).join("src"), &mut files);
        }
        let mut names = BTreeSet::new();
        for file in files.iter().filter(|file| !file.ends_with("metrics_list.rs")) {
            let text = fs::read_to_string(file).unwrap();
            // A cookie and the target of spans are named like metrics, too.
            let others = ["headwater_session", "headwater_trace"];
            let quoted =
                text.split('"').filter(|piece| words(piece).contains(*piece) && !others.contains(piece));
            names.extend(quoted.map(str::to_owned));
        }
        names
    }

    fn listed() -> BTreeSet<String> {
        METRICS.iter().map(|(name, ..)| (*name).to_owned()).collect()
    }

    /// What Prometheus stores: histograms have three names.
    fn stored() -> BTreeSet<String> {
        let names = METRICS.iter().flat_map(|(name, kind, ..)| match kind {
            Histogram => ["_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}")).to_vec(),
            _ => vec![(*name).to_owned()],
        });
        names.collect()
    }

    #[test]
    fn the_code_records_what_is_listed() {
        let (recorded, listed) = (recorded(), listed());
        let unlisted: Vec<_> = recorded.difference(&listed).collect();
        let unrecorded: Vec<_> = listed.difference(&recorded).collect();
        assert_eq!((unlisted, unrecorded), (Vec::new(), Vec::new()), "list what is recorded in METRICS");
    }

    #[test]
    fn names_say_what_they_are() {
        assert_eq!(listed().len(), METRICS.len());
        for (name, kind, ..) in METRICS {
            assert_eq!(name.ends_with("_total"), *kind == Counter, "{name}");
            assert!(*kind != Histogram || name.ends_with("_seconds") || name.ends_with("_bytes"), "{name}");
        }
    }

    fn table() -> String {
        let mut table = "| metric | kind | labels | what |\n|---|---|---|---|\n".to_owned();
        for (name, kind, labels, meaning) in METRICS {
            let kind = format!("{kind:?}").to_lowercase();
            table.push_str(&format!("| `{name}` | {kind} | {labels} | {meaning} |\n"));
        }
        table
    }

    /// `UPDATE_EXPECT=1` writes the table.
    #[test]
    fn the_documented_list_is_this_one() {
        let path = "deploy/prometheus/README.md";
        let (text, table) = (read(path), table());
        let start = text.find("| metric |").unwrap();
        let end = text[start..].find("\n\n").map_or(text.len(), |end| start + end + 1);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(repository().join(path), format!("{}{table}{}", &text[..start], &text[end..])).unwrap();
            return;
        }
        assert_eq!(&text[start..end], table, "run this test with UPDATE_EXPECT=1");
    }

    #[test]
    fn alerts_and_the_dashboard_ask_for_metrics_that_there_are() {
        let stored = stored();
        for path in ["deploy/prometheus/alerts.yaml", "deploy/grafana/operations.json"] {
            let asked = words(&read(path));
            assert!(asked.len() > 5, "{path}");
            let unknown: Vec<_> = asked.difference(&stored).collect();
            assert!(unknown.is_empty(), "{path}: {unknown:?}");
        }
        let dashboard: serde_json::Value =
            serde_json::from_str(&read("deploy/grafana/operations.json")).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let queries = panels.iter().filter(|panel| panel["type"] != "row");
        assert!(queries.clone().count() > 10);
        for panel in queries {
            let targets = panel["targets"].as_array().unwrap();
            assert!(
                targets.iter().all(|target| !words(target["expr"].as_str().unwrap()).is_empty()),
                "{panel}"
            );
        }
    }
}
