//! The numbers of one group key's values in one partition: by the codes of the segment that it works on, or row by row.

use std::sync::Arc;

use arrow::array::ArrayRef;
use datafusion::error::Result;
use headwater_segment::column::{CodeSlice, gather};

use super::key_values::KeyValues;
use super::keys::Identity;

/// Dictionaries with more entries are numbered entry by entry, as rows need them.
const NUMBERED_AHEAD_MAX: usize = 4096;
/// Stands for the number of a code that no row has needed.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// See the module.
pub(super) struct Numbers {
    values: Arc<KeyValues>,
    scratch: Vec<usize>,
    codes: Vec<u64>,
    found: Vec<u32>,
    /// The number of each code of the current segment, shifted left by `shift`; or [`UNKNOWN`].
    table: Arc<Vec<u32>>,
    shift: u32,
    identity: Option<Identity>,
    may_be_unknown: bool,
}

impl Numbers {
    pub(super) fn new(values: &Arc<KeyValues>) -> Self {
        Self {
            values: Arc::clone(values),
            scratch: Vec::new(),
            codes: Vec::new(),
            found: Vec::new(),
            table: Arc::default(),
            shift: 0,
            identity: None,
            may_be_unknown: false,
        }
    }

    /// Distinct values so far, in all partitions.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Bytes of memory, with a share of what partitions have in common.
    pub(super) fn size(&self) -> usize {
        self.values.size() / Arc::strong_count(&self.values) + self.table.capacity() * size_of::<u32>()
    }

    /// How many numbers there may be, once `values` are numbered as far as rows need them.
    pub(super) fn capacity_for(&self, values: &ArrayRef) -> usize {
        if values.len() > NUMBERED_AHEAD_MAX { self.len() + values.len() } else { self.len() }
    }

    /// Takes a segment's values by code; the few ones of a small dictionary are numbered at once.
    pub(super) fn enter(&mut self, values: &ArrayRef, identity: Option<Identity>) -> Result<()> {
        if identity.is_some() && identity == self.identity {
            return Ok(());
        }
        self.identity = None;
        self.may_be_unknown = values.len() > NUMBERED_AHEAD_MAX;
        if !self.may_be_unknown {
            self.table = self.values.whole_table(identity, values)?;
            self.shift_from(0);
        } else if let Some(identity) = identity {
            let (table, is_whole) = self.values.table(identity, values.len());
            // Others may not see what is put in here. Shifted numbers are few.
            self.table = if is_whole { table } else { Arc::new(table.to_vec()) };
            self.may_be_unknown = !is_whole;
            self.shift_from(0);
        } else {
            self.table = Arc::new(vec![UNKNOWN; values.len()]);
        }
        self.identity = identity;
        Ok(())
    }

    /// Leaves the segment: the next one is entered anew, and its numbers are not shifted.
    pub(super) fn leave(&mut self) {
        (self.identity, self.shift) = (None, 0);
        self.table = Arc::default();
    }

    /// From now on numbers come shifted left.
    pub(super) fn shift(&mut self, shift: u32) {
        let old = std::mem::replace(&mut self.shift, shift);
        self.shift_from(old);
    }

    fn shift_from(&mut self, old: u32) {
        let shift = self.shift;
        if shift == old {
            return;
        }
        for number in Arc::make_mut(&mut self.table).iter_mut().filter(|number| **number != UNKNOWN) {
            *number = (*number >> old) << shift;
        }
    }

    /// The numbers of the rows' codes: set, or joined to what `out` holds.
    pub(super) fn of_codes(
        &mut self,
        codes: CodeSlice<'_>,
        rows: Option<&[u16]>,
        values: &ArrayRef,
        join: bool,
        out: &mut Vec<u32>,
    ) -> Result<()> {
        if self.may_be_unknown {
            let mut found = std::mem::take(&mut self.found);
            gather::lookup(codes, rows, &self.table, &mut found);
            if found.contains(&UNKNOWN) {
                self.number_unknown(codes, rows, values)?;
                gather::lookup(codes, rows, &self.table, &mut found);
            }
            self.found = found;
            set_or_join(self.found.iter().copied(), join, out);
        } else if join {
            gather::lookup_or(codes, rows, &self.table, out);
        } else {
            gather::lookup(codes, rows, &self.table, out);
        }
        Ok(())
    }

    /// Numbers the values of the rows' codes that have no number yet.
    fn number_unknown(
        &mut self,
        codes: CodeSlice<'_>,
        rows: Option<&[u16]>,
        values: &ArrayRef,
    ) -> Result<()> {
        gather::plain(codes, rows, &mut self.codes);
        let table = Arc::make_mut(&mut self.table);
        self.codes.retain(|code| {
            let is_first = table[*code as usize] == UNKNOWN;
            if is_first {
                // Another row of the block may have the same code: it must not be asked for twice.
                table[*code as usize] = UNKNOWN - 1;
            }
            is_first
        });
        self.values.number_codes(self.identity, values, &self.codes, table)?;
        if self.shift > 0 {
            self.codes.iter().for_each(|code| table[*code as usize] <<= self.shift);
        }
        Ok(())
    }

    /// The numbers of the rows' values: set, or joined to what `out` holds.
    pub(super) fn of_rows(&mut self, values: &ArrayRef, join: bool, out: &mut Vec<u32>) -> Result<()> {
        self.values.intern(values, &mut self.scratch)?;
        let shift = self.shift;
        let numbers = self.scratch.iter().map(|number| (*number as u32) << shift);
        set_or_join(numbers, join, out);
        Ok(())
    }
}

fn set_or_join(numbers: impl Iterator<Item = u32>, join: bool, out: &mut Vec<u32>) {
    if join {
        out.iter_mut().zip(numbers).for_each(|(out, number)| *out |= number);
    } else {
        out.clear();
        out.extend(numbers);
    }
}
