//! A node's gossip, as the others see it: each of them gets a socket of its own towards the node, so that the node's
//! answers find their way back. What a gate holds is lost, as packets are.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::task::{JoinHandle, JoinSet};

use super::gate::{Gate, Way};
use crate::chaos::error::{ChaosError, Result};

const PACKET_BYTES_MAX: usize = 65_535;

/// The gates of all nodes, by the socket that each sends its gossip from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gates(Arc<Mutex<HashMap<SocketAddr, Gate>>>);

impl Gates {
    /// The node that gossips from `socket`.
    pub(crate) fn insert(&self, socket: SocketAddr, gate: Gate) {
        self.0.lock().insert(socket, gate);
    }

    /// Whether a packet gets through. Sockets that are nobody's have no gate.
    fn pass(&self, from: SocketAddr, to: SocketAddr) -> bool {
        let gates = self.0.lock();
        let is_open = |socket, way| gates.get(&socket).is_none_or(|gate| gate.is_open(way));
        is_open(from, Way::Out) && is_open(to, Way::In)
    }
}

/// Passes packets on until it is dropped.
pub(crate) struct UdpProxy(JoinHandle<()>);

impl UdpProxy {
    /// Packets to `listen` go on to `node`, and its answers back.
    pub(crate) fn start(listen: SocketAddr, node: SocketAddr, gates: Gates) -> Result<Self> {
        let failed = || ChaosError::at(format!("listen for the gossip to {node}"));
        let socket = std::net::UdpSocket::bind(listen).map_err(failed())?;
        socket.set_nonblocking(true).map_err(failed())?;
        let socket = Arc::new(UdpSocket::from_std(socket).map_err(failed())?);
        Ok(Self(tokio::spawn(relay(socket, node, gates))))
    }
}

impl Drop for UdpProxy {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn relay(socket: Arc<UdpSocket>, node: SocketAddr, gates: Gates) {
    // As many as there are nodes.
    let mut flows: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut answers = JoinSet::new();
    let mut packet = vec![0; PACKET_BYTES_MAX];
    loop {
        // Errors tell that an earlier packet found nobody.
        let Ok((bytes, from)) = socket.recv_from(&mut packet).await else { continue };
        if !gates.pass(from, node) {
            continue;
        }
        let flow = match flows.entry(from) {
            Entry::Occupied(flow) => flow.into_mut(),
            Entry::Vacant(place) => {
                let Some(flow) = towards(node).await else { continue };
                answers.spawn(answer(flow.clone(), socket.clone(), from, node, gates.clone()));
                place.insert(flow)
            }
        };
        // A packet that cannot be sent is lost.
        let _ = flow.send(&packet[..bytes]).await;
    }
}

async fn towards(node: SocketAddr) -> Option<Arc<UdpSocket>> {
    let flow = UdpSocket::bind((node.ip(), 0)).await.ok()?;
    flow.connect(node).await.ok()?;
    Some(Arc::new(flow))
}

async fn answer(flow: Arc<UdpSocket>, back: Arc<UdpSocket>, to: SocketAddr, node: SocketAddr, gates: Gates) {
    let mut packet = vec![0; PACKET_BYTES_MAX];
    loop {
        // The node is down: its next process answers here, too.
        let Ok(bytes) = flow.recv(&mut packet).await else { continue };
        if gates.pass(node, to) {
            let _ = back.send_to(&packet[..bytes], to).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::gate::Isolation;
    use super::*;

    #[test]
    fn both_ends_must_let_a_packet_through() {
        let [a, b, stranger] = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let (gates, gate_a, gate_b) = (Gates::default(), Gate::default(), Gate::default());
        gates.insert(a, gate_a.clone());
        gates.insert(b, gate_b.clone());
        let cases = [
            (Isolation::None, Isolation::None, true, true),
            (Isolation::Both, Isolation::None, false, false),
            (Isolation::Mute, Isolation::None, false, true),
            (Isolation::Deaf, Isolation::None, true, false),
            (Isolation::None, Isolation::Deaf, false, true),
            (Isolation::Mute, Isolation::Mute, false, false),
        ];
        for (of_a, of_b, there, back) in cases {
            gate_a.set(of_a);
            gate_b.set(of_b);
            assert_eq!((gates.pass(a, b), gates.pass(b, a)), (there, back), "{of_a:?} {of_b:?}");
        }
        gate_b.set(Isolation::None);
        assert!(gates.pass(stranger, b) && !gates.pass(a, b));
    }

    #[tokio::test]
    async fn packets_and_answers_find_their_way_and_what_is_held_is_lost() {
        let node = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let listen = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let (gates, gate) = (Gates::default(), Gate::default());
        gates.insert(node.local_addr().unwrap(), gate.clone());
        let _proxy = UdpProxy::start(listen, node.local_addr().unwrap(), gates).unwrap();
        let mut packet = [0; 8];
        gate.set(Isolation::Deaf);
        client.send_to(b"lost", listen).await.unwrap();
        let received = tokio::time::timeout(Duration::from_millis(80), node.recv_from(&mut packet)).await;
        assert!(received.is_err(), "a deaf node hears nothing");
        gate.set(Isolation::None);
        client.send_to(b"question", listen).await.unwrap();
        let (bytes, from) = node.recv_from(&mut packet).await.unwrap();
        assert_eq!(&packet[..bytes], b"question");
        node.send_to(b"answer", from).await.unwrap();
        let (bytes, from) = client.recv_from(&mut packet).await.unwrap();
        assert_eq!((&packet[..bytes], from), (&b"answer"[..], listen));
    }
}
