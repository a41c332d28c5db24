//! The sessions that there are, what they do, and who may cancel it: a client that wants a query cancelled opens a second
//! connection and shows the numbers that the first one was given, or calls `pg_cancel_backend` as the same user or as an
//! administrator.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use headwater_segment::clock::now_ms;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

/// So much of a statement's text is shown, as PostgreSQL's `track_activity_query_size` has it.
const QUERY_BYTES_MAX: usize = 1023;

/// The sessions, by their number.
#[derive(Default)]
pub(super) struct Cancels {
    last: AtomicU32,
    sessions: Mutex<HashMap<u32, Arc<Seat>>>,
}

/// What is known of a session.
struct Seat {
    secret: u32,
    user: String,
    from: IpAddr,
    began_ms: i64,
    /// Ends the work of the moment.
    current: Mutex<CancellationToken>,
    /// Ends the session, before it looks at anything more that its client has sent.
    end: CancellationToken,
    activity: Mutex<Activity>,
}

/// What a session does, or did last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Activity {
    /// As PostgreSQL names it.
    pub(super) state: &'static str,
    pub(super) state_since_ms: i64,
    pub(super) query: String,
    /// When the query began; `None`: there was none yet.
    pub(super) query_began_ms: Option<i64>,
    pub(super) application_name: String,
}

/// A session, for whoever lists them.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) process: u32,
    pub(super) user: String,
    pub(super) from: IpAddr,
    pub(super) began_ms: i64,
    pub(super) activity: Activity,
}

/// Who wants to see or end what sessions do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    pub(super) user: String,
    pub(super) is_administrator: bool,
    /// The number of their own session.
    pub(super) process: u32,
}

impl Asker {
    /// Whether the affairs of a user are theirs as well.
    pub(super) fn may_see(&self, user: &str) -> bool {
        self.is_administrator || self.user == user
    }
}

/// What became of a wish to end something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Done,
    /// There is no such session.
    Unknown,
    /// It is another user's.
    Denied,
}

/// A session that can be cancelled, until it is dropped.
pub(super) struct Cancellable {
    cancels: Arc<Cancels>,
    pub(super) process: u32,
    pub(super) secret: u32,
    seat: Arc<Seat>,
}

impl Cancels {
    /// A new session of `user`.
    pub(super) fn register(
        self: &Arc<Self>,
        user: &str,
        from: IpAddr,
        application_name: String,
    ) -> Cancellable {
        // Random bits of a ULID come from the system's generator.
        let secret = Ulid::new().random() as u32;
        let began_ms = now_ms();
        let activity =
            Activity { state: "idle", state_since_ms: began_ms, application_name, ..Activity::default() };
        let seat = Arc::new(Seat {
            secret,
            user: user.to_owned(),
            from,
            began_ms,
            current: Mutex::default(),
            end: CancellationToken::new(),
            activity: Mutex::new(activity),
        });
        let mut sessions = self.sessions.lock();
        let mut process = 0;
        while process == 0 || process > i32::MAX as u32 || sessions.contains_key(&process) {
            process = self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        }
        sessions.insert(process, Arc::clone(&seat));
        drop(sessions);
        Cancellable { cancels: Arc::clone(self), process, secret, seat }
    }

    /// Cancels what the session does at the moment, if the secret is its own.
    pub(super) fn cancel(&self, process: u32, secret: &[u8]) {
        let found = self.seat(process).filter(|seat| seat.secret.to_be_bytes() == secret);
        if let Some(seat) = found {
            seat.current.lock().cancel();
        }
    }

    /// Ends what the session does at the moment, and with `is_whole` the session, if whoever asks may do that.
    pub(super) fn end(&self, process: u32, asker: &Asker, is_whole: bool) -> Ended {
        match self.seat(process) {
            None => Ended::Unknown,
            Some(seat) if !asker.may_see(&seat.user) => Ended::Denied,
            Some(seat) => {
                if is_whole {
                    seat.end.cancel();
                }
                seat.current.lock().cancel();
                Ended::Done
            }
        }
    }

