//! Which queries run and which have run: `system.queries`, cancelling, and the query metrics.
//!
//! Every query ends exactly once, with the first outcome that anybody reports: its task, its deadline, a cancel, or the
//! client that went away.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use crate::request::QueryStats;
use crate::{QueryError, QueryErrorKind};

/// How many finished queries `system.queries` remembers.
const FINISHED_MAX: usize = 1000;

/// Longest SQL text kept for `system.queries`, in bytes: 1,000 remembered queries stay below 8 MB.
const SQL_KEPT_BYTES_MAX: usize = 8 << 10;

/// One query, running or finished.
#[derive(Debug)]
pub(crate) struct QueryEntry {
    pub(crate) id: String,
    /// The same as a number, which says when it began.
    pub(crate) number: Ulid,
    pub(crate) sql: String,
    pub(crate) started_at_us: i64,
    /// Those of the run that answers.
    pub(crate) stats: ArcSwap<QueryStats>,
    /// Cancelled by a client that went away, by [`Registry::cancel`], or by the end of the query.
    pub(crate) cancel: CancellationToken,
    started: Instant,
    admitted: AtomicBool,
    end: OnceLock<End>,
}

#[derive(Debug)]
struct End {
    elapsed: Duration,
    error: Option<QueryError>,
}

impl QueryEntry {
    /// `queued`, `running`, `finished`, `cancelled` or `failed`.
    pub(crate) fn state(&self) -> &'static str {
        match self.end.get() {
            None if self.admitted.load(Ordering::Relaxed) => "running",
            None => "queued",
            Some(End { error: None, .. }) => "finished",
            Some(End { error: Some(error), .. }) if error.kind == QueryErrorKind::Cancelled => "cancelled",
            Some(_) => "failed",
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.end.get().map_or_else(|| self.started.elapsed(), |end| end.elapsed)
    }

    pub(crate) fn error(&self) -> Option<&QueryError> {
        self.end.get()?.error.as_ref()
    }

    pub(crate) fn admit(&self) {
        self.admitted.store(true, Ordering::Relaxed);
    }
}

/// All queries of an engine.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    running: Mutex<BTreeMap<String, Arc<QueryEntry>>>,
    finished: Mutex<VecDeque<Arc<QueryEntry>>>,
}

impl Registry {
    pub(crate) fn start(&self, sql: &str) -> Arc<QueryEntry> {
        let number = Ulid::new();
        let id = number.to_string();
        let entry = Arc::new(QueryEntry {
            id: id.clone(),
            number,
            sql: sql[..sql.floor_char_boundary(SQL_KEPT_BYTES_MAX)].to_owned(),
            started_at_us: chrono::Utc::now().timestamp_micros(),
            stats: ArcSwap::default(),
            cancel: CancellationToken::new(),
            started: Instant::now(),
            admitted: AtomicBool::new(false),
            end: OnceLock::new(),
        });
        self.running.lock().insert(id, Arc::clone(&entry));
        metrics::gauge!("headwater_queries_running").increment(1.0);
        entry
    }

    /// Ends a query; only the first call counts. The query's task is told to stop.
    pub(crate) fn finish(&self, entry: &QueryEntry, error: Option<QueryError>) {
        let outcome = error.as_ref().map_or("ok", |error| error.kind.name());
        let elapsed = entry.started.elapsed();
        if entry.end.set(End { elapsed, error }).is_err() {
            return;
        }
        entry.cancel.cancel();
        metrics::gauge!("headwater_queries_running").decrement(1.0);
        metrics::counter!("headwater_queries_total", "outcome" => outcome).increment(1);
        metrics::histogram!("headwater_query_seconds").record(elapsed.as_secs_f64());
        let removed = self.running.lock().remove(&entry.id);
        if let Some(entry) = removed {
            let mut finished = self.finished.lock();
            if finished.len() == FINISHED_MAX {
                finished.pop_front();
            }
            finished.push_back(entry);
        }
    }

    /// Asks a running query to stop. False if there is no such query.
    pub(crate) fn cancel(&self, id: &str) -> bool {
        let entry = self.running.lock().get(id).cloned();
        entry.is_some_and(|entry| {
            self.finish(&entry, Some(cancelled("the query was cancelled by an operator")));
            true
        })
    }

    pub(crate) fn cancel_all(&self) {
        let entries: Vec<_> = self.running.lock().values().cloned().collect();
        for entry in entries {
            self.finish(&entry, Some(cancelled("this node is shutting down; ask another one")));
        }
    }

    pub(crate) fn running(&self) -> usize {
        self.running.lock().len()
    }

    /// Finished ones first, each group in the order it grew.
    pub(crate) fn list(&self) -> Vec<Arc<QueryEntry>> {
        let mut all: Vec<_> = self.finished.lock().iter().cloned().collect();
        all.extend(self.running.lock().values().cloned());
        all
    }
}

pub(crate) fn cancelled(message: &str) -> QueryError {
    QueryError::new(QueryErrorKind::Cancelled, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_ends_once_and_is_remembered() {
        let registry = Registry::default();
        let entry = registry.start("SELECT 1");
        assert_eq!((entry.state(), registry.running()), ("queued", 1));
        entry.admit();
        assert_eq!(entry.state(), "running");
        assert!(registry.cancel(&entry.id));
        registry.finish(&entry, None);
        assert_eq!((entry.state(), registry.running()), ("cancelled", 0));
        assert!(entry.cancel.is_cancelled() && !registry.cancel(&entry.id));
        for _ in 0..FINISHED_MAX + 5 {
            let next = registry.start("SELECT 2");
            registry.finish(&next, None);
        }
        assert_eq!(registry.list().len(), FINISHED_MAX);
        assert!(registry.list().iter().all(|query| query.sql == "SELECT 2"));
    }
}
