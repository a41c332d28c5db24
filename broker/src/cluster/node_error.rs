//! What goes wrong between a broker and a data node, and how errors cross the wire.
//!
//! The wire keeps DataFusion's own variants and turns what is foreign to it into text. So a data node [packs](pack) its errors
//! into a context whose name says the kind, and the broker [unpacks](unpack) them, with the node's name.

use std::error::Error;
use std::fmt;

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use tonic::{Code, Status};

use super::NodeId;
use crate::engine::error_of;
use crate::{QueryError, QueryErrorKind};

/// A node that did not do what it was asked: the same question may be answered by another one, or at another cut.
#[derive(Clone, Debug)]
pub(crate) struct NodeError {
    /// Which node.
    pub(crate) node: NodeId,
    /// What it is about.
    pub(crate) kind: NodeErrorKind,
    /// For a person.
    pub(crate) message: String,
}

/// What a [`NodeError`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeErrorKind {
    /// It was not reached, or fell silent.
    Lost,
    /// It does not have what it was asked for.
    Refused,
    /// It has too much to do.
    Full,
}

impl NodeErrorKind {
    /// For metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Refused => "refused",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            NodeErrorKind::Lost => write!(f, "node {} was lost: {}", self.node, self.message),
            NodeErrorKind::Refused | NodeErrorKind::Full => {
                write!(f, "node {}: {}", self.node, self.message)
            }
        }
    }
}

impl Error for NodeError {}

/// What a packed error's context begins with.
const MARK: &str = "headwater: ";
const REFUSED: &str = "refused";
/// What the status of a node that has too much to do begins with.
const FULL: &str = "headwater: full: ";
/// What is about another node than the one that says it: its kind, and behind it the node's name.
const LOST_NODE: &str = "lost ";
const REFUSED_NODE: &str = "refused ";
const FULL_NODE: &str = "full ";
/// What a worker says that was asked for rows of a plan which has not come, after waiting for it.
const NO_PLAN: &str = "while waiting for the plan to be set";
/// Errors travel in trailers, which are limited to 16 KiB.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// The refusal of a node that lacks something, in a form that crosses the wire.
pub(crate) fn refusal(message: impl Into<String>) -> DataFusionError {
    packed(REFUSED, message.into())
}

/// The status with which a node sends a query away that it has no place for. It is no fragment that fails, so it is not packed.
pub(super) fn full(message: &str) -> Status {
    Status::resource_exhausted(format!("{FULL}{message}"))
}

/// A packed error, from its parts.
pub(super) fn packed(kind: &str, mut message: String) -> DataFusionError {
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    DataFusionError::Context(format!("{MARK}{kind}"), Box::new(DataFusionError::Execution(message)))
}

/// An error of a fragment, in a form that crosses the wire with its kind.
pub(crate) fn pack(error: DataFusionError) -> DataFusionError {
    if find_mark(&error).is_some() {
        return error;
    }
    // What this node has met at another one is for the broker to act on.
    if let Some(NodeError { node, kind, message }) = find(&error) {
        let kind = match kind {
            NodeErrorKind::Lost => LOST_NODE,
            NodeErrorKind::Refused => REFUSED_NODE,
            NodeErrorKind::Full => FULL_NODE,
        };
        return packed(&format!("{kind}{node}"), message.clone());
    }
    let error = error_of(&error);
    packed(error.kind.name(), error.message)
}

/// Kind and message of an error that is packed, or that nobody packed.
pub(super) fn packed_parts(error: &DataFusionError) -> (String, String) {
    match find_mark(error) {
        Some((kind, message)) => (kind.to_owned(), message.to_owned()),
        None => (QueryErrorKind::Internal.name().to_owned(), error.strip_backtrace()),
    }
}

/// An error that came from `node`, as it is to be seen here. It may be about a node that `node` has asked.
pub(crate) fn unpack(error: DataFusionError, node: &NodeId) -> DataFusionError {
    if let Some((kind, message)) = find_mark(&error) {
        if kind == REFUSED {
            return of_node(node, NodeErrorKind::Refused, message);
        }
        let abouts = [
            (LOST_NODE, NodeErrorKind::Lost),
            (REFUSED_NODE, NodeErrorKind::Refused),
            (FULL_NODE, NodeErrorKind::Full),
        ];
        for (prefix, about) in abouts {
            if let Some(Ok(other)) = kind.strip_prefix(prefix).map(NodeId::new) {
                return of_node(&other, about, message);
            }
        }
        let kind = QueryErrorKind::named(kind).unwrap_or(QueryErrorKind::Internal);
        return DataFusionError::External(Box::new(QueryError::new(kind, message)));
    }
    let no_plan = search(&error, &mut |part| match part {
        DataFusionError::Execution(text) if text.contains(NO_PLAN) => Some(()),
        _ => None,
    });
    if no_plan.is_some() {
        return of_node(node, NodeErrorKind::Refused, "its part of the plan did not arrive there in time");
    }
    // The connection speaks, and not the node: its own errors have a variant of DataFusion's, or are packed.
    let foreign = search(&error, &mut |part| match part {
        DataFusionError::External(source) if !source.is::<DataFusionError>() => Some(source),
        _ => None,
    });
    let Some(foreign) = foreign else { return error };
    let status = foreign.downcast_ref::<Status>();
    if let Some(message) = status.and_then(|status| status.message().strip_prefix(FULL)) {
        return of_node(node, NodeErrorKind::Full, message);
    }
    if status.is_some_and(|status| status.code() == Code::DeadlineExceeded) {
        let message = format!("the deadline passed before node {node} began");
        return DataFusionError::External(Box::new(QueryError::new(QueryErrorKind::Deadline, message)));
    }
    of_node(node, NodeErrorKind::Lost, &error.strip_backtrace())
}

