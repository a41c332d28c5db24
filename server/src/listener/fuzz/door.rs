//! The front door as the server opens it, over a real engine, with a table and a dashboard in memory; and a client of bytes. Kafka is
//! away: what is sent may name any broker, and none is asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use headwater_broker::access::{
    AccessControl, AccessError, Credentials, Doors, Hosts, KnownUser, OpenAccess, Principal, Role, SessionKey,
};
use headwater_broker::admin::{AdminError, Applied, TableAdmin};
use headwater_broker::dashboards::live::{LiveHub, LiveLimits};
use headwater_broker::dashboards::{DashboardStore, Expected, read_dashboard};
use headwater_broker::engine::{EngineConfig, QueryEngine};
use headwater_broker::http::{HttpLimits, HttpState, router};
use headwater_broker::wizard::{DryRun, InferRequest, Inferred, Preview, TableWizard, WizardError};
use headwater_segment::live::Tables;
use headwater_segment::spec::parse_spec;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::fuzzing::SPEC;
use super::requests::{BOARD, USER, board};
use crate::admin::{from_segment, named_spec};
use crate::dashboards::ObjectDashboards;
use crate::listener::connection::{self, Caller};

#[path = "../../../../broker/tests/common/mod.rs"]
mod common;

/// Room for all that is ever sent, so that writing waits for nothing.
const PIPE_BYTES: usize = 1 << 20;
/// A request that is one has its whole answer within this time. Debug builds plan slowly, and others test beside this one.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);
/// A connection ends so soon after its client. It is less than the server's own patience with silence, which would end it, too.
const ENDS_WITHIN: Duration = Duration::from_secs(8);

/// Until when a client waits for more.
pub(super) enum Until {
    /// The server ends the connection.
    End,
    /// What has come is enough.
    Seen(fn(&[u8]) -> bool),
    /// Nothing has come for so long.
    Quiet(Duration),
}

/// See the module.
pub(super) struct Door {
    router: Router,
}

impl Door {
    /// Lets everybody in.
    pub(super) async fn open() -> Self {
        Self::with(Arc::new(OpenAccess)).await
    }

    /// Lets in who shows a password.
    pub(super) async fn guarded() -> Self {
        Self::with(Arc::new(OneUser)).await
    }

    async fn with(access: Arc<dyn AccessControl>) -> Self {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let tables = Arc::new(Tables::default());
        tables.insert(common::table(&store, SPEC, &Path::from("tables/orders"), 2).await);
        let config = EngineConfig {
            threads: 2,
            deadline_default: Duration::from_secs(2),
            deadline_max: Duration::from_secs(2),
            memory_bytes_default: 64 << 20,
            memory_bytes_max: 64 << 20,
            ..EngineConfig::default()
        };
        let engine = QueryEngine::new(config, tables).unwrap();
        let kept = ObjectDashboards::new(store, &Path::from("root"));
        kept.put(BOARD, &read_dashboard(&board()).unwrap(), Expected::Absent).await.unwrap();
        // A viewer is sent away before a client would give up.
        let live = LiveLimits { stay: Duration::from_millis(300), ..LiveLimits::default() };
        let dashboards = Arc::new(LiveHub::new(Arc::new(engine.clone()), Arc::new(kept), live));
        let limits = HttpLimits { body_bytes_max: 64 << 10, body_ms_max: 500, ..HttpLimits::default() };
        Self {
            router: router(HttpState {
                runner: Arc::new(engine),
                admin: Arc::new(WithoutKafka),
                dashboards,
                metrics: Arc::new(|| "headwater_up 1\n".into()),
                limits,
                doors: Arc::new(Doors::new(access, SessionKey::random(), Hosts::any(), false)),
                console: crate::console::answer,
            }),
        }
    }

