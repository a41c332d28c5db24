//! `[cluster]`: this node's place among others. Without it a process is a cluster of its own, and listens to nobody.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigError, StoreConfig};
use crate::cluster::NodeId;
use crate::cluster::placement::WEIGHT_MAX;

/// This node's place among others. Both `listen` and `gossip_listen` set: it is part of a cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// What the node does.
    pub role: Role,
    /// Name of the cluster. Nodes of another name are not let in.
    pub name: String,
    /// Identity of the node, the same across restarts: data is placed by it. Empty: the machine's name and the port of
    /// `listen`.
    pub node_id: String,
    /// Address and port for other nodes, in TCP. Empty: none.
    #[serde(with = "empty_is_none")]
    pub listen: Option<SocketAddr>,
    /// `host:port` under which other nodes reach `listen`. Empty: as it is written there.
    pub advertise: String,
    /// Address and port of the gossip, in UDP. Empty: none.
    #[serde(with = "empty_is_none")]
    pub gossip_listen: Option<SocketAddr>,
    /// `host:port` under which other nodes reach `gossip_listen`. Empty: as it is written there.
    pub gossip_advertise: String,
    /// `host:port` of the gossip of some nodes, or one name that stands for them all. This node may be among them.
    pub seeds: Vec<String>,
    /// Where the secret is that all nodes of the cluster share, of 16 bytes or more.
    pub secret: SecretSource,
    /// TLS between nodes.
    pub tls: NodeTlsConfig,
    /// Share of the data, relative to the other nodes' weights, up to 65536. 0: none.
    pub weight: u32,
    /// What fails together with this node: a rack, an availability zone. Replicas are put into different ones.
    pub zone: String,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            role: Role::default(),
            name: "headwater".into(),
            node_id: String::new(),
            listen: None,
            advertise: String::new(),
            gossip_listen: None,
            gossip_advertise: String::new(),
            seeds: Vec::new(),
            secret: SecretSource::default(),
            tls: NodeTlsConfig::default(),
            weight: 1,
            zone: String::new(),
        }
    }
}

/// TLS between nodes, in both directions: each shows a certificate that the authority `ca` has signed for `name`. All three
/// files set, or none. Gossip has no TLS: its datagrams are authenticated with the secret, and hold addresses and loads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeTlsConfig {
    /// PEM file: this node's certificate, then those between it and the authority's. Read again when it changes.
    pub cert: PathBuf,
    /// PEM file: its private key. Read again when it changes.
    pub key: PathBuf,
    /// PEM file: the certificates of the cluster's own authority. Whoever it signs for `name` is a node.
    pub ca: PathBuf,
    /// The DNS name in all nodes' certificates, whatever their addresses are.
    pub name: String,
}

impl Default for NodeTlsConfig {
    fn default() -> Self {
        let none = PathBuf::new();
        Self { cert: none.clone(), key: none.clone(), ca: none, name: "headwater".into() }
    }
}

impl NodeTlsConfig {
    /// Whether nodes speak TLS.
    pub fn is_set(&self) -> bool {
        self.files().iter().any(|file| !file.as_os_str().is_empty())
    }

    fn files(&self) -> [&PathBuf; 3] {
        [&self.cert, &self.key, &self.ca]
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.is_set() && self.files().iter().any(|file| file.as_os_str().is_empty()) {
            let reason = "set cluster.tls.cert, cluster.tls.key and cluster.tls.ca, the paths of three PEM files, or none";
            return Err(ConfigError::new("cluster.tls", reason));
        }
        Ok(())
    }
}

/// What a node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Plans queries and puts answers together.
    Broker,
    /// Consumes partitions, and holds segments.
    Data,
    /// Both.
    #[default]
    All,
}

impl Role {
    /// Whether partitions and segments are placed on such a node.
    pub fn holds_data(self) -> bool {
        self != Self::Broker
    }
}

/// Where a secret is; nowhere, if neither is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecretSource {
    /// Name of an environment variable, such as `HEADWATER_CLUSTER_SECRET`.
    pub env: String,
    /// Path of a file. A line break at its end does not count.
    pub file: PathBuf,
}

impl SecretSource {
    fn is_set(&self) -> bool {
        *self != Self::default()
    }
}

impl ClusterConfig {
    /// Where the node listens to others, in TCP and in UDP; `None`: it is alone.
    pub fn listeners(&self) -> Option<(SocketAddr, SocketAddr)> {
        self.listen.zip(self.gossip_listen)
    }

