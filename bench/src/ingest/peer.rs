//! ClickHouse, embedded in Python (chdb): the same events from a file of lines into a MergeTree.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use tempfile::TempDir;

use super::Measured;
use super::preload::SEED;
use crate::Result;
use crate::events::{Events, preloaded_time};

/// Compiled in, so that the binary can be run from anywhere.
const SCRIPT: &str = include_str!("../../peers/chdb_ingest.py");

/// The events as newline-delimited JSON in a temporary directory.
pub(super) struct EventsFile {
    directory: TempDir,
    path: PathBuf,
    events: u64,
}

impl EventsFile {
    pub(super) fn write(events: u64) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("headwater-bench-").tempdir()?;
        let path = directory.path().join("events.ndjson");
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        let mut stream = Events::new(SEED);
        for number in 0..events {
            out.write_all(stream.next(&preloaded_time(number)))?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
        Ok(Self { directory, path, events })
    }
}

#[derive(Deserialize)]
struct Answer {
    rows: u64,
    seconds: f64,
    cpu_seconds: f64,
    peak_memory_bytes: u64,
}

/// Loads the file into a new MergeTree, in a process of its own.
pub(super) fn clickhouse(python: &Path, file: &EventsFile) -> Result<Measured> {
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .arg(&file.path)
        .arg(file.directory.path().join("clickhouse"))
        .output()
        .map_err(|error| format!("{}: {error}", python.display()))?;
    if !output.status.success() {
        return Err(format!("chdb: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let answer: Answer = serde_json::from_slice(&output.stdout)?;
    if answer.rows != file.events {
        return Err(format!("ClickHouse holds {} rows, not {}", answer.rows, file.events).into());
    }
    let Answer { seconds, cpu_seconds, peak_memory_bytes, .. } = answer;
    Ok(Measured { seconds, cpu_seconds, peak_memory_bytes: Some(peak_memory_bytes) })
}
