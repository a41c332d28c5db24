//! Rows to groups.
//!
//! | mode | when | a row's group is |
//! |---|---|---|
//! | single | no keys | 0 |
//! | direct | one key that is numbered | its number |
//! | dense | numbered keys with few combinations | their numbers, side by side |
//! | hashed | anything else | found in a hash table of the keys' bits |
//!
//! Dense groups are places in arrays. Those of counts and sums begin as zeros that the system hands out page by page, as
//! they are met; those of extremes are written as a whole.
//!
//! Invariant: a mode is kept until the groups are emitted. When a segment's keys do not suit it, or a key outgrows its
//! bits, the caller is told so (`false`), emits what there is, and starts anew: partial states may name a group twice.

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::error::Result;

use super::argument::evaluate;
use super::keys::{Key, SegmentKey, Shape};
use super::numbers::Numbers;
use super::packed::{KeyWords, Packed};
use super::program::{BlockRows, ProgramScratch, unlike};

/// Most bits of a dense group: a million, 8 MiB for each accumulator.
const DENSE_BITS_MAX: u32 = 20;
/// Bits at first of a dense key that is numbered row by row.
const ROWS_BITS: u32 = 6;
/// Bits by which a key that was too narrow grows.
const GROW_BITS: u32 = 2;

/// See the module.
pub(super) struct Grouping {
    keys: Vec<(arrow::datatypes::FieldRef, Numbers)>,
    shapes: Option<Vec<Shape>>,
    mode: Mode,
    /// Bits that each key needed so far.
    bits_min: Vec<u32>,
    words: Vec<KeyWords>,
}

enum Mode {
    Single,
    Direct,
    Dense { bits: Vec<u32> },
    Hashed(Packed),
}

impl Grouping {
    pub(super) fn new(keys: &[Key]) -> Result<Self> {
        let numbered = keys.iter().map(|key| Ok((key.field.clone(), Numbers::new(&key.field)?)));
        Ok(Self {
            keys: numbered.collect::<Result<_>>()?,
            shapes: None,
            mode: Mode::Single,
            bits_min: vec![0; keys.len()],
            words: keys.iter().map(|_| KeyWords::default()).collect(),
        })
    }

    /// Groups are below this number.
    pub(super) fn total(&self) -> usize {
        match &self.mode {
            Mode::Single => 1,
            Mode::Direct => self.keys[0].1.len(),
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
        let numbers: usize = self.keys.iter().map(|(_, numbers)| numbers.size()).sum();
        numbers + if let Mode::Hashed(packed) = &self.mode { packed.size() } else { 0 }
    }

    /// Takes the keys of the segment whose blocks come next; `false`: not before the groups are emitted.
    pub(super) fn enter(&mut self, keys: &[SegmentKey]) -> Result<bool> {
        if keys.is_empty() {
            return Ok(true);
        }
        let shapes: Vec<Shape> =
            keys.iter().zip(&self.keys).map(|(key, (field, _))| key.shape(field.data_type())).collect();
        if self.shapes.as_ref().is_some_and(|current| *current != shapes) {
            return Ok(false);
        }
        for (key, (_, numbers)) in keys.iter().zip(&mut self.keys) {
            if let SegmentKey::Codes { values, identity, .. } = key {
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
            .map(|((key, (_, numbers)), least)| {
                let bits = match key {
                    SegmentKey::Codes { values, .. } => bits_for(numbers.capacity_for(values)),
                    _ => ROWS_BITS,
                };
                bits.max(*least)
            })
            .collect();
        self.mode = if all_numbered && keys.len() == 1 {
            Mode::Direct
        } else if all_numbered && bits.iter().sum::<u32>() <= DENSE_BITS_MAX {
            Mode::Dense { bits }
        } else {
            Mode::Hashed(Packed::new(shapes))
        };
        let mut shift = 0;
        for (key, (_, numbers)) in self.keys.iter_mut().enumerate() {
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
        for ((bits, (_, numbers)), least) in bits.iter().zip(&self.keys).zip(&mut self.bits_min) {
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
                for (index, (key, (_, numbers))) in keys.iter().zip(&mut self.keys).enumerate() {
                    number(key, numbers, input, batch, index > 0, groups)?;
                }
                Ok(self.fits())
            }
            Mode::Hashed(packed) => {
                for ((key, (_, numbers)), words) in keys.iter().zip(&mut self.keys).zip(&mut self.words) {
                    if let SegmentKey::Integers { program, .. } = key {
                        program.evaluate(input, scratch, &mut words.integers)?;
                    } else {
                        number(key, numbers, input, batch, false, &mut words.numbers)?;
                    }
                }
                packed.find(&self.words, groups);
                Ok(true)
            }
        }
    }

    /// The keys of some groups. There are no groups afterwards.
    pub(super) fn emit(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut arrays = Vec::with_capacity(self.keys.len());
        let mode = std::mem::replace(&mut self.mode, Mode::Single);
        let hashed = match &mode {
            Mode::Hashed(packed) => packed.keys(groups, self.keys.len()),
            _ => Vec::new(),
        };
        let mut hashed = hashed.into_iter();
        let mut shift = 0;
        for (key, (field, numbers)) in self.keys.iter_mut().enumerate() {
            let shape = self.shapes.as_ref().and_then(|shapes| shapes.get(key));
            let group_numbers = match (&mode, hashed.next()) {
                (Mode::Dense { bits }, _) => {
                    let (start, mask) = (shift, (1u32 << bits[key]) - 1);
                    shift += bits[key];
                    groups.iter().map(|group| (group >> start) & mask).collect()
                }
                (Mode::Hashed(_), Some(keys)) => {
                    if let Some(Shape::Integer { .. }) = shape {
                        arrays.push(keys.integers(field.data_type())?);
                        continue;
                    }
                    keys.numbers
                }
                _ => groups.to_vec(),
            };
            arrays.extend(numbers.emit(group_numbers)?);
        }
        self.shapes = None;
        Ok(arrays)
    }
}

/// Numbers one key of a block's rows.
fn number(
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
        SegmentKey::Rows(expr) => numbers.of_rows(evaluate(expr, batch)?, join, out),
        SegmentKey::Integers { .. } => Err(unlike()),
    }
}

/// Bits of the numbers below `count`.
fn bits_for(count: usize) -> u32 {
    count.max(1).next_power_of_two().trailing_zeros()
}
