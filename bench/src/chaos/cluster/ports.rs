//! Ports for nodes that keep theirs over restarts, from below those that the system gives to outgoing connections: while
//! a node is down, nobody else gets its port by chance.

use std::net::{TcpListener, UdpSocket};

use crate::chaos::error::{ChaosError, Result};

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Hands out ports, each once.
pub(crate) struct Ports {
    next: u16,
    left: u16,
}

impl Ports {
    /// Begins somewhere else in every process.
    pub(crate) fn new() -> Self {
        let start = std::process::id().wrapping_mul(97) % u32::from(COUNT);
        Self { next: start as u16, left: COUNT }
    }

    /// A port on loopback that is free, in TCP and in UDP.
    pub(crate) fn take(&mut self) -> Result<u16> {
        while self.left > 0 {
            let port = FIRST + self.next;
            self.next = (self.next + 1) % COUNT;
            self.left -= 1;
            if TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok()
            {
                return Ok(port);
            }
        }
        Err(ChaosError::new("find a free port", "all are taken"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_handed_out_once() {
        let mut ports = Ports::new();
        let taken: std::collections::BTreeSet<u16> = (0..50).map(|_| ports.take().unwrap()).collect();
        assert_eq!(taken.len(), 50);
        assert!(taken.iter().all(|port| (FIRST..FIRST + COUNT).contains(port)));
    }
}
