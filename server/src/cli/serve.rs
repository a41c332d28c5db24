//! `headwater start`, `headwater demo` and `headwater config`.

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use headwater_server::config::{Config, TelemetryConfig};
use headwater_server::demo_run::{Demo, DemoError};
use headwater_server::node::{Node, NodeError};
use headwater_server::telemetry;
use serde_json::json;

use super::progress::{EVERY, Progress};
use super::screen::Screen;
use super::{CliError, NodeArguments};

/// Arguments of `headwater demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Address and port of the console and of SQL.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8099")]
    listen: SocketAddr,
    /// Directory for the demo's topic and table. Default: a temporary one that is deleted at the end.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Events per second, on average.
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    rate: u32,
}

/// Serves the tables of a store until SIGTERM or Ctrl-C.
pub(crate) fn start(arguments: &NodeArguments, screen: Screen) -> Result<(), CliError> {
    let config = load(arguments)?;
    let runtime = runtime()?;
    let telemetry = {
        let _runtime = runtime.enter();
        telemetry::start_logs(&config.log, &config.telemetry).map_err(CliError::Usage)?
    };
    let metrics = telemetry::start_metrics().map_err(CliError::Usage)?;
    let served = runtime.block_on(async {
        let node = Node::start(&config, Some(metrics)).await.map_err(not_started)?;
        if screen.is_json() {
            let ready = json!({ "state": "up", "url": format!("http://{}", node.address()), "store": config.store.url });
            // What follows is in the log.
            screen.answer(&ready, |_| Ok(()))?;
        }
        let signal = stop_signal().await?;
        tracing::info!(signal, "draining: queries finish, open segments are sealed if so configured");
        node.stop().await;
        tracing::info!("stopped");
        Ok(())
    });
    telemetry.stop();
    served
}

/// Runs the demo until Ctrl-C.
pub(crate) fn demo(arguments: &DemoArguments, screen: Screen) -> Result<(), CliError> {
    let settings = [("http.listen".to_string(), arguments.listen.to_string())];
    let mut config = Config::load(None, std::iter::empty(), &settings)
        .map_err(|error| CliError::Usage(error.to_string()))?;
    // The demo's own lines are what a person reads; logs only speak up when something is wrong.
    config.log.filter = std::env::var("HEADWATER_LOG_FILTER").unwrap_or_else(|_| "warn".into());
    telemetry::start_logs(&config.log, &TelemetryConfig::default()).map_err(CliError::Usage)?;
    let metrics = telemetry::start_metrics().map_err(CliError::Usage)?;
    runtime()?.block_on(async {
        let starting = Demo::start(config, arguments.data.clone(), arguments.rate, metrics);
        let demo = showing("starting Kafka, the node and the stream of events", starting).await;
        let demo = demo.map_err(|error| match error {
            DemoError::Node(error) => not_started(error),
            other => CliError::Answer(other.to_string()),
        })?;
        let outcome = if screen.is_json() {
            screen.answer(&demo.facts(), |_| Ok(()))?;
            stop_signal().await.map(|_| ())
        } else {
            write!(std::io::stdout(), "{}", demo.welcome())?;
            tokio::select! {
                signal = stop_signal() => signal.map(|_| ()),
                shown = demo.show_live_line() => shown.map_err(CliError::from),
            }
        };
        // A pipe that is closed is no reason to leave without stopping.
        let _ = writeln!(std::io::stderr(), "\nstopping");
        demo.stop().await;
        outcome
    })
}

/// `work`, with a sign of life while it takes long.
async fn showing<T>(label: &str, work: impl Future<Output = T>) -> T {
    let mut progress = Progress::new(label, "");
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = work.as_mut() => return done,
            () = tokio::time::sleep(EVERY) => progress.tick(),
        }
    }
}

/// Prints the configuration that `start` would use.
pub(crate) fn print_config(arguments: &NodeArguments, screen: Screen) -> Result<(), CliError> {
    let config = load(arguments)?;
    screen.answer(&json!(config), |out| write!(out, "{}", config.to_toml()))
}

/// Why a node does not start, by what is to be corrected: its settings, or what it stands on.
fn not_started(error: NodeError) -> CliError {
    match error {
        NodeError::Store(_)
        | NodeError::Segment(_)
        | NodeError::StoreRefuses { .. }
        | NodeError::Cluster(_)
        | NodeError::Access(_)
        | NodeError::Tls(_)
        | NodeError::Config(_) => CliError::Usage(error.to_string()),
        NodeError::Listen { address, ref source } => {
            let hint = match source.kind() {
                std::io::ErrorKind::AddrInUse => {
                    "; something listens there already, so stop it or say --listen ADDR:PORT"
                }
                std::io::ErrorKind::PermissionDenied => {
                    "; use a port from 1024 on, or give the process the right to it"
                }
                _ => "",
            };
            CliError::Answer(format!("listen on {address}: {source}{hint}"))
        }
        other => CliError::Answer(other.to_string()),
    }
}

fn load(arguments: &NodeArguments) -> Result<Config, CliError> {
    let settings = settings(arguments);
    Config::load(arguments.config.as_deref(), environment(), &settings)
        .map_err(|error| CliError::Usage(error.to_string()))
}

/// What the flags set, in the order in which it counts.
pub(crate) fn settings(arguments: &NodeArguments) -> Vec<(String, String)> {
    let listen = arguments.listen.map(|listen| ("http.listen".to_string(), listen.to_string()));
    let store = arguments.store.clone().map(|store| ("store.url".to_string(), store));
    let role = arguments.role.clone().map(|role| ("cluster.role".to_string(), role));
    arguments.set.iter().cloned().chain(listen).chain(store).chain(role).collect()
}

/// The variables that may be settings. Bytes of a value that are no UTF-8 are replaced: what is made of it names the setting.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    };
    std::env::vars_os().filter_map(text).filter(|(name, _)| name != "HEADWATER_CONFIG")
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("hw-io").build()?)
}

async fn stop_signal() -> Result<&'static str, CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
