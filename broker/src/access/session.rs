//! Console sessions: what a cookie holds, and for how long it counts.
//!
//! ```text
//! cookie  = base64url(body) "." base64url(HMAC-SHA256(key, "session" body))
//! body    = id (16 random bytes) stamp (16) began_s (u64) seen_s (u64) name (the rest, UTF-8)
//! csrf    = hex(HMAC-SHA256(key, "csrf" id))
//! ```
//!
//! Nothing is kept here for a session that runs: with one key on all brokers of a cluster each of them knows the sessions that
//! another one began, and none is full of them. What is kept are the sessions that ended before their time, in this process: on
//! a cluster a cookie that somebody copied before its owner signed out counts on other brokers until it expires.
//!
//! **Invariants:** a session ends when its user is gone, when their password is another one ([`KnownUser::stamp`]), after
//! [`IDLE_S`] without a request, and after [`LIFE_S`] in any case. The role is always the user's of now.

use std::collections::HashMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::Sha256;

use super::KnownUser;

/// A session that nobody used for so long is over: half a day.
pub(super) const IDLE_S: u64 = 12 * 3600;
/// The longest that a session lasts: a week.
pub(super) const LIFE_S: u64 = 7 * 24 * 3600;
/// A cookie is written anew when it is older than this, not with every request.
const RENEW_S: u64 = 300;
/// Sessions that ended early and are remembered until they would have expired; beyond, those that expire first are forgotten.
const ENDED_MAX: usize = 10_000;
/// Longest cookie that is looked at.
const COOKIE_BYTES_MAX: usize = 1024;

const ID: usize = 16;
const FIXED: usize = ID + 16 + 8 + 8;

/// What sessions are signed with. Not shown by `Debug`.
#[derive(Clone)]
pub struct SessionKey([u8; 32]);

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey")
    }
}

impl SessionKey {
    /// One of this process: its sessions end with it.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The one that all nodes with this secret have.
    pub fn of_secret(secret: &[u8]) -> Self {
        let mut mac = hmac(secret);
        mac.update(b"headwater console sessions");
        Self(mac.finalize().into_bytes().into())
    }

    fn mac(&self, purpose: &[u8], bytes: &[u8]) -> Hmac<Sha256> {
        let mut mac = hmac(&self.0);
        mac.update(purpose);
        mac.update(bytes);
        mac
    }
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// A session as its cookie describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    id: [u8; ID],
    stamp: [u8; 16],
    began_s: u64,
    seen_s: u64,
    /// Name of the user.
    pub(super) user: String,
}

/// Begins, reads and ends sessions.
#[derive(Debug)]
pub struct Sessions {
    key: SessionKey,
    /// Until when each would have counted, in seconds.
    ended: Mutex<HashMap<[u8; ID], u64>>,
}

impl Sessions {
    /// Sessions signed with `key`.
    pub fn new(key: SessionKey) -> Self {
        Self { key, ended: Mutex::default() }
    }

    /// A session that begins now.
    pub(super) fn begin(&self, user: &KnownUser, now_s: u64) -> Session {
        let name = user.principal.name.clone();
        Session { id: rand::random(), stamp: user.stamp, began_s: now_s, seen_s: now_s, user: name }
    }

    /// What the cookie of a session holds.
    pub(super) fn cookie(&self, session: &Session) -> String {
        let body = session.to_bytes();
        let mac = self.key.mac(b"session", &body).finalize().into_bytes();
        format!("{}.{}", URL_SAFE_NO_PAD.encode(body), URL_SAFE_NO_PAD.encode(mac))
    }

    /// The session of a cookie, if it is ours and still counts.
    pub(super) fn read(&self, cookie: &str, now_s: u64) -> Option<Session> {
        let (body, mac) = Some(cookie).filter(|cookie| cookie.len() <= COOKIE_BYTES_MAX)?.split_once('.')?;
        let (body, mac) = (URL_SAFE_NO_PAD.decode(body).ok()?, URL_SAFE_NO_PAD.decode(mac).ok()?);
        // Takes the same time wherever the difference is.
        self.key.mac(b"session", &body).verify_slice(&mac).ok()?;
        let session = Session::from_bytes(&body)?;
        let counts =
            session.seen_s.saturating_add(IDLE_S) > now_s && session.began_s.saturating_add(LIFE_S) > now_s;
        (counts && !self.ended.lock().contains_key(&session.id)).then_some(session)
    }

    /// The session with the time of this request in it, if its cookie is to be written anew.
    pub(super) fn renewed(&self, session: &Session, now_s: u64) -> Option<Session> {
        let due = session.seen_s.saturating_add(RENEW_S) <= now_s;
        due.then(|| Session { seen_s: now_s, ..session.clone() })
    }

