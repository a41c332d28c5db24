//! Answers: a portal is opened, which starts its query, and its rows are sent as far as they are wanted.

use std::sync::Arc;

use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::copy::{CopyDone, CopyOutResponse};
use pgwire::messages::extendedquery::PortalSuspended;
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse};
use tokio::io::AsyncWrite;

use super::{Fault, Session, canceled, guarded};
use crate::postgres::copy::{CopyForm, CopyWriter};
use crate::postgres::errors::Failure;
use crate::postgres::outgoing::TooLong;
use crate::postgres::portal::{Column, Portal, RowForm, Rows, State, Statement, check_columns};
use crate::postgres::statements::{self, Command, Kind};
use crate::postgres::values::Format;

impl<W: AsyncWrite + Unpin> Session<W> {
    /// Starts what a portal stands for, up to its columns.
    pub(super) async fn open(&mut self, portal: &mut Portal) -> Result<(), Fault> {
        let statement = Arc::clone(&portal.statement);
        // Also with the rows that follow those that were fetched before.
        self.cancel.runs(&statement.sql, self.application_name());
        if !matches!(portal.state, State::New) {
            return Ok(());
        }
        self.check_transaction(&statement.kind)?;
        match &statement.kind {
            Kind::Query => self.open_query(portal, &statement.sql, false).await,
            Kind::Catalog => self.open_query(portal, &statement.sql, true).await,
            Kind::Command(Command::Show(name)) => {
                portal.state = State::Open(Rows::of_batch(self.show(name)?));
                Ok(())
            }
            Kind::Command(Command::Fetch { name, .. }) => {
                let mut cursor = self.taken(name)?;
                self.open_cursor(&mut cursor).await?;
                self.portals.insert(name.clone(), cursor);
                Ok(())
            }
            Kind::Command(Command::Declare { .. }) if portal.is_cursor => self.open_cursor(portal).await,
            Kind::Command(Command::Copy(_)) => self.open_cursor(portal).await,
            Kind::Command(_) | Kind::Empty => Ok(()),
        }
    }

    async fn open_cursor(&mut self, cursor: &mut Portal) -> Result<(), Fault> {
        let statement = Arc::clone(&cursor.statement);
        let sql = statement.query();
        match &cursor.state {
            State::New => self.open_query(cursor, sql, statements::kind_of(sql)? == Kind::Catalog).await,
            _ => Ok(()),
        }
    }

    async fn open_query(&mut self, portal: &mut Portal, sql: &str, is_catalog: bool) -> Result<(), Fault> {
        let mut request = self.request(sql, is_catalog);
        request.arguments.clone_from(&portal.arguments);
        let engine = self.server.state.engine.clone();
        let answer = guarded(&self.gone, &self.cancel, engine.run(request)).await?;
        let answer = answer.map_err(|error| portal.statement.failure(error))?;
        let rows = Rows::new(&answer.schema, answer.stream, sql);
        if let Some(described) = portal.statement.described.lock().as_ref() {
            rows.check_types(described)?;
        }
        portal.state = State::Open(rows);
        Ok(())
    }

    /// The columns of an open portal; `None` if it answers with no rows.
    pub(super) fn columns<'a>(&'a self, portal: &'a Portal) -> Option<&'a [Column]> {
        match (&portal.state, &portal.statement.kind) {
            (_, Kind::Command(Command::Copy(_))) => None,
            (State::Open(rows), _) => Some(&rows.columns),
            (_, Kind::Command(Command::Fetch { name, .. })) => match &self.portals.get(name)?.state {
                State::Open(rows) => Some(&rows.columns),
                _ => None,
            },
            _ => None,
        }
    }

    /// Sends rows of an open portal, `rows_max` at most (0: all), or does what its command says.
    pub(super) async fn run(&mut self, portal: &mut Portal, rows_max: u32) -> Result<(), Fault> {
        let statement = Arc::clone(&portal.statement);
        match (&mut portal.state, &statement.kind) {
            (State::Open(rows), Kind::Command(Command::Show(_))) => {
                let form = RowForm::Message(rows.formats(&portal.formats)?);
                self.send(rows, form, 0, &statement).await?;
                portal.state = State::Done("SHOW".into());
                self.complete("SHOW")
            }
            (State::Open(rows), Kind::Command(Command::Copy(copy))) => {
                let tag = self.copy(rows, &copy.form, &statement).await?;
                self.complete(&tag)?;
                portal.state = State::Done(tag);
                Ok(())
            }
            (State::Open(rows), _) => {
                let before = rows.sent;
                let form = RowForm::Message(rows.formats(&portal.formats)?);
                let is_over = self.send(rows, form, rows_max, &statement).await?;
                if !is_over {
                    self.out.put(&Message::PortalSuspended(PortalSuspended::new()))?;
                    return Ok(());
                }
                let tag = tag_of(&statement.sql, rows.sent - before);
                self.complete(&tag)?;
                portal.state = State::Done(tag_of(&statement.sql, 0));
                Ok(())
            }
            (State::Done(tag), _) => {
                let tag = tag.clone();
                self.complete(&tag)
            }
            (State::New, Kind::Empty) => {
                self.out.put(&Message::EmptyQueryResponse(EmptyQueryResponse::new()))?;
                Ok(())
            }
            (State::New, Kind::Command(Command::Fetch { name, rows_max })) => {
                self.fetch(name, *rows_max, &portal.formats).await
            }
            (State::New, Kind::Command(command)) => {
                let arguments = std::mem::take(&mut portal.arguments);
                let tag = self.command(command, &statement, arguments)?;
                portal.state = State::Done(tag.clone());
                self.complete(&tag)
            }
            (State::New, _) => Err(Failure::new("XX000", "a portal was run before it was opened").into()),
        }
    }

