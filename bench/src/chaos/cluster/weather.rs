//! What becomes of requests to the store: drawn from the seed, request by request.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;

use crate::chaos::plan::below;

/// The state of the way to the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Every request is carried out at once.
    #[default]
    Clear,
    /// So many of a thousand requests go wrong, in all ways that [`Fate`] has but waiting.
    Errors {
        /// Out of a thousand.
        per_mille: u32,
    },
    /// Every request waits, up to this long.
    Slow {
        /// The longest.
        most: Duration,
    },
    /// No request is carried out.
    Away {
        /// Whether requests hang; otherwise they are turned away.
        hangs: bool,
    },
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// It is carried out and answered.
    Pass,
    /// It is answered with 503 and not carried out.
    Refused,
    /// The connection ends before it is carried out.
    LostBefore,
    /// It is carried out, and then the connection ends: the writer does not know.
    LostAfter,
    /// It is carried out, and then answered with 500: the writer believes that it was not.
    DeniedAfter,
    /// It waits for the end of the outage, and is not carried out.
    Hangs,
}

impl Fate {
    fn name(self) -> &'static str {
        match self {
            Self::Pass => "passed",
            Self::Refused => "503",
            Self::LostBefore => "connection ended before",
            Self::LostAfter => "connection ended after",
            Self::DeniedAfter => "500 after",
            Self::Hangs => "hung",
        }
    }
}

impl Weather {
    /// What becomes of the next request, and how long it waits first.
    fn draw(self, random: &mut StdRng) -> (Duration, Fate) {
        match self {
            Self::Clear => (Duration::ZERO, Fate::Pass),
            Self::Slow { most } => {
                let us = u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1);
                (below(random, us), Fate::Pass)
            }
            Self::Away { hangs: true } => (Duration::ZERO, Fate::Hangs),
            Self::Away { hangs: false } => (Duration::ZERO, Fate::Refused),
            Self::Errors { per_mille } => {
                let is_hit = random.random_range(0..1000) < per_mille;
                let fates = [Fate::Refused, Fate::LostBefore, Fate::LostAfter, Fate::DeniedAfter];
                let fate = fates[random.random_range(0..fates.len())];
                (below(random, 20_000), if is_hit { fate } else { Fate::Pass })
            }
        }
    }
}

/// The weather over all nodes' ways to the store, and what came of it.
#[derive(Debug)]
pub(crate) struct Sky {
    weather: watch::Sender<Weather>,
    random: Mutex<StdRng>,
    fates: Mutex<BTreeMap<Fate, u64>>,
}

impl Sky {
    /// A clear one.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            weather: watch::Sender::new(Weather::Clear),
            random: Mutex::new(StdRng::seed_from_u64(seed ^ 0x53)),
            fates: Mutex::default(),
        }
    }

    /// From now on.
    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// What becomes of the next request.
    pub(crate) fn draw(&self) -> (Duration, Fate) {
        let drawn = self.weather.borrow().draw(&mut self.random.lock());
        *self.fates.lock().entry(drawn.1).or_default() += 1;
        drawn
    }

    /// Waits until requests no longer hang.
    pub(crate) async fn cleared(&self) {
        let is_over = |weather: &Weather| *weather != Weather::Away { hangs: true };
        // An error would mean that the sky is gone, which is `self`.
        let _ = self.weather.subscribe().wait_for(is_over).await;
    }

    /// How many requests met which fate, in words.
    pub(crate) fn fates(&self) -> BTreeMap<&'static str, u64> {
        self.fates.lock().iter().map(|(fate, times)| (fate.name(), *times)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(weather: Weather, seed: u64) -> Vec<(Duration, Fate)> {
        let mut random = StdRng::seed_from_u64(seed);
        (0..4_000).map(|_| weather.draw(&mut random)).collect()
    }

    #[test]
    fn a_seed_names_the_fates_of_all_requests() {
        let stormy = Weather::Errors { per_mille: 100 };
        assert_eq!(fates(stormy, 1), fates(stormy, 1));
        assert_ne!(fates(stormy, 1), fates(stormy, 2));
    }

    #[test]
    fn errors_are_of_all_kinds_and_as_many_as_it_says() {
        let drawn = fates(Weather::Errors { per_mille: 200 }, 7);
        let count = |fate| drawn.iter().filter(|(_, drawn)| *drawn == fate).count();
        for fate in [Fate::Refused, Fate::LostBefore, Fate::LostAfter, Fate::DeniedAfter] {
            assert!((100..300).contains(&count(fate)), "{fate:?}: {}", count(fate));
        }
        assert_eq!(count(Fate::Hangs), 0);
        assert!((3_000..3_400).contains(&count(Fate::Pass)));
    }

    #[test]
    fn an_outage_spares_nobody_and_delay_harms_nobody() {
        assert!(fates(Weather::Away { hangs: true }, 1).iter().all(|(_, fate)| *fate == Fate::Hangs));
        assert!(fates(Weather::Away { hangs: false }, 1).iter().all(|(_, fate)| *fate == Fate::Refused));
        let most = Duration::from_millis(300);
        let slow = fates(Weather::Slow { most }, 1);
        assert!(slow.iter().all(|(wait, fate)| *fate == Fate::Pass && *wait < most));
        assert!(slow.iter().any(|(wait, _)| *wait > most / 2));
        assert!(fates(Weather::Clear, 1).iter().all(|drawn| *drawn == (Duration::ZERO, Fate::Pass)));
    }
}
