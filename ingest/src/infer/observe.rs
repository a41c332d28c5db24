//! What the samples hold: one counter tree over the fields of all messages.
//!
//! Memory is bounded: [`FIELDS_MAX`] fields per object, [`DISTINCT_MAX`] short strings per field, one example.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, NaiveDateTime, Timelike};
use serde_json::{Number, Value};
use uuid::Uuid;

use super::DEPTH_MAX;

/// Fields of one object that are counted; later names are only known to exist.
const FIELDS_MAX: usize = 1_000;
/// A nested object with more fields than this is a map with data for keys, not a record.
const RECORD_FIELDS_MAX: usize = 64;
/// Different strings that are told apart.
const DISTINCT_MAX: usize = 256;
/// Longer strings are not kept to tell them apart.
const DISTINCT_BYTES_MAX: usize = 64;
/// What is kept of an example, in characters.
const EXAMPLE_CHARS_MAX: usize = 200;

/// Texts of which at most one in so many is no instant are instants, and the others faulty.
const INSTANTS_PER_FAULT: usize = 50;

/// Milliseconds of the years 2000 to 2100: whole numbers in here, in a field named like a time, are instants.
const INSTANT_MS: std::ops::Range<i64> = 946_684_800_000..4_102_444_800_000;

/// What all values of one field have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// No value but null was seen.
    Unknown,
    /// true and false.
    Booleans,
    /// Whole numbers, and whether all could be epoch milliseconds or microseconds, or one doesn't fit a LONG.
    Integers { millis: bool, micros: bool, beyond_long: bool },
    /// Numbers, some with a fraction or exponent.
    Numbers,
    /// Text that is always a UUID.
    Uuids,
    /// Text that is always an ISO 8601 instant.
    Instants { finer_than_millis: bool },
    /// Text that is always a calendar day.
    Days,
    /// Text.
    Strings,
    /// Arrays.
    Array,
    /// Objects.
    Object,
    /// Values of more than one kind.
    Mixed,
}

/// What was seen in one field.
#[derive(Default)]
pub(super) struct Observed {
    booleans: usize,
    integers: usize,
    millis: usize,
    micros: usize,
    beyond_long: usize,
    fractions: usize,
    strings: usize,
    uuids: usize,
    instants: usize,
    finer_than_millis: bool,
    days: usize,
    arrays: usize,
    objects: usize,
    distinct: HashSet<String>,
    distinct_overflow: bool,
    example: Option<String>,
    element: Option<Box<Observed>>,
    fields: Vec<(String, Observed)>,
    field_index: HashMap<String, usize>,
    untracked: HashSet<String>,
}

impl Observed {
    /// Counts one value at `depth` (0 is the message itself).
    pub(super) fn add(&mut self, value: &Value, depth: usize) {
        if self.example.is_none() && depth > 0 && !value.is_null() {
            self.example = Some(value.to_string().chars().take(EXAMPLE_CHARS_MAX).collect());
        }
        match value {
            Value::Null => {}
            Value::Bool(_) => self.booleans += 1,
            Value::Number(number) => self.add_number(number),
            Value::String(text) => self.add_string(text),
            Value::Array(items) => {
                self.arrays += 1;
                let element = self.element.get_or_insert_default();
                // What is inside the elements does not matter: an array of objects or arrays is JSON.
                items.iter().for_each(|item| element.add(item, DEPTH_MAX));
            }
            Value::Object(fields) => {
                self.objects += 1;
                if depth < DEPTH_MAX {
                    fields.iter().for_each(|(name, value)| self.add_field(name, value, depth));
                }
            }
        }
    }

    fn add_field(&mut self, name: &str, value: &Value, depth: usize) {
        let index = match self.field_index.get(name) {
            Some(index) => *index,
            None if self.fields.len() < FIELDS_MAX => {
                self.field_index.insert(name.to_string(), self.fields.len());
                self.fields.push((name.to_string(), Observed::default()));
                self.fields.len() - 1
            }
            None => {
                if self.untracked.len() < FIELDS_MAX {
                    self.untracked.insert(name.to_string());
                }
                return;
            }
        };
        self.fields[index].1.add(value, depth + 1);
    }

