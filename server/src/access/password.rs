//! Passwords against argon2id hashes: tens of milliseconds and tens of megabytes each, on purpose.
//!
//! So they are computed on threads of their own, [`AT_ONCE`] at a time, and at most [`WAITING_MAX`] wait, of one network
//! [`OF_NETWORK_MAX`]: whoever sends many makes others wait for those and no more. An answer is kept for [`KEPT`] under a keyed digest of name, password and hash, so that a client that sends its password with every request pays
//! once, and requests that come together pay together. A new hash makes a new digest: nothing has to be invalidated.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use headwater_broker::access::AccessError;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokio::sync::{OnceCell, Semaphore};

use super::attempts::Network;
use super::{PASSWORD_BYTES_MAX, TOKEN_PREFIX};

/// Hashes that are computed at once: memory, and cores that queries have then.
const AT_ONCE: usize = 2;
/// Further ones that wait.
const WAITING_MAX: usize = 64;
/// Of both, those that one network may have.
const OF_NETWORK_MAX: usize = 8;
/// A password that was right is taken for right for so long.
const KEPT: Duration = Duration::from_secs(300);
const KEPT_MAX: usize = 1024;

/// For somebody who finds no place.
const BUSY: AccessError = AccessError::Throttled { retry_after_s: 1 };

/// Least and most memory of a hash, in KiB: the least that OWASP recommends for argon2id, and what two at once may take.
const MEMORY_KIB: std::ops::RangeInclusive<u32> = 7 * 1024..=256 * 1024;
const ROUNDS_MAX: u32 = 32;
const LANES_MAX: u32 = 16;
const OUTPUT_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// A password as the configuration has it.
#[derive(Clone)]
pub(super) struct PasswordHash(Arc<Parts>);

struct Parts {
    version: Version,
    params: Params,
    salt: Vec<u8>,
    output: Vec<u8>,
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl PasswordHash {
    /// Reads the PHC format.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let hash = argon2::PasswordHash::new(text)
            .map_err(|_| "is not in PHC format; `headwater access hash-password` prints one".to_string())?;
        if hash.algorithm.as_str() != "argon2id" {
            return Err("is not argon2id; `headwater access hash-password` prints one".into());
        }
        let unreadable = |_| "its parameters are not argon2id's".to_string();
        let version = hash
            .version
            .map_or(Ok(Version::V0x13), Version::try_from)
            .map_err(|_| "its version is unknown")?;
        let params = Params::try_from(&hash).map_err(unreadable)?;
        if !MEMORY_KIB.contains(&params.m_cost()) {
            let (least, most) = (MEMORY_KIB.start(), MEMORY_KIB.end());
            return Err(format!("its memory m={} is not within {least} and {most} KiB", params.m_cost()));
        }
        if params.t_cost() > ROUNDS_MAX || params.p_cost() > LANES_MAX {
            return Err(format!("has more than {ROUNDS_MAX} rounds or {LANES_MAX} lanes"));
        }
        let mut salt = [0; 64];
        let salt = hash
            .salt
            .and_then(|text| text.decode_b64(&mut salt).ok().map(<[u8]>::to_vec))
            .ok_or("has no salt")?;
        let output = hash.hash.map(|output| output.as_bytes().to_vec()).unwrap_or_default();
        if !OUTPUT_BYTES.contains(&output.len()) {
            return Err("has no hash of 16 to 64 bytes".into());
        }
        Ok(Self(Arc::new(Parts { version, params, salt, output })))
    }

    /// One as costly as the first of `others`, that no password has.
    pub(super) fn of_nobody<'a>(mut others: impl Iterator<Item = &'a Self>) -> Self {
        let params = others.next().map_or_else(Params::default, |other| other.0.params.clone());
        let (salt, output): ([u8; 16], [u8; 32]) = (rand::random(), rand::random());
        Self(Arc::new(Parts {
            version: Version::V0x13,
            params,
            salt: salt.to_vec(),
            output: output.to_vec(),
        }))
    }

    /// What it costs: memory in KiB, rounds, lanes.
    #[cfg(test)]
    pub(super) fn costs(&self) -> (u32, u32, u32) {
        (self.0.params.m_cost(), self.0.params.t_cost(), self.0.params.p_cost())
    }

    pub(super) fn is_of(&self, password: &str) -> bool {
        let Parts { version, params, salt, output } = &*self.0;
        let mut computed = vec![0; output.len()];
        let argon2 = Argon2::new(Algorithm::Argon2id, *version, params.clone());
        let done = argon2.hash_password_into(password.as_bytes(), salt, &mut computed);
        done.is_ok() && bool::from(computed.ct_eq(output))
    }
}

