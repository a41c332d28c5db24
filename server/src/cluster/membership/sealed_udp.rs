//! The gossip's transport: UDP datagrams that carry proof that their sender knows the cluster's secret.
//!
//! ```text
//! datagram := "HWG1" number(8) part(1) tag(32) bytes
//! part     := 0 whole | 1 first half | 2 second half
//! tag      := HMAC-SHA256(secret, "headwater gossip" length(cluster) cluster number part bytes)
//! ```
//!
//! What carries no valid tag is dropped before anything reads it. So a secret keeps strangers out, and the cluster's
//! name, which is in the tag with or without a secret, keeps two clusters apart. Nothing is encrypted: who can
//! listen on the network learns addresses and versions. A datagram that is sent again later says nothing new, because
//! heartbeats and versions only ever grow; at worst a node that has ended looks alive for a few seconds.
//!
//! The library fills datagrams up to the largest that UDP has, and the tag comes on top, so a message may need two. A
//! half that finds no other half is forgotten; the next round says the same again.
//!
//! The library keeps the encoding of its messages to itself, except inside its own UDP socket. That socket is therefore
//! the codec here: it is bound to loopback, and talks to nobody but a second socket of this process, which is
//! where the bytes come from that go out, and go to that came in.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Context;
use async_trait::async_trait;
use chitchat::ChitchatEnvelope;
use chitchat::transport::{RecvOutcome, SendOutcome, Socket, Transport, UdpTransport};
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::Sha256;
use tokio::net::UdpSocket;

use headwater_broker::access::SessionKey;
use headwater_broker::cluster::SharedSecret;

use crate::cluster::ClusterError;

/// Largest payload of a UDP datagram.
const DATAGRAM_BYTES_MAX: usize = 65_507;
const MAGIC: &[u8; 4] = b"HWG1";
const TAG_BYTES: usize = 32;
const HEAD_BYTES: usize = MAGIC.len() + 8 + 1 + TAG_BYTES;
const WHOLE: u8 = 0;
const FIRST_HALF: u8 = 1;
const SECOND_HALF: u8 = 2;

/// Between the two sockets of the codec nothing is ever under way for longer.
const CODEC_WAIT: Duration = Duration::from_millis(50);
/// A socket that fails this often in a row is broken.
const FAILURES_MAX: u32 = 100;
/// Between two log lines about datagrams of strangers.
const COMPLAINT_EVERY: Duration = Duration::from_secs(10);

/// What all nodes of a cluster know, and nobody else. Not shown by any formatter.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Shortest secret, in bytes.
    pub const BYTES_MIN: usize = 16;

    /// The secret written as `text`.
    pub fn new(text: &str) -> Result<Self, ClusterError> {
        if text.len() < Self::BYTES_MIN {
            return Err(ClusterError::Secret(format!(
                "has {} bytes, and must have at least {}; `openssl rand -hex 32` makes a good one",
                text.len(),
                Self::BYTES_MIN
            )));
        }
        Ok(Self(text.as_bytes().to_vec()))
    }

    /// What requests to other nodes carry for it.
    pub fn for_requests(&self) -> SharedSecret {
        SharedSecret::new(&self.0)
    }

    /// What console sessions are signed with, so that every broker knows those that another one began.
    pub fn for_sessions(&self) -> SessionKey {
        SessionKey::of_secret(&self.0)
    }
}

/// Seals and opens datagrams.
pub(super) struct Seal {
    /// Keyed, and fed with what is the same for all datagrams.
    mac: Hmac<Sha256>,
    number: u64,
    /// A first half that waits for its second.
    half: Option<(SocketAddr, u64, Vec<u8>)>,
}

/// What is in a datagram.
#[derive(Debug, PartialEq, Eq)]
enum Opened {
    Message(Vec<u8>),
    /// Part of a message.
    Half,
    /// Not from this cluster.
    Refused,
}

impl Seal {
    pub(super) fn new(secret: Option<&Secret>, cluster: &str) -> Self {
        let key = secret.map_or(&[][..], |secret| &secret.0);
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(b"headwater gossip");
        mac.update(&(cluster.len() as u64).to_be_bytes());
        mac.update(cluster.as_bytes());
        Self { mac, number: 0, half: None }
    }

    /// The one or two datagrams that carry `message`.
    fn seal(&mut self, message: &[u8]) -> Vec<Vec<u8>> {
        self.number = self.number.wrapping_add(1);
        if message.len() + HEAD_BYTES <= DATAGRAM_BYTES_MAX {
            return vec![self.datagram(WHOLE, message)];
        }
        let (first, second) = message.split_at(message.len() / 2);
        vec![self.datagram(FIRST_HALF, first), self.datagram(SECOND_HALF, second)]
    }

