//! The distinct values of one group key, numbered as they come: the same for all partitions of an execution, so that a
//! number means the same value in each.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, UInt32Array, UInt64Array, new_empty_array};
use arrow::compute::{concat, take};
use arrow::datatypes::{FieldRef, Schema};
use datafusion::error::Result;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use parking_lot::Mutex;

use super::numbers::UNKNOWN;

/// See the module.
pub(super) struct KeyValues {
    field: FieldRef,
    state: Mutex<State>,
    /// Distinct values so far. A number that somebody has seen is below.
    len: AtomicUsize,
}

struct State {
    numbers: Box<dyn GroupValues>,
    /// The values in the order of their numbers.
    pieces: Vec<ArrayRef>,
    /// Of segments with large dictionaries: the number of each code, or [`UNKNOWN`].
    tables: HashMap<usize, Vec<u32>>,
    scratch: Vec<usize>,
}

impl KeyValues {
    pub(super) fn new(field: &FieldRef) -> Result<Self> {
        let schema = Arc::new(Schema::new(vec![Arc::clone(field)]));
        let numbers = new_group_values(schema, &GroupOrdering::None)?;
        let state = State { numbers, pieces: Vec::new(), tables: HashMap::new(), scratch: Vec::new() };
        Ok(Self { field: Arc::clone(field), state: Mutex::new(state), len: AtomicUsize::new(0) })
    }

    pub(super) fn field(&self) -> &FieldRef {
        &self.field
    }

    /// Distinct values so far.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        let state = self.state.lock();
        let tables: usize = state.tables.values().map(|table| table.capacity() * size_of::<u32>()).sum();
        state.numbers.size() + tables
    }

    /// The number of each value.
    pub(super) fn intern(&self, values: &ArrayRef, numbers: &mut Vec<usize>) -> Result<()> {
        self.intern_locked(&mut self.state.lock(), values, numbers)
    }

    fn intern_locked(&self, state: &mut State, values: &ArrayRef, numbers: &mut Vec<usize>) -> Result<()> {
        let before = state.numbers.len();
        state.numbers.intern(std::slice::from_ref(values), numbers)?;
        let after = state.numbers.len();
        if after == before {
            return Ok(());
        }
        let mut firsts = vec![UNKNOWN; after - before];
        for (row, number) in numbers.iter().enumerate() {
            if let Some(first) = number.checked_sub(before).map(|new| &mut firsts[new])
                && *first == UNKNOWN
            {
                *first = row as u32;
            }
        }
        state.pieces.push(take(values, &UInt32Array::from(firsts), None)?);
        self.len.store(after, Ordering::Release);
        Ok(())
    }

    /// Puts the numbers of some codes of a segment into `table`; `values` has the value of each code.
    pub(super) fn number_codes(
        &self,
        segment_index: usize,
        values: &ArrayRef,
        codes: &[u64],
        table: &mut [u32],
    ) -> Result<()> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let mut known = state.tables.remove(&segment_index).unwrap_or_default();
        known.resize(values.len(), UNKNOWN);
        let asked: Vec<u64> = codes.iter().copied().filter(|code| known[*code as usize] == UNKNOWN).collect();
        if !asked.is_empty() {
            let mut numbers = std::mem::take(&mut state.scratch);
            let asked = UInt64Array::from(asked);
            let interned = take(values, &asked, None).map_err(Into::into);
            let interned = interned.and_then(|values| self.intern_locked(state, &values, &mut numbers));
            if interned.is_ok() {
                for (code, number) in asked.values().iter().zip(&numbers) {
                    known[*code as usize] = *number as u32;
                }
            }
            state.scratch = numbers;
            interned?;
        }
        for code in codes {
            table[*code as usize] = known[*code as usize];
        }
        state.tables.insert(segment_index, known);
        Ok(())
    }

    /// The values of some numbers.
    pub(super) fn values(&self, numbers: Vec<u32>) -> Result<ArrayRef> {
        let all = {
            let mut state = self.state.lock();
            if state.pieces.len() != 1 {
                let pieces: Vec<&dyn Array> = state.pieces.iter().map(AsRef::as_ref).collect();
                let all = match pieces.is_empty() {
                    true => new_empty_array(self.field.data_type()),
                    false => concat(&pieces)?,
                };
                state.pieces = vec![all];
            }
            Arc::clone(&state.pieces[0])
        };
        Ok(take(&all, &UInt32Array::from(numbers), None)?)
    }
}
