//! Dashboards in the object store: one object per version, `<root>/dashboards/<id>/<20 digits>.json`.
//!
//! The newest version counts; a deleted dashboard has a newest version without a document. A version is written with
//! create-if-absent, the one conditional write that every store honours, as number `newest + 1`: of two writers that saw the same
//! version one wins, and the other is told. Nothing is changed in place, so what was read of a version stays true.
//!
//! **Old versions** are deleted when a newer one is written, all but the last [`VERSIONS_KEPT`]. That makes room for a trap: a writer that
//! was held up since it looked may find its number free again, because it was deleted. Its version would never be seen, and it would
//! believe otherwise. So a writer looks again afterwards: numbers are free again only if the newest is at least [`VERSIONS_KEPT`] further.
//!
//! A look that fails is no reason to call the write failed: only a writer that was held up for [`HELD_UP_MIN`] can have met the trap.
//!
//! **Deleted dashboards** are forgotten: after a day all but the version that says so, and that one a day later. Oldest first, so that no
//! earlier one is the newest at any time; and a day apart, so that a process which is slow at it does not take the first versions of a new
//! dashboard for old ones. Numbers begin again then: a version is told from others by its [`Revision`], and not by its number alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use headwater_broker::dashboards::{
    Dashboard, DashboardError, DashboardStore, DashboardSummary, Expected, Revision, StoredDashboard,
    read_dashboard,
};
use headwater_segment::clock::now_ms;
use headwater_segment::spec::SpecFault;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use ulid::Ulid;

/// Versions of a dashboard that are kept.
const VERSIONS_KEPT: u64 = 20;
/// Dashboards, those counted in that were deleted within twice [`FORGET_AFTER`].
const DASHBOARDS_MAX: usize = 1_000;
/// A deleted dashboard can be brought back by hand for so long.
const FORGET_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// In less time than this others do not write [`VERSIONS_KEPT`] versions, one after the other and each with several calls of the store.
const HELD_UP_MIN: Duration = Duration::from_secs(2);
/// So often the newest version may be gone before it is read, because others write newer ones.
const LOOKS_MAX: usize = 10;
/// Dashboards that are read at the same time.
const AT_ONCE: usize = 16;
/// A call of the store is given up after this long.
const STORE_WAIT: Duration = Duration::from_secs(30);

/// The dashboards below a directory of a store.
pub(crate) struct ObjectDashboards {
    objects: Arc<dyn ObjectStore>,
    directory: Path,
    /// What the newest versions that were read are.
    heads: Mutex<BTreeMap<String, (Written, Head)>>,
}

/// One object of all that ever had its name: numbers come again, and what stands under them is another version then.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    version: u64,
    e_tag: Option<String>,
    last_modified_ms: i64,
}

impl Written {
    fn new(version: u64, object: &ObjectMeta) -> Self {
        let last_modified_ms = object.last_modified.timestamp_millis();
        Self { version, e_tag: object.e_tag.clone(), last_modified_ms }
    }
}

/// What is said of a version without its document.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Head {
    Deleted,
    Present { revision: Revision, title: String, updated_at_ms: i64 },
}

/// One version, as it is kept.
#[derive(Debug, Deserialize)]
struct Version {
    /// Unlike that of any other write.
    writer: String,
    updated_at_ms: i64,
    /// `None`: deleted.
    dashboard: Option<Value>,
}

impl Version {
    /// What its head is, as number `version`.
    fn head(&self, version: u64) -> Head {
        match &self.dashboard {
            None => Head::Deleted,
            Some(document) => Head::Present {
                revision: Revision::new(version, &self.writer),
                title: document["title"].as_str().unwrap_or_default().to_string(),
                updated_at_ms: self.updated_at_ms,
            },
        }
    }
}

impl ObjectDashboards {
    /// Those of the store whose directory is `root`.
    pub(crate) fn new(objects: Arc<dyn ObjectStore>, root: &Path) -> Self {
        Self { objects, directory: root.clone().join("dashboards"), heads: Mutex::default() }
    }

