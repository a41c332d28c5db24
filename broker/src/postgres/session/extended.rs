//! The extended protocol: statements are prepared, bound, described and executed one message at a time.

use std::sync::Arc;

use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete};
use tokio::io::AsyncWrite;

use super::{Fault, Session, guarded};
use crate::engine::Description;
use crate::postgres::arguments;
use crate::postgres::errors::Failure;
use crate::postgres::frames::{Bind, Target};
use crate::postgres::portal::{Described, Portal, Statement, check_columns, columns_of, row_description};
use crate::postgres::statements::{self, Command, Kind};
use crate::postgres::types::of_parameter;
use crate::postgres::values::Format;

impl<W: AsyncWrite + Unpin> Session<W> {
    pub(super) fn parse(&mut self, name: &str, sql: &str, types: &[u32]) -> Result<(), Fault> {
        let pieces = statements::split(sql)?;
        let statement = match pieces.as_slice() {
            [] => self.statement("", 0, types)?,
            [piece] => self.statement(piece.sql, piece.characters_before, types)?,
            _ => {
                let message = "cannot insert multiple commands into a prepared statement";
                return Err(Failure::new("42601", message).into());
            }
        };
        // The one without a name gives way to the next.
        if name.is_empty() {
            self.statements.remove(name);
        } else if self.statements.contains_key(name) {
            return Err(Failure::new("42P05", format!("prepared statement \"{name}\" already exists")).into());
        }
        if self.statements.len() >= self.server.limits().statements_max {
            return Err(too_many_statements().into());
        }
        self.check_statements(statement.size())?;
        self.statements.insert(name.to_owned(), Arc::new(statement));
        self.out.put(&Message::ParseComplete(ParseComplete::new()))?;
        Ok(())
    }

    /// Refuses `more` bytes beside the prepared statements, if they would be too many together.
    fn check_statements(&self, more: usize) -> Result<(), Failure> {
        let held: usize = self.statements.values().map(|statement| statement.size()).sum();
        match held + more <= 2 * self.server.limits().message_bytes_max {
            true => Ok(()),
            false => Err(too_many_statements()),
        }
    }

    fn prepared(&self, name: &str) -> Result<Arc<Statement>, Failure> {
        let found = self.statements.get(name).map(Arc::clone);
        found.ok_or_else(|| Failure::new("26000", format!("prepared statement \"{name}\" does not exist")))
    }

    pub(super) async fn bind(&mut self, bind: &Bind) -> Result<(), Fault> {
        let statement = self.prepared(&bind.statement)?;
        self.check_transaction(&statement.kind)?;
        if !bind.portal.is_empty() && self.portals.contains_key(&bind.portal) {
            return Err(Failure::new("42P03", format!("cursor \"{}\" already exists", bind.portal)).into());
        }
        let formats: Result<Vec<_>, _> =
            (0..bind.values.len()).map(|at| arguments::format_of(&bind.formats, at)).collect();
        let formats = formats?;
        // The type of a binary value that the client has not declared is the one that it was told.
        let is_open = |at: usize| statement.declared.get(at).is_none_or(|oid| arguments::is_open(*oid));
        let needs_types = formats
            .iter()
            .enumerate()
            .any(|(at, format)| *format == Format::Binary && is_open(at) && bind.values[at].is_some());
        let known = statement.described.lock().clone().filter(|_| needs_types);
        let described = match known {
            None if needs_types => Some(self.describe(&statement).await?.1),
            known => known,
        };
        let mut portal = Portal::new(Arc::clone(&statement));
        for (at, value) in bind.values.iter().enumerate() {
            let declared = statement.declared.get(at).copied().unwrap_or(0);
            let inferred = described.as_ref().and_then(|described| described.parameters.get(at));
            portal.arguments.push(arguments::read(at, declared, inferred, formats[at], value.as_deref())?);
        }
        portal.formats.clone_from(&bind.answer_formats);
        self.portals.remove(&bind.portal);
        self.keep(bind.portal.clone(), portal)?;
        self.out.put(&Message::BindComplete(BindComplete::new()))?;
        Ok(())
    }

