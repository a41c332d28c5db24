//! From the configuration to the doors of all listeners for clients: who is let in, what identity is shown, for which hosts; and
//! what of this machine the specs of clients may name.

use std::sync::Arc;

use headwater_broker::access::{AccessControl, Doors, Hosts, SessionKey};
use headwater_ingest::kafka::config::restrict_references;
use tokio::task::JoinHandle;

use crate::access;
use crate::config::Config;
use crate::listener::Front;
use crate::listener::tls::{HTTP_PROTOCOLS, TlsIdentity};
use crate::node::NodeError;
use crate::open_files;

/// Connections of Flight clients at once.
const FLIGHT_CONNECTIONS_MAX: usize = 1024;

/// See the module. Every listener for clients takes from it what it needs.
pub(crate) struct Entrance {
    /// Who is let in.
    pub(crate) access: Arc<dyn AccessControl>,
    /// The identity, if clients are spoken to over TLS.
    pub(crate) tls: Option<TlsIdentity>,
    /// What follows files that may change, until it is aborted.
    pub(crate) reloading: Vec<JoinHandle<()>>,
}

impl Entrance {
    /// Reads every file that the configuration names for it. From here on specs refer to what the configuration allows.
    pub(crate) fn open(config: &Config) -> Result<Self, NodeError> {
        restrict_references(config.ingest.references());
        let (access, following) = access::start(&config.access)?;
        let mut reloading: Vec<_> = following.into_iter().collect();
        let tls = TlsIdentity::start(&config.tls)?.map(|(identity, following)| {
            reloading.push(following);
            identity
        });
        Ok(Self { access, tls, reloading })
    }

    /// What stands before the HTTP listener.
    pub(crate) fn http(&self, config: &Config) -> Front {
        Front {
            tls: self.tls.as_ref().map(|identity| identity.server_config(&HTTP_PROTOCOLS)),
            connections_max: open_files::room_for_connections(config.http.connections_max),
        }
    }

    /// What stands before the listener of Arrow Flight SQL.
    pub(crate) fn flight(&self) -> Front {
        Front {
            tls: self.tls.as_ref().map(|identity| identity.server_config(&[b"h2"])),
            connections_max: FLIGHT_CONNECTIONS_MAX,
        }
    }

    /// The gate of HTTP and of Flight. Without a `key` that others have too, sessions are this process's own.
    pub(crate) fn doors(&self, config: &Config, key: Option<SessionKey>) -> Arc<Doors> {
        let key = key.unwrap_or_else(SessionKey::random);
        let tls = self.tls.is_some() || config.http.plaintext_public;
        Arc::new(Doors::new(Arc::clone(&self.access), key, hosts(config), tls))
    }
}

/// The hosts that are answered. Who must say who they are may ask under any name. Where everybody may do everything, a name that
/// an attacker can have is a page of another site, whether it turns into loopback or into an address of this network.
fn hosts(config: &Config) -> Hosts {
    let http = &config.http;
    let (open, loopback) = (config.access.is_open(), http.listen.ip().is_loopback());
    if http.hosts.is_empty() && !open {
        return Hosts::any();
    }
    let advertised = Some(config.cluster.advertise.clone()).filter(|name| !name.is_empty());
    let names = http.hosts.iter().cloned().chain(advertised);
    match open && !loopback {
        true => Hosts::network(names),
        false => Hosts::only(names, !loopback),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_hosts_are_answered() {
        let allows = |settings: &[(&str, &str)], host: &str| {
            let settings: Vec<_> = settings.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            hosts(&Config::load(None, std::iter::empty(), &settings).unwrap()).allows(host)
        };
        assert!(allows(&[], "localhost:8099") && !allows(&[], "evil.example"));
        let named = [("http.hosts", "olap.example, rides.example")];
        assert!(
            allows(&named, "rides.example:80")
                && !allows(&named, "evil.example")
                && !allows(&named, "10.0.0.1")
        );
        let public = [("http.listen", "0.0.0.0:80"), ("access.anonymous", crate::config::ANYBODY)];
        // As compose and Kubernetes ask for it, and not as a page does whose name was made to mean this machine.
        for host in
            ["localhost", "10.0.0.1", "broker:8099", "headwater.olap.svc:8099", "a.b.svc.cluster.local"]
        {
            assert!(allows(&public, host), "{host}");
        }
        assert!(!allows(&public, "evil.example") && !allows(&public, "olap.example"));
        let named = [public[0], public[1], named[0]];
        assert!(
            allows(&named, "10.0.0.1") && allows(&named, "olap.example") && !allows(&named, "evil.example")
        );
        let advertised = [
            public[0],
            public[1],
            ("cluster.listen", "127.0.0.1:7101"),
            ("cluster.gossip_listen", "127.0.0.1:7102"),
            ("cluster.advertise", "data-0.example:7101"),
        ];
        assert!(allows(&advertised, "data-0.example:80") && !allows(&advertised, "evil.example"));
        // With users a name says nothing, unless names are listed.
        let guarded = [("access.file", "access.toml"), ("http.plaintext_public", "true"), public[0]];
        assert!(allows(&guarded, "anything.example"));
    }
}
