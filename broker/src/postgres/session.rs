//! A session: takes one message after the other and answers it.
//!
//! In the extended protocol an error makes the session skip everything up to the next Sync, as the protocol wants; in a failed
//! transaction only its end is taken. Whatever takes time stops when it is cancelled and when the client is gone. What let the
//! client in is looked at again before each message: a password or a token that does not count any more ends the session.
//! Source: PostgreSQL's documentation, "Message Flow".

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::response::{EmptyQueryResponse, ReadyForQuery, TransactionStatus};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::transactions::Undo;
use super::Server;
use super::cancel::{Asker, Cancellable};
use super::catalog::{Activities, CatalogPlanner};
use super::connection::Incoming;
use super::errors::{Failure, IN_FAILED_TRANSACTION, NOT_SUPPORTED, PROTOCOL_VIOLATION, QUERY_CANCELED};
use super::frames::{Frame, FrameError, Target};
use super::outgoing::Outgoing;
use super::portal::{Portal, Statement, row_description};
use super::settings::Settings;
use super::statements::{self, Command, Kind};
use super::types::of_parameter;
use crate::access::{Admitted, Role};
use crate::request::{ClientKind, QueryRequest};

mod answers;
mod commands;
mod extended;
mod transactions;

/// The setting with which a client raises the cap on rows.
const ROWS_MAX_SETTING: &str = "headwater.rows_max";

/// Why a message was not answered as it wanted.
pub(super) enum Fault {
    /// The client is told, and the session goes on.
    Failed(Failure),
    /// The client is gone.
    Gone,
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// One session.
pub(super) struct Session<W> {
    server: Arc<Server>,
    out: Outgoing<W>,
    frames: mpsc::UnboundedReceiver<Incoming>,
    /// The client has closed the connection.
    gone: CancellationToken,
    cancel: Cancellable,
    user: String,
    admitted: Admitted,
    settings: Settings,
    /// By name; the one without a name has the empty one.
    statements: HashMap<String, Arc<Statement>>,
    portals: HashMap<String, Portal>,
    transaction: TransactionStatus,
    /// In a transaction, with BEGIN or without.
    undo: Option<Undo>,
    /// An error was sent; everything up to the next Sync is dropped.
    is_skipping: bool,
}

impl<W: AsyncWrite + Unpin> Session<W> {
    pub(super) fn new(
        server: Arc<Server>,
        out: Outgoing<W>,
        frames: mpsc::UnboundedReceiver<Incoming>,
        (gone, cancel): (CancellationToken, Cancellable),
        (user, admitted, settings): (String, Admitted, Settings),
    ) -> Self {
        Self {
            server,
            out,
            frames,
            gone,
            cancel,
            user,
            admitted,
            settings,
            statements: HashMap::new(),
            portals: HashMap::new(),
            transaction: TransactionStatus::Idle,
            undo: None,
            is_skipping: false,
        }
    }

    /// Serves until the client ends the session, or is gone, or the server stops.
    pub(super) async fn serve(mut self) {
        let idle = Duration::from_millis(self.server.limits().idle_ms_max);
        loop {
            let ending = self.cancel.ending();
            // What has arrived is still answered when the server stops, and not when the session is ended: a client that always
            // has sent the next message already would never be rid of.
            let incoming = tokio::select! {
                biased;
                () = ending.cancelled() => {
                    let reason = "terminating connection due to administrator command";
                    return self.end(Failure::new("57P01", reason)).await;
                }
                incoming = tokio::time::timeout(idle, self.frames.recv()) => incoming,
                () = self.server.stop.cancelled() => {
                    let reason = "terminating connection because the server is shutting down";
                    return self.end(Failure::new("57P01", reason)).await;
                }
            };
            let frame = match incoming {
                Err(_) => {
                    let reason = "terminating connection because it was idle for too long";
                    return self.end(Failure::new("57P05", reason)).await;
                }
                Ok(None) => return,
                Ok(Some(incoming)) => incoming,
            };
            if !self.server.state.access.stands(&self.admitted) {
                let reason =
                    "terminating connection because the password or the token does not count any more";
                return self.end(Failure::new("28000", reason)).await;
            }
            let answered = match &frame.frame {
                Ok(Frame::Terminate) => return,
                Ok(taken) => self.answer(taken).await,
                Err(FrameError::Malformed(reason)) => {
                    let message = format!("invalid message format: {reason}");
                    self.fail(Failure::new(PROTOCOL_VIOLATION, message), frame.is_extended).await
                }
                Err(error) => return self.end(Failure::new(PROTOCOL_VIOLATION, error.to_string())).await,
            };
            if answered.is_err() {
                return;
            }
        }
    }

    /// Says why, and closes the connection.
    async fn end(&mut self, failure: Failure) {
        if self.out.put(&Message::ErrorResponse(failure.info("FATAL").into())).is_ok() {
            // A client that does not read this will notice all the same.
            let _ = self.out.close().await;
        }
    }

