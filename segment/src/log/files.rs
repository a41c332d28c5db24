//! The objects of one table's log: entries `_delta_log/<20 digits>.json`, checkpoints, and the hint to the newest.
//!
//! Reading starts at a checkpoint and replays the entries behind it, in order and without a hole. This is the
//! I/O edge: what the entries mean is in `state`, what may be written next in `decide`.

use std::sync::Arc;

use bytes::Bytes;
use deltalake_core::kernel::Action;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::actions;
use super::checkpoint;
use super::state::LogState;
use crate::{Result, SegmentError};

/// Entries read ahead while catching up.
const ENTRIES_AHEAD: usize = 16;
/// How often loading starts over because objects vanished under it (log clean-up by another process).
const LOAD_ATTEMPTS_MAX: usize = 3;

/// The log of the table whose root is `root`.
#[derive(Clone, Debug)]
pub(super) struct LogFiles {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) root: Path,
    /// Table name, for messages.
    pub(super) table: String,
}

/// What a listing of the log says.
#[derive(Debug, Default)]
struct Listing {
    checkpoint: Option<u64>,
    newest_entry: Option<u64>,
}

impl LogFiles {
    pub(super) fn new(store: Arc<dyn ObjectStore>, root: Path) -> Self {
        let table = root.filename().unwrap_or_default().to_string();
        Self { store, root, table }
    }

    fn directory(&self) -> Path {
        self.root.clone().join("_delta_log")
    }

    fn entry_path(&self, version: u64) -> Path {
        self.directory().join(format!("{version:020}.json"))
    }

    fn checkpoint_path(&self, version: u64) -> Path {
        self.directory().join(format!("{version:020}.checkpoint.parquet"))
    }

    fn context(&self, what: &str, version: u64) -> String {
        format!("table {}: {what} {version} of its log", self.table)
    }

    /// Writes an entry if there is none of its version. Any error leaves open whether it was written, or still will be.
    pub(super) async fn write_entry(&self, version: u64, entry: Bytes) -> Result<()> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&self.entry_path(version), entry.into(), options).await {
            Ok(_) => Ok(()),
            Err(error) => Err(SegmentError::store(self.context("writing entry", version), error)),
        }
    }

    /// Brings a state up to the newest entry; loads it if there is none, and leaves `None` if there is no log.
    ///
    /// That version N + 1 is missing does not say that N is the newest: both may have been cleaned up long ago, under a
    /// process that stood still. So if nothing new is found, N itself must still be there.
    pub(super) async fn catch_up(&self, slot: &mut Option<LogState>) -> Result<()> {
        let Some(known) = slot.as_ref().map(|state| state.version) else {
            *slot = self.load().await?;
            return Ok(());
        };
        let mut next = known + 1;
        let mut ahead = 1;
        loop {
            let mut entries = futures::stream::iter(next..next + ahead as u64)
                .map(|version| self.read_entry(version))
                .buffered(ahead);
            while let Some(entry) = entries.try_next().await? {
                let Some(actions) = entry else {
                    drop(entries);
                    if next == known + 1 && !self.has_entry(known).await? {
                        *slot = self.load().await?;
                    }
                    return Ok(());
                };
                self.advance(slot, next, &actions)?;
                next += 1;
            }
            ahead = ENTRIES_AHEAD;
        }
    }

    /// Applies the entry of a version to a state. On an error the slot is left empty, to be loaded again.
    pub(super) fn advance(
        &self,
        slot: &mut Option<LogState>,
        version: u64,
        actions: &[Action],
    ) -> Result<()> {
        let origin = self.context("entry", version);
        *slot = Some(LogState::apply(slot.take(), version, actions, &origin)?);
        Ok(())
    }

    async fn read_entry(&self, version: u64) -> Result<Option<Vec<Action>>> {
        let bytes = self.read(&self.entry_path(version), || self.context("reading entry", version)).await?;
        bytes.map(|bytes| actions::decode(&self.context("entry", version), &bytes)).transpose()
    }

    async fn has_entry(&self, version: u64) -> Result<bool> {
        match self.store.head(&self.entry_path(version)).await {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(SegmentError::store(self.context("looking for entry", version), error)),
        }
    }

    async fn read(&self, path: &Path, context: impl Fn() -> String) -> Result<Option<Bytes>> {
        let read = async { self.store.get(path).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(SegmentError::store(context(), error)),
        }
    }

    /// Reads the whole log; `None` if there is none.
    pub(super) async fn load(&self) -> Result<Option<LogState>> {
        for _ in 0..LOAD_ATTEMPTS_MAX {
            let listing = self.list().await?;
            let Some(newest) = listing.newest_entry.max(listing.checkpoint) else { return Ok(None) };
            if let Some(state) = self.load_listed(&listing, newest).await? {
                return Ok(Some(state));
            }
        }
        Err(SegmentError::Corrupt(format!(
            "table {}: entries are missing from {}; restore them from a backup of the store",
            self.table,
            self.directory()
        )))
    }

    /// Replays what a listing shows; `None` if some of it is not there.
    async fn load_listed(&self, listing: &Listing, newest: u64) -> Result<Option<LogState>> {
        let mut slot = None;
        let mut next = 0;
        if let Some(version) = listing.checkpoint {
            let context = || self.context("reading checkpoint", version);
            let Some(bytes) = self.read(&self.checkpoint_path(version), context).await? else {
                return Ok(None);
            };
            let origin = self.context("checkpoint", version);
            slot = Some(checkpoint::read(bytes, version, origin).await?);
            next = version + 1;
        }
        // By number and not by listing: a listing taken while entries are written may show a later one without an earlier one.
        let mut entries = futures::stream::iter(next..=newest)
            .map(|version| self.read_entry(version))
            .buffered(ENTRIES_AHEAD);
        while let Some(entry) = entries.try_next().await? {
            let Some(actions) = entry else { return Ok(None) };
            self.advance(&mut slot, next, &actions)?;
            next += 1;
        }
        Ok(slot)
    }

    async fn list(&self) -> Result<Listing> {
        if let Some(hint) = self.checkpoint_hint().await? {
            let listing = self.list_from(Some(hint)).await?;
            if listing.checkpoint.is_some() {
                return Ok(listing);
            }
        }
        self.list_from(None).await
    }

    async fn list_from(&self, version: Option<u64>) -> Result<Listing> {
        let directory = self.directory();
        let mut objects = match version {
            Some(version) => self
                .store
                .list_with_offset(Some(&directory), &directory.clone().join(format!("{version:020}"))),
            None => self.store.list(Some(&directory)),
        };
        let mut listing = Listing::default();
        let context = || format!("table {}: listing {directory}", self.table);
        while let Some(object) =
            objects.try_next().await.map_err(|error| SegmentError::store(context(), error))?
        {
            let Some((digits, kind)) = object.location.filename().and_then(|name| name.split_once('.'))
            else {
                continue;
            };
            let Ok(version) = digits.parse::<u64>() else { continue };
            match kind {
                "json" => listing.newest_entry = listing.newest_entry.max(Some(version)),
                "checkpoint.parquet" => listing.checkpoint = listing.checkpoint.max(Some(version)),
                _ => {}
            }
        }
        Ok(listing)
    }

    /// The version that `_last_checkpoint` names. It only saves time, so one that cannot be understood is passed over.
    async fn checkpoint_hint(&self) -> Result<Option<u64>> {
        let path = self.directory().join("_last_checkpoint");
        let context = || format!("table {}: reading {path}", self.table);
        let bytes = self.read(&path, context).await?;
        let hint = bytes.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
        Ok(hint.and_then(|hint| hint["version"].as_u64()))
    }
}
