//! Who asks, and what they may do: the one question that every public listener puts before it does anything else.
//!
//! The listeners (HTTP, Flight SQL, the Postgres protocol) turn what their protocol carries into [`Credentials`] and get a
//! [`Principal`]. How users and tokens are kept is the implementation's affair. [`gate`] puts the question to every HTTP request.

use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;

pub(crate) mod gate;
mod headers;
mod origin;
mod routes;
mod session;
pub(crate) mod session_http;

pub use gate::Doors;
pub use origin::Hosts;
pub use session::{SessionKey, Sessions};

/// What a principal may do. Further roles, row filters and quotas have their place here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Asks questions and reads what there is.
    Reader,
    /// Also changes tables and dashboards, and ends the queries of others.
    Administrator,
}

/// Somebody who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Name, for logs and `system.queries`.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// What somebody was let in by, and what it must still be for them to stay. Its debug form holds no hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// Nothing was asked for.
    Open,
    /// A user's password.
    User {
        /// As in [`KnownUser`].
        stamp: [u8; 16],
    },
    /// A token.
    Token {
        /// SHA-256 of it.
        digest: [u8; 32],
    },
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::User { .. } => "User",
            Self::Token { .. } => "Token",
        })
    }
}

/// Somebody who was let in, and by what: for connections that outlast a request, which ask again whether they may
/// [stay](AccessControl::stands).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Who it is.
    pub principal: Principal,
    /// What let them in.
    pub grant: Grant,
}

/// What API tokens begin with.
pub const TOKEN_PREFIX: &str = "hw_";

/// What a client shows to be let in. Its debug form holds no secret.
#[derive(Clone)]
pub enum Credentials {
    /// Nothing.
    None,
    /// A user's name and password.
    Password {
        /// Name of the user.
        user: String,
        /// Password in clear.
        password: String,
    },
    /// An API token.
    Token(String),
}

impl Credentials {
    /// What a user and a password mean. A token may stand in the place of the password, for clients that know nothing else: the
    /// user is overlooked then.
    pub fn shown(user: String, password: String) -> Self {
        match password.starts_with(TOKEN_PREFIX) {
            true => Self::Token(password),
            false => Self::Password { user, password },
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Password { user, .. } => write!(f, "Password({user})"),
            Self::Token(_) => f.write_str("Token"),
        }
    }
}

/// Why somebody was not let in. Never says which part was wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Nothing was shown, and something is needed.
    #[error("this server asks for a user and a password, or for a token")]
    Missing,
    /// What was shown is wrong, or not valid any more.
    #[error("the user, the password or the token is wrong, or has expired")]
    Wrong,
    /// Too many wrong attempts of late.
    #[error("too many wrong attempts; try again in {retry_after_s} s")]
    Throttled {
        /// Seconds to wait.
        retry_after_s: u64,
    },
    /// The principal's role does not allow it.
    #[error("{name} may not do this: it needs an administrator")]
    Forbidden {
        /// Who asked.
        name: String,
    },
}

impl AccessError {
    /// HTTP status of the refusal.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Missing | Self::Wrong => 401,
            Self::Throttled { .. } => 429,
            Self::Forbidden { .. } => 403,
        }
    }

    /// Stable name in JSON answers.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Missing | Self::Wrong => "unauthorized",
            Self::Throttled { .. } => "throttled",
            Self::Forbidden { .. } => "forbidden",
        }
    }
}

impl Principal {
    /// Whether they may do what needs `role`.
    pub fn may(&self, role: Role) -> bool {
        self.role >= role
    }
}

impl Role {
    /// As it is written in the configuration and in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Administrator => "administrator",
        }
    }
}

/// Where a request came from, as an extension of it. A listener that serves HTTP puts it there.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// A user as they are now, for a session that began earlier with their password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownUser {
    /// Name and role, as they are now.
    pub principal: Principal,
    /// Another one once the password is another one: what began with the old password ends then.
    pub stamp: [u8; 16],
}

/// Decides who is let in.
#[async_trait]
pub trait AccessControl: Send + Sync + 'static {
    /// Whether everybody is let in, as an administrator.
    fn is_open(&self) -> bool;
    /// Lets in, or says why not. Takes tens of milliseconds for a password, and does not block the caller's thread.
    async fn authenticate(&self, credentials: Credentials) -> Result<Principal, AccessError>;

    /// As [`authenticate`](Self::authenticate), for somebody at a known address: wrong attempts are then counted for that address
    /// alone, and nobody can lock a user out from elsewhere.
    async fn authenticate_from(
        &self,
        credentials: Credentials,
        _address: Option<IpAddr>,
    ) -> Result<Principal, AccessError> {
        self.authenticate(credentials).await
    }

    /// As [`authenticate_from`](Self::authenticate_from), for a connection that outlasts a request.
    async fn admit(
        &self,
        credentials: Credentials,
        address: Option<IpAddr>,
    ) -> Result<Admitted, AccessError> {
        let principal = self.authenticate_from(credentials, address).await?;
        Ok(Admitted { principal, grant: Grant::Open })
    }

    /// Whether what let somebody in would still let them in, with the same role. Cheap enough for every message.
    fn stands(&self, _admitted: &Admitted) -> bool {
        true
    }

    /// The user of that name, if there is one.
    fn user(&self, _name: &str) -> Option<KnownUser> {
        None
    }
}

/// Lets everybody in: what a server on loopback without users does.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenAccess;

#[async_trait]
impl AccessControl for OpenAccess {
    fn is_open(&self) -> bool {
        true
    }

    async fn authenticate(&self, _: Credentials) -> Result<Principal, AccessError> {
        Ok(Principal { name: "anonymous".into(), role: Role::Administrator })
    }
}
