//! The broker's side: an operator whose partitions are the tasks of a stage, each on its node.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
use arrow_flight::error::FlightError;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};
use bytes::{Buf, Bytes, BytesMut};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{exec_datafusion_err, internal_datafusion_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
};
use datafusion_distributed::{DistributedLeafExec, TaskKey};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, future, stream};
use prost::Message;
use tonic::Status;
use tonic::transport::Channel;
use tower::{Service, ServiceExt};
use url::Url;
use uuid::Uuid;

use super::{FRAGMENT_PATH, Part};
use crate::catalog::QueryCatalog;
use crate::cluster::NodeId;
use crate::cluster::address::{bare, name_of};
use crate::cluster::attempt::Attempt;
use crate::cluster::channel::{FirstAnswer, count};
use crate::cluster::codec::encode;
use crate::cluster::distribute::urls_of_leaf;
use crate::cluster::node_error::{NodeErrorKind, of_node, packed, unpack};

/// Bytes of a part at most: batches are cut to a few MiB, but for one that is a single long row.
const PART_BYTES_MAX: usize = 1 << 30;
/// A varint has no more bytes.
const LENGTH_BYTES_MAX: usize = 10;

/// See the module. Made for one run.
#[derive(Debug)]
pub(in crate::cluster) struct FetchExec {
    plan: Arc<dyn ExecutionPlan>,
    nodes: Vec<Url>,
    query: Uuid,
    stage: usize,
    properties: Arc<PlanProperties>,
}

impl FetchExec {
    /// The rows of `plan`, which has a spread leaf and one partition, from the nodes of that leaf.
    pub(in crate::cluster) fn try_new(
        plan: Arc<dyn ExecutionPlan>,
        (query, stage): (Uuid, usize),
    ) -> Result<Self> {
        let nodes = urls_of_leaf(&plan)?;
        let nodes = nodes.ok_or_else(|| internal_datafusion_err!("a stage that reads nothing"))?;
        let properties = PlanProperties::new(
            plan.equivalence_properties().clone(),
            Partitioning::UnknownPartitioning(nodes.len()),
            plan.pipeline_behavior(),
            plan.boundedness(),
        );
        Ok(Self { plan, nodes, query, stage, properties: Arc::new(properties) })
    }

    /// What the task runs: of every spread leaf its own part.
    fn plan_of(&self, task: usize) -> Result<Arc<dyn ExecutionPlan>> {
        let own = |operator: Arc<dyn ExecutionPlan>| {
            let Some(leaf) = operator.downcast_ref::<DistributedLeafExec>() else {
                return Ok(Transformed::no(operator));
            };
            let part = leaf.variants().get(task);
            let part =
                part.ok_or_else(|| internal_datafusion_err!("a leaf without a part for task {task}"))?;
            Ok(Transformed::new(Arc::clone(part), true, TreeNodeRecursion::Jump))
        };
        Arc::clone(&self.plan).transform_down(own).data()
    }
}

impl DisplayAs for FetchExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FetchExec: stage={}, tasks={}", self.stage, self.nodes.len())
    }
}

