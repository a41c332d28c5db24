//! The node under test: `headwater start` as a child process over a store, and a client for it.

use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::Result;

const START_WAIT: Duration = Duration::from_secs(20);
const LOG_LINES_SHOWN: usize = 15;

/// A running node. Dropping it kills the process and removes its log and a store of its own.
pub struct Node {
    child: Child,
    url: String,
    directory: TempDir,
}

impl Node {
    /// Starts `binary` over an empty store and waits until it answers. The environment's `HEADWATER_*` is not passed on. It keeps
    /// no results of earlier queries: benchmarks ask the same again.
    ///
    /// # Errors
    /// If the binary cannot be run or does not answer; the message holds the end of its log.
    pub fn start(binary: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("headwater-bench-").tempdir()?;
        let store = directory.path().join("store");
        fs::create_dir(&store)?;
        Self::start_in(binary, &store, directory, &[])
    }

    /// Starts a cluster over a store that stays, and waits until all know each other: a broker, which is the first, and
    /// `data_nodes` others.
    ///
    /// # Errors
    /// As [`start`](Self::start), or if they do not find each other.
    pub fn start_cluster(binary: &Path, store: &Path, data_nodes: usize) -> Result<Vec<Self>> {
        let free = || -> Result<u16> { Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port()) };
        let gossip = (0..=data_nodes).map(|_| Ok(UdpSocket::bind(("127.0.0.1", 0))?.local_addr()?.port()));
        let gossip = gossip.collect::<Result<Vec<_>>>()?;
        let seeds = gossip.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",");
        let mut nodes = Vec::new();
        for (number, port) in gossip.iter().enumerate() {
            let role = if number == 0 { "broker" } else { "data" };
            let settings = [
                format!("cluster.role={role}"),
                format!("cluster.node_id={role}-{number}"),
                format!("cluster.listen=127.0.0.1:{}", free()?),
                format!("cluster.gossip_listen=127.0.0.1:{port}"),
                format!("cluster.seeds={seeds}"),
            ];
            let directory = tempfile::Builder::new().prefix("headwater-bench-").tempdir()?;
            nodes.push(Self::start_in(binary, store, directory, &settings)?);
        }
        let known = "SELECT count(*) FROM system.nodes WHERE role = 'data' AND state = 'serving'";
        let (client, began) = (nodes[0].client()?, Instant::now());
        while client.number(known).ok() != i64::try_from(data_nodes).ok() {
            if began.elapsed() > START_WAIT {
                return Err(format!("the nodes do not find each other:\n{}", nodes[0].log_end()).into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(nodes)
    }

    /// Starts `binary` over a store that stays.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_over(binary: &Path, store: &Path) -> Result<Self> {
        Self::start_in(binary, store, tempfile::Builder::new().prefix("headwater-bench-").tempdir()?, &[])
    }

    fn start_in(binary: &Path, store: &Path, directory: TempDir, settings: &[String]) -> Result<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut command = Command::new(binary);
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEADWATER_"))
        {
            command.env_remove(name);
        }
        let store = format!("file://{}", store.display());
        let child = command
            .args([
                "start",
                "--listen",
                &format!("127.0.0.1:{port}"),
                "--store",
                &store,
                "--set",
                "query.result_bytes_max=0",
            ])
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(directory.path().join("log"))?)
            .spawn()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        let mut node = Self { child, url: format!("http://127.0.0.1:{port}"), directory };
        node.wait_until_it_answers()?;
        Ok(node)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let client = self.client()?;
        let began = Instant::now();
        while client.call(Method::GET, "/healthz", None).is_err() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || began.elapsed() > START_WAIT {
                return Err(
                    format!("headwater does not answer; its log ends with:\n{}", self.log_end()).into()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A client with a connection of its own.
    ///
    /// # Errors
    /// If the client cannot be set up.
    pub fn client(&self) -> Result<Client> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let http = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?;
        Ok(Client { runtime, http, url: self.url.clone() })
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The last lines of the node's log.
    pub fn log_end(&self) -> String {
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already; there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A blocking HTTP client.
pub struct Client {
    runtime: Runtime,
    http: reqwest::Client,
    url: String,
}

impl Client {
    /// Runs a statement and returns our JSON document.
    ///
    /// # Errors
    /// If the node cannot be reached, or answers with an error.
    pub fn sql(&self, statement: &str) -> Result<Value> {
        let body = json!({"sql": statement}).to_string();
        Ok(serde_json::from_slice(&self.call(Method::POST, "/sql", Some(body))?)?)
    }

    /// The whole number in the first row and column of a statement's answer.
    ///
    /// # Errors
    /// As [`sql`](Self::sql), or if there is no such number.
    pub fn number(&self, statement: &str) -> Result<i64> {
        let answer = self.sql(statement)?;
        answer["rows"][0][0].as_i64().ok_or_else(|| format!("{statement}: no number in {answer}").into())
    }

    /// Makes a call and returns the body of a successful answer.
    ///
    /// # Errors
    /// If the node cannot be reached, or answers with an error status.
    pub fn call(&self, method: Method, path: &str, body: Option<String>) -> Result<Vec<u8>> {
        self.runtime.block_on(async {
            let mut request = self.http.request(method, format!("{}{path}", self.url));
            if let Some(body) = body {
                request = request.header("content-type", "application/json").body(body);
            }
            let response = request.send().await?;
            let status = response.status();
            let bytes = response.bytes().await?;
            if !status.is_success() {
                return Err(format!("{path}: {status}: {}", String::from_utf8_lossy(&bytes)).into());
            }
            Ok(bytes.to_vec())
        })
    }
}
