//! Fragments to data nodes: the channel of the distributed plan, with the node's name in what goes wrong.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use axum::http::HeaderMap;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_distributed::grpc::{BoxCloneSyncChannel, create_worker_client};
use datafusion_distributed::{
    ChannelResolver, CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest, GetWorkerInfoResponse,
    SetPlanRequest, WorkerChannel, WorkerToCoordinatorMsg,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use url::Url;

use super::NodeId;
use super::node_error::{NodeErrorKind, of_node, unpack};
use super::nodes::Nodes;

/// Finds the channel of a node.
pub(crate) struct NodeChannels {
    pub(crate) nodes: Arc<Nodes>,
}

#[async_trait]
impl ChannelResolver for NodeChannels {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        let node = self.nodes.name_of(url);
        let channel = self.nodes.access().channel(url);
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
        headers: HeaderMap,
        request: SetPlanRequest,
        messages: BoxStream<'static, CoordinatorToWorkerMsg>,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        let answers = self.inner.coordinator_channel(headers, request, messages, metrics, context).await;
        let answers = answers.map_err(|error| unpack(error, &self.node))?;
        Ok(named(answers, &self.node))
    }

    async fn execute_task(
        &mut self,
        headers: HeaderMap,
        request: ExecuteTaskRequest,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        let partitions = self.inner.execute_task(headers, request, metrics, context).await;
        let partitions = partitions.map_err(|error| unpack(error, &self.node))?;
        Ok(partitions.into_iter().map(|batches| named(batches, &self.node)).collect())
    }

    async fn get_worker_info(&mut self, request: GetWorkerInfoRequest) -> Result<GetWorkerInfoResponse> {
        self.inner.get_worker_info(request).await
    }
}

fn named<T: 'static>(
    items: BoxStream<'static, Result<T, DataFusionError>>,
    node: &NodeId,
) -> BoxStream<'static, Result<T, DataFusionError>> {
    let node = node.clone();
    items.map(move |item| item.map_err(|error| unpack(error, &node))).boxed()
}
