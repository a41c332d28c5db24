//! Who may cancel what: a client that wants a query cancelled opens a second connection and shows the numbers that the first
//! one was given.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

/// The sessions, by their number.
#[derive(Default)]
pub(super) struct Cancels {
    last: AtomicU32,
    sessions: Mutex<HashMap<u32, (u32, Current)>>,
}

type Current = Arc<Mutex<CancellationToken>>;

/// A session that can be cancelled, until it is dropped.
pub(super) struct Cancellable {
    cancels: Arc<Cancels>,
    pub(super) process: u32,
    pub(super) secret: u32,
    current: Current,
}

impl Cancels {
    pub(super) fn register(self: &Arc<Self>) -> Cancellable {
        let current = Current::default();
        // Random bits of a ULID come from the system's generator.
        let secret = Ulid::new().random() as u32;
        let mut sessions = self.sessions.lock();
        let mut process = 0;
        while process == 0 || process > i32::MAX as u32 || sessions.contains_key(&process) {
            process = self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        }
        sessions.insert(process, (secret, Arc::clone(&current)));
        drop(sessions);
        Cancellable { cancels: Arc::clone(self), process, secret, current }
    }

    /// Cancels what the session does at the moment, if the secret is its own.
    pub(super) fn cancel(&self, process: u32, secret: &[u8]) {
        let sessions = self.sessions.lock();
        let found = sessions.get(&process).filter(|(known, _)| known.to_be_bytes() == secret);
        if let Some((_, current)) = found {
            current.lock().cancel();
        }
    }
}

impl Cancellable {
    /// What cancels the work that begins now. A cancel that came before does not count.
    pub(super) fn begin(&self) -> CancellationToken {
        let token = CancellationToken::new();
        *self.current.lock() = token.clone();
        token
    }
}

impl Drop for Cancellable {
    fn drop(&mut self) {
        self.cancels.sessions.lock().remove(&self.process);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_secret_cancels_only_the_present_work() {
        let cancels = Arc::new(Cancels::default());
        let (one, other) = (cancels.register(), cancels.register());
        let (first, beside) = (one.begin(), other.begin());
        cancels.cancel(one.process, &one.secret.wrapping_add(1).to_be_bytes());
        cancels.cancel(one.process, b"");
        assert!(!first.is_cancelled());
        cancels.cancel(one.process, &one.secret.to_be_bytes());
        assert!(first.is_cancelled() && !beside.is_cancelled() && !one.begin().is_cancelled());
        let process = one.process;
        drop(one);
        assert!(!cancels.sessions.lock().contains_key(&process));
    }
}