/// The hash of a password for the configuration, with argon2's recommended costs.
///
/// # Errors
/// If nobody could sign in with it, or if argon2 cannot compute it, such as for want of memory.
pub fn hash_password(password: &str) -> Result<String, String> {
    if password.starts_with(TOKEN_PREFIX) {
        return Err(format!(
            "a password that begins with {TOKEN_PREFIX} is taken for a token; choose another one"
        ));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(format!("a password has at most {PASSWORD_BYTES_MAX} bytes; choose a shorter one"));
    }
    let salt: [u8; 16] = rand::random();
    let salt = SaltString::encode_b64(&salt).map_err(|error| error.to_string())?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(|error| error.to_string())
}

type Digest = [u8; 32];

/// See the module.
pub(super) struct Passwords {
    key: [u8; 32],
    kept: Mutex<HashMap<Digest, Kept>>,
    at_once: Arc<Semaphore>,
    places: Places,
}

struct Kept {
    since: Instant,
    /// Whether it was right, once that is known.
    right: Arc<OnceCell<bool>>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            key: rand::random(),
            kept: Mutex::default(),
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            places: Places::default(),
        }
    }
}

impl Passwords {
    /// Whether `password` has this hash. `begin` is asked once there is a place to compute it, and may refuse.
    pub(super) async fn is_right(
        &self,
        user: &str,
        password: String,
        hash: PasswordHash,
        from: Network,
        begin: impl FnOnce() -> Result<(), AccessError>,
    ) -> Result<bool, AccessError> {
        let claim = self.claim(self.digest(user, &password, &hash));
        let right = claim.right.get_or_try_init(|| async {
            let _place = self.places.take(from).ok_or(BUSY)?;
            begin()?;
            self.compute(password, hash).await
        });
        right.await.copied()
    }

    fn digest(&self, user: &str, password: &str, hash: &PasswordHash) -> Digest {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        for part in [user.as_bytes(), password.as_bytes(), &hash.0.salt, &hash.0.output] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    fn claim(&self, digest: Digest) -> Claim<'_> {
        let mut kept = self.kept.lock();
        if kept.len() >= KEPT_MAX || kept.get(&digest).is_some_and(Kept::is_over) {
            kept.retain(|_, known| !known.is_over());
        }
        if kept.len() >= KEPT_MAX && !kept.contains_key(&digest) {
            // Whoever computes that one holds it as well.
            let least = kept.iter().min_by_key(|(_, known)| (known.is_right(), known.since));
            if let Some(least) = least.map(|(digest, _)| *digest) {
                kept.remove(&least);
            }
        }
        let new = || Kept { since: Instant::now(), right: Arc::default() };
        let right = Arc::clone(&kept.entry(digest).or_insert_with(new).right);
        Claim { kept: &self.kept, digest, right }
    }

    async fn compute(&self, password: String, hash: PasswordHash) -> Result<bool, AccessError> {
        let permit = Arc::clone(&self.at_once).acquire_owned().await.map_err(|_| BUSY)?;
        let computed = tokio::task::spawn_blocking(move || {
            // With the work, and not with whoever waits for it: that one may have gone.
            let _permit = permit;
            hash.is_of(&password)
        });
        computed.await.map_err(|_| BUSY)
    }
}

impl Kept {
    fn is_over(&self) -> bool {
        self.since.elapsed() >= KEPT
    }

    fn is_right(&self) -> bool {
        self.right.get() == Some(&true)
    }
}

/// A part in an answer that is kept or being found out. What was not found right goes with the last one, also if that one is
/// dropped in the middle: the same again is another attempt.
struct Claim<'a> {
    kept: &'a Mutex<HashMap<Digest, Kept>>,
    digest: Digest,
    right: Arc<OnceCell<bool>>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut kept = self.kept.lock();
        // Given up under the lock, so that of two that go together the second one sees that it is the last.
        let right = std::mem::take(&mut self.right);
        // Another one may have its place by now.
        let Some(known) = kept.get(&self.digest).filter(|known| Arc::ptr_eq(&known.right, &right)) else {
            return;
        };
        drop(right);
        if !known.is_right() && Arc::strong_count(&known.right) == 1 {
            kept.remove(&self.digest);
        }
    }
}

/// Who computes or waits, by network.
#[derive(Default)]
struct Places(Mutex<HashMap<Network, usize>>);

impl Places {
    /// A place, until it is dropped.
    fn take(&self, from: Network) -> Option<Place<'_>> {
        let mut taken = self.0.lock();
        let of_network = taken.get(&from).copied().unwrap_or(0);
        if of_network >= OF_NETWORK_MAX || taken.values().sum::<usize>() >= AT_ONCE + WAITING_MAX {
            return None;
        }
        taken.insert(from, of_network + 1);
        Some(Place { places: self, from })
    }
}

