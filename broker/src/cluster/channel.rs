//! Fragments to data nodes: the channel of the distributed plan, with the node's name in what goes wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use axum::http::HeaderMap;
use datafusion::common::internal_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_distributed::grpc::{BoxCloneSyncChannel, create_worker_client};
use datafusion_distributed::{
    ChannelResolver, CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest, GetWorkerInfoResponse,
    SetPlanRequest, TaskKey, TaskMetrics, WorkerChannel, WorkerToCoordinatorMsg,
};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt, future};
use parking_lot::Mutex;
use url::Url;

use super::address::{bare, name_of};
use super::attempt::Attempt;
use super::direct::Counted;
use super::node_error::{NodeErrorKind, of_node, unpack};
use super::waits::{PartAsked, Waits};
use super::{ClusterAccess, NodeId};
use crate::catalog::QueryCatalog;
use crate::request::QueryStats;

/// Finds the channel of a node, for a broker and for a data node that reads what others have: addresses
/// [name](super::address) their nodes.
pub(crate) struct NodeChannels {
    access: ClusterAccess,
}

impl NodeChannels {
    pub(crate) fn new(access: ClusterAccess) -> Self {
        Self { access }
    }
}

#[async_trait]
impl ChannelResolver for NodeChannels {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        let node = name_of(url);
        let channel = self.access.channel(&bare(url));
        let channel = channel.map_err(|error| of_node(&node, NodeErrorKind::Lost, &error.to_string()))?;
        let inner = create_worker_client(BoxCloneSyncChannel::new(channel));
        Ok(Box::new(NodeChannel { inner, node }))
    }
}

struct NodeChannel {
    inner: Box<dyn WorkerChannel>,
    node: NodeId,
}

#[async_trait]
impl WorkerChannel for NodeChannel {
    async fn coordinator_channel(
        &mut self,
        mut headers: HeaderMap,
        request: SetPlanRequest,
        messages: BoxStream<'static, CoordinatorToWorkerMsg>,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        let catalog = QueryCatalog::of(context)?;
        catalog.waits().inspect(|waits| {
            waits.give(&self.node);
            waits.run.put(&mut headers);
        });
        let (attempt, task) = (Attempt::of(context)?, request.task_key);
        let answers = self.inner.coordinator_channel(headers, request, messages, metrics, context).await;
        let failed = |error, node: &NodeId, attempt: &Attempt| {
            let error = Arc::new(unpack(error, node));
            attempt.fail(&error);
            DataFusionError::Shared(error)
        };
        let answers = answers.map_err(|error| failed(error, &self.node, &attempt))?;
        let (node, stats) = (self.node.clone(), Arc::clone(catalog.stats()));
        let answers = answers.map(move |answer| {
            if let Ok(WorkerToCoordinatorMsg::TaskMetrics(metrics)) = &answer {
                count(&stats, &counted(metrics));
                attempt.count_read(&task, metrics);
            }
            answer.map_err(|error| failed(error, &node, &attempt))
        });
        Ok(answers.boxed())
    }

    async fn execute_task(
        &mut self,
        mut headers: HeaderMap,
        request: ExecuteTaskRequest,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        let catalog = QueryCatalog::of(context)?;
        catalog.waits().inspect(|waits| waits.run.put(&mut headers));
        let waits = catalog.waits().map(Arc::clone);
        let task = request.task_key;
        let partitions = self.inner.execute_task(headers, request, metrics, context).await;
        let partitions = partitions.map_err(|error| unpack(error, &self.node))?;
        // Only the broker hears of failures, and only it asks who reads what.
        let attempt = Attempt::of(context).ok();
        let first = FirstAnswer::of(self.node.clone(), waits, partitions.len());
        let partitions = partitions.into_iter().map(|batches| {
            let node = self.node.clone();
            let batches = batches.map_err(move |error| unpack(error, &node)).boxed();
            match &attempt {
                Some(attempt) => Arc::clone(&first).noting(watched(batches, task, attempt)),
                None => batches,
            }
        });
        Ok(partitions.collect())
    }

    async fn get_worker_info(&mut self, request: GetWorkerInfoRequest) -> Result<GetWorkerInfoResponse> {
        self.inner.get_worker_info(request).await
    }
}

/// What a task has counted.
fn counted(task: &TaskMetrics) -> Counted {
    Counted::of(&task.pre_order_plan_metrics)
}

/// What a task has counted, in the statistics of its query.
pub(super) fn count(stats: &QueryStats, counted: &Counted) {
    stats.rows_scanned.fetch_add(counted.rows_scanned, Ordering::Relaxed);
    stats.segments_kept.fetch_add(counted.segments_kept, Ordering::Relaxed);
    stats.segments_done_elsewhere.fetch_add(counted.segments_done, Ordering::Relaxed);
    let left = |scanned: u64| Some(scanned.saturating_sub(counted.segments_pruned_by_bloom));
    // It always gives a value.
    let _ = stats.segments_scanned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
}

/// A part that a node was asked for, until it has begun to answer: with a batch, or with no batch in any partition.
pub(super) struct FirstAnswer {
    node: NodeId,
    /// Until somebody wants rows: only then the node is asked.
    to_ask: Mutex<Option<Arc<Waits>>>,
    asked: Mutex<Option<PartAsked>>,
    partitions: AtomicUsize,
}

impl FirstAnswer {
    /// Of `node`, in so many partitions.
    pub(super) fn of(node: NodeId, waits: Option<Arc<Waits>>, partitions: usize) -> Arc<Self> {
        Arc::new(Self {
            node,
            to_ask: Mutex::new(waits),
            asked: Mutex::default(),
            partitions: AtomicUsize::new(partitions),
        })
    }

    fn begun(&self) {
        let waits = self.to_ask.lock().take();
        if let Some(waits) = waits {
            *self.asked.lock() = Some(waits.ask(&self.node));
        }
    }

    fn here(&self) {
        let asked = self.asked.lock().take();
        asked.into_iter().for_each(PartAsked::answered);
    }

    fn ended(&self) {
        if self.partitions.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.here();
        }
    }

    /// The batches of a partition, noted when they are wanted and when they come.
    pub(super) fn noting(
        self: Arc<Self>,
        batches: BoxStream<'static, Result<RecordBatch>>,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let (at_first, at_the_end) = (Arc::clone(&self), Arc::clone(&self));
        let nothing = |()| future::ready(None);
        let begin = stream::once(async move { at_first.begun() }).filter_map(nothing);
        let end = stream::once(async move { at_the_end.ended() }).filter_map(nothing);
        begin.chain(batches.inspect(move |_| self.here())).chain(end).boxed()
    }
}

/// The batches that come to the broker, counted, until its attempt fails.
fn watched(
    batches: BoxStream<'static, Result<RecordBatch>>,
    task: TaskKey,
    attempt: &Arc<Attempt>,
) -> BoxStream<'static, Result<RecordBatch>> {
    let state = (batches, attempt.failures(), Arc::clone(attempt), task);
    let batches = stream::unfold(state, async |(mut batches, mut failures, attempt, task)| {
        let batch = tokio::select! {
            biased;
            batch = batches.next() => batch?,
            Ok(failed) = failures.wait_for(Option::is_some) => {
                Err(failed.as_ref().map_or_else(
                    || internal_datafusion_err!("a query failed on another node, for no reason"),
                    |error| DataFusionError::Shared(Arc::clone(error)),
                ))
            }
        };
        if let Ok(batch) = &batch {
            attempt.count(&task, batch);
        }
        Some((batch, (batches, failures, attempt, task)))
    });
    batches.boxed()
}
