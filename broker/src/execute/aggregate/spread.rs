//! Rows put aside by the hash of their keys, where there are too many groups for the cache: each partition of them is
//! grouped by itself in the end, in a table that fits.

use std::ops::Range;

use datafusion::error::Result;

use super::accumulator::{Accumulator, RowGroups};
use super::packed::{Packed, PackedKeys};
use super::program::unlike;
use super::table::{PARTITION_BITS, PackedKey};
use super::values::Values;

/// Partitions of the rows.
pub(super) const PARTITIONS: usize = 1 << PARTITION_BITS;
/// Rows of a partition that are grouped in one go.
const CHUNK_ROWS: usize = 8192;

/// See the module.
pub(super) struct Spread {
    keys: PackedKeys<Vec<Vec<u64>>, Vec<Vec<u128>>>,
    /// Per function.
    columns: Vec<SpreadColumn>,
    order: Order,
}

/// What one function is given, per partition.
enum SpreadColumn {
    /// Only whether there is a value.
    Presence(Vec<Flags>),
    Integers(Vec<Vec<i64>>, Vec<Flags>),
    Floats(Vec<Vec<f64>>, Vec<Flags>),
}

/// 1 for each row that has a value, 0 for NULL; empty up to the first NULL.
#[derive(Clone, Default)]
struct Flags(Vec<u8>);

/// The rows of a block in the order of their partitions.
#[derive(Default)]
struct Order {
    partitions: Vec<u8>,
    rows: Vec<u16>,
    /// The partitions that have rows, and where these end.
    ends: Vec<(u8, u16)>,
}

/// Memory that partitions reuse.
#[derive(Default)]
pub(super) struct SpreadScratch {
    groups: Vec<u32>,
    integers: Values<i64>,
    floats: Values<f64>,
}

impl Spread {
    /// For keys packed as `packed` packs them, and for `accumulators`; `None` if one of these needs the rows themselves.
    pub(super) fn new(packed: &Packed, accumulators: &[Accumulator]) -> Option<Self> {
        fn each<T: Clone + Default>() -> Vec<T> {
            vec![T::default(); PARTITIONS]
        }
        let columns = accumulators.iter().map(|accumulator| {
            Some(match accumulator {
                Accumulator::Count(_) => SpreadColumn::Presence(each()),
                Accumulator::SumIntegers { .. }
                | Accumulator::AverageIntegers { .. }
                | Accumulator::ExtremeInteger { .. }
                | Accumulator::Distinct(_) => SpreadColumn::Integers(each(), each()),
                Accumulator::SumFloats { .. }
                | Accumulator::Average { .. }
                | Accumulator::ExtremeFloat { .. } => SpreadColumn::Floats(each(), each()),
                Accumulator::Stock(_) => return None,
            })
        });
        let columns = columns.collect::<Option<_>>()?;
        let keys = if packed.is_narrow() { PackedKeys::Narrow(each()) } else { PackedKeys::Wide(each()) };
        Some(Self { keys, columns, order: Order::default() })
    }

    /// Puts the keys of a block's rows aside; the functions' values have to follow.
    pub(super) fn add_keys(&mut self, keys: PackedKeys<&[u64], &[u128]>) -> Result<()> {
        match (&mut self.keys, keys) {
            (PackedKeys::Narrow(parts), PackedKeys::Narrow(keys)) => {
                self.order.sort(keys);
                self.order.scatter(keys, parts);
            }
            (PackedKeys::Wide(parts), PackedKeys::Wide(keys)) => {
                self.order.sort(keys);
                self.order.scatter(keys, parts);
            }
            // Keys of the same shapes are packed alike.
            _ => return Err(unlike()),
        }
        Ok(())
    }

    /// Whether the block's rows have a value.
    pub(super) fn add_presence(&mut self, call: usize, valid: Option<&[u8]>) {
        let rows = |partition| self.keys.rows(partition);
        if let SpreadColumn::Presence(parts) = &mut self.columns[call] {
            self.order.scatter_flags(valid, rows, parts);
        }
    }

    /// The values of the block's rows.
    pub(super) fn add_integers(&mut self, call: usize, values: &Values<i64>) {
        let rows = |partition| self.keys.rows(partition);
        if let SpreadColumn::Integers(parts, flags) = &mut self.columns[call] {
            self.order.scatter(&values.values, parts);
            self.order.scatter_flags(values.valid(), rows, flags);
        }
    }

    /// The values of the block's rows.
    pub(super) fn add_floats(&mut self, call: usize, values: &Values<f64>) {
        let rows = |partition| self.keys.rows(partition);
        if let SpreadColumn::Floats(parts, flags) = &mut self.columns[call] {
            self.order.scatter(&values.values, parts);
            self.order.scatter_flags(values.valid(), rows, flags);
        }
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        let keys = match &self.keys {
            PackedKeys::Narrow(parts) => bytes(parts.iter()),
            PackedKeys::Wide(parts) => bytes(parts.iter()),
        };
        let columns = self.columns.iter().map(|column| match column {
            SpreadColumn::Presence(parts) => bytes(parts.iter().map(|flags| &flags.0)),
            SpreadColumn::Integers(parts, flags) => {
                bytes(parts.iter()) + bytes(flags.iter().map(|flags| &flags.0))
            }
            SpreadColumn::Floats(parts, flags) => {
                bytes(parts.iter()) + bytes(flags.iter().map(|flags| &flags.0))
            }
        });
        keys + columns.sum::<usize>()
    }

