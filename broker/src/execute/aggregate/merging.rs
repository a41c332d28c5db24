//! One execution of an aggregate whose partitions merge their groups themselves.
//!
//! ```text
//! worker 0 ─ morsels … ─┐ last one done ┌─ all fit together ─▶ Merge: its jobs, by whoever asks
//! worker 1 ─ morsels … ─┴───────────────┴─ or not ───────────▶ partial states, for DataFusion's final aggregate
//! ```
//!
//! They do not fit together if one of them had to hand out groups early, as memory was short or the segments have keys of
//! different forms. That is known as soon as it happens; then all change over, each with what it has.
//!
//! Invariants:
//! - every worker is either in its place here or with the one stream that runs it; a stream that goes away in between
//!   fails the execution, so that no rows are missing;
//! - the outcome is decided once, and only when no worker is at work, or by one that gives up merging.

use std::pin::pin;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::internal_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::exec::SegmentAggregateExec;
use super::merge::Merge;
use super::worker::{Run, Worker};

/// See the module.
pub(super) struct Merging {
    run: Arc<Run>,
    state: Mutex<State>,
    /// A worker is back, or the outcome is known.
    changed: Notify,
}

struct State {
    /// By partition; those that no stream runs.
    workers: Vec<Option<Worker>>,
    at_work: usize,
    is_deciding: bool,
    outcome: Option<Outcome>,
}

/// How an execution goes on when its rows are grouped.
#[derive(Clone)]
pub(super) enum Outcome {
    Merged(Arc<Merge>),
    /// The partitions hand out partial states.
    Apart,
    Failed(Arc<DataFusionError>),
}

/// A worker that a stream runs; goes back when dropped.
struct AtWork<'a> {
    merging: &'a Merging,
    partition: usize,
    worker: Option<Worker>,
    is_done: bool,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let mut state = self.merging.state.lock();
        state.at_work -= 1;
        state.workers[self.partition] = self.worker.take();
        if !self.is_done && state.outcome.is_none() {
            let error = internal_datafusion_err!("a partition of an aggregate was given up before its end");
            state.outcome = Some(Outcome::Failed(Arc::new(error)));
        }
        drop(state);
        self.merging.changed.notify_waiters();
    }
}

impl Merging {
    /// An execution of `aggregate` in so many partitions.
    pub(super) fn start(
        aggregate: &SegmentAggregateExec,
        context: &TaskContext,
        partitions: usize,
    ) -> Result<Arc<Self>> {
        let run = aggregate.start(context)?;
        let workers = (0..partitions).map(|partition| aggregate.worker(&run, context, partition).map(Some));
        let workers = workers.collect::<Result<_>>()?;
        let state = State { workers, at_work: 0, is_deciding: false, outcome: None };
        Ok(Arc::new(Self { run, state: Mutex::new(state), changed: Notify::new() }))
    }

    /// Works as `partition`, and waits for the others.
    pub(super) async fn outcome(&self, partition: usize) -> Result<Outcome> {
        if let Some(at_work) = self.take(partition) {
            self.work(at_work).await?;
        }
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            match self.decided() {
                Some(Outcome::Failed(error)) => return Err(DataFusionError::Shared(error)),
                Some(outcome) => return Ok(outcome),
                None => changed.await,
            }
        }
    }

    fn decided(&self) -> Option<Outcome> {
        self.state.lock().outcome.clone()
    }

    fn take(&self, partition: usize) -> Option<AtWork<'_>> {
        let mut state = self.state.lock();
        if state.outcome.is_some() || state.is_deciding {
            return None;
        }
        let worker = state.workers[partition].take()?;
        state.at_work += 1;
        Some(AtWork { merging: self, partition, worker: Some(worker), is_done: false })
    }

    async fn work(&self, mut at_work: AtWork<'_>) -> Result<()> {
        let Some(worker) = &mut at_work.worker else { return Ok(()) };
        loop {
            if self.decided().is_some() {
                break;
            }
            let more = worker.step().await.map_err(|error| self.fail(error))?;
            if !more {
                worker.settle().map_err(|error| self.fail(error))?;
            }
            if worker.state.has_emitted() {
                self.decide(Outcome::Apart);
                break;
            }
            if !more {
                break;
            }
        }
        at_work.is_done = true;
        drop(at_work);
        self.merge_if_last()
    }

    fn fail(&self, error: DataFusionError) -> DataFusionError {
        let error = Arc::new(error);
        self.decide(Outcome::Failed(Arc::clone(&error)));
        DataFusionError::Shared(error)
    }

    fn decide(&self, outcome: Outcome) {
        self.state.lock().outcome.get_or_insert(outcome);
        self.changed.notify_waiters();
    }

    /// Merges the groups of all, if none is at work any more.
    fn merge_if_last(&self) -> Result<()> {
        let mut workers = {
            let mut state = self.state.lock();
            if state.at_work > 0 || state.is_deciding || state.outcome.is_some() {
                return Ok(());
            }
            state.is_deciding = true;
            std::mem::take(&mut state.workers)
        };
        let outcome = self.merge(&mut workers).map_err(|error| self.fail(error))?;
        self.state.lock().workers = workers;
        self.decide(outcome);
        Ok(())
    }

    fn merge(&self, workers: &mut [Option<Worker>]) -> Result<Outcome> {
        // A worker that no stream has run yet may have states of earlier queries.
        if workers.iter().flatten().any(|worker| worker.state.has_emitted()) {
            return Ok(Outcome::Apart);
        }
        let mut shapes = workers.iter().flatten().filter_map(|worker| worker.state.shapes());
        if let Some(first) = shapes.next()
            && !shapes.all(|shapes| shapes == first)
        {
            return Ok(Outcome::Apart);
        }
        let (mut parts, mut memory) = (Vec::new(), Vec::new());
        for worker in workers.iter_mut().flatten() {
            let (part, reservation) = worker.take_groups()?;
            parts.extend(part);
            memory.push(reservation);
        }
        let (fragment, keys) = (Arc::clone(&self.run.fragment), self.run.keys.clone());
        Ok(Outcome::Merged(Arc::new(Merge::new(fragment, keys, parts, memory))))
    }

    /// The partial states of `partition`, once it is known that the partitions do not merge.
    pub(super) fn states(
        merging: &Arc<Self>,
        partition: usize,
        schema: SchemaRef,
    ) -> SendableRecordBatchStream {
        let start = (Arc::clone(merging), None);
        let batches = stream::try_unfold(start, move |(merging, worker)| async move {
            let mut worker: Worker = match worker {
                Some(worker) => worker,
                None => merging.wait_for(partition).await,
            };
            let batch = worker.next_states().await?;
            Ok(batch.map(|batch| (batch, (merging, Some(worker)))))
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, Box::pin(batches)))
    }

    /// The worker of `partition`, as soon as no other stream runs it.
    async fn wait_for(&self, partition: usize) -> Worker {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let worker = self.state.lock().workers.get_mut(partition).and_then(Option::take);
            match worker {
                Some(worker) => return worker,
                None => changed.await,
            }
        }
    }
}
