//! Who was wrong too often waits: some attempts are free, then each doubles the time until the next.
//!
//! Counted per user and network, so that nobody locks a user out from elsewhere, and bounded per network, so that nobody who tries
//! names without end makes others wait. An attempt counts when it begins, so that many at once are many; being right takes the
//! count away.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use headwater_broker::access::AccessError;
use parking_lot::Mutex;

/// Attempts without any wait.
const FREE: u32 = 5;
const WAIT_MAX: Duration = Duration::from_secs(300);
/// Attempts are forgotten after this.
const REMEMBERED: Duration = Duration::from_secs(900);
/// Names that one network has been wrong with and that are remembered; more it may not try until one is forgotten.
const NAMES_MAX: usize = 64;
/// Networks that are remembered, 30 MiB with names as long as they may be; beyond, the one is forgotten that was quiet the longest.
const NETWORKS_MAX: usize = 2048;

/// Where attempts come from, as far as one host can choose it: it has a whole /64 of IPv6 addresses. `None`: that is not known.
pub(super) type Network = Option<IpAddr>;

/// The network of an address.
pub(super) fn network_of(from: Option<IpAddr>) -> Network {
    from.map(|address| match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    })
}

#[derive(Clone, Copy, Debug)]
struct Tried {
    times: u32,
    last: Instant,
}

impl Tried {
    fn next(&self) -> Instant {
        let doublings = self.times.saturating_sub(FREE);
        let wait = match self.times < FREE {
            true => Duration::ZERO,
            false => Duration::from_secs(1 << doublings.min(16)).min(WAIT_MAX),
        };
        self.last + wait
    }

    fn is_forgotten(&self, now: Instant) -> bool {
        self.last + REMEMBERED <= now
    }
}

/// What one network has tried.
#[derive(Debug)]
struct Names {
    tried: HashMap<String, Tried>,
    newest: Instant,
}

impl Names {
    fn begin(&mut self, user: &str, now: Instant) -> Result<(), AccessError> {
        if self.tried.len() >= NAMES_MAX && !self.tried.contains_key(user) {
            self.tried.retain(|_, tried| !tried.is_forgotten(now));
            if self.tried.len() >= NAMES_MAX {
                let first = self.tried.values().map(|tried| tried.last).min().unwrap_or(now);
                return Err(throttled(first + REMEMBERED, now));
            }
        }
        let entry = self.tried.entry(user.to_owned()).or_insert(Tried { times: 0, last: now });
        if entry.is_forgotten(now) {
            *entry = Tried { times: 0, last: now };
        }
        if entry.next() > now {
            return Err(throttled(entry.next(), now));
        }
        *entry = Tried { times: entry.times.saturating_add(1), last: now };
        self.newest = now;
        Ok(())
    }
}

fn throttled(until: Instant, now: Instant) -> AccessError {
    AccessError::Throttled { retry_after_s: until.saturating_duration_since(now).as_secs() + 1 }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashMap<Network, Names>>);

impl Attempts {
    /// Counts an attempt, or says how long to wait.
    pub(super) fn begin(&self, user: &str, from: Network) -> Result<(), AccessError> {
        self.begin_at(user, from, Instant::now())
    }

    fn begin_at(&self, user: &str, from: Network, now: Instant) -> Result<(), AccessError> {
        let mut networks = self.0.lock();
        if networks.len() >= NETWORKS_MAX && !networks.contains_key(&from) {
            networks.retain(|_, names| names.newest + REMEMBERED > now);
            let quiet = networks.iter().min_by_key(|(_, names)| names.newest).map(|(network, _)| *network);
            if let Some(quiet) = quiet.filter(|_| networks.len() >= NETWORKS_MAX) {
                networks.remove(&quiet);
            }
        }
        let new = || Names { tried: HashMap::new(), newest: now };
        networks.entry(from).or_insert_with(new).begin(user, now)
    }

