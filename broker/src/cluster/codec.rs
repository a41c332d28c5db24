//! Plans on the wire: the leaf, which DataFusion's encoding does not know.
//!
//! What is lost there is put back by whoever decodes: arithmetic comes back as arithmetic that wraps around, so every decoded
//! fragment goes through [`overflow`](crate::engine::overflow) again, and the conditions of a leaf do so here.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::{exec_datafusion_err, internal_datafusion_err, not_impl_err};
use datafusion::error::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{FunctionRegistry, TaskContext};
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_proto_converter, physical_plan_to_bytes_with_proto_converter,
};
use datafusion_proto::physical_plan::{
    DeduplicatingProtoConverter, PhysicalExtensionCodec, PhysicalPlanDecodeContext,
    PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::PhysicalExprNode;
use headwater_segment::live::OffsetRange;
use prost::Message;
use ulid::Ulid;

use super::assignment::{Assignment, SealedRef};
use super::node_error::refusal;
use crate::catalog::QueryCatalog;
use crate::engine::overflow;
use crate::execute::scan::{SegmentOrder, SegmentScanExec};

/// Encodes and decodes leaves, with the assignment that they have, and finds the functions that a plan names.
#[derive(Default)]
pub(crate) struct LeafCodec {
    /// All functions, where the context in which a plan is decoded has none.
    functions: Option<Arc<SessionState>>,
}

impl fmt::Debug for LeafCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeafCodec")
    }
}

impl LeafCodec {
    fn functions(&self) -> Result<&SessionState> {
        self.functions.as_deref().ok_or_else(|| internal_datafusion_err!("no functions to choose from"))
    }
}

/// A plan as bytes.
pub(crate) fn encode(plan: Arc<dyn ExecutionPlan>) -> Result<Bytes> {
    let converter = DeduplicatingProtoConverter::default();
    physical_plan_to_bytes_with_proto_converter(plan, &LeafCodec::default(), &converter)
}

/// A plan of bytes, with functions of `functions`: a context of a thousand of them takes longer to make than a short query to run.
pub(crate) fn decode(
    plan: &[u8],
    context: &TaskContext,
    functions: Arc<SessionState>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let (codec, converter) =
        (LeafCodec { functions: Some(functions) }, DeduplicatingProtoConverter::default());
    physical_plan_from_bytes_with_proto_converter(plan, context, &codec, &converter)
}

impl PhysicalExtensionCodec for LeafCodec {
    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buffer: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let Some(scan) = node.downcast_ref::<SegmentScanExec>() else {
            return not_impl_err!("{} does not go over the wire", node.name());
        };
        let conjuncts = scan.conjuncts().iter();
        let conjuncts = conjuncts.map(|conjunct| converter.physical_expr_to_proto(conjunct, self));
        let source = scan.source();
        let message = LeafMessage {
            table: source.table.name().to_owned(),
            columns: source.visible_schema.fields().iter().map(|field| field.to_string()).collect(),
            names: source.visible_schema.fields().iter().map(|field| field.name().clone()).collect(),
            conjuncts: conjuncts.collect::<Result<_>>()?,
            projection: scan.projection().iter().map(|column| *column as u32).collect(),
            limit: scan.limit().map(|limit| limit as u64),
            order: scan
                .order()
                .map(|order| OrderMessage { column: order.column as u32, descending: order.descending }),
            partitions: scan.properties().partitioning.partition_count() as u32,
            assignment: scan.assignment().map(AssignmentMessage::of),
        };
        message.encode(buffer).map_err(|error| internal_datafusion_err!("a leaf cannot be encoded: {error}"))
    }

    fn try_decode_udf(&self, name: &str, _: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.functions()?.udf(name)
    }

    fn try_decode_higher_order_function(&self, name: &str, _: &[u8]) -> Result<Arc<HigherOrderUDF>> {
        self.functions()?.higher_order_function(name)
    }

    fn try_decode_udaf(&self, name: &str, _: &[u8]) -> Result<Arc<AggregateUDF>> {
        self.functions()?.udaf(name)
    }

    fn try_decode_udwf(&self, name: &str, _: &[u8]) -> Result<Arc<WindowUDF>> {
        self.functions()?.udwf(name)
    }

    fn try_decode(
        &self,
        bytes: &[u8],
        _: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let message = LeafMessage::decode(bytes)
            .map_err(|error| exec_datafusion_err!("a leaf cannot be decoded: {error}"))?;
        let catalog = QueryCatalog::of(context)?;
        let names: BTreeSet<String> = message.names.iter().cloned().collect();
        let source = catalog.source_of(&message.table, &names)?;
        let schema = &source.visible_schema;
        if !schema.fields().iter().map(|field| field.to_string()).eq(message.columns.iter().cloned()) {
            return Err(refusal(format!("table {} has other columns on this node", message.table)));
        }
        let decoding = PhysicalPlanDecodeContext::new(context, self);
        let conjuncts = message.conjuncts.iter().map(|conjunct| {
            let conjunct = converter.proto_to_physical_expr(conjunct, schema, &decoding)?;
            overflow::checked_expression(conjunct, schema)
        });
        let conjuncts = conjuncts.collect::<Result<_>>()?;
        let width = schema.fields().len();
        let column = |column: u32| match column as usize {
            column if column < width => Ok(column),
            column => Err(exec_datafusion_err!("a leaf of {width} columns has no column {column}")),
        };
        let order = message.order.map(|order| {
            Ok::<_, datafusion::error::DataFusionError>(SegmentOrder {
                column: column(order.column)?,
                descending: order.descending,
            })
        });
        let assignment = message.assignment.ok_or_else(|| {
            exec_datafusion_err!("a leaf of table {} came without what it is to read", message.table)
        })?;
        let scan = SegmentScanExec::assigned(
            source,
            conjuncts,
            message.projection.iter().map(|index| column(*index)).collect::<Result<_>>()?,
            message.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            order.transpose()?,
            (message.partitions as usize).clamp(1, PARTITIONS_MAX),
            assignment.into_assignment()?,
        );
        Ok(Arc::new(scan))
    }
}

