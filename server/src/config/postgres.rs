//! The listener for clients of the Postgres protocol.

use std::net::SocketAddr;

use headwater_broker::postgres::PostgresLimits;
use serde::{Deserialize, Serialize};

/// The listener for clients of the Postgres protocol.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostgresConfig {
    /// Address and port, as in `127.0.0.1:5432`; empty: there is no such listener. Beyond loopback it
    /// needs users or tokens, and TLS.
    pub listen: String,
    /// Connections at once; one more is refused.
    pub connections_max: usize,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self { listen: String::new(), connections_max: PostgresLimits::default().connections_max }
    }
}

impl PostgresConfig {
    /// Where to listen; `None`: nowhere.
    ///
    /// # Errors
    /// If it is no address.
    pub(super) fn address(&self) -> Result<Option<SocketAddr>, String> {
        if self.listen.is_empty() {
            return Ok(None);
        }
        let address: SocketAddr = self.listen.parse().map_err(|_| {
            format!("{:?} is not an address with a port, such as 127.0.0.1:5432", self.listen)
        })?;
        Ok(Some(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ANYBODY, Config};

    #[test]
    fn addresses() {
        let of =
            |listen: &str| PostgresConfig { listen: listen.into(), ..PostgresConfig::default() }.address();
        assert_eq!(of(""), Ok(None));
        assert_eq!(of("127.0.0.1:5432"), Ok(Some(SocketAddr::from(([127, 0, 0, 1], 5432)))));
        assert!(of("localhost").unwrap_err().contains("127.0.0.1:5432"));
    }

    #[test]
    fn beyond_loopback_somebody_is_asked() {
        let of = |settings: &[(&str, &str)]| {
            let settings: Vec<_> = settings.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            Config::load(None, std::iter::empty(), &settings)
        };
        let public = ("postgres.listen", "0.0.0.0:5432");
        assert!(of(&[public]).unwrap_err().to_string().contains("postgres.listen"));
        of(&[public, ("access.anonymous", ANYBODY)]).unwrap();
        // TLS is part of its protocol, so that no proxy ends it; no setting is named that there is not.
        let guarded = [public, ("access.file", "access.toml")];
        let error = of(&guarded).unwrap_err().to_string();
        assert!(error.contains("tls.cert") && !error.contains("plaintext_public"), "{error}");
        assert!(of(&[guarded[0], guarded[1], ("postgres.plaintext_public", "true")]).is_err());
        of(&[guarded[0], guarded[1], ("tls.cert", "a"), ("tls.key", "b")]).unwrap();
    }
}