impl ExecutionPlan for FetchExec {
    fn name(&self) -> &'static str {
        "FetchExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        // What is on other nodes is none of the rules of this one.
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, task: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let url = self.nodes.get(task);
        let url = url.ok_or_else(|| internal_datafusion_err!("stage {} has no task {task}", self.stage))?;
        let (catalog, attempt) = (QueryCatalog::of(&context)?, Attempt::of(&context)?);
        let node = name_of(url);
        let channel = attempt.access().channel(&bare(url));
        let channel = channel.map_err(|error| of_node(&node, NodeErrorKind::Lost, &error.to_string()))?;
        let mut headers = attempt.headers().clone();
        catalog.waits().inspect(|waits| waits.run.put(&mut headers));
        let asked = Asked { channel, headers, plan: encode(self.plan_of(task)?)?, node: node.clone() };
        let stats = Arc::clone(catalog.stats());
        let parts = stream::once(asked.parts()).try_flatten();
        let data = parts.try_filter_map(move |part| {
            if let Some(counted) = &part.end {
                count(&stats, counted);
            }
            future::ready(Ok(part.data))
        });
        let data = data.map_err(|error| FlightError::ExternalError(Box::new(error)));
        let batches = FlightDataDecoder::new(data).try_filter_map(|decoded| {
            future::ready(Ok(match decoded.payload {
                DecodedPayload::RecordBatch(batch) => Some(batch),
                DecodedPayload::Schema(_) | DecodedPayload::None => None,
            }))
        });
        let batches = batches.map_err(move |error| arrived(error, &node)).boxed();
        let key = TaskKey { query_id: self.query, stage_id: self.stage, task_number: task };
        let counted = batches.inspect_ok(move |batch: &RecordBatch| attempt.count_rows(&key, batch)).boxed();
        let waits = catalog.waits().map(Arc::clone);
        let batches = FirstAnswer::of(name_of(url), waits, 1).noting(counted);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

/// A request to a node.
struct Asked {
    channel: Channel,
    headers: HeaderMap,
    plan: Bytes,
    node: NodeId,
}

impl Asked {
    /// Sends it; what comes back.
    async fn parts(mut self) -> Result<BoxStream<'static, Result<Part>>> {
        let lost =
            |error: &dyn fmt::Display, node: &NodeId| of_node(node, NodeErrorKind::Lost, &error.to_string());
        let body = tonic::body::Body::new(Body::from(self.plan));
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = FRAGMENT_PATH.parse().map_err(|error| internal_datafusion_err!("{error}"))?;
        *request.headers_mut() = self.headers;
        let channel = self.channel.ready().await.map_err(|error| lost(&error, &self.node))?;
        let response = channel.call(request).await.map_err(|error| lost(&error, &self.node))?;
        // A query that is not admitted is told so in the terms of gRPC.
        if let Some(status) =
            Status::from_header_map(response.headers()).filter(|it| it.code() != tonic::Code::Ok)
        {
            return Err(unpack(DataFusionError::External(Box::new(status)), &self.node));
        }
        if !response.status().is_success() {
            let what = format!("it answered with {}; do both nodes run the same version?", response.status());
            return Err(lost(&what, &self.node));
        }
        let node = self.node.clone();
        let chunks =
            Body::new(response.into_body()).into_data_stream().map_err(move |error| lost(&error, &node));
        let state =
            Arriving { chunks: chunks.boxed(), bytes: BytesMut::new(), is_over: false, node: self.node };
        let parts =
            stream::try_unfold(state, async |mut state| Ok(state.next().await?.map(|part| (part, state))));
        Ok(parts.boxed())
    }
}

struct Arriving {
    chunks: BoxStream<'static, Result<Bytes>>,
    bytes: BytesMut,
    is_over: bool,
    node: NodeId,
}

impl Arriving {
    /// The next part; `None` after the last one.
    async fn next(&mut self) -> Result<Option<Part>> {
        loop {
            if self.is_over {
                return Ok(None);
            }
            if let Some(part) = taken(&mut self.bytes)? {
                if let Some(failed) = part.failed {
                    return Err(unpack(packed(&failed.kind, failed.message), &self.node));
                }
                self.is_over = part.end.is_some();
                return Ok(Some(part));
            }
            match self.chunks.try_next().await? {
                Some(chunk) => self.bytes.extend_from_slice(&chunk),
                None => return Err(of_node(&self.node, NodeErrorKind::Lost, "its answer broke off")),
            }
        }
    }
}

