//! Stops and starts the Kafka under the run, through the script that brought it up.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::error::{ChaosError, Result};

/// Says that a Kafka runs elsewhere; the script would then leave it alone.
const ELSEWHERE_VARIABLE: &str = "HEADWATER_TEST_KAFKA";

/// `deploy/kafka.sh`, or another script that understands `up` and `down` and keeps the data in between.
#[derive(Clone, Debug)]
pub(crate) struct KafkaScript(PathBuf);

impl KafkaScript {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_path_buf())
    }

    /// Stops Kafka. Returns how long it took.
    pub(crate) async fn down(&self) -> Result<Duration> {
        self.call("down").await
    }

    /// Starts it, and waits until it listens. Returns how long it took.
    pub(crate) async fn up(&self) -> Result<Duration> {
        self.call("up").await
    }

    async fn call(&self, word: &str) -> Result<Duration> {
        let what = format!("{} {word}", self.0.display());
        let began = Instant::now();
        let mut command = tokio::process::Command::new(&self.0);
        // Kafka inherits what is not redirected, and would keep it open.
        command.arg(word).env_remove(ELSEWHERE_VARIABLE).stdin(Stdio::null()).stdout(Stdio::null());
        let status = command.status().await.map_err(ChaosError::at(&what))?;
        if status.success() { Ok(began.elapsed()) } else { Err(ChaosError::new(what, status)) }
    }
}
