//! `headwater start`, `headwater demo` and `headwater config`.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use headwater_server::config::Config;
use headwater_server::demo_run::Demo;
use headwater_server::node::Node;
use headwater_server::telemetry;

use super::{CliError, NodeArguments};

/// Arguments of `headwater demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Address and port of the page and of SQL.
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
pub(crate) fn start(arguments: &NodeArguments) -> Result<(), CliError> {
    let config = load(arguments)?;
    telemetry::start_logs(&config.log).map_err(CliError::Usage)?;
    let metrics = telemetry::start_metrics().map_err(CliError::Usage)?;
    runtime()?.block_on(async {
        let node =
            Node::start(&config, Some(metrics)).await.map_err(|error| CliError::Usage(error.to_string()))?;
        let signal = stop_signal().await?;
        tracing::info!(signal, "draining: queries finish, open segments are sealed if so configured");
        node.stop().await;
        tracing::info!("stopped");
        Ok(())
    })
}

/// Runs the demo until Ctrl-C.
pub(crate) fn demo(arguments: &DemoArguments) -> Result<(), CliError> {
    let settings = [("http.listen".to_string(), arguments.listen.to_string())];
    let mut config = Config::load(None, std::iter::empty(), &settings)
        .map_err(|error| CliError::Usage(error.to_string()))?;
    // The demo's own lines are what a person reads; logs only speak up when something is wrong.
    config.log.filter = std::env::var("HEADWATER_LOG_FILTER").unwrap_or_else(|_| "warn".into());
    telemetry::start_logs(&config.log).map_err(CliError::Usage)?;
    let metrics = telemetry::start_metrics().map_err(CliError::Usage)?;
    runtime()?.block_on(async {
        let demo = Demo::start(config, arguments.data.clone(), arguments.rate, metrics).await;
        let demo = demo.map_err(|error| CliError::Usage(error.to_string()))?;
        write!(std::io::stdout(), "{}", demo.welcome())?;
        let outcome = tokio::select! {
            signal = stop_signal() => signal.map(|_| ()),
            shown = demo.show_live_line() => shown.map_err(CliError::from),
        };
        writeln!(std::io::stdout(), "\nstopping")?;
        demo.stop().await;
        outcome
    })
}

/// Prints the configuration that `start` would use.
pub(crate) fn print_config(arguments: &NodeArguments) -> Result<(), CliError> {
    let config = load(arguments)?;
    Ok(write!(std::io::stdout(), "{}", config.to_toml())?)
}

fn load(arguments: &NodeArguments) -> Result<Config, CliError> {
    let listen = arguments.listen.map(|listen| ("http.listen".to_string(), listen.to_string()));
    let store = arguments.store.clone().map(|store| ("store.url".to_string(), store));
    let role = arguments.role.clone().map(|role| ("cluster.role".to_string(), role));
    let settings: Vec<_> = arguments.set.iter().cloned().chain(listen).chain(store).chain(role).collect();
    let environment = std::env::vars().filter(|(name, _)| name != "HEADWATER_CONFIG");
    Config::load(arguments.config.as_deref(), environment, &settings)
        .map_err(|error| CliError::Usage(error.to_string()))
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
