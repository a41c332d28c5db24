//! `[access]` and `[tls]`: who is let in, what clients see of this server's identity, and when a listener may be public.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use headwater_broker::access::Role;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Config, ConfigError};
use crate::access::Directory;

/// What `access.anonymous` must say, word by word.
pub const ANYBODY: &str = "may read and change everything";

/// Who is let in. Without users, tokens and a file everybody is, as an administrator.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessConfig {
    /// People, and what asks in their name.
    pub users: Vec<UserConfig>,
    /// API tokens, for programs.
    pub tokens: Vec<TokenConfig>,
    /// A TOML file with more `[[users]]` and `[[tokens]]`, such as a mounted secret. Read again when it changes. Empty: none.
    pub file: PathBuf,
    /// "may read and change everything": a listener that other machines can reach asks nobody who they are.
    pub anonymous: String,
}

/// A user.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// Name.
    pub name: String,
    /// What `headwater access hash-password` prints: argon2id, in PHC format.
    pub password_hash: Hidden,
    /// What they may do.
    pub role: AccessRole,
}

/// An API token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// Name, for logs.
    pub name: String,
    /// SHA-256 of the token in hexadecimal digits, as `headwater access new-token` prints it.
    pub hash: Hidden,
    /// What it is good for.
    pub role: AccessRole,
    /// When it ends: RFC 3339 (`2027-01-31T00:00:00Z`) or a day (`2027-01-31`, at its beginning in UTC). Empty: never.
    #[serde(default)]
    pub expires: String,
}

/// A role as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessRole {
    /// Asks questions and reads what there is.
    Reader,
    /// Also changes tables and dashboards, and ends the queries of others.
    Administrator,
}

impl From<AccessRole> for Role {
    fn from(role: AccessRole) -> Self {
        match role {
            AccessRole::Reader => Self::Reader,
            AccessRole::Administrator => Self::Administrator,
        }
    }
}

/// Text that is read and never shown: `headwater config` prints stars for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Hidden {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str("***")
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self)
    }
}

/// The identity that all listeners for clients show. Both set, or none: then they speak without TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// PEM file: the certificate, then those between it and the root. Read again when it changes.
    pub cert: PathBuf,
    /// PEM file: its private key. Read again when it changes.
    pub key: PathBuf,
}

impl TlsConfig {
    /// Whether clients are spoken to over TLS.
    pub fn is_set(&self) -> bool {
        !self.cert.as_os_str().is_empty()
    }
}

impl AccessConfig {
    /// Whether nobody has to say who they are.
    pub fn is_open(&self) -> bool {
        self.users.is_empty() && self.tokens.is_empty() && self.file.as_os_str().is_empty()
    }
}

pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let (access, tls) = (&config.access, &config.tls);
    if tls.cert.as_os_str().is_empty() != tls.key.as_os_str().is_empty() {
        return Err(ConfigError::new(
            "tls",
            "set both tls.cert and tls.key, the paths of two PEM files, or none",
        ));
    }
    if !access.anonymous.is_empty() && access.anonymous != ANYBODY {
        return Err(ConfigError::new(
            "access.anonymous",
            format!("must be empty, or say {ANYBODY:?} word by word"),
        ));
    }
    if !access.anonymous.is_empty() && !access.is_open() {
        let reason = "says that everybody is let in, but there are users, tokens or access.file; take one of the two away";
        return Err(ConfigError::new("access.anonymous", reason));
    }
    Directory::new(&access.users, &access.tokens).map_err(|reason| ConfigError::new("access", reason))?;
    check_public("http.listen", config.http.listen, config, Some(config.http.plaintext_public))
}

