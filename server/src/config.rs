//! The node's configuration: defaults, then a TOML file, then `HEADWATER_*` environment variables, then flags.
//!
//! Every setting has one dotted path (`http.listen`), one environment variable (`HEADWATER_HTTP_LISTEN`) and one flag
//! (`--set http.listen=…`). Unknown keys are refused wherever they come from. Secrets do not belong here: object store
//! credentials are read from the environment by the store itself, stream secrets are named in the table spec, and the
//! cluster's secret is named here and read when the node starts.

mod access;
mod cluster;
mod flight;
mod ingest;
mod origins;
mod postgres;
mod store;
mod toml_text;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use headwater_broker::engine::EngineConfig;
use headwater_segment::machine;
use serde::{Deserialize, Serialize};
use toml::Value;

use self::toml_text::without_value;

pub use self::access::{ANYBODY, AccessConfig, AccessRole, Hidden, TlsConfig, TokenConfig, UserConfig};
pub use self::cluster::{ClusterConfig, NodeTlsConfig, Role, SecretSource};
pub use self::flight::FlightConfig;
pub use self::ingest::IngestConfig;
pub use self::origins::Origin;
pub use self::postgres::PostgresConfig;
pub use self::store::StoreConfig;
pub(crate) use self::toml_text::read_toml;

const ENV_PREFIX: &str = "HEADWATER_";
/// Variables of ours that are not settings of a node.
const ENV_OTHER: [&str; 6] = [
    "HEADWATER_URL",
    "HEADWATER_CLUSTER_SECRET",
    "HEADWATER_USER",
    "HEADWATER_PASSWORD_FILE",
    "HEADWATER_TOKEN",
    "HEADWATER_CA",
];

/// Everything that can be set.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The HTTP listener.
    pub http: HttpConfig,
    /// The identity that listeners for clients show.
    pub tls: TlsConfig,
    /// Who is let in.
    pub access: AccessConfig,
    /// The listener for clients of the Postgres protocol.
    pub postgres: PostgresConfig,
    /// Arrow Flight SQL.
    pub flight: FlightConfig,
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
    /// Traces.
    pub telemetry: TelemetryConfig,
}

/// The HTTP listener.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Address and port. One that other machines can reach asks for users or tokens (`access`), and for `tls`.
    pub listen: SocketAddr,
    /// Passwords may come in clear from other machines, because a proxy before this listener ends TLS.
    pub plaintext_public: bool,
    /// Names, without ports, under which browsers ask for this server, beside localhost. Where nobody has to say who they are,
    /// other names are refused, as a page of another site can make its name mean this machine; beyond loopback all but addresses
    /// and names that the public DNS does not have. Empty with users: any name.
    pub hosts: Vec<String>,
    /// Connections at once; further ones wait.
    pub connections_max: usize,
    /// Largest request body, in bytes.
    pub body_bytes_max: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8099)),
            plaintext_public: false,
            hosts: Vec::new(),
            connections_max: 10_000,
            body_bytes_max: 2 << 20,
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
    /// Queries that take so many milliseconds are logged with their plan, which `system.query_log` then has as well; 0: none are.
    pub slow_ms: u64,
}

