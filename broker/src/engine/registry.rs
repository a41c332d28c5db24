//! Which queries run and which have run: `system.queries`, `system.query_log`, cancelling, the log of slow queries, and the query
//! metrics.
//!
//! Every query ends exactly once, with the first outcome that anybody reports: its task, its deadline, a cancel, or the
//! client that went away. What has ended is remembered within two bounds, on queries and on the bytes of their texts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use crate::cluster::NodeId;
use crate::request::{ClientKind, QueryProgress, QueryRequest, QueryState, QueryStats, is_query_id};
use crate::{QueryError, QueryErrorKind};

/// How many ended queries `system.query_log` remembers.
const ENDED_MAX: usize = 10_000;
/// How many of them `system.queries` shows beside those that run.
pub(crate) const ENDED_SHOWN_MAX: usize = 1_000;
/// Bytes of the texts of ended queries (SQL, plans, errors); beyond that fewer are remembered. What a node tells others of its
/// queries is bounded by twice as much.
const ENDED_BYTES_MAX: usize = 32 << 20;
/// How long the progress of a query can be asked for after its end.
const PROGRESS_KEPT: Duration = Duration::from_secs(60);
/// Longest SQL text that is remembered, in bytes.
const SQL_KEPT_BYTES_MAX: usize = 8 << 10;
/// Longest plan that is shown or remembered, in bytes.
const PLAN_BYTES_MAX: usize = 64 << 10;

/// What a query has done on other nodes, as far as they have said so while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DoneElsewhere {
    pub(crate) segments: u64,
    pub(crate) rows: u64,
}

/// One query, running or ended.
#[derive(Debug)]
pub(crate) struct QueryEntry {
    pub(crate) id: String,
    /// Its identity among nodes, which says when it began.
    pub(crate) number: Ulid,
    pub(crate) sql: String,
    pub(crate) client: ClientKind,
    pub(crate) user: Option<String>,
    pub(crate) started_at_us: i64,
    /// Those of the run that answers.
    pub(crate) stats: ArcSwap<QueryStats>,
    /// Which run that is, on several nodes.
    run: AtomicU32,
    /// By node, for that run.
    elsewhere: Mutex<(u32, BTreeMap<NodeId, DoneElsewhere>)>,
    /// Cancelled by a client that went away, by [`Registry::cancel`], or by the end of the query.
    pub(crate) cancel: CancellationToken,
    started: Instant,
    admitted: AtomicBool,
    /// Only while it runs: it holds what the query reads.
    plan: Mutex<Option<Arc<dyn ExecutionPlan>>>,
    end: OnceLock<End>,
    /// Of slow queries, from their end on.
    plan_kept: OnceLock<String>,
}

#[derive(Debug)]
struct End {
    at: Instant,
    elapsed: Duration,
    error: Option<QueryError>,
}

