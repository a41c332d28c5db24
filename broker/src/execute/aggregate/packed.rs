//! Groups by the bits of their keys: as many keys as fit into one hash key, then the group so far and further keys.

use arrow::array::ArrayRef;
use datafusion::error::Result;

use super::keys::Shape;
use super::program::unlike;
use super::table::{PackedKey, Table};
use super::values::{Values, integer_array};

const NUMBER_BITS: u32 = 32;

/// See the module.
pub(super) struct Packed {
    shapes: Vec<Shape>,
    stages: Vec<Stage>,
    previous: Vec<u32>,
}

enum Stage {
    Narrow(StageOf<u64>),
    Wide(StageOf<u128>),
}

struct StageOf<K> {
    /// Where each of the stage's keys is; the group of the stage before, if there is one, is in the first 32 bits.
    fields: Vec<Field>,
    table: Table<K>,
    packed: Vec<K>,
}

#[derive(Clone, Copy)]
struct Field {
    key: usize,
    offset: u32,
    shape: Shape,
}

/// The values of one key in some rows or groups: one of the two, by its shape.
#[derive(Default)]
pub(super) struct KeyWords {
    pub(super) numbers: Vec<u32>,
    pub(super) integers: Values<i64>,
}

/// Packed keys of some rows.
pub(super) enum PackedKeys<N, W> {
    Narrow(N),
    Wide(W),
}

impl KeyWords {
    /// The values of a key of integers.
    pub(super) fn integers(self, data_type: &arrow::datatypes::DataType) -> Result<ArrayRef> {
        let valid = self.integers.valid().map(|valid| valid.iter().map(|flag| *flag != 0).collect());
        integer_array(self.integers.values, valid, data_type)
    }

    /// Those at `places`.
    pub(super) fn gather(&self, places: &[u32]) -> Self {
        fn at<V: Copy>(values: &[V], places: &[u32]) -> Vec<V> {
            match values.is_empty() {
                true => Vec::new(),
                false => places.iter().map(|place| values[*place as usize]).collect(),
            }
        }
        let integers = Values {
            values: at(&self.integers.values, places),
            valid: self.integers.valid().map_or_else(Vec::new, |valid| at(valid, places)),
            has_null: self.integers.has_null,
        };
        Self { numbers: at(&self.numbers, places), integers }
    }
}

fn bits(shape: Shape) -> u32 {
    match shape {
        Shape::Number => NUMBER_BITS,
        Shape::Integer { bits, may_be_null } => bits + u32::from(may_be_null),
    }
}

impl Packed {
    pub(super) fn new(shapes: &[Shape]) -> Self {
        let mut stages = Vec::new();
        let (mut fields, mut used) = (Vec::new(), 0);
        for (key, shape) in shapes.iter().enumerate() {
            if used + bits(*shape) > u128::BITS {
                stages.push(Stage::new(std::mem::take(&mut fields), used));
                used = NUMBER_BITS;
            }
            fields.push(Field { key, offset: used, shape: *shape });
            used += bits(*shape);
        }
        stages.push(Stage::new(fields, used));
        Self { shapes: shapes.to_vec(), stages, previous: Vec::new() }
    }

    pub(super) fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Whether all keys are packed into one.
    pub(super) fn is_one_stage(&self) -> bool {
        self.stages.len() == 1
    }

    /// Whether the first stage's keys are of one machine word.
    pub(super) fn is_narrow(&self) -> bool {
        matches!(self.stages.first(), Some(Stage::Narrow(_)))
    }

    /// Groups so far.
    pub(super) fn len(&self) -> usize {
        match self.stages.last() {
            Some(Stage::Narrow(stage)) => stage.table.len(),
            Some(Stage::Wide(stage)) => stage.table.len(),
            None => 0,
        }
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        let size = |stage: &Stage| match stage {
            Stage::Narrow(stage) => stage.table.size(),
            Stage::Wide(stage) => stage.table.size(),
        };
        self.stages.iter().map(size).sum()
    }

    /// The group of each row.
    pub(super) fn find(&mut self, words: &[KeyWords], groups: &mut Vec<u32>) {
        for (index, stage) in self.stages.iter_mut().enumerate() {
            if index > 0 {
                std::mem::swap(&mut self.previous, groups);
            }
            let previous = (index > 0).then_some(&self.previous[..]);
            match stage {
                Stage::Narrow(stage) => stage.find(previous, words, groups),
                Stage::Wide(stage) => stage.find(previous, words, groups),
            }
        }
    }

    /// The packed keys of some rows: all of them, or as many as fit into the first stage.
    pub(super) fn pack(&mut self, words: &[KeyWords]) -> PackedKeys<&[u64], &[u128]> {
        match &mut self.stages[0] {
            Stage::Narrow(stage) => PackedKeys::Narrow(stage.pack(None, words)),
            Stage::Wide(stage) => PackedKeys::Wide(stage.pack(None, words)),
        }
    }