    fn add_number(&mut self, number: &Number) {
        if let Some(integer) = number.as_i64() {
            self.integers += 1;
            self.millis += usize::from(INSTANT_MS.contains(&integer));
            self.micros += usize::from(INSTANT_MS.contains(&(integer / 1_000)));
        } else if number.is_u64() {
            self.integers += 1;
            self.beyond_long += 1;
        } else {
            self.fractions += 1;
        }
    }

    fn add_string(&mut self, text: &str) {
        self.strings += 1;
        // Only the form that a UUID column writes back: braces, URNs and bare hexadecimal stay text.
        self.uuids += usize::from(text.len() == 36 && Uuid::try_parse(text).is_ok());
        self.days += usize::from(text.len() == 10 && NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok());
        if let Some(nanos) = instant_nanos(text) {
            self.instants += 1;
            self.finer_than_millis |= nanos % 1_000_000 != 0;
        }
        if text.len() > DISTINCT_BYTES_MAX {
            self.distinct_overflow = true;
        } else if !self.distinct.contains(text) {
            match self.distinct.len() < DISTINCT_MAX {
                true => drop(self.distinct.insert(text.to_string())),
                false => self.distinct_overflow = true,
            }
        }
    }

    /// How many values were seen, null not counted.
    pub(super) fn values(&self) -> usize {
        self.booleans + self.integers + self.fractions + self.strings + self.arrays + self.objects
    }

    /// What all values have in common.
    pub(super) fn shape(&self) -> Shape {
        let numbers = self.integers + self.fractions;
        match self.values() {
            0 => Shape::Unknown,
            all if all == self.booleans => Shape::Booleans,
            all if all == self.integers => Shape::Integers {
                millis: all == self.millis,
                micros: all == self.micros,
                beyond_long: self.beyond_long > 0,
            },
            all if all == numbers => Shape::Numbers,
            all if all == self.uuids => Shape::Uuids,
            all if all == self.instants => Shape::Instants { finer_than_millis: self.finer_than_millis },
            all if all == self.days => Shape::Days,
            all if all == self.strings => Shape::Strings,
            all if all == self.arrays => Shape::Array,
            all if all == self.objects => Shape::Object,
            _ => Shape::Mixed,
        }
    }

    /// The instants of a text that nearly always is one, and how many texts are none.
    pub(super) fn nearly_instants(&self) -> Option<(Shape, usize)> {
        let faults = self.strings - self.instants;
        let are_instants = self.values() == self.strings && faults * INSTANTS_PER_FAULT <= self.instants;
        (are_instants && faults > 0)
            .then_some((Shape::Instants { finer_than_millis: self.finer_than_millis }, faults))
    }

    /// Whether this is a record whose fields can be columns: always an object, with a fixed set of names.
    pub(super) fn is_flat_object(&self) -> bool {
        self.shape() == Shape::Object && (1..=RECORD_FIELDS_MAX).contains(&self.fields.len())
    }

    /// The fields, in the order in which they were first seen.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &Observed)> {
        self.fields.iter().map(|(name, observed)| (name.as_str(), observed))
    }

    /// How many fields were seen but not counted (itself counted no further than [`FIELDS_MAX`]).
    pub(super) fn untracked_fields(&self) -> usize {
        self.untracked.len()
    }

    /// What the elements of all arrays have in common, if there were any arrays.
    pub(super) fn element(&self) -> Option<&Observed> {
        self.element.as_deref()
    }

    /// How many different strings there were, unless too many or too long to count.
    pub(super) fn distinct_strings(&self) -> Option<usize> {
        (!self.distinct_overflow).then_some(self.distinct.len())
    }

    /// The first value seen, as JSON text, cut.
    pub(super) fn example(&self) -> Option<&str> {
        self.example.as_deref()
    }

    /// Whether whole numbers here could be seconds since the epoch.
    pub(super) fn could_be_seconds(&self) -> bool {
        let seconds = |text: &str| {
            text.parse::<i64>().is_ok_and(|seconds| INSTANT_MS.contains(&seconds.saturating_mul(1_000)))
        };
        self.values() == self.integers && self.example().is_some_and(seconds)
    }
}

/// The nanoseconds within the second of an ISO 8601 instant, with or without a zone.
fn instant_nanos(text: &str) -> Option<u32> {
    match DateTime::parse_from_rfc3339(text) {
        Ok(instant) => Some(instant.nanosecond()),
        Err(_) => {
            NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok().map(|time| time.nanosecond())
        }
    }
}