impl QueryEntry {
    /// Where it stands.
    pub(crate) fn state(&self) -> QueryState {
        match self.end.get() {
            None if self.admitted.load(Ordering::Relaxed) => QueryState::Running,
            None => QueryState::Queued,
            Some(End { error: None, .. }) => QueryState::Done,
            Some(End { error: Some(error), .. }) if error.kind == QueryErrorKind::Cancelled => {
                QueryState::Cancelled
            }
            Some(_) => QueryState::Failed,
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

    /// From now on it is the run of this number that counts.
    pub(crate) fn follow(&self, number: u32, stats: Arc<QueryStats>) {
        self.run.store(number, Ordering::Relaxed);
        self.stats.store(stats);
    }

    /// The run that counts, on several nodes.
    pub(crate) fn run(&self) -> u32 {
        self.run.load(Ordering::Relaxed)
    }

    /// Notes what a node has done for a run. Counts never go back, also when a node has forgotten the query.
    pub(crate) fn note_elsewhere(&self, run: u32, node: NodeId, done: DoneElsewhere) {
        let mut elsewhere = self.elsewhere.lock();
        if elsewhere.0 != run {
            *elsewhere = (run, BTreeMap::new());
        }
        let known = elsewhere.1.entry(node).or_default();
        known.segments = known.segments.max(done.segments);
        known.rows = known.rows.max(done.rows);
    }

    /// Keeps the plan that runs, for whoever asks for it.
    pub(crate) fn set_plan(&self, plan: &Arc<dyn ExecutionPlan>) {
        let mut kept = self.plan.lock();
        // The end takes the plan under the same lock after it has set the end.
        if self.end.get().is_none() {
            *kept = Some(Arc::clone(plan));
        }
    }

    /// The plan with its counters, as text.
    pub(crate) fn plan_text(&self) -> Option<String> {
        let running = self.plan.lock().clone();
        running.map(|plan| text_of(plan.as_ref())).or_else(|| self.plan_kept.get().cloned())
    }

    /// The plan of a slow query that has ended.
    pub(crate) fn plan_kept(&self) -> Option<&str> {
        self.plan_kept.get().map(String::as_str)
    }

    /// How far it is.
    pub(crate) fn progress(&self, with_plan: bool) -> QueryProgress {
        let (stats, state) = (self.stats.load(), self.state());
        let elsewhere = self.elsewhere.lock();
        let done = elsewhere.1.values().filter(|_| elsewhere.0 == self.run());
        let (segments, rows) =
            done.fold((0, 0), |(segments, rows), done| (segments + done.segments, rows + done.rows));
        let segments_total = QueryStats::get(&stats.segments_total);
        // What a fragment has done comes with its end, and was counted while it ran.
        let elsewhere = QueryStats::get(&stats.segments_done_elsewhere).max(segments);
        let segments_done = (QueryStats::get(&stats.segments_done) + elsewhere).min(segments_total);
        QueryProgress {
            id: self.id.clone(),
            state,
            user: self.user.clone(),
            elapsed_ms: self.elapsed().as_secs_f64() * 1000.0,
            segments_total,
            // A query that has its answer needs nothing of the rest.
            segments_done: if state == QueryState::Done { segments_total } else { segments_done },
            rows_scanned: QueryStats::get(&stats.rows_scanned).max(rows),
            rows_total: QueryStats::get(&stats.rows_total),
            rows_returned: QueryStats::get(&stats.rows_returned),
            plan: if with_plan { self.plan_text() } else { None },
        }
    }

    /// Whether it is a query of that user; `None` stands for whoever may see those of all.
    fn is_of(&self, user: Option<&str>) -> bool {
        user.is_none() || self.user.as_deref() == user
    }

    fn bytes(&self) -> usize {
        let error = self.error().map_or(0, |error| error.message.len());
        self.sql.len() + self.plan_kept().map_or(0, str::len) + error
    }
}

fn text_of(plan: &dyn ExecutionPlan) -> String {
    let mut text = DisplayableExecutionPlan::with_metrics(plan).indent(false).to_string();
    if text.len() > PLAN_BYTES_MAX {
        text.truncate(text.floor_char_boundary(PLAN_BYTES_MAX));
        text.push_str("\n…");
    }
    text
}

/// All queries of an engine.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// Queries that take as long as this are slow; `None`: none are.
    slow: Option<Duration>,
    running: Mutex<BTreeMap<String, Arc<QueryEntry>>>,
    ended: Mutex<Ended>,
}

/// The oldest first.
#[derive(Debug, Default)]
struct Ended {
    queries: VecDeque<Arc<QueryEntry>>,
    bytes: usize,
}

impl Ended {
    fn push(&mut self, entry: Arc<QueryEntry>) {
        self.bytes += entry.bytes();
        self.queries.push_back(entry);
        while self.queries.len() > ENDED_MAX || self.bytes > ENDED_BYTES_MAX {
            let Some(oldest) = self.queries.pop_front() else { return };
            self.bytes -= oldest.bytes();
        }
    }
}

impl Registry {
    /// No queries; those that take as long as `slow` are logged with their plan.
    pub(crate) fn new(slow: Option<Duration>) -> Self {
        Self { slow, ..Self::default() }
    }

