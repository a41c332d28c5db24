//! The node's configuration: defaults, then a TOML file, then `HEADWATER_*` environment variables, then flags.
//!
//! Every setting has one dotted path (`http.listen`), one environment variable (`HEADWATER_HTTP_LISTEN`) and one flag
//! (`--set http.listen=…`). Unknown keys are refused wherever they come from. Secrets do not belong here: object store
//! credentials are read from the environment by the store itself, stream secrets are named in the table spec, and the
//! cluster's secret is named here and read when the node starts.

mod cluster;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use headwater_broker::engine::EngineConfig;
use serde::{Deserialize, Serialize};
use toml::Value;

pub use self::cluster::{ClusterConfig, Role, SecretSource};

const ENV_PREFIX: &str = "HEADWATER_";
/// Variables of ours that are not settings of a node.
const ENV_OTHER: [&str; 2] = ["HEADWATER_URL", "HEADWATER_CLUSTER_SECRET"];

/// Everything that can be set.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The HTTP listener.
    pub http: HttpConfig,
    /// Where tables live.
    pub store: StoreConfig,
    /// The path of a row.
    pub ingest: IngestConfig,
    /// The path of a query.
    pub query: QueryConfig,
    /// Columns of sealed segments, kept between queries.
    pub resident: ResidentSettings,
    /// The other nodes.
    pub cluster: ClusterConfig,
    /// Logs.
    pub log: LogConfig,
}

/// The HTTP listener.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Address and port. Loopback only, unless `public` says otherwise: there is no authentication yet.
    pub listen: SocketAddr,
    /// Allows `listen` to be an address that other machines can reach, without authentication.
    pub public: bool,
    /// Largest request body, in bytes.
    pub body_bytes_max: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8099)), public: false, body_bytes_max: 2 << 20 }
    }
}

/// Where tables live.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// `file:///path`, `s3://bucket/prefix` or `memory://` (gone when the process ends).
    pub url: String,
    /// Options of the store by their `object_store` names, such as `aws_endpoint` or `aws_region`. Credentials come
    /// from the environment (`AWS_ACCESS_KEY_ID`, …).
    pub options: BTreeMap<String, String>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { url: "file://./headwater-data".into(), options: BTreeMap::new() }
    }
}

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
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            memory_bytes_max: machine_memory_bytes() / 4,
            workers_per_table: 1,
            encoders: 1,
            seal_on_shutdown: true,
            shutdown_wait_ms: 30_000,
        }
    }
}

/// The path of a query.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueryConfig {
    /// Threads for query work. Default: the machine's cores.
    pub threads: usize,
    /// Deadline of a query that names none, in milliseconds.
    pub deadline_default_ms: u64,
    /// Longest deadline that a query may ask for, in milliseconds.
    pub deadline_max_ms: u64,
    /// Memory budget of a query that names none, in bytes. Default: an eighth of the machine's memory.
    pub memory_bytes_default: u64,
    /// Largest memory budget that a query may ask for, in bytes. Default: a quarter of the machine's memory.
    pub memory_bytes_max: u64,
    /// Row cap of a query that names none.
    pub rows_default: u64,
    /// Largest row cap that a query may ask for.
    pub rows_max: u64,
    /// Queries that run at once; more wait. A data node runs as many of its brokers' queries beside.
    pub concurrent_max: usize,
    /// Queries that wait; more are refused with 429. As many of its brokers' queries wait on a data node.
    pub queue_max: usize,
    /// Directory for spilling; empty: the system's temporary directory.
    pub spill_dir: PathBuf,
    /// Spilled bytes at most, all queries together.
    pub spill_bytes_max: u64,
    /// Bytes of partial aggregates of sealed segments that are kept for later queries; 0: none are.
    pub result_bytes_max: usize,
}

impl Default for QueryConfig {
    fn default() -> Self {
        let memory = machine_memory_bytes();
        Self {
            threads: cores(),
            deadline_default_ms: 60_000,
            deadline_max_ms: 3_600_000,
            memory_bytes_default: memory / 8,
            memory_bytes_max: memory / 4,
            rows_default: 1_000_000,
            rows_max: 1_000_000_000,
            concurrent_max: 4 * cores(),
            queue_max: 1_000,
            spill_dir: PathBuf::new(),
            spill_bytes_max: 32 << 30,
            result_bytes_max: 64 << 20,
        }
    }
}

