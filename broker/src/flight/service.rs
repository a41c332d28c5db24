//! The calls of Flight, and which commands of Flight SQL each of them takes.

use std::pin::Pin;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, Any, Command, DoPutPreparedStatementResult, ProstMessageExt,
    TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, BasicAuth, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, Criteria,
    Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse,
    IpcMessage, PollInfo, PutResult, SchemaAsIpc, SchemaResult, Ticket,
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use prost::Message;
use prost::bytes::Bytes;
use tonic::{Extensions, Request, Response, Status, Streaming};

use super::access::{address_of, open_session};
use super::answer::{self, Messages, deadline_of};
use super::schema::{answer_schema, parameter_schema};
use super::statement::Statement;
use super::status::{read_only, refused, status_of, status_of_flight, unsendable};
use super::{PARAMETERS_WAIT, Shared, metadata, parameters};
use crate::access::gate::credentials_of;
use crate::access::{Credentials, Principal};

const CREATE_PREPARED: &str = "CreatePreparedStatement";
const CLOSE_PREPARED: &str = "ClosePreparedStatement";
const CANCEL_QUERY: &str = "CancelQuery";
const CANCEL_FLIGHT_INFO: &str = "CancelFlightInfo";

const ACTIONS: [(&str, &str); 4] = [
    (CREATE_PREPARED, "Plans a statement, and returns a handle that holds it."),
    (CLOSE_PREPARED, "Does nothing: a handle leaves nothing behind."),
    (CANCEL_QUERY, "Ends the runs of a ticket. Its older form."),
    (CANCEL_FLIGHT_INFO, "Ends the runs of a ticket."),
];

/// See the module.
pub(super) struct Service {
    shared: Shared,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn one<T: Send + 'static>(value: T) -> Response<Answers<T>> {
    Response::new(Box::pin(stream::iter([Ok(value)])))
}

impl Service {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// Plans the statement; its run is named by the ticket.
    async fn info_of_statement(
        &self,
        statement: Statement,
        descriptor: FlightDescriptor,
    ) -> Result<FlightInfo, Status> {
        let described = self.shared.describe(&statement.sql, &statement.values()?).await;
        let described = described.map_err(|error| status_of(&error))?;
        let ticket = TicketStatementQuery { statement_handle: statement.for_a_run().encode() };
        let ticket = ticket.as_any().encode_to_vec().into();
        info(&answer_schema(&described.schema), ticket, descriptor)
    }

    async fn info(&self, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
        let command = command_of(&descriptor.cmd)?;
        if let Some(schema) = metadata::schema_of(&command) {
            // The command is the ticket.
            let ticket = descriptor.cmd.clone();
            return info(schema?.as_ref(), ticket, descriptor);
        }
        match command {
            Command::CommandStatementQuery(query) => {
                self.info_of_statement(Statement::new(query.query)?, descriptor).await
            }
            Command::CommandPreparedStatementQuery(prepared) => {
                let statement = Statement::decode(&prepared.prepared_statement_handle)?;
                self.info_of_statement(statement, descriptor).await
            }
            other => Err(unknown(&other)),
        }
    }

    async fn prepare(&self, body: &Bytes) -> Result<Bytes, Status> {
        let wanted: ActionCreatePreparedStatementRequest = unpack(body)?;
        let statement = Statement::new(wanted.query)?;
        let described = self.shared.describe(&statement.sql, &[]).await;
        let described = described.map_err(|error| status_of(&error))?;
        let parameters = parameter_schema(&described.parameters);
        let prepared = ActionCreatePreparedStatementResult {
            prepared_statement_handle: statement.encode(),
            dataset_schema: ipc(&answer_schema(&described.schema))?,
            parameter_schema: if parameters.fields().is_empty() { Bytes::new() } else { ipc(&parameters)? },
        };
        Ok(prepared.as_any().encode_to_vec().into())
    }

    /// Cancels the runs of the tickets of `info` that are under way on this node.
    fn cancel(&self, info: &FlightInfo, who: &Principal) -> CancelStatus {
        let runs = info.endpoint.iter().filter_map(|endpoint| {
            let Command::TicketStatementQuery(ticket) = command_of(&endpoint.ticket.as_ref()?.ticket).ok()?
            else {
                return None;
            };
            Some(Statement::decode(&ticket.statement_handle).ok()?.run)
        });
        let cancelled = runs.filter(|run| self.shared.running.cancel(run, who)).count();
        if cancelled > 0 { CancelStatus::Cancelled } else { CancelStatus::NotCancellable }
    }
}

