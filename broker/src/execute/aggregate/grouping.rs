//! Rows to groups.
//!
//! | mode | when | a row's group is |
//! |---|---|---|
//! | single | no keys | 0 |
//! | direct | one key that is numbered, with few values | its number |
//! | dense | numbered keys with few combinations | their numbers, side by side |
//! | hashed | anything else | found in a hash table of the keys' bits |
//!
//! Dense groups are places in arrays. Those of counts and sums begin as zeros that the system hands out page by page, as
//! they are met; those of extremes are written as a whole.
//!
//! Invariant: a mode is kept until the groups are emitted. When a segment's keys do not suit it, or a key outgrows its
//! bits, the caller is told so (`false`), emits what there is, and starts anew: partial states may name a group twice.
//!
//! Numbers mean the same in all partitions, groups do not: what partitions exchange are the words of a group's keys.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::error::Result;

use super::argument::evaluate;
use super::key_values::KeyValues;
use super::keys::{SegmentKey, Shape};
use super::numbers::Numbers;
use super::packed::{KeyWords, Packed, PackedKeys};
use super::program::{BlockRows, ProgramScratch, unlike};

/// Most bits of a dense group: a million, 8 MiB for each accumulator.
const DENSE_BITS_MAX: u32 = 20;
/// Most bits of a direct group, when the first segment is entered. Beyond, a query that meets few of them would still have
/// to look through all.
const DIRECT_BITS_MAX: u32 = 17;
/// Bits at first of a dense key that is numbered row by row.
const ROWS_BITS: u32 = 6;
/// Bits by which a key that was too narrow grows.
const GROW_BITS: u32 = 2;

/// See the module.
pub(super) struct Grouping {
    keys: Vec<Numbers>,
    shapes: Option<Vec<Shape>>,
    mode: Mode,
    /// Bits that each key needed so far.
    bits_min: Vec<u32>,
    /// Keys that some segment has only by value.
    by_value: Vec<bool>,
    words: Vec<KeyWords>,
}

enum Mode {
    Single,
    Direct,
    Dense { bits: Vec<u32> },
    Hashed(Packed),
}

impl Grouping {
    pub(super) fn new(keys: &[Arc<KeyValues>]) -> Self {
        Self {
            keys: keys.iter().map(Numbers::new).collect(),
            shapes: None,
            mode: Mode::Single,
            bits_min: vec![0; keys.len()],
            by_value: vec![false; keys.len()],
            words: keys.iter().map(|_| KeyWords::default()).collect(),
        }
    }

    /// Groups are below this number.
    pub(super) fn total(&self) -> usize {
        match &self.mode {
            Mode::Single => 1,
            Mode::Direct => self.keys[0].len(),
            Mode::Dense { bits } => 1 << bits.iter().sum::<u32>(),
            Mode::Hashed(packed) => packed.len(),
        }
    }

    pub(super) fn is_single(&self) -> bool {
        matches!(self.mode, Mode::Single)
    }

