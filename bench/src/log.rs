//! `log`: commits per second of one table log, by how many committers it has at a time and how many commits may share an entry.
//!
//! Each committer owns a partition and commits one segment after the other; no object is uploaded, so what is measured is the log
//! alone: deciding, writing the entry, applying it, the snapshot, and a checkpoint every 64 versions. Each cell has a table of its
//! own; they are deleted in the end. One commit per entry is what a log without sharing does.
//!
//! A store such as S3 answers after tens of milliseconds; the last store is in memory and takes that long for every request.

mod synthetic;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt};
use headwater_segment::clock::now_ms;
use headwater_segment::log::{Change, Commit, TableLog, table_root};
use headwater_server::config::StoreConfig;
use headwater_server::store::{self, Store};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use serde::Serialize;
use ulid::Ulid;

pub(crate) use self::synthetic::{FIRST_MICROS, SPAN_MICROS, number_of, segment};
use crate::Result;
use crate::events::{TABLE, spec};
use crate::report::{Machine, Output, Table, grouped, note, quantile};

const COMMITTERS: [usize; 3] = [1, 16, 256];
const COMMITS_PER_ENTRY_MAX: [usize; 2] = [1, 256];

/// Arguments of `headwater-bench log`.
#[derive(Clone, Debug, Args)]
pub struct LogArguments {
    /// Another store to measure, such as `s3://headwater/bench` after `deploy/s3.sh up`; credentials and endpoint come from
    /// the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT`, `AWS_ALLOW_HTTP`).
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// What each request to the slow store takes longer.
    #[arg(long, value_name = "MS", default_value_t = 60)]
    latency_ms: u64,
    /// Length of each measurement.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Document {
    benchmark: &'static str,
    machine: Machine,
    cells: Vec<Cell>,
}