impl QueryConfig {
    fn engine(&self) -> EngineConfig {
        EngineConfig {
            threads: self.threads.max(1),
            deadline_default: Duration::from_millis(self.deadline_default_ms),
            deadline_max: Duration::from_millis(self.deadline_max_ms),
            memory_bytes_default: self.memory_bytes_default,
            memory_bytes_max: self.memory_bytes_max,
            rows_default: self.rows_default,
            rows_max: self.rows_max,
            concurrent_max: self.concurrent_max.max(1),
            queue_max: self.queue_max,
            spill_dir: (!self.spill_dir.as_os_str().is_empty()).then(|| self.spill_dir.clone()),
            spill_bytes_max: self.spill_bytes_max,
            result_bytes_max: self.result_bytes_max,
            ..EngineConfig::default()
        }
    }
}

/// Columns of sealed segments, kept between queries in the form in which they are read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResidentSettings {
    /// Directory of local files that survive a restart, for this process alone; empty: in memory only.
    pub dir: PathBuf,
    /// Bytes of those files at most.
    pub disk_bytes_max: u64,
    /// Bytes in memory, or mapped into it from the files, at most; what running queries hold may come on top. Default: a
    /// quarter of the machine's memory.
    pub memory_bytes_max: u64,
}

impl Default for ResidentSettings {
    fn default() -> Self {
        Self { dir: PathBuf::new(), disk_bytes_max: 100 << 30, memory_bytes_max: machine_memory_bytes() / 4 }
    }
}

/// Logs, written to standard error.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `text` or `json`.
    pub format: LogFormat,
    /// Levels, as in `info,headwater_ingest=debug`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".into() }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For a person.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A configuration that cannot be used: where it came from, and what is wrong.
#[derive(Debug, thiserror::Error)]
#[error("configuration: {origin}: {reason}")]
pub struct ConfigError {
    origin: String,
    reason: String,
}

impl ConfigError {
    fn new(origin: impl Into<String>, reason: impl ToString) -> Self {
        Self { origin: origin.into(), reason: reason.to_string() }
    }
}

impl Config {
    /// Defaults, then `file`, then `environment`, then `settings` (pairs of dotted path and value).
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        settings: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let mut values =
            Value::try_from(Self::default()).map_err(|error| ConfigError::new("defaults", error))?;
        let paths = leaf_paths(&values);
        if let Some(file) = file {
            let origin = file.display().to_string();
            let text = std::fs::read_to_string(file).map_err(|error| ConfigError::new(&origin, error))?;
            // Read by itself first, so that a fault carries the file's own line.
            toml::from_str::<Self>(&text).map_err(|error| ConfigError::new(&origin, error))?;
            let overlay: Value = toml::from_str(&text).map_err(|error| ConfigError::new(&origin, error))?;
            merge(&mut values, overlay);
        }
        for (name, value) in environment.filter(|(name, _)| name.starts_with(ENV_PREFIX)) {
            if ENV_OTHER.contains(&name.as_str()) {
                continue;
            }
            let path = paths.iter().find(|path| variable_of(path) == name);
            let path = path.ok_or_else(|| ConfigError::new(&name, "there is no such setting"))?;
            set(&mut values, path, &value).map_err(|reason| ConfigError::new(&name, reason))?;
        }
        for (path, value) in settings {
            let known = paths.contains(path) || path.starts_with("store.options.");
            if !known {
                return Err(ConfigError::new(format!("--set {path}"), "there is no such setting"));
            }
            set(&mut values, path, value)
                .map_err(|reason| ConfigError::new(format!("--set {path}"), reason))?;
        }
        let config: Self = values.try_into().map_err(|error| ConfigError::new("values", error))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if !self.http.listen.ip().is_loopback() && !self.http.public {
            return Err(ConfigError::new(
                "http.listen",
                format!(
                    "{} can be reached from other machines, and there is no authentication; listen on 127.0.0.1, or say \
                     http.public = true if the network is trusted",
                    self.http.listen
                ),
            ));
        }
        if self.ingest.memory_bytes_max < 16 << 20 {
            return Err(ConfigError::new("ingest.memory_bytes_max", "must be at least 16 MiB"));
        }
        self.cluster.check(&self.store)
    }

    /// The query engine's view.
    pub fn engine(&self) -> EngineConfig {
        let resident = &self.resident;
        EngineConfig {
            resident_dir: (!resident.dir.as_os_str().is_empty()).then(|| resident.dir.clone()),
            resident_disk_bytes_max: resident.disk_bytes_max,
            resident_memory_bytes_max: resident.memory_bytes_max,
            ..self.query.engine()
        }
    }

    /// The configuration as TOML, as `headwater config` prints it.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| format!("# {error}\n"))
    }
}