    async fn fetch(&mut self, name: &str, rows_max: u32, formats: &[u16]) -> Result<(), Fault> {
        let mut cursor = self.taken(name)?;
        let mut sent = 0;
        if let State::Open(rows) = &mut cursor.state {
            let before = rows.sent;
            let form = RowForm::Message(rows.formats(formats)?);
            self.send(rows, form, rows_max, &cursor.statement).await?;
            sent = rows.sent - before;
        }
        self.portals.insert(name.to_owned(), cursor);
        self.complete(&format!("FETCH {sent}"))
    }

    /// Sends all rows as a copy; returns its tag.
    async fn copy(
        &mut self,
        rows: &mut Rows,
        form: &CopyForm,
        statement: &Statement,
    ) -> Result<String, Fault> {
        let code: i8 = if form.format() == Format::Binary { 1 } else { 0 };
        let count = check_columns(rows.columns.len())?;
        let begin = CopyOutResponse::new(code, count, vec![code.into(); rows.columns.len()]);
        self.out.put(&Message::CopyOutResponse(begin))?;
        let mut writer = CopyWriter::new(form);
        let too_long = |error: TooLong| statement.failure(error.into());
        let names = rows.columns.iter().map(|column| column.name.as_str());
        writer.begin(names, self.out.buffer()).map_err(too_long)?;
        self.send(rows, RowForm::Copy(&mut writer), 0, statement).await?;
        writer.end(self.out.buffer()).map_err(too_long)?;
        self.out.put(&Message::CopyDone(CopyDone::new()))?;
        Ok(format!("COPY {}", rows.sent))
    }

    /// Sends rows; true if there are no more.
    async fn send(
        &mut self,
        rows: &mut Rows,
        mut form: RowForm<'_>,
        rows_max: u32,
        statement: &Statement,
    ) -> Result<bool, Fault> {
        let cancelled = self.cancel.begin();
        let mut left = if rows_max == 0 { u64::MAX } else { u64::from(rows_max) };
        loop {
            if left == 0 {
                return Ok(false);
            }
            let advanced = tokio::select! {
                biased;
                () = self.gone.cancelled() => return Err(Fault::Gone),
                () = cancelled.cancelled() => return Err(canceled().into()),
                advanced = rows.advance() => advanced,
            };
            if !advanced.map_err(|error| statement.failure(error))? {
                return Ok(true);
            }
            rows.write(&mut form, self.out.buffer()).map_err(|error| statement.failure(error))?;
            left -= 1;
            if self.out.is_full() {
                tokio::select! {
                    biased;
                    () = self.gone.cancelled() => return Err(Fault::Gone),
                    () = cancelled.cancelled() => return Err(canceled().into()),
                    flushed = self.out.flush() => flushed?,
                }
            }
        }
    }

    fn complete(&mut self, tag: &str) -> Result<(), Fault> {
        self.out.put(&Message::CommandComplete(CommandComplete::new(tag.to_owned())))?;
        Ok(())
    }
}

/// The tag of a statement that answers with rows.
fn tag_of(sql: &str, rows: u64) -> String {
    match first_word(sql).to_ascii_uppercase().as_str() {
        tag @ ("EXPLAIN" | "SHOW") => tag.to_owned(),
        "DESCRIBE" | "DESC" => "SHOW".to_owned(),
        _ => format!("SELECT {rows}"),
    }
}

/// The first word, behind brackets and comments, which may be nested.
fn first_word(sql: &str) -> &str {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
        if let Some(inside) = rest.strip_prefix("--") {
            rest = inside.split_once('\n').map_or("", |(_, behind)| behind);
        } else if let Some(inside) = rest.strip_prefix("/*") {
            rest = behind_comment(inside);
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            return &rest[..end];
        }
    }
}

/// What stands behind the end of a comment, from inside it.
fn behind_comment(text: &str) -> &str {
    let (mut rest, mut depth) = (text, 1);
    while depth > 0 {
        let Some(at) = rest.find(['*', '/']) else { return "" };
        rest = &rest[at..];
        let (length, change) = match rest.get(..2) {
            Some("/*") => (2, 1),
            Some("*/") => (2, -1),
            _ => (1, 0),
        };
        (rest, depth) = (&rest[length..], depth + change);
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_do_not_come_from_comments() {
        for (sql, expected) in [
            ("SELECT 1", "SELECT 2"),
            ("/* explain */ SELECT 1", "SELECT 2"),
            ("-- show\n  (select 1)", "SELECT 2"),
            ("/* a /* show */ b */-- c\n/**/EXPLAIN SELECT 1", "EXPLAIN"),
            ("\n\tshow tables", "SHOW"),
            ("describe orders", "SHOW"),
            ("((VALUES (1)))", "SELECT 2"),
            ("/* open", "SELECT 2"),
            ("-- é", "SELECT 2"),
            ("", "SELECT 2"),
        ] {
            assert_eq!(tag_of(sql, 2), expected, "{sql}");
        }
    }
}