    /// Enters a query.
    ///
    /// # Errors
    /// `BadRequest` for an identity that none may have, `Conflict` if a query of that identity runs.
    pub(crate) fn start(&self, request: &QueryRequest) -> Result<Arc<QueryEntry>, QueryError> {
        let number = Ulid::new();
        let id = match &request.query_id {
            None => number.to_string(),
            Some(id) if is_query_id(id) => id.clone(),
            Some(_) => {
                let message = "query_id: use 1 to 64 letters, digits, _ and -";
                return Err(QueryError::new(QueryErrorKind::BadRequest, message));
            }
        };
        let sql = &request.sql;
        let entry = Arc::new(QueryEntry {
            id: id.clone(),
            number,
            sql: sql[..sql.floor_char_boundary(SQL_KEPT_BYTES_MAX)].to_owned(),
            client: request.client,
            user: request.user.clone(),
            started_at_us: chrono::Utc::now().timestamp_micros(),
            stats: ArcSwap::default(),
            run: AtomicU32::new(0),
            elsewhere: Mutex::default(),
            cancel: CancellationToken::new(),
            started: Instant::now(),
            admitted: AtomicBool::new(false),
            plan: Mutex::default(),
            end: OnceLock::new(),
            plan_kept: OnceLock::new(),
        });
        let mut running = self.running.lock();
        if running.contains_key(&id) {
            let message = format!("a query {id} runs already; choose another query_id, or end that one");
            return Err(QueryError::new(QueryErrorKind::Conflict, message));
        }
        running.insert(id, Arc::clone(&entry));
        drop(running);
        metrics::gauge!("headwater_queries_running").increment(1.0);
        Ok(entry)
    }

    /// Ends a query; only the first call counts. The query's task is told to stop.
    pub(crate) fn finish(&self, entry: &QueryEntry, error: Option<QueryError>) {
        let outcome = error.as_ref().map_or("ok", |error| error.kind.name());
        let elapsed = entry.started.elapsed();
        if entry.end.set(End { at: Instant::now(), elapsed, error }).is_err() {
            return;
        }
        entry.cancel.cancel();
        let plan = entry.plan.lock().take();
        if self.slow.is_some_and(|slow| elapsed >= slow) {
            let text = plan.as_ref().map(|plan| text_of(plan.as_ref()));
            log_slow(entry, text.as_deref());
            // Nobody else sets it: only one call comes here.
            text.into_iter().for_each(|text| drop(entry.plan_kept.set(text)));
        }
        drop(plan);
        let (client, state) = (entry.client.name(), entry.state().name());
        metrics::gauge!("headwater_queries_running").decrement(1.0);
        metrics::counter!("headwater_queries_total", "client" => client, "outcome" => outcome).increment(1);
        metrics::histogram!("headwater_query_duration_seconds", "client" => client, "state" => state)
            .record(elapsed.as_secs_f64());
        let removed = self.running.lock().remove(&entry.id);
        if let Some(entry) = removed {
            self.ended.lock().push(entry);
        }
    }