    /// Sends all of it on a connection of its own and reads, then hangs up as a client does that has no more to say. Whatever was
    /// sent: the server's side ends after that, and not by a panic.
    pub(super) async fn exchange(&self, sent: &[u8], until: Until) -> Result<Vec<u8>, String> {
        assert!(sent.len() < PIPE_BYTES);
        let (mut client, io) = tokio::io::duplex(PIPE_BYTES);
        let peer = SocketAddr::from(([127, 0, 0, 1], 4711));
        let (router, stop) = (self.router.clone(), CancellationToken::new());
        let serving = tokio::spawn(connection::serve(io, peer, Caller::Client, router, stop));
        // The server may have ended it already, and what it has said is there to be read.
        let _ = client.write_all(sent).await;
        let mut came = Vec::new();
        let wait = if let Until::Quiet(wait) = until { wait } else { ANSWERS_WITHIN };
        loop {
            match timeout(wait, client.read_buf(&mut came)).await {
                Ok(Ok(0) | Err(_)) => break,
                Ok(Ok(_)) if matches!(until, Until::Seen(is_enough) if is_enough(&came)) => break,
                Ok(Ok(_)) => {}
                Err(_) if matches!(until, Until::Quiet(_)) => break,
                Err(_) => return Err(format!("no answer after {came:?}")),
            }
        }
        let _ = client.shutdown().await;
        let rest = timeout(ENDS_WITHIN, client.read_to_end(&mut came)).await;
        let _ = rest.map_err(|_| "the connection goes on without its client")?;
        let ended = timeout(ENDS_WITHIN, serving).await.map_err(|_| "the connection is served on")?;
        ended.map_err(|error| error.to_string())?;
        Ok(came)
    }
}

/// Lets in the one user, who may do everything.
struct OneUser;

fn the_user() -> Principal {
    Principal { name: USER.0.into(), role: Role::Administrator }
}

#[async_trait]
impl AccessControl for OneUser {
    fn is_open(&self) -> bool {
        false
    }

    async fn authenticate(&self, credentials: Credentials) -> Result<Principal, AccessError> {
        match credentials {
            Credentials::Password { user, password } if (user.as_str(), password.as_str()) == USER => {
                Ok(the_user())
            }
            Credentials::None => Err(AccessError::Missing),
            _ => Err(AccessError::Wrong),
        }
    }

    fn user(&self, name: &str) -> Option<KnownUser> {
        (name == USER.0).then(|| KnownUser { principal: the_user(), stamp: [7; 16] })
    }
}

/// Reads specs as the node does, and changes nothing.
struct WithoutKafka;

fn only_orders(name: &str) -> Result<(), AdminError> {
    match name {
        "orders" => Ok(()),
        _ => Err(AdminError::NotFound(format!("there is no table {name}"))),
    }
}

#[async_trait]
impl TableAdmin for WithoutKafka {
    async fn apply(&self, name: &str, spec_text: &str) -> Result<Applied, AdminError> {
        named_spec(name, spec_text).map(|_| Applied::Updated)
    }

    async fn drop_table(&self, name: &str, _: bool) -> Result<(), AdminError> {
        only_orders(name)?;
        Err(AdminError::Conflict("it stays".into()))
    }

    async fn pause(&self, name: &str, _: Option<i32>) -> Result<(), AdminError> {
        only_orders(name)
    }

    async fn resume(&self, name: &str, _: Option<i32>) -> Result<(), AdminError> {
        only_orders(name)
    }

    async fn seal(&self, name: &str, _: Option<i32>) -> Result<Vec<Value>, AdminError> {
        only_orders(name).map(|()| Vec::new())
    }

    async fn describe(&self, name: &str) -> Result<Value, AdminError> {
        only_orders(name).map(|()| json!({"name": name}))
    }

    async fn ready(&self) -> Result<(), String> {
        Err("Kafka is away".into())
    }
}

#[async_trait]
impl TableWizard for WithoutKafka {
    async fn dry_run(&self, name: &str, spec_text: &str) -> Result<DryRun, AdminError> {
        named_spec(name, spec_text).map(|_| DryRun { applied: Applied::Unchanged, changes: Vec::new() })
    }

    async fn infer(&self, request: InferRequest) -> Result<Inferred, WizardError> {
        Err(WizardError::Unreachable { brokers: request.brokers.join(","), reason: "it is away".into() })
    }

    async fn preview(&self, spec_text: &str, _: Option<usize>) -> Result<Preview, WizardError> {
        let spec = parse_spec(spec_text).map_err(from_segment)?;
        Err(WizardError::EmptyTopic { topic: spec.stream.topic })
    }
}