    fn datagram(&self, part: u8, bytes: &[u8]) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(HEAD_BYTES + bytes.len());
        datagram.extend_from_slice(MAGIC);
        datagram.extend_from_slice(&self.number.to_be_bytes());
        datagram.push(part);
        let tag = self.mac_of(&datagram[MAGIC.len()..], bytes).finalize().into_bytes();
        datagram.extend_from_slice(&tag);
        datagram.extend_from_slice(bytes);
        datagram
    }

    fn mac_of(&self, number_and_part: &[u8], bytes: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(number_and_part);
        mac.update(bytes);
        mac
    }

    fn open(&mut self, from: SocketAddr, datagram: &[u8]) -> Opened {
        let Some((head, bytes)) = datagram.split_at_checked(HEAD_BYTES) else { return Opened::Refused };
        let (magic, head) = head.split_at(MAGIC.len());
        let (number_and_part, tag) = head.split_at(9);
        let genuine = magic == MAGIC && self.mac_of(number_and_part, bytes).verify_slice(tag).is_ok();
        if !genuine {
            return Opened::Refused;
        }
        let (number, part) = number_and_part.split_at(8);
        let number = number.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
        match part {
            [WHOLE] => Opened::Message(bytes.to_vec()),
            [FIRST_HALF] => {
                self.half = Some((from, number, bytes.to_vec()));
                Opened::Half
            }
            [SECOND_HALF] => match self.half.take() {
                Some((sender, first, mut message)) if (sender, first) == (from, number) => {
                    message.extend_from_slice(bytes);
                    Opened::Message(message)
                }
                _ => Opened::Half,
            },
            _ => Opened::Refused,
        }
    }
}

/// Opens sealed sockets.
pub(super) struct SealedUdp {
    secret: Option<Secret>,
    cluster: String,
    /// The first socket, bound before, so that its port is known.
    bound: Mutex<Option<UdpSocket>>,
}

impl SealedUdp {
    pub(super) fn new(secret: Option<Secret>, cluster: String, bound: UdpSocket) -> Self {
        Self { secret, cluster, bound: Mutex::new(Some(bound)) }
    }
}

#[async_trait]
impl Transport for SealedUdp {
    async fn open(&self, listen: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let bound = self.bound.lock().take();
        let outside = match bound {
            Some(socket) => socket,
            None => UdpSocket::bind(listen).await.with_context(|| format!("bind {listen}/UDP"))?,
        };
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let codec = UdpTransport.open(loopback).await?;
        let bytes = UdpSocket::bind(loopback).await.context("bind to loopback")?;
        bytes.connect(codec.local_addr()?).await.context("connect on loopback")?;
        let bytes_address = bytes.local_addr().context("loopback address")?;
        let seal = Seal::new(self.secret.as_ref(), &self.cluster);
        let buffer = vec![0; DATAGRAM_BYTES_MAX + 1];
        Ok(Box::new(SealedSocket {
            outside,
            codec,
            bytes,
            bytes_address,
            seal,
            buffer,
            decoding: None,
            failures: 0,
            complained: None,
        }))
    }
}

struct SealedSocket {
    /// To the network.
    outside: UdpSocket,
    /// Encodes and decodes: the library's socket, on loopback.
    codec: Box<dyn Socket>,
    /// The other end of `codec`.
    bytes: UdpSocket,
    bytes_address: SocketAddr,
    seal: Seal,
    buffer: Vec<u8>,
    /// Sender of the message that was given to `codec` and not taken back yet.
    decoding: Option<SocketAddr>,
    /// Of `outside`, in a row.
    failures: u32,
    complained: Option<Instant>,
}

impl SealedSocket {
    async fn encode(&mut self, envelope: ChitchatEnvelope) -> anyhow::Result<Vec<u8>> {
        // What came too late for its own turn must not be taken for this message.
        while self.bytes.try_recv(&mut self.buffer).is_ok() {}
        self.codec.send(self.bytes_address, envelope).await?;
        let received = tokio::time::timeout(CODEC_WAIT, self.bytes.recv(&mut self.buffer)).await;
        let length = received.context("an encoded message got lost on loopback")??;
        Ok(self.buffer[..length].to_vec())
    }

    /// The next message of a member, in bytes.
    async fn receive(&mut self) -> anyhow::Result<(SocketAddr, Vec<u8>)> {
        loop {
            let (length, from) = match self.outside.recv_from(&mut self.buffer).await {
                Ok(received) => received,
                Err(error) => {
                    // Such as an ICMP answer to something sent to a node that is gone.
                    self.failures += 1;
                    if self.failures >= FAILURES_MAX {
                        return Err(error).context("receive from the network");
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                }
            };
            self.failures = 0;
            match self.seal.open(from, &self.buffer[..length]) {
                Opened::Message(message) => return Ok((from, message)),
                Opened::Half => {}
                Opened::Refused => self.complain(from),
            }
        }
    }

    fn complain(&mut self, from: SocketAddr) {
        metrics::counter!("headwater_gossip_refused_total").increment(1);
        if self.complained.is_none_or(|at| at.elapsed() >= COMPLAINT_EVERY) {
            self.complained = Some(Instant::now());
            tracing::warn!(
                %from,
                "refused gossip of another cluster, or with another secret; if it is a node of this cluster, give both \
                 the same cluster.name and cluster.secret"
            );
        }
    }
}

#[async_trait]
impl Socket for SealedSocket {
    fn local_addr(&self) -> anyhow::Result<SocketAddr> {
        self.outside.local_addr().context("address of the gossip socket")
    }