    /// Asks a running query to stop; with `only_of` a query of that user alone. False if there is no such query.
    pub(crate) fn cancel(&self, id: &str, only_of: Option<&str>) -> bool {
        let entry = self.running.lock().get(id).cloned();
        entry.filter(|entry| entry.is_of(only_of)).is_some_and(|entry| {
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

    /// A query that runs, or has ended within the last minute: the last one of this identity; with `only_of` of that user.
    pub(crate) fn find(&self, id: &str, only_of: Option<&str>) -> Option<Arc<QueryEntry>> {
        if let Some(entry) = self.running.lock().get(id).filter(|entry| entry.is_of(only_of)) {
            return Some(Arc::clone(entry));
        }
        let ended = self.ended.lock();
        let is_recent =
            |entry: &&Arc<QueryEntry>| entry.end.get().is_some_and(|end| end.at.elapsed() <= PROGRESS_KEPT);
        let mut recent = ended.queries.iter().rev().take_while(is_recent);
        recent.find(|entry| entry.id == id && entry.is_of(only_of)).cloned()
    }

    /// At most so many of those that ended last, then those that run; each group in the order it grew.
    pub(crate) fn list(&self, ended_max: usize) -> Vec<Arc<QueryEntry>> {
        let mut all = self.ended(ended_max);
        all.extend(self.running.lock().values().cloned());
        all
    }

    /// At most so many of those that ended last, the oldest first.
    pub(crate) fn ended(&self, ended_max: usize) -> Vec<Arc<QueryEntry>> {
        let ended = self.ended.lock();
        let passed_over = ended.queries.len().saturating_sub(ended_max);
        ended.queries.iter().skip(passed_over).cloned().collect()
    }
}

fn log_slow(entry: &QueryEntry, plan: Option<&str>) {
    let stats = entry.stats.load();
    tracing::warn!(
        query = entry.id,
        client = entry.client.name(),
        user = entry.user.as_deref(),
        ms = entry.elapsed().as_millis() as u64,
        state = entry.state().name(),
        rows_scanned = QueryStats::get(&stats.rows_scanned),
        rows_returned = QueryStats::get(&stats.rows_returned),
        sql = entry.sql,
        plan,
        "slow query"
    );
}

pub(crate) fn cancelled(message: &str) -> QueryError {
    QueryError::new(QueryErrorKind::Cancelled, message)
}

#[cfg(test)]
mod tests {
    use datafusion::physical_plan::empty::EmptyExec;

    use super::*;

    fn request(sql: &str) -> QueryRequest {
        QueryRequest { sql: sql.into(), ..QueryRequest::default() }
    }

    fn plan() -> Arc<dyn ExecutionPlan> {
        Arc::new(EmptyExec::new(Arc::new(arrow::datatypes::Schema::empty())))
    }

    #[test]
    fn a_query_ends_once_and_is_remembered() {
        let registry = Registry::new(None);
        let entry =
            registry.start(&QueryRequest { user: Some("ada".into()), ..request("SELECT 1") }).unwrap();
        assert_eq!(entry.progress(false).user.as_deref(), Some("ada"));
        assert_eq!((entry.state(), registry.running()), (QueryState::Queued, 1));
        entry.admit();
        assert_eq!(entry.state(), QueryState::Running);
        assert!(registry.cancel(&entry.id, None));
        registry.finish(&entry, None);
        assert_eq!((entry.state(), registry.running()), (QueryState::Cancelled, 0));
        assert!(entry.cancel.is_cancelled() && !registry.cancel(&entry.id, None));
        assert_eq!(registry.find(&entry.id, None).unwrap().state(), QueryState::Cancelled);
        for _ in 0..ENDED_MAX {
            let next = registry.start(&request("SELECT 2")).unwrap();
            registry.finish(&next, None);
        }
        assert!(registry.find(&entry.id, None).is_none());
        assert_eq!(registry.list(ENDED_SHOWN_MAX).len(), ENDED_SHOWN_MAX);
        assert_eq!(registry.ended(usize::MAX).len(), ENDED_MAX);
        assert!(registry.ended(usize::MAX).iter().all(|query| query.sql == "SELECT 2"));
    }

    #[test]
    fn long_texts_are_remembered_of_fewer_queries() {
        let registry = Registry::new(None);
        let long = "x".repeat(100 << 10);
        for _ in 0..ENDED_MAX {
            let next = registry.start(&request(&long)).unwrap();
            registry.finish(&next, None);
        }
        assert_eq!(registry.ended(usize::MAX).len(), ENDED_BYTES_MAX / SQL_KEPT_BYTES_MAX);
    }

    #[test]
    fn an_identity_is_the_clients_and_runs_once() {
        let registry = Registry::new(None);
        let mine = QueryRequest { query_id: Some("my-query_1".into()), ..request("SELECT 1") };
        let entry = registry.start(&mine).unwrap();
        assert_eq!(entry.id, "my-query_1");
        assert_eq!(registry.start(&mine).unwrap_err().kind, QueryErrorKind::Conflict);
        registry.finish(&entry, None);
        let again = registry.start(&mine).unwrap();
        assert_eq!(registry.find("my-query_1", None).unwrap().number, again.number);
        for id in ["", "a b", "ä", "a/b", "x".repeat(65).as_str()] {
            let refused = registry.start(&QueryRequest { query_id: Some(id.into()), ..request("SELECT 1") });
            assert_eq!(refused.unwrap_err().kind, QueryErrorKind::BadRequest, "{id}");
        }
    }

    #[test]
    fn a_user_finds_and_ends_their_own_only() {
        let registry = Registry::new(None);
        let of = |user: &str| QueryRequest {
            user: Some(user.into()),
            query_id: Some("same".into()),
            ..request("SELECT 1")
        };
        let bobs = registry.start(&of("bob")).unwrap();
        registry.finish(&bobs, None);
        let adas = registry.start(&of("ada")).unwrap();
        let found = |user: Option<&str>| registry.find("same", user).map(|entry| entry.number);
        // Bob's has ended, and an identity that he had once opens nobody else's.
        assert_eq!(found(Some("bob")), Some(bobs.number));
        assert_eq!((found(Some("ada")), found(None)), (Some(adas.number), Some(adas.number)));
        assert_eq!(found(Some("eve")), None);
        for other in ["bob", "eve", ""] {
            assert!(!registry.cancel("same", Some(other)), "{other}");
        }
        assert!(!adas.cancel.is_cancelled());
        assert!(registry.cancel("same", Some("ada")) && adas.cancel.is_cancelled());
        // A query of nobody's is no user's.
        let nobodys = registry.start(&request("SELECT 1")).unwrap();
        assert!(!registry.cancel(&nobodys.id, Some("ada")) && registry.cancel(&nobodys.id, None));
    }

    #[test]
    fn progress_adds_up_what_nodes_have_done_and_never_goes_back() {
        let registry = Registry::new(None);
        let entry = registry.start(&request("SELECT 1")).unwrap();
        let stats = Arc::new(QueryStats::default());
        stats.segments_total.store(10, Ordering::Relaxed);
        stats.segments_done.store(2, Ordering::Relaxed);
        entry.follow(1, stats);
        let node = |name: &str| NodeId::new(name).unwrap();
        entry.note_elsewhere(1, node("a"), DoneElsewhere { segments: 3, rows: 30 });
        entry.note_elsewhere(1, node("b"), DoneElsewhere { segments: 1, rows: 10 });
        entry.note_elsewhere(1, node("a"), DoneElsewhere::default());
        let progress = entry.progress(false);
        assert_eq!((progress.segments_done, progress.rows_scanned), (6, 40));
        // Another run begins anew, and what comes late of the first one does not count for it.
        let stats = Arc::new(QueryStats::default());
        stats.segments_total.store(10, Ordering::Relaxed);
        entry.follow(2, stats);
        assert_eq!(entry.progress(false).segments_done, 0);
        registry.finish(&entry, None);
        assert_eq!(entry.progress(false).segments_done, 10);
    }

    #[test]
    fn only_slow_queries_keep_their_plan() {
        for (slow, is_kept) in
            [(Some(Duration::ZERO), true), (Some(Duration::from_secs(60)), false), (None, false)]
        {
            let registry = Registry::new(slow);
            let entry = registry.start(&request("SELECT 1")).unwrap();
            entry.set_plan(&plan());
            assert!(entry.progress(true).plan.unwrap().contains("EmptyExec"));
            registry.finish(&entry, None);
            // What comes after the end would stay for as long as the query is remembered.
            entry.set_plan(&plan());
            assert_eq!(entry.progress(true).plan.is_some(), is_kept);
            assert_eq!(entry.plan_kept().is_some(), is_kept);
        }
    }
}
