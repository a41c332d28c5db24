//! The store around the tables: where they lie, which there are, purging a dropped one, and whether the store
//! keeps the promise that the log stands on.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use ulid::Ulid;

use super::files::LogFiles;
use super::table_log::TableLog;
use crate::maintain::garbage;
use crate::{Result, SegmentError};

/// Logs opened at a time.
const OPEN_AT_ONCE: usize = 8;

/// Where the objects of a table lie, under the root of the store.
pub fn table_root(store_root: &Path, table: &str) -> Path {
    store_root.clone().join("tables").join(table)
}

/// The logs of the tables under the root of a store, in no order; dropped ones are not among them.
///
/// # Errors
/// `Store` if the store cannot be read, `Corrupt` if a log is damaged.
pub async fn open_tables(store: &Arc<dyn ObjectStore>, store_root: &Path) -> Result<Vec<TableLog>> {
    let directories = table_directories(store, store_root).await?;
    let opened = futures::stream::iter(directories)
        .map(|name| TableLog::open(store.clone(), table_root(store_root, &name)));
    opened.buffer_unordered(OPEN_AT_ONCE).try_filter_map(async |log| Ok(log)).try_collect().await
}

/// Names of tables that there are or were: one listing, no log is opened.
///
/// # Errors
/// `Store` if the store cannot be listed.
pub async fn table_directories(store: &Arc<dyn ObjectStore>, store_root: &Path) -> Result<Vec<String>> {
    let directory = store_root.clone().join("tables");
    let listed = store.list_with_delimiter(Some(&directory)).await;
    let listed = listed
        .map_err(|error| SegmentError::store(format!("listing the tables under {directory}"), error))?;
    Ok(listed.common_prefixes.iter().filter_map(|root| root.filename().map(str::to_string)).collect())
}

impl TableLog {
    /// Deletes every object of a dropped table but its log, and returns how many there were. It is up to the caller that no
    /// query reads them any more.
    ///
    /// # Errors
    /// `Refused` if the table exists (dropped or not, it was created anew), `Store` if the store fails half way: call it again.
    pub async fn purge(store: Arc<dyn ObjectStore>, root: Path) -> Result<u64> {
        let log = root.clone().join("_delta_log");
        let context = || format!("purging {root}");
        let objects = store.list(Some(&root)).try_filter(|object| {
            let is_log = object.location.prefix_matches(&log);
            async move { !is_log }
        });
        let objects: Vec<Path> = objects
            .map_ok(|object| object.location)
            .try_collect()
            .await
            .map_err(|error| SegmentError::store(context(), error))?;
        // Only now: whatever was listed while the table is still dropped afterwards is not of a successor.
        let files = LogFiles::new(store.clone(), root.clone());
        if files.load().await?.is_some_and(|state| !state.dropped) {
            return Err(SegmentError::Refused(format!(
                "table {} exists; drop it before purging it",
                files.table
            )));
        }
        garbage::delete(&*store, &root, objects).await
    }
}

/// Concurrent writers of the self-test: a store that checks first and writes later lets several of them win.
const RACERS: usize = 8;

/// Checks that the store creates an object only if it is absent, and lets one of several concurrent writers win.
/// Everything that this engine promises rests on it, so a process must not start on a store that fails this.
///
/// # Errors
/// `Refused`, saying what to configure, if the store overwrites, lets several writers win, or does not know the
/// condition; `Store` if it cannot be reached.
pub async fn self_test(store: &dyn ObjectStore, store_root: &Path) -> Result<()> {
    let probe = |name: &str| store_root.clone().join(format!("_headwater_self_test_{name}_{}", Ulid::new()));
    let (twice, race) = (probe("twice"), probe("race"));
    let mut was_written = false;
    let outcome = create_twice(store, &twice, &mut was_written).await;
    // A write that has failed for want of an answer may have been done all the same.
    remove_probe(store, &twice, was_written).await;
    outcome?;
    let outcome = create_at_once(store, &race).await;
    remove_probe(store, &race, true).await;
    outcome
}

/// Deletes a probe; says if one that `was_written` stays.
async fn remove_probe(store: &dyn ObjectStore, probe: &Path, was_written: bool) {
    match store.delete(probe).await {
        Ok(()) | Err(StoreError::NotFound { .. }) => {}
        Err(error) if was_written => {
            tracing::warn!(%probe, %error, "self-test: the probe object could not be deleted; delete it by hand");
        }
        Err(error) => {
            tracing::debug!(%probe, %error, "self-test: a probe that was hardly written was not deleted")
        }
    }
}

async fn create_twice(store: &dyn ObjectStore, probe: &Path, was_written: &mut bool) -> Result<()> {
    let unknown = |error: &StoreError| {
        matches!(error, StoreError::NotSupported { .. } | StoreError::NotImplemented { .. })
    };
    match create(store, probe).await {
        Ok(()) => *was_written = true,
        Err(error) if unknown(&error) => {
            return refused(store, "cannot create an object only if it is absent");
        }
        Err(error) => return Err(SegmentError::store(format!("self-test: writing {probe}"), error)),
    }
    match create(store, probe).await {
        Err(StoreError::AlreadyExists { .. }) => Ok(()),
        Ok(()) => refused(store, "overwrote an object that was to be created only if absent"),
        Err(error) if unknown(&error) => refused(store, "cannot create an object only if it is absent"),
        Err(error) => Err(SegmentError::store(format!("self-test: writing {probe} again"), error)),
    }
}

async fn create_at_once(store: &dyn ObjectStore, probe: &Path) -> Result<()> {
    let racers = futures::future::join_all((0..RACERS).map(|_| create(store, probe))).await;
    match racers.iter().filter(|created| created.is_ok()).count() {
        0 | 1 => Ok(()),
        winners => {
            let why = format!("let {winners} of {RACERS} concurrent writers create one and the same object");
            refused(store, &why)
        }
    }
}

async fn create(store: &dyn ObjectStore, probe: &Path) -> std::result::Result<(), StoreError> {
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    store.put_opts(probe, "headwater".into(), options).await.map(|_| ())
}

fn refused(store: &dyn ObjectStore, why: &str) -> Result<()> {
    Err(SegmentError::Refused(format!(
        "the object store {store} {why}; tables would lose or repeat rows on it. Use a store with conditional writes \
         (S3: `If-None-Match` on PUT), or put a local disk in its place"
    )))
}