    async fn send(&mut self, to: SocketAddr, envelope: ChitchatEnvelope) -> anyhow::Result<SendOutcome> {
        let message = self.encode(envelope).await?;
        let mut num_bytes_sent = 0;
        for datagram in self.seal.seal(&message) {
            match self.outside.send_to(&datagram, to).await {
                Ok(sent) => num_bytes_sent += sent,
                // A node that cannot be reached now; an error here would say that nobody can be, ever.
                Err(error) => tracing::debug!(%to, %error, "gossip was not sent"),
            }
        }
        Ok(SendOutcome { num_bytes_sent })
    }

    /// May be dropped at any await, and called again: what was given to the codec is taken back first.
    async fn recv(&mut self) -> anyhow::Result<RecvOutcome> {
        loop {
            if let Some(from_addr) = self.decoding {
                match tokio::time::timeout(CODEC_WAIT, self.codec.recv()).await {
                    Ok(outcome) => {
                        let outcome = outcome?;
                        // Anybody on this machine can send to loopback, but not from that address.
                        if outcome.from_addr == self.bytes_address {
                            self.decoding = None;
                            return Ok(RecvOutcome { from_addr, ..outcome });
                        }
                        continue;
                    }
                    // The library could not read it, and has said so.
                    Err(_) => self.decoding = None,
                }
            }
            let (from, message) = self.receive().await?;
            while tokio::time::timeout(Duration::ZERO, self.codec.recv()).await.is_ok() {}
            self.decoding = Some(from);
            if let Err(error) = self.bytes.send(&message).await {
                // A member made it longer than any message is.
                self.decoding = None;
                tracing::warn!(%from, %error, bytes = message.len(), "unusable gossip");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(secret: &str, cluster: &str) -> Seal {
        let secret = (!secret.is_empty()).then(|| Secret::new(secret).unwrap());
        Seal::new(secret.as_ref(), cluster)
    }

    fn sender(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    #[test]
    fn messages_of_every_size_arrive() {
        let (mut here, mut there) = (seal("0123456789abcdef", "c"), seal("0123456789abcdef", "c"));
        let whole = DATAGRAM_BYTES_MAX - HEAD_BYTES;
        for (length, datagrams) in [(0, 1), (1, 1), (whole, 1), (whole + 1, 2), (DATAGRAM_BYTES_MAX, 2)] {
            let message: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let sealed = here.seal(&message);
            assert_eq!(sealed.len(), datagrams);
            assert!(sealed.iter().all(|datagram| datagram.len() <= DATAGRAM_BYTES_MAX));
            let opened: Vec<_> = sealed.iter().map(|datagram| there.open(sender(1), datagram)).collect();
            assert_eq!(opened.last(), Some(&Opened::Message(message)));
        }
    }

    #[test]
    fn halves_of_different_messages_do_not_meet() {
        let (mut here, mut there) = (seal("", "c"), seal("", "c"));
        let message = vec![7; DATAGRAM_BYTES_MAX];
        let (one, two) = (here.seal(&message), here.seal(&message));
        assert_eq!(there.open(sender(1), &one[0]), Opened::Half);
        assert_eq!(there.open(sender(1), &two[1]), Opened::Half);
        assert_eq!(there.open(sender(1), &one[1]), Opened::Half);
        assert_eq!(there.open(sender(1), &one[0]), Opened::Half);
        assert_eq!(there.open(sender(2), &one[1]), Opened::Half);
        assert_eq!(there.open(sender(1), &two[0]), Opened::Half);
        assert_eq!(there.open(sender(1), &two[1]), Opened::Message(message));
    }

    #[test]
    fn strangers_are_refused() {
        let mut here = seal("0123456789abcdef", "c");
        let others = [seal("0123456789abcdeF", "c"), seal("0123456789abcdef", "d"), seal("", "c")];
        for mut other in others {
            assert_eq!(here.open(sender(1), &other.seal(b"hello")[0]), Opened::Refused);
            assert_eq!(other.open(sender(1), &here.seal(b"hello")[0]), Opened::Refused);
        }
        let genuine = here.seal(b"hello").remove(0);
        for place in 0..genuine.len() {
            let mut changed = genuine.clone();
            changed[place] ^= 1;
            assert_eq!(here.open(sender(1), &changed), Opened::Refused, "byte {place}");
            assert_eq!(here.open(sender(1), &genuine[..place]), Opened::Refused, "{place} bytes");
        }
        assert_eq!(here.open(sender(1), &genuine), Opened::Message(b"hello".to_vec()));
    }

    #[test]
    fn a_short_secret_is_refused() {
        let error = Secret::new("0123456789abcde").err().unwrap().to_string();
        assert!(error.contains("at least 16") && !error.contains("0123"), "{error}");
    }
}
