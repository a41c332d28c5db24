//! The queries of brokers, as far as they run on this node: admission, one memory budget, a deadline.
//!
//! ```text
//! request ─▶ its query, known by now or not ─▶ a place among the running ─▶ the worker ─▶ answer
//!                 │                                                                         │
//!                 └── held by all of its requests, until their answers are through ◀────────┘
//! ```
//!
//! A query is admitted once, whatever number of its fragments is here: fragments that wait for each other must not wait for a
//! place as well. Its place is free again when the last of its requests has ended, because it is answered, because the broker
//! has hung up, or at the deadline, even if the broker has vanished.
//!
//! Invariants: a fragment runs only while its query has a place here; what a run of a query uses here is one budget.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use datafusion::execution::runtime_env::RuntimeEnv;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{Instrument, Span};
use ulid::Ulid;

use super::node_error::full;
use super::run::Run;
use crate::engine::admission::{Admission, Slot};
use crate::request::QueryStats;
use crate::trace::{self, TARGET};

/// See the module.
pub(crate) struct HostedQueries {
    admission: Arc<Admission>,
    deadline_max: Duration,
    queries: Mutex<HashMap<Ulid, Weak<HostedQuery>>>,
}

/// A query that is, or waits to be, on this node.
pub(crate) struct HostedQuery {
    hosted: Arc<HostedQueries>,
    run: Run,
    admitted: OnceCell<()>,
    slot: Mutex<Option<Slot>>,
    /// By the number of the run.
    budgets: Mutex<HashMap<u32, Weak<RuntimeEnv>>>,
    /// By the number of the run: what its fragments have done here.
    stats: Mutex<HashMap<u32, Arc<QueryStats>>>,
    /// By the number of the run: the span of its first request.
    traces: Mutex<HashMap<u32, Span>>,
    ended: CancellationToken,
    timer: Mutex<Option<AbortHandle>>,
}

impl HostedQueries {
    pub(crate) fn new(admission: Arc<Admission>, deadline_max: Duration) -> Arc<Self> {
        Arc::new(Self { admission, deadline_max, queries: Mutex::default() })
    }

    /// The query of a request, held by it from now on.
    fn enter(self: &Arc<Self>, mut run: Run) -> Arc<HostedQuery> {
        run.deadline = run.deadline.min(Instant::now() + self.deadline_max);
        let mut queries = self.queries.lock();
        if let Some(query) = queries.get(&run.query).and_then(Weak::upgrade) {
            return query;
        }
        let query = Arc::new(HostedQuery {
            hosted: Arc::clone(self),
            run,
            admitted: OnceCell::new(),
            slot: Mutex::default(),
            budgets: Mutex::default(),
            stats: Mutex::default(),
            traces: Mutex::default(),
            ended: CancellationToken::new(),
            timer: Mutex::default(),
        });
        queries.insert(run.query, Arc::downgrade(&query));
        drop(queries);
        let ending = Arc::downgrade(&query);
        let timer = tokio::spawn(async move {
            tokio::time::sleep_until(run.deadline).await;
            if let Some(query) = ending.upgrade() {
                tracing::debug!(query = %run.query, "the deadline of a broker's query has passed here");
                query.end();
            }
        });
        *query.timer.lock() = Some(timer.abort_handle());
        query
    }

    /// The query of a fragment that one of its requests has brought.
    pub(crate) fn query(&self, run: &Run) -> Option<Arc<HostedQuery>> {
        self.queries.lock().get(&run.query)?.upgrade()
    }

    /// What was done here for a run of a query, as long as the query is here.
    pub(super) fn stats(&self, query: Ulid, run: u32) -> Option<Arc<QueryStats>> {
        let query = self.queries.lock().get(&query)?.upgrade()?;
        query.stats.lock().get(&run).cloned()
    }
}

impl HostedQuery {
    /// Waits for a place, but only so long that there is time to ask another node.
    async fn admit(&self) -> Result<(), Status> {
        let admitting = async {
            let slot = self.hosted.admission.admit(self.run.query.0).await;
            *self.slot.lock() = Some(slot.map_err(|why| full(&why.to_string()))?);
            Ok::<_, Status>(())
        };
        let patience = self.run.deadline.saturating_duration_since(Instant::now()) / 2;
        let admitted = tokio::time::timeout(patience, self.admitted.get_or_try_init(|| admitting)).await;
        let waited = || full(&format!("the query has waited {} ms for its turn", patience.as_millis()));
        admitted.map_err(|_| waited())?.map(|_| ())
    }

    /// Cancelled when its fragments are to stop.
    pub(crate) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// The memory and disk of one run of the query, made by `make` for the first fragment of those that are here.
    pub(crate) fn budget(&self, number: u32, make: impl FnOnce() -> Arc<RuntimeEnv>) -> Arc<RuntimeEnv> {
        let mut budgets = self.budgets.lock();
        if let Some(budget) = budgets.get(&number).and_then(Weak::upgrade) {
            return budget;
        }
        budgets.retain(|_, budget| budget.strong_count() > 0);
        let budget = make();
        budgets.insert(number, Arc::downgrade(&budget));
        budget
    }

