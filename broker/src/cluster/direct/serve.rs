//! The data node's side: one request, one fragment, its rows.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use async_trait::async_trait;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use datafusion::common::internal_datafusion_err;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use prost::Message;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::{Failure, Part};
use crate::cluster::node_error::{pack, packed_parts};

/// Where fragments are asked for.
pub(in crate::cluster) const FRAGMENT_PATH: &str = "/node/fragment";
/// Chunks that wait for the network, beside the one being made.
const CHUNKS_AHEAD: usize = 2;
/// Parts that leave together if they are ready together.
const PARTS_TOGETHER: usize = 16;

/// Makes fragments ready to run; the engine does.
#[async_trait]
pub(crate) trait RunsFragments: Send + Sync + 'static {
    /// The fragment that a request's headers and body say.
    async fn prepare(&self, headers: HeaderMap, plan: Bytes) -> Result<Prepared>;
}

/// A fragment that is ready to run.
pub(crate) struct Prepared {
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    pub(crate) context: Arc<TaskContext>,
}

/// What a fragment has counted.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Counted {
    #[prost(uint64, tag = "1")]
    pub(crate) rows_scanned: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) segments_kept: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) segments_pruned_by_bloom: u64,
    /// Read, or found not to be needed.
    #[prost(uint64, tag = "4")]
    pub(crate) segments_done: u64,
}

impl Counted {
    /// By the metrics of all operators of a fragment.
    pub(in crate::cluster) fn of(operators: &[MetricsSet]) -> Self {
        let total = |name: &str| {
            let counted =
                operators.iter().filter_map(|metrics| Some(metrics.sum_by_name(name)?.as_usize() as u64));
            counted.sum::<u64>()
        };
        Self {
            rows_scanned: total("rows_scanned"),
            segments_kept: total("segments_kept"),
            segments_pruned_by_bloom: total("segments_pruned_by_bloom"),
            segments_done: total("segments_scanned") + total("segments_pruned"),
        }
    }

    fn by(plan: &Arc<dyn ExecutionPlan>) -> Result<Self> {
        let mut operators = Vec::new();
        plan.apply(|operator| {
            operators.extend(operator.metrics());
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(Self::of(&operators))
    }
}

/// What the route works with: what makes fragments ready, and where they run.
pub(in crate::cluster) type Runner = (Arc<dyn RunsFragments>, Handle);

/// Runs a fragment. The answer begins with its first rows, so that a short one is one message.
pub(in crate::cluster) async fn fragment(
    State((fragments, queries)): State<Runner>,
    headers: HeaderMap,
    plan: Bytes,
) -> Response {
    let (sender, mut receiver) = mpsc::channel(CHUNKS_AHEAD);
    queries.spawn(async move {
        let work = AssertUnwindSafe(send(fragments, headers, plan, &sender)).catch_unwind();
        let ended = tokio::select! {
            biased;
            () = sender.closed() => return,
            ended = work => ended,
        };
        if ended.is_err() {
            tracing::error!("a fragment met a bug and was stopped");
            let bug = pack(internal_datafusion_err!("a fragment met a bug and was stopped"));
            // Whoever asked may be gone.
            sender.send(last(&bug)).await.ok();
        }
    });
    let first = receiver.recv().await;
    let chunks = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    let chunks = stream::iter(first).chain(chunks).map(Ok::<_, std::convert::Infallible>);
    let kind = HeaderValue::from_static("application/octet-stream");
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(chunks)).into_response()
}

async fn send(
    fragments: Arc<dyn RunsFragments>,
    headers: HeaderMap,
    plan: Bytes,
    sender: &mpsc::Sender<Bytes>,
) {
    let run = fragments.prepare(headers, plan).await.and_then(|Prepared { plan, context }| {
        let batches = execute_stream(Arc::clone(&plan), context)?;
        Ok((plan, batches))
    });
    let (plan, batches) = match run {
        Ok(run) => run,
        Err(error) => {
            sender.send(last(&pack(error))).await.ok();
            return;
        }
    };
    let schema = batches.schema();
    let batches = batches.map_err(|error| FlightError::ExternalError(Box::new(error)));
    let data = FlightDataEncoderBuilder::new().with_schema(schema).build(batches);
    let parts = data.map(|data| match data {
        Ok(data) => Ok(Part { data: Some(data), ..Part::default() }),
        Err(error) => Err(failed_with(error)),
    });
    let end = stream::once(async move { Ok(Part { end: Some(Counted::by(&plan)?), ..Part::default() }) });
    // After an error there is no end.
    let parts = parts.chain(end).scan(false, |is_over, part| {
        let was_over = std::mem::replace(is_over, part.is_err());
        futures::future::ready((!was_over).then_some(part))
    });
    let mut chunks = Box::pin(parts.ready_chunks(PARTS_TOGETHER));
    while let Some(parts) = chunks.next().await {
        let mut chunk = Vec::new();
        for part in parts {
            put(&part.unwrap_or_else(|error| failure(&error)), &mut chunk);
        }
        if sender.send(Bytes::from(chunk)).await.is_err() {
            return;
        }
    }
}

fn put(part: &Part, chunk: &mut Vec<u8>) {
    part.encode_length_delimited(chunk).expect("a vector grows");
}

fn last(error: &DataFusionError) -> Bytes {
    let mut chunk = Vec::new();
    put(&failure(error), &mut chunk);
    Bytes::from(chunk)
}

fn failure(error: &DataFusionError) -> Part {
    let (kind, message) = packed_parts(error);
    Part { failed: Some(Failure { kind, message }), ..Part::default() }
}

/// The error of a batch, or of its encoding.
fn failed_with(error: FlightError) -> DataFusionError {
    match error {
        FlightError::ExternalError(error) => match error.downcast::<DataFusionError>() {
            Ok(error) => pack(*error),
            Err(error) => pack(DataFusionError::External(error)),
        },
        error => pack(internal_datafusion_err!("a batch cannot be sent: {error}")),
    }
}