    pub(super) fn check(&self, store: &StoreConfig) -> Result<(), ConfigError> {
        let Some((listen, gossip)) = self.listeners() else { return self.check_alone() };
        self.tls.check()?;
        self.check_reach("cluster.listen", listen, "cluster.advertise", &self.advertise)?;
        self.check_reach(
            "cluster.gossip_listen",
            gossip,
            "cluster.gossip_advertise",
            &self.gossip_advertise,
        )?;
        if self.name.is_empty() || self.name.len() > 128 {
            return Err(ConfigError::new("cluster.name", "must have 1 to 128 bytes"));
        }
        if !self.node_id.is_empty() {
            // Its message names the setting by itself.
            NodeId::new(&self.node_id).map_err(|error| ConfigError::new("values", error))?;
        }
        if let Some(seed) = self.seeds.iter().find(|seed| !is_host_and_port(seed)) {
            return Err(ConfigError::new("cluster.seeds", format!("{seed:?} is not written host:port")));
        }
        if !self.secret.env.is_empty() && !self.secret.file.as_os_str().is_empty() {
            return Err(ConfigError::new(
                "cluster.secret",
                "must be {env = …} or {file = …}, one of the two",
            ));
        }
        if self.weight > WEIGHT_MAX {
            return Err(ConfigError::new("cluster.weight", format!("must be at most {WEIGHT_MAX}")));
        }
        if store.url.starts_with("memory:") {
            let reason =
                "memory:// is not shared; the nodes of a cluster need one store, such as s3://bucket/prefix";
            return Err(ConfigError::new("store.url", reason));
        }
        Ok(())
    }

    /// Settings that would do nothing, by somebody who believes to have a cluster.
    fn check_alone(&self) -> Result<(), ConfigError> {
        let set = [
            ("cluster.listen", self.listen.is_some()),
            ("cluster.gossip_listen", self.gossip_listen.is_some()),
            ("cluster.advertise", !self.advertise.is_empty()),
            ("cluster.gossip_advertise", !self.gossip_advertise.is_empty()),
            ("cluster.seeds", !self.seeds.is_empty()),
            ("cluster.secret", self.secret.is_set()),
            ("cluster.tls", self.tls.is_set()),
            ("cluster.role", self.role != Role::All),
        ];
        match set.into_iter().find(|(_, set)| *set) {
            Some((setting, _)) => Err(ConfigError::new(
                setting,
                "is set, but a node is part of a cluster only with both cluster.listen and cluster.gossip_listen, such as \
                 10.0.0.1:7101 and 10.0.0.1:7102",
            )),
            None => Ok(()),
        }
    }

    /// A listener that others can reach needs the secret, and all must know under which address to reach it.
    fn check_reach(
        &self,
        setting: &str,
        listen: SocketAddr,
        advertise_setting: &str,
        advertise: &str,
    ) -> Result<(), ConfigError> {
        if !listen.ip().is_loopback() && !self.secret.is_set() {
            let reason = format!(
                "{listen} can be reached from other machines, and whoever reaches it is let in; set cluster.secret, such \
                 as {{env = \"HEADWATER_CLUSTER_SECRET\"}}, the same on all nodes, or listen on 127.0.0.1"
            );
            return Err(ConfigError::new(setting, reason));
        }
        if advertise.is_empty() {
            if listen.ip().is_unspecified() {
                let reason =
                    format!("{setting} is {listen}, which is no address to send to: say host:port here");
                return Err(ConfigError::new(advertise_setting, reason));
            }
        } else if !is_host_and_port(advertise) {
            return Err(ConfigError::new(
                advertise_setting,
                format!("{advertise:?} is not written host:port"),
            ));
        }
        Ok(())
    }
}

