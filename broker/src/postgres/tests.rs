//! The protocol, byte by byte, over an engine with tables that have no rows. Real drivers are in `server/tests/e2e`.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use headwater_segment::live::{LiveTable, Tables};
use headwater_segment::log::{Change, Commit, TableLog};
use headwater_segment::spec::parse_spec;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use super::*;
use crate::access::{AccessControl, AccessError, Credentials, OpenAccess, Principal, Role};
use crate::engine::EngineConfig;

mod fuzz;
#[path = "../../tests/common/fuzzing.rs"]
mod fuzzing;
mod messages;
mod sessions;
mod tools;
mod visibility;

/// Some minutes of work that no optimizer takes away.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b \
                       WHERE (a.value * 31 + b.value * 17) % 7919 = 3";

async fn tables() -> Arc<Tables> {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let root = Path::from("tables/orders");
    let spec = parse_spec(fuzzing::SPEC).unwrap();
    let log = TableLog::create(Arc::clone(&store), root.clone(), &spec).await.unwrap();
    let change = Change::FirstStart { epoch: 0, starts: [(0, 0)].into(), topic_id: None };
    log.commit(&Commit { id: Ulid::new(), at_ms: 1_700_000_000_000, change }).await.unwrap();
    let tables = Arc::new(Tables::default());
    tables.insert(LiveTable::new(log, store, root));
    tables
}

/// Lets in who has the password `right`, or the token `hw_right`. Everybody is a reader, and `ada` an administrator.
struct Guarded;

#[async_trait]
impl AccessControl for Guarded {
    fn is_open(&self) -> bool {
        false
    }

    async fn authenticate(&self, credentials: Credentials) -> Result<Principal, AccessError> {
        let name = match credentials {
            Credentials::Password { user, password } if password == "right" => user,
            Credentials::Token(token) if token == "hw_right" => "robot".into(),
            Credentials::None => return Err(AccessError::Missing),
            _ => return Err(AccessError::Wrong),
        };
        let role = if name == "ada" { Role::Administrator } else { Role::Reader };
        Ok(Principal { name, role })
    }
}

async fn server_with(access: Arc<dyn AccessControl>, limits: PostgresLimits) -> Arc<Server> {
    let config = EngineConfig { threads: 2, ..EngineConfig::default() };
    let engine = QueryEngine::new(config, tables().await).unwrap();
    let state = PostgresState { engine, access, tls: None, limits };
    Arc::new(Server::new(state, CancellationToken::new()))
}

async fn server() -> Arc<Server> {
    server_with(Arc::new(OpenAccess), PostgresLimits::default()).await
}

/// A client that speaks in bytes.
struct Client {
    io: DuplexStream,
    key: Vec<u8>,
}

type Reply = (u8, Vec<u8>);

fn text(value: &str) -> Vec<u8> {
    [value.as_bytes(), &[0]].concat()
}

fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = vec![0, 3, 0, 0];
    for (name, value) in parameters {
        body.extend(text(name));
        body.extend(text(value));
    }
    body.push(0);
    [&(body.len() as u32 + 4).to_be_bytes()[..], &body].concat()
}

impl Client {
    fn connect(server: &Arc<Server>, is_loopback: bool) -> Self {
        let (io, other) = tokio::io::duplex(1 << 20);
        let from = if is_loopback { Ipv4Addr::LOCALHOST } else { Ipv4Addr::new(192, 0, 2, 1) };
        tokio::spawn(connection::serve(Arc::clone(server), Box::new(other), from.into()));
        Self { io, key: Vec::new() }
    }

    async fn start(server: &Arc<Server>) -> Self {
        Self::start_as(server, "alice").await
    }

    /// With a password that is right, if one is asked for.
    async fn start_as(server: &Arc<Server>, user: &str) -> Self {
        let mut client = Self::connect(server, true);
        client.raw(&startup(&[("user", user)])).await;
        if !server.state.access.is_open() {
            assert_eq!(client.receive().await.unwrap(), (b'R', vec![0, 0, 0, 3]));
            client.send(b'p', &text("right")).await;
        }
        let replies = client.until_ready().await;
        client.key = replies.iter().find(|(kind, _)| *kind == b'K').unwrap().1.clone();
        client
    }

