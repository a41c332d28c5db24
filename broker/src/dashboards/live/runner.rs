//! Runs one panel for all who watch it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::super::statement::{Changes, PanelStatement};
use super::answer;
use super::shown::Shown;
use super::{LiveLimits, STEPS_PER_RANGE};
use crate::http::QueryRunner;
use crate::request::TableCut;

/// Longest time between two tries of a statement that fails.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Longest time between two looks at a range that moves on.
const SLIDE_MAX: Duration = Duration::from_secs(60);

/// The newest event of a panel; `None` until there is one.
pub(super) type Newest = Option<Bytes>;

/// When the newest row of a panel's last answer was written, whether or not the answer was the same as before.
#[derive(Debug)]
struct NewestRow(AtomicI64);

impl NewestRow {
    /// Stands for what is not known.
    const UNKNOWN: i64 = i64::MIN;

    fn set(&self, written_at_ms: Option<i64>) {
        self.0.store(written_at_ms.unwrap_or(Self::UNKNOWN), Ordering::Relaxed);
    }

    fn age_ms(&self, now_ms: i64) -> Option<i64> {
        let written_at_ms = self.0.load(Ordering::Relaxed);
        (written_at_ms != Self::UNKNOWN).then(|| now_ms.saturating_sub(written_at_ms).max(0))
    }
}

/// A panel that is run as long as this is held.
pub(super) struct Runner {
    panel: String,
    newest: watch::Receiver<Newest>,
    newest_row: Arc<NewestRow>,
    task: AbortHandle,
}

impl Drop for Runner {
    fn drop(&mut self) {
        // A query that runs is cancelled by being dropped.
        self.task.abort();
        metrics::gauge!("headwater_dashboard_runners").decrement(1.0);
    }
}

impl Runner {
    pub(super) fn start(panel: &str, run: PanelRun, shown: Shown) -> Arc<Self> {
        let (sender, newest) = watch::channel(None);
        let newest_row = Arc::new(NewestRow(AtomicI64::new(NewestRow::UNKNOWN)));
        metrics::gauge!("headwater_dashboard_runners").increment(1.0);
        let task = tokio::spawn(run.run(shown, sender, Arc::clone(&newest_row))).abort_handle();
        Arc::new(Self { panel: panel.to_string(), newest, newest_row, task })
    }

    /// The panel that it runs.
    pub(super) fn panel(&self) -> &str {
        &self.panel
    }

    /// How old the newest row that the panel has read is at `now_ms`, in milliseconds; `None` until that is known.
    pub(super) fn freshness_ms(&self, now_ms: i64) -> Option<i64> {
        self.newest_row.age_ms(now_ms)
    }

    /// What is known now counts as new.
    pub(super) fn subscribe(&self) -> watch::Receiver<Newest> {
        let mut receiver = self.newest.clone();
        receiver.mark_changed();
        receiver
    }
}

/// Everything that a panel's runs depend on.
pub(super) struct PanelRun {
    pub(super) queries: Arc<dyn QueryRunner>,
    pub(super) statement: Arc<PanelStatement>,
    pub(super) values: BTreeMap<String, String>,
    pub(super) last: Duration,
    pub(super) refresh: Duration,
    pub(super) limits: LiveLimits,
}

impl PanelRun {
    async fn run(self, mut shown: Shown, newest: watch::Sender<Newest>, newest_row: Arc<NewestRow>) {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let answer =
                answer::ask(&*self.queries, &self.statement, &self.values, self.last, None, &self.limits)
                    .await;
            let took = began.elapsed();
            if let Ok(answer) = &answer {
                newest_row.set(answer.newest_row_ms());
            }
            let event = match answer.and_then(|answer| shown.answered(answer)) {
                Ok(event) => {
                    failures = 0;
                    event
                }
                Err(error) => {
                    failures += 1;
                    shown.failed(&error)
                }
            };
            if event.is_some() {
                newest.send_replace(event);
            }
            // A statement that takes longer than the time between two runs leaves as much time to others.
            let next = (began + self.pause(failures)).max(began + took * 2);
            tokio::time::sleep_until(next).await;
            if failures == 0 {
                self.reason_to_run(shown.cuts(), began).await;
            }
        }
    }

    /// The time between the beginnings of two runs.
    fn pause(&self, failures: u32) -> Duration {
        let times = 2u32.saturating_pow(failures.saturating_sub(1).min(10));
        match failures {
            0 => self.refresh,
            _ => self.refresh.saturating_mul(times).min(RETRY_MAX.max(self.refresh)),
        }
    }

    /// Waits until the statement may answer differently.
    async fn reason_to_run(&self, cuts: &BTreeMap<String, TableCut>, began: Instant) {
        let moved_on = match self.statement.changes() {
            Changes::AtAnyTime => return,
            Changes::WithTime => {
                Some(began + (self.last / STEPS_PER_RANGE).clamp(self.refresh, SLIDE_MAX.max(self.refresh)))
            }
            Changes::WithRows => None,
        };
        let time = async {
            match moved_on {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.queries.other_rows(cuts) => {}
            () = time => {}
        }
    }
}
