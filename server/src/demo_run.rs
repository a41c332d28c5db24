//! `headwater demo`: the node, an embedded Kafka, a stream of events and their table, in one process.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use headwater_broker::admin::AdminError;
use headwater_broker::dashboards::{DashboardError, Expected, read_dashboard};
use headwater_segment::clock::now_ms;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::demo::broker::{EmbeddedBroker, TopicConfig};
use crate::demo::producer;
use crate::demo::spec::{DASHBOARD, DASHBOARD_ID, EXAMPLE_QUERIES, TABLE, TOPIC, rides_spec};
use crate::node::{Node, NodeError};

const PARTITIONS: i32 = 4;
const RETENTION_BYTES: u64 = 256 << 20;
/// Freshness is sampled this often for the live line's 99th percentile.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);
const SAMPLES_PER_LINE: usize = 20;

/// Why the demo does not start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The data directory or the embedded Kafka.
    #[error("demo: {0}")]
    Io(#[from] io::Error),
    /// The node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The demo's table.
    #[error("demo table: {0}")]
    Table(#[from] AdminError),
    /// The demo's dashboard.
    #[error("demo dashboard: {0}")]
    Dashboard(#[from] DashboardError),
}

/// A running demo.
pub struct Demo {
    node: Node,
    broker: EmbeddedBroker,
    producer: JoinHandle<()>,
    stop: CancellationToken,
    data: PathBuf,
    temporary: bool,
}

impl Demo {
    /// Starts everything. With `data`, the next start goes on where this one stopped.
    pub async fn start(
        mut config: Config,
        data: Option<PathBuf>,
        events_per_second: u32,
        metrics: PrometheusHandle,
    ) -> Result<Self, DemoError> {
        let temporary = data.is_none();
        let data = data
            .unwrap_or_else(|| std::env::temp_dir().join(format!("headwater-demo-{}", std::process::id())));
        std::fs::create_dir_all(&data)?;
        // A store's URL is absolute, so that it means the same whatever the working directory.
        let data = data.canonicalize()?;
        config.store.url = format!("file://{}", data.join("store").display());
        let topic =
            TopicConfig { name: TOPIC.into(), partitions: PARTITIONS, retention_bytes: RETENTION_BYTES };
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let broker = EmbeddedBroker::start(any_port, Some(data.join("kafka")), vec![topic]).await?;
        let node = Node::start(&config, Some(metrics)).await?;
        // The embedded Kafka's port is another one each time, so the spec is applied each time.
        node.admin().apply(TABLE, &rides_spec(broker.addr())).await?;
        make_dashboard(&node).await?;
        let stop = CancellationToken::new();
        let producer = {
            let (brokers, stop) = (broker.addr().to_string(), stop.clone());
            let seed = rand::random();
            tokio::spawn(async move {
                if let Err(error) = producer::run(&brokers, TOPIC, events_per_second, seed, stop).await {
                    tracing::error!(%error, "the demo's events stopped");
                }
            })
        };
        Ok(Self { node, broker, producer, stop, data, temporary })
    }

    /// What a person needs to know, in a few lines.
    pub fn welcome(&self) -> String {
        let url = format!("http://{}", self.node.address());
        let kept = if self.temporary { "deleted at the end; keep it with --data DIR" } else { "kept" };
        let queries: String = EXAMPLE_QUERIES.iter().map(|query| format!("  {query};\n")).collect();
        format!(
            "\nHeadwater is up. Watch it live: {url}/d/{DASHBOARD_ID}\n\n\
             Ride orders flow from an embedded Kafka ({}) into the table {TABLE}. Data: {} ({kept}).\n\n\
             Try one of these in the console ({url}), or with `headwater sql --url {url}`:\n{queries}\n\
             Or: curl -s {url}/sql -d '{{\"sql\": \"SELECT count(*) FROM {TABLE}\"}}' -H 'content-type: application/json'\n\n\
             Ctrl-C stops.\n\n",
            self.broker.addr(),
            self.data.display(),
        )
    }

    /// The same for a program.
    pub fn facts(&self) -> serde_json::Value {
        serde_json::json!({
            "state": "up",
            "url": format!("http://{}", self.node.address()),
            "table": TABLE,
            "brokers": self.broker.addr().to_string(),
            "topic": TOPIC,
            "data": self.data,
            "temporary": self.temporary,
        })
    }

    /// Shows one line that changes every second, until an error of the output.
    pub async fn show_live_line(&self) -> io::Result<()> {
        let terminal = io::stdout().is_terminal();
        // On a terminal the line is drawn over itself; in a file, one line every ten seconds is enough.
        let (start, end, every) = if terminal { ("\r\x1b[2K", "", 1) } else { ("", "\n", 10) };
        let mut round = 0u64;
        loop {
            let line = self.live_line().await;
            if round.is_multiple_of(every) {
                let mut out = io::stdout();
                write!(out, "{start}{line}{end}")?;
                out.flush()?;
            }
            round += 1;
        }
    }

    /// Takes a second: freshness is sampled meanwhile.
    async fn live_line(&self) -> String {
        let mut ages = Vec::with_capacity(SAMPLES_PER_LINE);
        for _ in 0..SAMPLES_PER_LINE {
            tokio::time::sleep(SAMPLE_EVERY).await;
            if let Some(table) = self.node.tables().get(TABLE) {
                let newest =
                    table.progress().iter().filter_map(|partition| partition.newest_timestamp_ms).max();
                ages.extend(newest.map(|newest| (now_ms() - newest).max(0)));
            }
        }
        ages.sort_unstable();
        let p99 = ages.last().map_or_else(|| "-".to_string(), |age| format!("{age} ms"));
        let Some(table) = self.node.tables().get(TABLE) else { return "the table was dropped".into() };
        let progress = table.progress();
        let rate: f64 = progress.iter().map(|partition| partition.rows_per_second).sum();
        let lag: i64 = progress.iter().filter_map(|partition| partition.lag).sum();
        let dead_letters: u64 = progress.iter().map(|partition| partition.dead_letters).sum();
        let read = table.read();
        let sealed = read.log.segments.rows();
        let open: usize = read.open.iter().map(|slice| slice.rows.len()).sum();
        format!(
            "{rate:.0} events/s | {} rows | freshness p99 {p99} | lag {lag} | {} sealed segments | {dead_letters} dead letters",
            sealed + open as u64,
            read.log.segments.len(),
        )
    }

    /// Stops everything; what is open is sealed, unless the data is thrown away anyway.
    pub async fn stop(self) {
        self.stop.cancel();
        // A panic of the producer was logged by the runtime.
        let _ = self.producer.await;
        self.node.stop().await;
        self.broker.shutdown().await;
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.data)
        {
            tracing::warn!(%error, data = %self.data.display(), "the demo's data could not be deleted");
        }
    }
}

/// Makes the dashboard, unless an earlier demo with the same data has: it may have been changed since.
async fn make_dashboard(node: &Node) -> Result<(), DashboardError> {
    let document = serde_json::from_str(DASHBOARD).unwrap_or_default();
    let dashboard = read_dashboard(&document).map_err(DashboardError::Invalid)?;
    match node.dashboards().put(DASHBOARD_ID, &dashboard, Expected::Absent).await {
        Ok(_) | Err(DashboardError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