/// The first part in `bytes`, if it is whole.
fn taken(bytes: &mut BytesMut) -> Result<Option<Part>> {
    let mut ahead = &bytes[..];
    let length = match prost::decode_length_delimiter(&mut ahead) {
        Ok(length) => length,
        Err(_) if bytes.len() < LENGTH_BYTES_MAX => return Ok(None),
        Err(error) => return Err(exec_datafusion_err!("an answer of a node cannot be read: {error}")),
    };
    if length > PART_BYTES_MAX {
        return Err(exec_datafusion_err!(
            "a node sent {length} bytes in one piece, more than the {PART_BYTES_MAX} that are read"
        ));
    }
    let before = bytes.len() - ahead.len();
    if ahead.len() < length {
        bytes.reserve(before + length - bytes.len());
        return Ok(None);
    }
    bytes.advance(before);
    let part = bytes.split_to(length).freeze();
    let part = Part::decode(part);
    part.map(Some).map_err(|error| exec_datafusion_err!("an answer of a node cannot be read: {error}"))
}

/// What went wrong, as it was before the decoder wrapped it.
fn arrived(error: FlightError, node: &NodeId) -> DataFusionError {
    match error {
        FlightError::ExternalError(error) => match error.downcast::<DataFusionError>() {
            Ok(error) => *error,
            Err(error) => of_node(node, NodeErrorKind::Lost, &error.to_string()),
        },
        error => exec_datafusion_err!("an answer of node {node} cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Counted, Failure};
    use super::*;
    use crate::cluster::node_error::find;

    fn part(data: usize) -> Part {
        let data = arrow_flight::FlightData { data_body: vec![7; data].into(), ..Default::default() };
        Part { data: Some(data), ..Part::default() }
    }

    fn end() -> Part {
        Part { end: Some(Counted { rows_scanned: 9, ..Counted::default() }), ..Part::default() }
    }

    fn bytes_of(parts: &[Part]) -> Vec<u8> {
        parts.iter().flat_map(Part::encode_length_delimited_to_vec).collect()
    }

    fn arriving(bytes: &[u8], piece: usize) -> Arriving {
        let pieces: Vec<_> = bytes.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let node = NodeId::new("data-1").unwrap();
        Arriving { chunks: stream::iter(pieces).boxed(), bytes: BytesMut::new(), is_over: false, node }
    }

    #[tokio::test]
    async fn parts_arrive_however_the_network_cuts_them() {
        let sent = [part(0), part(1), part(300), part(70_000), end()];
        let bytes = bytes_of(&sent);
        for piece in [1, 2, 3, 127, 128, 299, 65_536, bytes.len()] {
            let mut arriving = arriving(&bytes, piece);
            for expected in &sent {
                assert_eq!(arriving.next().await.unwrap().as_ref(), Some(expected), "pieces of {piece}");
            }
            assert_eq!(arriving.next().await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn an_answer_without_its_last_part_is_an_error_of_the_node() {
        let whole = bytes_of(&[part(300), end()]);
        for left in 0..whole.len() {
            let mut arriving = arriving(&whole[..left], 64);
            let error = loop {
                match arriving.next().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("{left} of {} bytes were taken for all", whole.len()),
                    Err(error) => break error,
                }
            };
            let lost = find(&error).unwrap();
            assert_eq!((lost.kind, lost.node.to_string()), (NodeErrorKind::Lost, "data-1".to_owned()));
        }
    }

    #[tokio::test]
    async fn what_a_node_failed_with_keeps_its_kind() {
        let failed = Failure { kind: "refused".into(), message: "no such segment".into() };
        let bytes = bytes_of(&[part(3), Part { failed: Some(failed), ..Part::default() }]);
        let mut arriving = arriving(&bytes, 10);
        assert!(arriving.next().await.unwrap().is_some());
        let error = arriving.next().await.unwrap_err();
        assert_eq!(find(&error).unwrap().kind, NodeErrorKind::Refused);
    }

    #[tokio::test]
    async fn a_length_that_nobody_sends_is_not_waited_for() {
        let mut huge = Vec::new();
        prost::encode_length_delimiter(PART_BYTES_MAX + 1, &mut huge).unwrap();
        let endless = vec![0xff; 11];
        for bytes in [huge, endless] {
            let error = arriving(&bytes, 4).next().await.unwrap_err();
            assert!(
                error.to_string().contains("answer of a node cannot be read")
                    || error.to_string().contains("in one piece")
            );
        }
    }
}
