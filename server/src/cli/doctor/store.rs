//! The object store: whether it is reached, keeps its promises, and how fast it is.

use std::path::{Path as FilePath, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::Utc;
use futures::StreamExt;
use headwater_segment::SegmentError;
use headwater_segment::log::{self, TableLog};
use headwater_server::config::StoreConfig;
use headwater_server::store::{self, Store};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use ulid::Ulid;

use super::clock;
use super::machine::writable;
use super::report::{Area, Findings, Outcome, Place};

/// Objects written, read and deleted to see how long that takes.
const PROBES: usize = 5;
/// Bytes of each: as a small segment's index.
const PROBE_BYTES: usize = 64 << 10;
/// Objects that are listed at most.
const LISTED_MAX: usize = 1000;
/// A commit takes a write or two: with slower ones, seals queue up.
const SLOW: Duration = Duration::from_millis(500);
const REACH: &str =
    "check store.url, its options (aws_endpoint, aws_region), the credentials and the network";

/// The tables that are in the store, if it is there.
pub(super) async fn check(findings: &Findings, config: &StoreConfig) -> Vec<TableLog> {
    let url = shown(&config.url);
    let place = |check| Place::new(Area::Store, check, &url);
    if let Some(directory) = missing_directory(config) {
        findings.add(place("open"), of_missing(&directory));
        findings.add(Place::new(Area::Clock, "store", ""), Outcome::skipped("the store is not there yet"));
        return Vec::new();
    }
    let store = match store::open(config) {
        Ok(store) => store,
        Err(error) => {
            findings.add(place("open"), Outcome::failure(error.to_string(), REACH));
            findings
                .add(Place::new(Area::Clock, "store", ""), Outcome::skipped("the store cannot be opened"));
            return Vec::new();
        }
    };
    findings.add(
        place("open"),
        match config.url.starts_with("memory:") {
            true => Outcome::warning(
                "all tables are gone when the process ends",
                "use file:///path or s3://bucket/prefix for what is to last",
            ),
            false => Outcome::ok("can be opened"),
        },
    );
    let reach = store::hint(config).unwrap_or(REACH);
    if !list(findings, (&place("list"), reach), &store).await {
        findings.add(Place::new(Area::Clock, "store", ""), Outcome::skipped("the store was not reached"));
        return Vec::new();
    }
    let (promise_at, speed_at, tables_at) = (place("create_if_absent"), place("speed"), place("tables"));
    let trying = async {
        promise(findings, &promise_at, &store).await;
        probe(findings, &speed_at, &store).await;
    };
    let ((), tables) = tokio::join!(trying, tables(findings, &tables_at, &store));
    tables
}

/// A URL without what stands before its host.
fn shown(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1))) {
        Some((scheme, rest)) => format!("{scheme}://{rest}"),
        None => url.to_string(),
    }
}

/// The directory of a store on disk that is not there: opening it would make it.
fn missing_directory(config: &StoreConfig) -> Option<PathBuf> {
    let directory = PathBuf::from(config.url.strip_prefix("file://")?);
    (!directory.exists()).then_some(directory)
}

fn of_missing(directory: &FilePath) -> Outcome {
    let parent = directory.ancestors().skip(1).find(|parent| parent.exists());
    // A relative path with no parent is in the working directory.
    let parent = parent.filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(FilePath::new("."));
    match writable(parent) {
        Ok(()) => Outcome::ok("is not there yet; start will make it"),
        Err(error) => Outcome::failure(
            format!("is not there, and cannot be made in {}: {error}", parent.display()),
            "make the directory, owned by the user that headwater runs as",
        ),
    }
}

/// `reach` is what to do if the store is not reached.
async fn list(findings: &Findings, (place, reach): (&Place, &str), store: &Store) -> bool {
    let listing = store.objects.list(Some(&store.root)).take(LISTED_MAX).collect::<Vec<_>>();
    let Some((listed, took)) = findings.within(place, reach, listing).await else { return false };
    match listed.iter().find_map(|object| object.as_ref().err()) {
        None => {
            let many = if listed.len() == LISTED_MAX { "or more " } else { "" };
            let seen = format!("{} objects {many}in {} ms", listed.len(), took.as_millis());
            findings.add(place.clone(), Outcome::ok(seen));
            true
        }
        Some(error) => {
            findings.add(place.clone(), Outcome::failure(text(error), reach));
            false
        }
    }
}

