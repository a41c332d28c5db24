//! The identity of a node, the same across its restarts: placement hashes it, so a new one moves data.

use std::fmt;
use std::sync::Arc;

/// Why a text is no identity, and what to write.
#[derive(Debug, thiserror::Error)]
#[error("cluster.node_id: {0}")]
pub struct NodeIdError(String);

/// Longest identity, in bytes.
const BYTES_MAX: usize = 128;

/// A node's name in the cluster: letters, digits, `.`, `_` and `-`, at most 128 of them. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// The identity written as `text`.
    pub fn new(text: &str) -> Result<Self, NodeIdError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if text.is_empty() || text.len() > BYTES_MAX || !text.chars().all(allowed) {
            let shown: String = text.chars().take(BYTES_MAX).collect();
            return Err(NodeIdError(format!(
                "{shown:?} is no node id; write 1 to {BYTES_MAX} letters, digits, '.', '_' or '-'"
            )));
        }
        Ok(Self(text.into()))
    }

    /// The identity of a node that was given none: the machine's name and the port of its node-to-node listener. Stable
    /// across restarts without a file to keep, different for two nodes of one machine, and readable in `system.nodes`.
    /// `host` is the machine's name, if it has one.
    pub fn of_host(host: Option<&str>, port: u16) -> Result<Self, NodeIdError> {
        let host = host.map(str::trim).filter(|host| !host.is_empty() && !host.starts_with("localhost"));
        let Some(host) = host else {
            let reason = "this machine has no name of its own to make a node id from; set cluster.node_id";
            return Err(NodeIdError(reason.to_string()));
        };
        Self::new(&format!("{host}-{port}"))
    }

    /// What stands for a node of which only the address is known.
    pub(crate) fn of_address(address: &str) -> Self {
        let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        Self(address.chars().take(BYTES_MAX).map(allowed).collect::<String>().into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of this machine, if it has one.
pub fn machine_name() -> Option<String> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = kernel.or_else(|| std::env::var("HOSTNAME").ok())?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_id_may_be() {
        assert_eq!(NodeId::new("data-0.eu_1").unwrap().as_str(), "data-0.eu_1");
        for refused in ["", "a b", "a/b", "ä", &"x".repeat(129)] {
            assert!(NodeId::new(refused).is_err(), "{refused}");
        }
        assert_eq!(NodeId::of_host(Some("data-0\n"), 7101).unwrap().as_str(), "data-0-7101");
        for nameless in [None, Some(""), Some("localhost"), Some("localhost.localdomain")] {
            let error = NodeId::of_host(nameless, 1).unwrap_err().to_string();
            assert!(error.contains("set cluster.node_id"), "{error}");
        }
    }
}