    pub(super) fn keep(&mut self, name: String, portal: Portal) -> Result<(), Failure> {
        let limits = self.server.limits();
        let bytes: usize = self.portals.values().map(Portal::size).sum();
        if self.portals.len() >= limits.portals_max || bytes + portal.size() > 4 * limits.message_bytes_max {
            return Err(Failure::new(
                "54000",
                "too many open portals and cursors on this connection; close some",
            ));
        }
        self.portals.insert(name, portal);
        Ok(())
    }

    /// What the statement wants and answers with, and what of that is kept for its portals.
    async fn describe(&mut self, statement: &Statement) -> Result<(Description, Arc<Described>), Fault> {
        let sql = statement.query();
        let is_catalog = match &statement.kind {
            Kind::Command(_) => statements::kind_of(sql)? == Kind::Catalog,
            kind => *kind == Kind::Catalog,
        };
        let request = self.request(sql, is_catalog);
        let declared = statement.declared.iter().map(|oid| of_parameter(*oid).unwrap_or(None)).collect();
        let engine = self.server.state.engine.clone();
        let describing = engine.describe(request, declared);
        let description =
            guarded(&self.gone, &self.cancel, describing).await?.map_err(|error| statement.failure(error))?;
        check_columns(description.schema.fields().len())?;
        let described = Arc::new(Described::of(&description));
        // What was kept before gives way, and does not count.
        *statement.described.lock() = None;
        self.check_statements(described.size())?;
        *statement.described.lock() = Some(Arc::clone(&described));
        Ok((description, described))
    }

    pub(super) async fn describe_statement(&mut self, name: &str) -> Result<(), Fault> {
        let statement = self.prepared(name)?;
        let described = match &statement.kind {
            Kind::Query | Kind::Catalog | Kind::Command(Command::Declare { .. }) => {
                Some(self.describe(&statement).await?)
            }
            _ => None,
        };
        let types = described.iter().flat_map(|(_, described)| {
            let declared = |at: usize| statement.declared.get(at).copied().unwrap_or(0);
            let parameters = described.parameters.iter().enumerate();
            parameters.map(move |(at, base)| arguments::oid_of(declared(at), base))
        });
        self.out.put(&Message::ParameterDescription(ParameterDescription::new(types.collect())))?;
        let description = match (&statement.kind, &described) {
            (Kind::Query | Kind::Catalog, Some((description, _))) => {
                row_description(&columns_of(&description.schema, statement.query()), &[])?
            }
            (Kind::Command(Command::Show(_) | Command::Fetch { .. }), _) => {
                let mut portal = Portal::new(Arc::clone(&statement));
                self.open(&mut portal).await?;
                row_description(self.columns(&portal).unwrap_or_default(), &[])?
            }
            _ => {
                self.out.put(&Message::NoData(NoData::new()))?;
                return Ok(());
            }
        };
        self.out.put(&Message::RowDescription(description))?;
        Ok(())
    }

    pub(super) fn taken(&mut self, name: &str) -> Result<Portal, Failure> {
        let found = self.portals.remove(name);
        found.ok_or_else(|| Failure::new("34000", format!("portal \"{name}\" does not exist")))
    }

    pub(super) async fn describe_portal(&mut self, name: &str) -> Result<(), Fault> {
        let mut portal = self.taken(name)?;
        self.open(&mut portal).await?;
        let description = self.columns(&portal).map(|columns| row_description(columns, &portal.formats));
        let message = match description.transpose()? {
            Some(description) => Message::RowDescription(description),
            None => Message::NoData(NoData::new()),
        };
        self.portals.insert(name.to_owned(), portal);
        self.out.put(&message)?;
        Ok(())
    }

    pub(super) async fn execute(&mut self, name: &str, rows_max: u32) -> Result<(), Fault> {
        let mut portal = self.taken(name)?;
        self.open(&mut portal).await?;
        self.run(&mut portal, rows_max).await?;
        self.portals.insert(name.to_owned(), portal);
        Ok(())
    }

    pub(super) fn close(&mut self, target: &Target) -> Result<(), Fault> {
        match target {
            Target::Statement(name) => drop(self.statements.remove(name)),
            Target::Portal(name) => drop(self.portals.remove(name)),
        }
        self.out.put(&Message::CloseComplete(CloseComplete::new()))?;
        Ok(())
    }
}

fn too_many_statements() -> Failure {
    Failure::new(
        "54000",
        "too many prepared statements on this connection, or ones that are too long; close some",
    )
}
