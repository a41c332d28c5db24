//! Users and tokens as the configuration names them, checked as a whole.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use headwater_broker::access::{Admitted, Grant, KnownUser, Principal, Role};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::NAME_BYTES_MAX;
use super::password::PasswordHash;
use crate::config::{TokenConfig, UserConfig};

/// Users, and tokens, at most: a token is compared with each of them.
const ENTRIES_MAX: usize = 10_000;

/// Who there is.
#[derive(Debug)]
pub struct Directory {
    users: HashMap<String, User>,
    tokens: Vec<Token>,
    /// What the password of an unknown user is compared with: as costly as that of a known one, and equal to none.
    nobody: PasswordHash,
}

#[derive(Debug)]
struct User {
    role: Role,
    hash: PasswordHash,
    stamp: [u8; 16],
}

struct Token {
    name: String,
    role: Role,
    digest: [u8; 32],
    expires: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({})", self.name)
    }
}

impl Directory {
    /// Checks everything. A fault names the entry, and no secret.
    pub fn new(users: &[UserConfig], tokens: &[TokenConfig]) -> Result<Self, String> {
        if users.len().max(tokens.len()) > ENTRIES_MAX {
            return Err(format!("at most {ENTRIES_MAX} users and {ENTRIES_MAX} tokens can be named"));
        }
        let mut names = HashSet::new();
        let all = users.iter().map(|user| &user.name).chain(tokens.iter().map(|token| &token.name));
        for name in all {
            check_name(name)?;
            if !names.insert(name) {
                return Err(format!("{name:?} is named twice; users and tokens have different names"));
            }
        }
        let users = users.iter().map(|user| Ok((user.name.clone(), User::read(user)?)));
        let users: HashMap<_, _> = users.collect::<Result<_, String>>()?;
        let tokens = tokens.iter().map(Token::read).collect::<Result<Vec<_>, String>>()?;
        let mut digests = HashSet::new();
        if let Some(token) = tokens.iter().find(|token| !digests.insert(token.digest)) {
            return Err(format!("token {:?} has the same hash as another one; make a new one", token.name));
        }
        let nobody = PasswordHash::of_nobody(users.values().map(|user| &user.hash));
        Ok(Self { users, tokens, nobody })
    }

    /// What the password of `user` is compared with, whoever that is.
    pub(super) fn hash_of(&self, user: &str) -> PasswordHash {
        self.users.get(user).map_or(&self.nobody, |user| &user.hash).clone()
    }

    /// The user of that name.
    pub(super) fn principal(&self, name: &str) -> Option<Principal> {
        self.users.get(name).map(|user| Principal { name: name.to_owned(), role: user.role })
    }

    pub(super) fn known(&self, name: &str) -> Option<KnownUser> {
        let stamp = self.users.get(name)?.stamp;
        self.principal(name).map(|principal| KnownUser { principal, stamp })
    }

    /// Whose token it is, if it is good at `now`. Looks at all of them, whichever it is.
    pub(super) fn token(&self, token: &str, now: DateTime<Utc>) -> Option<Admitted> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = None;
        for candidate in &self.tokens {
            if bool::from(candidate.digest.ct_eq(&digest)) {
                found = Some(candidate);
            }
        }
        let found = found?;
        if found.has_expired(now) {
            tracing::warn!(token = found.name, "a token that has expired");
            return None;
        }
        let principal = Principal { name: found.name.clone(), role: found.role };
        Some(Admitted { principal, grant: Grant::Token { digest } })
    }

    /// When the first token ends, or has ended, that does.
    pub(super) fn soonest_expiry(&self) -> Option<DateTime<Utc>> {
        self.tokens.iter().filter_map(|token| token.expires).min()
    }

    /// Whether what let somebody in would let them in at `now`, with the same name and role.
    pub(super) fn stands(&self, admitted: &Admitted, now: DateTime<Utc>) -> bool {
        let Admitted { principal, grant } = admitted;
        match grant {
            // Of a server that asked nobody; this one does.
            Grant::Open => false,
            Grant::User { stamp } => {
                let user = self.users.get(&principal.name);
                user.is_some_and(|user| user.stamp == *stamp && user.role == principal.role)
            }
            // Nobody guesses here: the digest is of a token that was shown.
            Grant::Token { digest } => {
                let token = self.tokens.iter().find(|token| token.digest == *digest);
                let is_same = |token: &Token| token.name == principal.name && token.role == principal.role;
                token.is_some_and(|token| is_same(token) && !token.has_expired(now))
            }
        }
    }
}

impl User {
    fn read(user: &UserConfig) -> Result<Self, String> {
        let hash = PasswordHash::read(user.password_hash.reveal())
            .map_err(|reason| format!("user {:?}: password_hash: {reason}", user.name))?;
        let mut stamp = Sha256::new();
        stamp.update(b"headwater user");
        stamp.update(user.password_hash.reveal());
        let mut first = [0; 16];
        first.copy_from_slice(&stamp.finalize()[..16]);
        Ok(Self { role: user.role.into(), hash, stamp: first })
    }
}

impl Token {
    fn has_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    fn read(token: &TokenConfig) -> Result<Self, String> {
        let fault = |field: &str, reason: &str| format!("token {:?}: {field}: {reason}", token.name);
        let digest = from_hex(token.hash.reveal()).ok_or_else(|| {
            fault("hash", "must be 64 hexadecimal digits, as `headwater access new-token` prints them")
        })?;
        let expires = match token.expires.as_str() {
            "" => None,
            text => Some(instant(text).ok_or_else(|| {
                fault("expires", "must be written 2027-01-31 or 2027-01-31T00:00:00Z, or be left out")
            })?),
        };
        Ok(Self { name: token.name.clone(), role: token.role.into(), digest, expires })
    }
}

/// Names are shown in logs and sent in Basic authentication, where a colon ends them.
fn check_name(name: &str) -> Result<(), String> {
    let good = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.contains(':')
        && !name.contains(char::is_control);
    match good {
        true => Ok(()),
        false => Err(format!(
            "name {name:?}: must have 1 to {NAME_BYTES_MAX} bytes, no colon and no control character"
        )),
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn instant(text: &str) -> Option<DateTime<Utc>> {
    let day = || Some(text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc());
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc()).or_else(day)
}