/// A [`NodeError`] as DataFusion carries it.
pub(crate) fn of_node(node: &NodeId, kind: NodeErrorKind, message: &str) -> DataFusionError {
    let message = message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)].to_owned();
    DataFusionError::External(Box::new(NodeError { node: node.clone(), kind, message }))
}

/// Kind and message of a packed error.
fn find_mark(error: &DataFusionError) -> Option<(&str, &str)> {
    search(error, &mut |part| match part {
        DataFusionError::Context(context, inner) => match (context.strip_prefix(MARK), inner.as_ref()) {
            (Some(kind), DataFusionError::Execution(message)) => Some((kind, message.as_str())),
            _ => None,
        },
        _ => None,
    })
}

/// The [`NodeError`] inside an error.
pub(crate) fn find(error: &DataFusionError) -> Option<&NodeError> {
    search(error, &mut |part| match part {
        DataFusionError::External(source) => source.downcast_ref::<NodeError>(),
        _ => None,
    })
}

/// What `look` finds in an error, or in what it wraps, from the outside in.
fn search<'a, T>(
    error: &'a DataFusionError,
    look: &mut impl FnMut(&'a DataFusionError) -> Option<T>,
) -> Option<T> {
    if let Some(found) = look(error) {
        return Some(found);
    }
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => search(inner, look),
        DataFusionError::Shared(inner) => search(inner, look),
        DataFusionError::Collection(errors) => errors.iter().find_map(|error| search(error, look)),
        DataFusionError::External(source) => search(source.downcast_ref::<DataFusionError>()?, look),
        DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
            ArrowError::ExternalError(source) => search(source.downcast_ref::<DataFusionError>()?, look),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn kinds_survive_the_wire() {
        let node = NodeId::new("data-1").unwrap();
        let inner = QueryError::new(QueryErrorKind::MemoryExceeded, "too large");
        let packed = pack(DataFusionError::External(Box::new(inner)));
        // As the wire hands it on.
        let arrived = DataFusionError::Shared(Arc::new(packed));
        let found = error_of(&unpack(arrived, &node));
        assert_eq!((found.kind, found.message.as_str()), (QueryErrorKind::MemoryExceeded, "too large"));

        let refused = DataFusionError::Context("stage 1".into(), Box::new(pack(refusal("no such segment"))));
        let refused = unpack(refused, &node);
        let error = find(&refused).unwrap();
        assert_eq!(error.kind, NodeErrorKind::Refused);
        assert!(error_of(&refused).message.contains("node data-1: no such segment"));

        let lost = unpack(DataFusionError::External("connection reset".into()), &node);
        assert_eq!(find(&lost).unwrap().kind, NodeErrorKind::Lost);
        assert_eq!(error_of(&lost).kind, QueryErrorKind::SegmentUnavailable);

        let full = unpack(DataFusionError::External(Box::new(full("9 are waiting"))), &node);
        assert_eq!(find(&full).unwrap().kind, NodeErrorKind::Full);
        let found = error_of(&full);
        assert_eq!(
            (found.kind, found.message.as_str()),
            (QueryErrorKind::Overloaded, "node data-1: 9 are waiting")
        );

        // As `Worker::execute_task` words it.
        let text = "Worker::execute_task timed-out while waiting for the plan to be set by the coordinator. (timed out)";
        let waiting =
            unpack(DataFusionError::Shared(Arc::new(DataFusionError::Execution(text.into()))), &node);
        assert_eq!(find(&waiting).unwrap().kind, NodeErrorKind::Refused);
        assert!(error_of(&waiting).message.starts_with("node data-1: its part of the plan"));

        let own = unpack(DataFusionError::Execution("no".into()), &node);
        assert!(find(&own).is_none() && matches!(own, DataFusionError::Execution(_)));
    }

    #[test]
    fn what_a_node_met_at_another_names_the_other() {
        let (near, far) = (NodeId::new("data-1").unwrap(), NodeId::new("data-2").unwrap());
        for (first, kind) in [
            (unpack(DataFusionError::External("connection reset".into()), &far), NodeErrorKind::Lost),
            (unpack(pack(refusal("no such segment")), &far), NodeErrorKind::Refused),
            (unpack(DataFusionError::External(Box::new(full("9 are waiting"))), &far), NodeErrorKind::Full),
        ] {
            let arrived = DataFusionError::Shared(Arc::new(pack(first)));
            let seen = unpack(arrived, &near);
            let found = find(&seen).unwrap();
            assert_eq!((&found.node, found.kind), (&far, kind));
            let wanted = match kind {
                NodeErrorKind::Full => QueryErrorKind::Overloaded,
                _ => QueryErrorKind::SegmentUnavailable,
            };
            assert_eq!(error_of(&seen).kind, wanted);
        }
        // What goes wrong there by the query's own fault stays that.
        let inner = QueryError::new(QueryErrorKind::MemoryExceeded, "too large");
        let first = unpack(pack(DataFusionError::External(Box::new(inner))), &far);
        let seen = unpack(pack(first), &near);
        assert!(find(&seen).is_none());
        assert_eq!(error_of(&seen).kind, QueryErrorKind::MemoryExceeded);
    }
}