    /// The last attempt was right.
    pub(super) fn was_right(&self, user: &str, from: Network) {
        if let Entry::Occupied(mut network) = self.0.lock().entry(from) {
            network.get_mut().tried.remove(user);
            if network.get().tried.is_empty() {
                network.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_s(result: Result<(), AccessError>) -> u64 {
        match result {
            Ok(()) => 0,
            Err(AccessError::Throttled { retry_after_s }) => retry_after_s,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn each_wrong_attempt_makes_the_next_wait_longer() {
        let attempts = Attempts::default();
        let mut now = Instant::now();
        let here: Option<IpAddr> = Some("10.0.0.1".parse().unwrap());
        for _ in 0..FREE {
            assert_eq!(wait_s(attempts.begin_at("ada", here, now)), 0);
        }
        assert!(wait_s(attempts.begin_at("ada", here, now)) > 0);
        // Others do not wait for it, nor does ada elsewhere.
        assert_eq!(wait_s(attempts.begin_at("bob", here, now)), 0);
        assert_eq!(wait_s(attempts.begin_at("ada", Some("10.0.0.2".parse().unwrap()), now)), 0);
        for expected_s in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert!(
                wait_s(attempts.begin_at("ada", here, now + Duration::from_millis(expected_s * 1000 - 1)))
                    > 0
            );
            now += Duration::from_secs(expected_s);
            assert_eq!(wait_s(attempts.begin_at("ada", here, now)), 0, "{expected_s}");
        }
        assert!(wait_s(attempts.begin_at("ada", here, now)) > 0);
        attempts.was_right("ada", here);
        assert_eq!(wait_s(attempts.begin_at("ada", here, now)), 0);
    }

    #[test]
    fn a_host_is_its_network() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for last in 0..=FREE as u16 {
            let from = network_of(Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last).into()));
            assert_eq!(wait_s(attempts.begin_at("ada", from, now)) > 0, last == FREE as u16);
        }
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(network_of(Some(mapped)), Some("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_network_that_tries_names_without_end_waits_alone() {
        let attempts = Attempts::default();
        let now = Instant::now();
        let at = |last: u8| Some(IpAddr::from([10, 0, 0, last]));
        for name in 0..20_000 {
            let waits = wait_s(attempts.begin_at(&name.to_string(), at(1), now)) > 0;
            assert_eq!(waits, name >= NAMES_MAX, "{name}");
        }
        assert_eq!(attempts.0.lock()[&at(1)].tried.len(), NAMES_MAX);
        assert!(wait_s(attempts.begin_at("ada", at(1), now)) > 0);
        assert_eq!(wait_s(attempts.begin_at("ada", at(2), now)), 0);
        // Whoever was right makes room, and so does time.
        attempts.was_right("7", at(1));
        assert_eq!(wait_s(attempts.begin_at("ada", at(1), now)), 0);
        assert_eq!(wait_s(attempts.begin_at("eve", at(1), now + REMEMBERED)), 0);
    }

    #[test]
    fn of_too_many_networks_the_quiet_one_is_forgotten() {
        let attempts = Attempts::default();
        let start = Instant::now();
        let at = |network: usize| Some(IpAddr::from((network as u32).to_be_bytes()));
        for network in 0..NETWORKS_MAX {
            let now = start + Duration::from_millis(network as u64);
            assert_eq!(wait_s(attempts.begin_at("ada", at(network), now)), 0);
        }
        let now = start + Duration::from_secs(10);
        // The oldest by its first attempt is not the one that was quiet the longest.
        assert_eq!(wait_s(attempts.begin_at("ada", at(0), now)), 0);
        assert_eq!(wait_s(attempts.begin_at("ada", at(NETWORKS_MAX), now)), 0);
        let known = attempts.0.lock();
        assert_eq!(known.len(), NETWORKS_MAX);
        assert!(known.contains_key(&at(0)) && !known.contains_key(&at(1)) && known.contains_key(&at(2)));
    }
}