/// `host:port` with an address that can be sent to (IPv6 in brackets), or with a name.
fn is_host_and_port(text: &str) -> bool {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return !address.ip().is_unspecified() && address.port() != 0;
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    !host.is_empty() && host.chars().all(allowed) && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// A value that may be missing, as text that may be empty, so that its path is a setting like any other.
pub(super) mod empty_is_none {
    use std::str::FromStr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Display;

    pub(in crate::config) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.collect_str(value),
            None => to.serialize_str(""),
        }
    }

    pub(in crate::config) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        let text = String::deserialize(from)?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|error| D::Error::custom(format!("{text:?}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    fn load(settings: Pairs<'_>) -> Result<Config, String> {
        let settings: Vec<_> =
            settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        Config::load(None, std::iter::empty(), &settings).map_err(|error| error.to_string())
    }

    const LOCAL: Pairs<'static> =
        &[("cluster.listen", "127.0.0.1:7101"), ("cluster.gossip_listen", "127.0.0.1:7102")];

    fn with(more: Pairs<'_>) -> Result<Config, String> {
        load(&[LOCAL, more].concat())
    }

    #[test]
    fn without_the_section_nothing_listens() {
        let config = load(&[]).unwrap();
        assert_eq!(config.cluster.listeners(), None);
        assert_eq!(config.cluster.role, Role::All);
        let printed: Config = toml::from_str(&config.to_toml()).unwrap();
        assert_eq!(printed.cluster.listeners(), None);
    }

    #[test]
    fn settings_come_from_file_environment_and_flags() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("headwater.toml");
        let text = "[cluster]\nrole = \"data\"\nlisten = \"0.0.0.0:7101\"\nadvertise = \"data-0.hw:7101\"\n\
                    gossip_listen = \"10.0.0.1:7102\"\nseeds = [\"a:1\", \"b:2\"]\nsecret = { env = \"A\" }\nzone = \"eu\"\n";
        std::fs::write(&file, text).unwrap();
        let pair = |(key, value): (&str, &str)| (key.to_string(), value.to_string());
        let environment = [
            ("HEADWATER_CLUSTER_SEEDS", "headwater-gossip:7102, b:2"),
            ("HEADWATER_CLUSTER_SECRET_ENV", "HEADWATER_CLUSTER_SECRET"),
            // The secret itself is no setting.
            ("HEADWATER_CLUSTER_SECRET", "0123456789abcdef"),
        ];
        let settings = [pair(("cluster.weight", "3"))];
        let config = Config::load(Some(&file), environment.into_iter().map(pair), &settings).unwrap();
        let cluster = &config.cluster;
        assert_eq!((cluster.role, cluster.weight, cluster.zone.as_str()), (Role::Data, 3, "eu"));
        assert_eq!(cluster.seeds, ["headwater-gossip:7102", "b:2"]);
        assert_eq!(cluster.secret.env, "HEADWATER_CLUSTER_SECRET");
        let (listen, gossip) = cluster.listeners().unwrap();
        assert_eq!((listen.port(), gossip.to_string().as_str()), (7101, "10.0.0.1:7102"));
        let printed = config.to_toml();
        assert!(!printed.contains("0123456789abcdef"), "{printed}");
        let printed: Config = toml::from_str(&printed).unwrap();
        assert_eq!(
            (&printed.cluster.seeds, printed.cluster.listeners()),
            (&cluster.seeds, cluster.listeners())
        );
    }

    #[test]
    fn what_is_refused() {
        let cases: [(Pairs<'_>, &[&str]); 19] = [
            (&[("cluster.tls.ca", "ca.pem")], &["cluster.tls", "three PEM files"]),
            (&[("cluster.listen", "0.0.0.0:7101")], &["cluster.listen", "cluster.secret"]),
            (&[("cluster.gossip_listen", "10.0.0.1:7102")], &["cluster.gossip_listen", "cluster.secret"]),
            (
                &[("cluster.listen", "0.0.0.0:7101"), ("cluster.secret.env", "X")],
                &["cluster.advertise", "host:port"],
            ),
            (
                &[("cluster.gossip_listen", "[::]:7102"), ("cluster.secret.file", "/s")],
                &["cluster.gossip_advertise", "host:port"],
            ),
            (&[("cluster.listen", "")], &["cluster.gossip_listen", "both"]),
            (&[("cluster.gossip_listen", "")], &["cluster.listen", "both"]),
            (&[("cluster.listen", "here")], &["here"]),
            (&[("cluster.advertise", "data-0")], &["cluster.advertise", "host:port"]),
            (&[("cluster.advertise", "0.0.0.0:1")], &["cluster.advertise", "host:port"]),
            (&[("cluster.gossip_advertise", "a b:1")], &["cluster.gossip_advertise"]),
            (&[("cluster.seeds", "a:1,b")], &["cluster.seeds", "\"b\""]),
            (&[("cluster.seeds", "a:0")], &["cluster.seeds"]),
            (
                &[("cluster.secret.env", "A"), ("cluster.secret.file", "b")],
                &["cluster.secret", "one of the two"],
            ),
            (&[("cluster.weight", "65537")], &["cluster.weight", "65536"]),
            (&[("cluster.node_id", "a b")], &["cluster.node_id"]),
            (&[("cluster.name", "")], &["cluster.name"]),
            (&[("cluster.role", "king")], &["king"]),
            (&[("store.url", "memory://")], &["store.url", "shared"]),
        ];
        for (settings, expected) in cases {
            let message = with(settings).map(|_| ()).unwrap_err();
            assert!(expected.iter().all(|part| message.contains(part)), "{settings:?}: {message}");
        }
        for alone in ["cluster.advertise", "cluster.gossip_advertise", "cluster.seeds", "cluster.secret.env"]
        {
            let message = load(&[(alone, "a:1")]).map(|_| ()).unwrap_err();
            assert!(message.contains("part of a cluster only with both"), "{alone}: {message}");
        }
        assert!(load(&[("cluster.role", "broker")]).is_err());
        assert!(load(&[("cluster.secret", "0123456789abcdef")]).unwrap_err().contains("no such setting"));
    }

    #[test]
    fn what_is_accepted() {
        let everywhere: Pairs<'_> = &[
            ("cluster.listen", "0.0.0.0:7101"),
            ("cluster.gossip_listen", "0.0.0.0:7102"),
            ("cluster.advertise", "data-0.headwater:7101"),
            ("cluster.gossip_advertise", "10.0.0.1:7102"),
            ("cluster.secret.file", "/run/secrets/headwater"),
            ("cluster.seeds", "headwater:7102"),
            ("cluster.node_id", "data-0"),
        ];
        for settings in [&[][..], everywhere, &[("cluster.weight", "0"), ("cluster.seeds", "[::1]:7102")]] {
            with(settings).unwrap();
        }
    }
}
