//! The address of a data node as plans carry it, with the node's name behind it: `http://10.0.0.7:7101/#data-1`. Whoever reads
//! from there says in an error which node it was, without knowing the members of the cluster.

use url::Url;

use super::NodeId;
use super::view::DataNode;

/// Where `node` is asked, and what it is called.
pub(crate) fn named(node: &DataNode) -> Url {
    let mut url = node.url.clone();
    url.set_fragment(Some(node.member.id.as_str()));
    url
}

/// What the node at `url` is called; the address itself if that is not said.
pub(crate) fn name_of(url: &Url) -> NodeId {
    let name = url.fragment().and_then(|name| NodeId::new(name).ok());
    name.unwrap_or_else(|| NodeId::of_address(url.authority()))
}

/// Where the node at `url` is asked.
pub(super) fn bare(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_fragment(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::placement::{MemberState, PlacementMember};

    #[test]
    fn an_address_names_its_node() {
        let id = NodeId::new("data-1.eu_2").unwrap();
        let member = PlacementMember { id: id.clone(), weight: 1, zone: None, state: MemberState::Serving };
        let node = DataNode { member, url: "http://10.0.0.7:7101/".parse().unwrap() };
        let url: Url = named(&node).to_string().parse().unwrap();
        assert_eq!(name_of(&url), id);
        assert_eq!(bare(&url), node.url);
        assert_eq!(name_of(&node.url).as_str(), "10.0.0.7-7101");
    }
}