#[tonic::async_trait]
impl FlightService for Service {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Messages;
    type DoPutStream = Answers<PutResult>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;
    type DoExchangeStream = Answers<FlightData>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let (metadata, extensions, mut messages) = request.into_parts();
        let mut shown = credentials_of(metadata.as_ref()).map_err(|error| refused(&error))?;
        if matches!(shown, Credentials::None) {
            let message = within(messages.message()).await?;
            let payload = message.map(|message| message.payload).filter(|payload| !payload.is_empty());
            if let Some(payload) = payload {
                let basic = BasicAuth::decode(payload).map_err(|_| malformed())?;
                shown = Credentials::shown(basic.username, basic.password);
            }
        }
        let token = open_session(&self.shared, shown, address_of(&extensions)).await?;
        let mut response =
            one(HandshakeResponse { protocol_version: 0, payload: token.clone().into_bytes().into() });
        if let Ok(value) = format!("Bearer {token}").parse() {
            response.metadata_mut().insert("authorization", value);
        }
        Ok(response)
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(Status::unimplemented("flights are not listed; ask for tables with Flight SQL"))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        Ok(Response::new(self.info(request.into_inner()).await?))
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(Status::unimplemented("call GetFlightInfo: it does not wait for the query"))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let info = self.info(request.into_inner()).await?;
        Ok(Response::new(SchemaResult { schema: info.schema }))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let (metadata, extensions, ticket) = request.into_parts();
        let deadline = deadline_of(&metadata);
        let statement = match command_of(&ticket.ticket)? {
            Command::TicketStatementQuery(ticket) => Statement::decode(&ticket.statement_handle)?,
            Command::CommandPreparedStatementQuery(prepared) => {
                Statement::decode(&prepared.prepared_statement_handle)?.for_a_run()
            }
            command => {
                let refusal = unknown(&command);
                return match metadata::rows_of(&self.shared, command).await {
                    Some(rows) => Ok(Response::new(messages_of(rows?))),
                    None => Err(refusal),
                };
            }
        };
        answer::start(&self.shared, &statement, principal(&extensions)?, deadline).await
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let mut messages = request.into_inner();
        let first = within(messages.message()).await?.ok_or_else(malformed)?;
        let descriptor = first.flight_descriptor.as_ref().ok_or_else(malformed)?;
        match command_of(&descriptor.cmd)? {
            Command::CommandPreparedStatementQuery(prepared) => {
                let statement = Statement::decode(&prepared.prepared_statement_handle)?;
                let values = parameters::read(stream::iter([Ok(first)]).chain(messages)).await?;
                let bound = DoPutPreparedStatementResult {
                    prepared_statement_handle: Some(statement.bound(values).encode()),
                };
                Ok(one(PutResult { app_metadata: bound.encode_to_vec().into() }))
            }
            Command::CommandStatementUpdate(_)
            | Command::CommandPreparedStatementUpdate(_)
            | Command::CommandStatementIngest(_) => Err(read_only()),
            other => Err(unknown(&other)),
        }
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let (_, extensions, action) = request.into_parts();
        let body = match action.r#type.as_str() {
            CREATE_PREPARED => self.prepare(&action.body).await?,
            CLOSE_PREPARED => return Ok(Response::new(Box::pin(stream::empty()))),
            CANCEL_QUERY => {
                let wanted: ActionCancelQueryRequest = unpack(&action.body)?;
                let info = FlightInfo::decode(wanted.info).map_err(|_| malformed())?;
                // The two enumerations have the same numbers.
                let result = self.cancel(&info, principal(&extensions)?) as i32;
                ActionCancelQueryResult { result }.as_any().encode_to_vec().into()
            }
            CANCEL_FLIGHT_INFO => {
                let wanted = CancelFlightInfoRequest::decode(action.body).map_err(|_| malformed())?;
                let info = wanted.info.ok_or_else(malformed)?;
                let status = self.cancel(&info, principal(&extensions)?) as i32;
                CancelFlightInfoResult { status }.encode_to_vec().into()
            }
            other => {
                let message = format!("there is no action {other:?} here; there are no transactions either");
                return Err(Status::unimplemented(message));
            }
        };
        Ok(one(arrow_flight::Result { body }))
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        let actions = ACTIONS.map(|(name, description)| {
            Ok(ActionType { r#type: name.into(), description: description.into() })
        });
        Ok(Response::new(Box::pin(stream::iter(actions))))
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(Status::unimplemented("there is nothing to exchange; Flight SQL has no such call"))
    }
}

/// Whoever was let in; the middleware has put it there.
fn principal(extensions: &Extensions) -> Result<&Principal, Status> {
    extensions.get().ok_or_else(|| Status::internal("a call without its principal"))
}

/// What a client sends has to arrive within a time.
async fn within<T>(message: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let message = tokio::time::timeout(PARAMETERS_WAIT, message).await;
    message.unwrap_or_else(|_| Err(Status::deadline_exceeded("the message did not arrive in time")))
}

fn command_of(bytes: &Bytes) -> Result<Command, Status> {
    let any = Any::decode(bytes.clone()).map_err(|_| malformed())?;
    Command::try_from(any).map_err(|_| malformed())
}

fn unpack<M: ProstMessageExt>(bytes: &Bytes) -> Result<M, Status> {
    let any = Any::decode(bytes.clone()).map_err(|_| malformed())?;
    any.unpack().ok().flatten().ok_or_else(malformed)
}

fn malformed() -> Status {
    Status::invalid_argument("this is not a message of Flight SQL")
}

fn unknown(command: &Command) -> Status {
    let name = command.type_url();
    let name = name.rsplit('.').next().unwrap_or(name);
    Status::unimplemented(format!("{name:.100} is not supported; send a SQL statement"))
}

fn ipc(schema: &Schema) -> Result<Bytes, Status> {
    let options = IpcWriteOptions::default();
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &options).try_into().map_err(unsendable)?;
    Ok(bytes)
}

/// An answer of one part, which is to be had here.
fn info(schema: &Schema, ticket: Bytes, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
    let endpoint = FlightEndpoint::new().with_ticket(Ticket { ticket });
    let info = FlightInfo::new().try_with_schema(schema).map_err(unsendable)?;
    Ok(info.with_endpoint(endpoint).with_descriptor(descriptor))
}

fn messages_of(rows: RecordBatch) -> Messages {
    let schema = rows.schema();
    let messages = FlightDataEncoderBuilder::new().with_schema(schema).build(stream::iter([Ok(rows)]));
    Box::pin(messages.map_err(status_of_flight))
}
