//! The service over a real connection, with Arrow's own client and with raw calls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type, Schema};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{
    Any, CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetTables, CommandGetXdbcTypeInfo,
    CommandStatementQuery, ProstMessageExt, SqlInfo,
};
use arrow_flight::{
    Action, BasicAuth, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightData,
    FlightDescriptor, FlightInfo, HandshakeRequest, Ticket,
};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use headwater_segment::live::Tables;
use prost::Message;
use serde_json::Value;
use tokio::net::TcpListener;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::{STALL_MAX, Shared, routes};
use crate::access::{
    AccessControl, AccessError, Credentials, Doors, Hosts, KnownUser, OpenAccess, Principal, Role, SessionKey,
};
use crate::engine::{EngineConfig, QueryEngine};

mod limits;

/// Some minutes of work that no optimizer takes away.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b \
                       WHERE (a.value * 31 + b.value * 17) % 7919 = 3";
/// Far more rows than fit into the buffers on the way.
const MANY: &str = "SELECT value, repeat('x', 100) FROM generate_series(1, 900000)";

/// Users `ann` and `bob`, each with the password `secret`, and the token `hw_ann`.
struct Users;

#[async_trait]
impl AccessControl for Users {
    fn is_open(&self) -> bool {
        false
    }

    async fn authenticate(&self, credentials: Credentials) -> Result<Principal, AccessError> {
        match credentials {
            Credentials::None => Err(AccessError::Missing),
            Credentials::Token(token) if token == "hw_ann" => {
                Ok(Principal { name: "ann".into(), role: Role::Reader })
            }
            Credentials::Password { user, password } if password == "secret" => {
                Ok(Principal { name: user, role: Role::Reader })
            }
            _ => Err(AccessError::Wrong),
        }
    }

    fn user(&self, name: &str) -> Option<KnownUser> {
        let principal = Principal { name: name.into(), role: Role::Reader };
        ["ann", "bob"].contains(&name).then_some(KnownUser { principal, stamp: [7; 16] })
    }
}

struct Server {
    engine: QueryEngine,
    address: SocketAddr,
    channel: Channel,
}

impl Server {
    async fn start(access: impl AccessControl) -> Self {
        Self::start_with(access, STALL_MAX).await
    }

    async fn start_with(access: impl AccessControl, stall: Duration) -> Self {
        let config = EngineConfig { threads: 2, ..EngineConfig::default() };
        let engine = QueryEngine::new(config, Arc::new(Tables::default())).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let doors =
            Doors::new(Arc::new(access), SessionKey::of_secret(b"of all brokers"), Hosts::any(), false);
        let router =
            routes(Shared { engine: engine.clone(), doors: Arc::new(doors), running: Arc::default(), stall });
        tokio::spawn(async move { axum::serve(listener, router).await });
        let url = format!("http://{address}");
        Self { engine, address, channel: Channel::from_shared(url).unwrap().connect().await.unwrap() }
    }

    fn client(&self) -> FlightSqlServiceClient<Channel> {
        FlightSqlServiceClient::new(self.channel.clone())
    }

    fn raw(&self) -> FlightServiceClient<Channel> {
        FlightServiceClient::new(self.channel.clone())
    }

