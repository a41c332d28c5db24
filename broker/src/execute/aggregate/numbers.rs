//! The distinct values of one group key, numbered as they come; and the numbers of a segment's codes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{FieldRef, Schema};
use datafusion::error::Result;
use datafusion::logical_expr::EmitTo;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use headwater_segment::column::{CodeSlice, gather};

use super::keys::Identity;

/// Dictionaries with more entries are numbered entry by entry, as rows need them.
const NUMBERED_AHEAD_MAX: usize = 4096;
/// Stands for the number of a code that no row has needed.
const UNKNOWN: u32 = u32::MAX;

/// See the module.
pub(super) struct Numbers {
    values: Box<dyn GroupValues>,
    scratch: Vec<usize>,
    codes: Vec<u64>,
    found: Vec<u32>,
    /// The number of each code of the current segment, shifted left by `shift`; or [`UNKNOWN`].
    table: Vec<u32>,
    shift: u32,
    identity: Option<Identity>,
    may_be_unknown: bool,
}

impl Numbers {
    pub(super) fn new(field: &FieldRef) -> Result<Self> {
        let schema = Arc::new(Schema::new(vec![Arc::clone(field)]));
        Ok(Self {
            values: new_group_values(schema, &GroupOrdering::None)?,
            scratch: Vec::new(),
            codes: Vec::new(),
            found: Vec::new(),
            table: Vec::new(),
            shift: 0,
            identity: None,
            may_be_unknown: false,
        })
    }

    /// Distinct values so far.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        self.values.size() + self.table.capacity() * size_of::<u32>()
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
        self.table.clear();
        self.may_be_unknown = values.len() > NUMBERED_AHEAD_MAX;
        if self.may_be_unknown {
            self.table.resize(values.len(), UNKNOWN);
        } else {
            self.values.intern(std::slice::from_ref(values), &mut self.scratch)?;
            let shift = self.shift;
            self.table.extend(self.scratch.iter().map(|number| (*number as u32) << shift));
        }
        self.identity = identity;
        Ok(())
    }

    /// From now on numbers come shifted left.
    pub(super) fn shift(&mut self, shift: u32) {
        let old = std::mem::replace(&mut self.shift, shift);
        for number in self.table.iter_mut().filter(|number| **number != UNKNOWN) {
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
        let table = &mut self.table;
        self.codes.retain(|code| {
            let is_first = table[*code as usize] == UNKNOWN;
            if is_first {
                // Another row of the block may have the same code: it must not be asked for twice.
                table[*code as usize] = UNKNOWN - 1;
            }
            is_first
        });
        if self.codes.is_empty() {
            return Ok(());
        }
        let asked = take(values, &UInt64Array::from(self.codes.clone()), None)?;
        self.values.intern(&[asked], &mut self.scratch)?;
        for (code, number) in self.codes.iter().zip(&self.scratch) {
            self.table[*code as usize] = (*number as u32) << self.shift;
        }
        Ok(())
    }

    /// The numbers of the rows' values: set, or joined to what `out` holds.
    pub(super) fn of_rows(&mut self, values: ArrayRef, join: bool, out: &mut Vec<u32>) -> Result<()> {
        self.values.intern(&[values], &mut self.scratch)?;
        let shift = self.shift;
        let numbers = self.scratch.iter().map(|number| (*number as u32) << shift);
        set_or_join(numbers, join, out);
        Ok(())
    }

    /// The values of some (unshifted) numbers. There are no numbers afterwards.
    pub(super) fn emit(&mut self, numbers: Vec<u32>) -> Result<Vec<ArrayRef>> {
        let all = if self.values.is_empty() { Vec::new() } else { self.values.emit(EmitTo::All)? };
        self.table.clear();
        (self.identity, self.shift) = (None, 0);
        let numbers = UInt32Array::from(numbers);
        all.iter().map(|values| Ok(take(values, &numbers, None)?)).collect()
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
