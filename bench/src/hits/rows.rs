//! One hit: every value of it is made of its number and the seed.
//!
//! Shares are those measured on ClickBench's table: users one sixth as many as rows, 87 % without a search phrase, 0.6 % from an
//! advertisement, 5 % from a phone, a fifth of the regions' rows in one of them.

use crate::data::{Random, Zipf, mix};

use super::SEED;
use super::sites::{Site, Sites, page};

const HITS: u64 = 1;
const SEARCHES: u64 = 2;
/// Rows with a search phrase come one after the other.
const SEARCH_RUN_ROWS: u64 = 7;
const SEARCH_PERCENT: f64 = 13.0;
/// 2013-07-01.
pub(super) const FIRST_DAY: i32 = 15_887;
const DAY_SECONDS: u64 = 86_400;
const WIDTHS: [u16; 12] = [1366, 1024, 1280, 1920, 1440, 1600, 1680, 800, 320, 1152, 768, 2560];
const HEIGHTS: [u16; 6] = [768, 1024, 800, 1080, 900, 600];
const SOURCES: [i8; 9] = [-1, 0, 1, 2, 3, 4, 5, 6, 7];

/// A hit. Texts are numbers: see [`text`](super::text).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) watch: i64,
    pub(super) counter: u64,
    /// Days since 1970-01-01.
    pub(super) date: i32,
    /// Seconds since 1970-01-01.
    pub(super) time: i64,
    pub(super) user: i64,
    pub(super) ip: i32,
    pub(super) region: i32,
    /// Numbers among the pages of the counter.
    pub(super) url: u64,
    pub(super) title: u64,
    pub(super) referer: Option<u64>,
    pub(super) phrase: Option<u64>,
    pub(super) search_engine: u8,
    pub(super) adv_engine: u8,
    pub(super) source: i8,
    /// The phone's model, from 1; its maker is a fourth of that.
    pub(super) phone: u8,
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) window: [u16; 2],
    pub(super) is_refresh: bool,
    pub(super) is_link: bool,
    pub(super) is_download: bool,
    pub(super) dont_count: bool,
    /// What the other columns are made of.
    pub(super) rest: u64,
}

/// How many users and phrases there are to choose from.
pub(super) struct Hits {
    rows: u64,
    sites: Sites,
    users: Zipf,
    phrases: Zipf,
}

impl Hits {
    pub(super) fn new(rows: u64) -> Self {
        Self {
            rows,
            sites: Sites::new(rows),
            users: Zipf::new(rows / 5, 0.8),
            phrases: Zipf::new(rows * 3 / 20, 0.8),
        }
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// The hit of that number.
    pub(super) fn hit(&self, row: u64) -> Hit {
        let Site { counter, day, rows } = self.sites.of(row);
        let mut random = Random::new(SEED, HITS, row);
        let searches = Random::new(SEED, SEARCHES, row / SEARCH_RUN_ROWS).percent(SEARCH_PERCENT);
        let date = FIRST_DAY + day as i32;
        let rank = self.users.rank(random.share());
        let adv = random.percent(0.6);
        let phone = random.percent(5.0);
        let width = WIDTHS[Zipf::new(12, 0.9).rank(random.share()) as usize];
        let height = HEIGHTS[random.below(6) as usize];
        Hit {
            // Odd times anything is one to one: no two hits have the same.
            watch: (mix(row.wrapping_add(1)) >> 1) as i64,
            counter,
            date,
            time: i64::from(date) * DAY_SECONDS as i64 + random.below(DAY_SECONDS) as i64,
            user: user_id(rank),
            ip: mix(rank * 4 + random.below(2)) as i32 & 0x3fff_ffff,
            region: region(&mut random),
            url: page(random.share(), rows),
            title: page(random.share(), rows / 2),
            referer: random.percent(80.0).then(|| page(random.share(), rows)),
            phrase: searches.then(|| self.phrases.rank(random.share())),
            search_engine: if searches { 1 + Zipf::new(90, 1.5).rank(random.share()) as u8 } else { 0 },
            adv_engine: if adv { 1 + Zipf::new(18, 1.2).rank(random.share()) as u8 } else { 0 },
            source: SOURCES[Zipf::new(9, 0.8).rank(random.share()) as usize],
            phone: if phone { 1 + Zipf::new(165, 0.9).rank(random.share()) as u8 } else { 0 },
            width,
            height,
            window: [width - random.below(200) as u16, height - random.below(180) as u16],
            is_refresh: random.percent(13.0),
            is_link: random.percent(10.0),
            is_download: random.percent(0.3),
            dont_count: random.percent(2.0),
            rest: random.bits(),
        }
    }
}

/// The id of the user of a rank: below 2^39, so that the sum over a hundred million hits is a 64-bit number.
pub(super) fn user_id(rank: u64) -> i64 {
    (mix(rank + 1_000_000_007) >> 25) as i64
}

/// The hash of a text by its number, as ClickBench's table has it ready.
pub(super) fn text_hash(counter: u64, page: u64) -> i64 {
    mix((counter << 40) ^ page) as i64
}

fn region(random: &mut Random) -> i32 {
    if random.percent(18.0) {
        return 229;
    }
    Zipf::new(9_000, 1.05).rank(random.share()) as i32 + 1
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::Hash;

    use super::*;

    const ROWS: u64 = 200_000;

    fn distinct<T: Eq + Hash>(hits: &[Hit], of: impl Fn(&Hit) -> T) -> usize {
        hits.iter().map(of).collect::<HashSet<T>>().len()
    }

    #[test]
    fn cardinalities_and_skew_are_those_of_the_table() {
        let of = Hits::new(ROWS);
        let hits: Vec<Hit> = (0..ROWS).map(|row| of.hit(row)).collect();
        assert_eq!(hits[77], of.hit(77));
        let share = |count: usize| count as f64 / ROWS as f64;
        let with = |of: fn(&Hit) -> bool| share(hits.iter().filter(|hit| of(hit)).count());
        assert!((0.12..0.2).contains(&share(distinct(&hits, |hit| hit.user))));
        assert_eq!(distinct(&hits, |hit| hit.watch), ROWS as usize);
        // Small sites repeat less: of ten million rows it is a sixth.
        assert!((0.1..0.4).contains(&share(distinct(&hits, |hit| (hit.counter, hit.url)))));
        assert!((0.03..0.08).contains(&share(distinct(&hits, |hit| hit.phrase))));
        assert!((0.12..0.14).contains(&with(|hit| hit.phrase.is_some())));
        assert!((0.005..0.007).contains(&with(|hit| hit.adv_engine > 0)));
        assert!((0.18..0.2).contains(&with(|hit| hit.region == 229)));
        assert!((15..=19).contains(&distinct(&hits, |hit| hit.adv_engine)));
        assert_eq!(distinct(&hits, |hit| hit.date), 30);
        assert!(hits.iter().all(|hit| hit.user < 1 << 39 && hit.time / 86_400 == i64::from(hit.date)));
    }
}