    async fn wait_running(&self, running: usize) -> Duration {
        let since = Instant::now();
        while self.engine.running() != running {
            assert!(since.elapsed() < Duration::from_secs(20), "{} queries run", self.engine.running());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        since.elapsed()
    }
}

async fn rows(client: &mut FlightSqlServiceClient<Channel>, info: FlightInfo) -> RecordBatch {
    let announced = info.clone().try_decode_schema().unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let batches: Vec<RecordBatch> = client.do_get(ticket).await.unwrap().try_collect().await.unwrap();
    let Some(first) = batches.first() else { return RecordBatch::new_empty(Arc::new(announced)) };
    let types = |schema: &Schema| {
        schema
            .fields()
            .iter()
            .map(|field| (field.name().clone(), field.data_type().clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(types(&first.schema()), types(&announced));
    arrow::compute::concat_batches(&first.schema(), &batches).unwrap()
}

async fn answer(client: &mut FlightSqlServiceClient<Channel>, sql: &str) -> RecordBatch {
    let info = client.execute(sql.into(), None).await.unwrap();
    rows(client, info).await
}

fn texts(column: &ArrayRef) -> Vec<String> {
    let column = arrow::compute::cast(column, &DataType::Utf8).unwrap();
    column.as_string::<i32>().iter().map(|text| text.unwrap_or("NULL").to_owned()).collect()
}

fn descriptor(sql: &str) -> FlightDescriptor {
    let command = CommandStatementQuery { query: sql.into(), transaction_id: None };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

async fn ticket(server: &Server, sql: &str) -> (FlightInfo, Ticket) {
    let info = server.raw().get_flight_info(descriptor(sql)).await.unwrap().into_inner();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    (info, ticket)
}

#[tokio::test]
async fn answers_have_the_announced_types() {
    let server = Server::start(OpenAccess).await;
    let mut client = server.client();
    let sum = answer(&mut client, "SELECT sum(value) AS s FROM generate_series(1, 4)").await;
    assert_eq!(sum.column(0).as_primitive::<Int64Type>().value(0), 10);
    for statement in [
        "SELECT 1 AS a, 'x' AS b, 2.5 AS c, true AS d, NULL AS e, now() AS f",
        "SELECT CASE WHEN value > 1 THEN 1 ELSE 2.5 END, arrow_cast('x', 'Dictionary(Int32, Utf8)') FROM generate_series(1, 3)",
        "SELECT make_array('a', 'b'), coalesce(NULL, 1), 1::DECIMAL(38, 2) + 1, DATE '2024-01-01' + INTERVAL '1 day'",
        "SELECT value, avg(value), count(*), sum(value::DECIMAL(10, 2)) FROM generate_series(1, 3) GROUP BY value",
        "SELECT 1 UNION ALL SELECT 2.5",
        "SELECT * FROM system.queries",
        "SELECT 1 WHERE false",
        "EXPLAIN SELECT 1",
        "SHOW TABLES",
    ] {
        answer(&mut client, statement).await;
    }
    let many = answer(&mut client, MANY).await;
    assert_eq!(many.num_rows(), 900_000);
}

#[tokio::test]
async fn prepared_statements_live_in_their_handle() {
    let (one, other) = (Server::start(OpenAccess).await, Server::start(OpenAccess).await);
    let sql = "SELECT value, $2 AS text FROM generate_series(1, 9) WHERE value > $1 ORDER BY value";
    let mut prepared = one.client().prepare(sql.into(), None).await.unwrap();
    assert_eq!(prepared.dataset_schema().unwrap().field(0).data_type(), &DataType::Int64);
    let wanted = prepared.parameter_schema().unwrap().clone();
    assert_eq!(wanted.field(0).data_type(), &DataType::Int64);
    assert_eq!(wanted.field(1).data_type(), &DataType::Utf8);
    for (above, text) in [(7, "it's"), (8, "x")] {
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![above])), Arc::new(StringArray::from(vec![text]))];
        prepared.set_parameters(RecordBatch::try_new(Arc::new(wanted.clone()), columns).unwrap()).unwrap();
        let info = prepared.execute().await.unwrap();
        // Another broker takes the ticket as well.
        let answer = rows(&mut other.client(), info).await;
        let values = answer.column(0).as_primitive::<Int64Type>().values().to_vec();
        assert_eq!(values, ((above + 1)..=9).collect::<Vec<_>>());
        assert!(texts(answer.column(1)).iter().all(|shown| shown == text));
    }
    let mut missing = one.client().prepare("SELECT ? + 1".into(), None).await.unwrap();
    let info = missing.execute().await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let refused = one.raw().do_get(ticket).await.unwrap_err();
    assert!(refused.message().contains("1 parameter(s)"), "{refused}");
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.5]));
    missing.set_parameters(RecordBatch::try_from_iter([("1", floats)]).unwrap()).unwrap();
    let info = missing.execute().await.unwrap();
    assert_eq!(texts(rows(&mut one.client(), info).await.column(0)), ["2.5"]);
    missing.close().await.unwrap();
}

#[tokio::test]
async fn the_first_message_names_the_query() {
    let server = Server::start(OpenAccess).await;
    let (_, ticket) = ticket(&server, "SELECT 1").await;
    let response = server.raw().do_get(ticket).await.unwrap();
    let id = response.metadata().get("headwater-query-id").unwrap().to_str().unwrap().to_owned();
    let first: FlightData = response.into_inner().next().await.unwrap().unwrap();
    let about: Value = serde_json::from_slice(&first.app_metadata).unwrap();
    assert_eq!((about["query_id"].as_str(), &about["cut"]), (Some(id.as_str()), &serde_json::json!({})));
}