#[derive(Debug, Serialize)]
struct Cell {
    store: String,
    committers: usize,
    commits_per_entry_max: usize,
    commits_per_second: f64,
    entries_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Runs the benchmark.
///
/// # Errors
/// If a store fails.
pub fn run(arguments: &LogArguments) -> Result<()> {
    let machine = Machine::here();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let directory = tempfile::tempdir()?;
    let open = |url: &str| store::open(&StoreConfig { url: url.into(), ..StoreConfig::default() });
    let local = open(&format!("file://{}", directory.path().display()))?;
    let latency = Duration::from_millis(arguments.latency_ms);
    // Not over the disk: its streams of bytes panic behind a delay.
    let slow = Store { objects: behind(Arc::new(InMemory::new()), latency), root: Path::default() };
    let mut stores = vec![("local disk".to_owned(), local)];
    if let Some(url) = &arguments.store {
        stores.push((url.clone(), open(url)?));
    }
    stores.push((format!("memory + {} ms", arguments.latency_ms), slow));
    let time = Duration::from_secs(arguments.seconds);
    let run = format!("log-{}", Ulid::new());
    let cells = runtime.block_on(measure_all(&stores, &run, time));
    // What lies in the temporary directory goes with it; what does not goes whatever came of the measurement.
    for (_, store) in stores.iter().filter(|(name, _)| Some(name) == arguments.store.as_ref()) {
        runtime.block_on(remove(&*store.objects, &store.root.clone().join(run.as_str())))?;
    }
    let cells = cells?;
    let document = Document { benchmark: "log", machine, cells };
    arguments.output.publish(show(&document), &document)
}

async fn measure_all(stores: &[(String, Store)], run: &str, time: Duration) -> Result<Vec<Cell>> {
    let mut cells = Vec::new();
    for (name, store) in stores {
        let under = store.root.clone().join(run);
        for committers in COMMITTERS {
            for commits_per_entry_max in COMMITS_PER_ENTRY_MAX {
                note(format!("{name}, {committers} committers, {commits_per_entry_max} commits per entry"));
                let measured = measure(store, &under, committers, commits_per_entry_max, time).await?;
                cells.push(Cell { store: name.clone(), ..measured });
            }
        }
    }
    Ok(cells)
}

/// A store whose every request takes longer by the same time.
fn behind(store: Arc<dyn ObjectStore>, latency: Duration) -> Arc<dyn ObjectStore> {
    let config = ThrottleConfig {
        wait_delete_per_call: latency,
        wait_get_per_call: latency,
        wait_list_per_call: latency,
        wait_list_with_delimiter_per_call: latency,
        wait_put_per_call: latency,
        ..ThrottleConfig::default()
    };
    Arc::new(ThrottledStore::new(store, config))
}

/// A table of its own, under `under`.
async fn measure(
    store: &Store,
    under: &Path,
    committers: usize,
    commits_per_entry_max: usize,
    time: Duration,
) -> Result<Cell> {
    let root = table_root(&under.clone().join(Ulid::new().to_string()), TABLE);
    let log = TableLog::create(Arc::clone(&store.objects), root.clone(), &spec()?).await?;
    let starts: BTreeMap<i32, i64> = (0..committers as i32).map(|partition| (partition, 0)).collect();
    let began = log.commit(&commit(Change::FirstStart { epoch: 0, starts, topic_id: None })).await?;
    log.limit_commits_per_entry(commits_per_entry_max);
    let start = Instant::now();
    let running = (0..committers as i32).map(|partition| {
        let log = log.clone();
        tokio::spawn(async move { commit_until(&log, partition, start + time).await })
    });
    let mut times_ms = Vec::new();
    for committed in join_all(running).await {
        times_ms.append(&mut committed??);
    }
    let seconds = start.elapsed().as_secs_f64();
    let entries = log.snapshot().version - began.version;
    Ok(Cell {
        store: String::new(),
        committers,
        commits_per_entry_max,
        commits_per_second: times_ms.len() as f64 / seconds,
        entries_per_second: entries as f64 / seconds,
        p50_ms: quantile(&mut times_ms, 0.5),
        p99_ms: quantile(&mut times_ms, 0.99),
    })
}

/// One committer; how long each of its commits took.
async fn commit_until(log: &TableLog, partition: i32, until: Instant) -> Result<Vec<f64>> {
    let schema = Arc::clone(&log.snapshot().schema);
    let mut times_ms = Vec::new();
    for from in 0.. {
        let meta = Arc::new(segment(&schema, partition, from, 1));
        let change = commit(Change::Segment { epoch: 0, meta, schema: Arc::clone(&schema) });
        let asked = Instant::now();
        if asked >= until {
            break;
        }
        log.commit(&change).await?;
        times_ms.push(asked.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times_ms)
}

/// A change of its own.
pub(crate) fn commit(change: Change) -> Commit {
    Commit { id: Ulid::new(), at_ms: now_ms(), change }
}

async fn remove(store: &dyn ObjectStore, root: &Path) -> Result<()> {
    let listed = store.list(Some(root)).map_ok(|object| object.location).boxed();
    let deleted: Vec<_> = store.delete_stream(listed).try_collect().await?;
    note(format!("  {} objects deleted", deleted.len()));
    Ok(())
}

fn show(document: &Document) -> String {
    let headings =
        ["store", "committers", "commits per entry", "commits/s", "entries/s", "p50, ms", "p99, ms"];
    let mut table = Table::new(&headings);
    for cell in &document.cells {
        let most = match cell.commits_per_entry_max {
            1 => "1".into(),
            most => format!("up to {most}"),
        };
        table.row([
            cell.store.clone(),
            cell.committers.to_string(),
            most,
            grouped(cell.commits_per_second),
            grouped(cell.entries_per_second),
            format!("{:.1}", cell.p50_ms),
            format!("{:.1}", cell.p99_ms),
        ]);
    }
    format!("Commits of one table log.\n{}\n\n{table}", document.machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn committers_at_once_share_entries_on_a_slow_store() {
        let memory: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        let store =
            Store { objects: behind(memory.clone(), Duration::from_millis(5)), root: Path::default() };
        let time = Duration::from_millis(200);
        let under = Path::from("run");
        let alone = measure(&store, &under, 16, 1, time).await.unwrap();
        let together = measure(&store, &under, 16, 256, time).await.unwrap();
        assert!((alone.entries_per_second - alone.commits_per_second).abs() < 1e-9, "{alone:?}");
        assert!(together.commits_per_second > 2.0 * together.entries_per_second, "{together:?}");
        remove(&*memory, &under).await.unwrap();
        assert!(memory.list(None).next().await.is_none(), "the tables are deleted");
    }
}
