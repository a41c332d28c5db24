//! Groups by the bits of their keys: as many keys as fit into one hash key, then the group so far and further keys.

use arrow::array::ArrayRef;
use datafusion::error::Result;

use super::keys::Shape;
use super::table::{PackedKey, Table};
use super::values::{Values, integer_array};

const NUMBER_BITS: u32 = 32;

/// See the module.
pub(super) struct Packed {
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

/// The keys of some rows: one of the two for each key, by its shape.
#[derive(Default)]
pub(super) struct KeyWords {
    pub(super) numbers: Vec<u32>,
    pub(super) integers: Values<i64>,
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
        Self { stages, previous: Vec::new() }
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

    /// The keys of some groups: numbers or integers with the flags of those that are not NULL.
    pub(super) fn keys(&self, groups: &[u32], key_count: usize) -> Vec<GroupKeys> {
        let mut keys: Vec<GroupKeys> = (0..key_count).map(|_| GroupKeys::default()).collect();
        let mut groups = groups.to_vec();
        for stage in self.stages.iter().rev() {
            match stage {
                Stage::Narrow(stage) => stage.unpack(&mut groups, &mut keys),
                Stage::Wide(stage) => stage.unpack(&mut groups, &mut keys),
            }
        }
        keys
    }
}

/// The values of one key in some groups.
#[derive(Default)]
pub(super) struct GroupKeys {
    pub(super) numbers: Vec<u32>,
    integers: Vec<i64>,
    valid: Option<Vec<bool>>,
}

impl GroupKeys {
    /// The values of a key of integers.
    pub(super) fn integers(self, data_type: &arrow::datatypes::DataType) -> Result<ArrayRef> {
        integer_array(self.integers, self.valid, data_type)
    }
}

impl Stage {
    fn new(fields: Vec<Field>, used: u32) -> Self {
        if used <= u64::BITS { Self::Narrow(StageOf::new(fields)) } else { Self::Wide(StageOf::new(fields)) }
    }
}

impl<K: PackedKey> StageOf<K> {
    fn new(fields: Vec<Field>) -> Self {
        Self { fields, table: Table::new(), packed: Vec::new() }
    }

    fn find(&mut self, previous: Option<&[u32]>, words: &[KeyWords], groups: &mut Vec<u32>) {
        let mut first = true;
        let mut add = |keys: &mut dyn Iterator<Item = K>, packed: &mut Vec<K>| {
            if std::mem::take(&mut first) {
                packed.clear();
                packed.extend(keys);
            } else {
                packed.iter_mut().zip(keys).for_each(|(packed, key)| *packed = packed.join(key));
            }
        };
        if let Some(previous) = previous {
            add(&mut previous.iter().map(|group| K::place((*group).into(), 0)), &mut self.packed);
        }
        for Field { key, offset, shape } in self.fields.iter().copied() {
            let words = &words[key];
            let Shape::Integer { bits, may_be_null } = shape else {
                add(&mut words.numbers.iter().map(|word| K::place((*word).into(), offset)), &mut self.packed);
                continue;
            };
            let mask = u64::MAX >> (u64::BITS - bits);
            let values = words.integers.values.iter();
            let Some(valid) = words.integers.valid().filter(|_| may_be_null) else {
                let mut keys = values.map(|value| K::place(value.cast_unsigned() & mask, offset));
                add(&mut keys, &mut self.packed);
                continue;
            };
            let mut keys = values.zip(valid).map(|(value, valid)| {
                if *valid == 0 {
                    K::place(1, offset + bits)
                } else {
                    K::place(value.cast_unsigned() & mask, offset)
                }
            });
            add(&mut keys, &mut self.packed);
        }
        self.table.find(&self.packed, groups);
    }

    /// Adds the keys of `groups`, and replaces these by the groups of the stage before.
    fn unpack(&self, groups: &mut [u32], keys: &mut [GroupKeys]) {
        let table = self.table.keys();
        for Field { key, offset, shape } in self.fields.iter().copied() {
            let word = |group: &u32, offset: u32| table[*group as usize].word(offset);
            let out = &mut keys[key];
            match shape {
                Shape::Number => {
                    out.numbers = groups.iter().map(|group| word(group, offset) as u32).collect()
                }
                Shape::Integer { bits, may_be_null } => {
                    let value = |group| {
                        let word = word(group, offset);
                        if bits == 32 { i64::from(word as u32 as i32) } else { word.cast_signed() }
                    };
                    out.integers = groups.iter().map(value).collect();
                    out.valid = may_be_null
                        .then(|| groups.iter().map(|group| word(group, offset + bits) & 1 == 0).collect());
                }
            }
        }
        groups.iter_mut().for_each(|group| *group = table[*group as usize].word(0) as u32);
    }
}