    async fn answer(&mut self, frame: &Frame) -> Result<(), Fault> {
        if self.is_skipping && *frame != Frame::Sync {
            return Ok(());
        }
        let is_extended = !matches!(frame, Frame::Query(_));
        let answered = match frame {
            Frame::Query(text) => self.simple(text).await,
            Frame::Parse { name, sql, types } => self.parse(name, sql, types),
            Frame::Bind(bind) => self.bind(bind).await,
            Frame::Describe(Target::Statement(name)) => self.describe_statement(name).await,
            Frame::Describe(Target::Portal(name)) => self.describe_portal(name).await,
            Frame::Execute { portal, rows_max } => self.execute(portal, *rows_max).await,
            Frame::Close(target) => self.close(target),
            Frame::Flush => self.out.flush().await.map_err(Fault::from),
            Frame::Sync => return self.sync().await,
            Frame::Password(_) => {
                Err(Failure::new(PROTOCOL_VIOLATION, "a password was not asked for").into())
            }
            Frame::Copy | Frame::Terminate => Ok(()),
        };
        match answered {
            Err(Fault::Failed(failure)) => self.fail(failure, is_extended).await,
            // Replies wait for a Sync, but not without bound.
            Ok(()) if self.out.is_full() => self.out.flush().await.map_err(Fault::from),
            other => other,
        }
    }

    /// Tells the client; a transaction fails with it.
    async fn fail(&mut self, failure: Failure, is_extended: bool) -> Result<(), Fault> {
        tracing::debug!(
            user = self.user,
            code = failure.code,
            message = failure.message,
            "a statement failed"
        );
        self.out.put(&Message::ErrorResponse(failure.info("ERROR").into()))?;
        match self.transaction {
            TransactionStatus::Idle => self.roll_back()?,
            TransactionStatus::Transaction => {
                self.transaction = TransactionStatus::Error;
                self.end_portals(false);
            }
            TransactionStatus::Error => {}
        }
        if is_extended {
            self.is_skipping = true;
            return self.out.flush().await.map_err(Fault::from);
        }
        self.ready().await
    }

    async fn ready(&mut self) -> Result<(), Fault> {
        if self.transaction == TransactionStatus::Idle {
            self.commit()?;
        }
        self.out.put(&Message::ReadyForQuery(ReadyForQuery::new(self.transaction)))?;
        let state = match self.transaction {
            TransactionStatus::Idle => "idle",
            TransactionStatus::Transaction => "idle in transaction",
            TransactionStatus::Error => "idle in transaction (aborted)",
        };
        self.cancel.rests(state, self.application_name());
        self.out.flush().await.map_err(Fault::from)
    }

    async fn sync(&mut self) -> Result<(), Fault> {
        self.is_skipping = false;
        self.ready().await
    }

    /// All statements of a text, up to the first that fails.
    async fn simple(&mut self, text: &str) -> Result<(), Fault> {
        self.statements.remove("");
        self.portals.remove("");
        let pieces = statements::split(text)?;
        if pieces.is_empty() {
            self.out.put(&Message::EmptyQueryResponse(EmptyQueryResponse::new()))?;
        }
        let is_transaction = pieces.len() > 1;
        for piece in pieces {
            if is_transaction {
                self.begin();
            }
            let statement = self.statement(piece.sql, piece.characters_before, &[])?;
            let mut portal = Portal::new(Arc::new(statement));
            self.open(&mut portal).await?;
            if let Some(columns) = self.columns(&portal) {
                let description = row_description(columns, &[])?;
                self.out.put(&Message::RowDescription(description))?;
            }
            self.run(&mut portal, 0).await?;
        }
        self.ready().await
    }

    /// A statement; in a failed transaction only one that ends it.
    fn statement(&self, sql: &str, characters_before: usize, types: &[u32]) -> Result<Statement, Failure> {
        let kind = statements::kind_of(sql)?;
        self.check_transaction(&kind)?;
        for oid in types {
            of_parameter(*oid).map_err(|oid| {
                Failure::new(NOT_SUPPORTED, format!("parameters of type {oid} are not supported"))
            })?;
        }
        let (sql, declared) = (sql.to_owned(), types.to_vec());
        Ok(Statement { sql, characters_before, kind, declared, described: Default::default() })
    }

    fn check_transaction(&self, kind: &Kind) -> Result<(), Failure> {
        let ends = matches!(
            kind,
            Kind::Empty | Kind::Command(Command::Commit | Command::Rollback | Command::RollbackTo(_))
        );
        if self.transaction == TransactionStatus::Error && !ends {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Failure::new(IN_FAILED_TRANSACTION, message));
        }
        Ok(())
    }

    fn application_name(&self) -> String {
        self.settings.get("application_name").unwrap_or_default().to_owned()
    }

    fn request(&self, sql: &str, is_catalog: bool) -> QueryRequest {
        let mut request = QueryRequest {
            sql: sql.to_owned(),
            client: ClientKind::Postgres,
            user: Some(self.user.clone()),
            deadline: self.settings.statement_timeout(),
            rows_max: self.settings.get(ROWS_MAX_SETTING).and_then(|rows| rows.parse().ok()),
            ..QueryRequest::default()
        };
        if is_catalog {
            let asker = Asker {
                user: self.user.clone(),
                is_administrator: self.admitted.principal.may(Role::Administrator),
                process: self.cancel.process,
            };
            request.planner = Some(Arc::new(CatalogPlanner {
                shared: Arc::clone(&self.server.catalog),
                sessions: Activities { cancels: Arc::clone(&self.server.cancels), asker },
                settings: self.settings.clone(),
            }));
        }
        request
    }
}

/// Does something that takes time, unless it is cancelled or the client goes away.
async fn guarded<T>(
    gone: &CancellationToken,
    cancel: &Cancellable,
    work: impl Future<Output = T>,
) -> Result<T, Fault> {
    let cancelled = cancel.begin();
    tokio::select! {
        biased;
        () = gone.cancelled() => Err(Fault::Gone),
        () = cancelled.cancelled() => Err(canceled().into()),
        done = work => Ok(done),
    }
}

fn canceled() -> Failure {
    Failure::new(QUERY_CANCELED, "canceling statement due to user request")
}
