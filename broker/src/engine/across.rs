//! One query over several nodes: run again, at a cut that is not lower, when a node fails it: without a node that was lost or
//! keeps refusing.
//!
//! The distributed plan cannot replace a node while it runs. So the first rows of an answer are held back: as long as none has
//! left for the client the whole query can be run again, also beside itself when it is [late](super::hedge). Once rows
//! have left, an error ends the answer.
//!
//! Invariants: at most one attempt's rows reach the client, and its cuts are those that the answer names; a query is never run
//! again for what is its own fault.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::analyze::AnalyzeExec;
use datafusion::physical_plan::execute_stream;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Instrument;

use super::fragment::REFRESH_WAIT;
use super::hedge;
use super::registry::QueryEntry;
use super::run::{PlanReport, Planned, QueryTask, Trial, panicked};
use super::stream::Message;
use crate::QueryError;
use crate::cluster::NodeId;
use crate::cluster::attempt::Attempt;
use crate::cluster::distribute::Ways;
use crate::cluster::explain;
use crate::cluster::node_error::{self, NodeErrorKind};
use crate::cluster::nodes::{Nodes, Wanted};
use crate::cluster::pace::shape_of;
use crate::cluster::run::Run;
use crate::cluster::subqueries::distribute_after_subqueries;
use crate::cluster::waits::Waits;
use crate::request::QueryStats;
use crate::trace::TARGET;

/// Bytes of an answer that are held back.
const HELD_BYTES_MAX: usize = 4 << 20;
/// Runs of one query at most: a query that brings nodes down must not bring all of them down.
const ATTEMPTS_MAX: u32 = 6;
/// Refusals after which a query does without the node that refused last.
const REFUSALS_MAX: u32 = 3;
/// Before the second run; twice as long before each further one.
const PAUSE: Duration = Duration::from_millis(20);

/// One run of the query over nodes.
pub(super) struct Try {
    trial: Trial,
    pub(super) waits: Arc<Waits>,
    pub(super) excluded: BTreeSet<NodeId>,
}

impl Try {
    /// The next run, without the nodes `excluded`.
    fn next(task: &QueryTask, nodes: &Arc<Nodes>, number: &mut u32, excluded: BTreeSet<NodeId>) -> Self {
        *number += 1;
        let run = Run { query: task.entry.number, number: *number, deadline: task.deadline };
        let waits = Waits::new(run, shape_of(&task.request.sql), Arc::clone(nodes));
        let wanted = Wanted {
            at_least: task.request.min_offsets.clone(),
            excluded: excluded.clone(),
            allow_partial: task.request.allow_partial,
            waits: Arc::clone(&waits),
        };
        Self { trial: Trial { stats: Arc::default(), wanted: Some(wanted) }, waits, excluded }
    }

    /// Which run of the query it is.
    pub(super) fn number(&self) -> u32 {
        self.waits.run.number
    }

    pub(super) fn stats(&self) -> Arc<QueryStats> {
        Arc::clone(&self.trial.stats)
    }
}

/// An answer that has begun.
pub(super) struct Begun {
    planned: Planned,
    held: Vec<RecordBatch>,
    rest: Option<SendableRecordBatchStream>,
}

/// Why a run has failed.
pub(super) enum Failed {
    Planning(QueryError),
    /// With the names of the tables that it reads.
    Running(DataFusionError, Vec<String>),
}

/// Runs the query and reports as soon as its answer has begun.
pub(super) async fn run(task: QueryTask, nodes: Arc<Nodes>, report: oneshot::Sender<PlanReport>) {
    let begun = AssertUnwindSafe(Box::pin(begin(&task, &nodes))).catch_unwind().await;
    let begun = match begun.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))) {
        Ok(begun) => begun,
        Err(error) => {
            // The receiver is gone if the client is: then nobody needs to know.
            report.send(Err(error)).ok();
            return;
        }
    };
    let Begun { planned, held, rest } = begun;
    if report.send(Ok((planned.plan.schema(), planned.cuts))).is_err() {
        return;
    }
    let rest = stream::iter(rest).flatten().map_err(|error| task.named(&error));
    let batches = stream::iter(held.into_iter().map(Ok)).chain(rest);
    let handed = AssertUnwindSafe(task.hand_over(batches)).catch_unwind().await;
    let handed = handed.unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
    task.sender.send(Message::End(handed.err())).await.ok();
}

