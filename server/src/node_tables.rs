//! The tables of a node, and what consumes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_ingest::IngestError;
use headwater_ingest::table::{IngestContext, TableIngest};
use headwater_segment::SegmentError;
use headwater_segment::live::{LiveTable, Tables};
use headwater_segment::log::{self, TableLog};
use headwater_segment::spec::TableSpec;
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::Mutex;

use crate::cluster::peers::Peers;

/// The tables of a node and everything that consumes them.
pub(crate) struct NodeTables {
    pub(crate) tables: Arc<Tables>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) root: Path,
    pub(crate) context: IngestContext,
    /// Whether this node consumes at all.
    pub(crate) consumes: bool,
    /// The other nodes; `None`: there are none.
    pub(crate) peers: Option<Peers>,
    /// The consumers by table. The lock also keeps two changes of tables from running at once.
    pub(crate) ingests: Mutex<BTreeMap<String, TableIngest>>,
    /// What each consumer was started with.
    pub(crate) started: parking_lot::Mutex<BTreeMap<String, Arc<TableSpec>>>,
}

impl NodeTables {
    /// The directory of a table in the store.
    pub(crate) fn table_root(&self, name: &str) -> Path {
        log::table_root(&self.root, name)
    }

    /// Serves a table and starts its consumer, if this node has any.
    pub(crate) fn run_table(
        &self,
        log: TableLog,
        ingests: &mut BTreeMap<String, TableIngest>,
    ) -> Result<(), IngestError> {
        let spec = Arc::clone(&log.snapshot().spec);
        let name = spec.name.clone();
        let live = LiveTable::new(log, self.store.clone(), self.table_root(&name));
        self.tables.insert(live.clone());
        if !self.consumes {
            return Ok(());
        }
        self.started.lock().insert(name.clone(), spec);
        let ingest = TableIngest::start(live, &self.context)?;
        ingests.insert(name, ingest);
        Ok(())
    }

    /// As [`run_table`](Self::run_table), where a consumer that does not start is no reason not to serve what is sealed.
    pub(crate) fn serve_table(&self, log: TableLog, ingests: &mut BTreeMap<String, TableIngest>) {
        let name = log.snapshot().spec.name.clone();
        if let Err(error) = self.run_table(log, ingests) {
            // A secret that is missing here and now, say.
            tracing::error!(table = name, %error, "the table is served, but not consumed");
            if let Some(live) = self.tables.get(&name) {
                live.set_trouble(Some(error.to_string()));
            }
        }
    }

    /// Opens every table of the store.
    ///
    /// # Errors
    /// If a log cannot be read: serving the others as if it did not exist would make its queries fail with a lie.
    pub(crate) async fn open_all(&self) -> Result<(), SegmentError> {
        let mut ingests = self.ingests.lock().await;
        for log in log::open_tables(&self.store, &self.root).await? {
            self.serve_table(log, &mut ingests);
        }
        Ok(())
    }

    /// Serves a table that another node has made, unless it is served already.
    pub(crate) async fn serve(&self, log: TableLog) {
        let mut ingests = self.ingests.lock().await;
        if self.tables.get(&log.snapshot().spec.name).is_none() {
            self.serve_table(log, &mut ingests);
        }
    }

    /// No longer serves a table that another node has dropped.
    pub(crate) async fn forget(&self, live: &Arc<LiveTable>) {
        let mut ingests = self.ingests.lock().await;
        let is_same = self.tables.get(live.name()).is_some_and(|present| Arc::ptr_eq(&present, live));
        if !is_same {
            return;
        }
        self.stop_consuming(live.name(), &mut ingests).await;
        self.tables.remove(live.name());
    }

    /// Stops a table's consumer where it stands, if there is one.
    pub(crate) async fn stop_consuming(&self, name: &str, ingests: &mut BTreeMap<String, TableIngest>) {
        if let Some(ingest) = ingests.remove(name) {
            ingest.stop(false).await;
        }
        self.started.lock().remove(name);
    }

    /// Starts the consumers anew whose table has another spec by now: what they read with the old one and have not sealed is
    /// read again, with the new one, as on all nodes.
    pub(crate) async fn restart_changed(&self) {
        for live in self.tables.list() {
            let is_changed = |live: &LiveTable| {
                self.started.lock().get(live.name()).is_some_and(|started| **started != *live.spec())
            };
            if !is_changed(&live) {
                continue;
            }
            let mut ingests = self.ingests.lock().await;
            // Whoever held the lock may have done it.
            let Some(live) = self.tables.get(live.name()).filter(|live| is_changed(live)) else { continue };
            tracing::info!(table = live.name(), "the table has another spec; its consumer starts anew");
            self.stop_consuming(live.name(), &mut ingests).await;
            self.serve_table(live.log().clone(), &mut ingests);
        }
    }
}