    /// The sessions in the order of their numbers.
    pub(super) fn list(&self) -> Vec<Listed> {
        let sessions = self.sessions.lock();
        let listed = |(process, seat): (&u32, &Arc<Seat>)| Listed {
            process: *process,
            user: seat.user.clone(),
            from: seat.from,
            began_ms: seat.began_ms,
            activity: seat.activity.lock().clone(),
        };
        let mut all: Vec<Listed> = sessions.iter().map(listed).collect();
        drop(sessions);
        all.sort_by_key(|session| session.process);
        all
    }

    fn seat(&self, process: u32) -> Option<Arc<Seat>> {
        self.sessions.lock().get(&process).map(Arc::clone)
    }
}

impl Cancellable {
    /// What cancels the work that begins now. A cancel that came before does not count, but nothing more begins in a session that
    /// was ended.
    pub(super) fn begin(&self) -> CancellationToken {
        let token = self.seat.end.child_token();
        *self.seat.current.lock() = token.clone();
        token
    }

    /// What ends the session.
    pub(super) fn ending(&self) -> CancellationToken {
        self.seat.end.clone()
    }

    /// Tells the others that a statement begins.
    pub(super) fn runs(&self, sql: &str, application_name: String) {
        let now_ms = now_ms();
        *self.seat.activity.lock() = Activity {
            state: "active",
            state_since_ms: now_ms,
            query: sql[..sql.floor_char_boundary(QUERY_BYTES_MAX)].to_owned(),
            query_began_ms: Some(now_ms),
            application_name,
        };
    }

    /// Tells the others that the session waits for its client.
    pub(super) fn rests(&self, state: &'static str, application_name: String) {
        let mut activity = self.seat.activity.lock();
        activity.state = state;
        activity.state_since_ms = now_ms();
        activity.application_name = application_name;
    }
}

impl Drop for Cancellable {
    fn drop(&mut self) {
        self.cancels.sessions.lock().remove(&self.process);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn session(cancels: &Arc<Cancels>, user: &str) -> Cancellable {
        cancels.register(user, Ipv4Addr::LOCALHOST.into(), String::new())
    }

    #[test]
    fn only_the_right_secret_cancels_only_the_present_work() {
        let cancels = Arc::new(Cancels::default());
        let (one, other) = (session(&cancels, "alice"), session(&cancels, "alice"));
        let (first, beside) = (one.begin(), other.begin());
        cancels.cancel(one.process, &one.secret.wrapping_add(1).to_be_bytes());
        cancels.cancel(one.process, b"");
        assert!(!first.is_cancelled());
        cancels.cancel(one.process, &one.secret.to_be_bytes());
        assert!(first.is_cancelled() && !beside.is_cancelled() && !one.begin().is_cancelled());
        let process = one.process;
        drop(one);
        assert!(cancels.seat(process).is_none());
    }

    #[test]
    fn the_same_user_and_administrators_end_what_a_session_does() {
        let cancels = Arc::new(Cancels::default());
        let seat = session(&cancels, "alice");
        let asker =
            |user: &str, is_administrator| Asker { user: user.to_owned(), is_administrator, process: 0 };
        let work = seat.begin();
        assert_eq!(cancels.end(seat.process, &asker("bob", false), true), Ended::Denied);
        assert_eq!(cancels.end(seat.process + 1, &asker("bob", true), true), Ended::Unknown);
        assert!(!work.is_cancelled());
        assert_eq!(cancels.end(seat.process, &asker("alice", false), false), Ended::Done);
        assert!(work.is_cancelled() && !seat.ending().is_cancelled());
        let work = seat.begin();
        assert_eq!(cancels.end(seat.process, &asker("bob", true), true), Ended::Done);
        assert!(work.is_cancelled() && seat.ending().is_cancelled());
        // Nor does the next statement of the same message run.
        assert!(seat.begin().is_cancelled());
    }

    #[test]
    fn a_session_is_listed_with_the_begin_of_its_statement() {
        let cancels = Arc::new(Cancels::default());
        let seat = session(&cancels, "alice");
        let activity = || cancels.list().remove(0).activity;
        assert_eq!((activity().state, activity().query_began_ms), ("idle", None));
        seat.runs(&"é".repeat(QUERY_BYTES_MAX), "psql".into());
        assert_eq!((activity().state, activity().query.len()), ("active", QUERY_BYTES_MAX - 1));
        seat.rests("idle", "psql".into());
        assert_eq!((activity().state, activity().query.len()), ("idle", QUERY_BYTES_MAX - 1));
    }
}