    fn path_of(&self, id: &str, version: u64) -> Path {
        self.directory.clone().join(id).join(file_of(version))
    }

    /// The versions below a directory, by dashboard.
    async fn versions_below(
        &self,
        directory: Path,
    ) -> Result<BTreeMap<String, BTreeMap<u64, ObjectMeta>>, DashboardError> {
        let listed = self.objects.list(Some(&directory)).try_collect::<Vec<_>>();
        let listed = within(listed, || format!("listing {directory}")).await?;
        let mut found: BTreeMap<String, BTreeMap<u64, ObjectMeta>> = BTreeMap::new();
        for object in listed {
            if let Some((id, version)) = self.name_of(&object.location) {
                found.entry(id).or_default().insert(version, object);
            }
        }
        Ok(found)
    }

    fn name_of(&self, location: &Path) -> Option<(String, u64)> {
        let mut parts = location.prefix_match(&self.directory)?;
        let (id, file) = (parts.next()?, parts.next()?);
        let version = file.as_ref().strip_suffix(".json")?.parse().ok()?;
        // A name that is not padded would be looked for under another one, and not be found.
        let is_ours = parts.next().is_none() && file.as_ref() == file_of(version);
        is_ours.then(|| (id.as_ref().to_string(), version))
    }

    async fn versions_of(&self, id: &str) -> Result<BTreeMap<u64, ObjectMeta>, DashboardError> {
        let mut found = self.versions_below(self.directory.clone().join(id)).await?;
        Ok(found.remove(id).unwrap_or_default())
    }

