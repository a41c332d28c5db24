//! `[ingest]`: the path of a row, and what of this machine a table spec may name.

use std::path::PathBuf;

use headwater_ingest::kafka::config::References;
use headwater_segment::machine;
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// The path of a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IngestConfig {
    /// Memory for rows that are not sealed yet, in bytes. Default: a quarter of the machine's memory.
    pub memory_bytes_max: u64,
    /// Fetching threads per table.
    pub workers_per_table: usize,
    /// Segments that are encoded at the same time.
    pub encoders: usize,
    /// On SIGTERM: seal and commit what is open before ending. Without it, open rows are read again from Kafka.
    pub seal_on_shutdown: bool,
    /// On SIGTERM: give up sealing after this long, in milliseconds.
    pub shutdown_wait_ms: u64,
    /// Environment variables that the stream properties of a spec may name, as in `{env: KAFKA_PASSWORD}`; a `*` at the end of a
    /// name stands for any ending. Those that begin with `HEADWATER_` or `AWS_` no spec may name.
    pub secret_env: Vec<String>,
    /// Directories below which the files are that the stream properties of a spec may name, as in `{file: /path}`.
    pub secret_dirs: Vec<PathBuf>,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            memory_bytes_max: machine::memory_bytes() / 4,
            workers_per_table: 1,
            encoders: 1,
            seal_on_shutdown: true,
            shutdown_wait_ms: 30_000,
            secret_env: vec!["KAFKA_*".into()],
            secret_dirs: vec!["/run/secrets/headwater-stream".into()],
        }
    }
}

impl IngestConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.memory_bytes_max < 16 << 20 {
            return Err(ConfigError::new("ingest.memory_bytes_max", "must be at least 16 MiB"));
        }
        let is_pattern = |name: &String| !name.is_empty() && !name[..name.len() - 1].contains('*');
        if let Some(name) = self.secret_env.iter().find(|name| !name.is_ascii() || !is_pattern(name)) {
            let reason = format!("{name:?} is no name of a variable; a * may stand at its end only");
            return Err(ConfigError::new("ingest.secret_env", reason));
        }
        // Below the root is all that there is.
        let is_some_place = |dir: &PathBuf| dir.is_absolute() && dir.parent().is_some();
        if let Some(dir) = self.secret_dirs.iter().find(|dir| !is_some_place(dir)) {
            let reason = format!("{dir:?} is not the absolute path of a directory for secrets");
            return Err(ConfigError::new("ingest.secret_dirs", reason));
        }
        Ok(())
    }

    /// What a spec may name.
    pub(crate) fn references(&self) -> References {
        References { env: self.secret_env.clone(), dirs: self.secret_dirs.clone() }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn what_specs_may_name_is_a_setting() {
        let load = |settings: &[(&str, &str)]| {
            let settings: Vec<_> = settings.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            Config::load(None, std::iter::empty(), &settings).map_err(|error| error.to_string())
        };
        let printed = load(&[]).unwrap().to_toml();
        assert!(printed.contains("secret_env = [\"KAFKA_*\"]"), "{printed}");
        assert!(printed.contains("secret_dirs = [\"/run/secrets/headwater-stream\"]"), "{printed}");
        let set = [("ingest.secret_env", "A, B_*"), ("ingest.secret_dirs", "/a/b,/c")];
        let references = load(&set).unwrap().ingest.references();
        assert_eq!(references.env, ["A", "B_*"]);
        assert_eq!(references.dirs, ["/a/b", "/c"].map(std::path::PathBuf::from));
        assert!(load(&[("ingest.secret_env", ""), ("ingest.secret_dirs", "")]).is_ok());
        for (setting, value) in [
            ("ingest.secret_env", "A*B"),
            ("ingest.secret_env", "*A"),
            ("ingest.secret_env", "Ä"),
            ("ingest.secret_dirs", "/"),
            ("ingest.secret_dirs", "secrets"),
        ] {
            assert!(load(&[(setting, value)]).unwrap_err().contains(setting), "{setting} = {value}");
        }
    }
}