    /// Groups the rows of one partition: in `packed`, `rows` and `accumulators`.
    pub(super) fn group(
        &self,
        partition: usize,
        packed: &mut Packed,
        rows: &mut Vec<i64>,
        accumulators: &mut [Accumulator],
        scratch: &mut SpreadScratch,
    ) -> Result<()> {
        let total = self.keys.rows(partition);
        for start in (0..total).step_by(CHUNK_ROWS) {
            let chunk = start..total.min(start + CHUNK_ROWS);
            packed.find_packed(self.keys.slice(partition, chunk.clone()), &mut scratch.groups)?;
            let groups = packed.len();
            rows.resize(groups, 0);
            let chunk_groups = RowGroups { groups: &scratch.groups, single: false };
            super::accumulator::count(chunk_groups, rows);
            for (column, accumulator) in self.columns.iter().zip(accumulators.iter_mut()) {
                accumulator.resize(groups);
                match column {
                    SpreadColumn::Presence(parts) => {
                        accumulator.add_rows(chunk_groups, parts[partition].slice(&chunk), groups);
                    }
                    SpreadColumn::Integers(parts, flags) => {
                        flags[partition].read(&parts[partition], &chunk, &mut scratch.integers);
                        accumulator.add_integers(chunk_groups, &mut scratch.integers, groups);
                    }
                    SpreadColumn::Floats(parts, flags) => {
                        flags[partition].read(&parts[partition], &chunk, &mut scratch.floats);
                        accumulator.add_floats(chunk_groups, &scratch.floats, groups);
                    }
                }
            }
        }
        Ok(())
    }
}

fn bytes<'a, V: 'a>(parts: impl Iterator<Item = &'a Vec<V>>) -> usize {
    parts.map(|part| part.capacity() * size_of::<V>()).sum()
}

impl PackedKeys<Vec<Vec<u64>>, Vec<Vec<u128>>> {
    fn rows(&self, partition: usize) -> usize {
        match self {
            Self::Narrow(parts) => parts[partition].len(),
            Self::Wide(parts) => parts[partition].len(),
        }
    }

    fn slice(&self, partition: usize, rows: Range<usize>) -> PackedKeys<&[u64], &[u128]> {
        match self {
            Self::Narrow(parts) => PackedKeys::Narrow(&parts[partition][rows]),
            Self::Wide(parts) => PackedKeys::Wide(&parts[partition][rows]),
        }
    }
}

impl Flags {
    fn slice(&self, rows: &Range<usize>) -> Option<&[u8]> {
        if self.0.is_empty() { None } else { Some(&self.0[rows.clone()]) }
    }

    /// Reads some rows of a column that has these flags.
    fn read<V: Copy>(&self, values: &[V], rows: &Range<usize>, out: &mut Values<V>) {
        out.values.clear();
        out.values.extend_from_slice(&values[rows.clone()]);
        let valid = self.slice(rows);
        out.has_null = valid.is_some();
        out.valid.clear();
        out.valid.extend_from_slice(valid.unwrap_or_default());
    }
}

impl Order {
    /// Sorts the rows with these keys by partition.
    fn sort<K: PackedKey>(&mut self, keys: &[K]) {
        self.partitions.clear();
        self.partitions.extend(keys.iter().map(|key| key.partition() as u8));
        let mut next = [0u16; PARTITIONS];
        self.partitions.iter().for_each(|partition| next[usize::from(*partition)] += 1);
        self.ends.clear();
        let mut end = 0;
        for (partition, next) in next.iter_mut().enumerate() {
            let count = std::mem::replace(next, end);
            end += count;
            if count > 0 {
                self.ends.push((partition as u8, end));
            }
        }
        self.rows.resize(keys.len(), 0);
        for (row, partition) in self.partitions.iter().enumerate() {
            let next = &mut next[usize::from(*partition)];
            self.rows[usize::from(*next)] = row as u16;
            *next += 1;
        }
    }

    /// Each partition that has rows, and these.
    fn parts(&self) -> impl Iterator<Item = (usize, &[u16])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| usize::from(*end)));
        let parts = self.ends.iter().zip(starts);
        parts.map(|((partition, end), start)| (usize::from(*partition), &self.rows[start..usize::from(*end)]))
    }

    fn scatter<V: Copy>(&self, values: &[V], parts: &mut [Vec<V>]) {
        for (partition, rows) in self.parts() {
            parts[partition].extend(rows.iter().map(|row| values[usize::from(*row)]));
        }
    }

    /// Scatters flags to the rows that were added last; `rows_total` tells how many rows a partition has with these.
    fn scatter_flags(&self, valid: Option<&[u8]>, rows_total: impl Fn(usize) -> usize, parts: &mut [Flags]) {
        for (partition, rows) in self.parts() {
            let Flags(flags) = &mut parts[partition];
            match valid {
                None if flags.is_empty() => {}
                None => flags.resize(rows_total(partition), 1),
                Some(valid) => {
                    flags.resize(rows_total(partition) - rows.len(), 1);
                    flags.extend(rows.iter().map(|row| valid[usize::from(*row)]));
                }
            }
        }
    }
}
