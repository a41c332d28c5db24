//! Dashboards that move: one run of a panel for all who watch it.
//!
//! ```text
//! viewer ─┐                        ┌─ runner of panel 1 ── QueryRunner
//! viewer ─┼─ watch channels ───────┼─ runner of panel 2 ── QueryRunner
//! viewer ─┘  (the newest answer)   └─ …
//! ```
//!
//! A *runner* exists per panel of a version of a dashboard, values of the variables that the panel reads, and time range if it reads
//! that, as long as somebody watches it and for [`LiveLimits::linger`] afterwards. It runs the panel's statement when its tables have
//! other rows than its last answer, at most once per `refresh_ms`, and renders the answer once. A *viewer* is one connection: it gets
//! the last known answer of each panel, and then every answer that differs from the one before. It ends after [`LiveLimits::stay`]:
//! the client comes back through the doors, where its rights are looked at again and its cookie is renewed.
//!
//! An answer may also change without new rows, because of the time: what a relative range leaves behind has to go. Such a panel
//! runs again when its range has moved on by a [`STEPS_PER_RANGE`]th, which is about as much as a chart can show. What reads system
//! tables runs once per `refresh_ms`. So does everything on a cluster, where the rows are on other nodes.
//!
//! **Invariants:** a viewer never holds a runner back, and nothing is kept for a viewer but the newest answer of each panel; answers
//! that are kept have a bound for all together; a runner ends soon after its last viewer; a panel never works more than half of the
//! time, however slow its statement is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::document::{Dashboard, Panel};
use super::statement::PanelStatement;
use super::{DashboardError, DashboardStore, Revision};
use crate::QueryError;
use crate::http::QueryRunner;

mod answer;
mod documents;
mod follow;
mod runner;
mod shared;
mod shown;
mod values;
mod viewer;

#[cfg(test)]
mod tests;

pub use answer::PanelAnswer;
pub(crate) use documents::Document;
use documents::Documents;
use follow::Followed;
use runner::{PanelRun, Runner};
use shown::{AnswerRoom, Shown};
use values::Lists;
pub use values::ValuesError;
pub use viewer::Viewer;

/// A range moves on in so many steps, if there are no new rows.
const STEPS_PER_RANGE: u32 = 120;

/// Bounds on what viewers may cost.
#[derive(Clone, Copy, Debug)]
pub struct LiveLimits {
    /// Viewers of this process. Default 4,000.
    pub viewers_max: usize,
    /// Runners of this process. Default 500.
    pub runners_max: usize,
    /// Rows of a panel's answer. Default 10,000.
    pub rows_max: u64,
    /// Bytes of a panel's answer, as JSON. Default 4 MiB.
    pub answer_bytes_max: usize,
    /// Bytes of all answers together that are kept for viewers. Default 256 MiB.
    pub kept_bytes_max: usize,
    /// A panel's statement is given up after this long. Default 30 s.
    pub deadline: Duration,
    /// A viewer who takes nothing for so long is let go. Default 60 s.
    pub stall: Duration,
    /// A viewer is asked to come back after this long, and up to a fifth more. Default 10 min.
    pub stay: Duration,
    /// A runner goes on for so long after its last viewer. Default 3 s.
    pub linger: Duration,
    /// How often a viewer is told that the server is there. Default 5 s.
    pub beat: Duration,
    /// How often the store is asked whether a dashboard that is watched was changed by another process. Default 10 s.
    pub follow: Duration,
}

impl Default for LiveLimits {
    fn default() -> Self {
        Self {
            viewers_max: 4_000,
            runners_max: 500,
            rows_max: 10_000,
            answer_bytes_max: 4 << 20,
            kept_bytes_max: 256 << 20,
            deadline: Duration::from_secs(30),
            stall: Duration::from_secs(60),
            stay: Duration::from_secs(600),
            linger: Duration::from_secs(3),
            beat: Duration::from_secs(5),
            follow: Duration::from_secs(10),
        }
    }
}

/// Why somebody cannot watch.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The dashboard.
    #[error(transparent)]
    Dashboard(#[from] DashboardError),
    /// The values that were chosen.
    #[error("{0}")]
    Values(String),
    /// There are as many as there may be.
    #[error("{0}")]
    Busy(String),
}

/// What a viewer has chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Values of variables; the others have their defaults.
    pub values: BTreeMap<String, String>,
    /// Another time range than the dashboard's.
    pub last: Option<Duration>,
}

/// What makes two viewers of a panel see the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RunnerKey {
    dashboard: String,
    tag: Arc<str>,
    panel: String,
    /// Of the variables that the panel reads.
    values: BTreeMap<String, String>,
    /// The length of the time range, if the panel reads that.
    last: Option<Duration>,
}

/// All runners and viewers of a process.
pub struct LiveHub {
    queries: Arc<dyn QueryRunner>,
    documents: Arc<Documents>,
    lists: Lists,
    limits: LiveLimits,
    room: Arc<AnswerRoom>,
    viewers: Arc<Semaphore>,
    runners: Mutex<HashMap<RunnerKey, Weak<Runner>>>,
    followed: Mutex<HashMap<String, Weak<Followed>>>,
    closed: CancellationToken,
}

impl LiveHub {
    /// A hub without viewers.
    pub fn new(queries: Arc<dyn QueryRunner>, store: Arc<dyn DashboardStore>, limits: LiveLimits) -> Self {
        Self {
            queries,
            documents: Arc::new(Documents::new(store)),
            lists: Lists::new(),
            limits,
            room: Arc::new(AnswerRoom::new(limits.kept_bytes_max)),
            viewers: Arc::new(Semaphore::new(limits.viewers_max)),
            runners: Mutex::default(),
            followed: Mutex::default(),
            closed: CancellationToken::new(),
        }
    }