#[tokio::test]
async fn failures_have_code_kind_and_position() {
    let server = Server::start(OpenAccess).await;
    let cases = [
        ("SELEC 1", Code::InvalidArgument, "parse", Some("1:1")),
        ("SELECT 1 FROM nowhere", Code::NotFound, "unknown_table", Some("1:15")),
        ("SELECT nope(1)", Code::InvalidArgument, "plan", Some("1:8")),
        ("CREATE TABLE t (a INT)", Code::Unimplemented, "not_read_only", None),
        ("", Code::InvalidArgument, "bad_request", None),
    ];
    for (sql, code, kind, position) in cases {
        let status = server.raw().get_flight_info(descriptor(sql)).await.unwrap_err();
        let shown = |name| status.metadata().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!((status.code(), shown("headwater-error-kind").as_deref()), (code, Some(kind)), "{sql}");
        assert_eq!(shown("headwater-error-position").as_deref(), position, "{sql}");
        assert!(!status.message().is_empty());
    }
    // What goes wrong while it runs comes as the status of the stream.
    let (_, late) = ticket(&server, "SELECT 1 / (value - 200000) FROM generate_series(1, 300000)").await;
    let outcome: Result<Vec<FlightData>, Status> = match server.raw().do_get(late).await {
        Ok(response) => response.into_inner().try_collect().await,
        Err(status) => Err(status),
    };
    assert_eq!(outcome.unwrap_err().code(), Code::FailedPrecondition);
    // The time that the client gives the call is the query's deadline. This client waits no longer for the call itself, which a
    // busy machine answers in that time.
    let (_, ticket) = ticket(&server, ENDLESS).await;
    let mut request = Request::new(ticket);
    request.metadata_mut().insert("grpc-timeout", "1000m".parse().unwrap());
    let status = match server.raw().do_get(request).await {
        Ok(response) => response.into_inner().try_collect::<Vec<_>>().await.unwrap_err(),
        Err(status) => status,
    };
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    server.wait_running(0).await;
}

