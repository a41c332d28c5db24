//! Arrow Flight SQL, for ADBC and JDBC: queries, prepared statements with parameters, and metadata, over gRPC.
//!
//! ```text
//! GetFlightInfo(statement) -> plan -> schema + ticket, which carries the statement
//! DoGet(ticket)            -> QueryEngine::run -> batches, cast to types that all clients know -> FlightData
//! ```
//!
//! **Invariants:** a call leaves nothing behind on the server: tickets and the handles of prepared statements carry their
//! statement and its parameters, so they never expire and any broker takes them. Only sessions are kept, bounded in number and
//! time. An answer is streamed in the memory of a few messages; a client that goes away, or that stops reading, ends its query,
//! and an answer that is not whole ends with an error. Nothing can be written.
//!
//! What is *not* here: limits of a query (the engine's), who is let in ([`Doors`]), the listener and TLS (the server's).

mod access;
mod answer;
mod info;
mod metadata;
mod parameters;
mod running;
mod schema;
mod service;
mod statement;
mod status;

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::DataType;
use arrow_flight::flight_service_server::FlightServiceServer;
use axum::{Router, middleware};
use serde_json::Value;

use crate::QueryError;
use crate::access::Doors;
use crate::engine::{Description, QueryEngine};
use crate::request::{ClientKind, QueryRequest};

/// Bytes of one message from a client: a statement of the greatest length, its parameters, and what is around them.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes of a statement's parameters.
const PARAMETER_BYTES_MAX: usize = 1 << 20;
/// Within this time the parameters of a statement must have arrived.
const PARAMETERS_WAIT: Duration = Duration::from_secs(10);
/// A client that leaves an answer unread for so long no longer wants it.
const STALL_MAX: Duration = Duration::from_secs(60);

/// What every call works with.
#[derive(Clone)]
pub(crate) struct Shared {
    engine: QueryEngine,
    doors: Arc<Doors>,
    running: Arc<running::Running>,
    /// A client that leaves an answer unread for so long no longer wants it.
    stall: Duration,
}

impl Shared {
    /// What a statement wants and answers with if its parameters have the values `given`.
    async fn describe(&self, sql: &str, given: &[Value]) -> Result<Description, QueryError> {
        let request = QueryRequest { sql: sql.into(), client: ClientKind::Flight, ..QueryRequest::default() };
        self.engine.describe(request, given.iter().map(type_of).collect()).await
    }
}

/// The type that a value is bound with, whatever its place expects; a text takes the type of its place.
fn type_of(value: &Value) -> Option<DataType> {
    match value {
        Value::Null => Some(DataType::Null),
        Value::Bool(_) => Some(DataType::Boolean),
        Value::Number(number) if number.is_i64() => Some(DataType::Int64),
        Value::Number(number) if number.is_u64() => Some(DataType::UInt64),
        Value::Number(_) => Some(DataType::Float64),
        Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The service, as a route of gRPC over HTTP/2. Every call is asked who it is.
pub fn router(engine: QueryEngine, doors: Arc<Doors>) -> Router {
    routes(Shared { engine, doors, running: Arc::default(), stall: STALL_MAX })
}

fn routes(shared: Shared) -> Router {
    let service = FlightServiceServer::new(service::Service::new(shared.clone()));
    let service = service.max_decoding_message_size(MESSAGE_BYTES_MAX);
    Router::new()
        .route_service("/arrow.flight.protocol.FlightService/{*method}", service)
        .layer(middleware::from_fn_with_state(shared, access::let_in))
}

#[cfg(test)]
mod tests;