async fn begin(task: &QueryTask, nodes: &Arc<Nodes>) -> Result<Begun, QueryError> {
    let (mut excluded, mut pause) = (BTreeSet::new(), PAUSE);
    let (mut attempt, mut number) = (1, 0);
    loop {
        let first = Try::next(task, nodes, &mut number, excluded.clone());
        let next = |late: &BTreeSet<NodeId>| {
            let without = first.excluded.union(late).cloned().collect();
            Try::next(task, nodes, &mut number, without)
        };
        let (error, tables) = match hedge::run(task, nodes, &first, next).await {
            Ok(begun) => return Ok(begun),
            Err(Failed::Planning(error)) => return Err(error),
            Err(Failed::Running(error, tables)) => (error, tables),
        };
        let in_time = Instant::now() + pause < task.deadline;
        let again = node_error::find(&error).filter(|_| attempt < ATTEMPTS_MAX && in_time);
        let Some(failure) = again else { return Err(task.named(&error)) };
        tracing::info!(query = task.entry.id, attempt, error = %failure, "a query is run again");
        metrics::counter!("headwater_query_attempts_failed_total", "why" => failure.kind.name()).increment(1);
        match failure.kind {
            NodeErrorKind::Lost => exclude(nodes, &mut excluded, &failure.node),
            // Without it there would be no answer, only another error.
            NodeErrorKind::Full if first.waits.needs(&failure.node) => {}
            NodeErrorKind::Full => exclude(nodes, &mut excluded, &failure.node),
            // It, or this node, is behind with a log.
            NodeErrorKind::Refused => {
                refresh(task, &tables).await;
                if attempt >= REFUSALS_MAX {
                    exclude(nodes, &mut excluded, &failure.node);
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
        attempt += 1;
    }
}

/// Does without a node from now on, unless it is the last one: that one may be back by then.
fn exclude(nodes: &Nodes, excluded: &mut BTreeSet<NodeId>, node: &NodeId) {
    excluded.insert(node.clone());
    if nodes.view(excluded).nodes().is_empty() {
        excluded.clear();
    }
}

async fn refresh(task: &QueryTask, tables: &[String]) {
    for table in tables.iter().filter_map(|name| task.tables.get(name)) {
        let looking = Arc::clone(&table);
        let look = task.io.spawn(async move { looking.follow_log().await });
        // What comes of it shows in the next run.
        if let Ok(Ok(Err(error))) = tokio::time::timeout(REFRESH_WAIT, look).await {
            tracing::debug!(table = table.name(), %error, "the log could not be looked at");
        }
    }
}

/// Runs the query up to the point where its answer has begun.
pub(super) async fn try_once(task: &QueryTask, run: &Try) -> Result<Begun, Failed> {
    let span = tracing::info_span!(target: TARGET, "plan", headwater.run = run.number());
    let planned = task.plan(&run.trial).instrument(span).await.map_err(Failed::Planning)?;
    let span = tracing::info_span!(target: TARGET, "execute", headwater.run = run.number());
    match run_until_held(&planned, &task.entry).instrument(span).await {
        Ok((held, rest)) => Ok(Begun { planned, held, rest }),
        Err(error) => Err(Failed::Running(error, planned.cuts.into_keys().collect())),
    }
}

/// The first rows of an answer, and where the others come from if there are more than are held back.
async fn run_until_held(
    planned: &Planned,
    entry: &QueryEntry,
) -> Result<(Vec<RecordBatch>, Option<SendableRecordBatchStream>), DataFusionError> {
    let (plan, context) = (Arc::clone(&planned.plan), Arc::clone(&planned.context));
    let is_analyzed = plan.downcast_ref::<AnalyzeExec>().is_some();
    // What is to be looked at has all stages in one plan.
    let ways = if is_analyzed { Ways::Stages } else { Ways::Shortest };
    let plan = distribute_after_subqueries(plan, &context, &entry.cancel, ways).await?;
    entry.set_plan(&plan);
    let mut batches = execute_stream(Arc::clone(&plan), Arc::clone(&context))?;
    let (mut held, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = batches.try_next().await? {
        bytes += batch.get_array_memory_size();
        held.push(batch);
        if bytes > HELD_BYTES_MAX {
            return Ok((held, Some(batches)));
        }
    }
    Attempt::of(&context)?.ended();
    if is_analyzed {
        // By now every task has reported.
        held.push(explain::analyzed(&plan, &context)?);
    }
    Ok((held, None))
}

#[cfg(test)]
mod tests;
