//! An engine's process, from the side of the contest.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Clients, EngineName, LoadDone, Request, Setup, THREADS, Timed, python};
use crate::data::Dataset;
use crate::{Result, process};

/// A running engine. Dropping it ends the process.
pub struct Engine {
    name: EngineName,
    python: Option<PathBuf>,
    setup: Setup,
    version: String,
    running: Running,
}

struct Running {
    child: Child,
    // None only while the process is being ended.
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Engine {
    /// Starts the process; it has neither loaded nor opened anything yet.
    ///
    /// # Errors
    /// If the process cannot be run.
    pub fn start(
        name: EngineName,
        python: Option<&Path>,
        dataset: &Dataset,
        keeps_plans: bool,
    ) -> Result<Self> {
        let setup = Setup {
            table: dataset.table.clone(),
            files: dataset.files.clone(),
            directory: dataset.directory.join(name.to_string()),
            threads: THREADS,
            keeps_plans,
        };
        let (version, running) = Running::start(name, python, &setup)?;
        Ok(Self { name, python: python.map(Path::to_path_buf), setup, version, running })
    }

    /// Who it is.
    pub fn name(&self) -> EngineName {
        self.name
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Loads the files into an empty directory.
    ///
    /// # Errors
    /// What the engine says.
    pub fn load(&mut self) -> Result<LoadDone> {
        self.running.ask(&Request::Load)
    }

    /// Opens what was loaded.
    ///
    /// # Errors
    /// What the engine says.
    pub fn open(&mut self) -> Result<()> {
        self.running.ask::<Value>(&Request::Open).map(|_| ())
    }

    /// Runs a query.
    ///
    /// # Errors
    /// What the engine says.
    pub fn query(&mut self, sql: &str) -> Result<Timed> {
        self.running.ask(&Request::Query { sql: sql.into() })
    }

    /// Runs statements, in turn, from several clients at once.
    ///
    /// # Errors
    /// What the engine says; queries that fail are counted instead.
    pub fn clients(&mut self, statements: &[String], clients: usize, seconds: f64) -> Result<Clients> {
        self.running.ask(&Request::Clients { statements: statements.to_vec(), clients, seconds })
    }

    /// The largest memory of the process so far.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn peak_memory_bytes(&self) -> Result<u64> {
        process::peak_memory_bytes(self.running.child.id())
    }

    /// A new process in the place of this one.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn restart(&mut self) -> Result<()> {
        self.running.end();
        (self.version, self.running) = Running::start(self.name, self.python.as_deref(), &self.setup)?;
        Ok(())
    }

    /// A new process that has opened the table, with the engine's files out of the page cache.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn restart_cold(&mut self) -> Result<()> {
        self.running.end();
        let files = self.setup.files.first().and_then(|file| file.parent());
        let read = match self.name {
            EngineName::Datafusion => files.unwrap_or(&self.setup.directory),
            _ => &self.setup.directory,
        };
        python::drop_page_cache(self.python.as_deref(), read)?;
        (self.version, self.running) = Running::start(self.name, self.python.as_deref(), &self.setup)?;
        self.open()
    }
}

impl Running {
    fn start(name: EngineName, python: Option<&Path>, setup: &Setup) -> Result<(String, Self)> {
        let mut command = match (name.is_peer_process(), python) {
            (true, Some(python)) => python::driver(python, name),
            (true, None) => return Err(format!("{name} needs Python").into()),
            (false, _) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["engine", &name.to_string()]);
                command
            }
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let requests = child.stdin.take();
        let answers = child.stdout.take().ok_or("the engine's output is not a pipe")?;
        let mut running = Self { child, requests, answers: BufReader::new(answers) };
        let answer: Value = running.ask(&Request::Start(setup.clone()))?;
        let version = answer["version"].as_str().unwrap_or_default().to_string();
        Ok((version, running))
    }

    fn ask<A: DeserializeOwned>(&mut self, request: &Request) -> Result<A> {
        let requests = self.requests.as_mut().ok_or("the engine was ended")?;
        writeln!(requests, "{}", serde_json::to_string(request)?)?;
        requests.flush()?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(format!("the engine's process ended ({})", self.child.wait()?).into());
        }
        let answer: Value = serde_json::from_str(&line)?;
        match answer["error"].as_str() {
            Some(error) => Err(error.into()),
            None => Ok(serde_json::from_value(answer)?),
        }
    }

    /// Ends the process and waits until it has; it closes its files when its input ends.
    fn end(&mut self) {
        drop(self.requests.take());
        // A process that has gone already is what is wanted.
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
