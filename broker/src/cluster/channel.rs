//! Fragments to data nodes: the channel of the distributed plan, with the node's name in what goes wrong.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

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
use futures::{StreamExt, future};
use parking_lot::Mutex;
use tokio::sync::watch;
use url::Url;

use super::NodeId;
use super::node_error::{NodeErrorKind, of_node, unpack};
use super::nodes::Nodes;
use super::waits::PartAsked;
use crate::catalog::QueryCatalog;
use crate::request::QueryStats;

/// Finds the channel of a node.
pub(crate) struct NodeChannels {
    nodes: Arc<Nodes>,
    unsent: Arc<Unsent>,
}

impl NodeChannels {
    pub(crate) fn new(nodes: Arc<Nodes>) -> Self {
        Self { nodes, unsent: Arc::default() }
    }
}

/// Tasks whose plan did not get to their node. A node waits ten seconds for a plan; whoever asks it for the rows learns here
/// at once that there will be none.
#[derive(Default)]
struct Unsent {
    tasks: Mutex<HashMap<TaskKey, Weak<Outcome>>>,
}

type Outcome = watch::Sender<Option<Arc<DataFusionError>>>;

impl Unsent {
    fn of(&self, task: TaskKey) -> Arc<Outcome> {
        let mut tasks = self.tasks.lock();
        if let Some(outcome) = tasks.get(&task).and_then(Weak::upgrade) {
            return outcome;
        }
        tasks.retain(|_, outcome| outcome.strong_count() > 0);
        let outcome = Arc::new(watch::Sender::new(None));
        tasks.insert(task, Arc::downgrade(&outcome));
        outcome
    }
}

#[async_trait]
impl ChannelResolver for NodeChannels {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        let node = self.nodes.name_of(url);
        let channel = self.nodes.access().channel(url);
        let channel = channel.map_err(|error| of_node(&node, NodeErrorKind::Lost, &error.to_string()))?;
        let inner = create_worker_client(BoxCloneSyncChannel::new(channel));
        Ok(Box::new(NodeChannel { inner, node, unsent: Arc::clone(&self.unsent) }))
    }
}

struct NodeChannel {
    inner: Box<dyn WorkerChannel>,
    node: NodeId,
    unsent: Arc<Unsent>,
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
        catalog.waits().inspect(|waits| waits.run.put(&mut headers));
        let outcome = self.unsent.of(request.task_key);
        let answers = self.inner.coordinator_channel(headers, request, messages, metrics, context).await;
        let answers = answers.map_err(|error| {
            let error = Arc::new(unpack(error, &self.node));
            outcome.send_replace(Some(Arc::clone(&error)));
            DataFusionError::Shared(error)
        })?;
        let (node, stats) = (self.node.clone(), Arc::clone(catalog.stats()));
        let answers = answers.map(move |answer| {
            // Held as long as the query: the rows may be asked for before or after this.
            let _held = &outcome;
            if let Ok(WorkerToCoordinatorMsg::TaskMetrics(metrics)) = &answer {
                count(&stats, metrics);
            }
            answer.map_err(|error| unpack(error, &node))
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
        let asked = catalog.waits().map(|waits| waits.ask(&self.node));
        let outcome = self.unsent.of(request.task_key);
        let partitions = self.inner.execute_task(headers, request, metrics, context).await;
        let partitions = partitions.map_err(|error| unpack(error, &self.node))?;
        let first = FirstAnswer { asked: Mutex::new(asked), partitions: AtomicUsize::new(partitions.len()) };
        let first = Arc::new(first);
        let partitions = partitions.into_iter().map(|batches| {
            let batches = or_unsent(batches, &outcome, &self.node);
            Arc::clone(&first).noting(batches)
        });
        Ok(partitions.collect())
    }

    async fn get_worker_info(&mut self, request: GetWorkerInfoRequest) -> Result<GetWorkerInfoResponse> {
        self.inner.get_worker_info(request).await
    }
}

/// What a task has counted, in the statistics of its query.
fn count(stats: &QueryStats, task: &TaskMetrics) {
    let total = |name: &str| {
        let operators = task.pre_order_plan_metrics.iter();
        let counted = operators.filter_map(|metrics| Some(metrics.sum_by_name(name)?.as_usize() as u64));
        counted.sum()
    };
    stats.rows_scanned.fetch_add(total("rows_scanned"), Ordering::Relaxed);
    stats.segments_kept.fetch_add(total("segments_kept"), Ordering::Relaxed);
    let denied = total("segments_pruned_by_bloom");
    let left = |scanned: u64| Some(scanned.saturating_sub(denied));
    // It always gives a value.
    let _ = stats.segments_scanned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
}

/// A part that a node was asked for, until it has begun to answer: with a batch, or with no batch in any partition.
struct FirstAnswer {
    asked: Mutex<Option<PartAsked>>,
    partitions: AtomicUsize,
}

impl FirstAnswer {
    fn here(&self) {
        let asked = self.asked.lock().take();
        asked.into_iter().for_each(PartAsked::answered);
    }

    fn ended(&self) {
        if self.partitions.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.here();
        }
    }

    /// The batches of a partition, noted when they come.
    fn noting(
        self: Arc<Self>,
        batches: BoxStream<'static, Result<RecordBatch>>,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let at_the_end = Arc::clone(&self);
        let end = stream::once(async move { at_the_end.ended() }).filter_map(|()| future::ready(None));
        batches.inspect(move |_| self.here()).chain(end).boxed()
    }
}

/// The batches, or the reason why there will be none.
fn or_unsent(
    batches: BoxStream<'static, Result<RecordBatch>>,
    outcome: &Arc<Outcome>,
    node: &NodeId,
) -> BoxStream<'static, Result<RecordBatch>> {
    let (news, held, node) = (outcome.subscribe(), Arc::clone(outcome), node.clone());
    let state = (batches, news, held, node);
    let batches = stream::unfold(state, async |(mut batches, mut news, held, node)| {
        let batch = tokio::select! {
            biased;
            batch = batches.next() => batch?.map_err(|error| unpack(error, &node)),
            Ok(failed) = news.wait_for(Option::is_some) => {
                Err(failed.as_ref().map_or_else(
                    || internal_datafusion_err!("a plan was not sent, for no reason"),
                    |error| DataFusionError::Shared(Arc::clone(error)),
                ))
            }
        };
        Some((batch, (batches, news, held, node)))
    });
    batches.boxed()
}
