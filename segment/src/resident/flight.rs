//! One load per column, however many ask for it.
//!
//! **Invariant:** a flight is in the table from [`Flights::join`] until it is dropped, landed or not, and it lands only after
//! its column can be found in the store: whoever finds neither is the one to load it. A flight that is dropped without
//! landing tells those who wait; nobody waits for ever.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::store::Key;
use crate::column::Column;
use crate::{Result, SegmentError};

type Outcome = Option<Result<Arc<Column>, Arc<SegmentError>>>;

/// Loads that are under way.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Key, watch::Receiver<Outcome>>>);

/// What somebody who wants a column has to do.
pub(super) enum Join {
    /// Nothing: it is there.
    Held(Arc<Column>),
    /// To wait for somebody else's load.
    Wait(Waiting),
    /// To load it, and to wait like everybody.
    Load(Flight, Waiting),
}

impl Flights {
    /// Joins the load of a column that was not `held` a moment ago.
    pub(super) fn join(self: &Arc<Self>, key: Key, held: impl FnOnce() -> Option<Arc<Column>>) -> Join {
        let mut flights = self.0.lock();
        if let Some(flight) = flights.get(&key) {
            return Join::Wait(Waiting(flight.clone()));
        }
        // Under the lock, because a load may have landed since it was looked for.
        if let Some(column) = held() {
            return Join::Held(column);
        }
        let (outcome, waiting) = watch::channel(None);
        flights.insert(key, waiting.clone());
        Join::Load(Flight { flights: Arc::clone(self), key, outcome }, Waiting(waiting))
    }
}

/// The obligation to load a column.
pub(super) struct Flight {
    flights: Arc<Flights>,
    key: Key,
    outcome: watch::Sender<Outcome>,
}

impl Flight {
    /// Gives everybody the column, which must be in the store by now if it is to be kept, or the error.
    pub(super) fn land(self, result: Result<Arc<Column>, Arc<SegmentError>>) {
        self.outcome.send_replace(Some(result));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.0.lock().remove(&self.key);
    }
}

/// A place in the queue for a column.
pub(super) struct Waiting(watch::Receiver<Outcome>);

impl Waiting {
    /// The column, once its flight has landed.
    pub(super) async fn column(mut self) -> Result<Arc<Column>> {
        let interrupted = || SegmentError::Refused("the load of a column was interrupted; ask again".into());
        let outcome = self.0.wait_for(Option::is_some).await.map_err(|_| interrupted())?;
        match outcome.as_ref() {
            Some(Ok(column)) => Ok(Arc::clone(column)),
            Some(Err(error)) => Err(copy_of(error)),
            None => Err(interrupted()),
        }
    }
}

/// An error for each of those who wait: the same kind, the same message.
fn copy_of(error: &SegmentError) -> SegmentError {
    match error {
        SegmentError::Corrupt(what) => SegmentError::Corrupt(what.clone()),
        SegmentError::Store { context, source } => {
            let store = "resident load";
            let source = match source {
                object_store::Error::NotFound { path, source } => {
                    object_store::Error::NotFound { path: path.clone(), source: source.to_string().into() }
                }
                other => object_store::Error::Generic { store, source: other.to_string().into() },
            };
            SegmentError::Store { context: context.clone(), source }
        }
        other => SegmentError::Refused(other.to_string()),
    }
}
