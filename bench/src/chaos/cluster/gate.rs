//! Whether what is said to a node, and what it says, arrives. The proxies in front of a node ask its gate for every piece.

use std::sync::Arc;

use tokio::sync::watch;

/// The direction of a piece, as the node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Others say it to the node.
    In,
    /// The node says it to others.
    Out,
}

/// What does not arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Everything arrives.
    #[default]
    None,
    /// Nothing arrives.
    Both,
    /// The node hears nothing.
    Deaf,
    /// Nobody hears the node.
    Mute,
}

impl Isolation {
    fn holds(self, way: Way) -> bool {
        match self {
            Self::None => false,
            Self::Both => true,
            Self::Deaf => way == Way::In,
            Self::Mute => way == Way::Out,
        }
    }
}

/// The gate of a node; clones are the same gate.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<watch::Sender<Isolation>>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Isolation::None)))
    }
}

impl Gate {
    /// From now on.
    pub(crate) fn set(&self, isolation: Isolation) {
        self.0.send_replace(isolation);
    }

    pub(crate) fn is_open(&self, way: Way) -> bool {
        !self.0.borrow().holds(way)
    }

    /// Waits until it is open.
    pub(crate) async fn pass(&self, way: Way) {
        // An error would mean that the gate is gone, which is `self`.
        let _ = self.0.subscribe().wait_for(|isolation| !isolation.holds(way)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_holds_what_its_isolation_says() {
        let gate = Gate::default();
        let cases = [
            (Isolation::None, true, true),
            (Isolation::Both, false, false),
            (Isolation::Deaf, false, true),
            (Isolation::Mute, true, false),
        ];
        for (isolation, inwards, outwards) in cases {
            gate.clone().set(isolation);
            assert_eq!((gate.is_open(Way::In), gate.is_open(Way::Out)), (inwards, outwards), "{isolation:?}");
        }
    }
}