impl Default for QueryConfig {
    fn default() -> Self {
        let memory = machine::memory_bytes();
        Self {
            threads: machine::cpus(),
            deadline_default_ms: 60_000,
            deadline_max_ms: 3_600_000,
            memory_bytes_default: memory / 8,
            memory_bytes_max: memory / 4,
            rows_default: 1_000_000,
            rows_max: 1_000_000_000,
            concurrent_max: 4 * machine::cpus(),
            queue_max: 1_000,
            spill_dir: PathBuf::new(),
            spill_bytes_max: 32 << 30,
            result_bytes_max: 64 << 20,
            slow_ms: 10_000,
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
            slow: (self.slow_ms > 0).then(|| Duration::from_millis(self.slow_ms)),
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
        Self { dir: PathBuf::new(), disk_bytes_max: 100 << 30, memory_bytes_max: machine::memory_bytes() / 4 }
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

/// Traces, sent by OTLP over gRPC.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Where to, as `http://collector:4317`; empty: nowhere, and no spans are made.
    pub otlp_endpoint: String,
    /// Share of the traces that are sent, from 0 to 1. A request that names a trace (`traceparent`) decides for itself.
    pub sample_ratio: f64,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { otlp_endpoint: String::new(), sample_ratio: 0.01 }
    }
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
            // Read by itself first, so that a fault carries its place in the file.
            read_toml::<Self>(&text).map_err(|reason| ConfigError::new(&origin, reason))?;
            let overlay: Value = read_toml(&text).map_err(|reason| ConfigError::new(&origin, reason))?;
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
        let config: Self = values.try_into().map_err(|error: toml::de::Error| {
            ConfigError::new("values", without_value(&error.to_string()))
        })?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        access::check(self)?;
        self.postgres_address()?;
        if let Some(listen) = self.flight.listen {
            access::check_public("flight.listen", listen, self, Some(self.flight.plaintext_public))?;
        }
        self.ingest.check()?;
        if !(0.0..=1.0).contains(&self.telemetry.sample_ratio) {
            return Err(ConfigError::new("telemetry.sample_ratio", "must be from 0 to 1"));
        }
        let endpoint = &self.telemetry.otlp_endpoint;
        if !endpoint.is_empty() && !endpoint.starts_with("http://") {
            return Err(ConfigError::new(
                "telemetry.otlp_endpoint",
                "must be http://HOST:PORT; run a collector nearby",
            ));
        }
        self.cluster.check(&self.store)
    }

    /// Where clients of the Postgres protocol are served; `None`: nowhere.
    pub fn postgres_address(&self) -> Result<Option<SocketAddr>, ConfigError> {
        let address =
            self.postgres.address().map_err(|reason| ConfigError::new("postgres.listen", reason))?;
        if let Some(address) = address {
            // Nothing stands before it that would end TLS.
            access::check_public("postgres.listen", address, self, None)?;
        }
        Ok(address)
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
        Value::Float(_) => Value::Float(text.parse().map_err(|_| format!("{text:?} is not a number"))?),
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
        assert!(load(vec![], vec![pair("http.listen", "0.0.0.0:80")]).contains("access.anonymous"));
        assert!(load(vec![], vec![pair("flight.listen", "0.0.0.0:80")]).contains("flight.listen"));
        assert!(load(vec![], vec![pair("ingest.memory_bytes_max", "5")]).contains("16 MiB"));
        for ratio in ["1.5", "-1", "NaN"] {
            assert!(load(vec![], vec![pair("telemetry.sample_ratio", ratio)]).contains("from 0 to 1"));
        }
        assert!(load(vec![], vec![pair("telemetry.sample_ratio", "some")]).contains("not a number"));
        assert!(load(vec![], vec![pair("telemetry.otlp_endpoint", "collector:4317")]).contains("http://"));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bad.toml");
        std::fs::write(&file, "[http]\nlisten = \"127.0.0.1:1\"\ntypo = 1\n").unwrap();
        let of_file = || Config::load(Some(&file), std::iter::empty(), &[]).unwrap_err().to_string();
        assert!(of_file().contains("typo") && of_file().contains("line 3"), "{}", of_file());
        // The line with the fault may hold a secret, and so may the value.
        for text in [
            "[store.options]\naws_secret_access_key = \"hunter2\n",
            "[store.options]\naws_secret_access_key = hunter2\n",
            "[[access.users]]\nname = \"ada\"\npassword_hash = [\"hunter2\"]\n",
            "[cluster]\nsecret = \"hunter2\"\n",
            "[query]\nthreads = \"hunter2\"\n",
        ] {
            std::fs::write(&file, text).unwrap();
            assert!(!of_file().contains("hunter2") && of_file().contains("bad.toml: line "), "{}", of_file());
        }
    }
}