#[tokio::test]
async fn messages_of_strangers_are_refused() {
    let server = Server::start(OpenAccess).await;
    let junk = [&b""[..], b"\xff\xff\xff", b"SELECT 1", &[0x0a; 4096]];
    for bytes in junk {
        let bytes = bytes.to_vec();
        let ticket = Ticket { ticket: bytes.clone().into() };
        let info = server.raw().get_flight_info(FlightDescriptor::new_cmd(bytes.clone())).await.unwrap_err();
        let get = server.raw().do_get(ticket).await.err().unwrap();
        let put = FlightData {
            flight_descriptor: Some(FlightDescriptor::new_cmd(bytes.clone())),
            ..Default::default()
        };
        let put = server.raw().do_put(futures::stream::iter([put])).await.err().unwrap();
        let mut codes = vec![info.code(), get.code(), put.code()];
        for action in ["CreatePreparedStatement", "CancelQuery", "CancelFlightInfo", "BeginTransaction"] {
            let action = Action { r#type: action.into(), body: bytes.clone().into() };
            codes.extend(server.raw().do_action(action).await.err().map(|status| status.code()));
        }
        assert!(
            codes.iter().all(|code| matches!(code, Code::InvalidArgument | Code::Unimplemented)),
            "{codes:?}"
        );
    }
    let foreign =
        arrow_flight::sql::TicketStatementQuery { statement_handle: b"another server's"[..].into() };
    let ticket = Ticket { ticket: Any::pack(&foreign).unwrap().encode_to_vec().into() };
    assert_eq!(server.raw().do_get(ticket).await.err().unwrap().code(), Code::InvalidArgument);
    let no_descriptor =
        server.raw().do_put(futures::stream::iter([FlightData::default()])).await.err().unwrap();
    assert_eq!(no_descriptor.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn nothing_is_written() {
    let server = Server::start(OpenAccess).await;
    let refused = server.client().execute_update("DELETE FROM t".into(), None).await.unwrap_err();
    assert!(refused.to_string().contains("only SELECT"), "{refused}");
    assert!(server.client().begin_transaction().await.is_err());
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_query() {
    let server = Server::start(OpenAccess).await;
    // While it waits for the first row.
    let (_, endless) = ticket(&server, ENDLESS).await;
    let mut raw = server.raw();
    let call = tokio::spawn(async move {
        let response = raw.do_get(endless).await.unwrap();
        response.into_inner().try_collect::<Vec<_>>().await.map(|_| ())
    });
    server.wait_running(1).await;
    call.abort();
    let ended = server.wait_running(0).await;
    assert!(ended < Duration::from_millis(100), "{ended:?}");
    // While it does not read: the answer waits in bounded memory until it is dropped.
    let (_, many) = ticket(&server, MANY).await;
    let mut response = server.raw().do_get(many).await.unwrap().into_inner();
    response.next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.engine.running(), 1);
    drop(response);
    let ended = server.wait_running(0).await;
    assert!(ended < Duration::from_millis(100), "{ended:?}");
}

#[tokio::test]
async fn a_run_is_cancelled_by_its_ticket() {
    let server = Server::start(OpenAccess).await;
    let (info, ticket) = ticket(&server, ENDLESS).await;
    assert_eq!(cancel(&server, &info).await, CancelStatus::NotCancellable as i32);
    let mut raw = server.raw();
    let call = tokio::spawn(async move {
        match raw.do_get(ticket).await {
            Ok(response) => response.into_inner().try_collect::<Vec<_>>().await.map(|_| ()),
            Err(status) => Err(status),
        }
    });
    server.wait_running(1).await;
    assert_eq!(cancel(&server, &info).await, CancelStatus::Cancelled as i32);
    assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Cancelled);
    server.wait_running(0).await;
    assert_eq!(cancel(&server, &info).await, CancelStatus::NotCancellable as i32);
}

async fn cancel(server: &Server, info: &FlightInfo) -> i32 {
    let body = CancelFlightInfoRequest { info: Some(info.clone()) }.encode_to_vec().into();
    let action = Action { r#type: "CancelFlightInfo".into(), body };
    let mut results = server.raw().do_action(action).await.unwrap().into_inner();
    let result = results.next().await.unwrap().unwrap();
    CancelFlightInfoResult::decode(result.body).unwrap().status
}

#[tokio::test]
async fn metadata() {
    let server = Server::start(OpenAccess).await;
    let mut client = server.client();
    let info = client.get_catalogs().await.unwrap();
    assert_eq!(texts(rows(&mut client, info).await.column(0)), ["headwater"]);
    let pattern = CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: Some("%s%".into()) };
    let info = client.get_db_schemas(pattern).await.unwrap();
    assert_eq!(texts(rows(&mut client, info).await.column(1)), ["information_schema", "system"]);
    let tables = |schema: &str, table: &str, include_schema| CommandGetTables {
        catalog: Some("headwater".into()),
        db_schema_filter_pattern: Some(schema.into()),
        table_name_filter_pattern: Some(table.into()),
        table_types: vec![],
        include_schema,
    };
    let info = client.get_tables(tables("system", "%e%s", true)).await.unwrap();
    let found = rows(&mut client, info).await;
    assert!(texts(found.column(2)).contains(&"queries".to_owned()));
    assert!(texts(found.column(3)).iter().all(|kind| kind == "SYSTEM TABLE"));
    let schemas = found.column(4).as_binary::<i32>();
    assert!(schemas.iter().all(|schema| schema.is_some_and(|schema| schema.len() > 100)));
    let info = client.get_tables(tables("public", "%", false)).await.unwrap();
    assert_eq!(rows(&mut client, info).await.num_rows(), 0);
    let info = client.get_table_types().await.unwrap();
    assert_eq!(texts(rows(&mut client, info).await.column(0)), ["SYSTEM TABLE", "TABLE"]);
    let info =
        client.get_sql_info(vec![SqlInfo::FlightSqlServerName, SqlInfo::FlightSqlServerReadOnly]).await;
    assert_eq!(rows(&mut client, info.unwrap()).await.num_rows(), 2);
    let info = client.get_xdbc_type_info(CommandGetXdbcTypeInfo { data_type: None }).await.unwrap();
    assert!(texts(rows(&mut client, info).await.column(0)).contains(&"DECIMAL".to_owned()));
    let of = CommandGetPrimaryKeys { catalog: None, db_schema: None, table: "queries".into() };
    let info = client.get_primary_keys(of).await.unwrap();
    assert_eq!(rows(&mut client, info).await.num_rows(), 0);
    let schema = server.raw().get_schema(descriptor("SELECT 1 AS a")).await.unwrap().into_inner();
    assert_eq!(Schema::try_from(&schema).unwrap().field(0).name(), "a");
}

#[tokio::test]
async fn every_call_is_asked_who_it_is() {
    let server = Server::start(Users).await;
    let with = |header: Option<&str>| {
        let mut request = Request::new(descriptor("SELECT 1"));
        if let Some(header) = header {
            request.metadata_mut().insert("authorization", header.parse().unwrap());
        }
        let mut raw = server.raw();
        async move { raw.get_flight_info(request).await.map(|_| ()).map_err(|status| status.code()) }
    };
    // ann:secret, as ADBC writes it as well, and ann:wrong
    for padding in ["==", ""] {
        assert_eq!(with(Some(&format!("Basic YW5uOnNlY3JldA{padding}"))).await, Ok(()));
    }
    assert_eq!(with(Some("Bearer hw_ann")).await, Ok(()));
    let refused =
        [None, Some("Basic YW5uOndyb25n"), Some("Bearer hw_bob"), Some("Bearer flight-session-x"), Some("x")];
    for shown in refused {
        assert_eq!(with(shown).await, Err(Code::Unauthenticated), "{shown:?}");
    }
    for (name, call) in [
        ("do_get", server.raw().do_get(Ticket::default()).await.err()),
        ("do_action", server.raw().do_action(Action::default()).await.err()),
        ("list_actions", server.raw().list_actions(arrow_flight::Empty {}).await.err()),
        ("do_put", server.raw().do_put(futures::stream::empty()).await.err()),
    ] {
        assert_eq!(call.map(|status| status.code()), Some(Code::Unauthenticated), "{name}");
    }
    // A handshake opens a session.
    let mut client = server.client();
    assert!(client.handshake("ann", "wrong").await.is_err());
    client.handshake("ann", "secret").await.unwrap();
    let token = client.token().unwrap().clone();
    assert!(token.starts_with("flight-session-"), "{token}");
    assert_eq!(answer(&mut client, "SELECT 1").await.num_rows(), 1);
    // Every broker of the cluster knows it.
    let mut elsewhere = Server::start(Users).await.client();
    elsewhere.set_token(token);
    assert_eq!(answer(&mut elsewhere, "SELECT 1").await.num_rows(), 1);
    // An API token is its own, also for clients that know passwords only.
    let shown = BasicAuth { username: "anybody".into(), password: "hw_ann".into() };
    let message = HandshakeRequest { protocol_version: 0, payload: shown.encode_to_vec().into() };
    let mut told = server.raw().handshake(futures::stream::iter([message])).await.unwrap().into_inner();
    assert_eq!(told.message().await.unwrap().unwrap().payload, "hw_ann");
    // Somebody who is not a user any more has none.
    assert!(client.handshake("carl", "secret").await.is_err());
}

#[tokio::test]
async fn nobody_cancels_the_run_of_another() {
    let server = Server::start(Users).await;
    let mut ann = server.client();
    ann.set_token("hw_ann".into());
    let info = ann.execute(ENDLESS.into(), None).await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    // It has no first row either.
    let call = tokio::spawn(async move { ann.do_get(ticket).await?.try_collect::<Vec<_>>().await });
    server.wait_running(1).await;
    let body: prost::bytes::Bytes = CancelFlightInfoRequest { info: Some(info) }.encode_to_vec().into();
    for (who, expected) in
        [("Basic Ym9iOnNlY3JldA==", CancelStatus::NotCancellable), ("Bearer hw_ann", CancelStatus::Cancelled)]
    {
        let mut request = Request::new(Action { r#type: "CancelFlightInfo".into(), body: body.clone() });
        request.metadata_mut().insert("authorization", who.parse().unwrap());
        let mut results = server.raw().do_action(request).await.unwrap().into_inner();
        let result = CancelFlightInfoResult::decode(results.next().await.unwrap().unwrap().body).unwrap();
        assert_eq!(result.status, expected as i32, "{who}");
    }
    assert!(call.await.unwrap().is_err());
}