    /// The mode, for people.
    pub(super) fn describe(&self) -> &'static str {
        match self.mode {
            Mode::Single => "single",
            Mode::Direct => "direct",
            Mode::Dense { .. } => "dense",
            Mode::Hashed(_) => "hashed",
        }
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        let numbers: usize = self.keys.iter().map(Numbers::size).sum();
        numbers + if let Mode::Hashed(packed) = &self.mode { packed.size() } else { 0 }
    }

    /// How each key's values are told apart; `None` before the first segment.
    pub(super) fn shapes(&self) -> Option<&[Shape]> {
        self.shapes.as_deref()
    }

    /// Takes the keys of the segment whose blocks come next; `false`: not before the groups are emitted.
    pub(super) fn enter(&mut self, keys: &[SegmentKey]) -> Result<bool> {
        if keys.is_empty() {
            return Ok(true);
        }
        if let Some(current) = &self.shapes {
            let mut suit = true;
            for ((key, current), by_value) in keys.iter().zip(current).zip(&mut self.by_value) {
                suit &= key.suits(*current);
                *by_value |= matches!(key, SegmentKey::Integers(_));
            }
            if !suit {
                return Ok(false);
            }
        }
        let shapes: Vec<Shape> = match &self.shapes {
            Some(shapes) => shapes.clone(),
            None => keys.iter().zip(&self.by_value).map(|(key, by_value)| key.shape(*by_value)).collect(),
        };
        for ((key, numbers), shape) in keys.iter().zip(&mut self.keys).zip(&shapes) {
            if let (SegmentKey::Codes { values, identity, .. }, Shape::Number) = (key, shape) {
                numbers.enter(values, *identity)?;
            }
        }
        if self.shapes.is_none() {
            self.choose(keys, &shapes);
            self.shapes = Some(shapes);
        }
        Ok(self.fits())
    }

    fn choose(&mut self, keys: &[SegmentKey], shapes: &[Shape]) {
        let all_numbered = shapes.iter().all(|shape| *shape == Shape::Number);
        let bits: Vec<u32> = keys
            .iter()
            .zip(&self.keys)
            .zip(&self.bits_min)
            .map(|((key, numbers), least)| {
                let bits = match key {
                    SegmentKey::Codes { values, .. } => bits_for(numbers.capacity_for(values)),
                    _ => ROWS_BITS,
                };
                bits.max(*least)
            })
            .collect();
        self.mode = if all_numbered && keys.len() == 1 && bits[0] <= DIRECT_BITS_MAX {
            Mode::Direct
        } else if all_numbered && keys.len() > 1 && bits.iter().sum::<u32>() <= DENSE_BITS_MAX {
            Mode::Dense { bits }
        } else {
            Mode::Hashed(Packed::new(shapes))
        };
        let mut shift = 0;
        for (key, numbers) in self.keys.iter_mut().enumerate() {
            numbers.shift(shift);
            if let Mode::Dense { bits } = &self.mode {
                shift += bits[key];
            }
        }
    }

    /// Whether every number has its place; if not, remembers how much is needed.
    fn fits(&mut self) -> bool {
        let Mode::Dense { bits } = &self.mode else { return true };
        let mut fits = true;
        for ((bits, numbers), least) in bits.iter().zip(&self.keys).zip(&mut self.bits_min) {
            let needed = bits_for(numbers.len());
            if needed > *bits {
                *least = needed + GROW_BITS;
                fits = false;
            }
        }
        fits
    }

    /// The group of each of a block's rows; `false`: not before the groups are emitted, and the segment entered again.
    pub(super) fn assign(
        &mut self,
        keys: &[SegmentKey],
        input: BlockRows<'_>,
        batch: Option<&RecordBatch>,
        scratch: &mut ProgramScratch,
        groups: &mut Vec<u32>,
    ) -> Result<bool> {
        match &mut self.mode {
            Mode::Single => {
                groups.clear();
                groups.resize(input.count, 0);
                Ok(true)
            }
            Mode::Direct | Mode::Dense { .. } => {
                for (index, (key, numbers)) in keys.iter().zip(&mut self.keys).enumerate() {
                    number(key, numbers, input, batch, index > 0, groups)?;
                }
                Ok(self.fits())
            }
            Mode::Hashed(packed) => {
                read_words(keys, &mut self.keys, packed.shapes(), input, batch, scratch, &mut self.words)?;
                packed.find(&self.words, groups);
                Ok(true)
            }
        }
    }

    /// The groups, if they are hashed by keys of a fixed size.
    pub(super) fn hashed(&self) -> Option<&Packed> {
        match &self.mode {
            Mode::Hashed(packed) if packed.is_one_stage() => Some(packed),
            _ => None,
        }
    }

    /// The packed keys of a block's rows, where groups are hashed.
    pub(super) fn pack_rows(
        &mut self,
        keys: &[SegmentKey],
        input: BlockRows<'_>,
        batch: Option<&RecordBatch>,
        scratch: &mut ProgramScratch,
    ) -> Result<PackedKeys<&[u64], &[u128]>> {
        let Mode::Hashed(packed) = &mut self.mode else { return Err(unlike()) };
        read_words(keys, &mut self.keys, packed.shapes(), input, batch, scratch, &mut self.words)?;
        Ok(packed.pack(&self.words))
    }

    /// The words of the keys of some groups.
    pub(super) fn words(&self, groups: &[u32]) -> Vec<KeyWords> {
        let numbers = |numbers: Vec<u32>| KeyWords { numbers, ..KeyWords::default() };
        match &self.mode {
            Mode::Single => Vec::new(),
            Mode::Direct => vec![numbers(groups.to_vec())],
            Mode::Dense { bits } => {
                let starts = bits.iter().scan(0, |start, bits| Some(std::mem::replace(start, *start + bits)));
                let part = |(bits, start): (&u32, u32)| {
                    let mask = (1u32 << bits) - 1;
                    numbers(groups.iter().map(|group| (group >> start) & mask).collect())
                };
                bits.iter().zip(starts).map(part).collect()
            }
            Mode::Hashed(packed) => packed.words(groups),
        }
    }

    /// Forgets the groups.
    pub(super) fn clear(&mut self) {
        self.mode = Mode::Single;
        self.shapes = None;
        self.keys.iter_mut().for_each(Numbers::leave);
    }
}

/// The values of each key, from their words.
pub(super) fn key_arrays(
    keys: &[Arc<KeyValues>],
    shapes: &[Shape],
    words: Vec<KeyWords>,
) -> Result<Vec<ArrayRef>> {
    let arrays = keys.iter().zip(shapes).zip(words).map(|((key, shape), words)| match shape {
        Shape::Number => key.values(words.numbers),
        Shape::Integer { .. } => words.integers(key.field().data_type()),
    });
    arrays.collect()
}

fn read_words(
    keys: &[SegmentKey],
    numbers: &mut [Numbers],
    shapes: &[Shape],
    input: BlockRows<'_>,
    batch: Option<&RecordBatch>,
    scratch: &mut ProgramScratch,
    words: &mut [KeyWords],
) -> Result<()> {
    for (((key, numbers), shape), words) in keys.iter().zip(numbers).zip(shapes).zip(words) {
        match shape {
            Shape::Number => number(key, numbers, input, batch, false, &mut words.numbers)?,
            Shape::Integer { .. } => {
                let program = key.program().ok_or_else(unlike)?;
                program.evaluate(input, scratch, &mut words.integers)?;
            }
        }
    }
    Ok(())
}

/// Numbers one key of a block's rows.
pub(super) fn number(
    key: &SegmentKey,
    numbers: &mut Numbers,
    input: BlockRows<'_>,
    batch: Option<&RecordBatch>,
    join: bool,
    out: &mut Vec<u32>,
) -> Result<()> {
    match key {
        SegmentKey::Codes { position, values, .. } => {
            let Some(coded) = input.segment.columns()[*position].coded() else { return Err(unlike()) };
            numbers.of_codes(coded.codes(input.block), input.rows, values, join, out)
        }
        SegmentKey::Rows(expr) => numbers.of_rows(&evaluate(expr, batch)?, join, out),
        SegmentKey::Integers(_) => Err(unlike()),
    }
}

/// Bits of the numbers below `count`.
fn bits_for(count: usize) -> u32 {
    count.max(1).next_power_of_two().trailing_zeros()
}