/// Whether of several writers one wins: what a node tests when it starts.
async fn promise(findings: &Findings, place: &Place, store: &Store) {
    let test = log::self_test(store.objects.as_ref(), &store.root);
    let Some((tested, _)) = findings.within(place, REACH, test).await else { return };
    findings.add(
        place.clone(),
        match tested {
            Ok(()) => Outcome::ok("honoured, also by concurrent writers"),
            Err(error @ SegmentError::Refused(_)) => Outcome::failure(
                error.to_string(),
                "headwater does not start on this store: use one with conditional writes, or a local disk",
            ),
            Err(error) => {
                Outcome::failure(error.to_string(), "the store must let objects be created and deleted there")
            }
        },
    );
}

/// Median times of writing, reading and deleting.
struct Speed {
    write: Duration,
    read: Duration,
    delete: Duration,
}

async fn probe(findings: &Findings, place: &Place, store: &Store) {
    let mut clock = None;
    let probing = measure(store, &mut clock);
    let probed = findings.within(place, REACH, probing).await;
    let clock_place = Place::new(Area::Clock, "store", "");
    findings.add(clock_place, clock.unwrap_or_else(|| Outcome::skipped("the store has not told its time")));
    let Some((probed, _)) = probed else { return };
    findings.add(place.clone(), match probed {
        Ok(speed) => {
            let seen = format!(
                "{PROBE_BYTES} bytes written in {:.1} ms, read in {:.1}, deleted in {:.1} (medians of {PROBES})",
                ms(speed.write),
                ms(speed.read),
                ms(speed.delete)
            );
            match speed.write > SLOW {
                true => Outcome::warning(seen, "each commit waits so long; use a store that is nearer"),
                false => Outcome::ok(seen),
            }
        }
        Err(error) => Outcome::failure(text(&error), "the store must allow to write, read and delete"),
    });
}

async fn measure(store: &Store, clock: &mut Option<Outcome>) -> object_store::Result<Speed> {
    let content = Bytes::from(vec![0x5a; PROBE_BYTES]);
    let path = |probe: usize| store.root.clone().join(format!("_headwater_doctor_{}_{probe}", Ulid::new()));
    let paths: Vec<Path> = (0..PROBES).map(path).collect();
    let measured = measure_at(store.objects.as_ref(), &paths, &content, clock).await;
    for path in &paths {
        // They are gone unless something went wrong, which is said then.
        let _ = store.objects.delete(path).await;
    }
    measured
}

async fn measure_at(
    store: &dyn ObjectStore,
    paths: &[Path],
    content: &Bytes,
    clock: &mut Option<Outcome>,
) -> object_store::Result<Speed> {
    let (mut writes, mut reads, mut deletes) = (Vec::new(), Vec::new(), Vec::new());
    for path in paths {
        let (before, began) = (Utc::now(), Instant::now());
        store.put(path, content.clone().into()).await?;
        writes.push(began.elapsed());
        let after = Utc::now();
        let began = Instant::now();
        let read = store.get(path).await?;
        let written_at = read.meta.last_modified;
        if read.bytes().await? != *content {
            let source = "what was read is not what was written".into();
            return Err(object_store::Error::Generic { store: "doctor", source });
        }
        reads.push(began.elapsed());
        // Stores tell whole seconds.
        clock.get_or_insert_with(|| clock::compare(before, written_at, after, Duration::from_secs(1)));
        let began = Instant::now();
        store.delete(path).await?;
        deletes.push(began.elapsed());
    }
    Ok(Speed { write: median(writes), read: median(reads), delete: median(deletes) })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

async fn tables(findings: &Findings, place: &Place, store: &Store) -> Vec<TableLog> {
    let opening = log::open_tables(&store.objects, &store.root);
    let Some((opened, _)) = findings.within(place, REACH, opening).await else { return Vec::new() };
    match opened {
        Ok(logs) => {
            let mut names: Vec<String> = logs.iter().map(|log| log.snapshot().spec.name.clone()).collect();
            names.sort();
            let list = if names.is_empty() { "none yet".to_string() } else { names.join(", ") };
            findings.add(place.clone(), Outcome::ok(list));
            logs
        }
        Err(error) => {
            let fix = "the log of that table is damaged or not readable; start would refuse, too";
            findings.add(place.clone(), Outcome::failure(error.to_string(), fix));
            Vec::new()
        }
    }
}

/// The last cause says what happened.
fn text(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    if text.len() > 500 {
        text.truncate(text.floor_char_boundary(500));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests;