    /// The number of its session.
    fn process(&self) -> u32 {
        u32::from_be_bytes(self.key[..4].try_into().unwrap())
    }

    async fn raw(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
    }

    async fn send(&mut self, kind: u8, body: &[u8]) {
        let length = (body.len() as u32 + 4).to_be_bytes();
        self.raw(&[&[kind][..], &length, body].concat()).await;
    }

    async fn receive(&mut self) -> Option<Reply> {
        timeout(Duration::from_secs(60), async {
            let kind = self.io.read_u8().await.ok()?;
            let length = self.io.read_u32().await.ok()?;
            let mut body = vec![0; length as usize - 4];
            self.io.read_exact(&mut body).await.ok()?;
            Some((kind, body))
        })
        .await
        .expect("the server answers")
    }

    /// Everything up to the next ReadyForQuery, with it, or to the end.
    async fn until_ready(&mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        while let Some(reply) = self.receive().await {
            let is_ready = reply.0 == b'Z';
            replies.push(reply);
            if is_ready {
                break;
            }
        }
        replies
    }

    async fn query(&mut self, sql: &str) -> Vec<Reply> {
        self.send(b'Q', &text(sql)).await;
        self.until_ready().await
    }

    /// The cells of a query's answer as text; NULL is `None`.
    async fn rows(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        let replies = self.query(sql).await;
        if let Some(error) = error_of(&replies) {
            panic!("{sql}: {error:?}");
        }
        replies.iter().filter(|(kind, _)| *kind == b'D').map(|(_, body)| cells(body)).collect()
    }

    async fn parse(&mut self, name: &str, sql: &str, types: &[u32]) {
        let mut body = [text(name), text(sql), (types.len() as u16).to_be_bytes().into()].concat();
        types.iter().for_each(|oid| body.extend(oid.to_be_bytes()));
        self.send(b'P', &body).await;
    }

    /// Binds values in one format and wants the answer in another.
    async fn bind(&mut self, portal: &str, statement: &str, format: u16, values: &[&[u8]], answer: u16) {
        let mut body = [text(portal), text(statement), vec![0, 1], format.to_be_bytes().into()].concat();
        body.extend((values.len() as u16).to_be_bytes());
        for value in values {
            body.extend((value.len() as u32).to_be_bytes());
            body.extend(*value);
        }
        body.extend([0, 1]);
        body.extend(answer.to_be_bytes());
        self.send(b'B', &body).await;
    }

    async fn execute(&mut self, portal: &str, rows_max: u32) {
        self.send(b'E', &[text(portal), rows_max.to_be_bytes().into()].concat()).await;
    }

    async fn sync(&mut self) -> Vec<Reply> {
        self.send(b'S', b"").await;
        self.until_ready().await
    }
}

fn kinds(replies: &[Reply]) -> String {
    replies.iter().map(|(kind, _)| char::from(*kind)).collect()
}

fn cells(body: &[u8]) -> Vec<Option<String>> {
    let mut rest = &body[2..];
    let mut cells = Vec::new();
    while !rest.is_empty() {
        let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
        rest = &rest[4..];
        let taken = usize::try_from(length).unwrap_or(0);
        cells.push((length >= 0).then(|| String::from_utf8_lossy(&rest[..taken]).into_owned()));
        rest = &rest[taken..];
    }
    cells
}

/// The fields of the first error by their letter.
fn error_of(replies: &[Reply]) -> Option<std::collections::BTreeMap<char, String>> {
    let (_, body) = replies.iter().find(|(kind, _)| *kind == b'E')?;
    let fields = body.split(|byte| *byte == 0).filter(|field| !field.is_empty());
    Some(
        fields
            .map(|field| (char::from(field[0]), String::from_utf8_lossy(&field[1..]).into_owned()))
            .collect(),
    )
}

fn code_of(replies: &[Reply]) -> String {
    error_of(replies).map(|fields| fields[&'C'].clone()).unwrap_or_default()
}

fn tag_of(replies: &[Reply]) -> String {
    let (_, body) = replies.iter().find(|(kind, _)| *kind == b'C').unwrap();
    String::from_utf8_lossy(body).trim_end_matches('\0').to_owned()
}

fn status_of(replies: &[Reply]) -> char {
    let (_, body) = replies.iter().find(|(kind, _)| *kind == b'Z').unwrap();
    char::from(body[0])
}
