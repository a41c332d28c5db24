//! An engine that counts its runs, and a store of one dashboard.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use async_trait::async_trait;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;
use tokio::sync::watch;

use super::super::super::{DashboardSummary, Expected};
use super::*;
use crate::http::TableFacts;
use crate::request::{QueryAnswer, QueryRequest, QueryStats, TableCut};

/// A table whose one number is its count of rows; new rows come when a test says so.
pub(super) struct FakeEngine {
    pub(super) rows: watch::Sender<u64>,
    pub(super) runs: AtomicUsize,
    /// Runs that have begun and not ended.
    pub(super) running: watch::Sender<usize>,
    /// Statements wait until this allows them.
    pub(super) open: watch::Sender<bool>,
    pub(super) seen: Mutex<Vec<QueryRequest>>,
    pub(super) fails: Mutex<Option<QueryErrorKind>>,
    /// What the count of rows is shown as.
    pub(super) shown: AtomicU64,
}

impl FakeEngine {
    /// No rows yet, and statements are let through.
    pub(super) fn new() -> FakeEngine {
        FakeEngine {
            rows: watch::Sender::new(0),
            runs: AtomicUsize::new(0),
            running: watch::Sender::new(0),
            open: watch::Sender::new(true),
            seen: Mutex::default(),
            fails: Mutex::default(),
            shown: AtomicU64::new(0),
        }
    }
}

struct Running<'a>(&'a watch::Sender<usize>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

#[async_trait]
impl QueryRunner for FakeEngine {
    async fn run(&self, request: QueryRequest) -> Result<QueryAnswer, QueryError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        self.running.send_modify(|running| *running += 1);
        let _running = Running(&self.running);
        let wide = request.sql.contains("wide");
        self.seen.lock().push(request);
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
        if let Some(kind) = *self.fails.lock() {
            return Err(QueryError::new(kind, "it failed"));
        }
        let rows = *self.rows.borrow();
        let cell = self.shown.load(Ordering::SeqCst).wrapping_add(rows);
        let count = if wide { 20_000 } else { 1 };
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values((0..count).map(|_| cell as i64)));
        let batch = RecordBatch::try_from_iter([("rows", column)]).unwrap();
        let cut = TableCut {
            log_version: 0,
            offsets: BTreeMap::from([(0, rows as i64)]),
            freshness_ms: Some(3),
            missing: Vec::new(),
        };
        Ok(QueryAnswer {
            id: "q".into(),
            schema: batch.schema(),
            stream: Box::pin(RecordBatchStreamAdapter::new(batch.schema(), stream::iter([Ok(batch)]))),
            cuts: BTreeMap::from([("t".to_string(), cut)]),
            stats: Arc::new(QueryStats::default()),
        })
    }

    async fn other_rows(&self, cuts: &BTreeMap<String, TableCut>) {
        let Some(cut) = cuts.get("t") else { return std::future::pending().await };
        let known = cut.offsets[&0] as u64;
        self.rows.subscribe().wait_for(|rows| *rows != known).await.unwrap();
    }

    async fn kill(&self, _: &str, _: Option<&str>) -> bool {
        false
    }

    async fn progress(&self, _: &str, _: Option<&str>, _: bool) -> Option<crate::request::QueryProgress> {
        None
    }

    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn table_facts(&self, _: &str) -> Option<TableFacts> {
        None
    }
}

/// One dashboard.
pub(super) struct FakeStore {
    pub(super) stored: Mutex<Option<StoredDashboard>>,
    /// How often a document was read.
    pub(super) reads: AtomicUsize,
    /// How often it was asked which version is the newest.
    pub(super) looks: AtomicUsize,
}

impl FakeStore {
    pub(super) fn new(dashboard: StoredDashboard) -> FakeStore {
        FakeStore {
            stored: Mutex::new(Some(dashboard)),
            reads: AtomicUsize::new(0),
            looks: AtomicUsize::new(0),
        }
    }

    /// Writes as another process would.
    pub(super) fn change(&self, version: u64, change: impl FnOnce(&mut Dashboard)) {
        let mut stored = self.stored.lock();
        let stored = stored.as_mut().unwrap();
        stored.revision = revision(version);
        change(&mut stored.dashboard);
    }
}

pub(super) fn revision(version: u64) -> Revision {
    Revision::new(version, &format!("w{version}"))
}

#[async_trait]
impl DashboardStore for FakeStore {
    async fn list(&self) -> Result<Vec<DashboardSummary>, DashboardError> {
        Ok(Vec::new())
    }
    async fn get(&self, id: &str) -> Result<StoredDashboard, DashboardError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.stored.lock().clone().ok_or_else(|| DashboardError::NotFound(id.into()))
    }
    async fn revision(&self, _: &str) -> Result<Option<Revision>, DashboardError> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        Ok(self.stored.lock().as_ref().map(|stored| stored.revision.clone()))
    }
    async fn put(&self, _: &str, _: &Dashboard, _: Expected) -> Result<Revision, DashboardError> {
        Ok(revision(0))
    }
    async fn delete(&self, _: &str, _: Expected) -> Result<(), DashboardError> {
        Ok(())
    }
}