fn variable_of(path: &str) -> String {
    format!("{ENV_PREFIX}{}", path.replace('.', "_").to_uppercase())
}

fn merge(base: &mut Value, overlay: Value) {
    match (base, overlay) {
        (Value::Table(base), Value::Table(overlay)) => {
            for (key, value) in overlay {
                match base.get_mut(&key) {
                    Some(present) => merge(present, value),
                    None => {
                        base.insert(key, value);
                    }
                }
            }
        }
        (base, overlay) => *base = overlay,
    }
}

/// The dotted paths of all values that are no tables.
fn leaf_paths(values: &Value) -> Vec<String> {
    let Value::Table(fields) = values else { return Vec::new() };
    let of_field = |(key, value): (&String, &Value)| match value {
        Value::Table(_) => leaf_paths(value).into_iter().map(|path| format!("{key}.{path}")).collect(),
        _ => vec![key.clone()],
    };
    fields.iter().flat_map(of_field).collect()
}

/// Sets one leaf from text, reading the text as the leaf's present type.
fn set(values: &mut Value, path: &str, text: &str) -> Result<(), String> {
    let mut place = values;
    for key in path.split('.') {
        let table = place.as_table_mut().ok_or_else(|| format!("{path} is not a setting"))?;
        place = table.entry(key.to_string()).or_insert_with(|| Value::String(String::new()));
    }
    *place = match place {
        Value::Integer(_) => {
            Value::Integer(text.parse().map_err(|_| format!("{text:?} is not a whole number"))?)
        }
        Value::Boolean(_) => {
            Value::Boolean(text.parse().map_err(|_| format!("{text:?} is not true or false"))?)
        }
        // A list, written with commas.
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_string())).collect())
        }
        _ => Value::String(text.to_string()),
    };
    Ok(())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// The machine's memory, or the container's limit if that is smaller.
fn machine_memory_bytes() -> u64 {
    const UNKNOWN: u64 = 4 << 30;
    // Of cgroups v2, and of v1, where a number above all memory stands for no limit.
    const LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    });
    let limits = LIMITS.iter().filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok());
    limits.fold(total.unwrap_or(UNKNOWN), u64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_string(), value.to_string())
    }

    #[test]
    fn later_sources_win() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("headwater.toml");
        std::fs::write(&file, "[http]\nlisten = \"127.0.0.1:1\"\n[query]\nthreads = 3\nrows_default = 5\n")
            .unwrap();
        let environment =
            [pair("HEADWATER_QUERY_THREADS", "7"), pair("HEADWATER_URL", "x"), pair("PATH", "y")];
        let settings = [
            pair("http.listen", "127.0.0.1:2"),
            pair("store.options.aws_region", "eu-1"),
            pair("resident.dir", "/var/cache/headwater"),
            pair("resident.memory_bytes_max", "7"),
        ];
        let config = Config::load(Some(&file), environment.into_iter(), &settings).unwrap();
        assert_eq!(config.http.listen.port(), 2);
        assert_eq!(config.query.threads, 7);
        assert_eq!(config.query.rows_default, 5);
        assert_eq!(config.store.options["aws_region"], "eu-1");
        assert_eq!(config.engine().resident_dir.as_deref(), Some(Path::new("/var/cache/headwater")));
        assert_eq!(config.engine().resident_memory_bytes_max, 7);
        assert_eq!(Config::default().engine().resident_dir, None);
        let printed: Config = toml::from_str(&config.to_toml()).unwrap();
        assert_eq!(printed.query.threads, 7);
    }

    #[test]
    fn what_is_refused() {
        let load = |environment: Vec<(String, String)>, settings: Vec<(String, String)>| {
            Config::load(None, environment.into_iter(), &settings).map(|_| ()).unwrap_err().to_string()
        };
        assert!(load(vec![pair("HEADWATER_QUERY_THREDS", "7")], vec![]).contains("no such setting"));
        assert!(load(vec![], vec![pair("query.threads", "many")]).contains("whole number"));
        assert!(load(vec![], vec![pair("http.listen", "0.0.0.0:80")]).contains("http.public"));
        assert!(load(vec![], vec![pair("ingest.memory_bytes_max", "5")]).contains("16 MiB"));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bad.toml");
        std::fs::write(&file, "[http]\nlisten = \"127.0.0.1:1\"\ntypo = 1\n").unwrap();
        assert!(Config::load(Some(&file), std::iter::empty(), &[]).unwrap_err().to_string().contains("typo"));
    }
}
