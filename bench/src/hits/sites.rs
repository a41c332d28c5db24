//! Which counter a row belongs to: rows lie in the order of their counters, and those in the order of their days, nearly.

use crate::data::{Zipf, mix};

/// Counters (sites).
pub(super) const COUNTERS: u64 = 6_500;
/// The counter of the dashboard's queries, and its share of all rows.
pub(super) const DASHBOARD_COUNTER: u64 = 62;
const DASHBOARD_SHARE: f64 = 0.008;
const EXPONENT: f64 = 0.9;
/// Rows are this far out of order at most: less than a block of any engine.
const DISORDER_ROWS: u64 = 4_000;
/// Days of the data.
pub(super) const DAYS: u64 = 30;

/// Where the rows of each counter begin.
pub(super) struct Sites {
    /// By counter; one more for the end.
    starts: Vec<u64>,
}

/// A row's place among the rows of its counter.
pub(super) struct Site {
    pub(super) counter: u64,
    /// From 0 to `DAYS - 1`.
    pub(super) day: u64,
    /// Rows of the counter.
    pub(super) rows: u64,
}

impl Sites {
    pub(super) fn new(rows: u64) -> Self {
        // Which counters are large has nothing to do with their numbers.
        let mut ranks: Vec<u64> = (0..COUNTERS).collect();
        ranks.sort_by_key(|rank| mix(rank + 7));
        let weight = |counter: u64| (ranks[counter as usize] as f64 + 1.0).powf(-EXPONENT);
        let others = (0..COUNTERS).filter(|counter| *counter != DASHBOARD_COUNTER).map(weight).sum::<f64>();
        let mut before = 0.0;
        let mut starts = Vec::with_capacity(COUNTERS as usize + 1);
        for counter in 0..COUNTERS {
            starts.push((before * rows as f64) as u64);
            before += match counter {
                DASHBOARD_COUNTER => DASHBOARD_SHARE,
                _ => weight(counter) / others * (1.0 - DASHBOARD_SHARE),
            };
        }
        starts.push(rows);
        Self { starts }
    }

    /// The site of a row.
    pub(super) fn of(&self, row: u64) -> Site {
        let last = self.starts[COUNTERS as usize] - 1;
        let place = (row + mix(row) % DISORDER_ROWS).saturating_sub(DISORDER_ROWS / 2).min(last);
        let counter = self.starts.partition_point(|start| *start <= place) - 1;
        let (start, end) = (self.starts[counter], self.starts[counter + 1]);
        Site { counter: counter as u64, day: (place - start) * DAYS / (end - start), rows: end - start }
    }
}

/// A page of a site: the frequent ones are few, one row in six has a page that no row had before.
pub(super) fn page(share: f64, site_rows: u64) -> u64 {
    Zipf::new(site_rows, 1.1).rank(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_lie_nearly_in_the_order_of_their_counters() {
        let sites = Sites::new(1_000_000);
        let counters: Vec<u64> = (0..1_000_000).map(|row| sites.of(row).counter).collect();
        let dashboard = counters.iter().filter(|counter| **counter == DASHBOARD_COUNTER).count();
        assert!((7_500..8_500).contains(&dashboard), "{dashboard}");
        let distinct: std::collections::HashSet<_> = counters.iter().collect();
        assert!(distinct.len() > 6_000, "{}", distinct.len());
        for (early, late) in counters.iter().zip(&counters[2 * DISORDER_ROWS as usize..]) {
            assert!(early <= late);
        }
    }
}