/// More than any node has threads: what comes over the wire decides no sizes.
const PARTITIONS_MAX: usize = 1024;

#[derive(Clone, PartialEq, Message)]
struct LeafMessage {
    #[prost(string, tag = "1")]
    table: String,
    /// The visible columns, with their types.
    #[prost(string, repeated, tag = "2")]
    columns: Vec<String>,
    /// Their names.
    #[prost(string, repeated, tag = "3")]
    names: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    conjuncts: Vec<PhysicalExprNode>,
    #[prost(uint32, repeated, tag = "5")]
    projection: Vec<u32>,
    #[prost(uint64, optional, tag = "6")]
    limit: Option<u64>,
    #[prost(message, optional, tag = "7")]
    order: Option<OrderMessage>,
    #[prost(uint32, tag = "8")]
    partitions: u32,
    #[prost(message, optional, tag = "9")]
    assignment: Option<AssignmentMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct OrderMessage {
    #[prost(uint32, tag = "1")]
    column: u32,
    #[prost(bool, tag = "2")]
    descending: bool,
}

#[derive(Clone, PartialEq, Message)]
struct AssignmentMessage {
    #[prost(message, repeated, tag = "1")]
    sealed: Vec<SealedMessage>,
    #[prost(message, repeated, tag = "2")]
    open: Vec<RangeMessage>,
    #[prost(uint64, tag = "3")]
    log_version: u64,
}

#[derive(Clone, PartialEq, Message)]
struct SealedMessage {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(int32, tag = "2")]
    partition: i32,
    #[prost(int64, tag = "3")]
    from: i64,
}

#[derive(Clone, PartialEq, Message)]
struct RangeMessage {
    #[prost(uint32, tag = "1")]
    epoch: u32,
    #[prost(int32, tag = "2")]
    partition: i32,
    #[prost(int64, tag = "3")]
    from: i64,
    #[prost(int64, tag = "4")]
    to: i64,
}

impl AssignmentMessage {
    fn of(assignment: &Assignment) -> Self {
        let sealed = assignment.sealed.iter().map(|segment| SealedMessage {
            id: segment.id.to_bytes().to_vec(),
            partition: segment.partition,
            from: segment.from,
        });
        let open = assignment.open.iter().map(|range| RangeMessage {
            epoch: range.epoch,
            partition: range.partition,
            from: range.from,
            to: range.to,
        });
        Self { sealed: sealed.collect(), open: open.collect(), log_version: assignment.log_version }
    }

    fn into_assignment(self) -> Result<Assignment> {
        let sealed = self.sealed.into_iter().map(|segment| {
            let id = <[u8; 16]>::try_from(segment.id.as_slice()).map_err(|_| {
                exec_datafusion_err!("a segment's identity has {} bytes, not 16", segment.id.len())
            })?;
            Ok(SealedRef { id: Ulid::from_bytes(id), partition: segment.partition, from: segment.from })
        });
        let open = self.open.into_iter().map(|range| OffsetRange {
            epoch: range.epoch,
            partition: range.partition,
            from: range.from,
            to: range.to,
        });
        let (sealed, open) = (sealed.collect::<Result<_>>()?, open.collect());
        Ok(Assignment { node: None, log_version: self.log_version, sealed, open })
    }
}