    /// The counters that all fragments of one run share here.
    pub(crate) fn stats(&self, number: u32) -> Arc<QueryStats> {
        Arc::clone(self.stats.lock().entry(number).or_default())
    }

    /// What the fragments of a run do here is a part of this span.
    pub(crate) fn trace(&self, number: u32) -> Span {
        self.traces.lock().get(&number).cloned().unwrap_or_else(Span::none)
    }

    fn end(&self) {
        self.ended.cancel();
        let slot = self.slot.lock().take();
        drop(slot);
    }
}

impl Drop for HostedQuery {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.lock().take() {
            timer.abort();
        }
        self.end();
        let mut queries = self.hosted.queries.lock();
        // The next query of the same identity may be there already.
        if queries.get(&self.run.query).is_some_and(|query| query.strong_count() == 0) {
            queries.remove(&self.run.query);
        }
    }
}

/// Lets a request for fragments through when its query has a place here.
pub(super) async fn admit(
    State(hosted): State<Arc<HostedQueries>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(run) = Run::of(request.headers()) else {
        let status = Status::invalid_argument("whose query is it? do both nodes run the same version?");
        return status.into_http();
    };
    let query = hosted.enter(run);
    let span = tracing::info_span!(
        target: TARGET,
        "fragment",
        otel.kind = "server",
        headwater.query = %run.query,
        headwater.run = run.number,
        rpc.method = request.uri().path().rsplit('/').next(),
    );
    trace::continue_from(&span, request.headers());
    if !span.is_disabled() {
        query.traces.lock().entry(run.number).or_insert_with(|| span.clone());
    }
    if let Err(status) = query.admit().await {
        metrics::counter!("headwater_fragments_refused_total").increment(1);
        return status.into_http();
    }
    let response = tokio::select! {
        biased;
        () = query.ended.cancelled() => return Status::deadline_exceeded("the query has ended").into_http(),
        response = next.run(request).instrument(span.clone()) => response,
    };
    let (head, body) = response.into_parts();
    Response::from_parts(head, Body::new(Held { body, _query: query, _span: span }))
}

/// An answer that keeps its query here until it is through, or nobody wants it.
struct Held {
    body: Body,
    _query: Arc<HostedQuery>,
    /// Ends with the answer.
    _span: Span,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(query: u128, number: u32, left: Duration) -> Run {
        Run { query: Ulid::from(query), number, deadline: Instant::now() + left }
    }

    #[tokio::test]
    async fn a_query_has_one_place_and_each_of_its_runs_one_budget() {
        let hosted = HostedQueries::new(Admission::new(1, 0), Duration::from_secs(10));
        let first = hosted.enter(run(7, 1, Duration::from_secs(3600)));
        let again = hosted.enter(run(7, 2, Duration::from_secs(3600)));
        assert!(Arc::ptr_eq(&first, &again));
        assert!(first.run.deadline <= Instant::now() + Duration::from_secs(10));
        let (one, other) = tokio::join!(first.admit(), again.admit());
        assert!(one.is_ok() && other.is_ok());
        let budget = first.budget(1, Arc::default);
        assert!(Arc::ptr_eq(&budget, &again.budget(1, Arc::default)));
        assert!(!Arc::ptr_eq(&budget, &again.budget(2, Arc::default)));

        first.stats(1).segments_done.store(5, std::sync::atomic::Ordering::Relaxed);
        let counted = hosted.stats(Ulid::from(7), 1).unwrap();
        assert_eq!(QueryStats::get(&counted.segments_done), 5);
        assert!(hosted.stats(Ulid::from(7), 2).is_none() && hosted.stats(Ulid::from(8), 1).is_none());

        let stranger = hosted.enter(run(9, 1, Duration::from_secs(10)));
        assert_eq!(stranger.admit().await.unwrap_err().code(), tonic::Code::ResourceExhausted);
        drop((first, again));
        assert!(hosted.query(&run(7, 1, Duration::ZERO)).is_none());
        assert!(stranger.admit().await.is_ok());
        drop(stranger);
        assert!(hosted.queries.lock().is_empty());
    }

    #[tokio::test]
    async fn at_its_deadline_a_query_ends_and_gives_its_place_back() {
        let hosted = HostedQueries::new(Admission::new(1, 0), Duration::from_secs(10));
        let query = hosted.enter(run(7, 1, Duration::from_millis(200)));
        query.admit().await.unwrap();
        query.ended().cancelled().await;
        let next = hosted.enter(run(8, 1, Duration::from_secs(10)));
        next.admit().await.unwrap();
    }
}