struct Place<'a> {
    places: &'a Places,
    from: Network,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Entry::Occupied(mut taken) = self.places.0.lock().entry(self.from) {
            *taken.get_mut() -= 1;
            if *taken.get() == 0 {
                taken.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures::poll;

    use super::*;

    fn at(last: u8) -> Network {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    #[tokio::test]
    async fn what_is_given_up_in_the_middle_leaves_nothing() {
        let passwords = Passwords::default();
        let hash = PasswordHash::of_nobody(std::iter::empty());
        // Nobody computes while the test holds all permits.
        let permits = passwords.at_once.clone().acquire_many_owned(AT_ONCE as u32).await.unwrap();
        let ask = |password: &str, from| {
            let asked = passwords.is_right("ada", password.to_string(), hash.clone(), from, || Ok(()));
            Box::pin(asked)
        };
        let (mut one, mut same, mut other) = (ask("a", at(1)), ask("a", at(2)), ask("b", at(3)));
        assert!(
            poll!(&mut one).is_pending() && poll!(&mut same).is_pending() && poll!(&mut other).is_pending()
        );
        assert_eq!(passwords.kept.lock().len(), 2);
        drop(other);
        assert_eq!(passwords.kept.lock().len(), 1);
        // Somebody else still wants to know.
        drop(one);
        assert_eq!(passwords.kept.lock().len(), 1);
        drop(permits);
        assert_eq!(same.await, Ok(false));
        assert!(passwords.kept.lock().is_empty() && passwords.places.0.lock().is_empty());
    }

    #[test]
    fn what_is_full_forgets_what_is_not_known_to_be_right() {
        let passwords = Passwords::default();
        let digest = |number: usize| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            digest
        };
        let pending = passwords.claim(digest(0));
        for number in 1..KEPT_MAX {
            passwords.claim(digest(number)).right.set(true).unwrap();
        }
        assert_eq!(passwords.kept.lock().len(), KEPT_MAX);
        let knows = |number: usize| passwords.kept.lock().contains_key(&digest(number));
        passwords.claim(digest(KEPT_MAX)).right.set(true).unwrap();
        assert!(!knows(0) && (1..=KEPT_MAX).all(knows));
        // All are right: one of them goes, and what is new is kept.
        passwords.claim(digest(KEPT_MAX + 1)).right.set(true).unwrap();
        assert!(knows(KEPT_MAX + 1) && passwords.kept.lock().len() == KEPT_MAX);
        // It goes without taking away what has its place.
        let again = passwords.claim(digest(0));
        again.right.set(true).unwrap();
        drop(pending);
        drop(again);
        assert!(knows(0));
    }

    #[test]
    fn a_network_has_its_share_of_the_places() {
        let places = Places::default();
        let mut held: Vec<_> = (0..OF_NETWORK_MAX).map(|_| places.take(at(1)).unwrap()).collect();
        assert!(places.take(at(1)).is_none());
        for network in 2..=8 {
            held.extend((0..OF_NETWORK_MAX).filter_map(|_| places.take(at(network))));
        }
        let left = AT_ONCE + WAITING_MAX - held.len();
        held.extend((0..left).filter_map(|_| places.take(at(9))));
        assert!(held.len() == AT_ONCE + WAITING_MAX && places.take(at(10)).is_none());
        held.remove(0);
        assert!(places.take(at(10)).is_some());
        held.clear();
        assert!(places.0.lock().is_empty());
    }

    #[tokio::test]
    async fn an_attempt_counts_once_it_has_a_place() {
        let passwords = Passwords::default();
        let hash = PasswordHash::of_nobody(std::iter::empty());
        let held: Vec<_> = (0..OF_NETWORK_MAX).map(|_| passwords.places.take(at(1)).unwrap()).collect();
        let asked = passwords.is_right("ada", "a".into(), hash.clone(), at(1), || panic!("it was counted"));
        assert_eq!(asked.await, Err(BUSY));
        drop(held);
        let refusal = AccessError::Throttled { retry_after_s: 7 };
        let asked = passwords.is_right("ada", "a".into(), hash, at(1), || Err(refusal.clone()));
        assert_eq!(asked.await, Err(refusal));
        assert!(passwords.kept.lock().is_empty() && passwords.places.0.lock().is_empty());
    }

    #[test]
    fn what_could_never_sign_in_is_not_hashed() {
        for password in [format!("{TOKEN_PREFIX}x"), "x".repeat(PASSWORD_BYTES_MAX + 1)] {
            assert!(hash_password(&password).unwrap_err().contains("choose"), "{password}");
        }
    }
}
