//! The server's processes: started, stopped, continued, killed, and never left behind.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::client::Client;
use super::error::{ChaosError, Result};

/// Logs of processes that are kept; older ones are deleted as long as nothing is wrong.
const LOGS_KEPT: u32 = 20;
const LOG_TAIL_BYTES: usize = 4000;

/// How a process is started.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) binary: PathBuf,
    pub(crate) store: String,
    pub(crate) store_options: Vec<(String, String)>,
    pub(crate) dir: PathBuf,
}

/// A running process. Dropping it kills it.
pub(crate) struct Node {
    pub(crate) number: u32,
    pub(crate) url: String,
    pub(crate) started: Instant,
    child: Child,
    log: PathBuf,
    gone: Arc<AtomicBool>,
}

impl Node {
    /// Starts process `number` on a free port.
    pub(crate) fn start(launch: &Launch, number: u32) -> Result<Self> {
        let what = || format!("start {}", launch.binary.display());
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = port.map_err(ChaosError::at(what()))?;
        let log = log_path(&launch.dir, number);
        let out = File::create(&log).map_err(ChaosError::at(what()))?;
        let err = out.try_clone().map_err(ChaosError::at(what()))?;
        let mut command = Command::new(&launch.binary);
        command.args(["start", "--listen", &address.to_string(), "--store", &launch.store]);
        command.args([
            "--set",
            "log.filter=info,headwater_ingest=debug",
            "--set",
            "ingest.memory_bytes_max=268435456",
        ]);
        for (key, value) in &launch.store_options {
            command.args(["--set", &format!("store.options.{key}={value}")]);
        }
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HEADWATER_")) {
            command.env_remove(name);
        }
        let child =
            command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().map_err(ChaosError::at(what()))?;
        if let Some(old) = number.checked_sub(LOGS_KEPT) {
            // Not there if it was deleted before.
            let _ = std::fs::remove_file(log_path(&launch.dir, old));
        }
        let gone = Arc::new(AtomicBool::new(false));
        Ok(Self { number, url: format!("http://{address}"), started: Instant::now(), child, log, gone })
    }

    /// Becomes true when the process is killed.
    pub(crate) fn gone(&self) -> Arc<AtomicBool> {
        self.gone.clone()
    }

    /// Waits until it answers. `Err` says why it does not.
    pub(crate) async fn ready(
        &mut self,
        client: &Client,
        within: Duration,
    ) -> std::result::Result<(), String> {
        let give_up = Instant::now() + within;
        loop {
            if client.healthy(&self.url).await {
                return Ok(());
            }
            if let Some(fault) = self.ended() {
                return Err(fault);
            }
            if Instant::now() > give_up {
                return Err(format!(
                    "process {} does not answer after {within:?}:\n{}",
                    self.number,
                    self.log_tail()
                ));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Says so if the process ended without being killed.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status: ExitStatus = self.child.try_wait().ok()??;
        Some(format!("process {} ended by itself ({status}):\n{}", self.number, self.log_tail()))
    }

    /// Whether it has logged a panic.
    pub(crate) fn panicked(&self) -> Option<String> {
        let log = std::fs::read(&self.log).ok()?;
        let log = String::from_utf8_lossy(&log);
        let at = log.find("panicked at")?;
        let text: String = log[at..].chars().take(1000).collect();
        Some(format!("process {} panicked (see {}): {text}", self.number, self.log.display()))
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let tail = &log[log.len().saturating_sub(LOG_TAIL_BYTES)..];
        format!("{}:\n{}", self.log.display(), String::from_utf8_lossy(tail))
    }

    /// SIGSTOP.
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, name: &str) -> Result<()> {
        let what = format!("kill -{name} {}", self.child.id());
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        match status.map_err(ChaosError::at(&what))? {
            status if status.success() => Ok(()),
            status => Err(ChaosError::new(what, status)),
        }
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&mut self) {
        self.gone.store(true, Ordering::SeqCst);
        // Both fail only if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn log_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("process-{number}.log"))
}
