//! Logs, metrics and traces of a process: set up once, at its start.

use std::time::Duration;

use headwater_segment::trace::TARGET;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_subscriber::filter::{Directive, LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::{LogConfig, LogFormat, TelemetryConfig};
use crate::{gauges, metrics_list};

/// A batch of spans that is not taken within this time is dropped.
const EXPORT_WAIT: Duration = Duration::from_secs(5);
/// Seconds; from a trivial query to a full scan, from a small seal to a large one.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// What is to be done when the process ends.
#[derive(Debug)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sends the spans that are not sent yet. Blocks for some seconds at most.
    pub fn stop(self) {
        if let Some(Err(error)) = self.traces.map(|traces| traces.shutdown()) {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

/// Starts writing logs to standard error, and exporting traces if `telemetry` says where to. Needs a runtime for that. The error
/// is a message for a person.
pub fn start_logs(config: &LogConfig, telemetry: &TelemetryConfig) -> Result<Telemetry, String> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|error| format!("log.filter: {error}"))?;
    // Spans are for the exporter.
    let no_spans = format!("{TARGET}=off").parse::<Directive>().map_err(|error| format!("logs: {error}"))?;
    let filter = filter.add_directive(no_spans);
    let logs: Box<dyn Layer<Registry> + Send + Sync> = match config.format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            fmt::layer().with_ansi(colours).with_writer(std::io::stderr).with_filter(filter).boxed()
        }
        LogFormat::Json => {
            fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).with_filter(filter).boxed()
        }
    };
    let traces = match telemetry.otlp_endpoint.as_str() {
        "" => None,
        endpoint => Some(exporting(endpoint, telemetry.sample_ratio)?),
    };
    let spans = traces.as_ref().map(|traces| {
        let layer = tracing_opentelemetry::layer().with_tracer(traces.tracer("headwater"));
        let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false);
        layer.with_filter(Targets::new().with_target(TARGET, LevelFilter::INFO))
    });
    let started = tracing_subscriber::registry().with(logs).with(spans).try_init();
    started.map_err(|error| format!("logs: {error}"))?;
    Ok(Telemetry { traces })
}

fn exporting(endpoint: &str, ratio: f64) -> Result<SdkTracerProvider, String> {
    let exporter =
        SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(EXPORT_WAIT).build();
    let exporter = exporter.map_err(|error| format!("telemetry.otlp_endpoint: {error}"))?;
    let resource = Resource::builder()
        .with_service_name("headwater")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", ulid::Ulid::new().to_string()))
        .build();
    // Whoever sends a trace along has decided.
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(sampler)
        .with_resource(resource)
        .build())
}

/// Starts counting metrics for `/metrics`. The error is a message for a person.
pub fn start_metrics() -> Result<PrometheusHandle, String> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| format!("metrics: {error}"))?;
    metrics_list::describe();
    gauges::process_started();
    Ok(handle)
}
