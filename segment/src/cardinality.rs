//! Whether a column has too many distinct values, judged by a part of its rows.
//!
//! Among m values that are spread evenly over N rows, N / m rows each, n of the rows miss any one of them with a chance of about
//! (1 - n / N)^(N / m), so that they show m * (1 - (1 - n / N)^(N / m)) of them (Yao 1977; for n far below N that is
//! m * (1 - e^(-n / m))). Values of uneven weight show fewer. NULLs count among the N rows, but not among the n that were seen, so
//! that a column with many of them is given up later, or not before its end. So a column that shows more than that is taken to have more than
//! m values, and can be given up at a small part of its rows.
//!
//! The part is taken from all over the column: where rows are sorted, or the stream changes, the first ones are not like the others.

use std::ops::Range;

/// Values before a column is judged, and pieces that they come from: fewer say little about it.
const JUDGED_VALUES_MIN: usize = 32_768;
const JUDGED_PIECES_MIN: usize = 8;

/// When a column is given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// It has more distinct values,
    pub(crate) distinct_max: usize,
    /// or what was seen of its rows, which are so many, shows that it will have more; `None`: only what is counted counts.
    pub(crate) judged_rows: Option<usize>,
}

impl Limit {
    /// Whether a column with `distinct` distinct ones among `seen` values of `pieces` pieces is given up.
    pub(crate) fn is_reached(self, distinct: usize, seen: usize, pieces: usize) -> bool {
        let is_judged = seen >= JUDGED_VALUES_MIN && pieces >= JUDGED_PIECES_MIN;
        let shows_more = |rows| distinct as f64 > distinct_shown(self.distinct_max, rows, seen);
        distinct > self.distinct_max
            // A column of no more rows than that has no more values, whatever rounding says.
            || self.judged_rows.is_some_and(|rows| is_judged && self.distinct_max < rows && shows_more(rows))
    }
}

/// How many of `distinct` values, spread evenly over `rows` rows, `seen` of these rows show.
fn distinct_shown(distinct: usize, rows: usize, seen: usize) -> f64 {
    let (distinct, rows, seen) = (distinct as f64, rows as f64, seen as f64);
    // In logarithms, because what differs from 1 is small.
    -distinct * (rows / distinct * (-seen / rows).ln_1p()).exp_m1()
}

/// The pieces of a column, by their lengths, in an order in which any first few of them come from all over it: the number of each,
/// and its rows.
pub(crate) fn spread(lengths: impl Iterator<Item = usize>) -> Vec<(usize, Range<usize>)> {
    /// 2^64 by the golden ratio: multiples of it, as fractions of 2^64, fill the circle evenly (Knuth, volume 3, section 6.4).
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut end = 0;
    let rows = lengths.map(|length| {
        end += length;
        end - length..end
    });
    let mut pieces: Vec<(usize, Range<usize>)> = rows.enumerate().collect();
    pieces.sort_unstable_by_key(|(number, _)| (*number as u64).wrapping_mul(GOLDEN));
    pieces
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Values that are drawn evenly, with repetition, from `values` of them.
    pub(crate) fn drawn(values: usize) -> impl Iterator<Item = i64> {
        (1_u64..).map(move |row| {
            let mixed = row.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB) >> 16;
            (mixed % values as u64) as i64
        })
    }

    fn distinct(values: usize, seen: usize) -> usize {
        drawn(values).take(seen).collect::<std::collections::HashSet<_>>().len()
    }

    #[test]
    fn a_part_of_the_rows_tells_which_side_of_the_limit_a_column_is_on() {
        for rows in [1_000_000, 10_000_000] {
            let limit = Limit { distinct_max: rows / 3, judged_rows: Some(rows) };
            let is_reached = |values: usize| {
                [32_768, 65_536, 131_072].map(|seen| limit.is_reached(distinct(values, seen), seen, 8))
            };
            for values in [1, 1_000, 20_000, 25_000, 100_000, rows / 4] {
                assert_eq!(is_reached(values), [false; 3], "{values} of {rows}");
            }
            for values in [rows * 2, rows * 100] {
                assert_eq!(is_reached(values), [true; 3], "{values} of {rows}");
            }
        }
    }

    #[test]
    fn a_column_at_its_end_is_only_counted() {
        let is_reached = |(distinct_max, rows), distinct, seen| {
            Limit { distinct_max, judged_rows: Some(rows) }.is_reached(distinct, seen, 8)
        };
        for (limit, rows) in [(25_000, 100_000), (70_000, 100_000), (1, 40_000)] {
            assert!(!is_reached((limit, rows), limit, rows));
            assert!(is_reached((limit, rows), limit + 1, rows));
        }
        for seen in [32_768, 35_000, 39_999, 40_000] {
            assert!(!is_reached((40_000, 40_000), seen, seen), "as many as there are rows");
        }
        assert!(!is_reached((100_000, 300_000), 32_767, 32_767), "too early to say");
        assert!(is_reached((100_000, 300_000), 32_768, 32_768), "all distinct");
        assert!(is_reached((0, 2), 1, 1) && !is_reached((0, 0), 0, 0));
        let limit = Limit { distinct_max: 100_000, judged_rows: Some(300_000) };
        assert!(!limit.is_reached(60_000, 60_000, 7), "all from few places");
        let counted = Limit { judged_rows: None, ..limit };
        assert!(!counted.is_reached(100_000, 100_000, 100) && counted.is_reached(100_001, 100_001, 1));
    }

    #[test]
    fn any_first_pieces_come_from_all_over_the_column() {
        for count in [8, 9, 100, 1221] {
            let pieces = spread((0..count).map(|number| number % 5));
            let mut numbers: Vec<usize> = pieces.iter().map(|(number, _)| *number).collect();
            let mut first = numbers[..JUDGED_PIECES_MIN].to_vec();
            first.sort_unstable();
            let largest_gap = first.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
            assert!(largest_gap <= count / 3 + 1, "{first:?} of {count}");
            assert!(first[0] <= count / 3 && first[7] >= count - count / 3 - 1, "{first:?} of {count}");
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..count));
            let mut end = 0;
            for number in 0..count {
                let (_, rows) = pieces.iter().find(|(other, _)| *other == number).unwrap();
                assert_eq!(*rows, end..end + number % 5);
                end = rows.end;
            }
        }
    }
}