    /// Ends a session before its time.
    pub(super) fn end(&self, session: &Session, now_s: u64) {
        let mut ended = self.ended.lock();
        if ended.len() >= ENDED_MAX {
            ended.retain(|_, until| *until > now_s);
        }
        if ended.len() >= ENDED_MAX
            && let Some(first) = ended.iter().min_by_key(|(_, until)| **until).map(|(id, _)| *id)
        {
            ended.remove(&first);
        }
        ended.insert(session.id, session.began_s.saturating_add(LIFE_S));
    }

    /// What a page of ours shows that it is one, for requests that change something: other pages cannot read it.
    pub(super) fn csrf(&self, session: &Session) -> String {
        let mac = self.key.mac(b"csrf", &session.id).finalize().into_bytes();
        mac.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Session {
    /// Whether it began with the password that the user has now.
    pub(super) fn is_of(&self, user: &KnownUser) -> bool {
        self.stamp == user.stamp
    }

    fn to_bytes(&self) -> Vec<u8> {
        let (began, seen) = (self.began_s.to_be_bytes(), self.seen_s.to_be_bytes());
        [&self.id[..], &self.stamp, &began, &seen, self.user.as_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (fixed, name) = bytes.split_at_checked(FIXED)?;
        let number = |at: usize| fixed.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
        Some(Self {
            id: fixed.get(..ID)?.try_into().ok()?,
            stamp: fixed.get(ID..ID + 16)?.try_into().ok()?,
            began_s: number(ID + 16)?,
            seen_s: number(ID + 24)?,
            user: String::from_utf8(name.to_vec()).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Principal, Role};

    fn ada(stamp: u8) -> KnownUser {
        KnownUser { principal: Principal { name: "ada".into(), role: Role::Reader }, stamp: [stamp; 16] }
    }

    #[test]
    fn a_session_counts_until_it_expires_or_ends() {
        let sessions = Sessions::new(SessionKey::random());
        let began = sessions.begin(&ada(1), 1000);
        let cookie = sessions.cookie(&began);
        assert_eq!(sessions.read(&cookie, 1000).unwrap(), began);
        assert!(sessions.read(&cookie, 1000 + IDLE_S - 1).is_some());
        assert!(sessions.read(&cookie, 1000 + IDLE_S).is_none());
        // Used again and again it lasts longer, but not for ever.
        assert!(sessions.renewed(&began, 1000 + RENEW_S - 1).is_none());
        let renewed = sessions.renewed(&began, 1000 + LIFE_S - 10).unwrap();
        let late = sessions.cookie(&renewed);
        assert!(sessions.read(&late, 1000 + LIFE_S - 1).is_some());
        assert!(sessions.read(&late, 1000 + LIFE_S).is_none());
        // Signed out, every cookie of it is worth nothing.
        sessions.end(&began, 2000);
        assert!(sessions.read(&cookie, 2000).is_none() && sessions.read(&late, 2000).is_none());
        assert!(began.is_of(&ada(1)) && !began.is_of(&ada(2)));
    }

    #[test]
    fn who_has_the_secret_knows_the_session_and_nobody_else() {
        let key = || SessionKey::of_secret(b"sixteen bytes or");
        let (one, other) = (Sessions::new(key()), Sessions::new(key()));
        let session = one.begin(&ada(1), 5);
        let cookie = one.cookie(&session);
        assert_eq!(other.read(&cookie, 6), Some(session.clone()));
        assert_eq!(other.csrf(&session), one.csrf(&session));
        assert!(Sessions::new(SessionKey::random()).read(&cookie, 6).is_none());
        assert_ne!(one.csrf(&one.begin(&ada(1), 5)), one.csrf(&session));
        assert_eq!(format!("{:?}", key()), "SessionKey");
    }

    #[test]
    fn no_other_bytes_are_a_session() {
        let sessions = Sessions::new(SessionKey::random());
        let cookie = sessions.cookie(&sessions.begin(&ada(1), 5));
        for at in 0..cookie.len() {
            let mut bytes = cookie.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(bytes).unwrap();
            // The last character of each part carries bits that mean nothing; such a text does not decode.
            assert!(sessions.read(&forged, 6).is_none(), "{at}");
        }
        let csrf = sessions.csrf(&sessions.read(&cookie, 6).unwrap());
        for forged in [
            "",
            ".",
            "a.b",
            "..",
            &cookie[..cookie.len() - 2],
            &format!("{cookie}A"),
            &csrf,
            &"a".repeat(5000),
        ] {
            assert!(sessions.read(forged, 6).is_none(), "{forged}");
        }
    }

    #[test]
    fn the_list_of_ended_sessions_has_a_bound() {
        let sessions = Sessions::new(SessionKey::random());
        for at in 0..ENDED_MAX as u64 + 10 {
            sessions.end(&sessions.begin(&ada(1), at), at);
        }
        assert_eq!(sessions.ended.lock().len(), ENDED_MAX);
    }
}