    /// `None`: it was deleted since it was seen, because there are newer ones.
    async fn read(&self, id: &str, version: u64) -> Result<Option<Version>, DashboardError> {
        let path = self.path_of(id, version);
        let read = async {
            match self.objects.get(&path).await {
                Ok(found) => found.bytes().await.map(Some),
                Err(StoreError::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let Some(bytes) = within(read, || format!("reading {path}")).await? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| damaged(&path, &error.to_string()))
    }

    /// The newest version and what it is; `None` if there never was one, or if it is forgotten.
    async fn newest(&self, id: &str) -> Result<Option<(u64, Version)>, DashboardError> {
        for _ in 0..LOOKS_MAX {
            let Some((newest, object)) = self.versions_of(id).await?.pop_last() else { return Ok(None) };
            if let Some(version) = self.read(id, newest).await? {
                let head = (Written::new(newest, &object), version.head(newest));
                self.heads.lock().insert(id.to_string(), head);
                return Ok(Some((newest, version)));
            }
        }
        Err(changing(id))
    }

    /// What the newest of the versions that were listed is, from memory where it can be; `None` if it is gone already.
    async fn head(&self, id: &str, newest: u64, object: &ObjectMeta) -> Result<Option<Head>, DashboardError> {
        let written = Written::new(newest, object);
        if let Some((known, head)) = self.heads.lock().get(id)
            && *known == written
        {
            return Ok(Some(head.clone()));
        }
        let Some(version) = self.read(id, newest).await? else { return Ok(None) };
        let head = version.head(newest);
        self.heads.lock().insert(id.to_string(), (written, head.clone()));
        Ok(Some(head))
    }

    /// Writes the version after the newest, if that is what was expected; `None`: deletes.
    async fn write(
        &self,
        id: &str,
        dashboard: Option<&Dashboard>,
        expected: Expected,
    ) -> Result<Revision, DashboardError> {
        let began = Instant::now();
        let newest = self.newest(id).await?;
        let present = newest.as_ref().filter(|(_, found)| found.dashboard.is_some());
        let present = present.map(|(number, found)| Revision::new(*number, &found.writer));
        expected.check(id, present.as_ref())?;
        if newest.is_none() {
            self.check_room().await?;
        }
        let newest = newest.map_or(0, |(number, _)| number);
        let number = newest.checked_add(1).ok_or_else(|| {
            damaged(&self.path_of(id, newest), "there is no number after the one that it has as its name")
        })?;
        let writer = Ulid::new().to_string();
        let version = json!({"writer": writer, "updated_at_ms": now_ms(), "dashboard": dashboard});
        let path = self.path_of(id, number);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put = self.objects.put_opts(&path, version.to_string().into(), options);
        let written = tokio::time::timeout(STORE_WAIT, put).await;
        let took = began.elapsed();
        if !matches!(written, Ok(Ok(_))) {
            // It may have been written all the same: then it carries our name.
            match self.read(id, number).await? {
                Some(found) if found.writer == writer => {}
                Some(_) => return Err(overtaken(id, number)),
                None => return Err(unwritten(&path, written)),
            }
        }
        self.tidy(id, number, took).await?;
        Ok(Revision::new(number, &writer))
    }

    /// After a write as version `number`, `took` after the look before it: whether it counts, and away with old versions.
    async fn tidy(&self, id: &str, number: u64, took: Duration) -> Result<(), DashboardError> {
        let versions = match self.versions_of(id).await {
            Ok(versions) => versions,
            Err(_) => match self.versions_of(id).await {
                Ok(versions) => versions,
                Err(error) => return not_looked_after(id, number, took, &error),
            },
        };
        let newest = versions.keys().next_back().copied().unwrap_or(number);
        if newest.saturating_sub(number) >= VERSIONS_KEPT {
            return Err(overtaken(id, newest));
        }
        let old = versions.range(..=newest.saturating_sub(VERSIONS_KEPT));
        self.delete_all(old.map(|(_, object)| object.location.clone()).collect()).await;
        Ok(())
    }

    async fn check_room(&self) -> Result<(), DashboardError> {
        let ids = self.versions_below(self.directory.clone()).await?.len();
        match ids < DASHBOARDS_MAX {
            true => Ok(()),
            false => Err(DashboardError::Full(format!(
                "there are {ids} dashboards, those of the last two days that were deleted counted in, and {DASHBOARDS_MAX} are \
                 allowed; delete some"
            ))),
        }
    }

    /// Deletes objects in their order; after a failure the rest is left for the next write.
    async fn delete_all(&self, paths: Vec<Path>) {
        for path in paths {
            if let Err(error) = self.objects.delete(&path).await {
                tracing::debug!(object = %path, %error, "an old version of a dashboard was not deleted");
                return;
            }
        }
    }

    /// Forgets a dashboard whose newest version says that it was deleted, if that was long ago.
    async fn forget(&self, versions: &BTreeMap<u64, ObjectMeta>) {
        let Some((_, last)) = versions.last_key_value() else { return };
        let deleted_ms = now_ms() - last.last_modified.timestamp_millis();
        let numbers: Vec<u64> = versions.keys().copied().collect();
        let past = to_forget(&numbers, deleted_ms).iter();
        let paths = past.filter_map(|version| Some(versions.get(version)?.location.clone()));
        self.delete_all(paths.collect()).await;
    }
}

/// Those of the versions of a deleted dashboard, in order, that are to go `deleted_ms` after the last of them said that it is deleted.
fn to_forget(versions: &[u64], deleted_ms: i64) -> &[u64] {
    let forget_ms = FORGET_AFTER.as_millis() as i64;
    match versions {
        [_] if deleted_ms > 2 * forget_ms => versions,
        [old @ .., _] if deleted_ms > forget_ms => old,
        _ => &[],
    }
}

fn file_of(version: u64) -> String {
    format!("{version:020}.json")
}

#[async_trait]
impl DashboardStore for ObjectDashboards {
    async fn list(&self) -> Result<Vec<DashboardSummary>, DashboardError> {
        let found = self.versions_below(self.directory.clone()).await?;
        self.heads.lock().retain(|id, _| found.contains_key(id));
        let heads = found.into_iter().map(|(id, versions)| async move {
            let (newest, object) = versions.last_key_value()?;
            let head = self.head(&id, *newest, object).await.unwrap_or_else(|error| {
                // The others are not to be missing because of it.
                tracing::warn!(dashboard = id, %error, "a dashboard is not listed");
                None
            });
            match head {
                Some(Head::Present { revision, title, updated_at_ms }) => {
                    Some(DashboardSummary { id, title, revision, updated_at_ms })
                }
                Some(Head::Deleted) => {
                    self.forget(&versions).await;
                    None
                }
                None => None,
            }
        });
        let listed: Vec<Option<DashboardSummary>> =
            futures::stream::iter(heads).buffered(AT_ONCE).collect().await;
        Ok(listed.into_iter().flatten().collect())
    }

    async fn get(&self, id: &str) -> Result<StoredDashboard, DashboardError> {
        let Some((version, found)) = self.newest(id).await? else {
            return Err(DashboardError::NotFound(id.to_string()));
        };
        let document = found.dashboard.ok_or_else(|| DashboardError::NotFound(id.to_string()))?;
        let dashboard = read_dashboard(&document)
            .map_err(|faults| damaged(&self.path_of(id, version), &SpecFault::list(&faults)))?;
        let revision = Revision::new(version, &found.writer);
        Ok(StoredDashboard { dashboard, revision, updated_at_ms: found.updated_at_ms })
    }

    async fn revision(&self, id: &str) -> Result<Option<Revision>, DashboardError> {
        for _ in 0..LOOKS_MAX {
            let Some((newest, object)) = self.versions_of(id).await?.pop_last() else { return Ok(None) };
            match self.head(id, newest, &object).await? {
                Some(Head::Present { revision, .. }) => return Ok(Some(revision)),
                Some(Head::Deleted) => return Ok(None),
                None => {}
            }
        }
        Err(changing(id))
    }

    async fn put(
        &self,
        id: &str,
        dashboard: &Dashboard,
        expected: Expected,
    ) -> Result<Revision, DashboardError> {
        self.write(id, Some(dashboard), expected).await
    }

    async fn delete(&self, id: &str, expected: Expected) -> Result<(), DashboardError> {
        self.write(id, None, expected).await.map(|_| ())
    }
}

/// What a write is that happened, `took` after the look before it, if nobody can look again.
fn not_looked_after(
    id: &str,
    number: u64,
    took: Duration,
    error: &DashboardError,
) -> Result<(), DashboardError> {
    if took < HELD_UP_MIN {
        tracing::warn!(dashboard = id, version = number, %error, "old versions stay until the next write");
        return Ok(());
    }
    Err(DashboardError::Unavailable(format!(
        "dashboard {id} was written as version {number}, but {} s after the look before it, and whether others have written over \
         it cannot be seen ({error}); read it before you write again",
        took.as_secs()
    )))
}

fn changing(id: &str) -> DashboardError {
    DashboardError::Unavailable(format!(
        "dashboard {id} changes faster than it can be read: {LOOKS_MAX} times its newest version was gone; try again"
    ))
}

fn overtaken(id: &str, version: u64) -> DashboardError {
    DashboardError::Conflict {
        id: id.to_string(),
        reason: "somebody else has changed it at the same time".into(),
        version: Some(version),
    }
}

fn damaged(path: &Path, reason: &str) -> DashboardError {
    DashboardError::Unavailable(format!(
        "{path} cannot be read as a dashboard: {reason}; delete or repair the object"
    ))
}

fn unwritten<T>(
    path: &Path,
    outcome: Result<Result<T, StoreError>, tokio::time::error::Elapsed>,
) -> DashboardError {
    let reason = match outcome {
        Ok(Err(error)) => error.to_string(),
        _ => format!("no answer within {} s", STORE_WAIT.as_secs()),
    };
    DashboardError::Unavailable(format!(
        "writing {path}: {reason}; look whether it was written before you try again"
    ))
}

/// A call of the store, within its time.
async fn within<T>(
    call: impl Future<Output = Result<T, StoreError>>,
    what: impl Fn() -> String,
) -> Result<T, DashboardError> {
    match tokio::time::timeout(STORE_WAIT, call).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(DashboardError::Unavailable(format!("{}: {error}; try again", what()))),
        Err(_) => Err(DashboardError::Unavailable(format!(
            "{}: no answer from the object store within {} s; try again",
            what(),
            STORE_WAIT.as_secs()
        ))),
    }
}

#[cfg(test)]
mod tests;
