//! Users and API tokens from the configuration: who is let in, and how that is found out. `access/README.md` is the table of
//! attacks on the doors, with what answers each and the test that proves it.
//!
//! - `directory`: users and tokens as they were read, checked once.
//! - `password`: argon2, off the async threads, few at a time, remembered for minutes.
//! - `attempts`: who was wrong too often waits.
//!
//! **Invariants:** no password, token or hash is in a log line, an error or a debug form; an unknown user costs the time of a
//! known one; comparisons take the same time wherever the difference is.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use headwater_broker::access::{
    AccessControl, AccessError, Admitted, Credentials, Grant, KnownUser, OpenAccess, Principal, TOKEN_PREFIX,
};
use serde::Deserialize;
use tokio::task::JoinHandle;

use self::attempts::{Attempts, network_of};
pub use self::directory::Directory;
use self::password::Passwords;
use crate::config::{AccessConfig, TokenConfig, UserConfig, read_toml};
use crate::reload;

mod attempts;
mod directory;
mod password;
mod token;

pub use password::hash_password;
pub use token::{NewToken, expiry, new_token};

/// Longer names and passwords are wrong without being looked at.
const NAME_BYTES_MAX: usize = 128;
const PASSWORD_BYTES_MAX: usize = 1024;

/// Why there can be no access control.
#[derive(Debug, thiserror::Error)]
#[error("access: {0}")]
pub struct AccessSetupError(String);

/// What `access.file` holds.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AccessFile {
    users: Vec<UserConfig>,
    tokens: Vec<TokenConfig>,
}

/// Lets in whom the configuration names.
pub(crate) struct ConfiguredAccess {
    directory: ArcSwap<Directory>,
    passwords: Passwords,
    attempts: Attempts,
}

/// An access control, and what follows its file until it is aborted.
type Started = (Arc<dyn AccessControl>, Option<JoinHandle<()>>);

/// The access control of `config`.
pub(crate) fn start(config: &AccessConfig) -> Result<Started, AccessSetupError> {
    if config.is_open() {
        return Ok((Arc::new(OpenAccess), None));
    }
    if config.file.as_os_str().is_empty() {
        let directory = Directory::new(&config.users, &config.tokens).map_err(AccessSetupError)?;
        return Ok((Arc::new(ConfiguredAccess::new(directory)), None));
    }
    let text = reload::read(&config.file).map_err(AccessSetupError)?;
    let directory = with_file(config, &text).map_err(AccessSetupError)?;
    let access = Arc::new(ConfiguredAccess::new(directory));
    let following = {
        let (access, config) = (Arc::clone(&access), config.clone());
        reload::follow(vec![config.file.clone()], vec![text], move |texts| {
            let text = texts.first().map_or(&[][..], Vec::as_slice);
            let directory = with_file(&config, text)?;
            note_expiry(&directory);
            access.directory.store(Arc::new(directory));
            Ok(())
        })
    };
    Ok((access, Some(following)))
}

/// The users and tokens of the configuration and of its file.
fn with_file(config: &AccessConfig, text: &[u8]) -> Result<Directory, String> {
    let named = |path: &Path, reason: String| format!("{}: {reason}", path.display());
    let text = std::str::from_utf8(text).map_err(|_| named(&config.file, "is not UTF-8".into()))?;
    let file: AccessFile = read_toml(text)
        .map_err(|reason| named(&config.file, format!("{reason}; it holds [[users]] and [[tokens]]")))?;
    let users = [&config.users[..], &file.users].concat();
    let tokens = [&config.tokens[..], &file.tokens].concat();
    Directory::new(&users, &tokens).map_err(|reason| named(&config.file, reason))
}

/// Tells operators until when all tokens are good; which one is not, the log says when it is shown.
fn note_expiry(directory: &Directory) {
    let soonest = directory.soonest_expiry().map_or(0, |expiry| expiry.timestamp());
    metrics::gauge!("headwater_token_expiry_time_seconds").set(soonest as f64);
}

impl ConfiguredAccess {
    fn new(directory: Directory) -> Self {
        note_expiry(&directory);
        Self {
            directory: ArcSwap::from_pointee(directory),
            passwords: Passwords::default(),
            attempts: Attempts::default(),
        }
    }

    async fn password(
        &self,
        user: &str,
        password: String,
        from: Option<IpAddr>,
    ) -> Result<Admitted, AccessError> {
        if user.len() > NAME_BYTES_MAX || password.len() > PASSWORD_BYTES_MAX {
            return Err(AccessError::Wrong);
        }
        let directory = self.directory.load_full();
        let (hash, network) = (directory.hash_of(user), network_of(from));
        let begin = || self.attempts.begin(user, network);
        let right = self.passwords.is_right(user, password, hash, network, begin).await?;
        match directory.known(user).filter(|_| right) {
            Some(KnownUser { principal, stamp }) => {
                self.attempts.was_right(user, network);
                Ok(Admitted { principal, grant: Grant::User { stamp } })
            }
            None => {
                // A name that nobody has may be a password in the wrong field.
                let known = directory.principal(user).map_or("unknown", |_| user);
                tracing::warn!(user = known, address = ?from, "a wrong password");
                Err(AccessError::Wrong)
            }
        }
    }
}

#[async_trait]
impl AccessControl for ConfiguredAccess {
    fn is_open(&self) -> bool {
        false
    }

    async fn authenticate(&self, credentials: Credentials) -> Result<Principal, AccessError> {
        self.authenticate_from(credentials, None).await
    }

    async fn authenticate_from(
        &self,
        credentials: Credentials,
        from: Option<IpAddr>,
    ) -> Result<Principal, AccessError> {
        Ok(self.admit(credentials, from).await?.principal)
    }

    async fn admit(&self, credentials: Credentials, from: Option<IpAddr>) -> Result<Admitted, AccessError> {
        match credentials {
            Credentials::None => Err(AccessError::Missing),
            Credentials::Password { user, password } => self.password(&user, password, from).await,
            Credentials::Token(token) => {
                self.directory.load().token(&token, chrono::Utc::now()).ok_or(AccessError::Wrong)
            }
        }
    }

    fn stands(&self, admitted: &Admitted) -> bool {
        self.directory.load().stands(admitted, chrono::Utc::now())
    }

    fn user(&self, name: &str) -> Option<KnownUser> {
        self.directory.load().known(name)
    }
}

#[cfg(test)]
mod tests;