    /// Lets all viewers go, so that a server can end; they come back by themselves. Cannot be undone.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Where dashboards are kept.
    pub fn store(&self) -> &Arc<dyn DashboardStore> {
        self.documents.store()
    }

    /// The newest version of a dashboard, as it was a moment ago at most; what was changed through this process is seen at once.
    pub(crate) async fn document(&self, id: &str) -> Result<Arc<Document>, DashboardError> {
        self.documents.newest(id).await
    }

    /// Tells those who watch a dashboard at once that it was changed here.
    pub fn changed(&self, id: &str) {
        self.documents.forget(id);
        if let Some(followed) = self.followed.lock().get(id).and_then(Weak::upgrade) {
            followed.look();
        }
    }

    /// Begins to watch the newest version of a dashboard.
    ///
    /// # Errors
    /// If there is no such dashboard, if the choice is not one that it offers, or if too many watch already.
    pub async fn watch(&self, id: &str, chosen: &Chosen) -> Result<Viewer, WatchError> {
        let permit = Arc::clone(&self.viewers).try_acquire_owned().map_err(|_| {
            WatchError::Busy(format!("{} viewers watch already; try again later", self.limits.viewers_max))
        })?;
        let document = self.documents.newest(id).await?;
        let values = values_of(&document.dashboard, chosen)?;
        let runners = self.runners_of(&document, keys_of(id, &document, &values, chosen.last))?;
        let followed = self.follow(id, &document.revision);
        let (revision, closed) = (document.revision.clone(), self.closed.clone());
        Ok(Viewer::new(revision, runners, followed, permit, self.limits, closed))
    }

    /// Runs a statement of a panel once, for `user`.
    ///
    /// # Errors
    /// As [`QueryRunner::run`], and if the answer is too large for a panel.
    pub async fn preview(
        &self,
        sql: &str,
        values: &BTreeMap<String, String>,
        last: Duration,
        user: Option<String>,
    ) -> Result<PanelAnswer, QueryError> {
        let names: BTreeSet<String> = values.keys().cloned().collect();
        let statement = PanelStatement::new(sql, &names)?;
        answer::ask(&*self.queries, &statement, values, last, user, &self.limits).await
    }

    /// A runner for each key, which are those of the panels; those that others watch already are shared.
    fn runners_of(&self, document: &Document, keys: Vec<RunnerKey>) -> Result<Vec<Arc<Runner>>, WatchError> {
        let mut runners = self.runners.lock();
        runners.retain(|_, runner| runner.strong_count() > 0);
        let mut watched = Vec::with_capacity(keys.len());
        for (key, statement) in keys.into_iter().zip(&document.statements) {
            if let Some(runner) = runners.get(&key).and_then(Weak::upgrade) {
                watched.push(runner);
                continue;
            }
            if runners.len() >= self.limits.runners_max {
                let message = format!(
                    "{} different panels are watched already; try again later, or with values that others watch",
                    self.limits.runners_max
                );
                return Err(WatchError::Busy(message));
            }
            let run = PanelRun {
                queries: Arc::clone(&self.queries),
                statement: Arc::clone(statement),
                values: key.values.clone(),
                last: key.last.unwrap_or(document.dashboard.time.last),
                refresh: Duration::from_millis(document.dashboard.refresh_ms),
                limits: self.limits,
            };
            let shown = Shown::new(&key.panel, document.revision.version, Arc::clone(&self.room));
            let runner = Runner::start(&key.panel, run, shown);
            runners.insert(key, Arc::downgrade(&runner));
            watched.push(runner);
        }
        Ok(watched)
    }

    fn follow(&self, id: &str, revision: &Revision) -> Arc<Followed> {
        let mut followed = self.followed.lock();
        followed.retain(|_, one| one.strong_count() > 0);
        if let Some(one) = followed.get(id).and_then(Weak::upgrade) {
            one.has_read(revision);
            return one;
        }
        let documents = Arc::clone(&self.documents);
        let one = Followed::start(documents, id.to_string(), revision.clone(), self.limits.follow);
        followed.insert(id.to_string(), Arc::downgrade(&one));
        one
    }
}

/// What the runner of each panel is known by.
fn keys_of(
    id: &str,
    document: &Document,
    values: &BTreeMap<String, String>,
    last: Option<Duration>,
) -> Vec<RunnerKey> {
    let last = last.unwrap_or(document.dashboard.time.last);
    let panels = document.dashboard.panels.iter().zip(&document.statements);
    let key = |(panel, statement): (&Panel, &Arc<PanelStatement>)| RunnerKey {
        dashboard: id.to_string(),
        tag: Arc::clone(&document.revision.tag),
        panel: panel.id.clone(),
        values: statement.used(values),
        last: statement.reads_range().then_some(last),
    };
    panels.map(key).collect()
}

/// The value of each variable: what was chosen, or its default.
fn values_of(dashboard: &Dashboard, chosen: &Chosen) -> Result<BTreeMap<String, String>, WatchError> {
    let mut values: BTreeMap<String, String> = dashboard
        .variables
        .iter()
        .map(|variable| (variable.name.clone(), variable.default.clone()))
        .collect();
    for (name, value) in &chosen.values {
        match values.get_mut(name) {
            Some(present) => present.clone_from(value),
            None => return Err(WatchError::Values(format!("the dashboard has no variable {name}"))),
        }
    }
    Ok(values)
}
