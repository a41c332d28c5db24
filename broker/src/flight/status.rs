//! Failures as gRPC statuses: code, message with position, and the kind beside them in the metadata.

use arrow::error::ArrowError;
use arrow_flight::error::FlightError;
use datafusion::error::DataFusionError;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::access::AccessError;
use crate::engine::error_of;
use crate::{QueryError, QueryErrorKind};

/// A message travels in a header, and clients bound all headers together, some at 8 KiB.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// A failed query. The metadata name its `headwater-error-kind` and `headwater-error-position` (line:column).
pub(super) fn status_of(error: &QueryError) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("headwater-error-kind", MetadataValue::from_static(error.kind.name()));
    if let Some((line, column)) = error.position
        && let Ok(position) = format!("{line}:{column}").parse()
    {
        metadata.insert("headwater-error-position", position);
    }
    let mut message = error.to_string();
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    Status::with_metadata(code_of(error.kind), message, metadata)
}

fn code_of(kind: QueryErrorKind) -> Code {
    match kind {
        QueryErrorKind::BadRequest | QueryErrorKind::Parse | QueryErrorKind::Plan => Code::InvalidArgument,
        QueryErrorKind::UnknownTable => Code::NotFound,
        QueryErrorKind::NotReadOnly => Code::Unimplemented,
        QueryErrorKind::Execution => Code::FailedPrecondition,
        QueryErrorKind::MemoryExceeded | QueryErrorKind::RowsExceeded | QueryErrorKind::Overloaded => {
            Code::ResourceExhausted
        }
        QueryErrorKind::Deadline => Code::DeadlineExceeded,
        QueryErrorKind::Cancelled => Code::Cancelled,
        QueryErrorKind::SegmentUnavailable => Code::Unavailable,
        QueryErrorKind::Conflict => Code::AlreadyExists,
        QueryErrorKind::Internal => Code::Internal,
    }
}

/// A failure in the midst of an answer.
pub(super) fn status_of_stream(error: &DataFusionError) -> Status {
    status_of(&error_of(error))
}

/// A failure of the stream that encodes an answer.
pub(super) fn status_of_flight(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        other => Status::internal(format!("the answer cannot be sent: {other}")),
    }
}

/// An answer of ours that Arrow does not take: a bug.
pub(super) fn unsendable(error: ArrowError) -> Status {
    Status::internal(format!("the answer cannot be sent: {error}"))
}

/// Somebody who was not let in.
pub(super) fn refused(error: &AccessError) -> Status {
    let code = match error {
        AccessError::Missing | AccessError::Wrong => Code::Unauthenticated,
        AccessError::Throttled { .. } => Code::ResourceExhausted,
        AccessError::Forbidden { .. } => Code::PermissionDenied,
    };
    Status::new(code, error.to_string())
}

/// What is refused because nothing can be written here.
pub(super) fn read_only() -> Status {
    status_of(&crate::sql::not_read_only())
}