    /// The group of each packed key, where all keys are packed into one.
    pub(super) fn find_packed(
        &mut self,
        keys: PackedKeys<&[u64], &[u128]>,
        groups: &mut Vec<u32>,
    ) -> Result<()> {
        match (&mut self.stages[0], keys) {
            (Stage::Narrow(stage), PackedKeys::Narrow(keys)) => stage.table.find(keys, groups),
            (Stage::Wide(stage), PackedKeys::Wide(keys)) => stage.table.find(keys, groups),
            // Keys of the same shapes are packed alike.
            _ => return Err(unlike()),
        }
        Ok(())
    }

    /// The words of the keys of some groups.
    pub(super) fn words(&self, groups: &[u32]) -> Vec<KeyWords> {
        let mut words: Vec<KeyWords> = self.shapes.iter().map(|_| KeyWords::default()).collect();
        let mut groups = groups.to_vec();
        for stage in self.stages.iter().rev() {
            match stage {
                Stage::Narrow(stage) => stage.unpack(&mut groups, &mut words),
                Stage::Wide(stage) => stage.unpack(&mut groups, &mut words),
            }
        }
        words
    }
}

impl Stage {
    fn new(fields: Vec<Field>, used: u32) -> Self {
        if used <= u64::BITS { Self::Narrow(StageOf::new(fields)) } else { Self::Wide(StageOf::new(fields)) }
    }
}

/// Sets the rows' packed keys, or joins them to those that are there.
fn place<K: PackedKey>(packed: &mut Vec<K>, is_first: &mut bool, keys: impl Iterator<Item = K>) {
    if std::mem::take(is_first) {
        packed.clear();
        packed.extend(keys);
    } else {
        packed.iter_mut().zip(keys).for_each(|(packed, key)| *packed = packed.join(key));
    }
}

impl<K: PackedKey> StageOf<K> {
    fn new(fields: Vec<Field>) -> Self {
        Self { fields, table: Table::new(), packed: Vec::new() }
    }

    fn find(&mut self, previous: Option<&[u32]>, words: &[KeyWords], groups: &mut Vec<u32>) {
        self.pack(previous, words);
        self.table.find(&self.packed, groups);
    }

    fn pack(&mut self, previous: Option<&[u32]>, words: &[KeyWords]) -> &[K] {
        let (packed, first) = (&mut self.packed, &mut true);
        if let Some(previous) = previous {
            place(packed, first, previous.iter().map(|group| K::place((*group).into(), 0)));
        }
        for Field { key, offset, shape } in self.fields.iter().copied() {
            let words = &words[key];
            let Shape::Integer { bits, may_be_null } = shape else {
                place(packed, first, words.numbers.iter().map(|word| K::place((*word).into(), offset)));
                continue;
            };
            let mask = u64::MAX >> (u64::BITS - bits);
            let values = words.integers.values.iter();
            match words.integers.valid().filter(|_| may_be_null) {
                None => {
                    let keys = values.map(|value| K::place(value.cast_unsigned() & mask, offset));
                    place(packed, first, keys);
                }
                Some(valid) => {
                    let keys = values.zip(valid).map(|(value, valid)| {
                        if *valid == 0 {
                            K::place(1, offset + bits)
                        } else {
                            K::place(value.cast_unsigned() & mask, offset)
                        }
                    });
                    place(packed, first, keys);
                }
            }
        }
        &self.packed
    }

    /// Adds the words of the keys of `groups`, and replaces these by the groups of the stage before.
    fn unpack(&self, groups: &mut [u32], words: &mut [KeyWords]) {
        let table = self.table.keys();
        for Field { key, offset, shape } in self.fields.iter().copied() {
            let word = |group: &u32, offset: u32| table[*group as usize].word(offset);
            let out = &mut words[key];
            match shape {
                Shape::Number => {
                    out.numbers = groups.iter().map(|group| word(group, offset) as u32).collect()
                }
                Shape::Integer { bits, may_be_null } => {
                    let value = |group| {
                        let word = word(group, offset);
                        if bits == 32 { i64::from(word as u32 as i32) } else { word.cast_signed() }
                    };
                    out.integers.values = groups.iter().map(value).collect();
                    out.integers.has_null = may_be_null;
                    if may_be_null {
                        let valid = |group| u8::from(word(group, offset + bits) & 1 == 0);
                        out.integers.valid = groups.iter().map(valid).collect();
                    }
                }
            }
        }
        groups.iter_mut().for_each(|group| *group = table[*group as usize].word(0) as u32);
    }
}
