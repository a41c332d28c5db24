//! The server's processes: started, stopped, continued, killed, and never left behind.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::client::Client;
use super::error::{ChaosError, Result};

/// How often a process is looked at that is to end.
const LOOK: Duration = Duration::from_millis(20);
const LOG_TAIL_BYTES: usize = 4000;

/// How a process is started.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) binary: PathBuf,
    pub(crate) store: String,
    pub(crate) store_options: Vec<(String, String)>,
    pub(crate) dir: PathBuf,
}

/// Where a process listens, and what is set for it.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) listen: SocketAddr,
    /// Dotted paths and values.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// Environment variables.
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl Seat {
    /// A free port, and nothing set.
    pub(crate) fn alone() -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let listen = port.map_err(ChaosError::at("find a free port"))?;
        Ok(Self { listen, settings: Vec::new(), variables: Vec::new() })
    }
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
    /// Starts process `number`.
    pub(crate) fn start(launch: &Launch, number: u32, seat: &Seat) -> Result<Self> {
        let what = || format!("start {}", launch.binary.display());
        let log = log_path(&launch.dir, number);
        let out = File::create(&log).map_err(ChaosError::at(what()))?;
        let err = out.try_clone().map_err(ChaosError::at(what()))?;
        let mut command = Command::new(&launch.binary);
        command.args(["start", "--listen", &seat.listen.to_string(), "--store", &launch.store]);
        command.args([
            "--set",
            "log.filter=info,headwater_ingest=debug",
            "--set",
            "ingest.memory_bytes_max=268435456",
        ]);
        let options = launch.store_options.iter().map(|(key, value)| (format!("store.options.{key}"), value));
        let settings = seat.settings.iter().map(|(path, value)| (path.to_string(), value));
        for (path, value) in options.chain(settings) {
            command.args(["--set", &format!("{path}={value}")]);
        }
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HEADWATER_")) {
            command.env_remove(name);
        }
        command.envs(seat.variables.iter().map(|(name, value)| (name, value)));
        let child =
            command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().map_err(ChaosError::at(what()))?;
        let (url, started) = (format!("http://{}", seat.listen), Instant::now());
        Ok(Self { number, url, started, child, log, gone: Arc::default() })
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
            tokio::time::sleep(LOOK).await;
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

    /// SIGTERM, and waits for the end. `Err` says what was wrong with it; then it is killed.
    pub(crate) async fn terminate(&mut self, within: Duration) -> std::result::Result<Duration, String> {
        let began = Instant::now();
        self.gone.store(true, Ordering::SeqCst);
        self.signal("TERM").map_err(|error| error.to_string())?;
        while began.elapsed() < within {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(began.elapsed()),
                Ok(Some(status)) => {
                    return Err(format!(
                        "process {} ended with {status} on SIGTERM:\n{}",
                        self.number,
                        self.log_tail()
                    ));
                }
                Ok(None) | Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
        let tail = self.log_tail();
        self.kill();
        Err(format!("process {} runs on {within:?} after SIGTERM:\n{tail}", self.number))
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

/// Deletes the log of a process that has ended.
pub(crate) fn delete_log(launch: &Launch, number: u32) {
    // Not there if it was deleted before.
    let _ = std::fs::remove_file(log_path(&launch.dir, number));
}

fn log_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("process-{number}.log"))
}