/// Whether clients may be listened to on `listen`, as every listener for clients must ask: beyond loopback somebody must be
/// asked who they are, and what they answer must not be read on the way. `plaintext`: whether a proxy before it ends TLS; `None`
/// where that cannot be, and there is no such setting.
pub(super) fn check_public(
    setting: &str,
    listen: SocketAddr,
    config: &Config,
    plaintext: Option<bool>,
) -> Result<(), ConfigError> {
    let access = &config.access;
    if listen.ip().is_loopback() || !access.anonymous.is_empty() {
        return Ok(());
    }
    if access.is_open() {
        let reason = format!(
            "{listen} can be reached from other machines, and nobody is asked who they are; name users or tokens (access.users, \
             access.tokens or access.file; `headwater access --help`), listen on 127.0.0.1, or say \
             access.anonymous = {ANYBODY:?} if that is what everybody on the network may"
        );
        return Err(ConfigError::new(setting, reason));
    }
    if !config.tls.is_set() && plaintext != Some(true) {
        let section = setting.split('.').next().unwrap_or_default();
        let ways = match plaintext {
            Some(_) => format!(
                ", listen on 127.0.0.1, or say {section}.plaintext_public = true if a proxy before it ends TLS"
            ),
            None => ", or listen on 127.0.0.1".to_owned(),
        };
        let reason = format!(
            "{listen} can be reached from other machines, and passwords and tokens would cross the network in clear; set \
             tls.cert and tls.key{ways}"
        );
        return Err(ConfigError::new(setting, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str =
        "$argon2id$v=19$m=7168,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";

    fn load(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("headwater.toml");
        std::fs::write(&file, text).unwrap();
        Config::load(Some(&file), std::iter::empty(), &[]).map_err(|error| error.to_string())
    }

    fn user() -> String {
        format!("[[access.users]]\nname = \"ada\"\npassword_hash = \"{HASH}\"\nrole = \"administrator\"\n")
    }

    #[test]
    fn what_is_secret_is_not_printed() {
        let hash = "ab".repeat(32);
        let token = format!(
            "[[access.tokens]]\nname = \"grafana\"\nhash = \"{hash}\"\nrole = \"reader\"\nexpires = \"2999-01-31\"\n"
        );
        let config = load(&format!("{}{token}", user())).unwrap();
        assert!(!config.access.is_open());
        assert_eq!(config.access.users[0].password_hash.reveal(), HASH);
        for shown in [config.to_toml(), format!("{config:?}")] {
            assert!(shown.contains("grafana") && !shown.contains(HASH) && !shown.contains(&hash), "{shown}");
        }
    }

    #[test]
    fn a_public_listener_needs_somebody_to_ask_and_tls() {
        let public = "[http]\nlisten = \"0.0.0.0:80\"\n";
        let refused = |text: &str| load(text).map(|_| ()).unwrap_err();
        let error = refused(public);
        assert!(error.contains("http.listen") && error.contains("access.anonymous"), "{error}");
        let error = refused(&format!("{public}{}", user()));
        assert!(error.contains("http.listen") && error.contains("http.plaintext_public"), "{error}");
        let file = "[access]\nfile = \"/run/secrets/access.toml\"\n";
        assert!(refused(&format!("{public}{file}")).contains("in clear"));
        load(&format!("{public}{file}[tls]\ncert = \"a\"\nkey = \"b\"\n")).unwrap();
        load(&format!("{public}plaintext_public = true\n{}", user())).unwrap();
        load(&format!("{public}[access]\nanonymous = \"{ANYBODY}\"\n")).unwrap();
        assert!(refused(&format!("{public}plaintext_public = true\n")).contains("nobody is asked"));
        for loopback in ["127.0.0.1:1", "[::1]:1"] {
            load(&format!("[http]\nlisten = \"{loopback}\"\n{}", user())).unwrap();
        }
    }

    #[test]
    fn what_is_refused() {
        let token = |hash: &str, expires: &str| {
            format!(
                "[[access.tokens]]\nname = \"t\"\nhash = \"{hash}\"\nrole = \"reader\"\nexpires = \"{expires}\"\n"
            )
        };
        let good = "0".repeat(64);
        let cases = [
            ("[tls]\ncert = \"a\"\n".to_string(), "tls.key"),
            ("[access]\nanonymous = \"yes\"\n".into(), "word by word"),
            (format!("[access]\nanonymous = \"{ANYBODY}\"\n{}", user()), "take one of the two away"),
            (format!("{}{}", user(), user()), "ada"),
            (user().replace("ada", ""), "name"),
            (user().replace("ada", "a:b"), "a:b"),
            (user().replace("administrator", "king"), "king"),
            (user().replace("argon2id", "argon2i"), "argon2id"),
            (user().replace("m=7168", "m=64"), "memory"),
            (user().replace("m=7168", "m=4000000"), "memory"),
            (user().replace(HASH, "secret"), "hash-password"),
            (token("00", ""), "64"),
            (token(&"x".repeat(64), ""), "64"),
            (token(&good, "tomorrow"), "expires"),
            (format!("{}{}", user(), token(&good, "").replace("\"t\"", "\"ada\"")), "ada"),
            (format!("{}{}", token(&good, ""), token(&good, "").replace("\"t\"", "\"u\"")), "same hash"),
        ];
        for (text, expected) in cases {
            let error = load(&text).map(|_| ()).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains(HASH) && !error.contains("password_hash = \"secret"), "{error}");
        }
    }
}
