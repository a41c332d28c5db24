//! What the end of a transaction changes: settings go back, or stay, and portals are closed unless they are held.
//!
//! There is nothing else to undo, as nothing is written. Several statements of one simple query are a transaction as well, also
//! without BEGIN.

use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::response::TransactionStatus;
use pgwire::messages::startup::ParameterStatus;
use tokio::io::AsyncWrite;

use super::{Fault, Session};
use crate::postgres::errors::Failure;
use crate::postgres::portal::Life;
use crate::postgres::settings::Settings;

/// Savepoints of a transaction.
const SAVEPOINTS_MAX: usize = 100;

/// The settings of a transaction, beside those that hold at the moment.
pub(super) struct Undo {
    /// Those that hold again when it is rolled back.
    before: Settings,
    /// Those that hold when it is committed: without what was set for it alone.
    kept: Settings,
    savepoints: Vec<Savepoint>,
}

struct Savepoint {
    name: String,
    settings: Settings,
    kept: Settings,
}

impl Undo {
    /// The place of the last savepoint of that name.
    fn place_of(&self, name: &str) -> Result<usize, Failure> {
        let found = self.savepoints.iter().rposition(|savepoint| savepoint.name == name);
        found.ok_or_else(|| Failure::new("3B001", format!("savepoint \"{name}\" does not exist")))
    }
}

impl<W: AsyncWrite + Unpin> Session<W> {
    /// From here on the end of the transaction may change settings; within one, nothing happens.
    pub(super) fn begin(&mut self) {
        let settings = &self.settings;
        self.undo.get_or_insert_with(|| Undo {
            before: settings.clone(),
            kept: settings.clone(),
            savepoints: Vec::new(),
        });
    }

    pub(super) fn commit(&mut self) -> Result<(), Fault> {
        let kept = self.undo.take().map(|undo| undo.kept);
        self.leave(kept, true)
    }

    pub(super) fn roll_back(&mut self) -> Result<(), Fault> {
        let before = self.undo.take().map(|undo| undo.before);
        self.leave(before, false)
    }

    fn leave(&mut self, settings: Option<Settings>, is_committed: bool) -> Result<(), Fault> {
        self.transaction = TransactionStatus::Idle;
        self.end_portals(is_committed);
        settings.map_or(Ok(()), |settings| self.adopt(settings))
    }

    /// Closes what lives no longer than the transaction that ends, or fails.
    pub(super) fn end_portals(&mut self, is_committed: bool) {
        for portal in self.portals.values_mut().filter(|portal| is_committed && portal.life == Life::Held) {
            portal.life = Life::Session;
        }
        self.portals.retain(|_, portal| portal.life == Life::Session);
    }

    /// Makes these the settings, and tells the client what changes with them.
    fn adopt(&mut self, settings: Settings) -> Result<(), Fault> {
        for (name, value) in settings.reported_since(&self.settings) {
            let status = ParameterStatus::new(name.to_owned(), value.to_owned());
            self.out.put(&Message::ParameterStatus(status))?;
        }
        self.settings = settings;
        Ok(())
    }

    /// Sets a setting, or sets it back; with `is_local` for the transaction alone.
    pub(super) fn set(&mut self, name: &str, value: Option<&str>, is_local: bool) -> Result<(), Fault> {
        match &mut self.undo {
            None if is_local => {
                self.settings.clone().set(name, value)?;
                let notice = Failure::new("25P01", "SET LOCAL can only be used in transaction blocks");
                self.out.put(&Message::NoticeResponse(notice.info("WARNING").into()))?;
                return Ok(());
            }
            Some(undo) if !is_local => drop(undo.kept.set(name, value)?),
            _ => {}
        }
        if let Some((name, value)) = self.settings.set(name, value)? {
            let status = ParameterStatus::new(name.to_owned(), value);
            self.out.put(&Message::ParameterStatus(status))?;
        }
        Ok(())
    }

    /// Sets all settings back.
    pub(super) fn reset(&mut self) -> Result<(), Fault> {
        let mut settings = self.settings.clone();
        settings.reset();
        if let Some(undo) = &mut self.undo {
            undo.kept.reset();
        }
        self.adopt(settings)
    }

    pub(super) fn set_savepoint(&mut self, name: &str) -> Result<(), Fault> {
        let settings = self.settings.clone();
        let undo = self.block("SAVEPOINT")?;
        if undo.savepoints.len() >= SAVEPOINTS_MAX {
            return Err(Failure::new("54000", "too many savepoints").into());
        }
        undo.savepoints.push(Savepoint { name: name.to_owned(), settings, kept: undo.kept.clone() });
        Ok(())
    }

    pub(super) fn release(&mut self, name: &str) -> Result<(), Fault> {
        let undo = self.block("RELEASE SAVEPOINT")?;
        let place = undo.place_of(name)?;
        undo.savepoints.truncate(place);
        Ok(())
    }

    pub(super) fn roll_back_to(&mut self, name: &str) -> Result<(), Fault> {
        let undo = self.block("ROLLBACK TO SAVEPOINT")?;
        let place = undo.place_of(name)?;
        undo.savepoints.truncate(place + 1);
        undo.kept = undo.savepoints[place].kept.clone();
        let settings = undo.savepoints[place].settings.clone();
        self.transaction = TransactionStatus::Transaction;
        self.adopt(settings)
    }

    /// The transaction that began with BEGIN.
    fn block(&mut self, what: &str) -> Result<&mut Undo, Failure> {
        match &mut self.undo {
            Some(undo) if self.transaction != TransactionStatus::Idle => Ok(undo),
            _ => Err(outside(what)),
        }
    }
}

/// The refusal of what needs a transaction.
pub(super) fn outside(what: &str) -> Failure {
    Failure::new("25P01", format!("{what} can only be used in transaction blocks"))
}
