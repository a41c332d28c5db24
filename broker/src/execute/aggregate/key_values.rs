//! The distinct values of one group key, numbered as they come: the same for all partitions of an execution, so that a
//! number means the same value in each. Those of a text column are kept for later queries: they, too, then find the
//! numbers of a segment's codes and need not hash its dictionary again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, UInt32Array, UInt64Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{FieldRef, Schema};
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use parking_lot::Mutex;

use super::keys::Identity;
use super::numbers::UNKNOWN;
use super::value_list::ValueList;

/// Bytes of all values that are kept for later queries.
const KEPT_BYTES_MAX: usize = 512 << 20;

/// See the module.
pub(super) struct KeyValues {
    field: FieldRef,
    state: Mutex<State>,
    /// Distinct values so far. A number that somebody has seen is below.
    len: AtomicUsize,
    /// Bytes of memory.
    size: AtomicUsize,
}

struct State {
    numbers: Box<dyn GroupValues>,
    values: ValueList,
    /// By dictionary.
    tables: HashMap<Identity, Table>,
    tables_size: usize,
    scratch: Vec<usize>,
}

/// The number of each code of a dictionary, or [`UNKNOWN`].
struct Table {
    numbers: Arc<Vec<u32>>,
    /// Codes without a number.
    unknown: usize,
}

impl State {
    fn insert(&mut self, identity: Identity, numbers: Arc<Vec<u32>>, unknown: usize) {
        self.tables_size += numbers.len() * size_of::<u32>();
        self.tables.insert(identity, Table { numbers, unknown });
    }
}

impl KeyValues {
    pub(super) fn new(field: &FieldRef) -> Result<Self> {
        let schema = Arc::new(Schema::new(vec![Arc::clone(field)]));
        let numbers = new_group_values(schema, &GroupOrdering::None)?;
        let state = State {
            numbers,
            values: ValueList::default(),
            tables: HashMap::new(),
            tables_size: 0,
            scratch: Vec::new(),
        };
        let (len, size) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Ok(Self { field: Arc::clone(field), state: Mutex::new(state), len, size })
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
        self.size.load(Ordering::Relaxed)
    }

    /// The number that stands for NULL.
    pub(super) fn number_of_null(&self) -> Result<u32> {
        let mut numbers = Vec::new();
        self.intern(&new_null_array(self.field.data_type(), 1), &mut numbers)?;
        Ok(numbers.first().map_or(UNKNOWN, |number| *number as u32))
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
        state.values.push(take(values, &UInt32Array::from(firsts), None)?);
        self.len.store(after, Ordering::Release);
        self.account(state);
        Ok(())
    }

    fn account(&self, state: &State) {
        let size = state.numbers.size() + state.values.size() + state.tables_size;
        self.size.store(size, Ordering::Relaxed);
    }

    /// The numbers of all codes of a small dictionary.
    pub(super) fn whole_table(&self, identity: Option<Identity>, values: &ArrayRef) -> Result<Arc<Vec<u32>>> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let known = identity.and_then(|identity| state.tables.get(&identity));
        if let Some(table) = known.filter(|table| table.unknown == 0) {
            return Ok(Arc::clone(&table.numbers));
        }
        let mut scratch = std::mem::take(&mut state.scratch);
        let interned = self.intern_locked(state, values, &mut scratch);
        let numbers = Arc::new(scratch.iter().map(|number| *number as u32).collect());
        state.scratch = scratch;
        interned?;
        if let Some(identity) = identity {
            state.insert(identity, Arc::clone(&numbers), 0);
            self.account(state);
        }
        Ok(numbers)
    }

    /// The numbers of the codes of a dictionary with so many entries, as far as they are known, and whether they all are.
    pub(super) fn table(&self, identity: Identity, entries: usize) -> (Arc<Vec<u32>>, bool) {
        let mut state = self.state.lock();
        if let Some(table) = state.tables.get(&identity) {
            return (Arc::clone(&table.numbers), table.unknown == 0);
        }
        let numbers = Arc::new(vec![UNKNOWN; entries]);
        state.insert(identity, Arc::clone(&numbers), entries);
        self.account(&state);
        (numbers, entries == 0)
    }

    /// Puts the numbers of some codes of a dictionary into `table`; `values` has the value of each code.
    pub(super) fn number_codes(
        &self,
        identity: Option<Identity>,
        values: &ArrayRef,
        codes: &[u64],
        table: &mut [u32],
    ) -> Result<()> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let known = identity.and_then(|identity| state.tables.get(&identity));
        let known = known.map(|table| Arc::clone(&table.numbers));
        let mut asked = Vec::with_capacity(codes.len());
        for code in codes {
            match known.as_ref().map_or(UNKNOWN, |known| known[*code as usize]) {
                UNKNOWN => asked.push(*code),
                number => table[*code as usize] = number,
            }
        }
        drop(known);
        if asked.is_empty() {
            return Ok(());
        }
        let mut numbers = std::mem::take(&mut state.scratch);
        let asked = UInt64Array::from(asked);
        let interned = take(values, &asked, None).map_err(Into::into);
        let interned = interned.and_then(|values| self.intern_locked(state, &values, &mut numbers));
        if interned.is_ok() {
            let mut known = identity.and_then(|identity| state.tables.get_mut(&identity));
            let mut known = known.as_mut().map(|table| {
                table.unknown -= asked.len();
                Arc::make_mut(&mut table.numbers)
            });
            for (code, number) in asked.values().iter().zip(&numbers) {
                table[*code as usize] = *number as u32;
                if let Some(known) = &mut known {
                    known[*code as usize] = *number as u32;
                }
            }
        }
        state.scratch = numbers;
        interned
    }

    /// The values of some numbers.
    pub(super) fn values(&self, numbers: Vec<u32>) -> Result<ArrayRef> {
        let list = {
            let mut state = self.state.lock();
            state.values.settle()?;
            if state.values.len() != state.numbers.len() {
                return internal_err!(
                    "the values of {} are out of step with their numbers",
                    self.field.name()
                );
            }
            self.account(&state);
            state.values.clone()
        };
        list.values(numbers, self.field.data_type())
    }
}

/// The values of text columns, by table and column, kept from query to query; those used last.
///
/// Values are told apart by what they are and dictionaries by their fingerprint, so what is kept never is wrong, whatever
/// became of a table. Values that no segment has any more stay until their column's turn comes.
#[derive(Default)]
pub(crate) struct KeptKeyValues {
    /// The least recently used first.
    columns: Mutex<Vec<KeptColumn>>,
}

struct KeptColumn {
    table: String,
    field: FieldRef,
    values: Arc<KeyValues>,
}

impl KeptKeyValues {
    /// The values of a column of a table.
    pub(super) fn get(&self, table: &str, field: &FieldRef) -> Result<Arc<KeyValues>> {
        let mut columns = self.columns.lock();
        let place = columns.iter().position(|kept| kept.table == table && kept.field == *field);
        let column = match place {
            Some(place) => columns.remove(place),
            None => KeptColumn {
                table: table.to_owned(),
                field: Arc::clone(field),
                values: Arc::new(KeyValues::new(field)?),
            },
        };
        let values = Arc::clone(&column.values);
        columns.push(column);
        let mut total: usize = columns.iter().map(|kept| kept.values.size()).sum();
        while total > KEPT_BYTES_MAX && columns.len() > 1 {
            total -= columns.remove(0).values.size();
        }
        if total > KEPT_BYTES_MAX {
            columns.clear();
        }
        Ok(values)
    }
}
