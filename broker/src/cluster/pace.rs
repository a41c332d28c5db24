//! How long queries of each shape take: when one is late, and what is expected of a node.
//!
//! The shape of a statement is its text without the values in it, so that a dashboard's queries over other times and other
//! customers count as the same. The last times of each shape are kept, and what is needed is looked up in them.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Times that are kept of each shape.
const TIMES_MAX: usize = 64;
/// Of fewer times nothing can be said.
const TIMES_MIN: usize = 8;
/// Shapes that are kept: 1,024 of them are half a megabyte.
const SHAPES_MAX: usize = 1024;

/// The last times, the oldest ones overwritten.
#[derive(Debug, Default)]
pub(crate) struct Times {
    ring: Vec<f32>,
    next: usize,
}

impl Times {
    pub(crate) fn put(&mut self, taken: Duration) {
        let taken = taken.as_secs_f32();
        match self.ring.get_mut(self.next) {
            Some(place) => *place = taken,
            None => self.ring.push(taken),
        }
        self.next = (self.next + 1) % TIMES_MAX;
    }

    /// The time within which so many of a hundred were done; `None` if there are too few to say.
    pub(crate) fn percentile(&self, percent: usize) -> Option<Duration> {
        if self.ring.len() < TIMES_MIN {
            return None;
        }
        let mut sorted = self.ring.clone();
        sorted.sort_by(f32::total_cmp);
        let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(place).map(|taken| Duration::from_secs_f32(*taken))
    }
}

/// What a shape is known by.
pub(crate) type Shape = u64;

/// The shape of a statement.
pub(crate) fn shape_of(sql: &str) -> Shape {
    let mut hasher = DefaultHasher::new();
    let (mut quoted, mut in_word) = (false, false);
    for letter in sql.chars() {
        let is_value = quoted || letter == '\'' || (letter.is_ascii_digit() && !in_word);
        quoted ^= letter == '\'';
        in_word = letter == '_' || letter.is_alphabetic() || (in_word && letter.is_alphanumeric());
        if !is_value && letter != ' ' {
            letter.hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Paces {
    shapes: Mutex<HashMap<Shape, Pace>>,
}

#[derive(Debug)]
struct Pace {
    /// Until the answer began.
    whole: Times,
    /// Until a node's part of it began.
    parts: Times,
    used: Instant,
}

impl Paces {
    /// A query of this shape took so long.
    pub(crate) fn took(&self, shape: Shape, taken: Duration) {
        self.with(shape, |pace| pace.whole.put(taken));
    }

    /// A node's part of one did.
    pub(crate) fn part_took(&self, shape: Shape, taken: Duration) {
        self.with(shape, |pace| pace.parts.put(taken));
    }

    /// When a query of this shape is late; `None` if that is not known yet.
    pub(crate) fn late_after(&self, shape: Shape) -> Option<Duration> {
        self.shapes.lock().get(&shape)?.whole.percentile(95)
    }

    /// What a node usually takes for its part; `None` if that is not known yet.
    pub(crate) fn part(&self, shape: Shape) -> Option<Duration> {
        self.shapes.lock().get(&shape)?.parts.percentile(50)
    }

    fn with(&self, shape: Shape, change: impl FnOnce(&mut Pace)) {
        let (mut shapes, used) = (self.shapes.lock(), Instant::now());
        if shapes.len() >= SHAPES_MAX && !shapes.contains_key(&shape) {
            let oldest = shapes.iter().min_by_key(|(_, pace)| pace.used).map(|(shape, _)| *shape);
            oldest.map(|shape| shapes.remove(&shape));
        }
        let new = || Pace { whole: Times::default(), parts: Times::default(), used };
        let pace = shapes.entry(shape).or_insert_with(new);
        pace.used = used;
        change(pace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_differ_in_values_have_one_shape() {
        let shape = shape_of("SELECT count(*) FROM t WHERE a = 12.5 AND b IN ('x', 'it''s')");
        assert_eq!(shape_of("SELECT count(*) FROM t WHERE a = 7.25  AND b IN ('yy', '')"), shape);
        assert_ne!(shape_of("SELECT count(*) FROM t WHERE a = 12.5 AND c IN ('x', 'it''s')"), shape);
        assert_ne!(shape_of("SELECT count(*) FROM t2"), shape_of("SELECT count(*) FROM t3"));
        assert_ne!(shape_of("SELECT count(*) FROM t_2"), shape_of("SELECT count(*) FROM t_3"));
    }

    #[test]
    fn late_is_what_few_of_the_last_ones_were() {
        let (paces, ms) = (Paces::default(), Duration::from_millis);
        for number in 1..TIMES_MIN as u64 {
            paces.took(1, ms(number));
        }
        assert_eq!(paces.late_after(1), None);
        (1..=100).for_each(|number| paces.took(1, ms(number)));
        let late = paces.late_after(1).unwrap();
        // Of 37 to 100.
        assert!((ms(96)..ms(99)).contains(&late), "{late:?}");
        assert_eq!((paces.late_after(2), paces.part(1)), (None, None));
    }

    #[test]
    fn the_shapes_that_are_kept_are_bounded() {
        let paces = Paces::default();
        (0..2000).for_each(|shape| paces.took(shape, Duration::ZERO));
        assert_eq!(paces.shapes.lock().len(), SHAPES_MAX);
        assert!(paces.shapes.lock().contains_key(&1999));
    }
}
