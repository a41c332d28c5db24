//! Repeatable randomness: a stream of numbers for every entity of a data set, whatever is asked for first.
//!
//! Not a generator of a library: those may change their numbers between versions, and a data set must not.

/// A stream of pseudo-random numbers (splitmix64).
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of entity `index` of kind `kind`.
    pub fn new(seed: u64, kind: u64, index: u64) -> Self {
        Self(mix(seed ^ mix((kind << 48) ^ index)))
    }

    /// The next 64 bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `count`, all equally likely; 0 if `count` is 0.
    #[inline]
    pub fn below(&mut self, count: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(count)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    #[inline]
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// From 0 to below 1.
    #[inline]
    pub fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True in `percent` of 100 cases.
    #[inline]
    pub fn percent(&mut self, percent: f64) -> bool {
        self.share() * 100.0 < percent
    }
}

/// Spreads the bits of a number over all bits, one to one.
#[inline]
pub fn mix(number: u64) -> u64 {
    let mut bits = number;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Ranks 0 to `count - 1` whose chance falls with the power `-exponent` of the rank, by the inverse of the integral.
#[derive(Clone, Copy, Debug)]
pub struct Zipf {
    count: f64,
    exponent: f64,
}

impl Zipf {
    /// `exponent` must not be 1; below 1 the tail holds most, above 1 the head.
    pub fn new(count: u64, exponent: f64) -> Self {
        Self { count: count.max(1) as f64, exponent }
    }

    /// The rank at `share` (0 to below 1) of the distribution.
    #[inline]
    pub fn rank(&self, share: f64) -> u64 {
        let power = 1.0 - self.exponent;
        let whole = (self.count + 1.0).powf(power) - 1.0;
        let rank = (1.0 + share * whole).powf(1.0 / power);
        (rank as u64).clamp(1, self.count as u64) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_for_ever_and_stay_in_bounds() {
        let mut random = Random::new(1, 2, 3);
        let first = [random.bits(), random.bits()];
        let mut again = Random::new(1, 2, 3);
        assert_eq!(first, [again.bits(), again.bits()]);
        assert_ne!(first[0], Random::new(1, 2, 4).bits());
        assert_ne!(first[0], Random::new(1, 3, 3).bits());
        let mut seen = [0_u32; 7];
        (0..7_000).for_each(|_| seen[random.between(1, 7) as usize - 1] += 1);
        assert!(seen.iter().all(|count| (850..1150).contains(count)), "{seen:?}");
    }

    #[test]
    fn low_ranks_are_frequent_and_every_rank_is_below_the_count() {
        for exponent in [0.5, 0.8, 1.2] {
            let zipf = Zipf::new(1000, exponent);
            let mut random = Random::new(9, 0, 0);
            let ranks: Vec<u64> = (0..20_000).map(|_| zipf.rank(random.share())).collect();
            assert!(ranks.iter().all(|rank| *rank < 1000));
            let share = |below: u64| ranks.iter().filter(|rank| **rank < below).count() as f64 / 20_000.0;
            assert!(share(100) > 0.2 && share(10) < share(100) && share(1000) == 1.0, "{exponent}");
        }
    }
}
