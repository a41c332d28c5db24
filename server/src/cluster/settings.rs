//! From the configuration to what a node gossips. Reads the secret, the machine's name, and resolves its own address.

use std::net::SocketAddr;

use headwater_broker::cluster::machine_name;
use headwater_segment::spec::PropertyValue;

use super::membership::{GossipSettings, NodeInfo, Secret};
use super::{BUILD_VERSION, ClusterError, NodeId, WIRE_VERSION};
use crate::config::{ClusterConfig, SecretSource};

/// What the node that `cluster` describes needs to gossip on `gossip`. `rpc` and `http` are where its other listeners are bound,
/// with their real ports.
pub(super) async fn gossip_settings(
    cluster: &ClusterConfig,
    gossip: SocketAddr,
    rpc: SocketAddr,
    http: SocketAddr,
) -> Result<GossipSettings, ClusterError> {
    let id = match cluster.node_id.as_str() {
        "" => NodeId::of_host(machine_name().as_deref(), rpc.port())?,
        id => NodeId::new(id)?,
    };
    let advertised = if cluster.advertise.is_empty() { rpc.to_string() } else { cluster.advertise.clone() };
    let info = NodeInfo {
        id,
        role: cluster.role,
        http: http_address(&advertised, http),
        rpc: advertised,
        weight: cluster.weight,
        zone: Some(cluster.zone.clone()).filter(|zone| !zone.is_empty()),
        build: BUILD_VERSION.to_string(),
        wire: WIRE_VERSION,
    };
    Ok(GossipSettings {
        cluster: cluster.name.clone(),
        info,
        listen: gossip,
        advertise: gossip_advertise(cluster, gossip).await?,
        seeds: cluster.seeds.clone(),
        secret: secret(&cluster.secret)?,
    })
}

/// Where others reach HTTP: on the host of the node-to-node listener, if HTTP listens on all addresses.
fn http_address(rpc: &str, http: SocketAddr) -> String {
    match rpc.rsplit_once(':') {
        Some((host, _)) if http.ip().is_unspecified() => format!("{host}:{}", http.port()),
        _ => http.to_string(),
    }
}

/// The gossip's own address, as an address of the kind that it listens on: names are not gossiped.
async fn gossip_advertise(
    cluster: &ClusterConfig,
    listen: SocketAddr,
) -> Result<Option<SocketAddr>, ClusterError> {
    let name = &cluster.gossip_advertise;
    if name.is_empty() {
        return Ok(None);
    }
    let failed = |reason| ClusterError::Advertise { setting: "cluster.gossip_advertise", reason };
    let mut found =
        tokio::net::lookup_host(name).await.map_err(|error| failed(format!("{name}: {error}")))?;
    let address = found.find(|address| address.is_ipv4() == listen.is_ipv4());
    let kind = if listen.is_ipv4() { "IPv4" } else { "IPv6" };
    address.map(Some).ok_or_else(|| failed(format!("{name} has no {kind} address, and {listen} is one")))
}

/// What is wrong with the secret that all nodes share, without telling it; `Ok(false)`: none is configured.
pub fn secret_fault(source: &SecretSource) -> Result<bool, ClusterError> {
    secret(source).map(|secret| secret.is_some())
}

fn secret(source: &SecretSource) -> Result<Option<Secret>, ClusterError> {
    let value = if !source.env.is_empty() {
        PropertyValue::Env { env: source.env.clone() }
    } else if !source.file.as_os_str().is_empty() {
        PropertyValue::File { file: source.file.display().to_string() }
    } else {
        return Ok(None);
    };
    let text = value.resolve("secret").map_err(ClusterError::Secret)?;
    Secret::new(&text).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn clustered() -> Config {
        let mut config = Config::default();
        config.cluster.listen = Some(address("127.0.0.1:0"));
        config.cluster.gossip_listen = Some(address("127.0.0.1:0"));
        config
    }

    async fn settings(config: &Config) -> Result<GossipSettings, ClusterError> {
        let (rpc, http) = (address("127.0.0.1:7101"), address("0.0.0.0:8099"));
        gossip_settings(&config.cluster, address("127.0.0.1:0"), rpc, http).await
    }

    #[tokio::test]
    async fn what_others_are_told() {
        let mut config = clustered();
        config.cluster.node_id = "data-0".into();
        config.cluster.zone = "eu".into();
        let told = settings(&config).await.unwrap();
        assert_eq!(told.info.id.as_str(), "data-0");
        assert_eq!((told.info.rpc.as_str(), told.info.http.as_str()), ("127.0.0.1:7101", "127.0.0.1:8099"));
        assert_eq!(
            (told.info.zone.as_deref(), told.info.wire, told.advertise),
            (Some("eu"), WIRE_VERSION, None)
        );
        assert!(told.secret.is_none());

        config.cluster.advertise = "data-0.headwater:7101".into();
        config.cluster.gossip_advertise = "127.0.0.2:7102".into();
        let told = settings(&config).await.unwrap();
        assert_eq!(told.info.rpc, "data-0.headwater:7101");
        assert_eq!(told.info.http, "data-0.headwater:8099");
        assert_eq!(told.advertise, Some(address("127.0.0.2:7102")));

        config.cluster.gossip_advertise = "[::1]:7102".into();
        let error = settings(&config).await.err().unwrap().to_string();
        assert!(error.contains("cluster.gossip_advertise") && error.contains("IPv4"), "{error}");
        assert_eq!(http_address("h:1", address("10.0.0.1:2")), "10.0.0.1:2");
    }

    #[tokio::test]
    async fn the_secret_is_read_when_the_node_starts() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        let mut config = clustered();
        config.cluster.node_id = "n".into();
        config.cluster.secret.file = file.clone();
        let error = settings(&config).await.err().unwrap().to_string();
        assert!(error.starts_with("cluster.secret") && error.contains("secret: file"), "{error}");
        std::fs::write(&file, "short\n").unwrap();
        let error = settings(&config).await.err().unwrap().to_string();
        assert!(error.contains("at least 16") && !error.contains("short"), "{error}");
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        assert!(settings(&config).await.unwrap().secret.is_some());
    }
}
