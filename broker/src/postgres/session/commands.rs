//! What statements that concern the session alone do.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use pgwire::messages::response::TransactionStatus;
use tokio::io::AsyncWrite;

use super::transactions::outside;
use super::{Fault, Session};
use crate::postgres::errors::Failure;
use crate::postgres::portal::{Life, Portal, Statement};
use crate::postgres::settings::Settings;
use crate::postgres::statements::Command;
use crate::request::Argument;

impl<W: AsyncWrite + Unpin> Session<W> {
    /// Does what the command says; returns its tag.
    pub(super) fn command(
        &mut self,
        command: &Command,
        statement: &Arc<Statement>,
        arguments: Vec<Argument>,
    ) -> Result<String, Fault> {
        let tag = match command {
            Command::Begin => {
                self.begin();
                self.transaction = TransactionStatus::Transaction;
                "BEGIN"
            }
            Command::Commit if self.transaction == TransactionStatus::Error => {
                self.roll_back()?;
                "ROLLBACK"
            }
            Command::Commit => {
                self.commit()?;
                "COMMIT"
            }
            Command::Rollback => {
                self.roll_back()?;
                "ROLLBACK"
            }
            Command::Savepoint(name) => {
                self.set_savepoint(name)?;
                "SAVEPOINT"
            }
            Command::Release(name) => {
                self.release(name)?;
                "RELEASE"
            }
            Command::RollbackTo(name) => {
                self.roll_back_to(name)?;
                "ROLLBACK"
            }
            Command::Set { name, value, is_local } => {
                self.set(name, value.as_deref(), *is_local)?;
                if value.is_some() { "SET" } else { "RESET" }
            }
            Command::ResetAll => {
                self.reset()?;
                "RESET"
            }
            Command::Discard => {
                self.statements.clear();
                self.portals.clear();
                self.reset()?;
                "DISCARD ALL"
            }
            Command::Deallocate(Some(name)) => {
                let found = self.statements.remove(name);
                let missing =
                    || Failure::new("26000", format!("prepared statement \"{name}\" does not exist"));
                found.ok_or_else(missing)?;
                "DEALLOCATE"
            }
            Command::Deallocate(None) => {
                self.statements.clear();
                "DEALLOCATE ALL"
            }
            Command::Declare { is_held: false, .. } if self.undo.is_none() => {
                return Err(outside("DECLARE CURSOR").into());
            }
            Command::Declare { name, is_held, .. } => {
                if self.portals.contains_key(name) {
                    return Err(Failure::new("42P03", format!("cursor \"{name}\" already exists")).into());
                }
                let mut cursor = Portal::new(Arc::clone(statement));
                cursor.arguments = arguments;
                cursor.is_cursor = true;
                cursor.life = if *is_held { Life::Held } else { Life::Transaction };
                self.keep(name.clone(), cursor)?;
                "DECLARE CURSOR"
            }
            Command::Close(Some(name)) => {
                self.taken(name)?;
                "CLOSE CURSOR"
            }
            Command::Close(None) => {
                self.portals.retain(|_, portal| !portal.is_cursor);
                "CLOSE CURSOR ALL"
            }
            Command::Nothing(tag) => *tag,
            // They answer with rows.
            Command::Copy(_) => "COPY 0",
            Command::Show(_) => "SHOW",
            Command::Fetch { .. } => "FETCH 0",
        };
        Ok(tag.to_owned())
    }

    /// The value of a setting, or all settings.
    pub(super) fn show(&self, name: &str) -> Result<RecordBatch, Failure> {
        let column = |texts: Vec<&str>| Arc::new(StringArray::from(texts)) as ArrayRef;
        let batch = match name {
            "all" => {
                let (names, values) = Settings::all(&self.settings).unzip();
                RecordBatch::try_from_iter([("name", column(names)), ("setting", column(values))])
            }
            _ => {
                let value = self.settings.get(name);
                let unknown = || format!("unrecognized configuration parameter \"{name}\"");
                let value = value.ok_or_else(|| Failure::new("42704", unknown()))?;
                // A column is named as the setting is.
                let title = if name == "timezone" { "TimeZone" } else { name };
                RecordBatch::try_from_iter([(title, column(vec![value]))])
            }
        };
        batch.map_err(|error| Failure::new("XX000", error.to_string()))
    }
}
