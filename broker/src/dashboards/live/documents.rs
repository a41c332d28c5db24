//! The newest versions of dashboards, read once for all who open them.
//!
//! A thousand screens that come back after a restart ask for the same dashboard within a second. The store is asked which version
//! is the newest once in [`LOOK_EVERY`], and for a document only if it is another one. So what is answered here may be that much older than
//! the store; writes made through this process are seen at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use headwater_segment::spec::SpecFault;
use tokio::time::Instant;

use super::super::document::{Choice, Dashboard, ListValues};
use super::super::statement::PanelStatement;
use super::super::{DashboardError, DashboardStore, Revision, StoredDashboard};
use super::shared::{Kept, Shared};
use crate::QueryError;

/// The answer of the store counts for so long.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Dashboards that are kept.
const DOCUMENTS_MAX: usize = 256;
/// Bytes of the dashboards that are kept.
const DOCUMENTS_BYTES_MAX: usize = 32 << 20;

/// One version of a dashboard, ready to be watched.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) revision: Revision,
    pub(crate) dashboard: Dashboard,
    /// Of each panel, in their order.
    pub(super) statements: Vec<Arc<PanelStatement>>,
    /// Of each variable whose values come from a statement.
    pub(super) lists: BTreeMap<String, PanelStatement>,
}

impl Document {
    pub(super) fn new(stored: StoredDashboard) -> Result<Self, DashboardError> {
        let StoredDashboard { dashboard, revision, .. } = stored;
        let names: BTreeSet<String> =
            dashboard.variables.iter().map(|variable| variable.name.clone()).collect();
        let read = |path: String, sql: &str, names: &BTreeSet<String>| {
            let fault = |error: QueryError| SpecFault { path, message: error.to_string() };
            PanelStatement::new(sql, names).map_err(|error| DashboardError::Invalid(vec![fault(error)]))
        };
        let statements = dashboard
            .panels
            .iter()
            .enumerate()
            .map(|(index, panel)| read(format!("panels[{index}].sql"), &panel.sql, &names).map(Arc::new));
        let statements = statements.collect::<Result<_, _>>()?;
        let none = BTreeSet::new();
        let lists =
            dashboard.variables.iter().enumerate().filter_map(|(index, variable)| match &variable.choice {
                Choice::List(ListValues::Sql(sql)) => {
                    let statement = read(format!("variables[{index}].sql"), sql, &none);
                    Some(statement.map(|statement| (variable.name.clone(), statement)))
                }
                _ => None,
            });
        let lists = lists.collect::<Result<_, _>>()?;
        Ok(Self { revision, dashboard, statements, lists })
    }

    /// About what it takes: the document, and its statements once more.
    fn bytes(&self) -> usize {
        serde_json::to_vec(&self.dashboard).map_or(0, |json| 2 * json.len())
    }
}

type Outcome = Result<Arc<Document>, DashboardError>;

/// The dashboards of a store.
pub(super) struct Documents {
    store: Arc<dyn DashboardStore>,
    newest: Shared<String, Outcome>,
}

impl Documents {
    pub(super) fn new(store: Arc<dyn DashboardStore>) -> Self {
        Self { store, newest: Shared::new(DOCUMENTS_MAX, DOCUMENTS_BYTES_MAX) }
    }

    pub(super) fn store(&self) -> &Arc<dyn DashboardStore> {
        &self.store
    }

    /// The newest version.
    pub(super) async fn newest(&self, id: &str) -> Outcome {
        let fetch = async |before: Option<Outcome>| {
            let value = self.fetch(id, before.and_then(Result::ok)).await;
            let bytes = value.as_ref().map_or(0, |document| document.bytes());
            Kept { value, bytes, until: Instant::now() + LOOK_EVERY }
        };
        self.newest.get(&id.to_string(), fetch).await
    }

    async fn fetch(&self, id: &str, before: Option<Arc<Document>>) -> Outcome {
        if let Some(before) = before
            && self.store.revision(id).await?.as_ref() == Some(&before.revision)
        {
            return Ok(before);
        }
        Document::new(self.store.get(id).await?).map(Arc::new)
    }

    /// Which version is the newest, by the store; `None`: there is no such dashboard.
    pub(super) async fn revision(&self, id: &str) -> Result<Option<Revision>, DashboardError> {
        let found = self.store.revision(id).await?;
        let kept = self.newest.peek(&id.to_string());
        if kept.is_some_and(|kept| kept.ok().map(|document| document.revision.clone()) != found) {
            // Whoever hears of it and asks is not to get what was there before.
            self.forget(id);
        }
        Ok(found)
    }

    /// It was changed: who asks from now on gets what is there now.
    pub(super) fn forget(&self, id: &str) {
        self.newest.forget(&id.to_string());
    }
}
